"""What the quality rules look at, as plain arrays.

Belongs here: turning tables and a calendar's schedule into arrays that every rule shares, computed once.
Does not belong here: judging them.

Times are UTC microseconds since 1970 (int64), sessions are days since 1970-01-01 (int32).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from warehouse.calendar import TradingCalendar
from warehouse.resolution import Resolution
from warehouse.schema import RAW_SCHEMA

Days = NDArray[np.int32]
Stamps = NDArray[np.int64]
Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Bars:
    """Clean bars as columns, ascending in time; `factor` takes a vendor price to the adjusted one."""

    ts: Stamps
    session: Days
    regular: Mask
    open: Values
    high: Values
    low: Values
    close: Values
    volume: Values
    split_factor: Values
    factor: Values

    def __len__(self) -> int:
        return len(self.ts)

    @classmethod
    def of(cls, table: pa.Table) -> "Bars":
        """Columns of a table with CLEAN_SCHEMA."""
        split = _floats(table, "split_factor")
        return cls(
            ts=_stamps(table, "ts"),
            session=_days(table, "session"),
            regular=table["regular"].to_numpy().astype(np.bool_),
            open=_floats(table, "open"),
            high=_floats(table, "high"),
            low=_floats(table, "low"),
            close=_floats(table, "close"),
            volume=_floats(table, "volume"),
            split_factor=split,
            factor=split * _floats(table, "dividend_factor"),
        )


@dataclass(frozen=True, slots=True)
class Delivered:
    """Raw rows of all batches in the vendor's order; `batch` numbers the delivery, ascending."""

    batch: NDArray[np.int64]
    stamp: Stamps
    batches: int

    @classmethod
    def of(cls, batches: Sequence[pa.Table]) -> "Delivered":
        """Rows of tables with RAW_SCHEMA."""
        table = pa.concat_tables(batches) if batches else RAW_SCHEMA.empty_table()
        sizes = [batch.num_rows for batch in batches]
        return cls(np.repeat(np.arange(len(sizes)), sizes), _stamps(table, "stamp"), len(sizes))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Sessions of the exchange, ascending: when each opens and closes, and its lunch break, if any.

    `break_start` and `break_end` equal `close` where a session has no break.
    """

    session: Days
    open: Stamps
    close: Stamps
    break_start: Stamps
    break_end: Stamps

    def __len__(self) -> int:
        return len(self.session)

    def between(self, first: int, last: int) -> "Schedule":
        """Sessions of a closed range of days."""
        part = slice(*np.searchsorted(self.session, [first, last + 1]))
        return Schedule(
            self.session[part], self.open[part], self.close[part], self.break_start[part], self.break_end[part]
        )

    @classmethod
    def of(cls, calendar: TradingCalendar) -> "Schedule":
        """All sessions that a calendar knows."""
        return cls(
            calendar.days.astype(np.int32), calendar.opens, calendar.closes, calendar.break_starts, calendar.break_ends
        )


@dataclass(frozen=True, slots=True)
class SessionBars:
    """One row a session with bars: its first open, last close and whole volume, and the factors at its start."""

    session: Days
    ts: Stamps
    open: Values
    close: Values
    volume: Values
    split_factor: Values
    factor: Values

    def __len__(self) -> int:
        return len(self.session)

    @classmethod
    def of(cls, bars: Bars) -> "SessionBars":
        """Bars rolled up by session, extended hours included."""
        if not len(bars):
            return cls(bars.session, bars.ts, bars.open, bars.close, bars.volume, bars.split_factor, bars.factor)
        starts = np.flatnonzero(np.r_[True, bars.session[1:] != bars.session[:-1]])
        ends = np.r_[starts[1:], len(bars)] - 1
        return cls(
            bars.session[starts],
            bars.ts[starts],
            bars.open[starts],
            bars.close[ends],
            np.add.reduceat(bars.volume, starts),
            bars.split_factor[starts],
            bars.factor[starts],
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything known about one symbol at one resolution on one day.

    `schedule` holds all sessions the calendar knows. `unreadable` says which files could not be read, one
    sentence each; the tables are then empty.
    """

    symbol: str
    resolution: Resolution
    today: int
    bars: Bars
    sessions: SessionBars
    delivered: Delivered
    quarantine: pa.Table
    revisions: pa.Table
    schedule: Schedule
    unreadable: tuple[str, ...] = ()

    @property
    def lifetime(self) -> Schedule:
        """The exchange's sessions from the first bar to the last: before and after nothing is missing."""
        if not len(self.bars):
            return self.schedule.between(0, -1)
        return self.schedule.between(int(self.bars.session[0]), int(self.bars.session[-1]))


def gather(
    symbol: str,
    resolution: Resolution,
    *,
    bars: pa.Table,
    batches: Sequence[pa.Table],
    quarantine: pa.Table,
    revisions: pa.Table,
    schedule: Schedule,
    today: date,
    unreadable: tuple[str, ...] = (),
) -> Evidence:
    """Evidence from tables (CLEAN_SCHEMA, RAW_SCHEMA, QUARANTINE_SCHEMA, REVISIONS_SCHEMA)."""
    columns = Bars.of(bars)
    return Evidence(
        symbol,
        resolution,
        day_number(today),
        columns,
        SessionBars.of(columns),
        Delivered.of(batches),
        quarantine,
        revisions,
        schedule,
        unreadable,
    )


def day_number(day: date) -> int:
    """Days since 1970-01-01.

    >>> day_number(date(1970, 1, 2))
    1
    """
    return (day - date(1970, 1, 1)).days


def day_texts(days: Days) -> pa.Array:
    """Sessions as `2003-04-17`."""
    return pa.array(days, pa.int32()).cast(pa.date32()).cast(pa.string())


def time_texts(stamps: Stamps) -> pa.Array:
    """Times as `2003-04-17 14:31`, UTC."""
    return pc.strftime(pa.array(stamps, pa.int64()).cast(pa.timestamp("us")), "%Y-%m-%d %H:%M")


def _stamps(table: pa.Table, name: str) -> Stamps:
    values: Stamps = table[name].cast(pa.int64()).fill_null(-1).to_numpy()
    return values


def _days(table: pa.Table, name: str) -> Days:
    values: Days = table[name].cast(pa.int32()).fill_null(-1).to_numpy()
    return values


def _floats(table: pa.Table, name: str) -> Values:
    values: Values = table[name].to_numpy().astype(np.float64, copy=False)
    return values
