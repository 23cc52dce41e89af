"""The same experiment on every engine, compared bit for bit.

Belongs here: running all engines on the same bars, finding the first thing that differs from Backtrader's own loop.
Does not belong here: choosing an engine (see `choice`, `run`), printing.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa

from research.engine.choice import Engine
from research.engine.run import PreparedRun, prepare_run, replay
from research.errors import IneligibleError
from research.experiment import Experiment
from research.run_output import RunOutput

_CIRCUMSTANCES: Final = frozenset({"engine", "engine_reason"})
_MOMENTS: Final = ("ts", "entry_ts")
_BRIEF: Final = 1.0  # seconds; a shorter run is made twice, the first of a process loads compiled code


@dataclass(frozen=True, slots=True)
class EngineDifference:
    """The earliest thing that an engine did otherwise."""

    what: str  # "fills.price row 3", "final_halt"
    when: datetime | None  # UTC; None for what has no time
    vanilla: str
    here: str


@dataclass(frozen=True, slots=True)
class EngineRun:
    """How one engine did. `seconds` is None where it could not run, and `ineligible` says why."""

    engine: str
    seconds: float | None
    ineligible: str | None
    difference: EngineDifference | None

    @property
    def verdict(self) -> str:
        """One line for a person."""
        if self.ineligible is not None:
            return f"not run: {self.ineligible}"
        if self.difference is None:
            return "the reference" if self.engine == Engine.VANILLA else "identical"
        found = self.difference
        at = f" at {found.when:%Y-%m-%d %H:%M:%S}" if found.when else ""
        return f"{found.what}{at} is {found.here}, vanilla has {found.vanilla}"


def verify_engines(experiment: Experiment, bars: Mapping[str, pa.Table]) -> list[EngineRun]:
    """Run an experiment (bars in BARS_SCHEMA, by symbol) on every engine, Backtrader's own loop first.

    Raises:
        ExperimentError: the strategy or a parameter is wrong.
        BarsError: a symbol has no usable bars in the range.
    """
    prepared = prepare_run(experiment, bars)
    reference, seconds = _timed(prepared, Engine.VANILLA)
    runs = [EngineRun(Engine.VANILLA.value, seconds, None, None)]
    for engine in (Engine.FAST, Engine.KERNEL):
        try:
            output, seconds = _timed(prepared, engine)
        except IneligibleError as error:
            runs.append(EngineRun(engine.value, None, error.why, None))
        else:
            runs.append(EngineRun(engine.value, seconds, None, first_difference(reference, output)))
    return runs


def first_difference(vanilla: RunOutput, other: RunOutput) -> EngineDifference | None:
    """The earliest difference between two outputs of the same experiment, None when every bit is the same."""
    found = [difference for field in fields(RunOutput) for difference in _of_field(field.name, vanilla, other)]
    moments = [difference.when for difference in found if difference.when is not None]
    earliest = min(moments, default=None)
    return next((difference for difference in found if difference.when == earliest), None)


def _timed(prepared: PreparedRun, engine: Engine) -> tuple[RunOutput, float]:
    """What an engine makes of a run, and the wall time in seconds."""
    began = time.perf_counter()
    output = replay(prepared, engine=engine)
    seconds = time.perf_counter() - began
    if seconds < _BRIEF:
        began = time.perf_counter()
        output = replay(prepared, engine=engine)
        seconds = min(seconds, time.perf_counter() - began)
    return output, seconds


def _of_field(name: str, vanilla: RunOutput, other: RunOutput) -> Iterator[EngineDifference]:
    if name in _CIRCUMSTANCES:
        return
    mine, theirs = getattr(vanilla, name), getattr(other, name)
    if isinstance(mine, pa.Table):
        yield from _of_table(name, mine, theirs)
    elif isinstance(mine, tuple):
        yield from _of_entries(name, mine, theirs)
    elif not _same(mine, theirs):
        yield EngineDifference(name, None, repr(mine), repr(theirs))


def _of_table(name: str, vanilla: pa.Table, other: pa.Table) -> Iterator[EngineDifference]:
    """The first row of each column that differs; a table that ends early differs at the first row it lacks."""
    moments = next(column for column in _MOMENTS if column in vanilla.column_names)
    shared = min(vanilla.num_rows, other.num_rows)
    for column in vanilla.column_names:
        row = _first_row(vanilla[column].slice(0, shared), other[column].slice(0, shared))
        if row is not None:
            when = min(table[moments][row].as_py() for table in (vanilla, other))
            mine, theirs = (repr(table[column][row].as_py()) for table in (vanilla, other))
            yield EngineDifference(f"{name}.{column} row {row}", when, mine, theirs)
    if vanilla.num_rows != other.num_rows:
        longer = max(vanilla, other, key=lambda table: table.num_rows)
        yield EngineDifference(
            f"{name}: rows", longer[moments][shared].as_py(), str(vanilla.num_rows), str(other.num_rows)
        )


def _first_row(vanilla: pa.ChunkedArray, other: pa.ChunkedArray) -> int | None:
    if vanilla.type == pa.float64() and not (vanilla.null_count or other.null_count):
        differs = vanilla.to_numpy().view(np.int64) != other.to_numpy().view(np.int64)
        return int(np.argmax(differs)) if differs.any() else None
    if not pa.types.is_floating(vanilla.type) and vanilla.equals(other):
        return None
    pairs = zip(vanilla.to_pylist(), other.to_pylist(), strict=True)
    return next((row for row, (mine, theirs) in enumerate(pairs) if not _same(mine, theirs)), None)


def _of_entries(name: str, vanilla: tuple[object, ...], other: tuple[object, ...]) -> Iterator[EngineDifference]:
    """Risk events (which have a time) and warnings (which have none)."""
    for row in range(max(len(vanilla), len(other))):
        mine, theirs = (entries[row] if row < len(entries) else None for entries in (vanilla, other))
        if _text(mine) != _text(theirs):
            times = [entry.ts for entry in (mine, theirs) if hasattr(entry, "ts")]
            yield EngineDifference(f"{name} {row}", min(times, default=None), _text(mine), _text(theirs))
            return


def _text(entry: object) -> str:
    return "absent" if entry is None else repr(entry)


def _same(mine: object, theirs: object) -> bool:
    """Equal, numbers to the last bit: 0.0 is not -0.0, and no number equals no number."""
    if isinstance(mine, float) and isinstance(theirs, float):
        return mine.hex() == theirs.hex() and math.copysign(1.0, mine) == math.copysign(1.0, theirs)
    return type(mine) is type(theirs) and mine == theirs
