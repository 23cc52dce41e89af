"""From weights to whole shares."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.sizing import target_shares


def shares(weight, *, equity=10_000.0, price=100.0, held=0.0, free_cash=10_000.0, cash_reserve=0.05):
    return target_shares(weight, equity=equity, price=price, held=held, free_cash=free_cash, cash_reserve=cash_reserve)


def test_a_weight_is_a_fraction_of_equity_in_whole_shares():
    assert shares(0.5, price=99.0) == 50.0


def test_the_last_bit_of_a_float_does_not_cost_a_share():
    assert shares(0.95, price=9_500 / 95) == 95.0
    assert shares(0.7, equity=1_000.0, price=7.0) == 100.0


def test_a_buy_leaves_the_reserve_of_the_free_cash():
    assert shares(1.0, free_cash=10_000, cash_reserve=0.10) == 90.0


def test_a_short_is_rounded_towards_nothing():
    assert shares(-0.5, price=99.0) == -50.0


def test_a_short_is_covered_even_without_cash():
    assert shares(0.5, held=-30.0, free_cash=0.0) == 0.0


def test_a_reversal_buys_as_much_as_the_cash_pays_for():
    assert shares(0.5, held=-30.0, free_cash=5_000, cash_reserve=0.0) == 20.0


def test_nothing_is_sold_for_lack_of_cash():
    assert shares(0.5, held=40.0, free_cash=-3_000.0) == 40.0


def test_flat_is_flat_whatever_the_price():
    assert shares(0.0, held=7.0, price=math.nan) == 0.0


@pytest.mark.parametrize("price", [math.nan, math.inf, 0.0, -1.0])
def test_without_a_usable_price_the_position_stays(price):
    assert shares(0.5, held=7.0, price=price) == 7.0


def test_without_equity_nothing_is_opened():
    assert shares(0.5, equity=-5.0) == 0.0


@settings(max_examples=200)
@given(
    weight=st.floats(0.001, 2.0),
    equity=st.floats(100, 1e7),
    price=st.floats(0.5, 5_000),
    cash=st.floats(-1e5, 1e7),
    reserve=st.floats(0.0, 0.9),
)
def test_a_first_buy_costs_neither_more_than_its_weight_nor_more_than_the_cash(weight, equity, price, cash, reserve):
    bought = shares(weight, equity=equity, price=price, free_cash=cash, cash_reserve=reserve)
    assert bought == math.floor(bought) >= 0
    assert bought * price <= weight * equity * (1 + 1e-9)
    assert bought * price <= max(cash, 0.0) * (1 - reserve) * (1 + 1e-9)
