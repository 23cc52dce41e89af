"""Regimes are known before the day they name, and their returns make up the whole."""

import math

import numpy as np
import pandas as pd
import pytest

from research.metrics import Scale
from research.regimes import REGIMES, UNKNOWN_REGIME, by_regime, classify

DAYS = pd.bdate_range("2001-01-01", periods=500)


def closes(seed=7):
    return pd.Series(100 * np.cumprod(1 + np.random.default_rng(seed).normal(0.0005, 0.01, 500)), DAYS)


def test_the_first_two_hundred_sessions_are_unknown_and_the_next_is_known():
    regimes = classify(closes(), DAYS)

    assert set(regimes.iloc[:200]) == {UNKNOWN_REGIME}
    assert UNKNOWN_REGIME not in set(regimes.iloc[200:])


def test_bars_before_the_backtest_make_its_first_session_known():
    assert classify(closes(), DAYS[250:]).iloc[0] != UNKNOWN_REGIME


def test_a_session_is_named_by_the_close_before_it():
    calm = pd.Series(np.linspace(100, 200, 500), DAYS)
    crash = calm.copy()
    crash.iloc[-1] = 1.0

    assert classify(crash, DAYS).iloc[-1] == classify(calm, DAYS).iloc[-1]
    assert classify(crash, DAYS).iloc[-1].startswith("above_mean")


def test_trend_is_the_close_against_its_two_hundred_day_mean():
    rising = pd.Series(np.linspace(100, 200, 500), DAYS)
    falling = pd.Series(np.linspace(200, 100, 500), DAYS)

    assert all(name.startswith("above_mean") for name in classify(rising, DAYS).iloc[200:])
    assert all(name.startswith("below_mean") for name in classify(falling, DAYS).iloc[200:])


def test_turbulence_is_thirty_day_volatility_against_its_median():
    steps = np.where(np.arange(500) < 350, 0.001, 0.03) * np.where(np.arange(500) % 2, 1, -1)
    regimes = classify(pd.Series(100 * np.cumprod(1 + steps), DAYS), DAYS)

    assert regimes.iloc[300].endswith("low_volatility")
    assert regimes.iloc[-1].endswith("high_volatility")


def test_returns_of_all_regimes_compound_to_the_total_and_their_sessions_to_all():
    returns = pd.Series(np.random.default_rng(8).normal(0, 0.01, 500), DAYS)

    rows = by_regime(returns, classify(closes(), DAYS), closes().pct_change().fillna(0.0), Scale())

    assert list(rows) == list(REGIMES)
    assert sum(row.values["sessions"] for row in rows.values()) == 500
    product = math.prod(1 + row.values["total_return"] for row in rows.values() if row.values["sessions"])
    assert product == pytest.approx(float((1 + returns).prod()))


def test_a_regime_without_sessions_has_no_return_and_says_so():
    returns = pd.Series(0.01, DAYS[:10])

    rows = by_regime(returns, pd.Series(UNKNOWN_REGIME, DAYS[:10]), None, Scale())

    assert rows["above_mean_low_volatility"].values["total_return"] is None
    assert rows["above_mean_low_volatility"].reasons["total_return"] == "no session in this regime"
    assert rows[UNKNOWN_REGIME].reasons["benchmark_return"] == "no benchmark"
