"""Plateaus, drift, and parameters that nobody reads."""

import numpy as np
import pytest

from research.errors import StatisticsError
from research.measured import Missing
from research.overfitting import drift, plateau, unread_parameters

GRID = [{"a": a, "b": b} for a in range(5) for b in range(5)]
CENTRE = GRID.index({"a": 2, "b": 2})


def surface(height):
    return np.array([height(abs(point["a"] - 2) + abs(point["b"] - 2)) for point in GRID])


def test_a_hill_is_a_plateau_and_a_needle_is_none():
    hill = plateau(GRID, surface(lambda away: 1.0 - 0.05 * away), CENTRE)
    needle = plateau(GRID, surface(lambda away: 1.0 if away == 0 else 0.1), CENTRE)
    assert hill.kept == pytest.approx(0.95, abs=0.05)
    assert (hill.holding, needle.holding) == (1.0, 0.0)
    assert needle.kept == pytest.approx(0.1)


def test_the_cliff_is_the_worst_neighbour():
    values = surface(lambda away: 1.0 - 0.05 * away)
    values[GRID.index({"a": 2, "b": 3})] = -0.4
    assert plateau(GRID, values, CENTRE).worst == pytest.approx(-0.4)


def test_where_less_is_better_the_ratio_is_turned_round():
    assert plateau(GRID, surface(lambda away: 1.0 + away), CENTRE, higher=False).kept < 1.0


def test_trials_without_a_value_are_no_neighbours():
    values = surface(lambda away: 1.0 - 0.05 * away)
    values[GRID.index({"a": 2, "b": 3})] = np.nan
    assert np.isfinite(plateau(GRID, values, CENTRE).worst)


def test_words_are_near_or_far():
    points = [{"w": word, "n": n} for word in ("x", "y") for n in (1, 2, 3)]
    values = np.array([0.9, 1.0, 0.9, 0.1, 0.1, 0.1])
    assert plateau(points, values, 1).kept == pytest.approx(0.9)


@pytest.mark.parametrize("best", [-1.0, 0.0])
def test_a_best_value_that_is_not_positive_keeps_nothing(best):
    assert isinstance(plateau(GRID, surface(lambda away: best - away), CENTRE), Missing)


def test_drift_is_a_part_of_the_larger_number():
    found = drift([{"n": 10, "w": "a"}, {"n": 20, "w": "a"}, {"n": 20, "w": "b"}])
    assert (found["n"].largest, found["n"].mean, found["n"].stability) == (0.5, 0.25, 0.75)
    assert (found["w"].largest, found["w"].mean) == (1.0, 0.5)


def test_one_fold_does_not_drift():
    assert drift([{"n": 10}]) == {}


def test_where_all_trials_are_the_same_nothing_was_read():
    assert unread_parameters(GRID, [1.0] * len(GRID)) == ["a", "b"]


def test_the_one_that_changes_nothing_is_named():
    assert unread_parameters(GRID, [point["a"] for point in GRID]) == ["b"]
    assert unread_parameters(GRID, [point["a"] + point["b"] for point in GRID]) == []


def test_a_few_trials_prove_nothing():
    assert unread_parameters(GRID[:4], [1.0] * 4) == []


def test_trials_that_did_not_trade_prove_nothing():
    """A range in which nothing trades is the same whatever the parameters are; the strategy may well read them."""
    assert unread_parameters(GRID, [None] * len(GRID)) == []
    idle = [None if point["a"] > 1 else point["a"] + point["b"] for point in GRID]
    assert unread_parameters(GRID, idle) == []
    assert unread_parameters(GRID, [None if point["a"] > 1 else point["a"] for point in GRID]) == ["b"]


def test_a_parameter_that_the_first_trial_does_not_have_is_seen_too():
    points = [{"kind": "x"}, *({"kind": "y", "n": n} for n in range(6))]
    assert unread_parameters(points, [1.0, *[2.0] * 6]) == ["n"]
    assert unread_parameters(points, [2.0] * 7) == ["kind", "n"]


def test_outcomes_of_other_trials_are_refused():
    with pytest.raises(StatisticsError, match="outcomes: 2 are not those of 25 points"):
        unread_parameters(GRID, [1.0, 2.0])
