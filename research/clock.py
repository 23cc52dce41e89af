"""The moments of a run, computed once before it begins.

Belongs here: times, sessions and session closes of every bar of the union of all symbols. Does not belong here: prices.

The close of a session comes from the exchange calendar, never from "the next bar is of another day": that would look
one bar ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from research.feed import Integers, SymbolBars, day_numbers, union_of_times
from warehouse.calendar import TradingCalendar

_EPOCH = date(1970, 1, 1)
_EPOCH_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """One entry a bar, ascending in time."""

    ts: Integers  # microseconds since 1970-01-01 UTC
    numbers: list[float]  # the same as Backtrader's day numbers
    times: list[datetime]  # the same as aware UTC datetimes
    naive_times: list[datetime]  # the same without a zone, as Backtrader's lines have it
    sessions: list[date]  # exchange day; one object a day
    days_passed: list[int]  # calendar days since the previous bar's session; 0 within a session and at the first bar
    closing: list[bool]  # the bar ends at or after its session's regular close
    closes: dict[date, int]  # regular close of each session, microseconds since 1970-01-01 UTC

    def __len__(self) -> int:
        return len(self.ts)

    def session_close(self, session: date) -> datetime:
        """Regular close of a session of the run, aware UTC."""
        return _EPOCH_TIME + timedelta(microseconds=self.closes[session])


def clock_of(all_bars: Sequence[SymbolBars], calendar: TradingCalendar) -> Clock:
    """The clock of a run over these symbols."""
    ts = union_of_times(all_bars)
    days = np.zeros(len(ts), dtype=np.int64)
    for bars in all_bars:
        days[np.searchsorted(ts, bars.ts)] = bars.sessions
    closes = _closes(days, calendar)
    times = [_EPOCH_TIME + timedelta(microseconds=us) for us in ts.tolist()]
    distinct, first, inverse = np.unique(days, return_index=True, return_inverse=True)
    dates = [_EPOCH + timedelta(days=day) for day in distinct.tolist()]
    return Clock(
        ts=ts,
        numbers=day_numbers(ts).tolist(),
        times=times,
        naive_times=[time.replace(tzinfo=None) for time in times],
        sessions=[dates[i] for i in inverse],
        days_passed=np.diff(days, prepend=days[:1]).tolist(),
        closing=(ts >= closes).tolist(),
        closes=dict(zip(dates, closes[first].tolist(), strict=True)),
    )


def _closes(days: Integers, calendar: TradingCalendar) -> Integers:
    """Regular close of each day; the day's midnight after it where the calendar knows no session."""
    at = np.clip(np.searchsorted(calendar.days, days), 0, len(calendar.days) - 1)
    midnight = (days + 1) * 86_400_000_000
    closes: Integers = np.where(calendar.days[at] == days, calendar.closes[at], midnight)
    return closes
