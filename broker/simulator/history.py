"""Bars of every length that IB offers, as a client asks for them.

Belongs here: bar sizes and durations, bars rolled up from stored ones, what is forming now. Does not belong here:
pacing (see `pacing`), messages.

Bars are stamped at their open, as IB stamps them. Nothing that has not happened on the simulated clock is shown.
"""

import calendar as months
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from broker.simulator.admission import Refusal
from broker.simulator.framing import Field
from broker.simulator.instruments import Instrument
from broker.simulator.market import Market
from broker.simulator.moments import datetime_of, day_of, read_moment, seconds, written
from broker.simulator.requests import Request
from broker.simulator.tape import EPOCH, FINEST_FIRST, MICROSECOND, SECOND, Bar, Int64s, Series, Tape
from warehouse.resolution import Resolution

_MINUTE: Final = 60 * SECOND
_HOUR: Final = 60 * _MINUTE
DAY: Final = 24 * _HOUR
_SIZES: Final = {
    **{f"{n} secs": n * SECOND for n in (1, 5, 10, 15, 30)},
    "1 sec": SECOND,
    "1 min": _MINUTE,
    **{f"{n} mins": n * _MINUTE for n in (1, 2, 3, 5, 10, 15, 20, 30)},
    "1 hour": _HOUR,
    **{f"{n} hours": n * _HOUR for n in (1, 2, 3, 4, 8)},
    "1 day": DAY,
    "1 week": 7 * DAY,
    "1W": 7 * DAY,
    "1 W": 7 * DAY,
    "1 month": 30 * DAY,
    "1M": 30 * DAY,
    "1 M": 30 * DAY,
}
SHOWN: Final = ("TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK", "ADJUSTED_LAST", "SCHEDULE")
_UNITS: Final = ("S", "D", "W", "M", "Y")
_MOST: Final = 10_000_000

