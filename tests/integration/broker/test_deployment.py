"""A deployment trades a session: through session, feeds, broker, risk and ledger, and over restarts."""

import dataclasses
import threading
import time
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from broker.alerts import Alerts
from broker.bar_series import Patience
from broker.costs import cost_model
from broker.deployment.report import session_report
from broker.deployment.supervision import SUPERVISOR
from broker.deployment.trading import Ending, Plan, Surroundings, trade
from broker.emergency import stop_everything
from broker.ib.session import Session
from broker.ib.settings import SessionSettings
from risk.limits import Limits
from strategies.base_strategy import BaseStrategy
from warehouse.calendar import get_calendar
from warehouse.ledger.records import Command, DeploymentSwitched, Heartbeat, Scope
from warehouse.ledger.store import Ledger
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

DAY, ACCOUNT, CLIENT = date(2024, 1, 8), "DU1234567", 10
XNYS = get_calendar("XNYS")
QUICK = {"heartbeat_seconds": 0.5, "answer_seconds": 2.0, "retry_seconds": 0.05, "sync_seconds": 10.0, "reset": None}


class Scripted(BaseStrategy):
    """Does what the test says at the next bar, and tells it of every bar and order."""

    remembers = ("counted",)
    stage = None

    def __init__(self):
        super().__init__()
        self.counted = 0

    def decide(self, data):
        if Scripted.stage.eager:
            self.enter_long(data, weight=0.001)
        if not data.is_live():
            return
        self.counted += 1
        act, Scripted.stage.act = Scripted.stage.act, None
        if act is not None:
            act(self, data)

    def next(self):
        super().next()
        Scripted.stage.see(self, self.data)

    def notify_order(self, order):
        super().notify_order(order)
        Scripted.stage.orders.append((order.getstatusname(), order.info.get("reason")))


class Stage:
    """One deployment on one gateway, run by run."""

    def __init__(self, desk, folder, stack, day=DAY):
        self.desk, self.folder, self.stack, self.day = desk, folder, stack, day
        self.ledger = stack.enter_context(Ledger.open(folder / "ledger.sqlite"))
        self.act, self.orders, self.outcome, self.attempt, self.eager = None, [], None, 0, False
        self.keeps = True
        self.bars, self.closes, self.strategy, self.came = [], {}, None, threading.Condition()
        Scripted.stage = self
        switched = DeploymentSwitched(self.clock(), True, "scripted", "paper", "", "")
        self.ledger.append(Scope("scripted", ACCOUNT), switched)
        self.watcher = stack.enter_context(Session(SessionSettings(port=desk.gateway.port, client_id=99, reset=None)))
        self.watcher.open()

    def clock(self):
        return datetime.fromisoformat(self.desk.command("status")["now"])

    def see(self, strategy, data):
        with self.came:
            self.strategy = strategy
            self.bars.append((data.datetime.datetime(0), data.is_live()))
            self.closes[self.bars[-1][0]] = data.close[0]
            self.came.notify_all()

    def start(self, **limits):
        """Begin a run on a thread and wait until its data are live."""
        self.attempt += 1
        self.outcome, self.stop, self.began = None, threading.Event(), datetime.now(UTC)
        session = Session(SessionSettings(port=self.desk.gateway.port, client_id=CLIENT, skew_most=1e9, **QUICK))
        patience = dataclasses.replace(Patience.of(Resolution.MINUTE), pause=0.05, silence=1e6)
        plan = Plan(
            "scripted", self.day, f"run{self.attempt}", self.attempt, Scripted, {}, ("AAPL",), Resolution.MINUTE,
            Limits(**limits), cost_model("ibkr_fixed"), self.day - timedelta(days=4), patience=patience,
        )  # fmt: skip
        self.session = session
        self.thread = threading.Thread(target=self._run, args=(plan, session))
        self.thread.start()
        self.stack.callback(self.end)
        self.until(lambda: self.status().startswith("READY"))
        self.go_live()

    def go_live(self):
        """A feed is live from the first bar on that its stream brings."""
        end = time.monotonic() + 30
        while not self.status().startswith("READY, 1 of 1"):
            assert time.monotonic() < end, self.status()
            self.watcher.server_time()
            self.desk.command("step", bars=1)
            time.sleep(0.7)

    def _run(self, plan, session):
        try:
            with session, Alerts("test", None) as alerts:
                session.open()
                own = Warehouse(self.folder / "data")
                around = Surroundings(
                    session, self.ledger, own, XNYS, alerts, self.clock, self.stop, lambda: self.keeps
                )
                self.outcome = trade(plan, around)
        except Exception as failure:  # noqa: BLE001 (told to the test)
            self.outcome = failure

    def end(self):
        self.stop.set()
        self.thread.join(30)

    def finish(self):
        """Wait for the run's own end."""
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.outcome

    def status(self):
        assert self.outcome is None, self.outcome
        beat = self.ledger.last_heartbeat("scripted")
        return "" if beat is None or beat.ts < self.began else beat.status

    def until(self, what, seconds=20):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "timed out"
            time.sleep(0.02)

    def step(self, bars=1, act=None):
        """Play bars one by one, each seen by the strategy before the next."""
        self.act = act
        for _ in range(bars):
            self.watcher.server_time()
            self.session.server_time()
            seen = len(self.bars)
            self.desk.command("step", bars=1)
            with self.came:
                assert self.came.wait_for(lambda seen=seen: len(self.bars) > seen, 20), self.outcome

    def command(self, action):
        self.ledger.append(Scope("scripted", ACCOUNT), Command(self.clock(), action, "a test", "tester"))
        self.until(lambda: not self.ledger.pending_commands("scripted"))

    def held(self):
        return {p.contract.symbol: p.quantity for p in self.watcher.synchronize().positions}

    def working(self):
        return {(o.ticket.order_type, o.ticket.quantity) for o in self.watcher.open_orders()}

    def kinds(self, kind):
        return [one.record for one in self.ledger.events("scripted") if one.record.kind == kind]


