"""From an experiment to its saved result: read judged bars, run, measure, keep.

Belongs here: the order of these steps and what is handed from one to the next, for the asset and the command line
alike, here or in several processes. Does not belong here: Dagster, running or measuring (see `research`).

The data version of a symbol is the content hash of the bars as the run gets them: its range, adjusted as the
experiment says. So a new bar after the experiment's end changes nothing, and a new dividend, which rescales all
adjusted prices, does.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.errors import PipelineError
from pipelines.gate import refuse_bad_bars
from research.experiment import Experiment
from research.memory import give_back
from warehouse.errors import NoDataError
from warehouse.store import Warehouse, content_hash

if TYPE_CHECKING:
    from research.engine import Engine
    from research.result import BacktestResult

_REGIME_HISTORY = timedelta(days=500)
"""Benchmark bars before the start: enough for a 200-session mean on the first day."""


_THE_SAME = ("symbol", "resolution", "regular")
"""Columns that tell a run nothing: its bars are by symbol and of one resolution. They take a fifth of the room."""


@dataclass(frozen=True, slots=True)
class BacktestInputs:
    """What one run reads, and the content hash of each table.

    The symbols' bars are in BARS_SCHEMA without `symbol`, `resolution` and `regular`, the benchmark's are whole.
    """

    bars: Mapping[str, pa.Table]
    benchmark: pa.Table | None
    data_versions: Mapping[str, str]
    overridden: Mapping[str, Sequence[str]] = field(default_factory=dict)


def read_inputs(warehouse: Warehouse, experiment: Experiment) -> BacktestInputs:
    """Judged bars of an experiment.

    Raises:
        QualityGateError: bars were not judged, or an ERROR stands without the experiment's override.
        NoDataError: a symbol has no bars, or none in the experiment's range.
    """
    symbols = list(dict.fromkeys([*experiment.symbols, *([experiment.benchmark] if experiment.benchmark else [])]))
    overridden = refuse_bad_bars(warehouse, symbols, experiment.resolution, override=experiment.allow_quality_errors)
    bars, versions = dict[str, pa.Table](), dict[str, str]()
    for symbol in experiment.symbols:
        table = _bars(warehouse, experiment, symbol, experiment.start)
        versions[symbol] = content_hash(table)
        bars[symbol] = table.drop_columns(list(_THE_SAME))
    benchmark = None
    if experiment.benchmark:
        benchmark = _bars(warehouse, experiment, experiment.benchmark, experiment.start - _REGIME_HISTORY)
        versions[f"benchmark {experiment.benchmark}"] = content_hash(benchmark)
    give_back(
        sum(table.num_rows for table in bars.values())
    )  # decoding and judging the bars took several times their size
    return BacktestInputs(bars, benchmark, versions, overridden)


def _bars(warehouse: Warehouse, experiment: Experiment, symbol: str, start: date) -> pa.Table:
    table = warehouse.read_bars(
        symbol, experiment.resolution, start=start, end=experiment.end, adjust=experiment.adjust
    )
    if not table.num_rows:
        raise NoDataError(
            f"{symbol}: no {experiment.resolution.value} bars from {experiment.start} to {experiment.end}."
        )
    return table


def result_id(experiment: Experiment, inputs: BacktestInputs) -> tuple[str, str]:
    """(id of the result, code version) that running the experiment on these inputs would give."""
    from research.fingerprint import backtest_id, code_version
    from strategies.registry import load_strategy

    version = code_version(load_strategy(experiment.strategy))
    return backtest_id(experiment.specification(), inputs.data_versions, version), version


def stored_result(results: Path, backtest_id: str) -> "BacktestResult | None":
    """The result with that id, if it is there whole."""
    from research.errors import ResearchError
    from research.result import backtests_folder, load_result

    if not (backtests_folder(results) / f"{backtest_id}.json").exists():
        return None
    try:
        return load_result(results, backtest_id)
    except ResearchError:  # damaged: run it again
        return None


def run_experiment(
    experiment: Experiment, inputs: BacktestInputs, results: Path, *, code: str, engine: "Engine"
) -> "BacktestResult":
    """Run, measure and keep one experiment; pages of an earlier run of the same inputs are taken away."""
    from research.engine import run_backtest
    from research.evaluation import evaluate
    from research.result import result_folder, save_result

    output = run_backtest(experiment, inputs.bars, benchmark=inputs.benchmark, engine=engine)
    result = evaluate(
        experiment, output, inputs.bars, inputs.benchmark, inputs.data_versions,
        code=code, quality_errors=inputs.overridden,
    )  # fmt: skip
    for page in PAGES:
        (result_folder(results, result.id) / page).unlink(missing_ok=True)
    save_result(result, results)
    give_back(output.equity.num_rows)  # before the pages are drawn
    return result


@dataclass(frozen=True, slots=True)
class BacktestOrder:
    """One backtest to be made, in plain values that another process can be given.

    Attributes:
        experiment: as it runs.
        data_dir: folder of the warehouse.
        results: folder of results.
        engine: a name that `research.engine.engine_named` has accepted.
        rerun: compute again even when the result stands.
        pages: those of `PAGES` to draw.
    """

    experiment: Experiment
    data_dir: Path
    results: Path
    engine: "Engine"
    rerun: bool = False
    pages: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Carried:
    """An order that was carried out; `unchanged` when its result stood already."""

    result: "BacktestResult"
    unchanged: bool


def carry_out(order: BacktestOrder) -> Carried:
    """Make one backtest, or find that it stands, and see that it has its pages."""
    from research.result import mark_latest

    inputs = read_inputs(Warehouse(order.data_dir), order.experiment)
    identifier, code = result_id(order.experiment, inputs)
    stored = None if order.rerun else stored_result(order.results, identifier)
    if stored and order.engine not in ("auto", stored.page.get("engine")):
        stored = None
    result = stored or run_experiment(order.experiment, inputs, order.results, code=code, engine=order.engine)
    mark_latest(order.results, result)  # a stored result that is used again is the latest one again
    draw_missing_pages(result, inputs, order.results, wanted=order.pages)
    return Carried(result, unchanged=stored is not None)


@contextmanager
def order_takers(workers: int) -> Iterator[Callable[[BacktestOrder], Carried]]:
    """What carries out orders: this thread for one worker, that many processes for more.

    An order that kills its process loses only itself: those that were with it are given to a process of their own.
    """
    if workers == 1:
        yield carry_out
        return
    from research.study.workers import local_workers

    with local_workers(workers) as pool:
        yield lambda order: _by_a_process(pool, order)


def _by_a_process(pool: Executor, order: BacktestOrder) -> Carried:
    from research.result import load_result

    try:
        identifier, unchanged = pool.submit(_carry_out_there, order).result()
    except BrokenExecutor:
        identifier, unchanged = _by_a_process_of_its_own(order)
    return Carried(load_result(order.results, identifier), unchanged)


def _by_a_process_of_its_own(order: BacktestOrder) -> tuple[str, bool]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        try:
            return alone.submit(_carry_out_there, order).result()
        except BrokenExecutor:
            raise PipelineError(
                f"{order.experiment.name}: its process ended before it was done; was it killed or short of memory?"
            ) from None


def _carry_out_there(order: BacktestOrder) -> tuple[str, bool]:
    """In a worker: only the id goes back, the result is on disk."""
    carried = carry_out(order)
    return carried.result.id, carried.unchanged


CHART, TEARSHEET = "chart.html", "tearsheet.html"
PAGES = (CHART, TEARSHEET)
"""What a person opens in a browser; drawn after the result is kept, so that a fault in drawing loses no result."""


def draw_missing_pages(
    result: "BacktestResult", inputs: BacktestInputs, results: Path, *, wanted: Collection[str] = PAGES
) -> None:
    """Draw the pages of a kept result that are not there yet."""
    from research.chart import write_chart
    from research.result import result_folder
    from research.tearsheet import write_tearsheet

    folder = result_folder(results, result.id)
    if CHART in wanted and not (folder / CHART).exists():
        write_chart(result, inputs.bars, folder / CHART)
    if TEARSHEET in wanted and not (folder / TEARSHEET).exists():
        write_tearsheet(result, folder / TEARSHEET)
