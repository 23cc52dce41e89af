"""Sending, sending again, cancelling and changing orders.

Belongs here: the way to the gateway: written down first, then sent, and what a failure on the way means. Does not
belong here: whether an order may go (see `broker.live_broker`).
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from broker.errors import GatewayError, GatewayNotReadyError, OrderBookError
from broker.ib.messages import OrderTicket, SessionState
from broker.ib.requests import Gateway
from broker.live.news import News
from broker.live.orders import LiveOrder, Register
from broker.orders.changes import Change
from broker.orders.states import OrderState

_OFFERS = 1_000
_CANCELS = 1  # IB's type of a group whose other members are cancelled by a fill


class Dispatch:
    """Sends orders of a register to a gateway.

    Args:
        gateway: where to.
        register: the orders and the book.
        news: what strategies are told.
        clock: measures waits (aware UTC).
        react: is given what the book says, and has stored it when it returns.
    """

    def __init__(
        self,
        gateway: Gateway,
        register: Register,
        news: News,
        clock: Callable[[], datetime],
        react: Callable[[tuple[Change, ...]], None],
    ) -> None:
        self._gateway = gateway
        self._register = register
        self._news = news
        self._clock = clock
        self._react = react
        self._held: dict[int, list[LiveOrder]] = {}  # brackets that wait for `transmit`, by the parent's reference
        self._resting: list[LiveOrder] = []  # orders that are sent when Cerebro comes round

    # ---------------------------------------------------------------- new orders

    def take(self, live: LiveOrder) -> None:
        """Send an order that may go, or keep it until its group is complete."""
        leader = live if live.parent is None else live.parent
        if not live.order.transmit or leader.order.ref in self._held:
            self._held.setdefault(leader.order.ref, []).append(live)
            if live.order.transmit:
                self._send(self._held.pop(leader.order.ref))
        elif live.may_lead_group:
            self._join_group(live)
            self._resting.append(live)
        else:
            self._send([live])

    def drop_bracket(self, leader: LiveOrder) -> list[LiveOrder]:
        """Forget the bracket that waits with a parent order; its members."""
        return self._held.pop(leader.order.ref, [])

    def send_resting(self) -> None:
        """Send what waited for others to join its group."""
        waiting, self._resting = self._resting, []
        for live in waiting:
            if live.order.alive():
                self._send([live])

    def send_again(self, shut: Callable[[LiveOrder], str | None], refused: Callable[[LiveOrder], str | None]) -> None:
        """Send orders that provably never reached the broker once more, if they are still wanted and may go.

        Args:
            shut: why one cannot go now, or None.
            refused: why one may not go any more, or None.
        """
        for live in self._register.at_broker():
            if self._register.tracked(live).state is not OrderState.INTENDED:
                continue
            reason = "cancelled before it came there" if live.cancel_wanted else None
            if live.resent and reason is None:
                reason = "it never came to the broker"
            if reason is None and shut(live) is not None:
                continue
            reason = reason or refused(live)
            if reason is not None:
                self._react(self._register.book.withheld(live.order_ref, reason, self._clock()))
            else:
                live.resent = True
                # the same order id: should the first one turn up after all, the broker takes this for a change of it
                self._place(live, self._register.tracked(live).ticket)

    def _join_group(self, live: LiveOrder) -> None:
        """Put an order into the group of the one that it names."""
        leader = self._register.get(live.order.oco)
        if leader is None:
            return
        if not leader.oca_group:
            leader.oca_group, leader.oca_type = f"{leader.order_ref}/oco", _CANCELS
        live.oca_group, live.oca_type = leader.oca_group, leader.oca_type

    def _send(self, group: list[LiveOrder]) -> None:
        """Write down a group of orders, then send them; the last one lets them all go."""
        try:
            written = [(live, self._intend(live, transmit=live is group[-1])) for live in group]
        except (GatewayError, OrderBookError) as failure:
            self._withdraw(group, str(failure))
            return
        for live, ticket in written:
            if not self._place(live, ticket):
                self._withdraw(group, self._news.reasons[live.order.ref])
                return

    def _intend(self, live: LiveOrder, *, transmit: bool) -> OrderTicket:
        """Give an order its number and write it down."""
        ticket = replace(
            live.draft,
            order_id=self._fresh_id(),
            account=self._gateway.account,
            quantity=live.quantity,
            oca_group=live.oca_group,
            oca_type=live.oca_type,
            parent_id=0 if live.parent is None else live.parent.order_id,
            transmit=transmit,
        )
        changes = self._register.book.intend(live.instrument.contract, ticket, self._clock())
        self._register.write(live, ticket.order_id)
        self._react(changes)
        return ticket

    def _fresh_id(self) -> int:
        """An order id that no order of the book has: a gateway forgets about ids whose orders it refused.

        Raises:
            OrderBookError: all that it offers are taken.
        """
        for _ in range(_OFFERS):
            order_id = self._gateway.next_order_id()
            if self._register.book.by_order_id(order_id) is None:
                return order_id
        raise OrderBookError(f"order_id: the gateway offers ids that are taken, the last one {order_id}.")

    def _place(self, live: LiveOrder, ticket: OrderTicket) -> bool:
        """Send a written order; False where it certainly was not sent."""
        try:
            self._gateway.place_order(live.instrument.contract, ticket)
        except GatewayNotReadyError as shut:
            self._news.explain(live.order, str(shut))
            return False
        except GatewayError as failure:
            self._news.explain(live.order, f"not known whether it was sent: {failure}")  # the book finds out
        self._react(self._register.book.sent(live.order_ref, self._clock()))
        return True

    def _withdraw(self, group: list[LiveOrder], reason: str) -> None:
        """A group cannot be sent as a whole: take back what was sent, end the rest."""
        for live in group:
            if not live.written:
                self._news.reject(live.order, reason)
            elif self._register.tracked(live).state is OrderState.INTENDED:
                self._react(self._register.book.withheld(live.order_ref, reason, self._clock()))
            else:
                self._news.explain(live.order, reason)
                self._cancel_sent(live)

    # ---------------------------------------------------------------- cancelling

    def cancel(self, live: LiveOrder, reason: str) -> None:
        """Ask to cancel an order; one that was not sent is over at once, and so are the children that wait with it."""
        for child in self._taken_out(live):
            self._news.withdraw(child.order, "its parent order was cancelled")
        if not live.written:
            self._news.withdraw(live.order, reason)
        elif not live.cancel_wanted:
            self._news.explain(live.order, self._news.reasons.get(live.order.ref, reason))
            self._cancel_sent(live)

    def cancel_again(self) -> None:
        """Cancellations that did not reach the broker, or were lost there."""
        if self._gateway.state is not SessionState.READY:
            return
        for live in self._register.at_broker():
            if live.cancel_wanted and self._register.tracked(live).state is OrderState.WORKING:
                self._cancel_sent(live)

    def _taken_out(self, live: LiveOrder) -> list[LiveOrder]:
        """Take an order out of the bracket in which it waits; the children that cannot go without it."""
        led = self._held.pop(live.order.ref, [])
        for group in self._held.values():
            if live in group:
                group.remove(live)
        return [child for child in led if child is not live]

    def _cancel_sent(self, live: LiveOrder) -> None:
        live.cancel_wanted = True
        try:
            self._gateway.cancel_order(live.order_id)
        except GatewayError:
            return  # tried again at the next round
        self._react(self._register.book.cancel_sent(live.order_ref, self._clock()))

    # ---------------------------------------------------------------- changing

    def change(self, live: LiveOrder, ticket: OrderTicket) -> bool:
        """Send other terms of an order that works; the book follows what becomes of them. False if not sent."""
        try:
            self._gateway.place_order(live.instrument.contract, ticket)
        except GatewayNotReadyError as shut:
            self._news.explain(live.order, str(shut))
            return False
        except GatewayError as failure:
            self._news.explain(live.order, f"not known whether the change was sent: {failure}")
        self._react(self._register.book.terms_sent(ticket, self._clock()))
        return True
