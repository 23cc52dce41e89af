"""The moments of a run, known before it begins.

Belongs here: times, sessions and session closes of every bar of the union of all symbols. Does not belong here: prices.

The close of a session comes from the exchange calendar, never from "the next bar is of another day": that would look
one bar ahead.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Final

import numpy as np

from research.feed import Integers, SymbolBars, day_numbers, line_of, union_of_times
from warehouse.calendar import TradingCalendar

_EPOCH: Final = date(1970, 1, 1)
_EPOCH_ORDINAL: Final = _EPOCH.toordinal()
_EPOCH_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH_TIME: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (as Backtrader's lines have it)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, eq=False)
class Clock:
    """One entry a bar, ascending in time.

    Who looks at every bar takes the sequences, which are made when they are first asked for; who looks at a few takes
    the methods.
    """

    ts: Integers  # microseconds since 1970-01-01 UTC
    days: Integers  # exchange day, days since 1970-01-01
    regular_closes: Integers  # of the bar's session, microseconds since 1970-01-01 UTC

    def __len__(self) -> int:
        return len(self.ts)

    def time(self, bar: int) -> datetime:
        """When a bar closes, aware UTC."""
        return _EPOCH_TIME + timedelta(microseconds=int(self.ts[bar]))

    def naive_time(self, bar: int) -> datetime:
        """The same without a zone, as Backtrader's lines have it."""
        return _NAIVE_EPOCH_TIME + timedelta(microseconds=int(self.ts[bar]))

    def session(self, bar: int) -> date:
        """Exchange day of a bar."""
        return date.fromordinal(int(self.days[bar]) + _EPOCH_ORDINAL)

    def session_at(self, moment: datetime) -> date:
        """Exchange day of the bar that closes at a moment (aware UTC) or, without one, of the next."""
        return self.session(int(np.searchsorted(self.ts, (moment - _EPOCH_TIME) // _MICROSECOND)))

    def session_close(self, session: date) -> datetime:
        """Regular close of a session of the run, aware UTC."""
        return _EPOCH_TIME + timedelta(microseconds=self._closes[session.toordinal() - _EPOCH_ORDINAL])

    @cached_property
    def times(self) -> list[datetime]:
        """`time` of every bar."""
        return [_EPOCH_TIME + timedelta(microseconds=us) for us in self.ts.tolist()]

    @cached_property
    def naive_times(self) -> list[datetime]:
        """`naive_time` of every bar."""
        return [time.replace(tzinfo=None) for time in self.times]

    @cached_property
    def numbers(self) -> Sequence[float]:
        """Time of every bar as Backtrader's day number."""
        return line_of(day_numbers(self.ts))

    @cached_property
    def sessions(self) -> list[date]:
        """`session` of every bar; one object a day."""
        distinct, inverse = np.unique(self.days, return_inverse=True)
        dates = [date.fromordinal(day + _EPOCH_ORDINAL) for day in distinct.tolist()]
        return [dates[i] for i in inverse.tolist()]

    @cached_property
    def days_passed(self) -> Sequence[int]:
        """Calendar days since the previous bar's session: 0 within a session and at the first bar."""
        return array("i", np.diff(self.days, prepend=self.days[:1]).astype(np.intc).tobytes())

    @cached_property
    def closing(self) -> list[bool]:
        """Whether a bar ends at or after its session's regular close."""
        closing: list[bool] = (self.ts >= self.regular_closes).tolist()
        return closing

    @cached_property
    def _closes(self) -> dict[int, int]:
        distinct, first = np.unique(self.days, return_index=True)
        return dict(zip(distinct.tolist(), self.regular_closes[first].tolist(), strict=True))


def clock_of(all_bars: Sequence[SymbolBars], calendar: TradingCalendar) -> Clock:
    """The clock of a run over these symbols."""
    ts = union_of_times(all_bars)
    days = all_bars[0].sessions
    if any(len(bars) != len(ts) or not np.array_equal(bars.sessions, days) for bars in all_bars):
        days = np.zeros(len(ts), dtype=np.int64)
        for bars in all_bars:
            days[np.searchsorted(ts, bars.ts)] = bars.sessions
    return Clock(ts, days, _regular_closes(days, calendar))


def _regular_closes(days: Integers, calendar: TradingCalendar) -> Integers:
    """Regular close of each day; the day's midnight after it where the calendar knows no session."""
    at = np.clip(np.searchsorted(calendar.days, days), 0, len(calendar.days) - 1)
    midnight = (days + 1) * 86_400_000_000
    closes: Integers = np.where(calendar.days[at] == days, calendar.closes[at], midnight)
    return closes
