"""When a deployment is started, and when somebody is told."""

import dataclasses
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.deployment.supervision import Rules, Start, Wait, Watched, session_at, supervise
from warehouse.calendar import get_calendar

XNYS = get_calendar("XNYS")
RULES = Rules()
OPEN = datetime(2024, 11, 27, 14, 30, tzinfo=UTC)
LATER = OPEN + timedelta(hours=1)
WATCHED = Watched("momentum", on=True)


def decide(now=LATER, **known):
    return supervise(dataclasses.replace(WATCHED, **known), now, now, XNYS, RULES)


@pytest.mark.parametrize(
    ("now", "session"),
    [
        (OPEN - timedelta(minutes=16), None),
        (OPEN - timedelta(minutes=15), date(2024, 11, 27)),
        (OPEN + timedelta(hours=6, minutes=29), date(2024, 11, 27)),
        (OPEN + timedelta(hours=6, minutes=30), None),
        (datetime(2024, 11, 28, 15, tzinfo=UTC), None),  # Thanksgiving
        (datetime(2024, 11, 29, 17, 59, tzinfo=UTC), date(2024, 11, 29)),  # an early close
        (datetime(2024, 11, 29, 18, 0, tzinfo=UTC), None),
        (datetime(2024, 11, 30, 15, tzinfo=UTC), None),  # Saturday
    ],
)
def test_a_session_is_looked_after_from_a_quarter_before_its_open_to_its_close(now, session):
    assert session_at(now, XNYS, RULES.lead) == session


def test_the_first_run_of_a_session_starts_before_the_open():
    assert decide(OPEN - timedelta(minutes=15)) == Start("momentum:2024-11-27:1", date(2024, 11, 27), 1)


def test_nothing_starts_while_it_is_switched_off():
    assert decide(on=False) == Wait("it is switched off")


def test_nothing_starts_on_a_holiday():
    assert decide(datetime(2024, 11, 28, 15, tzinfo=UTC)) == Wait("the market opens at 2024-11-29 14:30 UTC")


def test_a_session_that_is_done_is_not_traded_again():
    assert decide(done=True, attempts=1) == Wait("session 2024-11-27 is done")


def test_a_run_that_beats_is_left_alone():
    launched, beat = LATER - timedelta(minutes=30), LATER - timedelta(seconds=59)
    assert decide(running=True, attempts=1, launched=launched, heartbeat=beat, lock_free=False) == Wait("it runs")


def test_a_run_may_take_a_while_to_its_first_heartbeat():
    known = {"running": True, "attempts": 1, "launched": LATER - timedelta(minutes=3)}
    assert decide(**known) == Wait("it runs")
    begun = decide(LATER + timedelta(seconds=1), **known)
    assert begun == Start("momentum:2024-11-27:2", date(2024, 11, 27), 2, lost=True)


def test_the_heartbeat_of_an_earlier_run_is_none_of_this_one():
    known = {"running": True, "attempts": 2, "launched": LATER - timedelta(minutes=4), "lock_free": False}
    assert decide(heartbeat=LATER - timedelta(minutes=5), **known).alarm == "stale_heartbeat"


def test_a_silent_run_that_holds_the_lock_is_an_alarm_and_no_second_trader():
    known = {"running": True, "attempts": 1, "launched": LATER - timedelta(hours=1), "lock_free": False}
    waits = decide(heartbeat=LATER - timedelta(seconds=90), **known)
    assert (waits.reason, waits.alarm) == (
        "nothing was heard of its run since 2024-11-27 15:28:30 UTC, but the account's lock is still held",
        "stale_heartbeat",
    )


def test_the_alarm_of_a_silent_run_reads_the_same_as_time_passes():
    known = {"running": True, "attempts": 1, "launched": LATER - timedelta(hours=1), "lock_free": False}
    beat = LATER - timedelta(seconds=90)
    assert decide(heartbeat=beat, **known) == decide(LATER + timedelta(seconds=10), heartbeat=beat, **known)


def test_a_silent_run_after_which_no_attempt_is_left_is_an_alarm_of_that():
    known = {"running": True, "attempts": 6, "launched": LATER - timedelta(hours=1)}
    waits = decide(**known)
    assert (waits.alarm, waits.reason.endswith("; 6 runs of session 2024-11-27 have failed")) == (
        "attempts_exhausted", True
    )  # fmt: skip


def test_a_silent_run_whose_lock_is_free_is_replaced_though_dagster_calls_it_running():
    launched = LATER - timedelta(hours=1)
    known = {"running": True, "attempts": 1, "launched": launched}
    assert decide(heartbeat=LATER - timedelta(seconds=15), **known) == Wait("it runs")
    begun = decide(heartbeat=LATER - timedelta(seconds=16), **known)
    assert begun == Start("momentum:2024-11-27:2", date(2024, 11, 27), 2, lost=True)


def test_attempts_come_at_growing_distances():
    ended = LATER - timedelta(seconds=39)
    assert isinstance(decide(attempts=2, ended=ended), Start)
    assert decide(attempts=3, ended=ended) == Wait("the next attempt is due at 15:30:01 UTC")


def test_attempts_end():
    assert decide(attempts=6) == Wait("6 runs of session 2024-11-27 have failed", "attempts_exhausted")


def test_a_lock_that_nobody_is_known_to_hold_is_an_alarm():
    assert decide(lock_free=False).alarm == "lock_held"


def test_a_run_may_take_a_moment_to_let_go_of_the_account():
    known = {"lock_free": False, "attempts": 1}
    assert decide(ended=LATER - timedelta(seconds=15), **known).alarm is None
    assert decide(ended=LATER - timedelta(seconds=16), **known).alarm == "lock_held"


def test_another_deployment_on_the_account_is_an_alarm():
    assert decide(account_busy="pairs") == Wait("pairs trades the same account", "account_busy")


def test_the_market_has_a_clock_of_its_own_while_recorded_days_are_replayed():
    replayed = datetime(2024, 11, 26, 15, tzinfo=UTC)
    begun = supervise(WATCHED, replayed, LATER, XNYS, RULES)
    assert begun == Start("momentum:2024-11-26:1", date(2024, 11, 26), 1)


moments = st.none() | st.integers(0, 7200).map(lambda seconds: LATER - timedelta(seconds=seconds))


@given(
    watched=st.builds(
        Watched, name=st.just("x"), on=st.booleans(), attempts=st.integers(0, 8), done=st.booleans(), launched=moments,
        ended=moments, running=st.booleans(), heartbeat=moments, lock_free=st.booleans(),
        account_busy=st.none() | st.just("y"),
    )
)  # fmt: skip
def test_no_second_trader_ever_starts(watched):
    if isinstance(supervise(watched, LATER, LATER, XNYS, RULES), Start):
        assert watched.lock_free
        assert watched.on
        assert not watched.done
        assert watched.account_busy is None
        assert watched.attempts < RULES.attempts
