"""The emergency stop: cancel every order, close every position, and prove it, by a connection of its own.

Belongs here: what is sent to a gateway and what counts as proof. Does not belong here: the ledger, halts, printing. It
needs neither a strategy nor a database nor Dagster, because it is for the hour in which these are dead.

Proof is what the broker says in the end: a complete answer with no position and no working order in it.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from queue import Empty
from typing import Final

from broker.errors import GatewayError
from broker.ib.health import WARNINGS
from broker.ib.mailbox import Mailbox
from broker.ib.messages import (
    AccountSnapshot,
    Action,
    Contract,
    Event,
    Execution,
    Notice,
    OpenOrder,
    OrderTicket,
    Position,
)
from broker.ib.requests import Gateway

_LOOK_SECONDS: Final = 0.25  # between two looks at what the broker holds
_RESEND_SECONDS: Final = 10.0  # a closing order that nothing is heard of is cancelled and sent again
_ASK_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class ClosedPosition:
    """What was done about one position: shares to trade (signed) and what they went for."""

    symbol: str
    quantity: Decimal
    filled: Decimal
    average_price: Decimal | None


@dataclass(frozen=True, slots=True)
class EmergencyReport:
    """What an emergency stop found, did and proved. `flat` is True only by a complete answer of the broker.

    `current` is False where its last answer was not complete: what is left is then what it said before.
    """

    account: str
    dry_run: bool
    orders_found: tuple[str, ...]
    positions_found: tuple[tuple[str, Decimal], ...]
    closed: tuple[ClosedPosition, ...]
    orders_left: tuple[str, ...]
    positions_left: tuple[tuple[str, Decimal], ...]
    problems: tuple[str, ...]
    seconds: float
    flat: bool
    current: bool


@dataclass(slots=True)
class _Stop:
    """One emergency stop under way."""

    gateway: Gateway
    reference: str
    monotonic: Callable[[], float]
    heard: "Mailbox[Event]"
    sent: dict[int, tuple[Contract, Decimal, float]] = field(default_factory=dict)  # by order id
    fills: dict[str, Execution] = field(default_factory=dict)  # by execution id, the latest correction
    problems: dict[str, None] = field(default_factory=dict)

    def listen(self) -> None:
        """Take note of fills and refusals."""
        while True:
            try:
                event = self.heard.get_nowait()
            except Empty:
                return
            if isinstance(event, Execution) and event.order_ref.startswith(self.reference):
                self.fills[event.exec_id.rpartition(".")[0]] = event
            elif isinstance(event, Notice) and event.request_id in self.sent and event.code not in WARNINGS:
                symbol = self.sent[event.request_id][0].symbol
                if event.code != 202:  # cancelled, by us
                    self.problems[f"{symbol}: the broker said {event.code}: {event.text}"] = None

    def cancel(self, orders: tuple[OpenOrder, ...]) -> None:
        """Cancel everything that works, but not closing orders that are still young."""
        if any(not self.mine(order) for order in orders):
            self.gateway.cancel_everything()  # only IB's global cancel reaches orders of other clients
            return
        for order in orders:
            if self.monotonic() - self.sent[order.ticket.order_id][2] > _RESEND_SECONDS:
                self.gateway.cancel_order(order.ticket.order_id)

    def mine(self, order: OpenOrder) -> bool:
        """Whether an order is one of these closing orders."""
        return order.ticket.order_id in self.sent and order.client_id == self.gateway.client_id

    def close(self, positions: tuple[Position, ...], orders: tuple[OpenOrder, ...]) -> None:
        """Send a market order for every position that none is under way for."""
        under_way = {order.contract.con_id for order in orders}
        now = self.monotonic()
        under_way |= {contract.con_id for contract, _, sent in self.sent.values() if now - sent < 4 * _LOOK_SECONDS}
        for position in positions:
            if position.contract.con_id not in under_way:
                self._send(position)

    def _send(self, position: Position) -> None:
        contract = _routed(position.contract)
        order_id = self.gateway.next_order_id()
        action: Action = "SELL" if position.quantity > 0 else "BUY"
        ticket = OrderTicket(
            order_id, action, abs(position.quantity), "MKT", self.gateway.account, f"{self.reference}-{order_id}"
        )
        self.sent[order_id] = (contract, -position.quantity, self.monotonic())
        try:
            self.gateway.place_order(contract, ticket)
        except GatewayError as error:
            del self.sent[order_id]
            self.problems[f"{contract.symbol}: {error}"] = None


def stop_everything(
    gateway: Gateway,
    found: AccountSnapshot,
    *,
    reference: str,
    seconds: float = 60.0,
    dry_run: bool = False,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> EmergencyReport:
    """Cancel every order of every client, close every position at the market, until the broker proves it flat.

    Args:
        gateway: a session of its own.
        found: what its opening told.
        reference: begins the `orderRef` of every closing order; unique.
        seconds: after which it gives up and reports what is left.
        dry_run: only report what would be done.
        monotonic: clock for waits.
        sleep: waits between looks.
    """
    began = monotonic()
    stop = _Stop(gateway, reference, monotonic, gateway.listen())
    last: AccountSnapshot | None = found
    newest = found
    try:
        while not dry_run and (left := seconds - (monotonic() - began)) > 0:
            ask = min(_ASK_SECONDS, max(left, 1.0))
            try:
                last = None
                orders = gateway.open_orders(ask)
                stop.cancel(orders)
                if all(stop.mine(order) for order in orders):
                    last = newest = gateway.synchronize(ask)
                    if not last.positions and not last.open_orders:
                        break
                    stop.close(last.positions, last.open_orders)
            except GatewayError as error:
                stop.problems[str(error)] = None
            stop.listen()
            sleep(_LOOK_SECONDS)
        stop.listen()
    finally:
        gateway.forget(stop.heard)
    return _report(stop, found, newest, current=last is not None, dry_run=dry_run, seconds=monotonic() - began)


def _report(
    stop: _Stop, found: AccountSnapshot, left: AccountSnapshot, *, current: bool, dry_run: bool, seconds: float
) -> EmergencyReport:
    flat = current and not left.positions and not left.open_orders
    return EmergencyReport(
        account=found.account,
        dry_run=dry_run,
        orders_found=tuple(map(_described, found.open_orders)),
        positions_found=_held(found),
        closed=_closed(stop),
        orders_left=() if flat else tuple(map(_described, left.open_orders)),
        positions_left=() if flat else _held(left),
        problems=tuple(stop.problems),
        seconds=seconds,
        flat=flat,
        current=current,
    )


def _closed(stop: _Stop) -> tuple[ClosedPosition, ...]:
    """What went through, a position a row; an order that was sent twice counts once by its fills."""
    wanted: dict[int, tuple[str, Decimal]] = {}
    for contract, quantity, _ in stop.sent.values():
        wanted.setdefault(contract.con_id, (contract.symbol, quantity))
    rows = []
    for con_id, (symbol, quantity) in wanted.items():
        fills = [fill for fill in stop.fills.values() if fill.contract.con_id == con_id]
        filled = sum((fill.signed for fill in fills), Decimal(0))
        money = sum((fill.signed * fill.price for fill in fills), Decimal(0))
        rows.append(ClosedPosition(symbol, quantity, filled, money / filled if filled else None))
    return tuple(rows)


def _routed(contract: Contract) -> Contract:
    """Positions come without an exchange; shares and currencies go where IB routes them best."""
    if contract.exchange:
        return contract
    exchange = {"STK": "SMART", "CASH": "IDEALPRO"}.get(contract.sec_type, contract.primary_exchange)
    return dataclasses.replace(contract, exchange=exchange)


def _held(snapshot: AccountSnapshot) -> tuple[tuple[str, Decimal], ...]:
    return tuple((p.contract.symbol, p.quantity) for p in snapshot.positions)


def _described(order: OpenOrder) -> str:
    ticket = order.ticket
    price = ticket.limit_price if ticket.limit_price is not None else ticket.aux_price
    at = "" if price is None else f" at {price}"
    return f"{ticket.action} {ticket.quantity:f} {order.contract.symbol} {ticket.order_type}{at}"
