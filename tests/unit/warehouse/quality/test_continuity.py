"""Tests of the rules about how one bar follows another."""

from datetime import UTC, date, datetime

import numpy as np
import pytest


def test_a_stale_feed_is_a_flat_run(daily):
    series = daily()
    for name in ("open", "high", "low", "close"):
        series.columns[name][30:35] = 50.0
    judged = series.judge()
    assert (judged.check("flat_run")["measured"], judged.check("flat_run")["passed"]) == (5, False)
    [row] = judged.findings("flat_run")
    assert (row["value"], row["session"]) == (5, date(2023, 2, 15))


def test_four_unchanged_days_and_equal_closes_are_no_flat_run(daily):
    series = daily()
    for name in ("open", "high", "low", "close"):
        series.columns[name][30:34] = 50.0
    series.columns["close"][60:70] = series.columns["low"][60:70].max()
    assert series.judge().check("flat_run")["measured"] == 4


def test_minutes_may_stand_still_longer_than_days(intraday):
    series = intraday()
    for name in ("open", "high", "low", "close"):
        series.columns[name][30:50] = series.columns["close"][30]
    assert series.judge().check("flat_run")["passed"] is True


def test_a_spike_that_the_next_bar_undoes_is_found(daily):
    series = daily()
    series.columns["close"][200] *= 1.25
    series.columns["high"][200] *= 1.3
    judged = series.judge()
    assert judged.check("spike_with_reversal")["passed"] is False
    [row] = judged.findings("spike_with_reversal")
    assert row["session"] == date(2023, 10, 19)
    assert row["value"] > 10


def test_a_crash_that_stays_is_no_spike(daily):
    assert daily().scale(200, 0.5).judge().check("spike_with_reversal")["passed"] is True


def test_a_spike_of_which_half_stays_is_a_move(daily):
    series = daily().scale(200, 1.25)
    series.columns["close"][200] *= 1.28
    series.columns["high"][200] *= 1.3
    assert series.judge().check("spike_with_reversal")["passed"] is True


def test_a_quiet_month_does_not_turn_an_ordinary_move_into_a_spike(daily):
    series = daily()
    steps = np.r_[0.0, np.diff(np.log(series.columns["close"]))]
    steps[128:192] *= 0.02
    steps[150:152] = [0.03, -0.03]
    close = 100 * np.exp(np.cumsum(steps))
    series.columns.update(open=close.copy(), high=close * 1.001, low=close * 0.999, close=close)
    assert series.judge().check("spike_with_reversal")["measured"] == pytest.approx(6, abs=2)


def test_a_spike_in_a_wild_month_is_measured_by_that_month(daily):
    series = daily()
    wild = np.where(np.arange(len(series)) % 2, 1.06, 1.0)
    wild[:192] = wild[256:] = 1.0
    for name in ("open", "high", "low", "close"):
        series.columns[name] *= wild
    assert series.judge().check("spike_with_reversal")["passed"] is True


def test_a_spike_is_unknown_in_a_short_series(daily):
    assert daily(date(2024, 1, 2), date(2024, 2, 1)).judge().check("spike_with_reversal")["measured"] is None


def test_a_gap_without_an_action_is_a_question_not_an_error(daily):
    series = daily().scale(200, 0.55)
    series.columns["volume"][200] *= 9
    judged = series.judge()
    check = judged.check("gap_without_action")
    assert (check["passed"], check["severity"]) == (False, "WARN")
    [row] = judged.findings("gap_without_action")
    assert row["session"] == date(2023, 10, 19)
    assert row["value"] == pytest.approx(-0.45, abs=0.02)
    assert judged.report.errors == []


def test_a_split_that_the_factor_explains_is_no_gap(daily):
    series = daily().scale(200, 0.5)
    series.columns["split_factor"][:200] = 0.5
    judged = series.judge()
    assert judged.check("gap_without_action")["passed"] is True
    assert judged.check("unexplained_scale_change")["passed"] is True


