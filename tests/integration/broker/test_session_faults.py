"""Whatever goes wrong in a live session: afterwards the ledger is the broker, and the session trades."""

from collections import Counter
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import backtrader as bt
import pytest

from broker.errors import LiveRunError
from broker.ib.messages import SessionState
from broker.ib.settings import ResetWindow
from broker.simulator.background import BackgroundGateway
from broker.simulator.settings import ClockMode, SimulatorSettings
from risk.states import HaltState
from tests.integration.broker.conftest import START, Desk
from tests.integration.broker.rehearsal import Rehearsal, every_fault, named, quicken
from tests.integration.broker.test_deployment import CLIENT, buy, leave
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

CASES = {}


def fault(command, **arguments):
    return command, arguments


def answer(name, action, **more):
    """A fault on what the trading client is told; the test's own client hears everything."""
    return fault("fault", answer=name, action=action, client=CLIENT, **more)


def request(name, action, **more):
    return fault("fault", request=name, action=action, client=CLIENT, **more)


def case(title, *faults, alarms=()):
    """Register a play under a title, with the faults that it may inject and the alarms that it must raise."""

    def register(play):
        CASES[title] = (play, faults, Counter(alarms))
        return play

    return register


@contextmanager
def gateway_at(recording, insync):
    """A gateway some minutes after the open."""
    settings = SimulatorSettings(port=0, control_port=0, clock=ClockMode.STEPPED, start=START, fill_at_once=True)
    with BackgroundGateway(settings, Warehouse(recording)) as gateway, ExitStack() as stack:
        gateway.command("step", bars=10)
        yield Desk(gateway, insync, stack)


@pytest.fixture(scope="module")
def stage(recording, insync, tmp_path_factory):
    with ExitStack() as stack:
        quicken(stack.enter_context(pytest.MonkeyPatch.context()))
        desk = stack.enter_context(gateway_at(recording, insync))
        made = Rehearsal(desk, tmp_path_factory.mktemp("faults"), stack)
        made.start()
        yield made


# -------------------------------------------------------------------- while an order is on its way


def entry(stage, *faults):
    """An entry goes wrong on its way; it comes to its position in the end."""
    for command, arguments in faults:
        stage.inject(command, **arguments)
    stage.step(1, buy())
    if not stage.soon(stage.booked, 3):
        stage.recover()  # an order that has to be sent again waits for live data
        stage.until(stage.booked)


for title, faults, alarms in (
    ("a fill that is never told", [answer("execDetails", "drop", times=1)], ()),
    ("no status of an order is told", [answer("orderStatus", "drop", times=3)], ()),
    ("an order is never shown", [answer("openOrder", "drop", times=3)], ()),
    ("a commission comes late", [answer("commissionReport", "delay", value="0.5", times=1)], ()),
    ("a commission never comes", [answer("commissionReport", "drop")], ()),
    ("a fill comes late", [answer("execDetails", "delay", value="0.5", times=1)], ()),
    ("a fill is told twice", [answer("execDetails", "duplicate", times=1)], ()),
    ("a status is told twice", [answer("orderStatus", "duplicate", times=3)], ()),
    ("a commission is told twice", [answer("commissionReport", "duplicate", times=1)], ()),
    ("a commission comes before its fill", [answer("execDetails", "after", value="commissionReport", times=1)], ()),
    ("an order is filled before it is acknowledged", [answer("openOrder", "after", value="execDetails", times=1)], ()),
    ("the connection ends with the fill", [answer("execDetails", "close", times=1)], ("session_disconnected",)),
    ("an order is lost on its way", [request("place_order", "swallow", times=1)], ()),
    ("the connection ends with the order", [request("place_order", "close", times=1)], ("session_disconnected",)),
    ("the line is dead from the order on", [request("place_order", "freeze", times=1)], ("session_disconnected",)),
    ("fills come in fractions", [fault("fill_cap", quantity="3.5")], ()),
    ("messages come in pieces", [fault("line", frames="split")], ()),
    ("messages come in lumps", [fault("line", frames="coalesced")], ()),
    ("IB counts requests", [fault("line", pacing=True)], ()),
):  # fmt: skip
    case(title, *faults, alarms=alarms)(lambda stage, faults=faults: entry(stage, *faults))


