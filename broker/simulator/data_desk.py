"""The part of the desk that shows the market: contracts, history, streams.

Belongs here: requests about contracts and data, and feeding subscriptions. Does not belong here: building bars (see
`history`) and ticks (see `streams`).
"""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from broker.simulator.admission import Refusal
from broker.simulator.answers import (
    Message,
    contract_details,
    historical_data,
    market_rule,
    schedule,
    size,
    symbol_samples,
)
from broker.simulator.exchange import Exchange
from broker.simulator.faults import Faults
from broker.simulator.framing import Field
from broker.simulator.history import Historian, Wanted
from broker.simulator.instruments import Instrument
from broker.simulator.market import Print
from broker.simulator.moments import datetime_of, read_moment, seconds, shown_zone, written
from broker.simulator.pacing import VIOLATION
from broker.simulator.requests import CONTRACT, Request
from broker.simulator.session import Session
from broker.simulator.streams import FiveSeconds, Forming, SingleTicks, Ticks
from broker.simulator.tape import Bar

_NO_CONTRACT: Final = "No security definition has been found for the request"
_HMDS: Final = "Historical Market Data Service error message:HMDS query returned no data"
_MOST_TICKS: Final = 1000


@dataclass(slots=True)
class DataDesk:
    """Answers about contracts and the market."""

    exchange: Exchange
    historian: Historian
    faults: Faults

    def handle(self, session: Session, request: Request) -> bool:
        """Answer a request; False when it is not about contracts or data."""
        own = getattr(self, f"_do_{request.name}", None)
        if own is None:
            return False
        own(session, request)
        return True

    def feed(self, move: Print, sessions: Iterable[Session], *, silent: bool) -> None:
        """Let a print flow to all who subscribed; a silent line swallows it."""
        if silent:
            return
        for session in sessions:
            for message in self._fed(session, move):
                session.send(message)

    def _fed(self, session: Session, move: Print) -> Iterator[Message]:
        """What one client hears of a print."""
        wanted, version = session.subscriptions, session.version
        quote = self.exchange.market.quotes[move.key]
        for bars in (o for o in wanted.bars.values() if o.instrument.key == move.key):
            yield from bars.feed(move, version)
        for ticks in (o for o in wanted.ticks.values() if o.instrument.key == move.key):
            yield from ticks.now(quote, version)
        for single in (o for o in wanted.single.values() if o.instrument.key == move.key):
            yield single.feed(move, quote, version)
        for forming in (o for o in wanted.forming.values() if o.wanted.instrument.key == move.key):
            yield from forming.feed(self.historian, version)

    def tell_halt(self, sessions: Iterable[Session], key: str, *, halted: bool) -> None:
        """Trading in a symbol is halted, or goes on."""
        for session in sessions:
            for ticks in session.subscriptions.ticks.values():
                if ticks.instrument.key == key:
                    session.send(ticks.halt(halted=halted))

    def keep_updated(self, session: Session, request: Request) -> None:
        """Subscribe to a bar that is forming without an answer before."""
        instrument = self.exchange.instruments.one(request.fields)
        wanted = self.historian.understand(request, instrument) if instrument else None
        if isinstance(wanted, Wanted):
            session.subscriptions.forming[request.req_id] = Forming(request.req_id, wanted)

    def _contract(self, session: Session, request: Request) -> Instrument | None:
        found = self.exchange.instruments.one(request.fields)
        if found is None:
            session.refuse(request.req_id, 200, _NO_CONTRACT)
        return found

    # ---------------------------------------------------------------- contracts

    def _do_contract_details(self, session: Session, request: Request) -> None:
        found = self.exchange.instruments.find(request.fields)
        if not found:
            session.refuse(request.req_id, 200, _NO_CONTRACT)
            return
        zone, hours = self.exchange.market.calendar.timezone, self._hours()
        for one in found:
            shown = replace(one, exchange=request.text("exchange") or one.exchange)
            session.send(contract_details(request.req_id, shown, shown_zone(zone), hours, session.version))
        session.send((52, 1, request.req_id))

    def _hours(self) -> tuple[str, str]:
        """Trading and liquid hours of today and the next days, in IB's form."""
        market = self.exchange.market
        zone, spans = market.calendar.timezone, []
        first = int(market.calendar.days.searchsorted(market.trading_day()))
        for place in range(first, min(first + 5, len(market.calendar.days))):
            opens, closes = (written(int(t[place]), zone) for t in (market.calendar.opens, market.calendar.closes))
            spans.append(f"{opens[:8]}:{opens[9:11]}{opens[12:14]}-{closes[:8]}:{closes[9:11]}{closes[12:14]}")
        return ";".join(spans), ";".join(spans)

    def _do_matching_symbols(self, session: Session, request: Request) -> None:
        found = self.exchange.instruments.matching(request.text("pattern"))
        session.send(symbol_samples(request.req_id, found[:16], session.version))

    def _do_market_rule(self, session: Session, request: Request) -> None:
        message = market_rule(request.whole("rule"))
        if message is None:
            session.refuse(-1, 321, f"Error validating request.-'market_rule' : cause - {request.text('rule')} is none")
        else:
            session.send(message)

    def _do_option_parameters(self, session: Session, request: Request) -> None:
        session.send((76, request.req_id))

    def _do_smart_components(self, session: Session, request: Request) -> None:
        session.send((82, request.req_id, 1, 0, "ISLAND", "Q"))

    def _do_depth_exchanges(self, session: Session, request: Request) -> None:
        session.send((80, 0))

    def _do_news_providers(self, session: Session, request: Request) -> None:
        session.send((85, 0))

    def _do_scanner_parameters(self, session: Session, request: Request) -> None:
        session.send((19, 1, "<ScanParameterResponse></ScanParameterResponse>"))

    def _do_soft_dollar_tiers(self, session: Session, request: Request) -> None:
        session.send((77, request.req_id, 0))

    def _do_display_groups(self, session: Session, request: Request) -> None:
        session.send((67, 1, request.req_id, ""))

    # ---------------------------------------------------------------- history

    def _do_history(self, session: Session, request: Request) -> None:
        instrument = self._contract(session, request)
        if instrument is None:
            return
        if self.faults.pacing and not self._paced(session, request):
            session.refuse(request.req_id, 162, VIOLATION)
            return
        wanted = self.historian.understand(request, instrument)
        if isinstance(wanted, Refusal):
            session.refuse(request.req_id, wanted.code, wanted.text)
        elif wanted.what == "SCHEDULE":
            self._send_schedule(session, request.req_id, wanted)
        else:
            self._send_bars(session, request.req_id, wanted)

    def _send_bars(self, session: Session, req_id: int, wanted: Wanted) -> None:
        rows = self.historian.rows(wanted, session.version)
        if not rows:
            session.refuse(req_id, 162, f"{_HMDS}: {wanted.instrument.symbol}@SMART {wanted.what.title()}")
            return
        now, zone = self.exchange.market.now, self.exchange.market.calendar.timezone
        start = str(rows[0][0]) if len(str(rows[0][0])) > 10 else f"{rows[0][0]} 00:00:00"
        end = written(now if wanted.end is None else wanted.end, zone, session.version)
        session.send(historical_data(req_id, start, end, rows))
        if wanted.update:
            session.subscriptions.forming[req_id] = Forming(req_id, wanted)

    def _send_schedule(self, session: Session, req_id: int, wanted: Wanted) -> None:
        if session.version < 165:
            session.refuse(req_id, 321, "Error validating request.-'bB' : cause - Invalid data type 'SCHEDULE'")
            return
        zone, found = self.exchange.market.calendar.timezone, self.historian.sessions(wanted)

        def text(moment: int) -> str:
            return written(moment, zone)[:17].replace(" ", "-")

        rows = [(text(opens), text(closes), f"{day:%Y%m%d}") for opens, closes, day in found]
        start, end = (rows[0][0], rows[-1][1]) if rows else ("", "")
        session.send(schedule(req_id, start, end, shown_zone(zone), rows))

    def _paced(self, session: Session, request: Request) -> bool:
        what = request.text("what")
        contract = (*(request.text(name) for name in CONTRACT), what)
        whole = tuple(value for name, value in request.fields.items() if name != "req_id")
        return session.pacing.history_allowed(time.monotonic(), whole, contract, double=what == "BID_ASK")

    def _do_cancel_history(self, session: Session, request: Request) -> None:
        if session.subscriptions.forming.pop(request.req_id, None) is None:
            return
        text = "Historical Market Data Service error message:API historical data query cancelled:"
        session.refuse(request.req_id, 162, f"{text} {request.req_id}")

    def _do_head_timestamp(self, session: Session, request: Request) -> None:
        instrument = self._contract(session, request)
        if instrument is None:
            return
        first = self.historian.head(instrument, use_rth=request.flag("use_rth"))
        if first is None:
            session.refuse(request.req_id, 162, f"{_HMDS}: {instrument.symbol}@SMART Trades")
        elif request.text("format") == "2":
            session.send((88, request.req_id, str(seconds(first))))
        else:
            session.send((88, request.req_id, f"{datetime_of(first):%Y%m%d-%H:%M:%S}"))

    def _do_historical_ticks(self, session: Session, request: Request) -> None:
        instrument = self._contract(session, request)
        if instrument is None:
            return
        kind = request.text("what").upper()
        number = {"TRADES": 98, "MIDPOINT": 96, "BID_ASK": 97}.get(kind)
        if number is None:
            session.refuse(request.req_id, 321, f"Error validating request.-'ticks' : cause - {kind!r} is no kind")
            return
        rows = self._ticks(instrument, request)
        tick = float(instrument.min_tick)
        cells: list[Field] = []
        for at, price, shares in rows:
            amount = size(shares, session.version)
            if number == 98:
                cells += [seconds(at), 0, price, amount, "ISLAND", ""]
            elif number == 97:
                cells += [seconds(at), 0, price - tick, price + tick, 100, 100]
            else:
                cells += [seconds(at), 0, price, 0]
        session.send((number, request.req_id, len(rows), *cells, True))

    def _ticks(self, instrument: Instrument, request: Request) -> list[tuple[int, float, float]]:
        """The prints of the recording from a moment on, or up to one."""
        market = self.exchange.market
        zone, series = market.calendar.timezone, market.tape.moving(instrument.key)
        count = max(1, min(request.whole("count", _MOST_TICKS), _MOST_TICKS))
        high = series.closed_by(market.now)
        if request.text("end"):
            high = min(high, series.closed_by(read_moment("endDateTime", request.text("end"), zone)))
            low = max(0, high - count // 4 - 1)
        else:
            low = int(series.opens.searchsorted(read_moment("startDateTime", request.text("start"), zone)))
            high = min(high, low + count // 4 + 1)
        bars = [series.bar(i) for i in range(low, high)]
        rows = [row for bar in bars for row in _prints(bar)]
        return rows[-count:] if request.text("end") else rows[:count]

    # ---------------------------------------------------------------- streams

    def _do_real_time_bars(self, session: Session, request: Request) -> None:
        instrument, what = self._contract(session, request), request.text("what").upper()
        if instrument is None:
            return
        if what not in {"TRADES", "MIDPOINT", "BID", "ASK"}:
            session.refuse(
                request.req_id, 321, f"Error validating request.-'bars' : cause - Invalid data type {what!r}"
            )
            return
        bars = FiveSeconds(request.req_id, instrument, what, request.flag("use_rth"))
        session.subscriptions.bars[request.req_id] = bars

    def _do_cancel_real_time_bars(self, session: Session, request: Request) -> None:
        session.subscriptions.bars.pop(request.req_id, None)

    def _do_mkt_data(self, session: Session, request: Request) -> None:
        instrument = self._contract(session, request)
        if instrument is None:
            return
        generic = frozenset(text.strip() for text in request.text("ticks").split(",") if text.strip())
        delayed = self.faults.market_data != "live"
        if delayed and (self.faults.market_data == "none" or session.data_type not in {3, 4}):
            session.refuse(request.req_id, 354, "Requested market data is not subscribed.")
            return
        if delayed:
            session.refuse(request.req_id, 10167, "Requested market data is not subscribed. Displaying delayed data.")
        ticks = Ticks(request.req_id, instrument, generic, delayed)
        session.send((81, request.req_id, instrument.min_tick, "a6", 3))
        session.send((58, 1, request.req_id, 3 if delayed else 1))
        key = instrument.key
        for message in ticks.all(
            self.exchange.market.quotes[key],
            session.version,
            halted=key in self.exchange.market.halted,
            shortable=key not in self.exchange.unshortable,
        ):
            session.send(message)
        if request.flag("snapshot") or request.flag("regulatory"):
            session.send((57, 1, request.req_id))
        else:
            session.subscriptions.ticks[request.req_id] = ticks

    def _do_cancel_mkt_data(self, session: Session, request: Request) -> None:
        session.subscriptions.ticks.pop(request.req_id, None)

    def _do_market_data_type(self, session: Session, request: Request) -> None:
        session.data_type = request.whole("type", 1)

    def _do_tick_by_tick(self, session: Session, request: Request) -> None:
        instrument = self._contract(session, request)
        if instrument is None:
            return
        kind = request.text("kind")
        if kind not in {"Last", "AllLast", "BidAsk", "MidPoint"}:
            session.refuse(request.req_id, 10189, f"Failed to request tick-by-tick data:{kind!r} is not a tick type")
            return
        session.subscriptions.single[request.req_id] = SingleTicks(request.req_id, instrument, kind)

    def _do_cancel_tick_by_tick(self, session: Session, request: Request) -> None:
        session.subscriptions.single.pop(request.req_id, None)


def _prints(bar: Bar) -> list[tuple[int, float, float]]:
    whole = 0.0 if math.isnan(bar.volume) else bar.volume
    return [(bar.moment(knot), price, max(1.0, whole // 4)) for knot, price in enumerate(bar.path)]
