"""A trading process is killed with SIGKILL at each step of an order's life; the next one finds everything out."""

from contextlib import suppress
from datetime import date
from decimal import Decimal

import pytest

from tests.storms.laws import Laws, Truth
from tests.storms.nursery import Nursery
from tests.storms.stage import OverdueError, Stage
from tests.unit.broker.simulator.recordings import minutes
from warehouse.ledger.store import Ledger

pytestmark = pytest.mark.integration

ENTER = {"do": "enter", "weight": 0.001, "stop": 0.05}
LEAVE = {"do": "leave"}


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as process:
        yield process


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    minutes(folder, "AAPL", first=date(2024, 1, 5), last=date(2024, 1, 9))
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    with Ledger.open(path):
        return path


@pytest.fixture
def stage(nursery, recording, template, tmp_path):
    with Stage(nursery, tmp_path, recording, template=template) as made:
        yield made


def die_at(stage, point, order_type, *, leave=False):
    """A run that enters with a protective stop, perhaps leaves, and dies at a step of an order of that type."""
    trap = {"point": point} if "commission" in point else {"point": point, "order_type": order_type}
    stage.start(traps=[] if leave else [trap])
    stage.go_live()
    stage.act(ENTER)
    if leave:
        for _ in range(4):
            stage.step()
            stage.settle()
        stage.finish()
        stage.start(traps=[trap])
        stage.go_live()
        stage.act(LEAVE)
    for _ in range(5):
        if not stage.running():
            break
        try:
            stage.step()
            stage.settle()
        except OverdueError:
            break
    assert stage.dies() == point


def recover(stage, missed=2):
    """The next run, after some bars that nobody saw; what is so at the broker when it has reconciled."""
    stage.command("step", bars=missed)
    stage.start()
    stage.go_live()
    stage.step()
    stage.reconcile()
    for _ in range(3):  # what was refused or had to wait is tried again at the next bars
        stage.settle()
        stage.step()
    stage.reconcile()
    stage.finish()
    broken = Laws(stage).in_the_end()
    assert broken == []
    return Truth.read(stage.folder / "state.sqlite")


def protected(truth):
    """Shares held, and shares that a working stop would sell."""
    stops = [Decimal(o["fields"]["quantity"]) for o in truth.working if o["fields"]["kind"] == "STP"]
    return truth.positions.get("AAPL", Decimal()), sum(stops, Decimal())


@pytest.mark.parametrize("point", ["commit", "committed", "send"])
def test_an_entry_that_was_not_sent_is_never_sent(stage, point):
    die_at(stage, point, "MKT")
    truth = recover(stage)
    assert (truth.orders, truth.positions) == ([], {})
    assert [one.state for one in [stage.ledger.intent(i.order_ref) for i in Laws(stage).of("intent")]] == (
        [] if point == "commit" else ["REJECTED"]
    )


@pytest.mark.parametrize(
    "point",
    [
        "sent", "record:order:SENT", "recorded:order:SENT", "record:order:WORKING", "recorded:order:WORKING",
        "record:fill", "recorded:fill", "record:commission", "recorded:commission", "record:order:FILLED",
        "recorded:order:FILLED",
    ],
)  # fmt: skip
def test_an_entry_that_was_sent_is_booked_once_and_protected(stage, point):
    die_at(stage, point, "MKT")
    truth = recover(stage)
    assert [order["status"] for order in truth.orders if order["fields"]["kind"] == "MKT"] == ["Filled"]
    held, stopped = protected(truth)
    assert held == stopped > 0


@pytest.mark.parametrize(
    "point",
    ["commit", "committed", "sent", "record:order:SENT", "record:order:WORKING", "recorded:order:WORKING"],
)  # fmt: skip
def test_a_position_has_one_protective_stop_wherever_its_order_was_interrupted(stage, point):
    die_at(stage, point, "STP")
    held, stopped = protected(recover(stage))
    assert held == stopped > 0