@case(
    "a commission is missing for so long that somebody is told", answer("commissionReport", "drop"),
    alarms=("commission_missing",),
)  # fmt: skip
def _(stage):
    entry(stage, answer("commissionReport", "drop"))
    stage.until(lambda: "commission_missing" in stage.alarms())
    stage.desk.command("clear_faults")
    stage.desk.command("disconnect", client=CLIENT)  # nobody asks any more, but the next connection tells it
    stage.until(lambda: not stage.live())


@case("execution times are in a zone that nobody knows", fault("line", execution_zone="Mars/Phobos"))
def _(stage):
    stage.inject("line", execution_zone="Mars/Phobos")
    stage.step(1, buy())
    stage.until(lambda: stage.session.state.value != "READY")
    stage.recover()
    stage.until(stage.booked)


def refused(stage, *faults):
    """An entry comes to nothing."""
    for command, arguments in faults:
        stage.inject(command, **arguments)
    before = len(stage.orders)
    stage.step(1, buy())
    stage.until(lambda: {name for name, _ in stage.orders[before:]} & {"Rejected", "Canceled", "Margin"})
    assert not stage.booked()


for code in (200, 201, 354, 321, 10318, 10225):
    case(f"an order is answered with {code}", request("place_order", "error"), alarms=("order_rejected",))(
        lambda stage, code=code: refused(stage, request("place_order", "error", code=code, text="No.", times=1))
    )
case("an order is cancelled at once", request("place_order", "error"), alarms=("cancelled_by_broker",))(
    lambda stage: refused(stage, request("place_order", "error", code=202, text="Order Canceled", times=1))
)


@case("a part is filled and the rest cancelled", request("place_order", "partial"), alarms=("cancelled_by_broker",))
def _(stage):
    stage.inject("fault", request="place_order", action="partial", value="0.4", client=CLIENT, times=1)
    stage.step(1, lambda strategy, data: strategy.buy(data=data, size=10, exectype=bt.Order.Limit, price=50.0))
    stage.until(lambda: stage.booked() == 4 and not stage.working())


@case("a symbol cannot be borrowed", fault("shortable"), alarms=("order_rejected",))
def _(stage):
    stage.inject("shortable", symbol="AAPL", shortable=False)
    before = len(stage.orders)
    stage.step(1, lambda strategy, data: strategy.sell(data=data, size=10))
    stage.until(lambda: {name for name, _ in stage.orders[before:]} & {"Rejected", "Canceled", "Margin"})
    stage.desk.command("shortable", symbol="AAPL", shortable=True)


@case("a cancellation comes too late", request("cancel_order", "fill"))
def _(stage):
    stage.step(1, buy(stop=50.0))
    stage.until(lambda: stage.booked() and stage.working())
    stage.inject("fault", request="cancel_order", action="fill", client=CLIENT, times=1)
    stage.step(1, leave)  # closes at the market, and cancels the stop, which fills
    stage.until(lambda: not stage.working())
    stage.agrees()


# -------------------------------------------------------------------- while a position is held


def holding(stage, *faults, broken=True):
    """A position and its stop wait while the connection goes wrong."""
    stage.step(1, buy(stop=50.0))
    stage.until(lambda: stage.booked() and stage.working())
    stage.told()
    for command, arguments in faults:
        stage.inject(command, **arguments)
        if broken:
            stage.until(lambda: not stage.live())
    stage.recover()
    assert stage.working() == {("STP", stage.holds())}


for title, faults, alarms in (
    ("the gateway hangs up", [fault("disconnect", client=CLIENT)], ("session_disconnected",)),
    ("the line is dead and nobody hangs up", [fault("freeze", client=CLIENT)], ("session_disconnected",)),
    ("the gateway restarts", [fault("restart")], ("session_disconnected",)),
    ("the gateway is away for a second", [fault("restart", down_seconds=1.0)], ("session_disconnected",)),
    ("the gateway restarts and forgets executions", [fault("restart", lose_executions=True)],
     ("session_disconnected",)),
    ("the link to IB is lost and back", [fault("link", state="lost"), fault("link", state="restored")],
     ("session_degraded",)),
    ("the link to IB is back without data",
     [fault("link", state="lost"), fault("link", state="restored_without_data")], ("session_degraded",)),
    ("a data farm breaks", [fault("farm", state="broken"), fault("farm", state="ok")], ("session_degraded",)),
    ("another session takes the data", [fault("competing_session", active=True)], ("session_degraded",)),
    ("the clocks differ by a minute", [fault("line", clock_skew=60)], ("clock_skew", "session_degraded")),
):  # fmt: skip
    case(title, *faults, alarms=alarms)(lambda stage, faults=faults: holding(stage, *faults))


