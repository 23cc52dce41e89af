"""What a trial is worth."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.metric_catalog import METRICS, Better
from research.study import Objective, Penalties

PLAIN = Penalties()


def test_the_direction_comes_from_the_catalog():
    assert Objective.parse("sharpe_ratio", PLAIN).better is Better.HIGHER
    assert Objective.parse("volatility", PLAIN).better is Better.LOWER
    assert Objective.parse("max_drawdown", PLAIN).better is Better.HIGHER  # a negative fraction: -0.1 beats -0.5


def test_a_weighted_sum_is_what_it_says():
    objective = Objective.parse("0.6*sharpe_ratio + 0.4*calmar_ratio - 2 * volatility", PLAIN)
    score = objective.score({"sharpe_ratio": 1.0, "calmar_ratio": 2.0, "volatility": 0.1})
    assert score.value == pytest.approx(0.6 + 0.8 - 0.2)
    assert score.reason is None


def test_what_cannot_be_computed_is_no_value_with_a_reason():
    score = Objective.parse("sharpe_ratio", PLAIN).score({"sharpe_ratio": None})
    assert (score.value, score.plain, score.reason) == (None, None, "sharpe_ratio cannot be computed")
    assert Objective.parse("sharpe_ratio", PLAIN).score({"sharpe_ratio": -math.inf}).value is None


def test_penalties_keep_the_plain_value_and_say_why():
    limits = Penalties(min_trades=100, max_drawdown=0.2, max_turnover=10)
    metrics = {"sharpe_ratio": 2.0, "trades": 50, "max_drawdown": -0.3, "turnover": 5.0}
    score = Objective.parse("sharpe_ratio", limits).score(metrics)
    assert score.plain == 2.0
    assert score.penalty == pytest.approx((0.5 + 0.5) * 2.0)
    assert score.value == pytest.approx(score.plain - score.penalty)
    assert score.reason == "50 trades, fewer than 100; a drawdown of 0.3000, more than 0.2"
    lower = Objective.parse("volatility", limits).score({**metrics, "volatility": 0.2})
    assert lower.value > lower.plain


@given(st.floats(-5, 5), st.integers(0, 200), st.floats(-0.99, 0.0))
def test_a_penalty_never_makes_a_trial_better(sharpe, trades, depth):
    limits = Penalties(min_trades=100, max_drawdown=0.2)
    score = Objective.parse("sharpe_ratio", limits).score(
        {"sharpe_ratio": sharpe, "trades": trades, "max_drawdown": depth}
    )
    assert score.value <= score.plain
    assert (score.penalty == 0) == (trades >= 100 and -depth <= 0.2)


@pytest.mark.parametrize("name", [key for key, info in METRICS.items() if info.better is Better.LOWER][:3])
def test_every_metric_that_is_better_lower_is_minimised(name):
    assert Objective.parse(name, PLAIN).better is Better.LOWER
