"""What lasts of a book: orders, fills and positions as the changes made them.

Belongs here: carrying out changes, finding orders. Does not belong here: deciding on changes (see `book`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from broker.orders.changes import (
    Change,
    CommissionBooked,
    ExecutionSkipped,
    FillBooked,
    FillCorrected,
    OrderAdopted,
    OrderIdentified,
    OrderIntended,
    PositionAdopted,
    StateChanged,
    TermsAsked,
    TermsConfirmed,
)
from broker.orders.fills import FillBook
from broker.orders.positions import PositionBook
from broker.orders.states import OrderState
from broker.orders.tracked import TrackedOrder


@dataclass(slots=True)
class Memory:
    """Orders by reference, by the broker's permanent number and by our own order id; fills; positions.

    `open` holds the orders that are not done.
    """

    orders: dict[str, TrackedOrder] = field(default_factory=dict)
    open: dict[str, TrackedOrder] = field(default_factory=dict)
    by_perm_id: dict[int, str] = field(default_factory=dict)
    by_order_id: dict[int, str] = field(default_factory=dict)
    fills: FillBook = field(default_factory=FillBook)
    positions: PositionBook = field(default_factory=PositionBook)

    def carry_out(self, change: Change) -> None:
        """Let a change take effect; a warning, a question or an alarm has none."""
        effect = _EFFECTS.get(type(change))
        if effect is not None:
            effect(self, change)

    def _intended(self, change: OrderIntended) -> None:
        order = TrackedOrder(change.order_ref, change.contract, change.ticket, last=change.ts)
        self.orders[change.order_ref] = self.open[change.order_ref] = order
        self.by_order_id[change.ticket.order_id] = change.order_ref

    def _adopted(self, change: OrderAdopted) -> None:
        order = TrackedOrder(
            change.order_ref, change.contract, change.ticket, last=change.ts, ours=False, was_sent=True
        )
        self.orders[change.order_ref] = self.open[change.order_ref] = order
        self._number(order, change.perm_id)

    def _identified(self, change: OrderIdentified) -> None:
        self._number(self.orders[change.order_ref], change.perm_id)

    def _number(self, order: TrackedOrder, perm_id: int) -> None:
        order.perm_ids = (*order.perm_ids, perm_id)
        self.by_perm_id[perm_id] = order.order_ref

    def _asked(self, change: TermsAsked) -> None:
        self.orders[change.order_ref].asked = change.ticket

    def _confirmed(self, change: TermsConfirmed) -> None:
        order = self.orders[change.order_ref]
        order.ticket, order.asked = change.ticket, None

    def _state(self, change: StateChanged) -> None:
        order, after = self.orders[change.order_ref], change.after
        order.state, order.reason, order.last = after, change.reason, change.ts
        order.was_sent = after is not OrderState.INTENDED
        order.acknowledged = order.acknowledged or after is OrderState.WORKING
        if after.terminal:
            order.ended = after
            self.open.pop(change.order_ref, None)
        else:
            order.ended = None if change.before.terminal else order.ended
            self.open[change.order_ref] = order

    def _fill(self, change: FillBooked | FillCorrected) -> None:
        execution = change.execution
        moved = execution.signed
        if isinstance(change, FillCorrected):
            moved -= change.earlier.signed
        self.fills.book(change.order_ref, execution, external=change.external)
        self.positions.move(execution.contract, moved)
        order = self.orders.get(change.order_ref)
        if order is not None:
            order.take(execution)

    def _commission(self, change: CommissionBooked) -> None:
        self.fills.attach(change.commission)

    def _position(self, change: PositionAdopted) -> None:
        self.positions.put(change.contract, change.after)

    def _skipped(self, change: ExecutionSkipped) -> None:
        self.fills.skip(change.exec_id)


_EFFECTS: dict[type, Callable[[Memory, Any], None]] = {
    OrderIntended: Memory._intended,
    OrderAdopted: Memory._adopted,
    OrderIdentified: Memory._identified,
    TermsAsked: Memory._asked,
    TermsConfirmed: Memory._confirmed,
    StateChanged: Memory._state,
    FillBooked: Memory._fill,
    FillCorrected: Memory._fill,
    CommissionBooked: Memory._commission,
    PositionAdopted: Memory._position,
    ExecutionSkipped: Memory._skipped,
}
