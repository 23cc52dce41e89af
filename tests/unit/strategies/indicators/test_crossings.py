"""Crossings of two lines, by the rule that Backtrader follows bar by bar."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strategies.indicators import crossings, crossover

# few values, so that lines touch for several bars and cross behind that
values = st.sampled_from([1.0, 2.0, 3.0])
lines = st.lists(st.tuples(values, values), min_size=1, max_size=30)
warm_ups = st.integers(0, 4)


def by_the_rule(first, second):
    """The signs of the crossings; the side is that of the last bar at which the lines differed."""
    found, side, begun = [], 0.0, False
    for one, other in zip(first, second, strict=True):
        difference = one - other
        crosses = begun and side * difference < 0.0
        found.append(math.copysign(1.0, difference) if crosses else 0.0)
        begun = begun or not math.isnan(difference)
        if difference != 0.0 and begun:
            side = difference
    return found


@given(lines, warm_ups, warm_ups, st.integers(0, 30))
def test_a_line_crosses_from_the_side_where_it_last_was(pairs, warm_up, other_warm_up, hole):
    first, second = (np.array(line) for line in zip(*pairs, strict=True))
    first[:warm_up], second[:other_warm_up] = math.nan, math.nan
    second[hole : hole + 1] = math.nan
    above, below = crossings(first, second)
    assert (above.astype(float) - below).tolist() == by_the_rule(first.tolist(), second.tolist())


@given(lines, warm_ups)
def test_crossings_are_the_signs_of_the_crossover(pairs, warm_up):
    first, second = (np.array(line) for line in zip(*pairs, strict=True))
    first[:warm_up] = math.nan
    above, below = crossings(first, second)
    line = crossover(first, second)
    assert (line > 0.0).tolist() == above.tolist()
    assert (line < 0.0).tolist() == below.tolist()


def test_a_crossover_begins_one_bar_after_both_lines():
    first, second = np.array([math.nan, 1.0, 3.0, 1.0]), np.full(4, 2.0)
    assert [str(value) for value in crossover(first, second)] == ["nan", "nan", "1.0", "-1.0"]