Row = tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request for bars, understood."""

    instrument: Instrument
    size: int  # microseconds; a week and a month by their nominal length
    amount: int
    unit: str
    end: int | None  # None for now
    use_rth: bool
    what: str
    epoch: bool  # intraday stamps as seconds since 1970
    update: bool


@dataclass(slots=True)
class Historian:
    """Answers from the tape, up to the market's present."""

    market: Market
    adjusted: Callable[[], Tape]  # prices adjusted for dividends too, read when first asked for

    def understand(self, request: Request, instrument: Instrument) -> Wanted | Refusal:
        """What a request asks for, or why it cannot be answered."""
        size = _SIZES.get(request.text("bar_size").strip())
        amount, _, unit = request.text("duration").strip().partition(" ")
        what = request.text("what").upper()
        if what not in SHOWN:
            return _invalid(f"Invalid data type {request.text('what')!r}")
        if size is None:
            return _invalid(f"Historical data bar size setting is invalid: {request.text('bar_size')!r}")
        if not (amount.isascii() and amount.isdecimal() and 0 < int(amount[:9]) < _MOST and unit in _UNITS):
            return _invalid(f"Invalid historical duration {request.text('duration')!r}")
        if unit == "D" and int(amount) > 365:
            return _invalid("Historical data requests for durations longer than 365 days must be made in years.")
        end, update = request.text("end").strip(), request.flag("update")
        if end and (update or what == "ADJUSTED_LAST"):
            return _invalid(f"End date not supported with {'keepUpToDate' if update else 'adjusted last'}")
        moment = read_moment("endDateTime", end, self.market.calendar.timezone) if end else None
        return Wanted(
            instrument, size, int(amount), unit, moment, request.flag("use_rth"), what, request.text("format") == "2",
            update,
        )  # fmt: skip

    def rows(self, wanted: Wanted, version: int) -> list[Row]:
        """The bars of a request, oldest first."""
        bars = self.bars(wanted)
        return [self.row(wanted, bars.bar(i), version) for i in range(len(bars))]

    def bars(self, wanted: Wanted) -> Series:
        """The bars of a request as a series."""
        end = min(self.market.now, wanted.end if wanted.end is not None else self.market.now)
        series = self._source(wanted)
        if series is None:
            return _empty()
        closed = series.part(0, series.closed_by(end))
        closed = closed.part(_first(closed, wanted, end), len(closed))  # before anything is copied
        closed = closed.only(closed.regular) if wanted.use_rth else closed
        if wanted.end is None:
            closed = self._with_tail(wanted, closed)
        whole = self._rolled(closed, wanted)
        if wanted.unit == "S":
            whole = whole.part(max(0, len(whole) - math.ceil(wanted.amount * SECOND / wanted.size)), len(whole))
        return whole

    def newest(self, wanted: Wanted, version: int) -> Row | None:
        """The bar that is forming or has just closed."""
        unit = {7 * DAY: "W", 30 * DAY: "M"}.get(wanted.size, "D")
        near = Wanted(
            wanted.instrument, wanted.size, 1, unit, None, wanted.use_rth, wanted.what, wanted.epoch, wanted.update
        )
        bars = self.bars(near)
        return self.row(wanted, bars.bar(len(bars) - 1), version) if len(bars) else None

    def row(self, wanted: Wanted, bar: Bar, version: int) -> Row:
        """One bar as IB shows it."""
        unknown = wanted.what in {"MIDPOINT", "BID", "ASK", "BID_ASK"} or math.isnan(bar.volume)
        volume: Field = -1 if unknown else int(bar.volume) if version < 163 else bar.volume
        average: Field = -1 if unknown else round((bar.high + bar.low + bar.close) / 3, 6)
        count = -1 if unknown else max(1, int(bar.volume) // 100)
        return (
            self.stamp(wanted, bar, version),
            *_quoted(bar, wanted.what, float(wanted.instrument.min_tick)),
            volume,
            average,
            count,
        )

    def stamp(self, wanted: Wanted, bar: Bar, version: int) -> str:
        """A bar's time: its day, or its open."""
        if wanted.size >= DAY:
            return f"{day_of(bar.session):%Y%m%d}"
        if wanted.epoch:
            return str(seconds(bar.opens))
        return written(bar.opens, self.market.calendar.timezone, version)

    def head(self, instrument: Instrument, *, use_rth: bool) -> int | None:
        """The open of the first bar that has closed; None when there is none."""
        found = [self.market.tape.stored(instrument.key, length) for length in FINEST_FIRST]
        firsts = [
            int(kept.opens[0])
            for series in found
            if series is not None and len(kept := series.only(series.regular) if use_rth else series)
        ]
        return min(firsts) if firsts and min(firsts) < self.market.now else None

    def sessions(self, wanted: Wanted) -> list[tuple[int, int, date]]:
        """Open, close and day of the sessions in the range of a request."""
        end = min(self.market.now, wanted.end if wanted.end is not None else self.market.now)
        calendar = self.market.calendar
        high = int(np.searchsorted(calendar.opens, end, side="right"))
        low = high - wanted.amount if wanted.unit == "D" else _place_of_day(calendar.days, _back(wanted, end))
        return [
            (int(calendar.opens[i]), int(calendar.closes[i]), day_of(int(calendar.days[i])))
            for i in range(max(0, low), high)
        ]

    def _source(self, wanted: Wanted) -> Series | None:
        """The longest stored bars of which the wanted ones are made.

        IB cuts hours on the clock; stored hours may be cut from the open, and are used only where nothing is finer.
        """
        tape = self.adjusted() if wanted.what == "ADJUSTED_LAST" else self.market.tape
        hours_last = (Resolution.DAILY, Resolution.MINUTE, Resolution.SECONDS_5, Resolution.HOURLY)
        for length in hours_last if wanted.size < DAY else reversed(FINEST_FIRST):
            step = length.length // MICROSECOND
            series = tape.stored(wanted.instrument.key, length)
            fits = step <= wanted.size and (not length.intraday or wanted.size >= DAY or wanted.size % step == 0)
            if series is not None and fits and (length.intraday or wanted.size >= DAY):
                return series
        return None

    def _with_tail(self, wanted: Wanted, closed: Series) -> Series:
        """What has traded since the last stored bar, as one bar more."""
        key, market = wanted.instrument.key, self.market
        base = market.tape.moving(key)
        last = int(closed.closes[-1]) if len(closed) else 0
        low, high = int(np.searchsorted(base.opens, last)), base.closed_by(market.now)
        parts = [base.bar(i) for i in range(max(low, high - 5000), high)]
        forming = market.forming(key)
        parts += [forming] if forming is not None and forming.opens >= last else []
        parts = [bar for bar in parts if bar.session == market.quotes[key].session]
        parts = [bar for bar in parts if bar.regular or not wanted.use_rth]
        return _joined(closed, _merged(parts)) if parts else closed

    def _rolled(self, series: Series, wanted: Wanted) -> Series:
        if not len(series):
            return series
        groups = self._groups(series, wanted.size)
        starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
        if len(starts) == len(series):
            return series
        ends = np.append(starts[1:], len(series)) - 1
        prices = np.column_stack(
            [
                series.prices[starts, 0],
                np.maximum.reduceat(series.prices[:, 1], starts),
                np.minimum.reduceat(series.prices[:, 2], starts),
                series.prices[ends, 3],
            ]
        )
        volume = np.add.reduceat(series.volume, starts)
        return Series(
            series.opens[starts], series.closes[ends], series.session[ends], series.regular[starts], prices, volume
        )

    def _groups(self, series: Series, size: int) -> Int64s:
        """A number for each bar; bars of one number become one bar."""
        if size > 7 * DAY:
            return series.session.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        if size == 7 * DAY:
            return (series.session + 3) // 7  # 1970-01-01 was a Thursday; weeks begin on Monday
        if size == DAY:
            return series.session
        lengths = series.closes - series.opens
        if int(lengths.max()) >= _HOUR:  # stored hours are counted from the session's open
            place = np.clip(np.searchsorted(self.market.calendar.days, series.session), 0, None)
            origin = self.market.calendar.opens[place]
        else:
            origin = _midnights(series.session, self.market.calendar.timezone)
        return series.session * 100_000 + (series.opens - origin) // size


def _empty() -> Series:
    none = np.empty(0, np.int64)
    return Series(none, none, none, np.empty(0, np.bool_), np.empty((0, 4)), np.empty(0))


def _invalid(cause: str) -> Refusal:
    return Refusal(321, f"Error validating request.-'bB' : cause - {cause}")


def _first(series: Series, wanted: Wanted, end: int) -> int:
    """The place of the first bar that a duration reaches back to."""
    if not len(series):
        return 0
    if wanted.unit == "S":  # counted in bars, once they are rolled up
        needed = math.ceil(wanted.amount * SECOND / DAY) + 5
        return int(np.searchsorted(series.session, int(series.session[-1]) - needed))
    if wanted.unit == "D":
        place = len(series)
        for _ in range(wanted.amount):
            if place:
                place = int(np.searchsorted(series.session, series.session[place - 1]))
        return place
    return int(np.searchsorted(series.session, (_back(wanted, end) - EPOCH).days, side="right"))


def _back(wanted: Wanted, end: int) -> date:
    """The calendar day before the first of a duration."""
    day, n = datetime_of(end).date(), wanted.amount
    if wanted.unit == "S":
        return day - timedelta(seconds=min(n, (day.toordinal() - 1) * 86_400))
    if wanted.unit in {"D", "W"}:
        return day - timedelta(days=min(n * (7 if wanted.unit == "W" else 1), day.toordinal() - 1))
    count = day.year * 12 + day.month - 1 - n * (12 if wanted.unit == "Y" else 1)
    year, month = max(1, count // 12), count % 12 + 1
    return date(year, month, min(day.day, months.monthrange(year, month)[1]))


def _place_of_day(days: Int64s, day: date) -> int:
    return int(np.searchsorted(days, (day - EPOCH).days, side="right"))


def _midnights(sessions: Int64s, zone: str) -> Int64s:
    distinct, inverse = np.unique(sessions, return_inverse=True)
    starts = [read_moment("session", f"{day_of(int(day)):%Y%m%d} 00:00:00", zone) for day in distinct]
    return np.array(starts, np.int64)[inverse]


def _merged(bars: list[Bar]) -> Bar:
    return Bar(
        bars[0].opens, bars[-1].closes, bars[-1].session, bars[0].regular, bars[0].open, max(b.high for b in bars),
        min(b.low for b in bars), bars[-1].close, sum(b.volume for b in bars),
    )  # fmt: skip


def _joined(series: Series, bar: Bar) -> Series:
    return Series(
        np.append(series.opens, bar.opens),
        np.append(series.closes, bar.closes),
        np.append(series.session, bar.session),
        np.append(series.regular, bar.regular).astype(np.bool_),
        np.vstack([series.prices, [bar.open, bar.high, bar.low, bar.close]]),
        np.append(series.volume, bar.volume),
    )


def _quoted(bar: Bar, what: str, tick: float) -> tuple[float, float, float, float]:
    """Prices of a kind: bid and ask lie one tick beside the last price."""
    o, h, lo, c = bar.open, bar.high, bar.low, bar.close
    if what == "BID":
        return o - tick, h - tick, lo - tick, c - tick
    if what == "ASK":
        return o + tick, h + tick, lo + tick, c + tick
    if what == "BID_ASK":  # average bid, highest ask, lowest bid, average ask
        middle = (o + c) / 2
        return middle - tick, h + tick, lo - tick, middle + tick
    return o, h, lo, c
