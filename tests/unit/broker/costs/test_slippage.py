"""Slippage: always against the order, never outside the bar."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.costs.slippage import BasisPoints, HalfSpread, NoSlippage, VolumeShare

WIDE = {"high": 1_000.0, "low": 1.0}


def slipped(model, side, price=100.0, *, quantity=10.0, bar_volume=1_000.0, high=1_000.0, low=1.0):
    return model.price(side, price, quantity=quantity, bar_volume=bar_volume, high=high, low=low)


@pytest.mark.parametrize(
    ("model", "bought", "sold"),
    [
        (BasisPoints(), 100.05, 99.95),  # five basis points
        (BasisPoints(20), 100.2, 99.8),
        (HalfSpread(), 100.01, 99.99),  # half of two basis points
        (HalfSpread(10), 100.05, 99.95),
        (VolumeShare(), 100.001, 99.999),  # 0.1 x (1 % of the volume) squared
        (NoSlippage(), 100.0, 100.0),
    ],
)
def test_each_model_moves_the_price_against_the_order(model, bought, sold):
    assert slipped(model, 1) == pytest.approx(bought, rel=1e-12)
    assert slipped(model, -1) == pytest.approx(sold, rel=1e-12)


def test_impact_grows_with_the_square_of_the_share():
    one = slipped(VolumeShare(0.5), 1, quantity=100) - 100
    two = slipped(VolumeShare(0.5), 1, quantity=200) - 100

    assert two == pytest.approx(4 * one)


@pytest.mark.parametrize("volume", [0.0, math.nan, 5.0])
def test_a_bar_without_enough_known_volume_counts_as_taken_whole(volume):
    assert slipped(VolumeShare(0.1), 1, quantity=10, bar_volume=volume) == pytest.approx(110)


def test_nobody_trades_outside_the_bar():
    assert slipped(BasisPoints(100), 1, high=100.3) == 100.3
    assert slipped(BasisPoints(100), -1, low=99.9) == 99.9
    assert slipped(BasisPoints(0), 1, price=90.0, low=95.0) == 95.0


models = st.one_of(
    st.builds(BasisPoints, st.floats(0, 500)),
    st.builds(HalfSpread, st.floats(0, 500)),
    st.builds(VolumeShare, st.floats(0, 1)),
    st.just(NoSlippage()),
)
bars = st.tuples(st.floats(0.01, 1e4), st.floats(1, 2), st.floats(0, 1))  # low, high over low, where the price is


@given(models, st.sampled_from([1, -1]), bars, st.floats(1, 1e6), st.floats(0, 1e7))
def test_a_fill_is_inside_the_bar_and_never_better_than_the_reference(model, side, bar, quantity, volume):
    low, width, where = bar
    high = low * width
    price = min(high, low + where * (high - low))
    fill = model.price(side, price, quantity=quantity, bar_volume=volume, high=high, low=low)

    assert low <= fill <= high
    assert side * (fill - price) >= 0


@pytest.mark.parametrize("model", [NoSlippage(), BasisPoints(0), HalfSpread(0), VolumeShare(0)])
def test_no_slippage_is_said_aloud_however_it_is_written(model):
    assert model.notice == "No slippage: every order fills at its reference price."


@pytest.mark.parametrize("model", [BasisPoints(), HalfSpread(), VolumeShare()])
def test_slippage_needs_no_notice(model):
    assert model.notice is None


@pytest.mark.parametrize("model", [BasisPoints(5.0), HalfSpread(2.0), VolumeShare(0.1)])
def test_scaled_slippage_moves_so_many_times_as_far(model):
    def moved(one):
        return one.price(1, 100.0, quantity=10.0, bar_volume=100.0, high=1000.0, low=1.0) - 100.0

    assert moved(model.scaled(4)) == pytest.approx(4 * moved(model))
    assert moved(model.scaled(0)) == 0.0
    assert model.scaled(1) == model


def test_no_slippage_stays_none():
    assert NoSlippage().scaled(4) == NoSlippage()
