"""Prices and sizes as an exchange takes them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ib.messages import Contract, ContractDetails, PriceIncrement
from broker.instrument import Instrument, decimal_of

TENTH_BELOW_ONE = (PriceIncrement(Decimal(0), Decimal("0.0001")), PriceIncrement(Decimal(1), Decimal("0.01")))
prices = st.floats(0.01, 5_000)


def instrument(*, tick="0.01", size="1", increments=(), multiplier=""):
    contract = Contract("AAPL", con_id=1, multiplier=multiplier)
    details = ContractDetails(
        contract, "Apple", Decimal(tick), Decimal(size), (26,), ("SMART",), frozenset(), "US/Eastern", "", ""
    )
    return Instrument(details, increments)


@pytest.mark.parametrize(
    ("price", "action", "expected"),
    [
        (100.009, "BUY", "100"),
        (100.001, "SELL", "100.01"),
        (100.1, "BUY", "100.1"),
        (0.1 + 0.2, "BUY", "0.3"),
        (0.1 + 0.2, "SELL", "0.3"),
    ],
)
def test_a_price_is_rounded_against_the_order_taker(price, action, expected):
    assert str(instrument().price(price, action)) == expected


@pytest.mark.parametrize(("price", "expected"), [(0.12345, "0.1234"), (1.2345, "1.23")])
def test_the_increment_depends_on_the_price(price, expected):
    assert instrument(increments=TENTH_BELOW_ONE).price(price, "BUY") == Decimal(expected)


@given(prices)
def test_a_buy_is_never_above_and_a_sale_never_below_what_was_decided(price):
    exact, tick = decimal_of(price), Decimal("0.01")
    bought, sold = instrument().price(price, "BUY"), instrument().price(price, "SELL")
    assert exact - tick < bought <= exact <= sold < exact + tick


@given(prices)
def test_a_price_that_fits_stays_as_it_is(price):
    fits = round(price, 2)
    assert instrument().price(fits, "BUY") == instrument().price(fits, "SELL") == decimal_of(fits)


@given(st.floats(0.0001, 50), prices)
def test_a_trailing_distance_is_at_least_a_tick_and_never_longer_than_decided(distance, price):
    rounded = instrument().distance(distance, price)
    assert rounded == Decimal("0.01") or rounded <= decimal_of(distance)
    assert rounded % Decimal("0.01") == 0
    assert rounded > 0


@pytest.mark.parametrize(
    ("step", "size", "expected"), [("1", 10.9, "10"), ("1", -3.0, "3"), ("0.0001", 0.12345, "0.1234"), ("1", 0.5, "0")]
)
def test_a_size_is_rounded_towards_nothing(step, size, expected):
    assert str(instrument(size=step).size(size)) == expected


def test_a_number_is_written_without_an_exponent():
    assert str(decimal_of(1_000_000.0)) == "1000000"


def test_a_share_stands_for_itself():
    assert (instrument().multiplier, instrument(multiplier="50").multiplier) == (1, 50)
