"""The indicators of a strategy, computed before its bars run.

Belongs here: what `Strategy._once` does, in its order, with whole lines filled at once where that is known to give the
same numbers. Does not belong here: how the lines of one object are filled (see `fills`).

Backtrader computes a line bar by bar in Python. Here an object of a class whose methods are Backtrader's own is filled
by compiled loops; any other is computed by its own methods. Lines keep their arrays, lengths and bindings.
"""

import array
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import backtrader as bt
import numpy as np
import numpy.typing as npt
from backtrader.linebuffer import LineActions, LineBuffer
from backtrader.lineiterator import LineIterator
from backtrader.lineroot import LineRoot
from backtrader.lineseries import Lines, LineSeries

from research.engine.fills import Fill, fill_of, filled

_IND: Final = LineIterator.IndType
_OBS: Final = LineIterator.ObsType
_MOVES: Final = ("forward", "home", "buflen")
_OF_LINE: Final = (*_MOVES, "idx", "get_idx", "set_idx", "oncebinding")
_OF_OBJECT: Final = ("_once", "once", "oncestart", "preonce", *_MOVES, "oncebinding")
_OF_STRATEGY: Final = ("_once", *_MOVES)


def run_once(strategy: bt.Strategy) -> None:
    """What `strategy._once()` and `strategy.reset()` do: compute all indicators and go back to the first bar.

    Args:
        strategy: one that Cerebro has started, its feeds loaded.
    """
    if _is_plain_strategy(strategy):
        _Computation().of_strategy(strategy)
    else:
        strategy._once()
    strategy.reset()


class _Computation:
    """The computation of one strategy's indicators."""

    def __init__(self) -> None:
        self._moved = False  # whether any line may be elsewhere than before its first bar
        self._nothing: dict[int, npt.NDArray[np.uint8]] = {}  # NaN for as many bars, as bytes

    def of_strategy(self, strategy: bt.Strategy) -> None:
        """Compute all indicators of a strategy; its own lines end before the first bar."""
        self._moved = any(len(data) for data in strategy.datas)
        self._of_iterator(strategy, None)

    def _of(self, thing: LineRoot) -> None:
        """What `thing._once()` does."""
        cls: type = type(thing)
        fill = _fill_of(cls)
        if fill is None or not _NAMES.isdisjoint(vars(thing)):
            self._moved = True
            thing._once()
        elif isinstance(thing, LineBuffer):
            self._of_operation(thing, fill)
        else:
            self._of_iterator(thing, fill)

    def _of_operation(self, line: LineActions, fill: Fill) -> None:
        """An operation on lines: one line and no parts."""
        if not _is_new(line):
            self._moved = True
            line._once()
            return
        count = line._clock.buflen()
        self._lengthen(line, count)
        line.home()
        self._compute(line, fill, count)
        _bind(line, count)

    def _of_iterator(self, thing: LineIterator, fill: Fill | None) -> None:
        """An indicator, or the strategy: lines of its own and the indicators inside it."""
        lines = thing.lines.lines
        if thing._lineiterators[_OBS] or not all(map(_is_new, lines)):
            self._moved = True
            thing._once()
            return
        count = thing._clock.buflen()
        for line in lines:
            self._lengthen(line, count)
        inner = thing._lineiterators[_IND]
        for one in inner:
            self._of(one)
        self._go_home(thing, inner)
        self._compute(thing, fill, count)
        for line in lines:
            _bind(line, count)

    def _lengthen(self, line: LineBuffer, count: int) -> None:
        """What `line.forward(size=count)` does."""
        nothing = self._nothing.get(count)
        if nothing is None:
            nothing = self._nothing[count] = np.full(count, np.nan).view(np.uint8)
        line.array.frombytes(nothing)
        line._idx += count
        line.lencount += count

    def _go_home(self, thing: LineIterator, inner: Iterable[LineRoot]) -> None:
        if self._moved:
            for data in thing.datas:
                data.home()
            for one in inner:
                one.home()
        thing.home()

    def _compute(self, thing: LineRoot, fill: Fill | None, count: int) -> None:
        first = thing._minperiod - 1
        if fill is not None and 0 <= first < count and filled(fill, thing, first, count):
            return
        self._moved = True
        thing.preonce(0, first)
        thing.oncestart(first, first + 1)
        thing.once(first + 1, thing.buflen())


def _bind(line: LineBuffer, count: int) -> None:
    """What `line.oncebinding()` does, without a copy in between."""
    for binding in line.bindings:
        if type(binding.array) is array.array and len(binding.array) >= count:
            memoryview(binding.array)[:count] = memoryview(line.array)[:count]
        else:
            binding.array[0:count] = line.array[0:count]


# ---------------------------------------------------------------- what is Backtrader's own

_NAMES: Final = frozenset(_OF_OBJECT)


@lru_cache(maxsize=1024)
def _fill_of(cls: type) -> Fill | None:
    """How objects of a class are filled; None where they compute or move in a way of their own."""
    if issubclass(cls, LineActions):
        plain = _takes(cls, LineActions, ("_once",)) and _takes(cls, LineBuffer, _OF_LINE)
    elif issubclass(cls, LineIterator):
        plain = _takes(cls, LineIterator, ("_once",)) and _takes(cls, LineSeries, _MOVES) and _takes_lines(cls)
    else:
        plain = False
    return fill_of(cls) if plain else None


def _takes_lines(cls: type) -> bool:
    return _takes(cls.lines, Lines, _MOVES)  # type: ignore[attr-defined]


def _takes(cls: type, base: type, names: Iterable[str]) -> bool:
    """Whether a class has these attributes from a base, as they are there."""
    return all(getattr(cls, name, None) is getattr(base, name, None) for name in names)


def _is_new(line: LineBuffer) -> bool:
    """Whether a line is a plain one that nothing has been computed of."""
    values = line.array
    return (
        (type(line) is LineBuffer or isinstance(line, LineActions))
        and type(values) is array.array
        and not values
        and not line.lencount
        and not line.useislice
    )


def _is_plain_strategy(strategy: bt.Strategy) -> bool:
    cls = type(strategy)
    own = _takes(cls, bt.Strategy, _OF_STRATEGY) and _takes_lines(cls)
    return own and frozenset(_OF_STRATEGY).isdisjoint(vars(strategy))
