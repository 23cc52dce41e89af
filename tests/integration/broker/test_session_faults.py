"""Whatever goes wrong in a live session: afterwards the ledger is the broker, and the session trades."""

import math
from collections import Counter
from contextlib import ExitStack

import pytest

from broker.simulator.background import BackgroundGateway
from broker.simulator.settings import ClockMode, SimulatorSettings
from tests.integration.broker.conftest import START, Desk
from tests.integration.broker.rehearsal import ORDERS_QUICK, Rehearsal, every_fault, named
from tests.integration.broker.test_deployment import CLIENT, buy, leave
from warehouse.store import Warehouse

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("session_faults")]

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


@pytest.fixture(scope="module")
def stage(recording, insync, tmp_path_factory):
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("broker.orders.book.Patience", lambda: ORDERS_QUICK)
        settings = SimulatorSettings(port=0, control_port=0, clock=ClockMode.STEPPED, start=START, fill_at_once=True)
        gateway = stack.enter_context(BackgroundGateway(settings, Warehouse(recording)))
        gateway.command("step", bars=20)
        made = Rehearsal(Desk(gateway, insync, stack), tmp_path_factory.mktemp("faults"), stack)
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
    entry(stage, request("place_order", "partial", value="0.4", times=1))
    stage.agrees()
    assert 0 < stage.booked() < stage.kinds("intent")[-1].quantity


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


@pytest.mark.parametrize("title", list(CASES))
def test_after(stage, title):
    play, faults, alarms = CASES[title]
    stage.injected, before = set(), Counter(stage.alarms())
    play(stage)
    assert stage.injected == {name for command, arguments in faults for name in named(command, arguments)}
    stage.recover()
    stage.round_trip(buy(), leave)
    stage.agrees()
    assert Counter(stage.alarms()) - before >= alarms
