"""What somebody has to know in a live session is told, and telling it never holds trading up."""

import socket
import threading
from contextlib import ExitStack

import pytest

from broker.alerts import notifier
from tests.integration.broker.receiver import receiving
from tests.integration.broker.test_deployment import CLIENT, buy, leave
from tests.integration.broker.test_gates import staged

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def told(recording, insync, tmp_path_factory):
    """A session whose alerts go to a receiver."""
    with receiving() as receiver, staged(recording, insync, tmp_path_factory.mktemp("alarms")) as stage:
        stage.settings = {"outage_seconds": 0.1}
        stage.service, stage.switch = notifier([receiver.url]), receiver.switch
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("broker.deployment.trading._ROUND_SECONDS", 0.05)
            patch.setattr("broker.deployment.trading._BEAT_SECONDS", 0.1)
            patch.setattr("broker.ib.session._WATCH_SECONDS", 0.05)
            stage.start()
            yield stage, receiver


def awaited(told, code, text):
    """Wait for an alert of a kind with a text in it."""
    _, receiver = told
    assert receiver.until(lambda: any(text in message for message in receiver.told(code))), receiver.alerts


def test_a_lost_connection_is_told_when_it_lasts(told):
    stage, _ = told
    stage.desk.command("restart", down_seconds=1.5)
    awaited(told, "outage", "The session is ")
    stage.recover()


def test_a_halt_and_its_end_are_told(told):
    stage, _ = told
    stage.command("halt")
    awaited(told, "risk_halt_operator", "a test")
    stage.command("resume")
    awaited(told, "risk_resume_operator", "a test")


def test_an_order_that_the_broker_refuses_is_told(told):
    stage, _ = told
    stage.desk.command("fault", request="place_order", action="error", code=201, text="No shares.", times=1)
    stage.step(1, buy())
    awaited(told, "order_rejected", "was rejected: No shares.")


def test_a_position_that_nobody_ordered_is_told(told):
    stage, _ = told
    stage.desk.command("position", symbol="AAPL", quantity=25)
    awaited(told, "position_mismatch", "AAPL: the broker holds 25 shares, our fills make 0; 25 is adopted.")
    stage.close(leave)
    stage.command("resume")  # entries are halted where nothing explains a position


def test_somebody_who_trades_beside_us_is_told(told):
    stage, _ = told
    stage.desk.command("manual_order", symbol="AAPL", action="BUY", quantity=7)
    awaited(told, "external_fill", "A fill that is not ours")
    stage.close(leave)


def test_a_halted_symbol_is_told_once_and_its_repetitions_folded(told):
    stage, receiver = told
    for _ in range(3):
        stage.desk.command("halt", symbol="AAPL")
        stage.until(lambda: not stage.live())
        stage.desk.command("unhalt", symbol="AAPL")
        stage.until(stage.live)
    stage.until(lambda: stage.alarms().count("halted") == 6)
    awaited(told, "halted", "AAPL: trading is halted.")
    assert len(receiver.told("halted")) == 1
    assert stage.alerts.counts.folded >= 5


def test_the_switch_is_fetched_while_the_run_beats_and_not_while_its_strategy_hangs(told):
    stage, receiver = told
    begun = receiver.fetched
    assert receiver.until(lambda: receiver.fetched >= begun + 2)
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(*_):
        hangs.set()
        assert goes_on.wait(20)

    stage.act = hang
    stage.session.server_time()
    stage.desk.command("step", bars=1)
    assert hangs.wait(10)
    receiver.until(lambda: False, 0.4)  # one fetch may have been on its way
    held = receiver.fetched
    assert not receiver.until(lambda: receiver.fetched > held, 1.0)
    goes_on.set()
    assert receiver.until(lambda: receiver.fetched > held)


def test_a_loss_that_trips_risk_is_told_with_what_was_lost(told):
    stage, _ = told
    stage.round_trip(buy(), leave)
    stage.end()
    stage.start(max_drawdown=1e-7)  # less than what the two orders have cost
    awaited(told, "risk_halt_max_drawdown", "below the highest equity")
    assert stage.status().endswith("FLATTEN")


def test_orders_are_filled_while_a_receiver_that_never_answers_is_waited_for(recording, insync, tmp_path):
    with ExitStack() as stack:
        stage = stack.enter_context(staged(recording, insync, tmp_path))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # takes connections, and says nothing
        port = silent.getsockname()[1]
        stage.service, stage.switch = notifier([f"json://127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/alive"
        stage.start()
        stage.command("halt")
        stage.command("resume")
        line, _ = silent.accept()  # the first alarm is on its way
        stack.callback(line.close)
        assert line.recv(10)
        for _ in range(3):
            stage.round_trip(buy(), leave)
        counts = stage.alerts.counts
        assert (counts.sent, counts.failed) == (0, 0)  # it still is
        stage.agrees()


def test_a_receiver_that_refuses_costs_alerts_and_no_bar(recording, insync, tmp_path):
    with staged(recording, insync, tmp_path) as stage:
        stage.service, stage.switch = notifier(["json://127.0.0.1:1"]), "http://127.0.0.1:1/alive"
        stage.start()
        stage.desk.command("disconnect", client=CLIENT)
        stage.recover()
        stage.command("halt")
        stage.command("resume")
        stage.until(lambda: stage.alerts.counts.failed >= 2)
        stage.round_trip(buy(), leave)
        stage.agrees()
