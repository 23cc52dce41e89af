"""Plateaus, drift, and parameters that nobody reads."""

from itertools import product

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
    found = plateau(points, values, 1)
    # beside the best one n 1 and 3 and the other word, across the other word with n 1 and 3
    assert (found.neighbours, found.holding) == (5, 0.4)


def grid(**axes):
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


UNEVEN = grid(short=range(5, 15), long=range(20, 80, 2))
MIDDLE = UNEVEN.index({"short": 9, "long": 50})


def hill(width):
    return np.array(
        [2.0 * np.exp(-(((p["short"] - 9) / width) ** 2) - ((p["long"] - 50) / width) ** 2) for p in UNEVEN]
    )


def test_a_needle_along_the_coarse_axis_is_seen_too():
    ridge = np.array([2.0 if point["short"] == 9 else 0.1 for point in UNEVEN])  # any long average will do
    found = plateau(UNEVEN, ridge, MIDDLE)
    # the four along the ridge keep everything, the eight off it nothing
    assert (found.holding, found.worst, found.kept) == pytest.approx((4 / 12, 0.05, 0.05))


def test_the_figures_by_hand():
    points = grid(n=[10, 20, 30, 40, 50, 60])
    found = plateau(points, np.array([0.1, 1.0, 1.5, 2.0, 1.4, -0.5]), 3)
    # one step away 1.5 and 1.4, two away 1.0 and -0.5
    assert (found.kept, found.holding, found.worst, found.neighbours) == pytest.approx((0.6, 0.5, -0.25, 4))


def test_values_that_are_missing_are_no_neighbours():
    points = grid(n=[10, 20, 30, 40, 50])
    values = np.array([1.0, np.nan, 2.0, 1.6, np.nan])
    found = plateau(points, values, 2)
    assert found.neighbours == 2
    assert found.worst == 0.5


def test_the_spacing_of_values_does_not_matter_only_their_order():
    values = np.array([0.1, 1.0, 1.5, 2.0, 1.4])
    one, other = (plateau(grid(n=levels), values, 3) for levels in ([1, 2, 3, 4, 5], [1, 10, 100, 1000, 10_000]))
    assert one == other


def test_another_order_of_trials_gives_the_same():
    values = hill(3.0)
    order = np.random.default_rng(0).permutation(len(UNEVEN))
    shuffled = plateau([UNEVEN[row] for row in order], values[order], int(np.flatnonzero(order == MIDDLE)[0]))
    assert shuffled == plateau(UNEVEN, values, MIDDLE)


def test_yes_and_no_are_a_choice():
    points = grid(trailing=[False, True], n=[1, 2, 3])
    found = plateau(points, np.array([1.0, 2.0, 1.0, 1.0, 0.4, 1.0]), 1)
    assert (found.neighbours, found.worst) == (5, 0.2)


def test_a_parameter_that_was_not_active_is_one_step_away_and_the_others_keep_their_distances():
    points = [{"stop": True, "percent": percent, "n": n} for percent in range(1, 9) for n in (1, 2)]
    points += [{"stop": False, "n": 1}, {"stop": False, "n": 2}]
    values = np.array([1.8] * 16 + [0.2, 0.4])
    best = points.index({"stop": True, "percent": 3, "n": 1})
    values[best] = 2.0
    found = plateau(points, values, best)
    # percent 1, 2, 4, 5; the other n with percent 2, 3, 4; no stop, which is a step in two parameters, with either n
    assert (found.neighbours, found.worst, found.kept) == pytest.approx((9, 0.1, 0.9))
    assert found.holding == pytest.approx(7 / 9)


def test_random_points_have_neighbours_in_every_direction():
    generator = np.random.default_rng(0)
    points = [{"a": a, "b": b} for a, b in generator.random((400, 2))]
    best = int(np.argmin([(p["a"] - 0.5) ** 2 + (p["b"] - 0.5) ** 2 for p in points]))
    found = plateau(points, np.array([np.exp(-40 * (p["a"] - 0.5) ** 2) for p in points]), best)
    needle = plateau(points, np.array([np.exp(-4000 * (p["a"] - 0.5) ** 2) for p in points]), best)
    assert 3 <= found.neighbours <= 12
    assert found.kept > 0.9
    assert needle.kept < 0.5


def test_the_most_neighbours_can_be_said_and_equally_far_ones_stay_together():
    assert plateau(UNEVEN, hill(9.0), MIDDLE, most=2).neighbours == 4


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
