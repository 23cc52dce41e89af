"""`barloom backtest --each`: strategies x symbols in one table.

Belongs here: asking for the combinations and showing their table. Does not belong here: running them (see
`pipelines.runs`), the table's columns (see `research.matrix`).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.cli.runs import progress_bar, report_failures
from pipelines.cli.tables import csv_text, print_csv, print_rows, say
from pipelines.cli.tracking import check_store, print_tracking
from pipelines.errors import SettingsError
from pipelines.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.runs import RunOutcome
    from research.experiment import Experiment
    from research.matrix import Cell

_SHOWN = {
    "total_return": "return", "buy_and_hold": "buy and hold", "annual_return": "CAGR", "sharpe_ratio": "Sharpe",
    "max_drawdown": "max DD", "trades": "trades", "win_rate": "wins", "fees": "fees",
}  # fmt: skip


def check_each(*, each: bool, given: Mapping[str, object], strategies: Sequence[str]) -> None:
    """Refuse what only --each can do without it, and a number of processes that is none.

    Raises:
        SettingsError: the option and what it would need.
    """
    if not each:
        for name, value in given.items():
            if value:
                raise SettingsError(f"backtest: --{name} has no effect without --each.")
        if len(strategies) > 1:
            raise SettingsError(f"backtest: {len(strategies)} strategies need --each, one runs without it.")
    target = given.get("export-csv")
    if isinstance(target, Path) and not target.parent.is_dir():
        raise SettingsError(f"backtest: export-csv: there is no folder {str(target.parent)!r}.")
    workers = given.get("workers")
    if isinstance(workers, int) and workers < 1:
        raise SettingsError(f"backtest: workers: {workers} must be at least 1.")


def run_matrix(
    experiments: Sequence["Experiment"],
    settings: Settings,
    *,
    rerun: bool,
    engine: str,
    workers: int | None,
    csv: bool,
    export_csv: Path | None,
    mlflow: bool,
) -> int:
    """Run every experiment as a partition of the graph and end in one table; the exit code is 1 when one failed."""
    from pipelines.cli.backtests import download_missing
    from pipelines.cli.data import publish_catalog
    from pipelines.runs import materialize_experiments, open_instance, record_experiment
    from research.matrix import matrix_key, matrix_table, write_matrix

    if mlflow:
        check_store(settings)
    names = [record_experiment(one, settings) for one in experiments]
    config = {"rerun": rerun, "engine": engine, "workers": workers or os.cpu_count() or 1, "mlflow": mlflow}
    with open_instance() as instance:
        download_missing(instance, experiments, settings)  # symbols without bars fail below, without the others
        with progress_bar("backtests", len(names)) as move:
            outcome = materialize_experiments(instance, names, config=config, on_progress=move)
    publish_catalog(settings)
    table = matrix_table(_cells(experiments, names, outcome, settings))
    path = write_matrix(table, matrix_key(experiments), settings.results_dir)
    if export_csv is not None:
        export_csv.write_text(csv_text(table), encoding="utf-8")
    if csv:
        print_csv(table)
    else:
        _print_matrix(table)
        say(str(path))
        print_tracking(outcome)
    return report_failures(outcome)


def _cells(
    experiments: Sequence["Experiment"], names: Sequence[str], outcome: "RunOutcome", settings: Settings
) -> list["Cell"]:
    from pipelines.runs import Outcome
    from research.matrix import Cell
    from research.result import load_result

    steps = {step.name: step for step in outcome.progress}
    cells = []
    for experiment, name in zip(experiments, names, strict=True):
        step = steps.get(name)
        if step is None or step.outcome is Outcome.FAILED:
            error = outcome.failures.get(name) or outcome.error or "it was not run"
            cells.append(Cell(experiment, name, Outcome.FAILED.value, None, error))
        else:
            result = load_result(settings.results_dir, step.facts["id"])
            cells.append(Cell(experiment, name, step.outcome.value, result))
    return cells


def _print_matrix(table: "pa.Table") -> None:
    from research.metric_catalog import format_metric

    rows = [
        [
            row["strategy"].rpartition(".")[2],
            row["symbols"],
            *(format_metric("total_return" if key == "buy_and_hold" else key, row[key]) for key in _SHOWN),
            row["id"][:8] if row["id"] else "failed",
        ]
        for row in table.to_pylist()
    ]
    print_rows(["strategy", "symbol", *_SHOWN.values(), "id"], rows)
