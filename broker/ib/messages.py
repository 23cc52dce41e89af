"""What a gateway tells and is told, in types of our own: nothing here knows a client library.

Belongs here: frozen records of single messages. Does not belong here: what they mean together (see `broker.orders`),
sending and receiving (see `wire`, `session`).

Times are aware UTC. What the broker counts (quantities, prices of orders and executions, money) is Decimal; prices of
bars are floats, as the warehouse stores them. None stands for "not told".
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

Action = Literal["BUY", "SELL"]


@dataclass(frozen=True, slots=True)
class Contract:
    """An instrument; `con_id` 0 until it was resolved."""

    symbol: str
    sec_type: str = "STK"
    exchange: str = "SMART"
    currency: str = "USD"
    primary_exchange: str = ""
    con_id: int = 0
    local_symbol: str = ""
    trading_class: str = ""
    multiplier: str = ""
    expiry: str = ""


@dataclass(frozen=True, slots=True)
class ContractDetails:
    """What IB knows about a contract. Hours are IB's texts in `timezone`."""

    contract: Contract
    long_name: str
    min_tick: Decimal
    size_increment: Decimal
    market_rules: tuple[int, ...]  # one an exchange of `valid_exchanges`
    valid_exchanges: tuple[str, ...]
    order_types: frozenset[str]
    timezone: str
    trading_hours: str
    liquid_hours: str


@dataclass(frozen=True, slots=True)
class PriceIncrement:
    """From `low_edge` on, prices are multiples of `increment`."""

    low_edge: Decimal
    increment: Decimal


@dataclass(frozen=True, slots=True)
class OrderTicket:
    """An order as it is sent. `order_type` is IB's name: MKT, LMT, STP, STP LMT, TRAIL, TRAIL LIMIT, MOC.

    `aux_price` is the stop price, or the distance of a trailing order. A `parent_id` other than 0 makes it a child.
    """

    order_id: int
    action: Action
    quantity: Decimal
    order_type: str
    account: str
    order_ref: str = ""
    limit_price: Decimal | None = None
    aux_price: Decimal | None = None
    trailing_percent: Decimal | None = None
    trail_stop_price: Decimal | None = None
    limit_offset: Decimal | None = None
    tif: str = "DAY"
    good_till: str = ""
    oca_group: str = ""
    oca_type: int = 0
    parent_id: int = 0
    transmit: bool = True
    outside_rth: bool = False


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order as the gateway describes it, working or just ended; `status` as of that message.

    `ticket.order_id` is 0 or negative for orders of the screen of TWS that are not bound; `client_id` is the sender's.
    """

    ticket: OrderTicket
    contract: Contract
    status: str
    perm_id: int
    client_id: int
    warning: str = ""


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """A status message: a hint, never proof of a fill."""

    order_id: int
    status: str
    filled: Decimal
    remaining: Decimal
    average_price: Decimal
    perm_id: int
    parent_id: int
    client_id: int
    why_held: str = ""


@dataclass(frozen=True, slots=True)
class CompletedOrder:
    """An order that ended, today or lately; IB tells no order id, `perm_id` and `ticket.order_ref` identify it."""

    ticket: OrderTicket
    contract: Contract
    status: str
    perm_id: int
    filled: Decimal
    completed_time: str
    completed_status: str


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill. `exec_id` ends in `.NN`; the same id with a higher number corrects the earlier one.

    `quantity` is above 0, `side` BOT or SLD. `solicited` is False for a fill told as it happens, True for an answer.
    """

    exec_id: str
    ts: datetime
    account: str
    contract: Contract
    side: Literal["BOT", "SLD"]
    quantity: Decimal
    price: Decimal
    cumulative: Decimal
    average_price: Decimal
    order_id: int
    perm_id: int
    client_id: int
    order_ref: str
    exchange: str = ""
    liquidation: bool = False
    solicited: bool = False

    @property
    def signed(self) -> Decimal:
        """Shares bought (+) or sold (-)."""
        return self.quantity if self.side == "BOT" else -self.quantity


@dataclass(frozen=True, slots=True)
class Commission:
    """What an execution cost; `realized` is None where it opened or IB tells none."""

    exec_id: str
    amount: Decimal
    currency: str
    realized: Decimal | None


