"""What a strategy declares, as the arrays that the compiled rules read.

Belongs here: asking the strategy, and packing its decisions on the clock of the run. Does not belong here: what they
come to (see `machine`).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from research.compiled import machine
from research.engine.kernel.market import Integers, Market
from research.feed import SymbolBars
from strategies.declaration import Bars, Signals, declare

Flags = npt.NDArray[np.uint8]

_BYTE: Final = np.dtype(np.uint8)
_DISTANCES: Final = ((machine.STOP_AWAY, "stop"), (machine.TRAIL_AWAY, "trail"), (machine.PROFIT_AWAY, "take_profit"))
_ABSENT: Final = {machine.STOP_AWAY: -np.inf, machine.TRAIL_AWAY: np.nan, machine.PROFIT_AWAY: -np.inf}


class Declared:
    """The decisions of all symbols for one set of parameters after the other.

    Attributes:
        code: bits of what is declared, by symbol and tick.
        away: distances by row, symbol and tick; None where none are declared.
        comes_to: the decision by bits and side + 1.
        first_ready: tick of each symbol's first bar that may decide.
    """

    def __init__(self, strategy: Any, all_bars: Sequence[SymbolBars], market: Market) -> None:  # noqa: ANN401 (a class)
        self._strategy = strategy
        self._bars = [_closed(bars) for bars in all_bars]
        self._at = market.at
        self._span = market.ticks.shape[1]
        self._distances: npt.NDArray[np.float64] | None = None
        self._tables = {shorts: _table(shorts) for shorts in (False, True)}
        self.code = np.zeros((len(all_bars), self._span), np.uint8)
        self._rows = tuple(self.code)
        self.away: npt.NDArray[np.float64] | None = None
        self.first_ready = np.zeros(len(all_bars), np.int64)
        self.comes_to = self._tables[False]

    def load(self, p: Any) -> tuple[int, ...]:  # noqa: ANN401 (parameters by attribute)
        """Declare with these parameters; index of each symbol's own first bar that may decide.

        Raises:
            StrategyError: what is declared does not fit the bars.
        """
        signals = [declare(self._strategy, bars, p) for bars in self._bars]
        ready = tuple([max(one.ready, 0) for one in signals])
        leaves = False
        for row, one in enumerate(signals):
            at, first = self._at[row], ready[row]
            always = machine.EXITS_FIRST if one.exits_first else 0
            bits = (_flags(one.long_entry), _flags(one.short_entry), _flags(one.long_exit), _flags(one.short_exit))
            _pack(self._rows[row], at, min(first, len(at)), *bits, always)
            self.first_ready[row] = at[first] if first < len(at) else machine.NEVER
            leaves |= one.stop is not None or one.trail is not None or one.take_profit is not None
        self.away = self._spread(signals) if leaves else None
        self.comes_to = self._tables[bool(p.allow_short)]
        return ready

    def _spread(self, signals: Sequence[Signals]) -> npt.NDArray[np.float64]:
        """The distances on the clock of the run; where a symbol has none, minus infinity or (a trail) NaN."""
        if self._distances is None:
            self._distances = np.empty((3, len(signals), self._span))
        for kind, name in _DISTANCES:
            for row, (one, at) in enumerate(zip(signals, self._at, strict=True)):
                declared = getattr(one, name)
                if declared is None:
                    self._distances[kind, row] = _ABSENT[kind]
                else:
                    self._distances[kind, row, at] = declared
        return self._distances


def _closed(bars: SymbolBars) -> Bars:
    """The bars for a declaration, not copied: views that the declaration cannot write through."""
    return Bars(
        bars.symbol, open=bars.open.view(), high=bars.high.view(), low=bars.low.view(), close=bars.close.view(),
        volume=bars.volume.view(),
    )  # fmt: skip


def _flags(decisions: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Truth values as numbers, always of one type: what differs in type is compiled once more."""
    flags = (decisions if decisions.flags.c_contiguous else np.ascontiguousarray(decisions)).view(_BYTE)
    flags.setflags(write=False)
    return flags


@cache
def _table(shorts: bool) -> Integers:
    """What a set of bits comes to on each side: `BaseStrategy._follow`."""
    table = np.zeros((2 * machine.EXITS_FIRST, 3), np.int64)
    for bits in range(len(table)):
        for side in (-1, 0, 1):
            leaves = bool(bits & (machine.LONG_EXIT if side > 0 else machine.SHORT_EXIT)) and side != 0
            action = machine.LEAVE if leaves else machine.STAY
            if not (leaves and bits & machine.EXITS_FIRST):
                if bits & machine.LONG_ENTRY:
                    action = machine.GO_LONG if side <= 0 else machine.STAY
                elif bits & machine.SHORT_ENTRY and shorts:
                    action = machine.GO_SHORT if side >= 0 else machine.STAY
                elif bits & machine.SHORT_ENTRY:
                    action = machine.LEAVE if side > 0 else machine.STAY
            table[bits, side + 1] = action
    return table


@njit(cache=True)
def _pack(  # noqa: PLR0917 (compiled functions take no keywords)
    code: Flags, at: Integers, first: int, long_entry: Flags, short_entry: Flags, long_exit: Flags, short_exit: Flags,
    always: int,
) -> None:  # fmt: skip
    """Four decisions a bar as bits, from the first bar that may decide on."""
    if len(at) == len(code):  # a bar at every tick: no place needs looking up, which lets several bars go at a time
        code[:first] = 0
        bits = np.uint8(always | machine.READY)
        here, enters, shorts = code[first:], long_entry[first:], short_entry[first:]
        leaves, covers = long_exit[first:], short_exit[first:]
        for bar in range(len(here)):
            here[bar] = enters[bar] | shorts[bar] << 1 | leaves[bar] << 2 | covers[bar] << 3 | bits
        return
    for bar in range(first):
        code[at[bar]] = 0
    for bar in range(first, len(at)):
        code[at[bar]] = (
            long_entry[bar] | short_entry[bar] << 1 | long_exit[bar] << 2 | short_exit[bar] << 3 | always
        ) | machine.READY
