"""Sampling at session closes: minute bars and daily bars of the same money give the same daily returns."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from research.daily import closes_by_session, compound, daily_returns, session_closes
from research.errors import ResearchError
from research.metrics import Scale, return_metrics
from warehouse.schema import UTC_US


def bars(stamps, sessions, closes):
    return pa.table(
        {
            "ts": pa.array(stamps, UTC_US),
            "session": pa.array(sessions, pa.date32()),
            "close": pa.array(closes, pa.float64()),
        }
    )


def equity(stamps, sessions, values):
    return pa.table(
        {
            "ts": pa.array(stamps, UTC_US),
            "session": pa.array(sessions, pa.date32()),
            "equity": pa.array(values, pa.float64()),
        }
    )


def close_of(day):
    return datetime(2024, 3, day, 20, 0, tzinfo=UTC)


def test_a_minute_equity_curve_has_the_sharpe_of_its_session_closes():
    rng = np.random.default_rng(5)
    days = [d for d in range(4, 29) if datetime(2024, 3, d, tzinfo=UTC).weekday() < 5]
    stamps = [close_of(d) - timedelta(minutes=m) for d in days for m in (120, 60, 0)]
    sessions = [stamp.date() for stamp in stamps]
    values = list(100 * np.cumprod(1 + rng.normal(0, 0.01, len(stamps))))

    minutes = session_closes(equity(stamps, sessions, values))
    daily = session_closes(equity(stamps[2::3], sessions[2::3], values[2::3]))

    pd.testing.assert_series_equal(minutes, daily)
    assert (
        return_metrics(minutes, 100.0, Scale()).values["sharpe_ratio"]
        == return_metrics(daily, 100.0, Scale()).values["sharpe_ratio"]
    )


def test_the_session_is_the_bars_own_not_the_utc_date():
    stamps = [datetime(2024, 3, 4, 23, tzinfo=UTC), datetime(2024, 3, 5, 1, tzinfo=UTC)]

    closes = session_closes(equity(stamps, [datetime(2024, 3, 5, tzinfo=UTC).date()] * 2, [1.0, 2.0]))

    assert list(closes) == [2.0]
    assert list(closes.index) == [pd.Timestamp("2024-03-05")]


def test_no_equity_is_an_error():
    with pytest.raises(ResearchError, match="no equity rows"):
        session_closes(equity([], [], []))


def test_daily_returns_start_at_the_start_value_or_leave_the_first_session_out():
    closes = pd.Series([110.0, 121.0], pd.bdate_range("2024-03-04", periods=2))

    assert list(daily_returns(closes, 100.0)) == pytest.approx([0.1, 0.1])
    assert list(daily_returns(closes)) == pytest.approx([0.1])
    assert compound(daily_returns(closes, 100.0)) == pytest.approx(0.21)


def test_closes_by_session_take_the_last_bar_of_each():
    stamps = [close_of(4) - timedelta(hours=1), close_of(4), close_of(5)]

    closes = closes_by_session(bars(stamps, [s.date() for s in stamps], [1.0, 2.0, 3.0]))

    assert list(closes) == [2.0, 3.0]
