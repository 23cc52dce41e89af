"""What opens and closes the gate for orders."""

from datetime import UTC, datetime

import pytest

from broker.ib.health import Health, Remedy
from broker.ib.messages import Notice, SessionState
from broker.ib.settings import ResetWindow

NOON = datetime(2024, 1, 8, 17, 0, tzinfo=UTC)  # 12:00 in New York
MIDNIGHT = datetime(2024, 1, 9, 5, 0, tzinfo=UTC)  # 00:00 in New York


@pytest.fixture
def ready():
    health = Health(ResetWindow(), outage_seconds=60)
    health.enter(SessionState.READY, "told")
    return health


def hear(health, code, text=""):
    return health.hear(Notice(-1, code, text))


@pytest.mark.parametrize("code", [1100, 2110])
def test_a_lost_link_closes_the_gate(ready, code):
    hear(ready, code, "Connectivity between IB and TWS has been lost")
    assert ready.state is SessionState.DEGRADED
    assert ready.reason == f"The gateway has lost IB's servers ({code})."


@pytest.mark.parametrize("code", [1101, 1102])
def test_a_link_that_is_back_is_not_trusted_before_everything_was_told_again(ready, code):
    hear(ready, 1100)
    assert hear(ready, code) is Remedy.SYNCHRONIZE
    assert ready.state is SessionState.READY


@pytest.mark.parametrize(("broken", "sound"), [(2103, 2104), (2105, 2106), (2157, 2158)])
def test_a_broken_farm_closes_the_gate_until_it_works_again(ready, broken, sound):
    hear(ready, broken, "Market data farm connection is broken:usfarm")
    assert ready.state is SessionState.DEGRADED
    assert hear(ready, sound, "Market data farm connection is OK:usfarm") is Remedy.RESUBSCRIBE
    assert ready.state is SessionState.READY


def test_one_farm_that_works_says_nothing_about_another(ready):
    hear(ready, 2103, "Market data farm connection is broken:usfarm")
    hear(ready, 2103, "Market data farm connection is broken:eufarm")
    hear(ready, 2104, "Market data farm connection is OK:eufarm")
    assert ready.reason == "IB's data farm usfarm is broken (2103)."


@pytest.mark.parametrize("code", [2104, 2106, 2107, 2108, 2119, 2158])
def test_news_of_farms_that_never_broke_changes_nothing(ready, code):
    assert hear(ready, code, "Market data farm connection is OK:usfarm") is None
    assert ready.state is SessionState.READY


def test_a_competing_session_closes_the_gate(ready):
    hear(ready, 10197, "No market data during competing live session")
    assert ready.state is SessionState.DEGRADED


def test_a_new_connection_begins_without_the_faults_of_the_old_one(ready):
    hear(ready, 1100)
    ready.enter(SessionState.CONNECTING, "again")
    ready.enter(SessionState.READY, "told")
    assert ready.state is SessionState.READY


def test_an_outage_becomes_one_alarm_when_it_lasts(ready):
    hear(ready, 1100)
    alarms = [ready.outage(NOON, second) for second in (0, 59, 60, 61, 500)]
    assert [alarm is not None for alarm in alarms] == [False, False, True, False, False]
    assert "DEGRADED for more than 60 seconds" in alarms[2]


def test_a_second_outage_is_a_second_alarm(ready):
    hear(ready, 1100)
    assert [ready.outage(NOON, second) is None for second in (0, 60)] == [True, False]
    hear(ready, 1102)
    assert ready.outage(NOON, 70) is None
    hear(ready, 1100)
    assert [ready.outage(NOON, second) is None for second in (80, 139, 140)] == [True, True, False]


def test_an_outage_in_the_reset_window_is_none_until_it_outlives_it(ready):
    hear(ready, 1100)
    assert [ready.outage(MIDNIGHT, second) for second in (0, 60, 2_000)] == [None, None, None]
    after = datetime(2024, 1, 9, 5, 46, tzinfo=UTC)
    assert [ready.outage(after, second) is None for second in (2_059, 2_060)] == [True, False]
