"""What an `OrderBook` found out, as records; a book can be rebuilt from them.

Belongs here: shapes. Does not belong here: how they come about (see `book`), their text form (see `journal`).

`ts` is aware UTC, the moment at which the book saw it. `order_ref` is our reference, or `external:<perm_id>` for
orders that are not ours.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from broker.ib.messages import Alarm, Commission, Contract, Execution, OrderTicket
from broker.orders.states import OrderState


@dataclass(frozen=True, slots=True)
class OrderIntended:
    """An order was decided; to be stored before it is sent."""

    ts: datetime
    contract: Contract
    ticket: OrderTicket

    @property
    def order_ref(self) -> str:
        """Our reference, unique for ever."""
        return self.ticket.order_ref


@dataclass(frozen=True, slots=True)
class OrderAdopted:
    """An order that is not ours works in the account."""

    ts: datetime
    order_ref: str
    contract: Contract
    ticket: OrderTicket
    perm_id: int
    client_id: int


@dataclass(frozen=True, slots=True)
class OrderIdentified:
    """The broker's permanent number of an order became known."""

    ts: datetime
    order_ref: str
    perm_id: int


@dataclass(frozen=True, slots=True)
class TermsAsked:
    """Other terms were sent for an order that works."""

    ts: datetime
    order_ref: str
    ticket: OrderTicket


@dataclass(frozen=True, slots=True)
class TermsConfirmed:
    """The terms that are in force at the broker: those asked for, or the old ones where the change was not taken."""

    ts: datetime
    order_ref: str
    ticket: OrderTicket


@dataclass(frozen=True, slots=True)
class StateChanged:
    """An order went from one state to another; `code` is IB's number where one was the reason."""

    ts: datetime
    order_ref: str
    before: OrderState
    after: OrderState
    reason: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class FillBooked:
    """An execution, booked once; `external` says that its order is not ours."""

    ts: datetime
    order_ref: str
    execution: Execution
    external: bool


@dataclass(frozen=True, slots=True)
class FillCorrected:
    """An execution that replaces `earlier`, which was booked."""

    ts: datetime
    order_ref: str
    execution: Execution
    earlier: Execution
    external: bool


@dataclass(frozen=True, slots=True)
class CommissionBooked:
    """What a booked execution cost; `earlier` is what was booked before, if anything."""

    ts: datetime
    order_ref: str
    commission: Commission
    earlier: Commission | None


@dataclass(frozen=True, slots=True)
class PositionAdopted:
    """The book's position of a contract was set to what the broker says.

    `opening` is True for what was there when the book began, False for a difference that no execution explains.
    `average_cost` a share, commissions included, of `after`.
    """

    ts: datetime
    contract: Contract
    before: Decimal
    after: Decimal
    average_cost: Decimal
    opening: bool


@dataclass(frozen=True, slots=True)
class ExecutionSkipped:
    """An execution from before the book began: it is part of the positions that were adopted."""

    ts: datetime
    exec_id: str


@dataclass(frozen=True, slots=True)
class OrderWarned:
    """The broker said something about an order that does not change it."""

    ts: datetime
    order_ref: str
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """The account's whole state has to be asked for again; the answer goes to `OrderBook.reconcile`.

    `order_ref` is empty where it concerns no order.
    """

    ts: datetime
    order_ref: str
    reason: str


Change = (
    OrderIntended | OrderAdopted | OrderIdentified | TermsAsked | TermsConfirmed | StateChanged | FillBooked
    | FillCorrected | CommissionBooked | PositionAdopted | ExecutionSkipped | OrderWarned | Question | Alarm
)  # fmt: skip
"""Everything that a book tells."""