@pytest.mark.parametrize("ratio", [0.5, 2.0, 1 / 3, 0.1, 0.01, 100.0])
def test_a_round_lasting_step_on_ordinary_volume_is_another_scale(daily, ratio):
    series = daily().scale(200, ratio)
    series.columns["volume"][200:] /= ratio
    judged = series.judge()
    assert "unexplained_scale_change" in judged.report.errors
    [row] = judged.findings("unexplained_scale_change")
    assert row["session"] == date(2023, 10, 19)
    assert row["value"] == pytest.approx(ratio, rel=0.05)


def test_a_price_that_changes_unit_while_volume_does_not_is_another_scale(daily):
    assert "unexplained_scale_change" in daily().scale(200, 0.01).judge().report.errors


def test_a_crash_to_a_half_on_heavy_volume_is_not_another_scale(daily):
    series = daily().scale(200, 0.5)
    series.columns["volume"][200] *= 12
    assert series.judge().check("unexplained_scale_change")["passed"] is True


def test_a_step_that_does_not_last_is_not_another_scale(daily):
    series = daily().scale(200, 0.5)
    series.scale(202, 2.0)
    assert series.judge().check("unexplained_scale_change")["passed"] is True


def test_another_price_level_after_a_long_absence_suggests_another_company(daily):
    series = daily().scale(300, 4.3)
    kept = np.ones(len(series), bool)
    kept[200:300] = False
    judged = series.keep(kept).judge()
    assert (judged.check("ticker_reuse")["measured"], judged.check("ticker_reuse")["passed"]) == (100, False)
    [row] = judged.findings("ticker_reuse")
    assert row["session"] == date(2024, 3, 14)
    assert row["detail"].startswith("100 sessions without a bar, then ")
    assert judged.check("gap_without_action")["passed"] is True


def test_the_same_level_after_a_long_absence_is_no_reuse(daily):
    series = daily()
    kept = np.ones(len(series), bool)
    kept[200:300] = False
    assert series.keep(kept).judge().check("ticker_reuse")["measured"] == 0


def test_volume_that_changes_from_lots_to_shares_is_found(daily):
    series = daily()
    series.columns["volume"][250:] *= 100
    judged = series.judge()
    assert judged.check("volume_unit_change")["measured"] == pytest.approx(100, rel=0.2)
    [row] = judged.findings("volume_unit_change")
    assert row["session"] == date(2024, 1, 2)


def test_a_large_split_does_not_change_the_unit_of_volume(daily):
    series = daily().scale(250, 1 / 50)
    series.columns["volume"][250:] *= 50
    series.columns["split_factor"][:250] = 1 / 50
    assert series.judge().check("volume_unit_change")["passed"] is True


def test_revisions_are_counted_by_bar_and_shown_by_field(daily, raw_batch):
    series = daily()
    stamps = [datetime(2024, 1, 2, tzinfo=UTC)]
    series.batches = [raw_batch(stamps), raw_batch(stamps)]
    moment = datetime(2024, 1, 2, 21, tzinfo=UTC)
    series.revisions = [
        {"symbol": "XYZ", "ts": moment, "field": field, "old": 1.0, "new": 2.5} for field in ("close", "volume")
    ]
    judged = series.judge()
    check = judged.check("vendor_revisions")
    assert (check["measured"], check["severity"], check["offending"]) == (1, "INFO", 2)
    assert judged.findings("vendor_revisions")[0]["detail"] == "close was 1, became 2.5"


def test_revisions_are_unknown_after_one_delivery(daily, raw_batch):
    series = daily()
    series.batches = [raw_batch([datetime(2024, 1, 2, tzinfo=UTC)])]
    assert series.judge().check("vendor_revisions")["passed"] is None


def test_one_bar_is_enough_for_a_report(daily):
    judged = daily(date(2024, 1, 2), date(2024, 1, 2)).judge()
    assert judged.report.errors == []
    assert judged.check("gap_without_action")["passed"] is None
    assert judged.check("flat_run")["measured"] == 1
