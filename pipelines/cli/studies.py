"""`barloom optimize`.

Belongs here: studies from the terminal. Does not belong here: running or measuring them (see `research.study`).
"""

import os
import sys
import time
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from pipelines.cli.backtests import download_missing, read_params
from pipelines.cli.runs import unique
from pipelines.cli.tables import print_csv, print_rows, say
from pipelines.errors import SettingsError
from pipelines.settings import load_settings

if TYPE_CHECKING:
    from research.study import GridResult

_WORTH_PROCESSES = {True: 20_000, False: 100}
"""Trials that take as long as starting a second process: compiled ones, others."""


def optimize(
    *,
    strategy: str,
    param_ranges: str,
    symbols: Annotated[list[str], Parameter(consume_multiple=True, negative_iterable="")],
    start: date,
    end: date,
    metric: str = "sharpe_ratio",
    top: int = 10,
    cash: float = 100_000.0,
    resolution: str = "Daily",
    params: str | None = None,
    params_file: Path | None = None,
    costs: str = "ibkr_fixed",
    workers: int | None = None,
    seed: int = 0,
    csv: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Try every combination of parameter values and rank them.

    The best trials and a random sample are run again on Backtrader; the command fails when one comes out otherwise.

    Args:
        strategy: Dotted path of the strategy class, for example `strategies.sma_crossover.SMACrossover`.
        param_ranges: Values to try: `sma_short:5-30,sma_long:31-100:5`, or `rebalance:week|month`.
        symbols: One or more symbols.
        start: First session (YYYY-MM-DD).
        end: Last session.
        metric: Figure to rank by, a name that `barloom show` prints.
        top: How many of the best trials to print.
        cash: Starting cash.
        resolution: Daily, Hour or Minute.
        params: Values of other parameters as JSON.
        params_file: Values of other parameters in a JSON file.
        costs: Cost model: ibkr_fixed, ibkr_tiered or none.
        workers: Processes; as many as there are processors where that is worth it, unless given.
        seed: Chooses the trials that are run again.
        csv: Print every trial as CSV instead of the best as a table.
    """
    from pipelines.backtesting import read_inputs
    from pipelines.runs import open_instance
    from research.engine import prepare_run, strategy_of
    from research.errors import UnprovenError
    from research.experiment import Experiment
    from research.study import check_metric, grid_points, is_compiled, local_workers, parse_ranges, run_grid
    from warehouse.store import Warehouse

    for name, number in (("top", top), ("workers", 1 if workers is None else workers)):
        if number < 1:
            raise SettingsError(f"{name}: {number} must be at least 1.")
    fields: dict[str, Any] = {
        "strategy": strategy, "symbols": unique(symbols), "start": start, "end": end, "cash": cash,
        "resolution": resolution, "params": read_params(params, params_file), "costs": {"model": costs},
    }  # fmt: skip
    experiment, space = Experiment.build(**fields), parse_ranges(param_ranges)
    check_metric(metric)
    points, _ = grid_points(strategy_of(experiment)[0], experiment.params, space)  # refused before a download
    settings = load_settings()
    with open_instance() as instance:
        code = download_missing(instance, [experiment], settings)
    if code:
        return code
    prepared = prepare_run(experiment, read_inputs(Warehouse(settings.data_dir), experiment).bars)
    if workers is None:
        workers = (os.cpu_count() or 1) if len(points) >= _WORTH_PROCESSES[is_compiled(prepared)] else 1
    began = time.monotonic()
    try:
        with local_workers(workers) if workers > 1 else nullcontext() as executor:
            result = run_grid(prepared, space, metric=metric, executor=executor, chunks=workers, seed=seed)
    except UnprovenError as error:
        print(f"barloom: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if csv:
        print_csv(result.table)
    else:
        _print_best(result, top, time.monotonic() - began)
    return 0


def _print_best(result: "GridResult", top: int, seconds: float) -> None:
    from research.metric_catalog import METRICS, format_metric

    ranked = result.ranked()
    rows = [
        [place, *(trial.params[name] for name in result.parameters), format_metric(result.metric, trial.value)]
        for place, trial in enumerate(ranked[:top], start=1)
    ]
    print_rows(["rank", *result.parameters, METRICS[result.metric].label], rows)
    unknown = len(result.trials) - len(ranked)
    left_out = f", {result.left_out} left out by the strategy's constraints" if result.left_out else ""
    without = f", {unknown} without a value" if unknown else ""
    engines = sorted({trial.engine for trial in result.trials})
    say(f"{len(result.trials)} trials on {' and '.join(engines)} in {seconds:.2f} s{left_out}{without}")
    if result.verified:
        say(f"{result.verified} of them run again on Backtrader: identical")
