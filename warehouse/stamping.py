"""From a vendor's stamp to the moment a bar closed and the session it belongs to.

Belongs here: stamp -> close in UTC, session, regular or extended hours. Does not belong here: prices, batches.

A bar is known only when it has closed, so clean bars are stamped at the close. Vendors that stamp the open are
converted here and nowhere else; a bar that would run past the session's close is cut at it. Some vendors cut hours on
the clock, so that the first one after an open at 09:30 is half an hour long: what ends at 10:00 is known at 10:00.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.calendar import TradingCalendar
from warehouse.errors import SourceContractError
from warehouse.resolution import Resolution
from warehouse.schema import UTC_US

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Placed:
    """Where bars lie in time; arrays of one length.

    `ts` closes in UTC microseconds, `session` days since 1970, `regular` inside regular hours,
    `known` False where the stamp lies outside the calendar's years, `trading` False where the
    exchange had no session. `ts` and `session` mean nothing where either is False.
    """

    ts: Int64s
    session: Int64s
    regular: Bools
    known: Bools
    trading: Bools


def place(stamps: Int64s, stamped: str, resolution: Resolution, calendar: TradingCalendar) -> Placed:
    """Place vendor stamps (UTC microseconds; `stamped` is a word of `sources.protocol.Stamped`) on the calendar.

    Raises:
        SourceContractError: `stamped` is unknown, "session" for an intraday bar, or "clock_open" for a daily one.
    """
    allowed = ("open", "clock_open", "close") if resolution.intraday else ("open", "close", "session")
    if stamped not in allowed:
        raise SourceContractError(f"stamped: {stamped!r} is not valid for {resolution.value} bars.")
    if resolution.intraday:
        return _place_intraday(stamps, stamped, resolution, calendar)
    return _place_daily(stamps, stamped, calendar)


def local_days(stamps: Int64s, timezone: str) -> Int64s:
    """Calendar date, as days since 1970, that each UTC microsecond falls on in a time zone."""
    local = pc.local_timestamp(pa.array(stamps, pa.int64()).cast(pa.timestamp("us", tz=timezone)))
    days: Int64s = local.cast(pa.date32(), safe=False).cast(pa.int32()).to_numpy(zero_copy_only=False)
    return days.astype(np.int64)


def to_timestamps(microseconds: Int64s) -> pa.Array:
    """UTC microseconds as an Arrow timestamp array."""
    return pa.array(microseconds, pa.int64()).cast(UTC_US)


def to_dates(days: Int64s) -> pa.Array:
    """Days since 1970 as an Arrow date array."""
    return pa.array(days.astype(np.int32), pa.int32()).cast(pa.date32())


def _place_daily(stamps: Int64s, stamped: str, calendar: TradingCalendar) -> Placed:
    if stamped == "session":
        days = np.floor_divide(stamps, DAY_US)
    else:
        days = local_days(stamps - (1 if stamped == "close" else 0), calendar.timezone)
    if stamped == "open":  # sessions that open the evening before carry the next date
        running = _clip(np.searchsorted(calendar.closes, stamps, side="right"), calendar)
        days = np.where(calendar.opens[running] <= stamps, calendar.days[running], days)
    i = _clip(np.searchsorted(calendar.days, days), calendar)
    return Placed(
        ts=calendar.closes[i],
        session=days,
        regular=np.ones(len(stamps), bool),
        known=(days >= calendar.days[0]) & (days <= calendar.days[-1]),
        trading=calendar.days[i] == days,
    )


def _place_intraday(stamps: Int64s, stamped: str, resolution: Resolution, calendar: TradingCalendar) -> Placed:
    length = resolution.length // timedelta(microseconds=1)
    starts = stamps - length if stamped == "close" else stamps
    ends = starts + length
    if stamped == "clock_open":
        ends = ends - _past_the_clock(starts, length, calendar.timezone)
    following = np.searchsorted(calendar.closes, starts, side="right")
    i = _clip(following, calendar)
    in_break = (starts >= calendar.break_starts[i]) & (ends <= calendar.break_ends[i])
    regular = (starts < calendar.closes[i]) & (ends > calendar.opens[i]) & ~in_break
    session, trading = _extended_sessions(starts, i, regular | in_break, calendar)
    return Placed(
        ts=np.where(regular, np.minimum(ends, calendar.closes[i]), ends),
        session=session,
        regular=regular,
        known=(starts >= calendar.opens[0] - DAY_US) & (starts <= calendar.closes[-1] + DAY_US),
        trading=trading,
    )


def _past_the_clock(starts: Int64s, length: int, timezone: str) -> Int64s:
    """How long after a full bar length of the local clock each bar opens."""
    local = pc.local_timestamp(pa.array(starts, pa.int64()).cast(pa.timestamp("us", tz=timezone)))
    past: Int64s = local.cast(pa.int64()).to_numpy(zero_copy_only=False) % length
    return past


def _extended_sessions(starts: Int64s, i: Int64s, inside: Bools, calendar: TradingCalendar) -> tuple[Int64s, Bools]:
    """Session of each bar: its own when inside one, else that of the same local date, if that date trades."""
    session = calendar.days[i].copy()
    trading = inside.copy()
    outside = np.flatnonzero(~inside)
    if len(outside):
        days = local_days(starts[outside], calendar.timezone)
        at = _clip(np.searchsorted(calendar.days, days), calendar)
        session[outside] = days
        trading[outside] = calendar.days[at] == days
    return session, trading


def _clip(positions: npt.NDArray[np.intp], calendar: TradingCalendar) -> Int64s:
    return np.minimum(positions, len(calendar.days) - 1).astype(np.int64)
