"""Orders that only reduce a position: together they never take it through zero.

Belongs here: their groups at the broker, how large they may be, and trimming what no group covers. Does not belong
here: which orders only reduce (see `risk`).
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from backtrader.order import Order

from broker.ib.messages import OrderTicket
from broker.live.orders import LiveOrder, Register
from broker.orders.states import OrderState

_PAUSE = timedelta(seconds=1)  # for the broker to shrink or cancel a member of a group by itself
_SHRINKS = 2  # IB's type of a group whose other members are made smaller by a fill
_MARK = "/exits"
_NONE = Decimal()


def is_exit(ticket: OrderTicket) -> bool:
    """Whether an order was sent as one of a group that only reduces a position."""
    return ticket.oca_type == _SHRINKS and ticket.oca_group.endswith(_MARK)


class Exits:
    """Groups by con_id and orders that exceed their position."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._groups: dict[int, str] = {}
        self._excess: dict[int, datetime] = {}  # by Backtrader's reference: since when

    def admit(self, live: LiveOrder) -> None:
        """Put an order that only reduces into its group and cut it to what it may take."""
        self._join(live)
        live.quantity = min(live.quantity, self.reducible(live))

    def inherit(self, live: LiveOrder) -> None:
        """Go on with the group of an order of an earlier run."""
        if is_exit(live.draft):
            self._groups[live.con_id] = live.oca_group

    def reducible(self, live: LiveOrder) -> Decimal:
        """How much of the position an order may take: what no order outside its group takes."""
        left = self._held(live)
        for other in self._beside(live):
            if not live.oca_group or other.oca_group != live.oca_group:
                left -= self._register.remaining(other)
        return max(left, _NONE)

    def forget(self, con_id: int) -> None:
        """The position is over: what reduces the next one is another group."""
        self._groups.pop(con_id, None)

    def exceeding(self, now: datetime) -> Iterator[tuple[LiveOrder, OrderTicket | None]]:
        """Orders larger than their position, longer than a moment: the terms to give them, None to cancel them."""
        found = [live for live in self._register.at_broker() if self._exceeds(live)]
        self._excess = {live.order.ref: self._excess.get(live.order.ref, now) for live in found}
        for live in found:
            if now - self._excess[live.order.ref] < _PAUSE:
                continue
            held, tracked = self._held(live), self._register.tracked(live)
            if held <= 0:
                yield live, None
            elif tracked.state is OrderState.WORKING and tracked.asked is None:
                yield live, replace(tracked.ticket, quantity=tracked.filled + held, transmit=True)

    def _join(self, live: LiveOrder) -> None:
        """Share a group, unless a market order is the only one."""
        group = self._groups.get(live.con_id)
        alone = all(other.oca_group != group for other in self._beside(live))
        at_once = live.order.exectype in (Order.Market, Order.Close)
        if live.order.oco is None and not (alone and at_once):
            live.oca_group = self._groups.setdefault(live.con_id, live.order_ref + _MARK)
            live.oca_type = _SHRINKS

    def _beside(self, live: LiveOrder) -> list[LiveOrder]:
        """Other orders that only reduce the same position; those of a bracket are the broker's to balance."""
        return [
            other
            for other in self._register.of(live.con_id)
            if other is not live and other.capped and other.sign == live.sign and other.parent is None
        ]

    def _held(self, live: LiveOrder) -> Decimal:
        """Shares that an order could close; negative on the wrong side."""
        return self._register.book.position(live.con_id) * -live.sign

    def _exceeds(self, live: LiveOrder) -> bool:
        """Whether an order would take a position through zero, as far as all fills are known."""
        if not live.capped or live.cancel_wanted or (live.parent is not None and live.parent.order.alive()):
            return False
        open_orders = self._register.book.open_orders
        unsure = any(other.missing for other in open_orders if other.contract.con_id == live.con_id)
        return not unsure and self._register.remaining(live) > max(self._held(live), _NONE)
