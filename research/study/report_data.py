"""A kept study as its report shows it, and the report's file.

Belongs here: reading the study's record, its hold-out and its walk-forward. Does not belong here: running or judging
them, the page (see `report`).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from research.errors import StudyError
from research.metric_catalog import METRICS, Better
from research.study.objective import Objective
from research.study.records import StudyRecord, load_study, study_folder, trials_ever
from research.study.report import study_html
from research.study.report_view import Curve, StudyView, TrialView, read_findings
from research.study.specification import StudySpecification
from warehouse.files import write_bytes

_FOLD_METRICS = ("total_return", "sharpe_ratio", "max_drawdown", "trades", "fees")


def report_file(results: Path, name: str) -> Path:
    """Where a study's report is."""
    return study_folder(results, name) / "report.html"


def write_study_report(results: Path, name: str) -> Path:
    """Draw the report of a study from what is kept of it, and write it in one step.

    Raises:
        StudyError: there is no such study, or a file of it is damaged.
    """
    path = report_file(results, name)
    write_bytes(path, study_html(study_view(results, name)).encode())
    return path


def study_view(results: Path, name: str) -> StudyView:
    """Everything that is kept of a study.

    Raises:
        StudyError: there is no such study, or a file of it is damaged.
    """
    record = load_study(results, name)
    specification = record.specification
    walk = _walk_forward(results, name)
    assessment = record.page.get("assessment")
    best = record.best
    return StudyView(
        name=record.name,
        objective=objective_label(specification),
        maximise=maximised(specification),
        facts=_facts(record, specification),
        trials=_trials(record),
        best=None if best is None else int(best["number"]),
        findings=read_findings(assessment),
        statistics=_statistics(results, record, walk),
        assessed_at=None if assessment is None else assessment.get("made_at"),
        trials_since=0 if assessment is None else _trials_since(record, assessment),
        curves=[*_walk_curves(walk), *_hold_out_curves(record)],
        windows=() if walk is None else walk.windows,
        hold_out=record.page.get("hold_out"),
        provenance=_provenance(record, specification),
    )


def _trials_since(record: StudyRecord, assessment: Mapping[str, Any]) -> int:
    run = int(record.page["trials_run"])
    return max(0, run - int(assessment.get("trials_run", run)))


def objective_label(specification: StudySpecification) -> str:
    """What was searched for, for a person; the first of several."""
    text = specification.objectives[0]
    return METRICS[text].label if text in METRICS else text


def maximised(specification: StudySpecification) -> bool:
    """Whether more of the first objective is better."""
    return Objective.parse(specification.objectives[0], specification.penalties).better is Better.HIGHER


def _facts(record: StudyRecord, specification: StudySpecification) -> tuple[str, ...]:
    experiment = specification.experiment
    several = len(specification.objectives)
    return (
        experiment.strategy.rpartition(".")[2],
        ", ".join(experiment.symbols),
        f"{experiment.start} to {experiment.end}",
        f"{experiment.resolution.value} bars",
        f"costs {experiment.costs.model}",
        str(record.page.get("sampler") or specification.sampler),
        record.state,
        *([f"the first of {several} objectives"] if several > 1 else []),
    )


def _trials(record: StudyRecord) -> list[TrialView]:
    """Every trial; of the best one also the figures that a search leaves out."""
    number, best = (None, {}) if record.best is None else (record.best["number"], record.best["metrics"])
    folds: dict[int, list[Mapping[str, Any]]] = {}
    for row in record.folds.to_pylist():
        folds.setdefault(row["number"], []).append(_fold(row))
    return [
        TrialView(
            number=row["number"],
            params=json.loads(row["params"]),
            value=row["value"],
            state=row["state"],
            metrics={**json.loads(row["metrics"]), **(best if row["number"] == number else {})},
            folds=folds.get(row["number"], ()),
        )
        for row in record.trials.to_pylist()
    ]


