"""Tests of the rules about what is not there."""

from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.quality import YearCoverage
from warehouse.resolution import Resolution


def test_a_faultless_series_fails_no_rule(daily):
    report = daily().judge().report
    assert (report.errors, report.warnings, report.score) == ([], [], 1.0)


def test_missing_sessions_are_counted_and_given_as_runs(daily):
    series = daily()
    kept = np.ones(len(series), bool)
    kept[10:13] = kept[50] = False
    judged = series.keep(kept).judge()
    check = judged.check("missing_sessions")
    assert (check["measured"], check["passed"], check["severity"]) == (4, False, "WARN")
    first, second = judged.findings("missing_sessions")
    assert (first["session"], first["value"], first["ts"]) == (date(2023, 1, 18), 3, None)
    assert first["detail"] == "2023-01-18 to 2023-01-20, sessions without a bar: 3"
    assert second["value"] == 1


def test_holidays_and_weekends_are_not_missing(daily):
    judged = daily(date(2024, 6, 14), date(2024, 7, 8)).judge()  # Juneteenth and Independence Day
    assert judged.check("missing_sessions")["measured"] == 0


def test_sessions_before_the_first_bar_are_not_missing(daily):
    judged = daily(date(2024, 6, 3), date(2024, 12, 31)).judge()
    assert judged.check("missing_sessions")["measured"] == 0
    assert [year.year for year in judged.report.coverage] == [2024]


@settings(max_examples=40, deadline=None)
@given(dropped=st.sets(st.integers(1, 60), max_size=50))
def test_what_was_dropped_inside_is_what_is_missing(daily, dropped):
    series = daily(date(2024, 1, 2), date(2024, 4, 15))
    kept = np.array([i not in dropped for i in range(len(series))])
    judged = series.keep(kept).judge()
    assert judged.check("missing_sessions")["measured"] == len(dropped)
    assert sum(row["value"] for row in judged.findings("missing_sessions")) == len(dropped)
    [year] = judged.report.coverage
    assert (year.expected, year.found) == (len(kept), int(kept.sum()))
    assert 0 <= judged.report.score <= 1


def test_missing_minutes_are_given_with_their_closes(intraday):
    series = intraday()
    kept = np.ones(len(series), bool)
    kept[390 + 10 : 390 + 13] = False  # the second session, 09:40 to 09:43 New York
    judged = series.keep(kept).judge()
    check = judged.check("missing_minutes")
    assert check["measured"] == pytest.approx(3 / len(kept))
    [row] = judged.findings("missing_minutes")
    assert (row["session"], row["value"]) == (date(2024, 11, 26), 3)
    assert row["ts"] == datetime(2024, 11, 26, 14, 41, tzinfo=UTC)
    assert row["detail"] == "bars missing: 3, closes 2024-11-26 14:41 to 2024-11-26 14:43 UTC"


def test_an_absence_does_not_run_on_into_the_next_session(intraday):
    series = intraday()
    kept = np.ones(len(series), bool)
    kept[388:392] = False
    assert [row["value"] for row in series.keep(kept).judge().findings("missing_minutes")] == [2, 2]


def test_an_early_close_expects_fewer_minutes(intraday):
    series = intraday(date(2024, 11, 29), date(2024, 11, 29))  # the day after Thanksgiving, until 13:00
    assert len(series) == 210
    judged = series.judge()
    assert judged.check("missing_minutes")["measured"] == 0
    assert judged.report.coverage == (YearCoverage(2024, 210, 210),)


def test_minutes_before_the_first_bar_and_after_the_last_are_not_missing(intraday):
    series = intraday()
    kept = np.ones(len(series), bool)
    kept[:100] = kept[-50:] = False
    assert series.keep(kept).judge().check("missing_minutes")["measured"] == 0


@pytest.mark.parametrize(
    ("start", "end"), [(date(2024, 3, 7), date(2024, 3, 13)), (date(2024, 10, 31), date(2024, 11, 6))]
)
def test_minutes_are_complete_across_a_clock_change(intraday, start, end):
    judged = intraday(start, end).judge()
    assert judged.check("missing_minutes")["measured"] == 0
    assert judged.check("outside_session")["measured"] == 0


