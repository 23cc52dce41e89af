"""The shortlist takes the best first, and never two that are the same bet."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.ranking import ShortlistRules
from research.shortlist import Ranked, correlation_of, shortlist


def series(values, first="2001-01-01"):
    return pd.Series(np.asarray(values, dtype=float), pd.bdate_range(first, periods=len(values)))


NOISE = np.random.default_rng(1).normal(0.0, 0.01, (6, 100))


def test_it_ends_where_it_is_full():
    ranked = [Ranked(str(at), f"n{at}", 90.0 - at, series(row)) for at, row in enumerate(NOISE)]
    verdicts = shortlist(ranked, ShortlistRules(most=2))
    assert [verdicts[str(at)] for at in range(3)] == [None, None, "the list holds 2 better ones"]


def test_what_cannot_be_compared_is_left_out():
    early, late = series(NOISE[0]), series(NOISE[1], "2011-01-03")
    verdicts = shortlist([Ranked("a", "A", 90, early), Ranked("b", "B", 80, late)], ShortlistRules())
    assert verdicts == {"a": None, "b": "correlation with A is unknown"}


def test_a_score_at_the_minimum_is_good_enough():
    verdicts = shortlist([Ranked("a", "A", 50.0, None), Ranked("b", "B", 49.99, None)], ShortlistRules())
    assert verdicts == {"a": None, "b": "score 50.0 is below 50"}


def test_opposite_bets_are_not_the_same_bet():
    one = series(NOISE[0])
    assert correlation_of(one, -one) == pytest.approx(-1.0)
    assert shortlist([Ranked("a", "A", 90, one), Ranked("b", "B", 80, -one)], ShortlistRules())["b"] is None


def test_only_shared_sessions_count_and_flat_ones_tell_nothing():
    one, other = series(NOISE[0]), series(NOISE[0][50:], str(series(NOISE[0]).index[50].date()))
    assert correlation_of(one, other) == pytest.approx(1.0)
    assert correlation_of(one, series(np.zeros(100))) is None
    assert correlation_of(one, None) is None


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(1, 6))
def test_no_two_on_the_list_go_together_more_than_allowed(seed, limit, most):
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.01, 60)
    rows = [common * rng.uniform(0, 2) + rng.normal(0, 0.01, 60) for _ in range(8)]
    ranked = [Ranked(str(at), str(at), 100.0 - at, series(row)) for at, row in enumerate(rows)]
    verdicts = shortlist(ranked, ShortlistRules(correlation=limit, most=most))
    chosen = [one for one in ranked if verdicts[one.id] is None]
    assert 1 <= len(chosen) <= most
    assert all(correlation_of(a.returns, b.returns) <= limit for a in chosen for b in chosen if a.id < b.id)
