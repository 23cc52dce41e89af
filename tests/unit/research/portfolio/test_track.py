"""A portfolio looks back only, holds what it decided, and grows as its parts do."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.portfolio.options import Method, PortfolioError, PortfolioOptions
from research.portfolio.track import Rebalance, follow, plan_rebalances, shared_returns

DAYS = pd.bdate_range("2001-01-02", periods=300, name="session")


def frame(seed=1, count=3, sessions=300):
    rng = np.random.default_rng(seed)
    rows = rng.normal(0.0003, 0.01, (sessions, count)) * rng.uniform(0.3, 3.0, count)
    return pd.DataFrame(rows, DAYS[:sessions], [f"id{at}" for at in range(count)])


def options(**choices):
    return PortfolioOptions.of(**{"window": 60, **choices})


@pytest.mark.thorough
@given(st.sampled_from(Method), st.integers(61, 298), st.integers(0, 2**32 - 1))
def test_no_weight_depends_on_what_comes_after_it(method, cut, seed):
    before, changed = frame(), frame()
    changed.iloc[cut:] = np.random.default_rng(seed).normal(0, 0.05, changed.iloc[cut:].shape)
    chosen = options(method=method)
    one, other = (plan_rebalances(returns, chosen) for returns in (before, changed))
    past = [(a, b) for a, b in zip(one, other, strict=True) if a.position < cut]
    assert past
    assert all((a.weights == b.weights).all() for a, b in past)
    held = [follow(returns, plan).held for returns, plan in ((before, one), (changed, other))]
    assert held[0].loc[: DAYS[cut]].equals(held[1].loc[: DAYS[cut]])


def test_weights_are_set_when_the_window_is_full_and_then_at_each_months_end():
    returns = frame()
    plan = plan_rebalances(returns, options())
    days = [returns.index[one.position] for one in plan]
    assert plan[0].position == 59
    assert all(returns.index[one.position + 1].month != day.month for one, day in zip(plan[1:], days[1:], strict=True))
    assert len({day.to_period("M") for day in days[1:]}) == len(days[1:]) == 11


def test_measuring_begins_on_the_session_after_the_first_decision():
    returns = frame()
    track = follow(returns, plan_rebalances(returns, options()))
    assert track.returns.index[0] == returns.index[60]
    assert track.returns.index[-1] == returns.index[-1]


def test_in_sample_weights_come_from_all_sessions_and_are_measured_on_all():
    returns = frame()
    plan = plan_rebalances(returns, options(method="inverse_volatility", in_sample=True))
    assert len({tuple(one.weights) for one in plan}) == 1
    assert follow(returns, plan).returns.index.equals(returns.index)


def test_parts_grow_apart_between_rebalances():
    returns = pd.DataFrame({"a": [0.10, 0.10, 0.0], "b": [0.0, 0.0, 0.10]}, DAYS[:3])
    track = follow(returns, [Rebalance(-1, np.array([0.5, 0.5]))])
    assert (1 + track.returns).prod() == pytest.approx((1.21 + 1.10) / 2)
    assert track.held["a"].tolist() == pytest.approx([0.5, 1.1 / 2.1, 1.21 / 2.21])


def test_a_rebalance_takes_them_back():
    returns = pd.DataFrame({"a": [0.10, 0.10], "b": [0.0, 0.0]}, DAYS[:2])
    half = np.array([0.5, 0.5])
    track = follow(returns, [Rebalance(-1, half), Rebalance(0, half)])
    assert track.returns.tolist() == pytest.approx([0.05, 0.05])


@given(st.integers(0, 2**32 - 1), st.sampled_from(Method))
def test_a_portfolio_of_one_curve_twice_is_that_curve(seed, method):
    one = frame(seed, 1)["id0"]
    returns = pd.DataFrame({"a": one, "b": one})
    track = follow(returns, plan_rebalances(returns, options(method=method)))
    assert track.returns.to_numpy() == pytest.approx(one.iloc[60:].to_numpy(), abs=1e-12)


def test_a_part_that_held_nothing_keeps_the_weights_before_and_says_why():
    returns = frame(count=2)
    returns.iloc[:80, 0] = 0.0
    plan = plan_rebalances(returns, options(method="risk_parity"))
    assert plan[0].weights.tolist() == [0.5, 0.5]
    assert plan[0].note == "risk_parity needs returns that vary, and a position's do not; the weights stay."
    assert plan[-1].note is None


def test_a_session_that_one_part_lacks_is_part_of_the_return_to_the_next():
    one = pd.Series([0.1, 0.1, 0.1], DAYS[:3])
    other = one.drop(DAYS[1])
    shared = shared_returns({"a": one, "b": other})
    assert shared["a"].tolist() == pytest.approx([0.1, 0.21])
    assert shared["b"].tolist() == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize(
    ("returns", "sentence"),
    [
        ({"a": pd.Series([0.1], DAYS[:1]), "b": pd.Series([0.1], DAYS[5:6])}, "0 sessions are shared"),
        ({"a": pd.Series([-1.0, 0.0], DAYS[:2]), "b": pd.Series([0.1, 0.1], DAYS[:2])}, "a lost everything"),
    ],
)
def test_what_cannot_be_combined_is_refused(returns, sentence):
    with pytest.raises(PortfolioError, match=sentence):
        shared_returns(returns)


def test_too_few_sessions_for_the_window_are_refused():
    with pytest.raises(PortfolioError, match="50 shared sessions are too few for a window of 60"):
        plan_rebalances(frame(sessions=50), options())
