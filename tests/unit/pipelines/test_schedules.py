"""Updates run after the close of sessions, and only then, whatever the clocks do."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from pipelines.definitions import build_defs
from pipelines.resources import default_resources
from pipelines.schedules import MISSING_SESSIONS, close_crons, due_session, repair_requests, update_request
from pipelines.settings import Settings
from warehouse.calendar import get_calendar
from warehouse.quality import RULES

NEW_YORK = ZoneInfo("America/New_York")
XNYS = get_calendar("XNYS")


def tick(day: str, at: str) -> datetime:
    return datetime.fromisoformat(f"{day}T{at}").replace(tzinfo=NEW_YORK)


def verdict(day: str, at: str) -> str:
    answer = due_session(XNYS, tick(day, at))
    return str(answer.skip_message) if isinstance(answer, dg.SkipReason) else f"run {answer}"


def test_there_is_a_tick_after_every_usual_closing_time():
    assert close_crons(XNYS, date(2026, 11, 23)) == ["20 13 * * *", "20 16 * * *"]


def test_another_exchange_has_its_own_ticks():
    assert "50 16 * * *" in close_crons(get_calendar("XLON"), date(2026, 11, 23))


@pytest.mark.parametrize(
    ("day", "early", "late"),
    [
        ("2026-11-25", "skip", "run"),  # an ordinary Wednesday
        ("2026-11-26", "skip", "skip"),  # Thanksgiving
        ("2026-11-27", "run", "skip"),  # the day after: closes at 13:00
        ("2026-11-28", "skip", "skip"),  # Saturday
        ("2026-12-24", "run", "skip"),  # Christmas Eve: closes at 13:00
        ("2026-12-25", "skip", "skip"),  # Christmas
        ("2026-07-03", "skip", "skip"),  # Independence Day observed
        ("2025-07-03", "run", "skip"),  # the day before: closes at 13:00
        ("2025-01-09", "skip", "skip"),  # a day of mourning: closed for no rule's sake
        ("2026-03-06", "skip", "run"),  # Friday before the clocks go forward
        ("2026-03-09", "skip", "run"),  # Monday after
        ("2026-10-30", "skip", "run"),  # Friday before the clocks go back
        ("2026-11-02", "skip", "run"),  # Monday after
    ],
)
def test_the_calendar_decides_which_tick_runs(day, early, late):
    assert verdict(day, "13:20").startswith("run") is (early == "run")
    assert verdict(day, "16:20").startswith("run") is (late == "run")


def test_a_skip_says_why():
    assert verdict("2026-11-26", "16:20") == "Thursday 2026-11-26 is no session of XNYS."
    assert verdict("2026-11-27", "16:20") == (
        "2026-11-27 is updated at 13:20, after its close; this tick is for other days."
    )


@pytest.mark.parametrize(
    ("day", "utc"), [("2026-03-06", "21:20"), ("2026-03-09", "20:20"), ("2026-10-30", "20:20"), ("2026-11-02", "21:20")]
)
def test_the_tick_moves_with_new_york_and_not_with_utc(day, utc):
    moment = datetime.fromisoformat(f"{day}T{utc}").replace(tzinfo=UTC)
    assert due_session(XNYS, moment) == date.fromisoformat(day)


@pytest.mark.parametrize("month", [3, 11])
def test_every_session_of_a_month_with_a_clock_change_runs_exactly_once(month):
    days = [date(2026, month, day) for day in range(1, 31)]
    ran = [day for day in days for at in ("13:20", "16:20") if verdict(f"{day}", at).startswith("run")]
    assert ran == XNYS.sessions(days[0], days[-1])


def _evaluate(name: str, at: datetime, tmp_path, keys=("AAPL", "MSFT")):
    settings = Settings(data_dir=tmp_path / "data", results_dir=tmp_path / "results")
    repository = build_defs(settings).get_repository_def()
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=at,
            repository_def=repository,
            resources=default_resources(settings),
        ) as context,
    ):
        instance.add_dynamic_partitions("symbols", list(keys))
        return repository.get_schedule_def(name).evaluate_tick(context)


@pytest.mark.parametrize("name", ["daily_after_close", "hourly_after_close", "minute_after_close"])
def test_the_schedule_asks_for_one_run_with_all_symbols(tmp_path, name):
    (request,) = _evaluate(name, tick("2026-11-27", "13:20"), tmp_path).run_requests
    assert request.run_key == "2026-11-27"
    assert request.tags["dagster/asset_partition_range_start"] == "AAPL"
    assert request.tags["dagster/asset_partition_range_end"] == "MSFT"


def test_the_schedule_skips_a_holiday_with_its_reason(tmp_path):
    data = _evaluate("daily_after_close", tick("2026-11-26", "16:20"), tmp_path)
    assert (data.run_requests, data.skip_message) == ([], "Thursday 2026-11-26 is no session of XNYS.")


def test_without_symbols_there_is_nothing_to_update(tmp_path):
    data = _evaluate("daily_after_close", tick("2026-11-27", "13:20"), tmp_path, keys=())
    assert data.skip_message == "There are no symbols yet."


def test_schedules_keep_the_exchanges_time_zone():
    for schedule in build_defs(Settings()).schedules:
        assert schedule.execution_timezone == "America/New_York"


def test_a_repair_asks_only_for_what_lacks_sessions_in_as_few_runs_as_possible():
    requests = repair_requests(["A", "B", "C", "D"], ["D", "A", "B"], date(2026, 11, 24))
    ranges = [
        (r.tags["dagster/asset_partition_range_start"], r.tags["dagster/asset_partition_range_end"]) for r in requests
    ]
    assert ranges == [("A", "B"), ("D", "D")]
    assert [r.run_key for r in requests] == ["2026-11-24/A", "2026-11-24/D"]


def test_a_repair_with_nothing_to_do_says_so():
    assert repair_requests(["A"], [], date(2026, 11, 24)).skip_message == "No symbol lacks a session."


def test_the_rule_that_repairs_read_exists():
    assert MISSING_SESSIONS in {rule.id for rule in RULES}


def test_one_update_a_session_whatever_is_ticked_twice():
    first, second = (update_request(["A"], date(2026, 11, 27)) for _ in range(2))
    assert first.run_key == second.run_key
