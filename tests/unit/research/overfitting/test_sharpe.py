"""Sharpe ratios and their luck: the papers' numbers, and laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import StatisticsError
from research.measured import Missing
from research.metrics import probabilistic_sharpe_ratio
from research.overfitting import (
    Moments,
    deflated_sharpe,
    expected_maximum,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
    sharpe_ratios,
)

PAPER = Moments(
    2.5 / math.sqrt(250), -3.0, 10.0, 1250
)  # Bailey and Lopez de Prado (2014), section "a numerical example"


def test_the_luck_of_a_hundred_trials_is_the_papers():
    assert expected_maximum(100, 0.5 / 250) == pytest.approx(0.1131720, abs=5e-8)


def test_the_deflated_ratio_is_the_papers():
    assert deflated_sharpe(PAPER, 100, 0.5 / 250) == pytest.approx(0.9003968, abs=5e-8)


def test_one_trial_has_no_luck():
    assert expected_maximum(1, 0.5) == 0.0
    assert deflated_sharpe(PAPER, 1, 0.5) == probabilistic_sharpe(PAPER)


def test_a_ratio_equal_to_the_threshold_is_above_it_half_of_the_time():
    assert probabilistic_sharpe(PAPER, PAPER.sharpe) == 0.5


def test_a_track_record_of_its_minimum_length_is_just_sure_enough():
    needed = minimum_track_record(PAPER, 0.05)
    enough = Moments(PAPER.sharpe, PAPER.skew, PAPER.kurtosis, round(needed))
    assert probabilistic_sharpe(enough, 0.05) == pytest.approx(0.95, abs=1e-3)


def test_no_track_record_is_long_enough_for_a_ratio_below_the_threshold():
    assert isinstance(minimum_track_record(PAPER, 0.2), Missing)


def test_moments_of_a_series_by_hand():
    found = moments(np.array([0.01, -0.01, 0.03, 0.01]))
    assert found.sharpe == pytest.approx(0.01 / math.sqrt(0.0008 / 3))
    assert (found.skew, found.kurtosis, found.count) == (pytest.approx(0.0), pytest.approx(2.0), 4)


@pytest.mark.parametrize("returns", [np.array([]), np.array([0.01]), np.full(9, 0.01), np.array([0.1, np.nan, -0.1])])
def test_returns_that_do_not_vary_or_are_no_numbers_have_no_moments(returns):
    assert isinstance(moments(returns), Missing)


def test_a_row_that_does_not_vary_has_no_ratio():
    assert np.isnan(sharpe_ratios(np.array([[0.0, 0.0, 0.0], [0.1, 0.2, 0.3]]))).tolist() == [True, False]


@given(st.floats(0, 1e300), st.floats(0, 1e300))
def test_luck_is_never_below_that_of_a_single_trial_however_few_or_many_there_are(one, other):
    few, many = sorted((one, other))
    assert 0.0 <= expected_maximum(few, 0.002) <= expected_maximum(many, 0.002) < 2.0


@given(st.floats(2, 1e5), st.floats(1.01, 10), st.floats(1e-6, 1e-2))
def test_more_trials_have_more_luck(trials, factor, variance):
    assert expected_maximum(trials * factor, variance) > expected_maximum(trials, variance)


@given(st.floats(2, 1e4), st.floats(2, 1e4))
def test_more_trials_deflate_more(one, other):
    few, many = sorted((one, other))
    assert deflated_sharpe(PAPER, many, 0.002) <= deflated_sharpe(PAPER, few, 0.002)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_scaling_returns_changes_neither_ratio_nor_shape(seed, scale):
    returns = np.random.default_rng(seed).normal(0.001, 0.01, 60)
    one, other = moments(returns), moments(returns * scale)
    for name in ("sharpe", "skew", "kurtosis"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("trials", "variance"), [(math.nan, 0.1), (5, math.nan), (5, -0.1), (math.inf, 0.1)])
def test_luck_of_what_is_no_number_is_refused(trials, variance):
    with pytest.raises(StatisticsError, match="must be numbers, the variance not below 0"):
        expected_maximum(trials, variance)


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan])
def test_a_confidence_is_between_none_and_certainty(confidence):
    with pytest.raises(StatisticsError, match=f"confidence: {confidence} must be above 0 and below 1."):
        minimum_track_record(PAPER, confidence=confidence)


def test_the_figure_of_a_backtest_is_this_one():
    returns = np.random.default_rng(1).normal(0.001, 0.01, 300)
    assert probabilistic_sharpe_ratio(returns, 0.02) == probabilistic_sharpe(moments(returns), 0.02)


def test_over_noise_a_ratio_is_found_sure_as_often_as_it_says():
    """The rate of 95 % answers is 5 % whatever the shape of returns; a point is three errors of 4,000 seeds."""
    generator = np.random.default_rng(5)
    for draws in (generator.normal(size=(4_000, 500)), generator.exponential(size=(4_000, 500)) - 1.0):
        sure = np.mean([probabilistic_sharpe(moments(row)) > 0.95 for row in draws])
        assert sure == pytest.approx(0.05, abs=0.012)


def test_after_its_minimum_track_record_an_edge_is_found_about_half_of_the_time():
    """At that length the estimate of such an edge lies on either side of what is needed."""
    generator = np.random.default_rng(6)
    edge = 0.1
    length = round(minimum_track_record(Moments(edge, 0.0, 3.0, 100)))
    found = [probabilistic_sharpe(moments(row)) > 0.95 for row in generator.normal(edge, 1.0, (2_000, length))]
    assert np.mean(found) == pytest.approx(0.5, abs=0.04)