@pytest.fixture
def stage(start, tmp_path):
    with ExitStack() as stack:
        desk = start(fill_at_once=True, bars=30)
        desk.command("fill_cap", quantity=100_000)
        yield Stage(desk, tmp_path, stack)


def buy(weight=0.001, **exits):
    return lambda strategy, data: strategy.enter_long(data, weight=weight, **exits)


def leave(strategy, data):
    strategy.leave(data)


def settled(stage, what):
    stage.until(lambda: what(stage))


def test_a_session_is_traded_to_the_close_and_the_ledger_equals_the_broker(stage):
    stage.start()
    stage.step(1, buy())
    settled(stage, lambda s: s.held())
    stage.step(3)
    left = (XNYS.close_utc(DAY) - stage.clock()) // timedelta(minutes=1)
    stage.desk.command("step", bars=left)
    outcome = stage.finish()
    assert outcome.ending is Ending.DONE
    broker = stage.held()
    assert outcome.positions == broker
    fills = stage.ledger.fills(ACCOUNT)
    assert sum(f.filled.quantity for f in fills) == broker["AAPL"]
    assert {e.exec_id for e in stage.watcher.synchronize().executions} == {f.filled.exec_id for f in fills}
    assert all(f.commission is not None for f in fills)
    assert [r.ended.outcome for r in stage.ledger.sessions("scripted")] == ["done"]


def test_the_report_of_a_session_adds_up_to_the_account(stage):
    stage.start()
    stage.step(1, buy())
    settled(stage, lambda s: s.held())
    stage.step(2)
    stage.step(1, leave)
    settled(stage, lambda s: not s.held())
    stage.step(2)
    stage.command("halt")
    stage.step(1, buy())
    stage.stop.set()
    stage.finish()
    report = session_report(stage.ledger, "scripted", DAY)
    (traded,) = report.traded
    assert (traded.symbol, traded.bought, traded.commissions_missing) == ("AAPL", traded.sold, 0)
    assert report.profit == pytest.approx(traded.received - traded.paid - traded.commission, abs=Decimal("0.02"))
    assert (report.outcome, report.positions, len(report.refusals)) == ("interrupted", (), 1)
    assert [text.split(":")[0] for _, text in report.timeline if text.startswith("run")] == [
        "run 1 begins", "run 1 ends"
    ]  # fmt: skip


