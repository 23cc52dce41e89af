"""What a fill costs, against IBKR's own published examples."""

import math
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.costs import Charge, cost_model
from broker.errors import InvalidFillError

FIXED, TIERED = cost_model("ibkr_fixed"), cost_model("ibkr_tiered")
DAY = date(2023, 6, 1)
CENT = Decimal("0.01")


def cents(charge):
    return charge.total.quantize(CENT)


@pytest.mark.parametrize(
    ("shares", "price", "cost"),
    [
        (100, 25, "1.00"),
        (1_000, 25, "5.00"),
        (1_000, 0.25, "2.50"),  # the cap
        (100, 50, "1.00"),
        (10, 5, "0.50"),  # the cap beats the minimum
        (1_000, 10, "5.00"),
    ],
)
def test_fixed_purchases_cost_what_ibkr_says(shares, price, cost):
    assert FIXED.commission(shares, price, DAY).total == Decimal(cost)


@pytest.mark.parametrize(
    ("model", "day", "shares", "cost"),
    [
        # IBKR's page "Fixed vs. Tiered Pricing Comparison Examples" as published in 2023 and in 2013, sales at 5.00
        (FIXED, date(2023, 6, 1), 30_000_000, "151207.27"),
        (TIERED, date(2023, 6, 1), 30_000_000, "139188.10"),
        (FIXED, date(2023, 6, 1), 200_000, "1015.27"),
        (TIERED, date(2023, 6, 1), 200_000, "1355.78"),
        (TIERED, date(2013, 6, 3), 30_000_000, "140596.78"),
    ],
)
def test_sales_cost_what_ibkr_published_at_the_time(model, day, shares, cost):
    assert cents(model.commission(-shares, 5, day)) == Decimal(cost)


def test_the_parts_of_a_tiered_sale_are_told_apart():
    charge = TIERED.commission(-200_000, 5, DAY)

    assert charge == Charge(
        commission=Decimal(700),
        exchange=Decimal(600),
        clearing=Decimal(40),
        regulatory=Decimal("0.392") + Decimal("0.1225") + Decimal("8.00") + Decimal("7.27"),
    )


@pytest.mark.parametrize(
    ("before", "shares", "commission"),
    [
        (0, 100, "0.35"),  # the minimum
        (0, 1_000, "3.50"),
        (299_000, 2_000, "5.50"),  # 1,000 in the first tier, 1,000 in the second
        (300_000, 1_000, "2.00"),
        (3_000_000, 1_000, "1.50"),
        (20_000_000, 1_000, "1.00"),
        (100_000_000, 1_000, "0.50"),
        (0, 100_000_001, "111950.0005"),  # through every tier
    ],
)
def test_each_share_pays_the_rate_of_its_own_tier(before, shares, commission):
    assert TIERED.commission(shares, 100, DAY, monthly_shares=before).commission == Decimal(commission)


def test_the_month_does_not_matter_to_the_fixed_schedule():
    assert FIXED.commission(1_000, 50, DAY, monthly_shares=5e8) == FIXED.commission(1_000, 50, DAY)


def test_a_tiered_commission_is_capped_below_its_minimum_too():
    assert TIERED.commission(10, 1, DAY).commission == Decimal("0.10")


def test_shares_below_one_dollar_pay_the_exchange_by_value():
    assert TIERED.commission(1_000, 0.5, DAY).exchange == Decimal("1.50")
    assert TIERED.commission(1_000, 1, DAY).exchange == Decimal("3.00")


def test_purchases_pay_no_fee_on_sales():
    assert FIXED.commission(1_000, 50, DAY).regulatory == 0
    assert FIXED.commission(-1_000, 50, DAY).regulatory == Decimal("0.545")  # 50,000 x 8.00/million + 1,000 x 0.000145


def test_the_trading_activity_fee_is_capped_a_trade():
    day = date(2025, 6, 2)  # no SEC fee since May 2025

    assert FIXED.commission(-40_000, 10, day).regulatory == Decimal("6.64")
    assert FIXED.commission(-60_000, 10, day).regulatory == Decimal("8.30")


def test_a_charge_is_rounded_once_half_up_to_a_millionth():
    charge = Charge(Decimal("1.0000002"), Decimal("0.0000002"), Decimal("0.0000001"))

    assert charge.total == Decimal("1.000001")  # 1.0000005: not banker's rounding, not each part by itself
    assert isinstance(charge.total, Decimal)


