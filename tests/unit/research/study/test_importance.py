"""Importances name what decides, add up to 1, and are not made up where there is too little."""

import importlib
import logging

import numpy as np
import pytest

from research.study.importance import importances, two_most
from research.study.report_view import TrialView


def trials(count=60, value=lambda p: -((p["a"] - 15) ** 2)):
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        params = {"a": int(rng.integers(1, 30)), "b": float(rng.uniform()), "c": ["x", "y", True][rng.integers(3)]}
        made.append(TrialView(number, params, float(value(params))))
    return made


def test_the_parameter_that_decides_has_almost_all_of_it():
    shares = importances(trials(), ["a", "b", "c"])
    assert next(iter(shares)) == "a"
    assert shares["a"] > 0.9
    assert sum(shares.values()) == pytest.approx(1.0)
    assert two_most(shares)[0] == "a"


def test_the_same_trials_give_the_same_shares_and_nothing_is_said(capfd):
    importlib.import_module("optuna")  # which sets its level when it is imported
    level = logging.getLogger("optuna").level
    assert importances(trials(), ["a", "b", "c"]) == importances(trials(), ["a", "b", "c"])
    assert logging.getLogger("optuna").level == level
    assert capfd.readouterr() == ("", "")


def test_a_category_can_decide():
    shares = importances(trials(value=lambda p: 5.0 * (p["c"] == "x") + 0.1 * p["b"]), ["a", "b", "c"])
    assert next(iter(shares)) == "c"


@pytest.mark.parametrize(
    ("made", "names"),
    [(trials(9), ["a", "b"]), (trials(20, value=lambda _: 1.0), ["a", "b"]), (trials(20), [])],
    ids=["few", "flat", "nothing varies"],
)
def test_where_there_is_too_little_there_is_none(made, names):
    assert importances(made, names) is None
    assert two_most(None) is None


def test_a_parameter_that_only_some_trials_have_is_left_out():
    made = [
        TrialView(t.number, {k: v for k, v in t.params.items() if k != "b" or t.number % 2}, t.value) for t in trials()
    ]
    assert set(importances(made, ["a", "b", "c"])) == {"a", "c"}


def test_one_parameter_decides_everything():
    assert importances(trials(), ["a"]) == {"a": 1.0}
