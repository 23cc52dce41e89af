"""White's reality check and Hansen's SPA."""

import numpy as np
import pytest

from research.errors import StatisticsError
from research.measured import Missing
from research.overfitting import superior_ability


def noise(seed, trials=20, periods=500):
    return np.random.default_rng(seed).normal(0.0, 0.01, (trials, periods))


def test_the_consistent_value_lies_between_its_bounds():
    for seed in range(8):
        found = superior_ability(noise(seed), samples=300)
        assert found.spa_lower <= found.spa <= found.spa_upper


def test_an_edge_is_seen():
    returns = noise(1)
    returns[3] += 0.002
    found = superior_ability(returns)
    assert found.spa < 0.01
    assert found.reality_check < 0.01


def test_hopeless_trials_blunt_whites_test_and_not_hansens():
    returns = noise(2, 5)
    returns[0] += 0.0012
    hopeless = np.random.default_rng(3).normal(-0.01, 0.03, (200, 500))
    alone, beside = superior_ability(returns), superior_ability(np.vstack([returns, hopeless]))
    assert beside.reality_check > alone.reality_check + 0.02
    assert beside.spa == pytest.approx(alone.spa, abs=0.02)


def test_a_benchmark_that_earns_as_much_takes_the_edge_away():
    returns = noise(4) + 0.002
    market = noise(5, 1)[0] + 0.002
    assert superior_ability(returns).spa < 0.01
    assert superior_ability(returns, market, samples=500).spa > 0.1


def test_losers_have_no_chance():
    assert superior_ability(noise(6) - 0.005).spa == 1.0


def test_a_seed_gives_the_same_again():
    assert superior_ability(noise(7), seed=3) == superior_ability(noise(7), seed=3)


@pytest.mark.parametrize("returns", [np.zeros((3, 100)), noise(1, 3, 20)])
def test_nothing_to_test_is_told(returns):
    assert isinstance(superior_ability(returns), Missing)


@pytest.mark.thorough
def test_the_luck_of_very_many_trials_is_not_forgotten():
    """Of 1,500 worthless trials a part with the best of all would be found superior in a third of the seeds.

    The rates at 5 % are 6.5 % (SPA) and 3 % (reality check) over 200 seeds; these are 40.
    """
    found = [superior_ability(noise(seed, 1_500), samples=200) for seed in range(100, 140)]
    assert {one.trials for one in found} == {1_500}
    assert 0.35 < np.mean([one.spa for one in found]) < 0.65
    assert np.mean([one.spa < 0.05 for one in found]) <= 0.15
    assert np.mean([one.reality_check < 0.05 for one in found]) <= 0.15


def test_the_order_and_the_scale_of_the_trials_do_not_matter():
    returns = noise(8, 700, 120)
    one = superior_ability(returns, samples=100)
    assert superior_ability(returns[::-1], samples=100) == one
    assert superior_ability(returns * 64.0, samples=100) == one  # a power of 2 is exact


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"returns": noise(9)[0]}, "returns: trials x periods are needed, not an array of shape (500,)."),
        ({"returns": np.where(np.eye(20, 500) > 0, np.nan, 0.01)}, "returns: trial 0 has a return that is no number."),
        ({"returns": noise(9), "benchmark": np.zeros(4)}, "benchmark: its shape (4,) is not that of the 500 periods"),
        ({"returns": noise(9), "benchmark": np.full(500, np.nan)}, "benchmark: one of its returns is no number."),
        ({"returns": noise(9), "samples": 0}, "samples: 0 must be at least 1."),
    ],
)
def test_what_it_is_not_defined_for_is_refused_in_a_sentence(arguments, sentence):
    with pytest.raises(StatisticsError) as caught:
        superior_ability(**arguments)
    assert str(caught.value).startswith(sentence)


def test_leverage_of_a_worthless_trial_changes_the_reality_check_only():
    """White's statistic is the largest mean, so a wild trial drowns the others; Hansen's is studentised."""
    returns = noise(10, 20, 1_000)
    returns[3] += 0.0008 - returns[3].mean()
    returns[10] = np.convolve(returns[10], np.full(5, 0.2), mode="same")  # of another block length than the best one
    returns[10] += 0.0001 - returns[10].mean()
    leverage = np.ones((20, 1))
    leverage[10] = 15.0
    one, other = superior_ability(returns), superior_ability(returns * leverage)
    assert other.spa == pytest.approx(one.spa, abs=0.001)
    assert other.block == one.block
    assert other.reality_check > one.reality_check + 0.1