@dataclass(frozen=True, slots=True)
class Position:
    """Signed shares of a contract in an account; `average_cost` a share, commissions included."""

    account: str
    contract: Contract
    quantity: Decimal
    average_cost: Decimal


@dataclass(frozen=True, slots=True)
class PortfolioItem:
    """A position with IB's valuation, in the contract's currency."""

    account: str
    contract: Contract
    quantity: Decimal
    market_price: Decimal
    market_value: Decimal
    average_cost: Decimal
    unrealized: Decimal
    realized: Decimal


@dataclass(frozen=True, slots=True)
class AccountValue:
    """One figure of an account, as IB prints it."""

    account: str
    key: str
    value: str
    currency: str


@dataclass(frozen=True, slots=True)
class Notice:
    """An error, warning or information; `request_id` is -1 where it concerns no request, else a request or order id."""

    request_id: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar as IB sends it. `stamp` is its **open** (aware UTC), or for daily bars and longer the exchange date."""

    stamp: datetime | date
    open: float
    high: float
    low: float
    close: float
    volume: float
    average: float
    count: int


@dataclass(frozen=True, slots=True)
class BarUpdate:
    """A five-second bar of a subscription, just closed."""

    subscription: int
    bar: Bar


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick of a subscription; `kind` is IB's number, `value` price, size or state."""

    subscription: int
    kind: int
    value: Decimal
    size: Decimal | None = None


@dataclass(frozen=True, slots=True)
class MarketDataType:
    """What kind of data a subscription gets: 1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""

    subscription: int
    kind: int


@dataclass(frozen=True, slots=True)
class Undecoded:
    """A message that the client library could not read: something happened and we do not know what.

    `about_account` where it may concern orders, fills, positions or figures of the account.
    """

    text: str
    about_account: bool


class SessionState(StrEnum):
    """Where a session stands; orders may be sent in READY only.

    DISCONNECTED  no socket; a reconnect may be scheduled.
    CONNECTING    the socket opens, the handshake runs.
    SYNCING       connected; the account's state is being told.
    READY         everything told, everything works.
    DEGRADED      the socket lives, but IB's servers, its data or its answers do not.
    """

    DISCONNECTED = "DISCONNECTED"
    CONNECTING = "CONNECTING"
    SYNCING = "SYNCING"
    READY = "READY"
    DEGRADED = "DEGRADED"


@dataclass(frozen=True, slots=True)
class StateChange:
    """The session moved to `state`; `in_reset` says that it is the nightly outage, expected until it outlives it."""

    ts: datetime
    state: SessionState
    reason: str
    in_reset: bool = False


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a human has to know; `code` is a short stable name such as `outage`, `clock_skew`, `external_order`."""

    ts: datetime
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Resubscribed:
    """A subscription is fed again after an interruption; what came between must be filled in from history."""

    subscription: int


@dataclass(frozen=True, slots=True)
class SubscriptionEnded:
    """A subscription cannot be fed: `code` and `text` as the gateway said."""

    subscription: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """All that a gateway tells before a session is READY: complete, or it does not exist.

    `open_orders` are those of every client, `executions` today's with the commissions told so far.
    """

    ts: datetime
    account: str
    positions: tuple[Position, ...]
    open_orders: tuple[OpenOrder, ...]
    completed_orders: tuple[CompletedOrder, ...]
    executions: tuple[Execution, ...]
    commissions: tuple[Commission, ...]
    values: tuple[AccountValue, ...]
    portfolio: tuple[PortfolioItem, ...] = field(default=())

    def value(self, key: str, currency: str = "BASE") -> Decimal | None:
        """A figure of the account; where it is not told in that currency but in one other only, that one."""
        told = {v.currency: v.value for v in self.values if v.key == key}
        text = told.get(currency, next(iter(told.values())) if len(told) == 1 else None)
        return None if text is None else Decimal(text)


Event = (
    OpenOrder | OrderStatus | Execution | Commission | Position | PortfolioItem | AccountValue | Notice | BarUpdate
    | Tick | MarketDataType | Undecoded | StateChange | Alarm | Resubscribed | SubscriptionEnded | AccountSnapshot
)  # fmt: skip
"""What a listener of a session receives."""
