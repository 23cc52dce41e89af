"""An order of a strategy on its way to the broker, and the groups that orders form.

Belongs here: what the live broker keeps about each of Backtrader's orders. Does not belong here: sending (see
`live_broker`), what became of it at the broker (see `broker.orders`).
"""

import math
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from backtrader.order import Order, OrderExecutionBit

from broker.ib.messages import Execution
from broker.instrument import Instrument


@dataclass(slots=True)
class LiveOrder:
    """One of Backtrader's orders and its life here; quantities are exact and without sign.

    Attributes:
        order: Backtrader's.
        instrument: what it trades.
        parent: the order it is attached to.
        quantity: what may go after rounding and review.
        capped: it only reduces, so that its fills must never exceed the position.
        by_guard: the broker itself closes a position with it; a strategy cannot cancel it.
        kind: what `risk` calls its type.
        order_ref: its reference, also at the broker.
        order_id: its number at the broker; 0 until it was written down.
        oca_group: the group in which one order's fill cancels or shrinks the others.
        oca_type: 1 cancels, 2 shrinks.
        applied: what Backtrader knows as filled.
        bits: executions that Backtrader knows, by their lasting name.
        cancel_wanted: somebody wants it cancelled.
        accepted: whether the strategy was told that the broker has it.
        resent: whether it was sent a second time.
    """

    order: Order
    instrument: Instrument
    parent: "LiveOrder | None"
    quantity: Decimal
    capped: bool
    by_guard: bool
    kind: str
    order_ref: str
    order_id: int = 0
    oca_group: str = ""
    oca_type: int = 0
    applied: Decimal = Decimal()
    bits: dict[str, OrderExecutionBit] = field(default_factory=dict)
    cancel_wanted: bool = False
    accepted: bool = False
    resent: bool = False

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sale."""
        return 1 if self.order.isbuy() else -1

    @property
    def con_id(self) -> int:
        """The contract's number."""
        return self.instrument.con_id

    @property
    def written(self) -> bool:
        """Whether it is in the order book."""
        return bool(self.order_id)

    def resize(self, quantity: Decimal) -> None:
        """Another quantity, everywhere Backtrader keeps it."""
        order, self.quantity = self.order, quantity
        order.size = order.created.size = math.copysign(float(quantity), self.sign)
        self.keep_remaining()

    def keep_remaining(self) -> None:
        """What is left to fill, without the last bits of sums of binary fractions."""
        self.order.executed.remsize = math.copysign(float(self.quantity - self.applied), self.sign)
        if self.quantity == self.applied:
            self.order.executed.remsize = 0


@dataclass(frozen=True, slots=True)
class WaitingFill:
    """An execution whose commission is awaited until `until`; `live` is None where its order is not a strategy's."""

    execution: Execution
    live: LiveOrder | None
    until: datetime
