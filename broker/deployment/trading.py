"""One session of a deployment, traded: from an open connection and the ledger to the end of the exchange's day.

Belongs here: putting session, feeds, broker, risk and strategy together for one Cerebro, the ledger's records of it,
commands of the operator, how it ends. Does not belong here: when it starts (see `supervision`), locks and settings
(see `pipelines`).

Everything that changes anything runs on Cerebro's thread, in the rounds that its broker makes twice a second and more.
A run that dies at any point leaves a ledger from which the next one goes on: intents are committed before they are
sent, and what the order book finds out is recorded as it does.
"""

import math
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import backtrader as bt

from broker.alerts import Alerts
from broker.bar_series import Patience
from broker.costs import CostModel
from broker.deployment import warm_up
from broker.deployment.records import (
    alarm_record,
    book_changes,
    intent_of,
    record_of,
    risk_measured,
    risk_memory,
    risk_record,
    risk_state,
)
from broker.errors import LiveRunError, RequestRefusedError
from broker.feed import LiveFeed
from broker.ib.contracts import ContractBook
from broker.ib.history import shown_for
from broker.ib.messages import Alarm, SessionState, StateChange
from broker.ib.requests import Gateway
from broker.instrument import Instrument
from broker.live_broker import LiveBroker
from broker.orders.book import OrderBook
from broker.orders.changes import Change, OrderIntended, PositionAdopted
from broker.store import Store, run_live
from risk.guard import RiskGuard
from risk.headroom import headroom
from risk.limits import Limits
from risk.states import HaltState
from warehouse.calendar import TradingCalendar
from warehouse.ledger.records import (
    CashStated,
    Command,
    CommandAnswered,
    EquitySnapshot,
    Heartbeat,
    PositionStated,
    Record,
    Scope,
    SessionEnded,
    SessionStarted,
    StrategyState,
)
from warehouse.ledger.references import order_ref
from warehouse.ledger.store import Ledger
from warehouse.quality import QualitySettings
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

COMPONENT: Final = "trader"
"""Under which name the trading run beats in the ledger."""

_ROUND_SECONDS: Final = 0.5  # between two looks at commands, time and memory
_BEAT_SECONDS: Final = 5.0
_FLATTEN_SECONDS: Final = 120.0
_OUTAGES: Final = frozenset({SessionState.DISCONNECTED, SessionState.DEGRADED})


class Ending(StrEnum):
    """How a session of a deployment ended."""

    DONE = "done"  # the exchange's day is over
    STOPPED = "stopped"  # the operator ended it
    NOT_FLAT = "not_flat"  # the operator wanted it flat, and it is not
    INTERRUPTED = "interrupted"  # the run was told to end
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is traded in one session.

    Attributes:
        deployment: its name, at most 20 characters.
        session: the exchange session.
        run_id, attempt: which run this is.
        strategy, params: the strategy class of the backtest and its parameters.
        symbols: the universe; the first symbol is the strategy's `data`.
        resolution: length of the bars.
        limits: of risk; those that the strategy's parameters mean hold beside them.
        costs: estimates commissions that do not come in time.
        warm_up: first session whose bars are loaded.
        distrusted: symbols whose bars in the warehouse are not fit to decide on, each with the reason in a sentence:
            nothing opens or adds to a position in them.
        quality: what the bars that warm up are judged by; the defaults unless given.
        quality_override: why those with a quality ERROR may be used all the same; None where they may not.
        linger: how long after the close the session's last bar is waited for.
        patience: how feeds wait for bars; what suits the resolution unless given.
    """

    deployment: str
    session: date
    run_id: str
    attempt: int
    strategy: type[bt.Strategy]
    params: Mapping[str, Any]
    symbols: tuple[str, ...]
    resolution: Resolution
    limits: Limits
    costs: CostModel
    warm_up: date
    linger: timedelta = timedelta(minutes=20)
    patience: Patience | None = None
    distrusted: Mapping[str, str] = field(default_factory=dict)
    quality: QualitySettings | None = None
    quality_override: str | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a session is traded with; nothing of it is closed here.

    Attributes:
        gateway: an open session, whose account's lock the caller holds.
        clock: the market's time, aware UTC; the wall clock unless recorded days are replayed.
        stop: set by whoever wants the run to end; orders and positions stay.
    """

    gateway: Gateway
    ledger: Ledger
    warehouse: Warehouse
    calendar: TradingCalendar
    alerts: Alerts
    clock: Callable[[], datetime]
    stop: threading.Event


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """How it went; `positions` by symbol as the broker told them in the end."""

    ending: Ending
    reason: str
    positions: Mapping[str, Decimal]


