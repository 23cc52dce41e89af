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
from broker.closed_bars import microseconds
from broker.costs import CostModel
from broker.deployment import warm_up
from broker.deployment.reconciliation import differences
from broker.deployment.records import (
    alarm_record,
    book_changes,
    intent_of,
    record_of,
    risk_measured,
    risk_memory,
    risk_record,
    risk_state,
    working_record,
)
from broker.deployment.supervision import SUPERVISOR, SUPERVISOR_SILENT
from broker.errors import LiveRunError, RequestRefusedError
from broker.feed import LiveFeed
from broker.ib.contracts import ContractBook
from broker.ib.history import shown_for
from broker.ib.messages import AccountSnapshot, Alarm, SessionState, StateChange
from broker.ib.requests import Gateway
from broker.instrument import Instrument
from broker.live.gates import Gate
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
    HeldAtBegin,
    PositionStated,
    Record,
    Scope,
    SessionEnded,
    SessionStarted,
    StrategyState,
    TradingBegan,
)
from warehouse.ledger.references import order_ref
from warehouse.ledger.store import Ledger
from warehouse.quality import QualitySettings
from warehouse.resolution import Resolution
from warehouse.seen_bars import SeenBar, SeenBarsFile
from warehouse.store import Warehouse

COMPONENT: Final = "trader"
"""Under which name the trading run beats in the ledger."""

_ROUND_SECONDS: Final = 0.5  # between two looks at commands, time and memory
_BEAT_SECONDS: Final = 5.0
_FLATTEN_SECONDS: Final = 120.0
_SETTLE_SECONDS: Final = 30.0  # after the last bar, for orders of the day to end
_BACK_SECONDS: Final = 60.0  # after the end, for a connection that was lost to come back
_AGREE_SECONDS: Final = 20.0  # for what is still on its way to come; longer than a book's patience with an order
_AGAIN_SECONDS: Final = 1.0
_OUTAGES: Final = frozenset({SessionState.DISCONNECTED, SessionState.DEGRADED})


class Ending(StrEnum):
    """How a session of a deployment ended."""

    DONE = "done"  # the exchange's day is over
    STOPPED = "stopped"  # the operator ended it
    NOT_FLAT = "not_flat"  # the operator or a limit wanted it flat, and it is not
    MISMATCH = "mismatch"  # the day is over, and the ledger and the broker did not agree
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
        keeps: says, every few seconds, whether the account's lock is held still.
    """

    gateway: Gateway
    ledger: Ledger
    warehouse: Warehouse
    calendar: TradingCalendar
    alerts: Alerts
    clock: Callable[[], datetime]
    stop: threading.Event
    keeps: Callable[[], bool]


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
        LiveRunError: the account's lock was lost, or Cerebro stopped by itself.
    """
    scope = Scope(plan.deployment, around.gateway.account, plan.session)
    around.ledger.append(scope, SessionStarted(around.clock(), plan.run_id, plan.attempt))
    try:
        with SeenBarsFile(around.warehouse.root, plan.deployment, plan.session, plan.attempt, plan.run_id) as seen_bars:
            outcome = _Desk(plan, around, scope, seen_bars).run()
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
    settle_until: float = math.inf
    flattening: set[int] = field(default_factory=set)  # numbers of the commands that want it, answered in the end
    status: str = ""
    unsupervised: bool = False
    outage: SessionState | None = None  # what the ledger says the session is, where that is not READY
    positions: dict[str, Decimal] = field(default_factory=dict)
    adopted: list[str] = field(default_factory=list)  # what no execution explains, found after the end
    held: dict[int, Decimal] = field(default_factory=dict)  # by con_id, as recorded last
    seen: dict[str, int] = field(default_factory=dict)  # bars of each symbol that are recorded
    looked: float = -math.inf
    looked_at: int = 0  # the market's time then, UTC microseconds
    untold: bool = True  # that bars are not recorded


