"""An order and an execution as the simulated gateway keeps them.

Belongs here: their state and the words the protocol has for it. Does not belong here: what changes them (see `book`,
`exchange`), the wire (see `order_answers`), the file (see `state`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from broker.simulator.instruments import Instrument
from broker.simulator.ledger import ZERO
from broker.simulator.matching import Working
from broker.simulator.order_request import Terms


class Status(StrEnum):
    """States of an order, in IB's words."""

    PENDING = "PendingSubmit"
    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    INACTIVE = "Inactive"

    @property
    def done(self) -> bool:
        """True when nothing more can happen."""
        return self in {Status.FILLED, Status.CANCELLED, Status.INACTIVE}


@dataclass(slots=True)
class Order:
    """An order that the gateway has accepted."""

    perm_id: int
    client_id: int
    order_id: int
    instrument: Instrument
    fields: Mapping[str, str]  # as the client sent them, to be shown again
    terms: Terms
    status: Status = Status.PRE_SUBMITTED
    filled: Decimal = ZERO
    average: Decimal = ZERO
    last_price: Decimal = ZERO
    working: Working = field(default_factory=Working)
    held: bool = False  # not transmitted yet
    parent_perm_id: int = 0
    reduced: Decimal = ZERO  # taken from the quantity by its group
    expires: int | None = None  # UTC microseconds
    active_from: int = 0
    charged: Decimal = ZERO
    charged_session: int = 0
    session_filled: Decimal = ZERO
    session_value: Decimal = ZERO
    submitted_at: int = 0
    completed_at: int = 0
    cancel_reason: str = ""

    @property
    def total(self) -> Decimal:
        """What the order is for, after its group has reduced it."""
        return self.terms.quantity - self.reduced

    @property
    def remaining(self) -> Decimal:
        """What has not filled, nor been cancelled by its group."""
        return max(ZERO, self.total - self.filled)

    @property
    def why_held(self) -> str:
        """IB's words for what an order waits for."""
        reasons = []
        if self.parent_perm_id and self.status is Status.PRE_SUBMITTED:
            reasons.append("child")
        if self.terms.waits_for_stop and not self.working.triggered and not self.status.done:
            reasons.append("trigger")
        return ",".join(reasons)


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill, or a correction of one."""

    exec_id: str
    perm_id: int
    client_id: int
    order_id: int
    instrument: Instrument
    at: int  # UTC microseconds
    session: int
    side: int
    quantity: Decimal
    price: Decimal
    cumulative: Decimal
    average: Decimal
    fee: Decimal
    realised: Decimal | None  # None when the fill closed nothing
    order_ref: str
    took: bool  # liquidity
