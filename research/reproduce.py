"""Does a recorded backtest still come out the same?

Belongs here: running it again from its own specification and naming every difference. Does not belong here: reading
bars, printing.

Two runs are the same when their tables and their pages are equal bit for bit, leaving out the circumstances (time,
machine, quality override). When something differs, versions of packages that changed are named too: they may be why.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from research.compare import flatten
from research.engine import Engine, run_backtest
from research.evaluation import evaluate
from research.experiment import Experiment
from research.result import CIRCUMSTANCES, TABLES, BacktestResult


class Difference(NamedTuple):
    """One thing that is not as it was recorded, as text."""

    what: str
    recorded: str
    now: str


class Inputs(Protocol):
    """Bars as the run gets them, and their versions."""

    @property
    def bars(self) -> Mapping[str, pa.Table]:
        """`BARS_SCHEMA` by symbol."""
        ...

    @property
    def benchmark(self) -> pa.Table | None:
        """Bars of the benchmark, earlier ones included."""
        ...

    @property
    def data_versions(self) -> Mapping[str, str]:
        """Content hash by name."""
        ...


def reproduce_result(recorded: BacktestResult, inputs: Inputs, *, engine: Engine = Engine.AUTO) -> list[Difference]:
    """Run the recorded specification on these inputs and compare; an empty list means identical.

    The engine may be another one than that of the recorded run: it changes no figure.

    Raises:
        ResearchError: the recorded specification no longer makes an experiment, or the run fails.
    """
    experiment = Experiment.parse(recorded.specification, origin=f"result {recorded.id}")
    output = run_backtest(experiment, inputs.bars, benchmark=inputs.benchmark, engine=engine)
    again = evaluate(experiment, output, inputs.bars, inputs.benchmark, inputs.data_versions)
    return differences(recorded, again)


def differences(recorded: BacktestResult, now: BacktestResult) -> list[Difference]:
    """What differs between two results of the same specification."""
    found = [*_page_differences(recorded.page, now.page), *_table_differences(recorded.tables, now.tables)]
    return [*found, *_environment_differences(recorded.page, now.page)] if found else []


def _page_differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    old, new = (flatten({k: v for k, v in page.items() if k not in CIRCUMSTANCES}) for page in (recorded, now))
    for path in dict.fromkeys([*old, *new]):
        if path not in old or path not in new or old[path] != new[path]:
            yield Difference(path, str(old.get(path, "absent")), str(new.get(path, "absent")))


def _table_differences(recorded: Mapping[str, pa.Table], now: Mapping[str, pa.Table]) -> Iterator[Difference]:
    for name in TABLES:
        old, new = recorded[name], now[name]
        if old.num_rows != new.num_rows:
            yield Difference(f"{name}: rows", str(old.num_rows), str(new.num_rows))
        shared = min(old.num_rows, new.num_rows)
        for column in old.column_names:
            yield from _first_difference(f"{name}.{column}", old[column].to_pylist()[:shared], new[column].to_pylist())


def _first_difference(what: str, old: Sequence[object], new: Sequence[object]) -> Iterator[Difference]:
    rows = [at for at, value in enumerate(old) if value != new[at]]
    if rows:
        yield Difference(f"{what}: {len(rows)} rows, first {rows[0]}", str(old[rows[0]]), str(new[rows[0]]))


def _environment_differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    old, new = flatten({"environment": recorded["environment"]}), flatten({"environment": now["environment"]})
    for path in dict.fromkeys([*old, *new]):
        if old.get(path) != new.get(path):
            yield Difference(path, str(old.get(path, "absent")), str(new.get(path, "absent")))