def trade(plan: Plan, around: Surroundings) -> SessionOutcome:
    """Trade a session to its end.

    Raises:
        GatewayError: the account's state was not told.
        LedgerError: the ledger cannot be read, or not be written: nothing is sent that is not recorded.
    """
    scope = Scope(plan.deployment, around.gateway.account, plan.session)
    around.ledger.append(scope, SessionStarted(around.clock(), plan.run_id, plan.attempt))
    desk: _Desk | None = None
    try:
        desk = _Desk(plan, around, scope)
        outcome = desk.run()
    except BaseException as failure:
        ending = Ending.FAILED if isinstance(failure, Exception) else Ending.INTERRUPTED
        reason = f"{type(failure).__name__}: {failure}"
        _close(plan, around, scope, ending, reason)
        around.alerts.tell(ending.value, f"{plan.deployment}: {reason}")
        raise
    _close(plan, around, scope, outcome.ending, outcome.reason)
    return outcome


def _close(plan: Plan, around: Surroundings, scope: Scope, ending: Ending, reason: str) -> None:
    around.ledger.append(scope, SessionEnded(around.clock(), plan.run_id, plan.attempt, ending.value, reason))


class _Broker(LiveBroker):
    """The live broker, whose rounds are also the desk's."""

    desk: "_Desk"

    def next(self) -> None:
        super().next()
        self.desk.round()


class _Bars(bt.Analyzer):  # type: ignore[misc]
    """Tells the desk of every bar after the strategy has seen it."""

    params = (("desk", None),)

    def next(self) -> None:
        self.p.desk.after_bar()

    def prenext(self) -> None:
        self.p.desk.after_bar()


@dataclass(slots=True)
class _Watch:
    """What the desk has seen and done so far."""

    rounded: float = -math.inf
    beaten: float = -math.inf
    recalled: bool = False
    recorded_risk: int = 0
    memory: dict[str, Any] | None = None
    ending: Ending | None = None
    reason: str = ""
    flatten_until: float = math.inf
    status: str = ""
    outage: SessionState | None = None  # what the ledger says the session is, where that is not READY
    positions: dict[str, Decimal] = field(default_factory=dict)
    held: dict[int, Decimal] = field(default_factory=dict)  # by con_id, as recorded last