def _fold(row: Mapping[str, Any]) -> dict[str, Any]:
    metrics = json.loads(row["metrics"])
    shown = {key: metrics.get(key) for key in _FOLD_METRICS}
    return {"fold": row["fold"], "start": str(row["start"]), "end": str(row["end"]), "value": row["value"], **shown}


def _statistics(results: Path, record: StudyRecord, walk: "_Walk | None") -> dict[str, Any]:
    """What can be counted without an assessment, then what the assessment measured, then the walk-forward's own."""
    symbols = record.page["specification"]["experiment"]["symbols"]
    counted = {"trials": record.page["trials_run"], "trials_on_symbols": trials_ever(results, symbols).total}
    measured = dict((record.page.get("assessment") or {}).get("statistics") or {})
    walked = {} if walk is None else {"walk_forward": dict(walk.page.get("summary") or {})}
    return {**counted, **measured, **walked}


def _provenance(record: StudyRecord, specification: StudySpecification) -> dict[str, Any]:
    experiment = specification.experiment
    kept = {
        key.replace("_", " ").capitalize(): value
        for key, value in record.page.items()
        if isinstance(value, str | int | float) and key not in {"name", "state"}
    }
    return {
        "Strategy": experiment.strategy,
        "Fixed parameters": ", ".join(f"{key} = {value}" for key, value in experiment.params.items()) or "the defaults",
        "Space": specification.space if isinstance(specification.space, str) else json.dumps(specification.space),
        "Objective": "; ".join(specification.objectives),
        "Penalties": _penalties(specification),
        "Folds": f"{specification.folds}, {specification.fold_value}",
        "Seed": specification.seed,
        "Data versions": ", ".join(
            f"{key} {value[:12]}" for key, value in (record.page.get("data_versions") or {}).items()
        )
        or None,
        **kept,
    }


def _penalties(specification: StudySpecification) -> str:
    limits = specification.penalties.model_dump(exclude_none=True, exclude={"weight"})
    if not limits:
        return "none"
    told = ", ".join(f"{name} {limit}" for name, limit in limits.items())
    return f"{told}; weight {specification.penalties.weight:g}"


# ---------------------------------------------------------------- out of sample


def _hold_out_curves(record: StudyRecord) -> list[Curve]:
    """The curve of the hold-out, where whoever looked at it kept one (`hold_out.parquet`: session, return)."""
    table = _table(record.folder / "hold_out.parquet")
    if table is None:
        return []
    return [Curve(f"hold-out, trial {(record.best or {}).get('number')}", _series(table))]


class _Walk:
    """A walk-forward of the study's name: its page, its windows and its stitched curve."""

    def __init__(self, page: Mapping[str, Any], windows: Sequence[Mapping[str, Any]], equity: pa.Table) -> None:
        self.page, self.windows, self.equity = page, windows, equity


def _walk_forward(results: Path, name: str) -> _Walk | None:
    """None where there is none, or it is not finished: its page is written last."""
    folder = results / "walkforward" / name
    try:
        page = json.loads((folder / "walkforward.json").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StudyError(f"walk-forward: {folder} cannot be read ({error}).") from error
    windows, equity = _table(folder / "windows.parquet"), _table(folder / "equity.parquet")
    if windows is None or equity is None:
        raise StudyError(f"walk-forward: {folder} has a page without its tables.")
    return _Walk(page, windows.to_pylist(), equity)


def _walk_curves(walk: _Walk | None) -> list[Curve]:
    if walk is None or walk.equity.num_rows == 0:
        return []
    returns = _series(walk.equity)
    windows = walk.equity["window"].to_numpy()
    starts = returns.index[np.append(True, windows[1:] != windows[:-1])]
    return [Curve("walk-forward", returns, list(starts))]


def _series(table: pa.Table) -> pd.Series:
    index = pd.DatetimeIndex(table["session"].to_numpy().astype("datetime64[s]"), name="session")
    return pd.Series(table["return"].to_numpy().astype(float), index)


def _table(path: Path) -> pa.Table | None:
    """None where there is no such file."""
    try:
        return pq.read_table(path)
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError) as error:
        raise StudyError(f"{path}: not a readable Parquet file ({error}).") from error
