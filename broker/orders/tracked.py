"""One order: the facts that were heard of it, and the state that follows from them.

Belongs here: the state machine. Facts only ever add up (an end that was told, the largest quantity told), so the order
in which messages come does not matter. Does not belong here: reading messages (see `book`).
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from broker.ib.messages import Contract, Execution, Notice, OrderTicket
from broker.orders.fills import parted
from broker.orders.states import OrderState

_NONE = Decimal()


@dataclass(slots=True)
class TrackedOrder:
    """Everything known about one order; to be read by others, written by its book only.

    Attributes:
        order_ref: our reference, or `external:<perm_id>`.
        contract: what is traded.
        ticket: the terms in force; for a new order those it was sent with.
        last: when its state changed last, or it was recorded (aware UTC).
        ours: whether this book sent it.
        state: where it stands.
        reason: why it is there, in words.
        perm_ids: the broker's permanent numbers, normally one.
        asked: other terms that were sent and not confirmed yet.
        acknowledged: whether the broker showed that it has the order.
        was_sent: whether it was handed to the socket and may be at the broker.
        heard: when the broker showed last that it works.
        in_flight: since when something that was sent waits for its effect.
        cancel_sent: whether we asked to cancel it.
        cancel_told: whether the broker announced its cancellation without saying how much was filled.
        expiry_told: whether the broker said that its time limit ended it.
        doubt: why its state is not known; empty while it is.
        told_filled: the largest filled quantity that the broker stated.
        ended: how the broker says it ended.
        refusal: the last refusal of the order or of a change.
        inactive: whether the broker called it inactive.
        executions: those that are booked, by their lasting name.
    """

    order_ref: str
    contract: Contract
    ticket: OrderTicket
    last: datetime
    ours: bool = True
    state: OrderState = OrderState.INTENDED
    reason: str = ""
    perm_ids: tuple[int, ...] = ()
    asked: OrderTicket | None = None
    acknowledged: bool = False
    heard: datetime | None = None
    in_flight: datetime | None = None
    was_sent: bool = False
    cancel_sent: bool = False
    cancel_told: bool = False
    expiry_told: bool = False
    doubt: str = ""
    told_filled: Decimal = _NONE
    ended: OrderState | None = None
    refusal: Notice | None = None
    inactive: bool = False
    executions: dict[str, Execution] = field(default_factory=dict)

    @property
    def filled(self) -> Decimal:
        """Shares of all booked executions, without sign."""
        return sum((execution.quantity for execution in self.executions.values()), _NONE)

    @property
    def remaining(self) -> Decimal:
        """Shares that may still be filled; 0 once the order is done."""
        return _NONE if self.state.terminal else max(self.ticket.quantity - self.filled, _NONE)

    @property
    def missing(self) -> Decimal:
        """Shares that the broker says are filled and no execution was heard of."""
        return max(self.told_filled - self.filled, _NONE)

    def take(self, execution: Execution) -> None:
        """Count an execution, in place of an earlier revision of it."""
        self.executions[parted(execution.exec_id)[0]] = execution
        self.told_filled = max(self.told_filled, execution.cumulative)

    def end(self, how: OrderState, filled: Decimal) -> None:
        """Note how the broker says that it ended; a fill of the whole outranks a cancellation."""
        self.told_filled = max(self.told_filled, filled)
        if self.ended is not OrderState.FILLED and (self.ended is None or how is not OrderState.CANCELLED):
            self.ended = how

    def concluded(self) -> OrderState:
        """The state that follows from the facts; terminal only when every share is accounted for."""
        filled = self.filled
        if self.ended is not None and filled >= self.told_filled:
            whole = filled >= self.ticket.quantity and filled > 0
            return OrderState.FILLED if whole else self.ended
        if filled == self.ticket.quantity and filled > 0 and self.asked is None:
            return OrderState.FILLED
        return self._alive()

    def _alive(self) -> OrderState:
        if self.doubt:
            return OrderState.UNKNOWN
        if self.cancel_sent or self.cancel_told:
            return OrderState.CANCEL_SENT
        if self.acknowledged or self.executions:
            return OrderState.WORKING
        return OrderState.SENT if self.was_sent else OrderState.INTENDED
