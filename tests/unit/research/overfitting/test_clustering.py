"""How many bets a set of trials amounts to."""

import numpy as np
import pytest

from research.overfitting import cluster_trials


def planted(groups, members, seed=0, periods=600, own=0.002):
    generator = np.random.default_rng(seed)
    bets = generator.normal(0.0, 0.01, (groups, periods))
    return np.repeat(bets, members, axis=0) + generator.normal(0.0, own, (groups * members, periods))


@pytest.mark.parametrize("groups", [2, 5, 9])
def test_the_planted_groups_are_found(groups):
    found = cluster_trials(planted(groups, 8))
    assert found.count == groups
    assert all(len(set(found.labels[at * 8 : at * 8 + 8])) == 1 for at in range(groups))


def test_trials_that_are_all_the_same_are_one_bet():
    assert cluster_trials(np.tile(planted(1, 1), (12, 1))).count == 1


def test_trials_that_never_vary_are_no_bets():
    assert cluster_trials(np.vstack([planted(2, 4), np.zeros((3, 600))])).count == 2


def test_of_very_many_trials_some_stand_for_all():
    found = cluster_trials(planted(4, 200))
    assert (len(found.rows), found.count) == (500, 4)


def test_one_bet_has_no_variance_and_two_have():
    assert cluster_trials(np.tile(planted(1, 1), (5, 1))).variance == 0.0
    assert cluster_trials(planted(2, 5)).variance > 0.0
