"""The probability of backtest overfitting: by hand, laws, and what it says of noise and of an edge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import StatisticsError
from research.measured import Missing
from research.overfitting import probability_of_overfitting


def noise(seed, trials=20, periods=320):
    return np.random.default_rng(seed).normal(0.0, 0.01, (trials, periods))


def test_two_trials_that_take_turns_by_hand():
    """Four parts; A earns in the first two, B in the last two: whoever wins inside loses outside, in all six splits.

    In the four mixed splits both have earned the same inside and outside, so nothing is known: rank 1.5 of 2.
    """
    good, bad = [0.03, 0.01], [-0.01, -0.03]
    returns = np.array([good * 2 + bad * 2, bad * 2 + good * 2])
    found = probability_of_overfitting(returns, 4)
    assert found.splits == 6
    assert sorted(np.round(found.logits, 6)) == pytest.approx([np.log(1 / 2)] * 2 + [0.0] * 4, abs=1e-6)
    assert found.probability == pytest.approx(2 / 6 + 0.5 * 4 / 6)
    assert found.loss == pytest.approx(2 / 6)


def test_sixteen_parts_are_split_in_12870_ways():
    assert probability_of_overfitting(noise(0)).splits == 12_870


def test_a_trial_that_is_always_best_is_never_overfitted():
    returns = noise(1)
    returns[7] += 0.02
    found = probability_of_overfitting(returns)
    assert (found.probability, found.loss) == (0.0, 0.0)


def test_trials_that_are_all_the_same_tell_nothing():
    assert probability_of_overfitting(np.tile(noise(2, 1), (10, 1))).probability == 0.5


@pytest.mark.parametrize(("returns", "why"), [(noise(3, 1), "fewer than 2"), (noise(3, 5, 20), "too few for 16 parts")])
def test_what_cannot_be_split_is_told(returns, why):
    found = probability_of_overfitting(returns)
    assert isinstance(found, Missing)
    assert why in found.reason


def test_an_odd_number_of_parts_is_refused():
    with pytest.raises(StatisticsError, match="parts: 7 must be an even number"):
        probability_of_overfitting(noise(0), 7)


def test_a_return_that_is_no_number_is_refused():
    returns = noise(0)
    returns[3, 5] = np.nan
    with pytest.raises(StatisticsError, match="trial 3 has a return that is no number"):
        probability_of_overfitting(returns)


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.permutations(range(20)))
def test_the_order_of_the_trials_does_not_matter(seed, order):
    one, other = noise(seed), noise(seed)[list(order)]
    assert probability_of_overfitting(one, 8).probability == probability_of_overfitting(other, 8).probability


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_the_scale_of_returns_does_not_matter(seed, scale):
    one = probability_of_overfitting(noise(seed), 8)
    other = probability_of_overfitting(noise(seed) * scale, 8)
    assert one.probability == pytest.approx(other.probability, abs=0.03)


def test_reversing_history_does_not_matter():
    assert probability_of_overfitting(noise(4)).probability == probability_of_overfitting(noise(4)[:, ::-1]).probability


def test_copies_of_the_winner_do_not_make_it_look_overfitted():
    """They share their mean rank, which stays above that of the others."""
    returns = noise(5)
    returns[7] += 0.02
    assert probability_of_overfitting(np.vstack([returns, np.tile(returns[7], (60, 1))])).probability == 0.0


def test_of_very_many_trials_some_stand_for_all():
    found = probability_of_overfitting(noise(6, 3_000), 8)
    assert found.trials == 1_000
    assert 0.0 < found.probability < 1.0


def test_noise_overfits_half_of_the_time_on_average():
    """The mean of 60 seeds has an error of about 0.03."""
    found = [probability_of_overfitting(noise(seed, 40, 400), 8).probability for seed in range(60)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)


def test_leverage_of_each_trial_changes_nothing():
    leverage = np.random.default_rng(1).uniform(0.1, 10.0, (20, 1))
    one, other = probability_of_overfitting(noise(10), 8), probability_of_overfitting(noise(10) * leverage, 8)
    assert other.logits.tolist() == pytest.approx(one.logits.tolist())
    assert (other.probability, other.loss) == (one.probability, one.loss)
    assert other.slope == pytest.approx(one.slope)


def test_the_order_of_trials_changes_nothing_even_where_several_are_equal():
    returns = noise(11, 12)
    returns[:3, :200] = 0.0  # do not trade in most halves: equal there, different elsewhere
    returns[:, :200] -= 0.002
    returns[:3, :200] = 0.0
    order = np.random.default_rng(2).permutation(12)
    one, other = probability_of_overfitting(returns, 8), probability_of_overfitting(returns[order], 8)
    assert other.logits.tolist() == pytest.approx(one.logits.tolist())
    assert other.probability == one.probability


def test_doubling_every_trial_says_the_same():
    one, other = (
        probability_of_overfitting(noise(10), 8),
        probability_of_overfitting(np.repeat(noise(10), 2, axis=0), 8),
    )
    assert other.probability == pytest.approx(one.probability)
