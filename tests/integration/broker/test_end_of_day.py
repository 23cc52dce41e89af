"""How a session ends on a day with an early close: held or flat as configured, orders of the day over, books agreed."""

from contextlib import ExitStack
from datetime import date, timedelta

import pytest

from broker.deployment.report import session_report
from broker.deployment.trading import Ending
from tests.integration.broker.test_deployment import ACCOUNT, CLIENT, XNYS, Stage, buy, leave, settled
from tests.unit.broker.simulator.recordings import minutes
from warehouse.ledger.records import Command, Scope

pytestmark = pytest.mark.integration

DAY = date(2023, 7, 3)  # closes at 13:00 in New York
CLOSE = XNYS.close_utc(DAY)


@pytest.fixture(scope="module")
def early(tmp_path_factory):
    """Minutes around a day with an early close."""
    root = tmp_path_factory.mktemp("early")
    minutes(root, "AAPL", first=date(2023, 6, 29), last=date(2023, 7, 5))
    return root


@pytest.fixture
def stage(start, early, tmp_path):
    """A deployment whose market is a quarter of an hour before the close."""
    with ExitStack() as stack:
        desk = start(early, bars=195, start=DAY, fill_at_once=True)
        desk.command("fill_cap", quantity=100_000)
        yield Stage(desk, tmp_path, stack, DAY)


def play_to(stage, moment):
    """Bars one by one until a moment of the market."""
    stage.step((moment - stage.clock()) // timedelta(minutes=1))


def before_close(minutes):
    return CLOSE - timedelta(minutes=minutes)


def day_order(strategy, data):
    """A buy far below the market, for the day, beside the strategy's own orders."""
    strategy.buy(data, size=1, exectype=2, price=round(data.close[0] / 2, 2), valid=0)


def states(stage, what="EXPIRED"):
    return [one for one in stage.kinds("order") if one.state == what]


def test_a_position_with_its_bracket_is_closed_before_an_early_close_and_none_is_opened_after(stage):
    stage.start(flat_before_close_minutes=5)
    stage.step(1, buy(stop=50.0, take_profit=200.0))
    settled(stage, lambda s: s.held() and len(s.working()) == 2)
    play_to(stage, before_close(5))
    stage.until(lambda: not stage.held())
    assert stage.working() == set()
    stage.step(1, buy())
    stage.until(lambda: stage.orders[-1][0] == "Rejected")
    assert stage.orders[-1][1].startswith("AAPL: no entries in the last 5 minutes of the session; 0 of ")
    stage.desk.command("step", bars=(CLOSE - stage.clock()) // timedelta(minutes=1))
    outcome = stage.finish()
    assert (outcome.ending, dict(outcome.positions), stage.clock()) == (Ending.DONE, {}, CLOSE)
    closing = [f.filled.executed for f in stage.ledger.fills(ACCOUNT) if f.filled.side == "SELL"]
    assert closing
    assert before_close(5) <= min(closing) <= max(closing) < CLOSE
    assert [r.limit for r in stage.kinds("risk_event") if r.what == "halt"] == ["flat_before_close_minutes"]
    assert session_report(stage.ledger, "scripted", DAY).outcome == "done"


def test_a_position_is_held_over_an_early_close_with_its_stop_and_orders_of_the_day_are_over(stage):
    stage.start()
    stage.step(1, buy(stop=50.0))
    settled(stage, lambda s: s.held() and s.working())
    held = stage.held()
    stage.step(1, day_order)
    stage.until(lambda: len(stage.working()) == 2)
    play_to(stage, CLOSE)
    outcome = stage.finish()
    assert (outcome.ending, outcome.reason) == (Ending.DONE, "session 2023-07-03 is over")
    assert (stage.held(), outcome.positions, stage.working()) == (held, held, {("STP", held["AAPL"])})
    assert len(states(stage)) == 1
    assert [one.intent.order_type for one in stage.ledger.open_intents(ACCOUNT)] == ["STP"]


def test_an_end_that_was_not_heard_of_is_found_out_before_the_session_ends(stage):
    stage.start()
    stage.step(1, day_order)
    stage.until(stage.working)
    for answer in ("orderStatus", "error", "openOrder"):
        stage.desk.command("fault", answer=answer, action="drop", client=CLIENT, times=3)
    play_to(stage, CLOSE)
    assert stage.finish().ending is Ending.DONE
    assert (stage.working(), stage.ledger.open_intents(ACCOUNT)) == (set(), ())


def test_an_exit_that_was_decided_on_the_last_bar_waits_for_the_next_open(stage):
    stage.start()
    stage.step(1, buy())
    settled(stage, lambda s: s.held())
    held = stage.held()
    play_to(stage, before_close(1))
    stage.step(1, leave)
    assert stage.finish().ending is Ending.DONE
    assert (stage.held(), stage.working()) == (held, {("MKT", held["AAPL"])})
    assert len(stage.ledger.open_intents(ACCOUNT)) == 1


def test_an_entry_that_was_decided_on_the_last_bar_is_refused(stage):
    stage.start()
    play_to(stage, before_close(1))
    stage.step(1, buy())
    assert stage.finish().ending is Ending.DONE
    assert (stage.working(), stage.kinds("intent")) == (set(), [])


def test_a_gateway_that_restarts_over_the_close_is_waited_for(stage):
    stage.start()
    stage.step(1, buy())
    settled(stage, lambda s: s.held())
    play_to(stage, before_close(1))
    held = stage.held()
    stage.desk.command("restart", down_seconds=1)
    stage.desk.command("step", bars=1)
    stage.desk.command("seek", to=(CLOSE + timedelta(minutes=1)).isoformat())
    outcome = stage.finish()
    assert (outcome.ending, outcome.positions) == (Ending.DONE, held)


def test_an_operators_stop_tells_of_a_difference_and_stays_a_stop(stage):
    stage.start()
    stage.desk.command("position", symbol="AAPL", quantity=7)
    stage.ledger.append(Scope("scripted", ACCOUNT), Command(stage.clock(), "stop_keep", "enough", "tester"))
    outcome = stage.finish()
    assert (outcome.ending, outcome.reason) == (Ending.STOPPED, "enough")
    assert "AAPL: the broker held 7 shares, the ledger 0" in [a.text for a in stage.kinds("alarm")]


def test_shares_that_nothing_explains_are_told_in_the_end(stage):
    stage.start()
    play_to(stage, before_close(1))
    stage.desk.command("position", symbol="AAPL", quantity=7)
    stage.desk.command("step", bars=1)
    outcome = stage.finish()
    assert outcome.ending is Ending.MISMATCH
    assert outcome.reason.startswith("session 2023-07-03 is over; AAPL: the broker held 7 shares, the ledger 0"), (
        outcome.reason
    )
    alarms = [one.code for one in stage.kinds("alarm")]
    assert (alarms.count("position_mismatch"), alarms.count("mismatch")) == (1, 1)
    assert session_report(stage.ledger, "scripted", DAY).outcome == "mismatch"


def test_a_position_that_could_not_be_closed_in_time_is_told_in_the_end(stage):
    stage.start(flat_before_close_minutes=5)
    stage.step(1, buy())
    settled(stage, lambda s: s.held())
    stage.desk.command("fault", request="place_order", action="error", code=201, client=CLIENT)
    play_to(stage, CLOSE)
    outcome = stage.finish()
    assert (outcome.ending, outcome.reason) == (Ending.NOT_FLAT, "session 2023-07-03 is over; still held: AAPL")
    assert "not_flat" in {one.code for one in stage.kinds("alarm")}
