"""Tests of the rules about single bars and single deliveries."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

DAYS = [datetime(2024, 1, day, tzinfo=UTC) for day in (2, 3, 4, 5)]


def test_a_bar_twice_in_one_delivery_is_a_duplicate(daily, raw_batch):
    series = daily()
    series.batches = [raw_batch([DAYS[0], DAYS[1], DAYS[1], DAYS[2], DAYS[1]])]
    judged = series.judge()
    assert (judged.check("duplicates")["measured"], judged.check("duplicates")["severity"]) == (2, "WARN")
    assert [row["ts"] for row in judged.findings("duplicates")] == [DAYS[1], DAYS[1]]


def test_a_bar_in_two_deliveries_is_an_overlap_not_a_duplicate(daily, raw_batch):
    series = daily()
    series.batches = [raw_batch(DAYS[:3]), raw_batch(DAYS[1:])]
    judged = series.judge()
    assert judged.check("duplicates")["measured"] == 0
    assert judged.check("non_monotonic_time")["measured"] == 0


def test_a_bar_after_a_later_one_is_out_of_order(daily, raw_batch):
    series = daily()
    series.batches = [raw_batch([DAYS[0], DAYS[2], DAYS[1], DAYS[3]])]
    judged = series.judge()
    assert judged.check("non_monotonic_time")["measured"] == 1
    assert judged.findings("non_monotonic_time")[0]["ts"] == DAYS[1]


def test_order_is_unknown_without_a_delivery(daily):
    judged = daily().judge()
    assert judged.check("duplicates")["passed"] is None
    assert judged.check("non_monotonic_time")["measured"] is None


@pytest.mark.parametrize(("column", "factor"), [("high", 0.9), ("low", 1.1)])
def test_a_high_or_low_that_contradicts_the_other_prices_blocks(daily, column, factor):
    series = daily()
    series.columns[column][7] *= factor
    judged = series.judge()
    check = judged.check("high_low_inconsistency")
    assert (check["measured"], check["passed"], check["severity"]) == (1, False, "ERROR")
    assert judged.report.blocking
    assert judged.findings("high_low_inconsistency")[0]["session"] == date(2023, 1, 12)


def test_single_precision_is_no_inconsistency(daily):
    series = daily()
    series.columns["high"] = np.maximum(series.columns["open"], series.columns["close"]) * (1 - 1e-7)
    assert series.judge().check("high_low_inconsistency")["measured"] == 0


def test_an_inconsistent_bar_in_quarantine_warns_and_does_not_block(daily):
    series = daily()
    series.quarantine = [
        {
            "stamp": DAYS[0],
            "open": 10.0,
            "high": 9.0,
            "low": 8.0,
            "close": 9.5,
            "reason": "ohlc_inconsistent",
            "detail": "high below open",
        }
    ]
    judged = series.judge()
    check = judged.check("high_low_inconsistency")
    assert (check["measured"], check["passed"], check["severity"]) == (1, False, "WARN")
    assert judged.findings("high_low_inconsistency")[0]["detail"] == "high below open"
    assert judged.report.errors == []


def test_one_bad_bar_that_stands_blocks_whatever_is_in_quarantine(daily):
    series = daily()
    series.columns["high"][7] *= 0.9
    series.quarantine = [
        {"stamp": DAYS[0], "open": 10.0, "high": 9.0, "low": 8.0, "close": 9.5, "reason": "r", "detail": "d"}
    ]
    check = series.judge().check("high_low_inconsistency")
    assert (check["measured"], check["severity"]) == (2, "ERROR")
    assert check["message"].endswith("1 of them quarantined.")


@pytest.mark.parametrize("price", [0.0, -5.0, np.nan, np.inf])
def test_an_impossible_price_blocks(daily, price):
    series = daily()
    series.columns["close"][7] = price
    judged = series.judge()
    assert judged.check("non_positive_or_nan_price")["measured"] == 1
    assert "non_positive_or_nan_price" in judged.report.errors


def test_bars_without_volume_are_a_share(daily):
    series = daily()
    series.columns["volume"][[3, 9]] = [0.0, np.nan]
    judged = series.judge()
    assert judged.check("zero_volume")["measured"] == pytest.approx(2 / len(series))
    assert len(judged.findings("zero_volume")) == 2
    assert judged.findings("zero_volume")[1]["value"] is None


def test_volume_is_unknown_where_the_vendor_gives_none(daily):
    series = daily()
    series.columns["volume"][:] = 0.0
    judged = series.judge()
    assert judged.check("zero_volume")["passed"] is None
    assert judged.check("volume_unit_change")["passed"] is None
    assert judged.report.score == 1.0


def test_quarantined_bars_are_shown_with_their_reason(daily):
    series = daily()
    rows = [("negative_volume", 0), ("duplicate", 1), ("unfinished", 2)]
    series.quarantine = [
        {"stamp": DAYS[i], "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "reason": r, "detail": "d"}
        for r, i in rows
    ]
    judged = series.judge()
    assert judged.check("quarantined")["measured"] == 1
    assert [row["detail"] for row in judged.findings("quarantined")] == ["negative_volume"]


def test_bars_from_the_future_block(daily):
    series = daily()
    series.today = date(2024, 12, 30)
    judged = series.judge()
    assert judged.report.errors == ["future_bars"]
    assert [row["session"] for row in judged.findings("future_bars")] == [date(2024, 12, 31)]


def test_a_bar_of_today_is_not_from_the_future(daily):
    series = daily()
    series.today = date(2024, 12, 31)
    assert series.judge().check("future_bars")["passed"] is True


def test_the_score_weighs_what_is_wrong(daily):
    series = daily()
    count = len(series)
    kept = np.ones(count, bool)
    kept[100:106] = False  # a gap, as it is longer than 5 sessions
    series.columns["volume"][:3] = 0.0
    series.columns["high"][20] *= 0.9
    score = series.keep(kept).judge().report.score
    bars = count - 6
    assert score == pytest.approx(1 - (0.4 * 6 + 0.3 * 1 + 0.2 * 3 + 0.1 * 100 * 1) / bars)


def test_a_score_below_nine_tenths_blocks(daily):
    series = daily()
    series.columns["volume"][: len(series) * 6 // 10] = 0.0
    judged = series.judge()
    assert judged.report.score == pytest.approx(0.88, abs=0.001)
    assert judged.report.errors == ["quality_score"]
