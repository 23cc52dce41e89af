"""Everything that the computation of indicators leaves behind in a strategy.

Belongs here: running a strategy up to its first bar, and reading the state of all its lines. Does not belong here:
tests.
"""

import math
import struct
from dataclasses import dataclass

import backtrader as bt

from research.engine.once import run_once


class _StoppedError(Exception):
    """The indicators are computed."""


class _UpToTheFirstBar(bt.Cerebro):
    """Computes the indicators one way and stops."""

    compute = None

    def _runonce(self, runstrats):
        self.strategy = runstrats[0]
        self.compute(self.strategy)
        raise _StoppedError


def backtraders_way(strategy):
    strategy._once()
    strategy.reset()


@dataclass(frozen=True)
class Left:
    """The state of one line, or the error that ended the computation."""

    what: str
    values: bytes = b""
    index: int = 0
    length: int = 0
    extension: int = 0
    kind: str = ""


def left_behind(strategy_class, feeds, *, compute=run_once):
    """The state of every line that a strategy on these feeds reaches, after its indicators have been computed."""
    cerebro = _UpToTheFirstBar(stdstats=False)
    cerebro.compute = compute
    for feed in feeds():
        cerebro.adddata(feed)
    cerebro.addstrategy(strategy_class)
    try:
        cerebro.run()
    except _StoppedError:
        return list(_lines(cerebro.strategy, "strategy", set()))
    except Exception as error:  # noqa: BLE001 (whatever Backtrader raises must be raised)
        return [Left(f"{type(error).__name__}: {error}")]
    raise AssertionError("Backtrader did not preload the bars")


def _lines(thing, path, seen):
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, bt.LineBuffer):
        yield _left(thing, path)
        return
    for number, line in enumerate(thing.lines.lines):
        if id(line) not in seen:
            seen.add(id(line))
            yield _left(line, f"{path}.{number}")
    for number, data in enumerate(getattr(thing, "datas", ())):
        yield from _lines(data, f"{path}.data{number}", seen)
    for kind in getattr(thing, "_lineiterators", {}).values():
        for number, inner in enumerate(kind):
            name = type(inner).__name__.rstrip("0123456789")  # Backtrader numbers the classes of couplers
            yield from _lines(inner, f"{path}/{number}:{name}", seen)


def _left(line, path):
    kind = f"{type(line.array).__name__} {getattr(line.array, 'typecode', '')}"
    return Left(path, _one_nan(line.array), line.idx, line.lencount, line.extension, kind)


def _one_nan(values):
    """The bytes of the numbers; NaN differ in bits that nobody reads."""
    return struct.pack(f"{len(values)}d", *(math.nan if math.isnan(value) else value for value in values))
