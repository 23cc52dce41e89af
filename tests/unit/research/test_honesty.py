"""Statistics of a study: published numbers, and what they say of noise and of an edge."""

import math

import numpy as np
import pytest

from research.honesty import (
    effective_trials,
    expected_best_sharpe,
    minimum_track_record,
    moments,
    neighbours,
    overfitting_probability,
    probabilistic_sharpe,
    resampled,
    sharpe,
    superior_ability,
)


def noise(seed, trials=30, sessions=640):
    return np.random.default_rng(seed).normal(0.0, 0.01, (trials, sessions))


def edge(seed):
    returns = noise(seed)
    returns[7] += 0.003
    return returns


def test_the_deflated_sharpe_ratio_of_the_paper():
    """SR 2.5 over 250 sessions, 100 trials of variance 0.5, 1,250 sessions, skewness -3, kurtosis 10."""
    luck = expected_best_sharpe(100, 0.5 / 250)
    assert luck == pytest.approx(0.1131720, abs=1e-7)
    assert probabilistic_sharpe(2.5 / math.sqrt(250), luck, 1250, -3.0, 10.0) == pytest.approx(0.9003968, abs=1e-7)


def test_the_track_record_is_where_the_probability_is_95_percent():
    needed = minimum_track_record(0.1, 0.02, -0.5, 4.0)
    assert probabilistic_sharpe(0.1, 0.02, needed, -0.5, 4.0) == pytest.approx(0.95)
    assert minimum_track_record(0.02, 0.02, 0.0, 3.0) == math.inf


def test_one_trial_owes_nothing_to_luck():
    assert expected_best_sharpe(1, 0.1) == expected_best_sharpe(50, 0.0) == 0.0


def test_returns_that_do_not_vary_have_no_ratio():
    assert sharpe(np.zeros((2, 50))).tolist() == [0.0, 0.0]
    assert moments(np.zeros(50)) == (0.0, 3.0)


def test_overfitting_of_noise_is_a_half_and_of_an_edge_nothing():
    rates = [overfitting_probability(noise(seed)) for seed in range(12)]
    assert 0.35 < np.mean(rates) < 0.65
    assert max(overfitting_probability(edge(seed)) for seed in range(5)) < 0.01


def test_equal_trials_are_one():
    assert overfitting_probability(np.repeat(noise(0, 1), 40, axis=0)) is None
    assert effective_trials(np.repeat(noise(0, 1), 40, axis=0)) == pytest.approx(1.0)
    assert effective_trials(noise(0, 40)) > 30
    assert overfitting_probability(noise(0, 5, 20)) is None


def test_superior_ability_is_rare_in_noise_and_sure_of_an_edge():
    values = [superior_ability(noise(seed), samples=200) for seed in range(30)]
    assert sum(value < 0.1 for value in values) <= 7
    assert max(superior_ability(edge(seed), samples=200) for seed in range(5)) < 0.01
    assert superior_ability(np.zeros((3, 100))) == 1.0


def test_drawing_again_is_seeded_and_tells_losses():
    good, bad = np.full(100, 0.001), np.full(100, -0.001)
    assert resampled(good)["chance_of_loss"] == 0.0
    assert resampled(bad)["chance_of_loss"] == 1.0
    assert resampled(bad)["max_drawdown_95"] == pytest.approx(0.999**100 - 1.0)
    assert resampled(noise(1)[0], seed=4) == resampled(noise(1)[0], seed=4) != resampled(noise(1)[0], seed=5)


def test_neighbours_are_the_nearest_in_units_of_each_range():
    params = [{"a": a, "b": b} for a in (1, 2, 3, 4) for b in (100, 200, 300)]
    values = np.arange(12.0)
    found = neighbours(params, values, 4, most=4)  # a=2, b=200: one step of a is a third, one of b a half
    assert sorted(found.tolist()) == [1.0, 3.0, 5.0, 7.0]
    assert neighbours(params[:1], values[:1], 0).tolist() == []
