"""What flows to a client after it has subscribed: ticks, 5-second bars, forming bars, single trades.

Belongs here: turning prints into messages for one subscription. Does not belong here: who is subscribed (see
`session`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from broker.simulator.answers import Message, historical_update, size, tick_price, tick_size
from broker.simulator.history import Historian, Row, Wanted
from broker.simulator.instruments import Instrument
from broker.simulator.market import Print, Quote
from broker.simulator.moments import seconds
from broker.simulator.tape import SECOND

_SLOT: Final = 5 * SECOND
_QUOTE_SIZE: Final = 100

LAST, BID, ASK, HIGH, LOW, CLOSE, OPEN = 4, 1, 2, 6, 7, 9, 14
VOLUME, LAST_TIME, HALTED, SHORTABLE, SHORT_SHARES, TRADE_VOLUME = 8, 45, 49, 46, 89, 48
_DELAYED: Final = {BID: 66, ASK: 67, LAST: 68, HIGH: 72, LOW: 73, VOLUME: 74, CLOSE: 75, OPEN: 76, LAST_TIME: 88}


@dataclass(slots=True)
class Ticks:
    """A market data subscription."""

    req_id: int
    instrument: Instrument
    generic: frozenset[str]
    delayed: bool = False

    def all(self, quote: Quote, version: int, *, halted: bool, shortable: bool) -> Iterator[Message]:
        """Everything that is known, as a new subscription gets it."""
        yield from self.now(quote, version)
        for kind, price in ((HIGH, quote.high), (LOW, quote.low), (OPEN, quote.open), (CLOSE, quote.previous_close)):
            if not math.isnan(price):
                yield tick_price(self.req_id, self._kind(kind), price, 0)
        yield self.halt(halted=halted)
        if "236" in self.generic:
            yield 45, 6, self.req_id, SHORTABLE, 3.0 if shortable else 1.0
            yield tick_size(self.req_id, SHORT_SHARES, 10_000_000 if shortable else 0)

    def now(self, quote: Quote, version: int) -> Iterator[Message]:
        """The last price and the quote around it."""
        if not quote.known:
            return
        tick, shares = float(self.instrument.min_tick), size(quote.last_size, version)
        yield tick_price(self.req_id, self._kind(BID), round(quote.price - tick, 6), _QUOTE_SIZE)
        yield tick_price(self.req_id, self._kind(ASK), round(quote.price + tick, 6), _QUOTE_SIZE)
        yield tick_price(self.req_id, self._kind(LAST), quote.price, shares)
        yield tick_size(self.req_id, self._kind(VOLUME), size(quote.volume, version))
        yield 46, 6, self.req_id, self._kind(LAST_TIME), str(seconds(quote.at))
        if "233" in self.generic:
            text = f"{quote.price};{shares};{quote.at // 1000};{size(quote.volume, version)};{quote.price};true"
            yield 46, 6, self.req_id, TRADE_VOLUME, text

    def halt(self, *, halted: bool) -> Message:
        """Whether trading is halted."""
        return 45, 6, self.req_id, HALTED, 1.0 if halted else 0.0

    def _kind(self, kind: int) -> int:
        return _DELAYED.get(kind, kind) if self.delayed else kind


@dataclass(slots=True)
class _Slot:
    start: int
    open: float
    high: float
    low: float
    close: float
    moved: bool = False

    def extend(self, price: float) -> None:
        self.high, self.low, self.close, self.moved = max(self.high, price), min(self.low, price), price, True


@dataclass(slots=True)
class FiveSeconds:
    """A subscription to real-time bars. Where the recording is coarser, they are cut from the path between prints."""

    req_id: int
    instrument: Instrument
    what: str
    use_rth: bool
    _slot: _Slot | None = None

    def feed(self, move: Print, version: int) -> Iterator[Message]:
        """The bars that a print completes."""
        if self.use_rth and not move.bar.regular:
            return
        if self._slot is None or move.since == move.at:
            if self._slot is not None and self._slot.moved and self._slot.start + _SLOT <= move.at:
                yield self._message(self._slot, move, version)
            self._slot = _begin(move.since, move.start)
        while self._slot.start + _SLOT <= move.at:
            ends = self._slot.start + _SLOT
            part = (ends - move.since) / (move.at - move.since) if move.at > move.since else 1.0
            price = round(move.start + (move.price - move.start) * part, 6)
            if ends == move.at:
                price = move.price
            self._slot.extend(price)
            yield self._message(self._slot, move, version)
            self._slot = _begin(ends, price)
        if move.at > self._slot.start:
            self._slot.extend(move.price)

    def _message(self, slot: _Slot, move: Print, version: int) -> Message:
        bar = move.bar
        exact = bar.closes - bar.opens <= _SLOT
        prices = (bar.open, bar.high, bar.low, bar.close) if exact else (slot.open, slot.high, slot.low, slot.close)
        if self.what in {"BID", "ASK"}:
            beside = float(self.instrument.min_tick) * (1 if self.what == "ASK" else -1)
            o, h, lo, c = (round(price + beside, 6) for price in prices)
            prices = o, h, lo, c
        whole = 0.0 if math.isnan(bar.volume) else bar.volume
        volume = whole if exact else float(int(whole * _SLOT / (bar.closes - bar.opens)))
        average = round(sum(prices[1:]) / 3, 6)
        head = (50, 3, self.req_id, seconds(slot.start))
        if self.what != "TRADES":
            return *head, *prices, -1, -1, -1  # quotes have no volume
        return *head, *prices, size(volume, version), average, max(1, int(volume) // 100)


def _begin(moment: int, price: float) -> _Slot:
    return _Slot(moment // _SLOT * _SLOT, price, price, price, price)


@dataclass(slots=True)
class Forming:
    """History that is kept up to date."""

    req_id: int
    wanted: Wanted
    _last: Row | None = None

    def feed(self, historian: Historian, version: int) -> Iterator[Message]:
        """The newest bar, when it has changed."""
        row = historian.newest(self.wanted, version)
        if row is not None and row != self._last:
            self._last = row
            yield historical_update(self.req_id, row)


@dataclass(slots=True)
class SingleTicks:
    """A tick-by-tick subscription."""

    req_id: int
    instrument: Instrument
    kind: str

    def feed(self, move: Print, quote: Quote, version: int) -> Message:
        """One print as one tick."""
        head: Message = (99, self.req_id)
        tick, at = float(self.instrument.min_tick), seconds(move.at)
        if self.kind == "BidAsk":
            return *head, 3, at, round(move.price - tick, 6), round(move.price + tick, 6), _QUOTE_SIZE, _QUOTE_SIZE, 0
        if self.kind == "MidPoint":
            return *head, 4, at, move.price
        number = 1 if self.kind == "Last" else 2
        return *head, number, at, move.price, size(quote.last_size, version), 0, "ISLAND", ""
