"""The part of the desk that shows the account: figures, positions, profit and loss.

Belongs here: requests about the account and their subscriptions. Does not belong here: arithmetic (see `ledger`).
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from broker.simulator.answers import Message, account_value, portfolio, position, position_multi
from broker.simulator.exchange import Exchange
from broker.simulator.figures import Figure, account_figures, cents
from broker.simulator.ledger import ZERO, Figures, Position, price_of
from broker.simulator.moments import written
from broker.simulator.requests import Request
from broker.simulator.session import Session

_LEDGER_TAGS: Final = frozenset({"CashBalance", "TotalCashBalance", "UnrealizedPnL", "RealizedPnL", "StockMarketValue"})


@dataclass(slots=True)
class AccountDesk:
    """Answers about one account; as prices move it is shown again after `refresh_seconds` at the earliest."""

    exchange: Exchange
    refresh_seconds: float = 1.0
    monotonic: Callable[[], float] = time.monotonic
    _refreshed: float = 0.0

    def handle(self, session: Session, request: Request) -> bool:
        """Answer a request; False when it is none of the account's."""
        own = getattr(self, f"_do_{request.name}", None)
        if own is None:
            return False
        own(session, request)
        return True

    def refresh(self, sessions: Iterable[Session]) -> None:
        """Prices have moved: show the account again, but not with every price."""
        now = self.monotonic()
        if now - self._refreshed < self.refresh_seconds:
            return
        self._refreshed = now
        for session in sessions:
            self._send_subscribed(session)

    def changed(self, sessions: Iterable[Session], key: str) -> None:
        """A position has changed: show the account at once."""
        for session in sessions:
            self._send_subscribed(session)
            for req_id in session.subscriptions.positions_multi:
                instrument = self.exchange.instruments.by_key[key]
                session.send(position_multi(req_id, instrument, self._held(key), self.exchange.account))

    # ---------------------------------------------------------------- requests

    def _do_account_updates(self, session: Session, request: Request) -> None:
        session.subscriptions.account = request.flag("subscribe")
        if not session.subscriptions.account:
            return
        for key, value, currency in self._figures():
            session.send(account_value(key, value, currency, self.exchange.account))
        for message in self._portfolio():
            session.send(message)
        session.send((8, 1, self._clock()))
        session.send((54, 1, self.exchange.account))

    def _do_account_updates_multi(self, session: Session, request: Request) -> None:
        session.subscriptions.account_multi.add(request.req_id)
        for figure in self._figures():
            session.send(self._multi(request.req_id, figure))
        session.send((74, 1, request.req_id))

    def _do_cancel_account_updates_multi(self, session: Session, request: Request) -> None:
        session.subscriptions.account_multi.discard(request.req_id)

    def _do_account_summary(self, session: Session, request: Request) -> None:
        tags = frozenset(tag.strip() for tag in request.text("tags").split(",") if tag.strip())
        session.subscriptions.summary[request.req_id] = tags
        for message in self._summary(request.req_id, tags):
            session.send(message)
        session.send((64, 1, request.req_id))

    def _do_cancel_account_summary(self, session: Session, request: Request) -> None:
        session.subscriptions.summary.pop(request.req_id, None)

    def _do_positions(self, session: Session, request: Request) -> None:
        session.subscriptions.positions = True
        for key, held in self._held_positions():
            session.send(position(self.exchange.instruments.by_key[key], held, self.exchange.account))
        session.send((62, 1))

    def _do_cancel_positions(self, session: Session, request: Request) -> None:
        session.subscriptions.positions = False

    def _do_positions_multi(self, session: Session, request: Request) -> None:
        session.subscriptions.positions_multi.add(request.req_id)
        for key, held in self._held_positions():
            instrument = self.exchange.instruments.by_key[key]
            session.send(position_multi(request.req_id, instrument, held, self.exchange.account))
        session.send((72, 1, request.req_id))

    def _do_cancel_positions_multi(self, session: Session, request: Request) -> None:
        session.subscriptions.positions_multi.discard(request.req_id)

    def _do_pnl(self, session: Session, request: Request) -> None:
        session.subscriptions.pnl.add(request.req_id)
        session.send(self._profit(request.req_id))

    def _do_cancel_pnl(self, session: Session, request: Request) -> None:
        session.subscriptions.pnl.discard(request.req_id)

    def _do_pnl_single(self, session: Session, request: Request) -> None:
        con_id = request.whole("con_id")
        message = self._profit_single(request.req_id, con_id)
        if message is None:
            session.refuse(request.req_id, 2150, "Invalid position trade derived value")
            return
        session.subscriptions.pnl_single[request.req_id] = con_id
        session.send(message)

    def _do_cancel_pnl_single(self, session: Session, request: Request) -> None:
        session.subscriptions.pnl_single.pop(request.req_id, None)

    def _do_family_codes(self, session: Session, request: Request) -> None:
        session.send((78, 1, self.exchange.account, ""))

    def _do_user_info(self, session: Session, request: Request) -> None:
        session.send((107, request.req_id, ""))

    # ---------------------------------------------------------------- pages

    def _send_subscribed(self, session: Session) -> None:
        for name, message in self._subscribed(session):
            session.send_changed(name, message)

    def _subscribed(self, session: Session) -> Iterator[tuple[str, Message]]:
        """All that a client has asked to be kept informed of, each message under a name of its own."""
        wanted = session.subscriptions
        if not (wanted.account or wanted.account_multi or wanted.summary or wanted.pnl or wanted.pnl_single):
            return
        figures = self._figures()
        if wanted.account:
            yield from ((f"{f[0]}/{f[2]}", account_value(*f, self.exchange.account)) for f in figures)
            yield from ((f"portfolio/{message[2]}", message) for message in self._portfolio())
        for req_id in wanted.account_multi:
            yield from ((f"{req_id}/{f[0]}/{f[2]}", self._multi(req_id, f)) for f in figures)
        for req_id, tags in wanted.summary.items():
            yield from ((f"{req_id}/{m[4]}/{m[6]}", m) for m in self._summary(req_id, tags))
        yield from ((f"{req_id}/pnl", self._profit(req_id)) for req_id in wanted.pnl)
        for req_id, con_id in wanted.pnl_single.items():
            single = self._profit_single(req_id, con_id)
            if single is not None:
                yield f"{req_id}/single", single

    def _figures(self) -> list[Figure]:
        return account_figures(self.exchange.ledger, self._now())

    def _now(self) -> Figures:
        return self.exchange.ledger.figures(self.prices())

    def prices(self) -> dict[str, Decimal]:
        """The last price of everything that has one, as the account counts it."""
        return {key: price_of(price) for key, price in self.exchange.market.prices().items()}

    def _multi(self, req_id: int, figure: Figure) -> Message:
        return 73, 1, req_id, self.exchange.account, "", *figure

    def _summary(self, req_id: int, tags: frozenset[str]) -> list[Message]:
        whole = any(tag.startswith("$LEDGER") for tag in tags)
        rows = [
            (key, value, currency)
            for key, value, currency in self._figures()
            if (key in tags and currency != "BASE") or (whole and key in _LEDGER_TAGS)
        ]
        return [(63, 1, req_id, self.exchange.account, *row) for row in rows]

    def _portfolio(self) -> list[Message]:
        prices = self.prices()
        return [
            portfolio(self.exchange.instruments.by_key[key], held, prices.get(key, held.average), self.exchange.account)
            for key, held in self.exchange.ledger.positions.items()
        ]

    def _held_positions(self) -> list[tuple[str, Position]]:
        return [(key, held) for key, held in self.exchange.ledger.positions.items() if held.quantity]

    def _held(self, key: str) -> Position:
        return self.exchange.ledger.positions.get(key, Position())

    def _clock(self) -> str:
        return written(self.exchange.market.now, self.exchange.market.calendar.timezone)[9:14]

    def _profit(self, req_id: int) -> Message:
        now, prices = self._now(), self.prices()
        day = sum((self._day_profit(key, prices) for key in self.exchange.ledger.positions), ZERO)
        return 94, req_id, cents(day), cents(now.unrealised), cents(now.realised)

    def _profit_single(self, req_id: int, con_id: int) -> Message | None:
        instrument = self.exchange.instruments.with_id(con_id)
        if instrument is None:
            return None
        held, prices = self._held(instrument.key), self.prices()
        value = held.quantity * prices.get(instrument.key, held.average)
        day = self._day_profit(instrument.key, prices)
        return 95, req_id, held.quantity, cents(day), cents(value - held.cost), cents(held.realised), cents(value)

    def _day_profit(self, key: str, prices: Mapping[str, Decimal]) -> Decimal:
        """What a position has gained since the close before: its value less what it was worth and what was paid."""
        quote, held = self.exchange.market.quotes[key], self._held(key)
        traded = paid = ZERO
        for done in reversed(self.exchange.executions):
            if done.session < quote.session:
                break
            if done.instrument.key == key:
                signed = done.quantity * done.side
                traded, paid = traded + signed, paid + signed * done.price + done.fee
        before = ZERO if math.isnan(quote.previous_close) else price_of(quote.previous_close)
        return held.quantity * prices.get(key, held.average) - (held.quantity - traded) * before - paid