def test_an_intent_is_in_the_ledger_with_the_bar_it_was_decided_on(stage):
    stage.start()
    stage.step(1, buy())
    settled(stage, lambda s: s.held())
    (intent,) = stage.kinds("intent")
    bar = stage.bars[-1][0]
    assert intent.bar_ts.replace(tzinfo=None) == bar
    assert float(intent.decision_price) == stage.closes[bar]
    assert intent.order_ref == f"scripted/20240108/{bar:%H%M%S}/0"


def test_nothing_is_ordered_on_bars_of_the_past(stage):
    stage.eager = True
    stage.start()
    assert stage.kinds("risk_event") == []
    stage.step(2)
    past = [bar for bar, live in stage.bars if not live]
    assert len(past) > 400
    assert {i.bar_ts.replace(tzinfo=None) for i in stage.kinds("intent")}.isdisjoint(past)
    assert stage.held()


def test_a_halt_stops_entries_and_a_resume_lets_them_go(stage):
    stage.start()
    stage.command("halt")
    stage.step(1, buy())
    stage.until(lambda: "Rejected" in [name for name, _ in stage.orders])
    assert stage.kinds("intent") == []
    stage.command("resume")
    stage.step(2)
    stage.step(1, buy())
    settled(stage, lambda s: s.held())
    assert [r.what for r in stage.kinds("risk_event")] == ["halt", "refused", "resume"]


def test_stop_flatten_closes_and_ends(stage):
    stage.start()
    stage.step(1, buy(stop=50.0))
    settled(stage, lambda s: s.held() and s.working())
    stage.ledger.append(Scope("scripted", ACCOUNT), Command(stage.clock(), "stop_flatten", "enough", "tester"))
    outcome = stage.finish()
    assert (outcome.ending, outcome.reason, dict(outcome.positions)) == (Ending.STOPPED, "enough", {})
    assert (stage.held(), stage.working()) == ({}, set())


def test_stop_keep_leaves_position_and_protection(stage):
    stage.start()
    stage.step(1, buy(stop=50.0))
    settled(stage, lambda s: s.held() and s.working())
    held = stage.held()["AAPL"]
    stage.ledger.append(Scope("scripted", ACCOUNT), Command(stage.clock(), "stop_keep", "enough", "tester"))
    assert stage.finish().ending is Ending.STOPPED
    assert (stage.held(), stage.working()) == ({"AAPL": held}, {("STP", held)})


@pytest.mark.parametrize("action", ["stop_keep", "stop_flatten"])
def test_a_stop_that_was_taken_back_before_any_run_saw_it_stops_none(stage, action):
    for wanted in (action, "resume"):
        stage.ledger.append(Scope("scripted", ACCOUNT), Command(stage.clock(), wanted, "a test", "tester"))
    stage.start()
    stage.step(1, buy())
    settled(stage, lambda s: s.held())
    assert [answer.outcome for answer in stage.kinds("answer")] == ["overtaken", "done"]


def test_a_run_that_is_told_to_end_says_so(stage):
    stage.start()
    stage.stop.set()
    assert stage.finish().ending is Ending.INTERRUPTED


def test_the_next_run_goes_on_with_position_protection_and_memory(stage):
    stage.start()
    stage.step(1, buy(stop=50.0))
    settled(stage, lambda s: s.held() and s.working())
    stage.step(2)
    held = stage.held()
    stage.stop.set()
    stage.finish()
    stage.desk.command("step", bars=5)  # bars that nobody sees live
    stage.start()
    stage.step(2)
    assert stage.strategy.counted == sum(live for _, live in stage.bars)  # of both runs, not of the bars between
    assert stage.working() == {("STP", held["AAPL"])}  # taken over, not sent again
    stage.step(1, leave)
    settled(stage, lambda s: not s.held())
    settled(stage, lambda s: not s.working())
    assert len({i.order_ref for i in stage.kinds("intent")}) == 3
    first, second = stage.kinds("trading_begin")
    assert [(one.quantity, len(began.working)) for began in (first, second) for one in began.held] == [
        (0, 0), (held["AAPL"], 1)
    ]  # fmt: skip
    (protecting,) = second.working
    assert (protecting.order_type, protecting.quantity, protecting.reduces_only) == ("STP", held["AAPL"], True)
    assert second.variables["own"]["counted"] > 0


