"""What live trading leaves behind, as frozen records.

Belongs here: shapes. Does not belong here: tables (see `tables`), how they are stored and read (see `store`).

Times are aware UTC. Quantities, prices and money that a broker counts are Decimal; figures of the risk guard are
floats, as `risk` has them, NaN where nothing was seen. `document` holds a record as its maker writes it, so that the
maker can go on from it; the ledger gives it back unread.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

Mode = Literal["paper", "live"]
Action = Literal["halt", "reduce_only", "resume", "stop_keep", "stop_flatten", "emergency"]
Document = dict[str, Any]

_FLOATS: ConfigDict = {"ser_json_inf_nan": "constants"}


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose records these are: a deployment, its account and the exchange session, None outside of one."""

    deployment: str
    account: str
    session: date | None = None


@dataclass(frozen=True, slots=True)
class DeploymentSwitched:
    """An experiment was switched on for an account, or off.

    `experiment_yaml` is the experiment's text as it was then, `fingerprint` names what would run.
    """

    kind: ClassVar[str] = "deployment"
    ts: datetime
    enabled: bool
    experiment: str
    mode: Mode
    experiment_yaml: str
    fingerprint: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """A run began to trade a session; `attempt` counts the tries of one run from 1."""

    kind: ClassVar[str] = "session_start"
    ts: datetime
    run_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A run's attempt ended by itself. One that was killed has no such record."""

    kind: ClassVar[str] = "session_end"
    ts: datetime
    run_id: str
    attempt: int
    outcome: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """An order that was decided. `order_type` is the broker's name, `parent_ref` the reference of a bracket's entry.

    `decision_price` is the symbol's close at `bar_ts`, which the strategy saw when it decided; None where it saw none.
    """

    kind: ClassVar[str] = "intent"
    ts: datetime
    order_ref: str
    symbol: str
    con_id: int
    side: Literal["BUY", "SELL"]
    quantity: Decimal
    order_type: str
    bar_ts: datetime
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    tif: str = "DAY"
    parent_ref: str = ""
    reason: str = ""
    document: Document | None = None
    decision_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """Something happened to an order: `change` names what; `state` is its state after it, None where that stays.

    `done` says that nothing more is expected of it. `perm_id` is the broker's number, `code` its reason.
    """

    kind: ClassVar[str] = "order"
    ts: datetime
    order_ref: str
    change: str
    state: str | None = None
    done: bool = False
    reason: str = ""
    code: int | None = None
    perm_id: int | None = None
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class BookChanged:
    """Something that an order book has to remember and that is of no single order, such as an execution to skip."""

    kind: ClassVar[str] = "book"
    ts: datetime
    change: str
    document: Document


@dataclass(frozen=True, slots=True)
class Filled:
    """One execution, or its correction.

    `exec_id` is unique for ever. `execution` is the lasting name of all its revisions; the highest `revision` counts.
    `ts` is when it was recorded, `executed` when it happened. `quantity` is above 0.
    """

    kind: ClassVar[str] = "fill"
    ts: datetime
    executed: datetime
    exec_id: str
    execution: str
    revision: int
    order_ref: str
    symbol: str
    con_id: int
    currency: str
    side: Literal["BUY", "SELL"]
    quantity: Decimal
    price: Decimal
    exchange: str = ""
    external: bool = False
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class CommissionTold:
    """What an execution cost; the one of the highest revision counts, among those the last recorded."""

    kind: ClassVar[str] = "commission"
    ts: datetime
    exec_id: str
    execution: str
    revision: int
    amount: Decimal
    currency: str
    realized: Decimal | None = None
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class PositionStated:
    """Signed shares of a contract, 0 when it is closed; `source` says whether the broker says so or our own books."""

    kind: ClassVar[str] = "position"
    ts: datetime
    source: Literal["broker", "ours"]
    symbol: str
    con_id: int
    currency: str
    quantity: Decimal
    average_cost: Decimal | None = None
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class CashStated:
    """Cash of one currency."""

    kind: ClassVar[str] = "cash"
    ts: datetime
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class EquitySnapshot:
    """The account's worth, in its base currency; None where it was not told."""

    kind: ClassVar[str] = "equity"
    ts: datetime
    currency: str
    equity: Decimal
    cash: Decimal | None = None
    gross_value: Decimal | None = None
    unrealized: Decimal | None = None
    realized: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RiskDecided:
    """A refusal, a shrunk order or a change of the halt state, with the fields of `risk.events.RiskEvent`."""

    kind: ClassVar[str] = "risk_event"
    __pydantic_config__: ClassVar[ConfigDict] = _FLOATS
    ts: datetime
    what: str
    symbol: str | None
    limit: str
    limit_value: float | None
    measured: float | None
    quantity_requested: float | None
    quantity_allowed: float | None
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class RiskMemory:
    """All that a risk guard remembers, with the fields of `risk.decision.RiskState`; of an account."""

    kind: ClassVar[str] = "risk_state"
    __pydantic_config__: ClassVar[ConfigDict] = _FLOATS
    ts: datetime
    halt: str
    session: date | None
    session_start_equity: float
    peak_equity: float
    orders_this_session: int
    recent_orders: tuple[datetime, ...]
    consecutive_losses: int
    cooldown_until: datetime | None
    latched_halt: str
    session_halt: str
    last_equity: float