@pytest.mark.parametrize(
    "point",
    [
        "cancel", "cancel_sent", "record:order:CANCEL_SENT", "recorded:order:CANCEL_SENT", "record:order:CANCELLED",
        "recorded:order:CANCELLED",
    ],
)  # fmt: skip
def test_a_cancellation_that_was_interrupted_leaves_no_position_without_a_stop(stage, point):
    die_at(stage, point, "STP", leave=True)
    held, stopped = protected(recover(stage))
    assert held == stopped


@pytest.mark.parametrize("point", ["committed", "sent", "record:order:WORKING", "record:fill", "recorded:fill"])
def test_an_exit_that_was_interrupted_sells_once(stage, point):
    die_at(stage, point, "MKT", leave=True)
    truth = recover(stage)
    assert protected(truth) == (0, 0)
    sold = [order for order in truth.orders if order["fields"]["action"] == "SELL" and order["status"] == "Filled"]
    assert len(sold) == 1


@pytest.mark.parametrize("point", ["record:answer", "recorded:answer"])
def test_a_halt_holds_wherever_the_run_that_took_it_up_was_killed(stage, point):
    stage.start(traps=[{"point": point}])
    stage.go_live()
    stage.operator("halt")
    assert stage.dies() == point
    stage.start()
    stage.go_live()
    stage.until(lambda: not stage.ledger.pending_commands("stormy"), "the halt is not answered")
    stage.act(ENTER)
    stage.step()
    stage.settle()
    stage.finish()
    truth = Truth.read(stage.folder / "state.sqlite")
    assert (truth.orders, Laws(stage).in_the_end()) == ([], [])


def test_a_position_that_no_execution_explains_halts_entries_until_somebody_resumes(stage):
    stage.start()
    stage.go_live()
    stage.command("position", symbol="AAPL", quantity=7)
    stage.until(lambda: [a for a in Laws(stage).of("alarm") if a.code == "position_mismatch"], "no alarm")
    stage.act({"do": "limit", "size": 5, "below": 0.5})
    stage.step()
    stage.settle()
    assert (Truth.read(stage.folder / "state.sqlite").orders, len(Laws(stage).of("intent"))) == ([], 0)
    stage.operator("resume")
    stage.until(lambda: not stage.ledger.pending_commands("stormy"), "it is not resumed")
    stage.act({"do": "limit", "size": 5, "below": 0.5})
    stage.step()
    stage.settle()
    stage.finish()
    assert len(Truth.read(stage.folder / "state.sqlite").working) == 1


def test_a_command_to_close_everything_outlives_the_run_that_began_to_carry_it_out(stage):
    stage.start(traps=[{"point": "committed", "order_type": "MKT", "nth": 2}])
    stage.go_live()
    stage.act(ENTER)
    for _ in range(3):
        stage.step()
        stage.settle()
    stage.operator("stop_flatten")
    assert stage.dies() == "committed"
    assert [command.action for _, command in stage.ledger.pending_commands("stormy")] == ["stop_flatten"]
    stage.start()
    stage.go_live()
    with suppress(OverdueError):  # which the run's end brings about
        for _ in range(60):
            stage.step(0.3)
            stage.settle()
    stage.until(lambda: not stage.trader.alive(), "the run does not end")
    assert stage.heard.ended["ending"] == "stopped"
    assert (Truth.read(stage.folder / "state.sqlite").positions, stage.ledger.pending_commands("stormy")) == ({}, ())
    assert Laws(stage).in_the_end() == []


def test_a_cancellation_that_the_broker_confirms_as_the_run_ends_is_in_the_ledger(stage):
    stage.start()
    stage.go_live()
    stage.act({"do": "limit", "size": 5, "below": 0.05})
    stage.step()
    stage.settle()
    for answer in ("orderStatus", "openOrder", "error"):  # what would tell of it before the end
        stage.command("fault", answer=answer, action="drop")
    stage.act({"do": "cancel"})
    stage.step()
    stage.settle()
    stage.finish()
    (intent,) = Laws(stage).of("intent")
    assert stage.ledger.intent(intent.order_ref).state == "CANCELLED"
    assert Laws(stage).in_the_end() == []