def test_floats_are_read_as_the_decimals_they_show():
    assert (
        FIXED.commission(0.1 * 3 * 1000, 0.1, DAY).total
        == FIXED.commission(Decimal(repr(300.0)), Decimal("0.1"), DAY).total
    )
    assert FIXED.commission(1_000, 0.1, DAY).total == Decimal("1.00")


def test_no_shares_cost_nothing():
    assert FIXED.commission(0, 50, DAY).total == 0


def test_the_model_none_charges_nothing_at_all():
    assert cost_model("none").commission(-1_000_000, 50, DAY).total == 0


@pytest.mark.parametrize("model", [FIXED, cost_model("none")])
@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((math.nan, 50, 0), "quantity: nan is not a number"),
        ((100, math.inf, 0), "price: inf is not a number"),
        ((100, Decimal("NaN"), 0), "price: NaN is not a number"),
        ((100, -1, 0), "price: -1 is negative"),
        ((100, 50, -1), "monthly_shares: -1 is negative"),
    ],
)
def test_numbers_that_cannot_be_are_errors_not_costs(model, numbers, text):
    quantity, price, before = numbers
    with pytest.raises(InvalidFillError, match=text):
        model.commission(quantity, price, DAY, monthly_shares=before)


sizes = st.integers(1, 5_000_000)
prices = st.decimals("0.01", "5000", places=2)
days = st.dates(date(1998, 1, 1), date(2030, 1, 1))
models = st.sampled_from([FIXED, TIERED])


@given(models, sizes, prices, days)
def test_the_broker_never_takes_more_than_one_percent_nor_less_than_its_minimum_below_that(model, shares, price, day):
    commission = model.commission(shares, price, day).commission
    cap = shares * price / 100

    assert commission <= cap
    assert commission >= min(cap, model.rates.minimum)


@given(models, sizes, prices, days)
def test_a_sale_never_costs_less_than_the_purchase(model, shares, price, day):
    assert model.commission(-shares, price, day).total >= model.commission(shares, price, day).total


@given(models, sizes, sizes, prices, days)
def test_more_shares_never_cost_less(model, one, other, price, day):
    few, many = sorted((one, other))

    assert model.commission(few, price, day).total <= model.commission(many, price, day).total


@given(st.lists(st.integers(1, 2_000_000), min_size=2, max_size=6))
def test_an_order_in_pieces_pays_the_same_tiers_as_one_order(pieces):
    whole = TIERED.commission(sum(pieces), 400, DAY).commission
    before, parts = 0, Decimal(0)
    for piece in pieces:
        parts += TIERED.commission(piece, 400, DAY, monthly_shares=before).commission
        before += piece

    extra = sum(1 for piece in pieces if piece < 700)  # in the last tier 700 shares reach the minimum
    assert whole <= parts <= whole + extra * Decimal("0.35")


@pytest.mark.parametrize("name", ["ibkr_fixed", "ibkr_tiered"])
@pytest.mark.parametrize("times", [2, 4])
def test_scaled_costs_are_exactly_so_many_times_the_costs(name, times):
    """Minimum, cap and every fee: small and large orders, purchases and sales."""
    plain, scaled = cost_model(name), cost_model(name).scaled(times)
    for quantity, price in ((100, "25"), (-1000, "0.25"), (-7, "3.99"), (250_000, "11.17")):
        once = plain.commission(quantity, Decimal(price), date(2010, 3, 1))
        many = scaled.commission(quantity, Decimal(price), date(2010, 3, 1))
        parts = ("commission", "exchange", "clearing", "regulatory")
        assert [getattr(many, part) for part in parts] == [getattr(once, part) * times for part in parts]


def test_costs_by_nought_are_said_to_be_none():
    free = cost_model("ibkr_fixed").scaled(0)
    assert free.commission(-100, 25, date(2010, 3, 1)).total == 0
    assert len(free.notices) == 2  # no commissions, no slippage; interest stays
    assert (free.financing, free.participation) == (
        cost_model("ibkr_fixed").financing,
        cost_model("ibkr_fixed").participation,
    )


def test_costs_cannot_be_negative():
    with pytest.raises(InvalidFillError, match="multiple: -1 is negative"):
        cost_model("ibkr_fixed").scaled(-1)
