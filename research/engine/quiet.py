"""Stretches of bars at which a broker without work has nothing to do.

Belongs here: the next bar at which interest or a flattening is due, or the equity would trip a loss limit.
Does not belong here: doing any of it (see `lean_broker`, `risk.guard`).

While no order fills, cash and positions stand still, so the equity of the bars ahead follows from their closes. What is
worked out ahead decides only which bars may be left out; at the bars that are not, everything happens as ever.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from research.clock import Clock
from research.feed import Floats, SymbolBars
from research.run_tables import closes_on
from risk.guard import RiskGuard

if TYPE_CHECKING:
    from research.engine.lean_broker import LeanBroker

NEVER: Final = 2**62
"""A bar that no run reaches."""
_LOSSES: Final = ("max_daily_loss", "max_daily_loss_fraction", "max_drawdown")
_TIMED: Final = ("max_consecutive_losses", "flat_before_close_minutes")
_BLOCK: Final = 32
_LONGEST: Final = 8192
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Ahead:
    """The bars from `first` up to `stop`, as they will be if nothing fills."""

    first: int
    stop: int
    trips: int | None  # the first bar at which a loss limit trips
    equity: Floats
    starts: Floats  # equity at the start of each bar's session
    peaks: Floats  # highest equity so far


class QuietBars:
    """Looks ahead for one run.

    Attributes:
        marks: whether the guard has to see every bar at which the broker works.
    """

    def __init__(self, clock: Clock, guard: RiskGuard, bars: Mapping[str, SymbolBars]) -> None:
        limits = guard.limits
        self._clock = clock
        self._guard = guard
        self._bars = bars
        self._watches_equity = any(getattr(limits, name) is not None for name in _LOSSES)
        self.marks = self._watches_equity or any(getattr(limits, name) is not None for name in _TIMED)
        self._closes: dict[str, Floats] = {}
        self._marked = -1  # the last bar that the guard has seen
        self._ahead: _Ahead | None = None
        self._length = _BLOCK

    # ---------------------------------------------------------------- before and after a stretch

    def begin(self, broker: "LeanBroker", bar: int) -> int:
        """The first bar after `bar`, which is over, at which the broker must be asked though it has no work.

        The broker asks only where no halt is in force: during one it looks at every bar.
        """
        due = self._next_session(bar) if broker.bears_interest() else NEVER
        if self.marks:
            due = min(due, self._next_flattening(bar))
        if self._watches_equity and broker.invested():
            self._ahead = ahead = self._look_ahead(broker, bar + 1, min(due, bar + 1 + self._length))
            self._length = min(2 * self._length, _LONGEST) if ahead.trips is None else _BLOCK
            due = ahead.stop if ahead.trips is None else ahead.trips
        return due

    def end(self, bar: int) -> None:
        """Before the broker marks `bar`: tell the guard of the bars that were left out before it."""
        if self._marked < bar - 1 and self._watches_equity:
            self._pass_over(bar - 1)
        self._marked, self._ahead = bar, None

    def _pass_over(self, last: int) -> None:
        """The stretch from the last mark to `last`, as the guard would have seen it."""
        guard, ahead, days = self._guard, self._ahead, self._clock.days
        if ahead is not None:
            at = last - ahead.first
            start, peak, equity = (float(row[at]) for row in (ahead.starts, ahead.peaks, ahead.equity))
        else:
            equity, peak = guard.last_equity, guard.peak_equity
            start = guard.session_start_equity if days[last] == days[self._marked] else equity
        guard.pass_over(self._clock.session(last), start=start, peak=peak, last=equity)

    def _next_session(self, bar: int) -> int:
        at = bisect_right(self._session_starts, bar)
        return self._session_starts[at] if at < len(self._session_starts) else NEVER

    @cached_property
    def _session_starts(self) -> list[int]:
        starts: list[int] = np.flatnonzero(np.diff(self._clock.days, prepend=self._clock.days[:1])).tolist()
        return starts

    def _next_flattening(self, bar: int) -> int:
        at = bisect_right(self._flattenings, bar)
        return self._flattenings[at] if at < len(self._flattenings) else NEVER

    @cached_property
    def _flattenings(self) -> list[int]:
        """The bars at which positions must be closed before their session ends."""
        minutes = self._guard.limits.flat_before_close_minutes
        if minutes is None:
            return []
        lead = timedelta(minutes=minutes) // _MICROSECOND
        late: list[int] = np.flatnonzero(self._clock.ts >= self._clock.regular_closes - lead).tolist()
        return late

    # ---------------------------------------------------------------- the equity of the bars ahead

    def _look_ahead(self, broker: "LeanBroker", first: int, stop: int) -> "_Ahead":
        """The equity from `first` up to `stop` while nothing fills, and where a loss limit would trip."""
        stop = min(stop, len(self._clock))
        worth = np.zeros(stop - first)
        for data, position in broker.positions.items():
            if position.size:
                worth = _add_position(worth, position.size, position.price, self._closes_of(data._name)[first:stop])
        equity = broker.cash + worth
        starts = self._session_equities(equity, first, stop)
        peaks = np.maximum.accumulate(np.maximum(equity, self._guard.peak_equity))
        tripped = np.flatnonzero(~self._passes(equity, starts, peaks))
        return _Ahead(first, stop, int(tripped[0]) + first if len(tripped) else None, equity, starts, peaks)

    def _closes_of(self, symbol: str) -> Floats:
        if symbol not in self._closes:
            self._closes[symbol] = closes_on(self._clock.ts, self._bars[symbol])
        return self._closes[symbol]

    def _session_equities(self, equity: Floats, first: int, stop: int) -> Floats:
        """The equity at the start of each bar's session: the last one of the session before."""
        days = self._clock.days
        begins = np.flatnonzero(days[first:stop] != days[first - 1 : stop - 1])
        last = np.concatenate(([self._guard.last_equity], equity))  # one bar earlier than `equity`
        known = np.concatenate(([self._guard.session_start_equity], last[begins]))
        starts: Floats = known[np.searchsorted(begins, np.arange(stop - first), side="right")]
        return starts

    def _passes(self, equity: Floats, starts: Floats, peaks: Floats) -> npt.NDArray[np.bool_]:
        """Where no loss limit trips: the guard's own comparisons, in its own arithmetic."""
        limits = self._guard.limits
        daily = np.full(len(equity), -np.inf)
        if limits.max_daily_loss is not None:
            daily = starts - limits.max_daily_loss
        if limits.max_daily_loss_fraction is not None:
            by_fraction = np.where(starts > 0, starts * (1 - limits.max_daily_loss_fraction), -np.inf)
            daily = np.maximum(daily, by_fraction)
        floors = daily
        if limits.max_drawdown is not None:
            floors = np.maximum(floors, np.where(peaks > 0, peaks * (1 - limits.max_drawdown), -np.inf))
        passes: npt.NDArray[np.bool_] = np.isfinite(equity) & (equity > floors)
        return passes


def _add_position(worth: Floats, size: float, average: float, closes: Floats) -> Floats:
    """The value of the positions so far and of one more, added up as Backtrader does; see `run_tables`."""
    own = size * closes
    profit = size * (closes - average)
    together: Floats = np.where(own > 0, (worth + (own - profit)) + profit, worth + own)
    return together
