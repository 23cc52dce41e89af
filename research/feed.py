"""Bars as Backtrader lines, whole columns at a time.

Belongs here: checking and slicing the bars of one symbol, Backtrader's day numbers, the data feed. Does not belong
here: reading the warehouse, which lengths of bar exist.

`PandasData` fetches every cell of every row through `iloc`, 40 % of a run. Here each column is copied once into the
array behind its line; the lines that come out are the same, bit for bit. Backtrader has no time zones that work:
its lines carry naive UTC, and a bar's stamp is its close.
"""

import array
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import backtrader as bt
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research.errors import BarsError
from strategies.declaration import Bars
from warehouse.resolution import Resolution
from warehouse.schema import BARS_SCHEMA

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1)
_EPOCH_ORDINAL = _EPOCH.toordinal()
_PRICES = ("open", "high", "low", "close")
_AT_A_TIME = 65_536  # bars


@dataclass(frozen=True, slots=True, eq=False)
class SymbolBars:
    """One symbol's bars of a backtest as aligned arrays, ascending and unique in time."""

    symbol: str
    ts: Integers  # microseconds since 1970-01-01 UTC, the bar's close
    sessions: Integers  # exchange day of each bar, days since 1970-01-01
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    _numbers: list[Floats] = field(default_factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def numbers(self) -> Floats:
        """The times as Backtrader's day numbers, computed once however often the bars are run."""
        if not self._numbers:
            self._numbers.append(day_numbers(self.ts))
        return self._numbers[0]

    def head(self, until_us: int) -> "SymbolBars":
        """The bars stamped at or before a moment (microseconds since 1970-01-01 UTC)."""
        stop = int(np.searchsorted(self.ts, until_us, side="right"))
        return SymbolBars(
            self.symbol, self.ts[:stop], self.sessions[:stop],
            self.open[:stop], self.high[:stop], self.low[:stop], self.close[:stop], self.volume[:stop],
        )  # fmt: skip

    def closed(self) -> Bars:
        """The same bars for a declaration."""
        columns = {name: getattr(self, name).copy() for name in (*_PRICES, "volume")}
        return Bars(self.symbol, **columns)

    def with_future(self, after_us: int, factor: float) -> "SymbolBars":
        """The same bars, prices of those stamped after a moment multiplied."""
        scale = np.where(self.ts > after_us, factor, 1.0)
        return SymbolBars(
            self.symbol, self.ts, self.sessions,
            self.open * scale, self.high * scale, self.low * scale, self.close * scale, self.volume,
        )  # fmt: skip


def symbol_bars(symbol: str, table: pa.Table, start: date, end: date) -> SymbolBars:
    """The bars of the sessions from `start` to `end`, both included.

    Raises:
        BarsError: a column is missing, a time or price is null or not finite, time does not ascend, or nothing is left.
    """
    _check_columns(symbol, table)
    rows = _of_sessions(table, start, end)
    if rows.num_rows == 0:
        raise BarsError(f"symbols: {symbol} has no bars from {start} to {end} ({_extent(table)}).")
    # floats in one piece stay where Arrow has them; a copy of 500,000 bars would be 20 MB
    columns = {name: rows[name].to_numpy().astype(np.float64, copy=False) for name in (*_PRICES, "volume")}
    bars = SymbolBars(
        symbol,
        rows["ts"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy(),
        rows["session"].cast(pa.int32()).to_numpy().astype(np.int64),
        **columns,
    )
    _check_values(bars)
    return bars


def _of_sessions(table: pa.Table, start: date, end: date) -> pa.Table:
    """The rows of some sessions; a view of the table where they follow one another, as they do in stored bars."""
    inside = pc.and_(
        pc.greater_equal(table["session"], pa.scalar(start)), pc.less_equal(table["session"], pa.scalar(end))
    )
    places = np.flatnonzero(inside.to_numpy())
    if len(places) and places[-1] - places[0] + 1 == len(places):
        return table.slice(int(places[0]), len(places))
    return table.filter(inside)


def day_numbers(ts_us: Integers) -> Floats:
    """Backtrader's `date2num` of naive UTC moments: days since 0001-01-01 plus one, correctly rounded.

    `date2num` adds day, hour, minute, second and microsecond with one rounding (`fsum`). The times of day in a series
    are few, so their exact sums are kept as two doubles each and added to the day in two steps that lose nothing.
    """
    numbers: Floats = np.empty(len(ts_us))
    for first in range(0, len(ts_us), _AT_A_TIME):  # in between it takes seven columns of as many
        numbers[first : first + _AT_A_TIME] = _some_day_numbers(ts_us[first : first + _AT_A_TIME])
    return numbers


def _some_day_numbers(ts_us: Integers) -> Floats:
    day, time_of_day = np.divmod(ts_us, _DAY_US)
    base = (day + _EPOCH_ORDINAL).astype(np.float64)
    distinct, inverse = _distinct_times(time_of_day)
    high, low = np.array([_day_fraction(int(us)) for us in distinct], dtype=np.float64).reshape(-1, 2).T
    total = base + high[inverse]
    lost = high[inverse] - (total - base)
    numbers: Floats = total + (lost + low[inverse])
    return numbers


def line_of(values: Floats) -> "array.array[float]":
    """A column as the array behind one of Backtrader's lines."""
    line = array.array("d")
    line.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return line


def _distinct_times(time_of_day: Integers) -> tuple[Integers, Integers]:
    """The different times of day (microseconds), ascending, and the place of each one among them."""
    seconds, parts = np.divmod(time_of_day, 1_000_000)
    if parts.any():
        distinct, inverse = np.unique(time_of_day, return_inverse=True)
        return distinct, inverse
    present = np.bincount(seconds, minlength=1) > 0
    return np.flatnonzero(present) * 1_000_000, (np.cumsum(present) - 1)[seconds]


def _day_fraction(us: int) -> tuple[float, float]:
    """A time of day as a fraction: the nearest double and what it leaves out."""
    seconds, us = divmod(us, 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    terms = (hours / 24.0, minutes / 1440.0, seconds / 86_400.0, us / 86_400e6)
    nearest = math.fsum(terms)
    return nearest, math.fsum((*terms, -nearest))


class ArrowFeed(bt.feed.DataBase):  # type: ignore[misc]
    """A Backtrader data feed whose `preload` fills all lines from a `SymbolBars` (given as `dataname`)."""

    def preload(self) -> None:
        """Copy every column into its line and rewind, as `DataBase.preload` leaves the lines."""
        bars: SymbolBars = self.p.dataname
        columns = {
            "datetime": bars.numbers,
            "open": bars.open,
            "high": bars.high,
            "low": bars.low,
            "close": bars.close,
            "volume": bars.volume,
        }
        for name in self.getlinealiases():
            line = getattr(self.lines, name)
            line.array = line_of(columns[name]) if name in columns else array.array("d", (math.nan,)) * len(bars)
            line.extension = 0
        self._next_row = len(bars)
        self.home()

    def start(self) -> None:
        """Begin at the first bar."""
        super().start()
        self._next_row = 0

    def _load(self) -> bool:
        """One bar, for runs that do not preload."""
        bars, row = self.p.dataname, self._next_row
        if row >= len(bars):
            return False
        self._next_row = row + 1
        self.lines.datetime[0] = bars.numbers[row]
        for name in (*_PRICES, "volume"):
            getattr(self.lines, name)[0] = getattr(bars, name)[row]
        return True

    # A tick differs from its bar only when bars are replayed, which this feed never is: the attributes that
    # Backtrader sets at every bar become views on the lines.

    def _tick_nullify(self) -> None:
        """Nothing is stored, nothing to reset."""

    def _tick_fill(self, force: bool = False) -> None:
        """Nothing is stored, nothing to fill."""

    tick_open = property(lambda self: self.lines.open[0])
    tick_high = property(lambda self: self.lines.high[0])
    tick_low = property(lambda self: self.lines.low[0])
    tick_close = property(lambda self: self.lines.close[0])
    tick_volume = property(lambda self: self.lines.volume[0])
    tick_openinterest = property(lambda self: self.lines.openinterest[0])
    tick_last = property(lambda self: self.lines.close[0])


_TIMEFRAMES = {
    Resolution.DAILY: (bt.TimeFrame.Days, 1),
    Resolution.HOURLY: (bt.TimeFrame.Minutes, 60),
    Resolution.MINUTE: (bt.TimeFrame.Minutes, 1),
    Resolution.SECONDS_5: (bt.TimeFrame.Seconds, 5),
}


def arrow_feed(bars: SymbolBars, resolution: Resolution) -> ArrowFeed:
    """The feed of one symbol, named after it."""
    from research.engine.making import make_feed  # noqa: PLC0415 (the engine imports this module)

    timeframe, compression = _TIMEFRAMES[resolution]
    made: ArrowFeed = make_feed(
        ArrowFeed, dataname=bars, name=bars.symbol, timeframe=timeframe, compression=compression
    )
    return made


def union_of_times(all_bars: Sequence[SymbolBars]) -> Integers:
    """Every moment at which at least one symbol has a bar, ascending: the clock of the backtest."""
    first = all_bars[0].ts
    if all(np.array_equal(bars.ts, first) for bars in all_bars[1:]):
        return first
    times = np.sort(np.concatenate([bars.ts for bars in all_bars]))  # quicker than `unique`, which hashes
    union: Integers = times[np.append(True, times[1:] != times[:-1])]
    return union


def _check_columns(symbol: str, table: pa.Table) -> None:
    for column in BARS_SCHEMA:
        if column.name in {"symbol", "resolution", "regular"}:
            continue
        if column.name not in table.column_names:
            raise BarsError(f"bars of {symbol}: the column {column.name} is missing.")
        if column.name != "volume" and table[column.name].null_count:
            raise BarsError(f"bars of {symbol}: the column {column.name} holds {table[column.name].null_count} nulls.")


def _check_values(bars: SymbolBars) -> None:
    if len(bars) > 1 and not (np.diff(bars.ts) > 0).all():
        raise BarsError(f"bars of {bars.symbol}: the column ts is not strictly ascending.")
    for name in _PRICES:
        if not np.isfinite(getattr(bars, name)).all():
            raise BarsError(f"bars of {bars.symbol}: the column {name} holds a value that is not a number.")


def _extent(table: pa.Table) -> str:
    if table.num_rows == 0:
        return "the warehouse holds none at all"
    extent = pc.min_max(table["session"]).as_py()
    return f"it has bars from {extent['min']} to {extent['max']}"