class _Desk:
    """One session under way."""

    def __init__(self, plan: Plan, around: Surroundings, scope: Scope) -> None:
        self.plan, self.around, self.scope = plan, around, scope
        self.watch = _Watch()
        self.before = around.ledger.current_state(plan.deployment)
        self.guard = self._make_guard()
        self.contracts = ContractBook(around.gateway)
        self.store = Store(
            around.gateway, around.warehouse, around.calendar, clock=around.clock, contracts=self.contracts
        )
        self.cerebro = bt.Cerebro(stdstats=False)
        self.feeds: list[LiveFeed] = [self._feed(symbol) for symbol in plan.symbols]
        self.broker = self._make_broker()
        self._assemble()

    # ---------------------------------------------------------------- putting together

    def _make_guard(self) -> RiskGuard:
        calendar = self.around.calendar
        limits = self.plan.limits
        if hasattr(self.plan.strategy, "limits_for"):
            limits = limits.tightest(self.plan.strategy.limits_for(self.plan.params))
        guard = RiskGuard(
            limits,
            session_of=lambda moment: calendar.next_session(calendar.last_closed_session(moment)),
            session_close=calendar.close_utc,
        )
        if self.before.risk is not None:
            guard.restore(risk_state(self.before.risk))
        return guard

    def _feed(self, symbol: str) -> LiveFeed:
        plan = self.plan
        feed = self.store.getdata(symbol, plan.resolution, start=self._first_session(symbol), patience=plan.patience)
        self.cerebro.adddata(feed)
        return feed

    def _first_session(self, symbol: str) -> date:
        """Where warming up begins: not before the symbol's history does, which would be asked for in vain."""
        contract = self.contracts.resolve(symbol)
        try:
            begins = self.around.gateway.first_moment(contract, shown_for(contract))
        except RequestRefusedError:
            return self.plan.warm_up
        return max(self.plan.warm_up, self._session_of(begins + timedelta(microseconds=1)))

    def _make_broker(self) -> "_Broker":
        around, gateway = self.around, self.around.gateway
        documents = around.ledger.documents(gateway.account)
        book = None
        if documents:
            book = OrderBook.restored(gateway.account, gateway.client_id, book_changes(documents))
        broker = _Broker(
            gateway,
            instruments={feed.symbol: Instrument.resolved(gateway, feed.p.contract) for feed in self.feeds},
            guard=self.guard,
            reference=lambda bar, number: order_ref(self.plan.deployment, self._session_of(bar), bar, number),
            book=book,
            journal=self.journal,
            costs=self.plan.costs,
            market_time=around.clock,
            # a daily bar is decided on after the close: its orders wait for the next session
            market_open=around.calendar.is_open if self.plan.resolution.intraday else None,
        )
        broker.desk = self
        return broker

    def _assemble(self) -> None:
        cerebro = self.cerebro
        cerebro.setbroker(self.broker)
        cerebro.addstrategy(self.plan.strategy, **self.plan.params)
        cerebro.addanalyzer(_Bars, desk=self)
        cerebro.addstorecb(self._hear_store)
        cerebro.adddatacb(self._hear_data)

    def _session_of(self, bar: datetime) -> date:
        calendar = self.around.calendar
        return calendar.next_session(calendar.last_closed_session(bar - timedelta(microseconds=1)))

    # ---------------------------------------------------------------- running

    def run(self) -> SessionOutcome:
        """Run Cerebro until the session is over."""
        watch = self.watch
        run_live(self.cerebro)
        if watch.ending is None:
            reasons = " ".join(f"{feed.symbol}: {feed.refused}" for feed in self.feeds if feed.refused)
            raise LiveRunError(f"{self.plan.deployment}: it stopped before its session was over. {reasons}".rstrip())
        self._record_risk()
        snapshot = self.around.gateway.synchronize()
        self.broker.conclude(snapshot)
        self._record_held()
        self._record_positions(snapshot.positions)
        self._remember(force=True)
        return SessionOutcome(watch.ending, watch.reason, dict(watch.positions))

    def round(self) -> None:
        """Look at commands, time and memory; on Cerebro's thread, a few times a second."""
        monotonic = time.monotonic()
        watch = self.watch
        if monotonic - watch.rounded < _ROUND_SECONDS or self.store.ended:
            return
        watch.rounded = monotonic
        self._beat(monotonic)
        for number, command in self.around.ledger.pending_commands(self.plan.deployment):
            self._obey(number, command, monotonic)
        self._record_risk()
        self._record_held()
        self._remember()
        self._look_at_end(monotonic)

    def _beat(self, monotonic: float) -> None:
        status = self._status()
        if monotonic - self.watch.beaten < _BEAT_SECONDS and status == self.watch.status:
            return
        self.watch.beaten, self.watch.status = monotonic, status
        self.around.ledger.beat(
            self.plan.deployment,
            Heartbeat(datetime.now(UTC), COMPONENT, os.getpid(), socket.gethostname(), status),
        )
        self.around.alerts.beat()

    def _status(self) -> str:
        live = sum(feed.is_live() for feed in self.feeds)
        return (
            f"{self.around.gateway.state.value}, {live} of {len(self.feeds)} feeds live, {self.guard.halt_state.value}"
        )

    # ---------------------------------------------------------------- the operator

    def _obey(self, number: int, command: Command, monotonic: float) -> None:
        now, action = self.around.clock(), command.action
        if action == "halt":
            self.guard.halt(HaltState.HALT_ENTRIES, command.reason, now)
        elif action == "reduce_only":
            self.guard.halt(HaltState.REDUCE_ONLY, command.reason, now)
        elif action == "resume":
            self.guard.resume(command.reason, now)
        elif action == "stop_keep":
            self._end(Ending.STOPPED, command.reason)
        else:
            self.guard.halt(HaltState.FLATTEN, command.reason, now)
            self.watch.flatten_until = min(self.watch.flatten_until, monotonic + _FLATTEN_SECONDS)
            self.watch.reason = command.reason
        self._append(CommandAnswered(now, number, "done"))

    def _look_at_end(self, monotonic: float) -> None:
        watch, now = self.watch, self.around.clock()
        if self.around.stop.is_set():
            self._end(Ending.INTERRUPTED, "the run was told to end")
        elif watch.flatten_until < math.inf:
            flat = not self.broker.book.positions() and not self.broker.book.open_orders
            if flat and self.broker.book.current:
                self._end(Ending.STOPPED, watch.reason)
            elif monotonic > watch.flatten_until:
                self._end(Ending.NOT_FLAT, f"positions are left {_FLATTEN_SECONDS:g} seconds after the command")
        else:
            close = self.around.calendar.close_utc(self.plan.session)
            if now >= close and (self._has_bars_until(close) or now >= close + self.plan.linger):
                self._end(Ending.DONE, f"session {self.plan.session} is over")

    def _has_bars_until(self, close: datetime) -> bool:
        naive = close.replace(tzinfo=None)
        return all(len(feed) and bt.num2date(feed.datetime[0]) >= naive for feed in self.feeds)

    def _end(self, ending: Ending, reason: str) -> None:
        self.watch.ending, self.watch.reason = ending, reason
        if ending is Ending.NOT_FLAT:
            self.alarm(Alarm(self.around.clock(), ending.value, reason))
        self.store.end()

    # ---------------------------------------------------------------- what Cerebro tells

    def after_bar(self) -> None:
        """A bar was seen by the strategy."""
        if not self.watch.recalled:
            return  # still warming up
        now, figure = self.around.clock(), self.broker.getvalue()
        if math.isfinite(figure):
            cash = self.broker.getcash()
            self._append(
                EquitySnapshot(
                    now, self._currency(), _money(figure), cash=_money(cash) if math.isfinite(cash) else None
                )
            )
        portfolio = self.broker.portfolio()
        room = headroom(portfolio, self.guard.state, self.guard.limits, now)
        self._append(risk_measured(room, portfolio, now))
        self._remember(force=True)

    def _hear_data(self, data: LiveFeed, status: int, *_: object, **__: object) -> None:
        if (
            status == data.LIVE
            and not self.watch.recalled
            and all(feed._laststatus == feed.LIVE for feed in self.feeds)
        ):
            self.watch.recalled = True
            self._judge_warm_up()
            self._recall()

    def _hear_store(self, message: str, *arguments: Any, **_: object) -> None:  # noqa: ANN401 (the store's own)
        told = arguments[0]
        if message == "alarm":
            self.alarm(told)
        elif isinstance(told, StateChange):
            self._note_state(told)

    def _note_state(self, told: StateChange) -> None:
        """Record an outage once, not every attempt to end it; IB's nightly reset is none."""
        if told.state is SessionState.READY:
            self.watch.outage = None
        elif told.state in _OUTAGES and told.state is not self.watch.outage and not told.in_reset:
            self.watch.outage = told.state
            self._append(alarm_record(Alarm(told.ts, f"session_{told.state.value.lower()}", told.reason)))

    def _judge_warm_up(self) -> None:
        """Let nothing enter on bars that are not fit for it: those of the warehouse, and those that history brought."""
        plan, now = self.plan, self.around.clock()
        distrusted = dict(plan.distrusted)
        for feed in self.feeds:
            bars = warm_up.delivered(feed)
            report = warm_up.quality_of(
                feed.symbol, bars, plan.resolution, self.around.calendar, plan.session, settings=plan.quality
            )
            fault = warm_up.sentence(report)
            if fault is not None and plan.quality_override is not None:
                text = f"{fault} They are used all the same: {plan.quality_override}"
                self._append(alarm_record(Alarm(now, "quality_override", text)))
            elif fault is not None:
                distrusted.setdefault(feed.symbol, fault)
        for symbol, reason in distrusted.items():
            self.broker.distrust(symbol, reason)
            self.alarm(Alarm(now, "bad_bars", f"{reason} No order opens or adds to a position on them."))

    # ---------------------------------------------------------------- over a restart

    def _recall(self) -> None:
        """The strategy is warm: give it back what an earlier run of it knew, with the orders that still work."""
        strategy = self.cerebro.runningstrats[0]
        working = self.broker.take_over(strategy)
        if self.before.variables and hasattr(strategy, "recall"):
            strategy.recall(self.before.variables, working)

    def _remember(self, *, force: bool = False) -> None:
        strategies: Sequence[Any] = getattr(self.cerebro, "runningstrats", ())
        if not self.watch.recalled or not strategies or not hasattr(strategies[0], "memory"):
            return
        memory = strategies[0].memory()
        if memory != self.watch.memory or force:
            self.watch.memory = memory
            now = self.around.clock()
            self._append(StrategyState(now, memory), risk_memory(self.guard.state, now))

    # ---------------------------------------------------------------- the ledger

    def journal(self, change: Change) -> None:
        """Record what the order book found out; an intent before its order is sent."""
        if isinstance(change, OrderIntended):
            self.around.ledger.commit_intent(self.scope, intent_of(change, self._decided_on(change)))
            return
        if isinstance(change, Alarm):
            self.alarm(change)
            return
        record = record_of(change)
        if record is not None:
            self._append(record)
        if isinstance(change, PositionAdopted):
            self.watch.held[change.contract.con_id] = change.after

    def _decided_on(self, change: OrderIntended) -> datetime:
        for feed in self.feeds:
            if feed.p.contract.con_id == change.contract.con_id and len(feed):
                moment: datetime = bt.num2date(feed.datetime[0])
                return moment.replace(tzinfo=UTC)
        return change.ts

    def alarm(self, alarm: Alarm) -> None:
        """Record an alarm and tell people."""
        self._append(alarm_record(alarm))
        self.around.alerts.tell(alarm.code, alarm.text)

    def _record_risk(self) -> None:
        events = self.guard.events
        new, self.watch.recorded_risk = events[self.watch.recorded_risk :], len(events)
        if not new:
            return
        self._append(*map(risk_record, new), risk_memory(self.guard.state, self.around.clock()))
        for event in new:
            if event.kind in {"halt", "resume"}:
                # one kind of alarm a limit: a halt by hand must not fold a loss that follows it
                self.around.alerts.tell(f"risk_{event.kind}_{event.limit}", event.reason)

    def _record_held(self) -> None:
        """Positions as our own books have them, whenever one has changed."""
        held = self.broker.book.positions()
        now, changed = self.around.clock(), []
        for feed in self.feeds:
            contract = feed.p.contract
            quantity = held.get(contract.con_id, Decimal(0))
            if self.watch.held.get(contract.con_id, Decimal(0)) != quantity:
                self.watch.held[contract.con_id] = quantity
                changed.append(
                    PositionStated(now, "ours", contract.symbol, contract.con_id, contract.currency, quantity)
                )
        if changed:
            self._append(*changed)

    def _record_positions(self, positions: Sequence[Any]) -> None:
        now = self.around.clock()
        self.watch.positions = {told.contract.symbol: told.quantity for told in positions}
        stated: list[Record] = [
            PositionStated(
                now, "broker", told.contract.symbol, told.contract.con_id, told.contract.currency, told.quantity,
                told.average_cost,
            )
            for told in positions
        ]  # fmt: skip
        cash = self.broker.getcash()
        if math.isfinite(cash):
            stated.append(CashStated(now, self._currency(), _money(cash)))
        if stated:
            self._append(*stated)

    def _currency(self) -> str:
        return str(self.feeds[0].p.contract.currency)

    def _append(self, *records: Record) -> None:
        self.around.ledger.append(self.scope, *records)


def _money(figure: float) -> Decimal:
    """A figure of the account, which IB prints in cents."""
    return Decimal(repr(round(figure, 2)))
