"""The gateway's desk: requests of clients in, answers and news out.

Belongs here: who hears of what, orders and the line's faults. Does not belong here: account pages (see `account_desk`),
market data and history (see `data_desk`), sockets (see `server`).
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from broker.simulator.account_desk import AccountDesk
from broker.simulator.answers import Message, commission, error, execution, position
from broker.simulator.data_desk import DataDesk
from broker.simulator.errors import ProtocolError
from broker.simulator.exchange import MANUAL_CLIENT, Exchange
from broker.simulator.faults import Faults, Rule
from broker.simulator.happenings import Charged, Estimated, Filled, News, OrderNews, PositionNews, Printed, Refused
from broker.simulator.ledger import Position
from broker.simulator.moments import datetime_of, read_moment, written, written_utc
from broker.simulator.order_answers import completed_order, open_order, order_status
from broker.simulator.order_request import read_order
from broker.simulator.orders import Execution, Order
from broker.simulator.requests import PLACE_ORDER, Request, decode, whole
from broker.simulator.session import Session
from broker.simulator.state import StateFile

log = logging.getLogger(__name__)

_DAY = 86_400_000_000

FARMS = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefil"),
)


@dataclass(slots=True)
class Desk:
    """All clients of one exchange."""

    exchange: Exchange
    faults: Faults
    data: DataDesk
    accounts: AccountDesk
    state: StateFile | None = None
    wall_clock: Callable[[], float] = time.time
    sessions: dict[int, Session] = field(default_factory=dict)
    _waiting: list[tuple[Session, list[str]]] = field(default_factory=list)  # while the link to IB is lost

    # ---------------------------------------------------------------- requests

    def receive(self, session: Session, fields: list[str]) -> None:
        """Do what a client's message asks for; whatever is wrong with it becomes an error message."""
        try:
            if self.faults.pacing and not session.pacing.message_allowed(time.monotonic()):
                session.refuse(-1, 100, "Max rate of messages per second has been exceeded: max=50")
                session.close()
                return
            if whole("message id", fields[0], -1) == PLACE_ORDER:
                self._receive_order(session, fields)
            else:
                self._receive_other(session, fields)
        except ProtocolError as fault:
            log.warning("client %s: %s", session.client_id, fault)
            req_id = int(fields[1]) if len(fields) > 1 and fields[1].isdecimal() else -1
            session.refuse(req_id, 320, f"Error reading request. {fault}")
        self.publish()

    def _receive_other(self, session: Session, fields: list[str]) -> None:
        request = decode(fields, session.version)
        if request is None:
            log.error("client %s sent message %s, which is not known", session.client_id, fields[0])
            session.refuse(-1, 505, f"Fatal Error: Unknown message id {fields[0]}.")
            return
        if not session.started and request.name != "start_api":
            session.refuse(-1, 321, f"Error validating request.-'{request.name}' : cause - startApi was not sent.")
            return
        if self.faults.link_lost and request.name not in {"start_api", "current_time", "managed_accounts", "ids"}:
            self._waiting.append((session, fields))
            return
        order_ref = None
        if request.name == "cancel_order":
            order = self.exchange.book.of_client(session.client_id, request.whole("order_id"))
            order_ref = order.terms.order_ref if order else None
        rule = self.faults.of_request(request.name, session.client_id, order_ref, modify=None)
        if rule is not None and self._struck(session, request, rule):
            return
        self.handle(session, request)

    def handle(self, session: Session, request: Request) -> None:
        """Answer a decoded request."""
        own = getattr(self, f"_do_{request.name}", None)
        if own is not None:
            own(session, request)
        elif not self.data.handle(session, request) and not self.accounts.handle(session, request):
            if request.name.startswith("cancel_") or request.name in {"log_level", "bulletins"}:
                return
            log.warning("client %s asks for %s, which is not simulated", session.client_id, request.name)
            text = f"Error validating request.-'{request.name}' : cause - It is not simulated."
            session.refuse(request.req_id, 321, text)

    def _receive_order(self, session: Session, fields: list[str]) -> None:
        if self.faults.link_lost:
            self._waiting.append((session, fields))
            return
        values = read_order(fields, session.version)
        order_id = whole("orderId", values["order_id"])
        modify = self.exchange.book.of_client(session.client_id, order_id) is not None
        rule = self.faults.of_request("place_order", session.client_id, values["order_ref"], modify=modify)
        if rule is None or rule.action == "partial":
            order = self.exchange.place(session.client_id, order_id, values)
            if rule is not None and order is not None:
                self._fill_part(order, rule)
        elif rule.action == "error":
            session.refuse(order_id, rule.code, rule.text)
        elif rule.action in {"close", "freeze"}:
            self._cut(session, rule)

    def _fill_part(self, order: Order, rule: Rule) -> None:
        price = self.exchange.market.quotes[order.instrument.key].price
        part = (order.total * Decimal(rule.value or "0.5")).quantize(order.instrument.size_increment)
        if not order.status.done and not math.isnan(price):
            self.exchange.fill(order, part, Decimal(repr(price)))
            self.exchange.cancel_order(order, "The rest was cancelled by the exchange")

    def _struck(self, session: Session, request: Request, rule: Rule) -> bool:
        """Carry out a fault on a request; False when the request is to be answered all the same."""
        if rule.action == "error":
            target = request.whole("order_id", request.req_id)
            session.refuse(target, rule.code, rule.text)
        elif rule.action == "empty":
            session.send((17, request.req_id, "", "", 0))
            if request.flag("update"):
                self.data.keep_updated(session, request)
        elif rule.action == "fill":
            order = self.exchange.book.of_client(session.client_id, request.whole("order_id"))
            if order is not None and not order.status.done:
                price = self.exchange.market.quotes[order.instrument.key].price
                self.exchange.fill(order, order.remaining, Decimal(repr(price)))
            return False
        elif rule.action in {"close", "freeze"}:
            self._cut(session, rule)
        return True

    def _cut(self, session: Session, rule: Rule) -> None:
        if rule.action == "freeze":
            session.frozen = True
        else:
            session.close()

    # ---------------------------------------------------------------- the line

    def _do_start_api(self, session: Session, request: Request) -> None:
        client_id = request.whole("client_id")
        if client_id in self.sessions and not self.sessions[client_id].closed:
            text = "Unable to connect as the client id is already in use. Retry with a unique client id."
            session.refuse(-1, 326, text)
            session.close()
            return
        session.client_id, session.started = client_id, True
        self.sessions[client_id] = session
        session.send((15, 1, self.exchange.account))
        session.send((9, 1, self.exchange.book.next_id(client_id)))
        for code, text in FARMS:
            session.refuse(-1, code, text)
        log.info("client %s is connected, version %s", client_id, session.version)

    def leave(self, session: Session) -> None:
        """A client has hung up; its orders stay."""
        session.close()
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
            log.info("client %s has left", session.client_id)

    def tell_all(self, code: int, text: str) -> None:
        """A notice about the connection, to everybody."""
        for session in list(self.sessions.values()):
            session.refuse(-1, code, text)

    def resume_waiting(self) -> None:
        """The link is back: do what was asked meanwhile."""
        waiting, self._waiting = self._waiting, []
        for session, fields in waiting:
            if not session.closed:
                self.receive(session, fields)

    def _do_current_time(self, session: Session, request: Request) -> None:
        session.send((49, 1, int(self.wall_clock() + self.faults.clock_skew)))

    def _do_managed_accounts(self, session: Session, request: Request) -> None:
        session.send((15, 1, self.exchange.account))

    def _do_ids(self, session: Session, request: Request) -> None:
        session.send((9, 1, self.exchange.book.next_id(session.client_id)))

    # ---------------------------------------------------------------- orders

    def _do_cancel_order(self, session: Session, request: Request) -> None:
        self.exchange.cancel(session.client_id, request.whole("order_id"))

    def _do_global_cancel(self, session: Session, request: Request) -> None:
        self.exchange.cancel_all()

    def _do_open_orders(self, session: Session, request: Request) -> None:
        self._send_open(session, [o for o in self.exchange.book.waiting() if o.client_id == session.client_id])

    def _do_all_open_orders(self, session: Session, request: Request) -> None:
        self._send_open(session, self.exchange.book.waiting())

    def _do_auto_open_orders(self, session: Session, request: Request) -> None:
        if session.client_id != MANUAL_CLIENT:
            text = "Error validating request.-'auto_open_orders' : cause - Only client 0 can bind orders made by hand."
            session.refuse(-1, 321, text)
            return
        session.binds_manual = request.flag("bind")
        for order in self.exchange.book.waiting():
            if order.order_id < 0:
                self._show(session, order)

    def _send_open(self, session: Session, orders: list[Order]) -> None:
        for order in orders:
            session.send(open_order(order, self.exchange.account, session.version), order.terms.order_ref)
            session.send(order_status(order), order.terms.order_ref)
        session.send((53, 1))

    def _do_completed_orders(self, session: Session, request: Request) -> None:
        start, end = self._today()
        for order in self.exchange.book.completed():
            by_hand = order.order_id < 0
            if start <= order.completed_at < end and not (by_hand and request.flag("api_only")):
                when = written(order.completed_at, self.exchange.market.calendar.timezone)
                session.send(completed_order(order, self.exchange.account, session.version, when))
        session.send((102,))

    def _do_executions(self, session: Session, request: Request) -> None:
        start, end = self._today()
        account = self.exchange.account
        wanted = [e for e in self.exchange.executions if start <= e.at < end and _fits(e, request, account)]
        for done in wanted:
            session.send(self._execution(request.req_id, done))
        for done in wanted:
            session.send(commission(done))
        session.send((55, 1, request.req_id))

    def _today(self) -> tuple[int, int]:
        """The exchange's present day from midnight to midnight, all that IB remembers."""
        zone = self.exchange.market.calendar.timezone
        start = read_moment("day", f"{written(self.exchange.market.now, zone)[:8]} 00:00:00", zone)
        return start, start + _DAY

    def _execution(self, req_id: int, done: Execution) -> Message:
        if not self.faults.execution_zone:
            return execution(req_id, done, self.exchange.account, written_utc(done.at))
        when = f"{datetime_of(done.at):%Y%m%d %H:%M:%S} {self.faults.execution_zone}"
        return execution(req_id, done, self.exchange.account, when)

    # ---------------------------------------------------------------- news

    def publish(self) -> None:
        """Save what has changed, then tell everybody."""
        if self.state is not None and self.exchange.news:
            self.state.save(self.exchange)
        news = self.exchange.news
        while news:
            self._publish(news.popleft())

    def _publish(self, item: News) -> None:
        if isinstance(item, Printed):
            self.data.feed(item.move, self.sessions.values(), silent=self.faults.link_lost or self.faults.data_lost)
            if item.move.completes:
                self.accounts.refresh(self.sessions.values())
        elif isinstance(item, OrderNews):
            self._tell_order(item)
        elif isinstance(item, Filled):
            self._tell_owner(item.execution, self._execution(-1, item.execution))
        elif isinstance(item, Charged):
            self._tell_owner(item.execution, commission(item.execution))
        elif isinstance(item, PositionNews):
            self._tell_position(item.key)
        else:
            self._answer(item)

    def _answer(self, item: Refused | Estimated) -> None:
        """What only the sender of an order hears."""
        order_id = item.order_id if isinstance(item, Refused) else item.order.order_id
        for session in self._owners(item.client_id, order_id):
            if isinstance(item, Refused):
                session.send(error(order_id, item.code, item.text, session.version))
            else:
                session.send(open_order(item.order, self.exchange.account, session.version, item.figures))

    def _owners(self, client_id: int, order_id: int) -> list[Session]:
        """Who hears of an order: its client; of one made by hand client 0 once it has asked to."""
        session = self.sessions.get(client_id)
        if session is None or (order_id < 0 and not session.binds_manual):
            return []
        return [session]

    def _tell_order(self, item: OrderNews) -> None:
        for session in self._owners(item.order.client_id, item.order.order_id):
            self._show(session, item.order)

    def _show(self, session: Session, order: Order) -> None:
        session.send(open_order(order, self.exchange.account, session.version), order.terms.order_ref)
        session.send(order_status(order), order.terms.order_ref)

    def _tell_owner(self, done: Execution, message: Message) -> None:
        for session in self._owners(done.client_id, done.order_id):
            session.send(message, done.order_ref)

    def _tell_position(self, key: str) -> None:
        instrument = self.exchange.instruments.by_key[key]
        held = self.exchange.ledger.positions.get(key, Position())
        for session in list(self.sessions.values()):
            if session.subscriptions.positions:
                session.send(position(instrument, held, self.exchange.account))
        self.accounts.changed(self.sessions.values(), key)


def _fits(done: Execution, request: Request, account: str) -> bool:
    """Whether an execution passes the filter of a request."""
    client, side = request.whole("client_id"), request.text("side").upper()
    return (
        client in {0, done.client_id}
        and request.text("account") in {"", account}
        and request.text("symbol").upper() in {"", done.instrument.symbol}
        and request.text("sec_type") in {"", done.instrument.sec_type}
        and side in {"", "BUY" if done.side > 0 else "SELL", "BOT" if done.side > 0 else "SLD"}
        and request.text("time")[:8] <= f"{datetime_of(done.at):%Y%m%d}"
    )
