"""A backtest as a tracked run.

Belongs here: which parameters, figures, files and data of a result are tracked. Does not belong here: sending them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from research.result import BacktestResult, backtests_folder, result_folder
from research.tracking.naming import experiment_name, filing_tags, flattened, numbers, safe_name, texts
from research.tracking.run import NOTE_TAG, RUN_TAG, TrackedDataset, TrackedRun
from strategies.errors import StrategyError

_FILES = ("tearsheet.html", "chart.html", "equity.parquet", "trades.parquet")
_NOT_PARAMETERS = ("tags", "name")
_POINTS = 500
_COMPARED = ("benchmark", "buy_and_hold")


def tracked_backtest(
    result: BacktestResult,
    results_dir: Path,
    *,
    dagster_run_id: str | None = None,
    dagster_run_url: str | None = None,
    filing: Mapping[str, str] | None = None,
) -> TrackedRun:
    """The backtest with its specification, every figure, its files and the data that it read.

    Args:
        result: a saved result.
        results_dir: where it is saved.
        dagster_run_id: the run that computed it.
        dagster_run_url: where that run is shown.
        filing: tags that overrule those of the experiment.
    """
    page, specification = result.page, result.specification
    strategy = str(specification["strategy"])
    filed = filing_tags({**specification.get("tags", {}), **(filing or {})}, strategy, family_of(strategy))
    return TrackedRun(
        key=f"backtest-{result.id}",
        experiment_name=experiment_name(filed),
        run_name=result.name,
        started=result.created_at,
        ended=result.created_at,
        params=flattened({name: value for name, value in specification.items() if name not in _NOT_PARAMETERS}),
        metrics=numbers(result.metrics) | _compared(page),
        series={"equity": _course(result.tables["daily"])},
        tags=texts(
            {
                **filed,
                "backtest_id": result.id,
                "experiment": result.name,
                "symbols": ",".join(specification["symbols"]),
                "resolution": specification["resolution"],
                "code_version": page["code_version"],
                "engine": page.get("engine"),
                "final_halt": page.get("final_halt"),
                "warnings": " ".join(result.warnings),
                RUN_TAG: dagster_run_id,
                NOTE_TAG: note(f"Backtest `{result.id}`", dagster_run_id, dagster_run_url),
                **{f"data_version.{symbol}": digest for symbol, digest in page["data_versions"].items()},
            }
        ),
        artifacts=_files(result, results_dir),
        datasets=tuple(_dataset(name, digest, specification) for name, digest in page["data_versions"].items()),
    )


def family_of(strategy: str) -> str | None:
    """What the strategy's class says it is; None when the class is no longer there."""
    from strategies.registry import describe

    try:
        return describe(strategy).family
    except StrategyError:
        return None


def note(headline: str, dagster_run_id: str | None, dagster_run_url: str | None) -> str:
    """The description that MLflow shows above a run, with the way back to Dagster."""
    if dagster_run_id is None:
        return headline
    shown = f"[{dagster_run_id}]({dagster_run_url})" if dagster_run_url else f"`{dagster_run_id}`"
    return f"{headline}, computed by the Dagster run {shown}."


def _compared(page: Mapping[str, Any]) -> dict[str, float]:
    return {
        safe_name(f"{which}.{name}"): value
        for which in _COMPARED
        for name, value in numbers(page.get(which) or {}).items()
    }


def _course(daily: pa.Table) -> tuple[tuple[int, float], ...]:
    """Equity at the close of a session, counted from the first: as many sessions as a chart can show, the last too."""
    equity = daily["equity"].to_pylist()
    every = -(-len(equity) // _POINTS) or 1
    last = len(equity) - 1
    return tuple(
        (at, float(value)) for at, value in enumerate(equity) if value is not None and (at % every == 0 or at == last)
    )


def _files(result: BacktestResult, results_dir: Path) -> tuple[Path, ...]:
    folder = result_folder(results_dir, result.id)
    wanted = [folder / name for name in _FILES] + [backtests_folder(results_dir) / f"{result.id}.json"]
    return tuple(path for path in wanted if path.exists())


def _dataset(name: str, digest: str, specification: Mapping[str, Any]) -> TrackedDataset:
    what = f"{specification['resolution']} bars, {specification['start']} to {specification['end']}"
    return TrackedDataset(name=name, digest=digest, source=f"{name}: {what}, adjusted: {specification['adjust']}")
