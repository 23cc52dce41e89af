"""What is left when trading is dearer, later, or began on another day."""

import pytest

from research.overfitting import endurance


def test_the_break_even_lies_between_what_was_measured():
    found = endurance(1.0, costs={0.0: 1.5, 1.0: 1.0, 2.0: 0.5, 4.0: -0.5}, delayed=0.8, starts=[0.9, 1.0, 1.1])
    assert found.break_even == pytest.approx(3.0)
    assert (found.at_double, found.delayed, found.starts) == (0.5, 0.8, 0.9)
    assert found.beyond is None


def test_an_edge_that_outlives_every_multiple_says_so():
    found = endurance(1.0, costs={1.0: 1.0, 4.0: 0.9}, delayed=None, starts=[])
    assert (found.break_even, found.beyond) == (None, 4.0)
    assert (found.at_double, found.delayed, found.starts) == (None, None, None)


def test_without_a_positive_value_there_is_no_part_of_it():
    found = endurance(-1.0, costs={2.0: -2.0}, delayed=-1.0, starts=[-1.0, -1.0, -1.0])
    assert (found.at_double, found.delayed, found.starts) == (None, None, None)
