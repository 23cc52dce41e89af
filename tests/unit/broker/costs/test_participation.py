"""Participation: a share of the bar's volume, in whole shares."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.costs import Participation


@pytest.mark.parametrize(
    ("fraction", "volume", "shares"),
    [(0.10, 1_234, 123), (0.10, 30, 3), (0.07, 100, 7), (0.10, 9, 0), (0.10, 0, 0), (1.0, 55.5, 55), (0.10, -5, 0)],
)
def test_an_order_takes_whole_shares_of_its_part(fraction, volume, shares):
    assert Participation(fraction).shares(volume) == shares


def test_the_default_is_a_tenth_of_the_bar():
    assert Participation().shares(1_000) == 100


def test_an_unknown_volume_does_not_limit_and_no_limit_is_said_aloud():
    assert Participation().shares(math.nan) == math.inf
    assert Participation(None).shares(0) == math.inf
    assert Participation(None).notice == "Fills are not limited by volume."
    assert Participation().notice is None


@given(st.floats(0.001, 1), st.floats(0, 1e9))
def test_never_more_than_the_part_and_less_than_one_share_short_of_it(fraction, volume):
    shares = Participation(fraction).shares(volume)

    assert shares == int(shares)
    assert shares <= fraction * volume * (1 + 1e-9)
    assert shares > fraction * volume - 1 - 1e-9