@case("what IB says by the way changes nothing", fault("error"))
def _(stage):
    stage.step(1, buy(stop=50.0))
    stage.until(lambda: stage.booked() and stage.working())
    for code in (2104, 2106, 2107, 2108, 2109, 2119, 2158, 399):
        stage.inject("error", code=code, text=f"Market data farm connection is OK:usfarm ({code})")
    stage.session.server_time()
    assert stage.live()


for before, after in ((1100, 1102), (2110, 1102), (1100, 1101), (2103, 2104), (2105, 2106), (2157, 2158)):
    faults = [fault("error", code=code, text="connection to data farm:usfarm") for code in (before, after)]
    case(f"{before} is followed by {after}", *faults, alarms=("session_degraded",))(
        lambda stage, faults=faults: holding(stage, *faults)
    )


for code in (366, 420, 10182, 10225):

    @case(f"the stream of bars dies with {code}", fault("end_stream"))
    def _(stage, code=code):
        stage.step(1, buy(stop=50.0))
        stage.until(lambda: stage.booked() and stage.working())
        (number,) = stage.desk.gateway.simulation.desk.sessions[CLIENT].subscriptions.bars
        stage.inject("end_stream", client=CLIENT, req_id=number, code=code)
        stage.until(lambda: not stage.live())


for action, more in (("empty", {}), ("error", {"code": 162, "text": "HMDS query returned no data"}), ("swallow", {})):

    @case(f"history answers with {action}", fault("disconnect"), request("history", action))
    def _(stage, action=action, more=more):
        stage.inject("disconnect", client=CLIENT)
        stage.inject("fault", request="history", action=action, client=CLIENT, times=2, **more)
        stage.until(lambda: not stage.live())
        stage.desk.command("step", bars=3)  # bars that only history can tell of


@case("trading in the symbol is halted", fault("halt"), fault("unhalt"), alarms=("halted", "halted"))
def _(stage):
    stage.step(1, buy(stop=50.0))
    stage.until(lambda: stage.booked() and stage.working())
    stage.inject("halt", symbol="AAPL")
    stage.until(lambda: not stage.live())
    stage.inject("unhalt", symbol="AAPL")


@case(
    "a fill is lost with the gateway's memory", answer("execDetails", "drop"), fault("restart", lose_executions=True),
    alarms=("position_mismatch",),
)  # fmt: skip
def _(stage):
    stage.inject("fault", answer="execDetails", action="drop", client=CLIENT)
    stage.step(1, buy())
    stage.until(stage.holds)
    stage.inject("restart", lose_executions=True)
    stage.until(lambda: not stage.live())
    stage.recover()
    stage.until(stage.booked)


@case("an execution is corrected", fault("correct"), alarms=("fill_corrected",))
def _(stage):
    entry(stage)
    stage.inject("correct", exec_id=stage.kinds("fill")[-1].exec_id, price=90)
    stage.until(lambda: "fill_corrected" in stage.alarms())


@case("shares come without an order", fault("position"), alarms=("position_mismatch",))
def _(stage):
    entry(stage)
    held = stage.booked()
    stage.inject("position", symbol="AAPL", quantity=25)
    stage.until(lambda: stage.booked() == held + 25)


@case("somebody trades beside us", fault("manual_order"), alarms=("external_fill",))
def _(stage):
    entry(stage)
    held = stage.booked()
    stage.inject("manual_order", symbol="AAPL", action="BUY", quantity=7)
    stage.until(lambda: stage.booked() == held + 7)
    stage.until(lambda: [fill.external for fill in stage.kinds("fill")][-2:] == [False, True])