def test_a_session_whose_bars_cannot_be_kept_is_traded_all_the_same(stage):
    (stage.folder / "data").mkdir()
    (stage.folder / "data" / "seen").write_text("no folder")
    stage.start()
    stage.step(1, buy())
    settled(stage, lambda s: s.held())
    (alarm,) = [a for a in stage.kinds("alarm") if a.code == "bars_not_recorded"]
    assert "the bars of the session are not recorded" in alarm.text


def test_a_protective_order_that_filled_while_nobody_ran_is_booked(stage):
    stage.start()
    stage.step(1, buy(stop=50.0))
    settled(stage, lambda s: s.held() and s.working())
    stage.stop.set()
    stage.finish()
    report = stop_everything(stage.watcher, stage.watcher.synchronize(), reference="by-hand", seconds=20)
    assert report.flat
    stage.start()
    stage.step(1)
    assert stage.strategy.getposition(stage.strategy.data).size == 0
    external = [f for f in stage.kinds("fill") if f.external]
    assert [(f.side, f.quantity) for f in external] == [("SELL", stage.kinds("fill")[0].quantity)]
    assert "external_fill" in {a.code for a in stage.kinds("alarm")}


def test_a_lost_connection_in_a_session_is_got_over(stage):
    stage.start()
    stage.step(1, buy())
    settled(stage, lambda s: s.held())
    stage.desk.command("disconnect", client=CLIENT)
    stage.until(lambda: "session_disconnected" in {a.code for a in stage.kinds("alarm")})
    stage.until(lambda: stage.session.state.value == "READY")
    stage.go_live()
    stage.step(1, leave)
    settled(stage, lambda s: not s.held())
    stage.until(lambda: sum(1 for f in stage.ledger.fills(ACCOUNT) if f.filled.side == "SELL") == 1)


def test_a_symbol_that_is_halted_takes_no_orders_until_it_trades_again(stage):
    stage.start()
    stage.desk.command("halt", symbol="AAPL")
    stage.until(lambda: stage.status().startswith("READY, 0 of 1"))
    assert stage.session.state.value == "READY"
    stage.desk.command("unhalt", symbol="AAPL")
    stage.until(lambda: stage.status().startswith("READY, 1 of 1"))
    assert [a.text for a in stage.kinds("alarm") if a.code == "halted"] == [
        "AAPL: trading is halted.", "AAPL: trading goes on."
    ]  # fmt: skip


def test_a_halt_outlives_the_run(stage):
    stage.start()
    stage.command("halt")
    stage.stop.set()
    stage.finish()
    stage.start()
    stage.step(1, buy())
    stage.until(lambda: "Rejected" in [name for name, _ in stage.orders])
    assert (stage.held(), stage.kinds("intent")) == ({}, [])


def test_a_run_whose_account_was_lost_to_another_ends_before_it_trades_again(stage):
    stage.start()
    stage.keeps = False
    stage.command("halt")  # the status changes, so that the next heartbeat is due
    stage.thread.join(20)
    assert str(stage.outcome) == "account: the lock of DU1234567 was lost to somebody else."
    assert [r.ended.outcome for r in stage.ledger.sessions("scripted")] == ["failed"]


def test_a_supervisor_that_fell_silent_is_told_of_once(stage):
    stage.start()
    stage.ledger.beat("scripted", Heartbeat(datetime.now(UTC) - timedelta(minutes=2), SUPERVISOR, 1, "here"))
    stage.until(lambda: stage.kinds("alarm"))
    stage.command("halt")  # another heartbeat, as the status is another one
    stage.until(lambda: "HALT_ENTRIES" in stage.status())
    assert [one.code for one in stage.kinds("alarm")] == ["supervisor_silent"]


def test_the_figures_of_the_account_are_in_the_ledger(stage):
    stage.start()
    stage.step(1, buy())
    settled(stage, lambda s: s.held())
    stage.step(2)
    told = stage.watcher.synchronize().value("NetLiquidation")
    stage.until(lambda: abs(stage.ledger.current_state("scripted").equity.equity - told) < Decimal("0.02"))
