"""How much parameters move, by hand."""

from datetime import date

import pytest

from research.walkforward.drift import drift
from research.walkforward.fold import Fold
from research.walkforward.windows import Window

DAY = date(2024, 1, 2)


def folds(*params):
    return [Fold(Window(at, DAY, DAY, DAY, DAY, True), one, 1, None, None, {}, {}) for at, one in enumerate(params)]


def test_a_number_moves_by_a_part_of_its_size():
    """10, 20, 15: steps of 10 and 5 around a mean of 15."""
    found = drift(folds({"n": 10}, {"n": 20}, None, {"n": 15}), ["n"])
    assert found["n"]["values"] == [10, 20, 15]
    assert found["n"]["change"] == pytest.approx((10 / 15 + 5 / 15) / 2)
    assert found["n"]["distinct"] == 3


def test_a_word_changes_or_not():
    found = drift(folds({"w": "a"}, {"w": "a"}, {"w": "b"}, {"w": True}), ["w"])
    assert found["w"]["change"] == pytest.approx(2 / 3)


def test_what_stays_does_not_move_and_nought_has_no_size():
    found = drift(folds({"n": 5, "z": 0.0}, {"n": 5, "z": 0.0}), ["n", "z"])
    assert (found["n"]["change"], found["z"]["change"]) == (0.0, 0.0)


def test_one_window_tells_nothing():
    assert drift(folds({"n": 5}, None), ["n"])["n"]["change"] is None