@case("an order of somebody else waits beside ours", fault("manual_order"), alarms=("external_order",))
def _(stage):
    entry(stage)
    stage.inject("manual_order", symbol="AAPL", action="BUY", quantity=7, kind="LMT", limit=50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("broker.live_broker._RECONCILE_PAUSE", timedelta(seconds=0.5))
        stage.until(lambda: "external_order" in stage.alarms())
    stage.watcher.cancel_everything()
    stage.until(lambda: not stage.working())


@case("a part is filled when the connection ends", fault("disconnect"), alarms=("session_disconnected",))
def _(stage):
    stage.step(1, lambda strategy, data: strategy.buy(data=data, size=600))  # more than a tenth of what a bar trades
    stage.until(stage.booked)
    assert stage.booked() < stage.kinds("intent")[-1].quantity
    stage.inject("disconnect", client=CLIENT)
    stage.until(lambda: not stage.live())
    stage.desk.command("step", bars=3)
    stage.recover()
    stage.until(lambda: stage.booked() == stage.kinds("intent")[-1].quantity)


def test_every_fault_of_the_simulator_has_a_case():
    covered = {name for _, faults, _ in CASES.values() for command, more in faults for name in named(command, more)}
    assert set(every_fault()) - covered == {"line market_data"}  # which ends a run, see below


@pytest.mark.parametrize("title", list(CASES))
def test_after(stage, title):
    play, faults, alarms = CASES[title]
    stage.injected, before = set(), Counter(stage.alarms())
    play(stage)
    assert stage.injected == {name for command, arguments in faults for name in named(command, arguments)}
    stage.recover()
    if "position_mismatch" in alarms:  # nothing is entered until somebody has looked
        stage.until(lambda: stage.strategy.broker._guard.halt_state is HaltState.HALT_ENTRIES)
        stage.command("resume")
    stage.round_trip(buy(), leave)
    stage.agrees()
    assert Counter(stage.alarms()) - before >= alarms


@pytest.mark.parametrize("kind", ["none", "delayed"])
def test_a_run_whose_data_are_refused_for_good_fails_and_says_why(recording, insync, tmp_path, kind, monkeypatch):
    quicken(monkeypatch)
    with gateway_at(recording, insync) as desk, ExitStack() as stack:
        stage = Rehearsal(desk, tmp_path, stack)
        stage.inject("line", market_data=kind)
        stage.begin()
        stage.thread.join(20)
        assert isinstance(stage.outcome, LiveRunError)
        (run,) = stage.ledger.sessions("scripted")
        assert (run.ended.outcome, "no subscription to this market data" in run.ended.reason) == ("failed", True)
        assert "subscription_ended" in stage.alarms()


def test_a_session_goes_on_after_the_reset_of_ibs_servers(recording, insync, tmp_path, monkeypatch):
    quicken(monkeypatch)
    shift = timedelta(hours=6)
    begin, end = ((datetime.now(UTC) + shift + hour).time() for hour in (-timedelta(hours=1), timedelta(hours=1)))
    with gateway_at(recording, insync) as desk, ExitStack() as stack:
        stage = Rehearsal(desk, tmp_path, stack)
        stage.settings = {"reset": ResetWindow(begin, end, "UTC"), "skew_warning": 1e9, "skew_most": 1e9}
        stage.start()
        stage.shift = shift  # the clock is in the window
        stage.step(1, buy())
        stage.until(stage.refusals)
        assert stage.refusals() == [("reset_window", "AAPL: the gate is shut: IB's nightly reset is on")]
        stage.shift = timedelta()
        stage.step(2, buy(stop=50.0))
        stage.until(lambda: stage.booked() and stage.working())
        stage.shift = shift
        stage.step(1, leave)  # an exit waits, and the stop with it
        for _ in range(3):
            stage.inject("restart", down_seconds=0.3)
            stage.until(lambda: not stage.live())
            stage.until(lambda: stage.session.state is SessionState.READY)
        assert (stage.working(), stage.alarms()) == ({("STP", stage.holds())}, [])
        stage.shift = timedelta()
        stage.recover()
        stage.close(leave)
        stage.round_trip(buy(), leave)
        stage.agrees()
        assert stage.alarms() == []