class _Desk:
    """One session under way."""

    def __init__(self, plan: Plan, around: Surroundings, scope: Scope, seen_bars: SeenBarsFile) -> None:
        self.plan, self.around, self.scope, self.seen_bars = plan, around, scope, seen_bars
        self.watch = _Watch()
        self.before = around.ledger.current_state(plan.deployment)
        self.watch.held = {told.con_id: told.quantity for told in self.before.positions if told.source == "ours"}
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
        limits = self.plan.limits
        if hasattr(self.plan.strategy, "limits_for"):
            limits = limits.tightest(self.plan.strategy.limits_for(self.plan.params))
        # what is decided after the close, on the last bar, is still of this session, as in a backtest
        guard = RiskGuard(limits, session_of=lambda _: self.plan.session, session_close=self.around.calendar.close_utc)
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
        snapshot, differences = self._reconcile()
        self._record_risk()
        self._record_held()
        self._record_positions(snapshot.positions)
        self._remember(force=True)
        self._judge(differences)
        return SessionOutcome(watch.ending, watch.reason, dict(watch.positions))

    def _reconcile(self) -> tuple[AccountSnapshot, tuple[str, ...]]:
        """The account as the broker tells it in the end, and where the ledger had it otherwise.

        What was on its way comes with the next answer. What no execution explains is adopted, and remains a difference.
        """
        gateway = self.around.gateway
        gateway.wait_for(SessionState.READY, _BACK_SECONDS)
        until = time.monotonic() + _AGREE_SECONDS
        while True:
            snapshot = gateway.synchronize()
            left = differences(self.around.ledger, snapshot, gateway.client_id)
            if left and time.monotonic() >= until:
                return snapshot, (*self.watch.adopted, *left)
            self.broker.take_in(snapshot)  # the last commissions, too
            if not left:
                return snapshot, tuple(self.watch.adopted)
            time.sleep(_AGAIN_SECONDS)

    def _judge(self, differences: tuple[str, ...]) -> None:
        """Whether the day ended as it should; an operator's end stays what it is, and a difference is an alarm."""
        watch, flat = self.watch, self.guard.limits.flat_before_close_minutes
        if watch.ending is not Ending.DONE:
            if differences:
                self.alarm(Alarm(self.around.clock(), Ending.MISMATCH.value, "; ".join(differences)))
            return
        held = self.broker.book.positions()
        left = [feed.symbol for feed in self.feeds if held.get(feed.p.contract.con_id)]
        if differences:
            self._fault(Ending.MISMATCH, f"{watch.reason}; {'; '.join(differences)}")
        elif flat is not None and left:
            self._fault(Ending.NOT_FLAT, f"{watch.reason}; still held: {', '.join(left)}")

    def _fault(self, ending: Ending, reason: str) -> None:
        self.watch.ending, self.watch.reason = ending, reason
        self.alarm(Alarm(self.around.clock(), ending.value, reason))

    def round(self) -> None:
        """Look at commands, time and memory; on Cerebro's thread, a few times a second."""
        monotonic = time.monotonic()
        watch = self.watch
        if monotonic - watch.rounded < _ROUND_SECONDS or self.store.ended:
            return
        watch.rounded = monotonic
        self._beat(monotonic)
        self._obey_all(monotonic)
        self._record_risk()
        self._record_held()
        self._tell_fault()
        self._remember()
        self._look_at_end(monotonic)

    def _beat(self, monotonic: float) -> None:
        status = self._status()
        if monotonic - self.watch.beaten < _BEAT_SECONDS and status == self.watch.status:
            return
        self.watch.beaten, self.watch.status = monotonic, status
        if not self.around.keeps():
            raise LiveRunError(f"account: the lock of {self.around.gateway.account} was lost to somebody else.")
        self.around.ledger.beat(
            self.plan.deployment,
            Heartbeat(datetime.now(UTC), COMPONENT, os.getpid(), socket.gethostname(), status),
        )
        self.around.alerts.beat()
        self._look_at_supervisor()

    def _look_at_supervisor(self) -> None:
        """Tell once when whoever would start this run again has gone silent; nobody else would."""
        beat = self.around.ledger.last_heartbeat(self.plan.deployment, SUPERVISOR)
        silent = beat is not None and datetime.now(UTC) - beat.ts > SUPERVISOR_SILENT
        if silent and not self.watch.unsupervised and beat is not None:
            text = (
                f"nothing was heard of the supervisor since {beat.ts:%Y-%m-%d %H:%M:%S} UTC: is `barloom ui` running?"
            )
            self.alarm(Alarm(self.around.clock(), "supervisor_silent", text))
        self.watch.unsupervised = silent

    def _status(self) -> str:
        live = sum(feed.is_live() for feed in self.feeds)
        return (
            f"{self.around.gateway.state.value}, {live} of {len(self.feeds)} feeds live, {self.guard.halt_state.value}"
        )

    # ---------------------------------------------------------------- the operator

    def _obey_all(self, monotonic: float) -> None:
        """Take up what waits; a stop that nobody was there for is over where somebody resumed since."""
        pending = self.around.ledger.pending_commands(self.plan.deployment)
        resumed = max((number for number, command in pending if command.action == "resume"), default=0)
        for number, command in pending:
            if number in self.watch.flattening:
                continue
            if command.action in {"stop_keep", "stop_flatten"} and number < resumed:
                self._append(CommandAnswered(self.around.clock(), number, "overtaken"))
            else:
                self._obey(number, command, monotonic)

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
            self.watch.flattening.add(number)
        self._record_risk()  # before the answer: nobody takes up an answered command again
        if number not in self.watch.flattening:
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
                self._end_day(close, monotonic)

    def _end_day(self, close: datetime, monotonic: float) -> None:
        """The last bar was decided on: end orders of the day, and hear how they ended, before the run does."""
        watch = self.watch
        watch.settle_until = min(watch.settle_until, monotonic + _SETTLE_SECONDS)
        if not self.broker.end_day(close) or monotonic >= watch.settle_until:
            self._end(Ending.DONE, f"session {self.plan.session} is over")

    def _has_bars_until(self, close: datetime) -> bool:
        naive = close.replace(tzinfo=None)
        return all(len(feed) and bt.num2date(feed.datetime[0]) >= naive for feed in self.feeds)

    def _end(self, ending: Ending, reason: str) -> None:
        self.watch.ending, self.watch.reason = ending, reason
        if ending is Ending.NOT_FLAT:
            self._fault(ending, reason)
        if self.watch.flattening and ending in {Ending.STOPPED, Ending.NOT_FLAT}:
            outcome = "not_flat" if ending is Ending.NOT_FLAT else "done"
            now = self.around.clock()
            self._append(*(CommandAnswered(now, number, outcome) for number in sorted(self.watch.flattening)))
        self.store.end()

    # ---------------------------------------------------------------- what Cerebro tells

    def after_bar(self) -> None:
        """A bar was seen by the strategy."""
        self._record_seen()
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

    def _record_seen(self) -> None:
        """Hand over the bars that the strategy has just seen, of the feeds that have a new one."""
        watch, now = self.watch, 0
        for feed in self.feeds:
            if len(feed) <= watch.seen.get(feed.symbol, 0):
                continue
            watch.seen[feed.symbol] = len(feed)
            now = now or self._seen_at()
            self.seen_bars.add(
                SeenBar(
                    feed.symbol, feed.delivered, feed.open[0], feed.high[0], feed.low[0], feed.close[0], feed.volume[0],
                    seen=now, live=feed.is_live(),
                )
            )  # fmt: skip

    def _seen_at(self) -> int:
        """The market's time; thousands of bars that warm up share one that is half a second old at most."""
        watch, monotonic = self.watch, time.monotonic()
        if watch.recalled or monotonic - watch.looked > _ROUND_SECONDS:
            watch.looked, watch.looked_at = monotonic, microseconds(self.around.clock())
        return watch.looked_at

    def _hear_data(self, data: LiveFeed, status: int, *_: object, **__: object) -> None:
        if (
            status == data.LIVE
            and not self.watch.recalled
            and all(feed._laststatus == feed.LIVE for feed in self.feeds)
        ):
            self._record_risk()
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
        self._append(self._begin())
        strategy = self.cerebro.runningstrats[0]
        working = self.broker.take_over(strategy)
        if self.before.variables and hasattr(strategy, "recall"):
            strategy.recall(self.before.variables, working)

    def _begin(self) -> TradingBegan:
        """Where the run stands before its strategy can trade."""
        now, cash, equity = self.around.clock(), self.broker.getcash(), self.broker.getvalue()
        symbols = {feed.p.contract.con_id: feed.symbol for feed in self.feeds}
        held = []
        for feed in self.feeds:
            con_id, average = feed.p.contract.con_id, self.broker.getposition(feed).price
            held.append(
                HeldAtBegin(feed.symbol, con_id, self.broker.book.position(con_id), Decimal(repr(float(average))))
            )
        return TradingBegan(
            now, self.plan.run_id, self.plan.attempt,
            cash=_money(cash) if math.isfinite(cash) else None,
            equity=_money(equity) if math.isfinite(equity) else None,
            held=tuple(held),
            working=tuple(
                working_record(order, symbols[order.contract.con_id])
                for order in self.broker.book.open_orders
                if order.ours and order.contract.con_id in symbols
            ),
            risk=risk_memory(self.guard.state, now),
            variables=self.before.variables,
        )  # fmt: skip

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
            self._remember()  # what goes with the order, such as its stop, must outlive this run as the order does
            self.around.ledger.commit_intent(self.scope, intent_of(change, *self._decided_on(change)))
            return
        if isinstance(change, Alarm):
            self.alarm(change)
            return
        if isinstance(change, PositionAdopted) and self.store.ended:
            name = change.contract.symbol
            self.watch.adopted.append(f"{name}: the broker held {change.after:f} shares, the ledger {change.before:f}")
        if isinstance(change, PositionAdopted) and not change.opening:
            self._halt_for(change)
        record = record_of(change)
        if record is not None:
            self._append(record)
        if isinstance(change, PositionAdopted):
            self.watch.held[change.contract.con_id] = change.after

    def _halt_for(self, change: PositionAdopted) -> None:
        """A position that no execution explains: nothing is bought or sold short until somebody has looked."""
        reason = f"the broker holds {change.after} {change.contract.symbol}, our fills make {change.before}"
        self.guard.halt(HaltState.HALT_ENTRIES, reason, self.around.clock())
        self._record_risk()  # first: once the position is recorded as adopted, nobody sees the difference again

    def _decided_on(self, change: OrderIntended) -> tuple[datetime, Decimal | None]:
        """The bar that an order was decided on, by its close, and the price that the strategy saw there."""
        for feed in self.feeds:
            if feed.p.contract.con_id == change.contract.con_id and len(feed):
                moment: datetime = bt.num2date(feed.datetime[0])
                price = feed.close[0]
                return moment.replace(tzinfo=UTC), Decimal(repr(price)) if math.isfinite(price) else None
        return change.ts, None

    def alarm(self, alarm: Alarm) -> None:
        """Record an alarm and tell people."""
        self._append(alarm_record(alarm))
        self.around.alerts.tell(alarm.code, alarm.text)

    def _tell_fault(self) -> None:
        """Trading goes on without a record of the bars, but somebody has to know."""
        if self.seen_bars.fault is not None and self.watch.untold:
            self.watch.untold = False
            self.alarm(Alarm(self.around.clock(), "bars_not_recorded", self.seen_bars.fault))

    def _record_risk(self) -> None:
        events = self.guard.events
        new, self.watch.recorded_risk = events[self.watch.recorded_risk :], len(events)
        if not self.watch.recalled:  # what is decided on bars of the past was never to be sent
            new = [event for event in new if event.limit != Gate.DATA]
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