def test_hours_cut_from_the_open_and_hours_cut_on_the_clock_are_both_complete(intraday):
    from_open = intraday(resolution=Resolution.HOURLY)
    assert from_open.judge().check("missing_minutes")["measured"] == 0
    on_the_clock = intraday(resolution=Resolution.HOURLY)
    half_hour = 30 * 60_000_000
    last_of_session = np.r_[np.diff(on_the_clock.columns["session"]) > 0, True]
    full_day = on_the_clock.columns["session"] != 20056  # 2024-11-29 closes at 13:00, a whole hour
    shifted = on_the_clock.columns["ts"] - half_hour
    on_the_clock.columns["ts"] = np.where(last_of_session, on_the_clock.columns["ts"], shifted)
    assert full_day.sum() == len(full_day) - 4
    assert on_the_clock.judge().check("missing_minutes")["measured"] == 0


def test_a_lunch_break_is_not_missing(intraday):
    series = intraday(date(2024, 5, 7), date(2024, 5, 9), calendar="XHKG")
    assert len(series) == 3 * 330
    assert series.judge().check("missing_minutes")["measured"] == 0
    kept = np.ones(len(series), bool)
    kept[150] = False  # the first minute after lunch
    [row] = series.keep(kept).judge().findings("missing_minutes")
    assert row["ts"] == datetime(2024, 5, 7, 5, 1, tzinfo=UTC)


def test_a_session_without_any_minute_is_a_missing_session_not_missing_minutes(intraday):
    series = intraday()
    judged = series.keep(series.columns["session"] != 20054).judge()  # 2024-11-27
    assert judged.check("missing_minutes")["measured"] == 0
    assert judged.check("missing_sessions")["measured"] == 1
    [year] = judged.report.coverage
    assert year.expected - year.found == 390


def test_minutes_make_no_sense_for_daily_bars(daily):
    assert "missing_minutes" not in daily().judge().report.checks["rule"].to_pylist()


def test_bars_in_extended_hours_and_on_holidays_are_outside(daily):
    series = daily()
    series.columns["regular"][5] = False
    series.quarantine = [
        {"reason": "not_a_session", "detail": "no session", "close": 1.0, "stamp": datetime(2024, 12, 25, tzinfo=UTC)}
    ]
    judged = series.judge()
    assert judged.check("outside_session")["measured"] == 2
    assert judged.check("outside_session")["message"] == "2 bars outside regular hours, 1 of them quarantined."
    assert [row["ts"].date() for row in judged.findings("outside_session")] == [date(2023, 1, 10), date(2024, 12, 25)]


def test_a_series_ended_when_more_than_five_sessions_have_closed_since(daily):
    series = daily(date(2024, 1, 2), date(2024, 6, 3))
    series.today = date(2024, 6, 11)
    assert series.judge().check("series_ended")["measured"] == 5
    assert series.judge().check("series_ended")["passed"] is True
    series.today = date(2024, 6, 12)
    judged = series.judge()
    assert (judged.check("series_ended")["passed"], judged.check("series_ended")["severity"]) == (False, "INFO")
    assert judged.findings("series_ended")[0]["session"] == date(2024, 6, 3)


def test_the_end_of_a_series_is_unknown_where_the_calendar_ends(daily):
    series = daily()
    series.today = date(2200, 1, 1)
    check = series.judge().check("series_ended")
    assert (check["passed"], check["measured"]) == (None, None)


def test_coverage_names_the_thin_years(daily):
    series = daily(date(2022, 12, 1), date(2024, 12, 31))
    kept = np.ones(len(series), bool)
    kept[40:60] = False
    judged = series.keep(kept).judge()
    assert judged.report.coverage == (
        YearCoverage(2022, 21, 21),
        YearCoverage(2023, 250, 230),
        YearCoverage(2024, 252, 252),
    )
    assert judged.check("coverage_ratio")["measured"] == pytest.approx(0.92)
    assert [row["detail"] for row in judged.findings("coverage_ratio")] == ["2023: 230 of 250 bars"]


def test_without_bars_nothing_is_complete_or_missing_but_unknown(daily):
    series = daily()
    judged = series.keep(np.zeros(len(series), bool)).judge()
    assert judged.report.errors == ["no_data"]
    assert judged.report.coverage == ()
    assert judged.report.score is None
    for rule in ("missing_sessions", "coverage_ratio", "series_ended", "quality_score"):
        assert judged.check(rule)["passed"] is None
        assert judged.check(rule)["measured"] is None
