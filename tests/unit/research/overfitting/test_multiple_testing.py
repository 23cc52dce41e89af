"""White's reality check and Hansen's SPA."""

import numpy as np
import pytest

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
