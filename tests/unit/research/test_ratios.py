"""Our ratios against empyrical's own functions, bit for bit."""

import math

import empyrical
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research import ratios

RETURNS = st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=300).map(np.array)
RATES = st.sampled_from([0.0, 0.0001, 0.02 / 252])
SESSIONS = st.sampled_from([252, 365])


def same(ours: float, theirs: float) -> bool:
    return ours == theirs or (math.isnan(ours) and math.isnan(theirs))


@settings(max_examples=100, deadline=None)
@given(RETURNS, RATES, SESSIONS)
def test_sharpe_and_sortino_are_empyricals(returns, rate, sessions):
    sharpe = empyrical.sharpe_ratio(returns, risk_free=rate, annualization=sessions)
    sortino = empyrical.sortino_ratio(returns, required_return=rate, annualization=sessions)

    assert same(ratios.sharpe_ratio(returns, rate, sessions), sharpe)
    assert same(ratios.sortino_ratio(returns, rate, sessions), sortino)


@settings(max_examples=100, deadline=None)
@given(RETURNS, SESSIONS)
def test_volatility_yearly_return_and_drawdown_are_empyricals(returns, sessions):
    assert ratios.annual_volatility(returns, sessions) == empyrical.annual_volatility(returns, annualization=sessions)
    assert ratios.annual_return(returns, sessions) == empyrical.annual_return(returns, annualization=sessions)
    assert ratios.max_drawdown(returns) == empyrical.max_drawdown(returns)


@settings(max_examples=100, deadline=None)
@given(RETURNS)
def test_the_tails_are_empyricals(returns):
    assert ratios.value_at_risk(returns) == empyrical.value_at_risk(returns, cutoff=0.05)
    assert ratios.conditional_value_at_risk(returns) == empyrical.conditional_value_at_risk(returns, cutoff=0.05)
    with np.errstate(divide="ignore", invalid="ignore"):
        assert same(ratios.tail_ratio(returns), float(empyrical.tail_ratio(returns)))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)), min_size=3, max_size=300), RATES, SESSIONS)
def test_alpha_and_beta_are_empyricals(pairs, rate, sessions):
    ours, market = np.array(pairs).T.copy()

    alpha, beta = ratios.alpha_beta(ours, market, rate, sessions)

    theirs = empyrical.alpha_beta(ours, market, risk_free=rate, annualization=sessions)
    assert (same(alpha, float(theirs[0])), same(beta, float(theirs[1]))) == (True, True)


@pytest.mark.parametrize("count", [2, 3, 1287, 5000])
def test_long_series_are_added_in_empyricals_order(count):
    returns = np.random.default_rng(count).normal(0.0003, 0.01, count)

    assert ratios.sharpe_ratio(returns, 0.0001, 252) == empyrical.sharpe_ratio(
        returns, risk_free=0.0001, annualization=252
    )
    assert ratios.annual_return(returns, 252) == empyrical.annual_return(returns, annualization=252)
