"""What a session can be asked for, and the protocol of who answers.

Belongs here: requests for history and subscriptions, the `Gateway` protocol that the rest of `broker` is written
against. Does not belong here: answers (see `messages`), how they travel (see `session`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from broker.ib.mailbox import Mailbox
from broker.ib.messages import (
    AccountSnapshot,
    Bar,
    CompletedOrder,
    Contract,
    ContractDetails,
    Event,
    OpenOrder,
    OrderTicket,
    PriceIncrement,
    SessionState,
)

SubscriptionKind = Literal["real_time_bars", "ticks"]


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """Bars of one contract. `end` is aware UTC (None: now); texts as IB spells them: `1 D`, `1 min`, `TRADES`."""

    contract: Contract
    end: datetime | None
    duration: str
    bar_size: str
    what_to_show: str = "TRADES"
    regular_hours: bool = True


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """A stream: five-second bars as they close, or ticks.

    History that is kept up to date is none of them: such streams die silently, and begin dead where the history is
    empty.
    """

    contract: Contract
    kind: SubscriptionKind
    what_to_show: str = "TRADES"
    regular_hours: bool = True


class Gateway(Protocol):
    """A live connection to a gateway, safe to call from any thread; every call ends within its time-out.

    Raises in general:
        GatewayTimeoutError: no answer in time.
        GatewayUnreachableError: there is no connection at the moment.
        RequestRefusedError: the gateway said no.
    """

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        ...

    @property
    def account(self) -> str:
        """The account that is traded."""
        ...

    @property
    def client_id(self) -> int:
        """Our number among the gateway's clients; never changes."""
        ...

    @property
    def in_reset(self) -> bool:
        """Whether this is the nightly window in which IB resets its servers: no orders, no alarms."""
        ...

    def listen(self) -> "Mailbox[Event]":
        """A queue that receives every event from now on, in order. Whoever listens must `forget` it in the end."""
        ...

    def forget(self, queue: "Mailbox[Event]") -> None:
        """Stop feeding a queue."""
        ...

    def wait_for(self, state: SessionState, seconds: float) -> bool:
        """Wait until the session is in a state; False when it is not in time."""
        ...

    def synchronize(self, seconds: float = 30.0) -> AccountSnapshot:
        """Ask for the whole state of the account again: complete, or GatewayNotReadyError."""
        ...

    def contract_details(self, contract: Contract, seconds: float = 15.0) -> tuple[ContractDetails, ...]:
        """Every contract that fits; RequestRefusedError with code 200 for none."""
        ...

    def market_rule(self, rule: int, seconds: float = 15.0) -> tuple[PriceIncrement, ...]:
        """Price increments of a market rule, lowest edge first."""
        ...

    def history(self, request: HistoryRequest, seconds: float = 60.0) -> tuple[Bar, ...]:
        """Bars, oldest first. NoDataError and PacingError are told apart from other refusals."""
        ...

    def first_moment(self, contract: Contract, what_to_show: str, seconds: float = 15.0) -> datetime:
        """When IB's history of a contract begins (aware UTC)."""
        ...

    def subscribe(self, request: SubscriptionRequest) -> int:
        """Start a stream that survives reconnects under this number, until `unsubscribe`."""
        ...

    def unsubscribe(self, subscription: int) -> None:
        """End a stream."""
        ...

    def next_order_id(self) -> int:
        """An order id that this client never used."""
        ...

    def place_order(self, contract: Contract, ticket: OrderTicket) -> None:
        """Send an order, or a change of one that has the same id. Returns when it is handed to the socket."""
        ...

    def cancel_order(self, order_id: int) -> None:
        """Ask to cancel an order; only an answer says that it is."""
        ...

    def cancel_everything(self) -> None:
        """Ask to cancel every order of every client (IB's global cancel)."""
        ...

    def open_orders(self, seconds: float = 15.0) -> tuple[OpenOrder, ...]:
        """Working orders of every client."""
        ...

    def completed_orders(self, seconds: float = 15.0) -> tuple[CompletedOrder, ...]:
        """Orders that ended."""
        ...

    def server_time(self, seconds: float = 5.0) -> datetime:
        """The gateway's clock (aware UTC)."""
        ...