@dataclass(frozen=True, slots=True)
class LimitMeasured:
    """One limit and what is used of it, with the fields of `risk.headroom.Headroom`."""

    __pydantic_config__: ClassVar[ConfigDict] = _FLOATS
    limit: str
    most: float
    used: float
    symbol: str | None


@dataclass(frozen=True, slots=True)
class HoldingValued:
    """Signed shares of a symbol at its last price; NaN where there is none."""

    __pydantic_config__: ClassVar[ConfigDict] = _FLOATS
    symbol: str
    quantity: float
    price: float


@dataclass(frozen=True, slots=True)
class RiskMeasured:
    """How far an account is from its limits, and what it holds, as a run measured it."""

    kind: ClassVar[str] = "risk_measured"
    ts: datetime
    limits: tuple[LimitMeasured, ...]
    holdings: tuple[HoldingValued, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """What an operator wants of a deployment, whether it runs now or later.

    halt          no new entries.
    reduce_only   working entries are cancelled too.
    resume        ends a halt, and a stop.
    stop_keep     end the session, keep positions and their protective orders.
    stop_flatten  end the session flat.
    emergency     cancel everything, close everything, and stop.
    """

    kind: ClassVar[str] = "command"
    ts: datetime
    action: Action
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class CommandAnswered:
    """A job took up a command, once; `outcome` is a short stable name."""

    kind: ClassVar[str] = "answer"
    ts: datetime
    command: int
    outcome: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class AlarmRaised:
    """Something a human has to know; `code` is a short stable name, `order_ref` empty where it concerns no order."""

    kind: ClassVar[str] = "alarm"
    ts: datetime
    code: str
    text: str
    order_ref: str = ""


@dataclass(frozen=True, slots=True)
class StrategyState:
    """The variables that a strategy declared, of a deployment: values of JSON, so None where there is no number."""

    kind: ClassVar[str] = "strategy_state"
    ts: datetime
    variables: dict[str, Any]


@dataclass(frozen=True, slots=True)
class HeldAtBegin:
    """What was held of one symbol of a deployment: signed shares, 0 among them, at an average cost."""

    symbol: str
    con_id: int
    quantity: Decimal
    average_cost: Decimal


@dataclass(frozen=True, slots=True)
class WorkingAtBegin:
    """An order of ours that worked, with what is not filled of it; `reduces_only` marks protective orders."""

    order_ref: str
    symbol: str
    side: Literal["BUY", "SELL"]
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    reduces_only: bool


@dataclass(frozen=True, slots=True)
class TradingBegan:
    """Where a run stood when its data became live, just before its strategy could trade: what a replay begins with.

    `variables` is what the strategy was given back of an earlier run. Money is None where the account had not told it.
    """

    kind: ClassVar[str] = "trading_begin"
    __pydantic_config__: ClassVar[ConfigDict] = _FLOATS
    ts: datetime
    run_id: str
    attempt: int
    cash: Decimal | None
    equity: Decimal | None
    held: tuple[HeldAtBegin, ...]
    working: tuple[WorkingAtBegin, ...]
    risk: RiskMemory
    variables: dict[str, Any]


Record = (
    DeploymentSwitched | SessionStarted | SessionEnded | OrderChanged | Filled | CommissionTold | PositionStated
    | BookChanged | CashStated | EquitySnapshot | RiskDecided | RiskMemory | Command | CommandAnswered | AlarmRaised
    | StrategyState | TradingBegan | RiskMeasured
)  # fmt: skip
"""What `Ledger.append` takes; an `Intent` has a door of its own."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life of a part of a deployment's process; only the last one of each part is kept."""

    ts: datetime
    component: str
    pid: int
    host: str
    status: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record as it was appended: its number, which grows, and whose it is."""

    number: int
    scope: Scope
    record: Record | Intent


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What a deployment is wanted to do, from its switch and its operator's commands.

    `enabled` is the switch. `halt` is ACTIVE, HALT_ENTRIES, REDUCE_ONLY or FLATTEN. `stop` is None while it may run.
    """

    enabled: bool
    halt: Literal["ACTIVE", "HALT_ENTRIES", "REDUCE_ONLY", "FLATTEN"] = "ACTIVE"
    stop: Literal["keep", "flatten"] | None = None
    reason: str = ""

    @property
    def may_run(self) -> bool:
        """Whether a job is to trade it."""
        return self.enabled and self.stop is None


@dataclass(frozen=True, slots=True)
class SessionRun:
    """A run's attempt at a session; `ended` is None while it runs, or when it was killed."""

    scope: Scope
    started: SessionStarted
    ended: SessionEnded | None


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """An intent whose order is not done: what must be asked about before anything is sent again.

    `state` is None where nothing was recorded since the intent: whether it was sent is not known.
    """

    number: int
    scope: Scope
    intent: Intent
    state: str | None


@dataclass(frozen=True, slots=True)
class Fill:
    """An execution as it stands now, with what it cost as far as told."""

    scope: Scope
    filled: Filled
    commission: CommissionTold | None


@dataclass(frozen=True, slots=True)
class CurrentState:
    """Where a deployment stands, all of one moment. Figures of the account are those last recorded for it."""

    switched: DeploymentSwitched
    desired: DesiredState
    session: SessionRun | None
    open_intents: tuple[OpenIntent, ...]
    positions: tuple[PositionStated, ...]
    cash: tuple[CashStated, ...]
    equity: EquitySnapshot | None
    risk: RiskMemory | None
    variables: dict[str, Any] = field(default_factory=dict)
