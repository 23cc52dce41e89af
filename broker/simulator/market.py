"""The simulated market: a clock over the tape, and the last price of everything.

Belongs here: which price is printed next and when, sessions, halts. Does not belong here: waiting for it (see `pace`),
orders (see `exchange`).

A bar becomes four prints: its open, its nearer extreme, its other extreme, its close, at equal distances in time. In
between the price moves in a straight line, for whoever looks (see `Market.drift`).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from broker.simulator.tape import Bar, Series, Tape
from warehouse.calendar import TradingCalendar

LAST_KNOT: Final = 3


@dataclass(slots=True)
class Quote:
    """What is known of a symbol now; NaN before its first price."""

    price: float = math.nan
    at: int = 0
    bar: Bar | None = None  # the one whose path is being followed, or was last
    knot: int = -1
    session: int = -1
    previous_close: float = math.nan
    open: float = math.nan
    high: float = math.nan
    low: float = math.nan
    volume: float = 0.0  # of the session's completed bars
    last_size: float = 0.0

    @property
    def known(self) -> bool:
        """True once there is a price."""
        return not math.isnan(self.price)

    def new_session(self, session: int) -> None:
        """Forget yesterday's range."""
        self.previous_close, self.session, self.volume = self.price, session, 0.0
        self.open = self.high = self.low = math.nan

    def take(self, bar: Bar, knot: int, price: float, at: int) -> None:
        """Note a print."""
        if bar.session != self.session:
            self.new_session(bar.session)
        self.open = price if math.isnan(self.open) else self.open
        self.high = price if math.isnan(self.high) else max(self.high, price)
        self.low = price if math.isnan(self.low) else min(self.low, price)
        self.price, self.at, self.bar, self.knot = price, at, bar, knot
        size = 0.0 if math.isnan(bar.volume) else bar.volume
        self.last_size = max(1.0, size // 4)
        if knot == LAST_KNOT:
            self.volume += size


@dataclass(frozen=True, slots=True)
class Print:
    """One price of one symbol, and where it came from; a jump has `start` equal to `price`, `since` to `at`."""

    key: str
    at: int
    bar: Bar
    knot: int | None  # None between two knots
    start: float
    since: int
    price: float

    @property
    def completes(self) -> bool:
        """True for a bar's close."""
        return self.knot == LAST_KNOT


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The regular session has ended."""

    session: int
    at: int


Happening = Print | SessionClosed


@dataclass(slots=True)
class Market:
    """The clock stands at `now` and moves by `advance`."""

    tape: Tape
    calendar: TradingCalendar
    now: int = 0
    quotes: dict[str, Quote] = field(default_factory=dict)
    halted: set[str] = field(default_factory=set)
    ticks: Mapping[str, float] = field(default_factory=dict)  # to which a price between two knots is rounded
    _next: dict[str, int] = field(default_factory=dict)  # place of the next bar, or of the one in progress
    _knot: int = 0
    _sessions_closed: int = 0
    _following: dict[str, Bar] | None = None

    def seek(self, moment: int) -> None:
        """Stand at a moment: bars that have closed are history, one in progress has come as far as it would have."""
        self.now, self._knot, self._following = moment, 0, None
        self._sessions_closed = int(np.searchsorted(self.calendar.closes, moment, side="right"))
        for key in self.tape.symbols:
            series = self.tape.moving(key)
            self._next[key] = past = series.closed_by(moment)
            self.quotes[key] = _quote_after(series, past)
        self._enter(moment)

    def _enter(self, moment: int) -> None:
        """Follow the bars in progress up to a moment that lies inside them."""
        for key, bar in self._bars().items():
            passed = [knot for knot in range(LAST_KNOT) if bar.moment(knot) <= moment]
            if bar.opens < moment and passed:
                self._knot = passed[-1] + 1
                for knot in passed:
                    self.quotes[key].take(bar, knot, bar.path[knot], bar.moment(knot))

    def upcoming(self) -> int | None:
        """When the next price is printed; None at the end of the tape."""
        bars = self._bars()
        if not bars:
            return None
        return max(self.now, min(bar.moment(self._knot) for bar in bars.values()))

    def drift(self, moment: int) -> Iterator[Print]:
        """Let time pass, at most up to the next knot; bars in progress move along their path."""
        bound = self.upcoming()
        if bound is None or min(moment, bound) <= self.now:
            return
        self.now = min(moment, bound)
        for key, bar in self._bars().items() if self.mid_bar else ():
            quote = self.quotes[key]
            ends = bar.moment(self._knot)
            if key in self.halted or quote.bar != bar or not quote.at < self.now < ends:
                continue
            part = (self.now - quote.at) / (ends - quote.at)
            price = self._rounded(key, quote.price, bar.path[self._knot], part)
            passed = Print(key, self.now, bar, None, quote.price, quote.at, price)
            quote.take(bar, quote.knot, price, self.now)
            yield passed

    def advance(self) -> Iterator[Happening]:
        """Move to the next prints and say what happens on the way."""
        bars = self._bars()
        if not bars:
            return
        moment = max(self.now, min(bar.moment(self._knot) for bar in bars.values()))
        yield from self._closings(moment - 1)
        self.now = moment
        knot = self._knot
        for key, bar in bars.items():
            if key not in self.halted:
                yield self._print(key, bar, knot)
            if knot == LAST_KNOT:
                self._next[key] += 1
        self._knot = 0 if knot == LAST_KNOT else knot + 1
        if knot == LAST_KNOT:
            self._following = None
            yield from self._closings(moment)

    def in_session(self, key: str) -> bool:
        """Whether a symbol trades at this moment: regular hours, a price today, no halt."""
        quote = self.quotes[key]
        return key not in self.halted and quote.known and quote.session == self.session_now()

    def session_now(self) -> int:
        """The day whose regular session is under way, -2 when none is."""
        place = int(np.searchsorted(self.calendar.closes, self.now, side="right"))
        if place < len(self.calendar.opens) and self.calendar.opens[place] <= self.now:
            return int(self.calendar.days[place])
        return -2

    def trading_day(self) -> int:
        """The day of the session under way, or else of the next one."""
        place = int(np.searchsorted(self.calendar.closes, self.now, side="right"))
        return int(self.calendar.days[min(place, len(self.calendar.days) - 1)])

    def session_bounds(self, day: int) -> tuple[int, int]:
        """Open and close of a session."""
        place = int(np.searchsorted(self.calendar.days, day))
        return int(self.calendar.opens[place]), int(self.calendar.closes[place])

    def last_print(self, key: str, day: int) -> int:
        """When the last bar of a session closes, in extended hours too."""
        series = self.tape.moving(key)
        place = int(np.searchsorted(series.session, day, side="right")) - 1
        return int(series.closes[place]) if place >= 0 and series.session[place] == day else 0

    @property
    def mid_bar(self) -> bool:
        """True while bars are being followed."""
        return self._knot > 0

    def forming(self, key: str) -> Bar | None:
        """The bar in progress as far as it is known, its volume in proportion; None between bars."""
        quote = self.quotes[key]
        if not self.mid_bar or quote.bar is None or quote.knot in {-1, LAST_KNOT}:
            return None
        return _partial(quote.bar, quote, self.now)

    def prices(self) -> Mapping[str, float]:
        """The last price of everything that has one."""
        return {key: quote.price for key, quote in self.quotes.items() if quote.known}

    def _bars(self) -> dict[str, Bar]:
        """The bars that are followed together: those that close first."""
        if self._following is not None:
            return self._following
        found: dict[str, Bar] = {}
        closes: int | None = None
        for key, place in self._next.items():
            series = self.tape.moving(key)
            if place >= len(series):
                continue
            own = int(series.closes[place])
            if closes is None or own < closes:
                closes, found = own, {}
            if own == closes:
                found[key] = series.bar(place)
        self._following = found
        return found

    def _print(self, key: str, bar: Bar, knot: int) -> Print:
        quote, price = self.quotes[key], bar.path[knot]
        # a bar that was halted on its way goes on with a jump
        followed = knot > 0 and quote.bar == bar and quote.knot == knot - 1
        start, since = (quote.price, quote.at) if followed else (price, self.now)
        quote.take(bar, knot, price, self.now)
        return Print(key, self.now, bar, knot, start, since, price)

    def _rounded(self, key: str, start: float, end: float, part: float) -> float:
        """A price on the way from one knot to the next, on the grid of prices and never outside."""
        price, tick = start + (end - start) * part, self.ticks.get(key)
        if tick is not None:
            price = round(round(price / tick) * tick, 8)
        return min(max(price, min(start, end)), max(start, end))

    def _closings(self, moment: int) -> Iterator[SessionClosed]:
        closes = self.calendar.closes
        while self._sessions_closed < len(closes) and closes[self._sessions_closed] <= moment:
            at = int(closes[self._sessions_closed])
            self.now = max(self.now, at)
            yield SessionClosed(int(self.calendar.days[self._sessions_closed]), at)
            self._sessions_closed += 1


def _quote_after(series: Series, past: int) -> Quote:
    """What is known of a symbol once so many of its bars have closed."""
    quote = Quote()
    if not past:
        return quote
    last = series.bar(past - 1)
    first = int(np.searchsorted(series.session, last.session))
    if first:
        quote.price = float(series.prices[first - 1, 3])  # becomes the previous close
    quote.take(last, LAST_KNOT, last.close, last.closes)
    day = series.part(first, past)
    quote.open = float(day.prices[0, 0])
    quote.high, quote.low = float(day.prices[:, 1].max()), float(day.prices[:, 2].min())
    quote.volume = float(np.nansum(day.volume))
    return quote


def _partial(bar: Bar, quote: Quote, now: int) -> Bar:
    """A bar as far as its path has been followed, its volume in proportion to time."""
    seen = (*bar.path[: quote.knot + 1], quote.price)
    part = (now - bar.opens) / (bar.closes - bar.opens)
    volume = math.nan if math.isnan(bar.volume) else float(int(bar.volume * part))
    return Bar(bar.opens, bar.closes, bar.session, bar.regular, bar.open, max(seen), min(seen), quote.price, volume)
