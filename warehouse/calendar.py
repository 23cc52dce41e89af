"""Exchange sessions: which days trade, and when they open and close.

Belongs here: a frozen view of one exchange_calendars schedule as arrays. Does not belong here: bars, schedules of jobs.

Everything is looked up in sorted arrays of days and UTC microseconds; the minute functions of exchange_calendars
are never used, because they build every minute of the calendar.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import exchange_calendars as xc
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from warehouse.errors import InvalidRequestError
from warehouse.schema import UTC_US

Int64s = npt.NDArray[np.int64]

_FIRST_DAY = "1970-01-01"
_EPOCH = date(1970, 1, 1)
_NEVER = np.iinfo(np.int64).max
_SCHEDULE_SCHEMA = pa.schema([pa.field("session", pa.date32()), pa.field("open", UTC_US), pa.field("close", UTC_US)])


@dataclass(frozen=True, slots=True, init=False, eq=False)
class TradingCalendar:
    """Sessions of one exchange, from 1970 (or the calendar's first known day) to about a year from today.

    `days` are days since 1970-01-01, `opens` and `closes` microseconds since then in UTC, `break_starts` and
    `break_ends` likewise (equal to `closes` where a session has no break); all ascending and read-only.
    """

    name: str
    timezone: str
    days: Int64s = field(repr=False)
    opens: Int64s = field(repr=False)
    closes: Int64s = field(repr=False)
    break_starts: Int64s = field(repr=False)
    break_ends: Int64s = field(repr=False)

    def __init__(self, name: str) -> None:
        exchange = _load(name)
        schedule = exchange.schedule
        closes = _microseconds(schedule["close"])
        columns = {
            "name": name,
            "timezone": str(exchange.tz),
            "days": schedule.index.to_numpy().astype("datetime64[D]").astype(np.int64),
            "opens": _microseconds(schedule["open"]),
            "closes": closes,
            "break_starts": _or_else(_microseconds(schedule["break_start"]), closes),
            "break_ends": _or_else(_microseconds(schedule["break_end"]), closes),
        }
        for key, value in columns.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, key, value)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Pickle by name: a worker process rebuilds the arrays."""
        return get_calendar, (self.name,)

    @property
    def first_session(self) -> date:
        """First session known."""
        return _day(self.days[0])

    @property
    def last_session(self) -> date:
        """Last session known; lies in the future."""
        return _day(self.days[-1])

    def sessions(self, start: date, end: date) -> list[date]:
        """Sessions in the closed range, clipped to what the calendar knows."""
        low, high = self._span(start, end)
        return [_day(d) for d in self.days[low:high]]

    def is_session(self, day: date) -> bool:
        """True when the exchange trades on that date."""
        i = int(np.searchsorted(self.days, _number(day)))
        return i < len(self.days) and int(self.days[i]) == _number(day)

    def open_utc(self, session: date) -> datetime:
        """Start of regular trading, aware UTC.

        Raises:
            InvalidRequestError: the date is not a session.
        """
        return _moment(self.opens[self._index(session)])

    def close_utc(self, session: date) -> datetime:
        """End of regular trading, aware UTC, early closes included.

        Raises:
            InvalidRequestError: the date is not a session.
        """
        return _moment(self.closes[self._index(session)])

    def previous_session(self, day: date) -> date:
        """Last session strictly before a date.

        Raises:
            InvalidRequestError: the calendar knows none.
        """
        i = int(np.searchsorted(self.days, _number(day), side="left")) - 1
        return self._known(i, f"a session before {day}")

    def next_session(self, day: date) -> date:
        """First session strictly after a date.

        Raises:
            InvalidRequestError: the calendar knows none.
        """
        i = int(np.searchsorted(self.days, _number(day), side="right"))
        return self._known(i, f"a session after {day}")

    def last_closed_session(self, now: datetime) -> date:
        """Latest session whose close is not after `now` (aware).

        Raises:
            InvalidRequestError: `now` is naive, or outside the calendar.
        """
        moment = utc_microseconds(now, "now")
        if moment > int(self.closes[-1]):
            raise InvalidRequestError(f"now: {now} lies after the last session that calendar {self.name} knows.")
        return self._known(int(np.searchsorted(self.closes, moment, side="right")) - 1, f"a session closed by {now}")

    def is_open(self, moment: datetime) -> bool:
        """Whether the exchange trades at a moment (aware UTC): from its open to just before its close, breaks left out.

        Raises:
            InvalidRequestError: the moment has no time zone.
        """
        at = utc_microseconds(moment, "moment")
        i = int(np.searchsorted(self.opens, at, side="right")) - 1
        if i < 0 or at >= int(self.closes[i]):
            return False
        return not int(self.break_starts[i]) <= at < int(self.break_ends[i])

    def schedule(self, start: date, end: date) -> pa.Table:
        """Sessions of the closed range: `session` date32, `open` and `close` UTC microseconds."""
        low, high = self._span(start, end)
        return pa.table(
            [
                pa.array(self.days[low:high].astype(np.int32), pa.int32()).cast(pa.date32()),
                pa.array(self.opens[low:high], pa.int64()).cast(UTC_US),
                pa.array(self.closes[low:high], pa.int64()).cast(UTC_US),
            ],
            schema=_SCHEDULE_SCHEMA,
        )

    def minutes_in_session(self, session: date) -> int:
        """Minutes of regular trading, without a lunch break.

        Raises:
            InvalidRequestError: the date is not a session.
        """
        i = self._index(session)
        length = self.closes[i] - self.opens[i] - (self.break_ends[i] - self.break_starts[i])
        return int(length // 60_000_000)

    def _span(self, start: date, end: date) -> tuple[int, int]:
        low = np.searchsorted(self.days, _number(start), side="left")
        return int(low), int(np.searchsorted(self.days, _number(end), side="right"))

    def _index(self, session: date) -> int:
        if not self.is_session(session):
            raise InvalidRequestError(f"session: {session} is not a session of calendar {self.name}.")
        return int(np.searchsorted(self.days, _number(session)))

    def _known(self, i: int, wanted: str) -> date:
        if not 0 <= i < len(self.days):
            raise InvalidRequestError(f"calendar: {self.name} knows no {wanted.removeprefix('a ')}.")
        return _day(self.days[i])


@lru_cache(maxsize=32)
def get_calendar(name: str) -> TradingCalendar:
    """The calendar of an exchange by its exchange_calendars name (`XNYS`, `XLON`, `24/7` ...), built once a process.

    Raises:
        InvalidRequestError: no such calendar.
    """
    return TradingCalendar(name)


def utc_microseconds(moment: datetime, name: str) -> int:
    """Microseconds since 1970 UTC of an aware moment.

    Raises:
        InvalidRequestError: the moment is naive; `name` is the argument it came from.
    """
    if moment.tzinfo is None:
        raise InvalidRequestError(f"{name}: {moment} has no time zone.")
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _load(name: str) -> xc.ExchangeCalendar:
    try:
        try:
            return xc.get_calendar(name, start=_FIRST_DAY)
        except ValueError:  # some calendars are known from a later day only
            return xc.get_calendar(name, start=type(xc.get_calendar(name)).bound_min())
    except xc.errors.InvalidCalendarName:
        raise InvalidRequestError(f"calendar: {name!r} is not a calendar that exchange_calendars knows.") from None


def _microseconds(column: "pd.Series[pd.Timestamp]") -> Int64s:
    naive = column.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    numbers: Int64s = naive.astype(np.int64)
    return np.where(np.isnat(naive), _NEVER, numbers)


def _or_else(values: Int64s, fallback: Int64s) -> Int64s:
    return np.where(values == _NEVER, fallback, values)


def _number(day: date) -> int:
    return (day - _EPOCH).days if type(day) is date else (date(day.year, day.month, day.day) - _EPOCH).days


def _day(number: int | np.int64) -> date:
    return _EPOCH + timedelta(days=int(number))


def _moment(microseconds: int | np.int64) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(microseconds))
