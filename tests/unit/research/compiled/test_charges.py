"""Fees and interest of the kernel against the decimals of `broker.costs`."""

import math
from datetime import date
from decimal import Decimal
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.costs import CostSettings
from broker.costs.fees import fee_table
from broker.costs.financing import Financing
from research.compiled import machine
from research.engine.kernel.market import sale_fees, terms_of, tiers_of
from risk.limits import Limits

MODELS = {name: CostSettings(model=name).build() for name in ("ibkr_fixed", "ibkr_tiered", "none")}
TERMS = {name: terms_of(1_000.0, costs, Limits()) for name, costs in MODELS.items()}
TIERS = {name: tiers_of(costs) for name, costs in MODELS.items()}
SALES = sale_fees()
DAYS = fee_table().days


def charge(model, quantity, price, row=0, before=0.0):
    return machine.charge(TERMS[model], TIERS[model], SALES, row, quantity, price, before)


def exactly(model, quantity, price, row=0, before=0.0):
    total = MODELS[model].commission(quantity, price, DAYS[row], monthly_shares=before).total
    return int(total * 1_000_000)


SHARES = st.integers(1, 2_000_000)
SIDES = st.sampled_from([-1.0, 1.0])
ROWS = st.integers(0, len(DAYS) - 1)
BEFORE = st.sampled_from([0.0, 299_950.0, 300_000.0, 2_999_990.0, 19_999_000.0, 1e8])
SHORT_PRICES = st.builds(lambda cents, digits: cents / 10**digits, st.integers(1, 999_999), st.integers(0, 6))
LONG_PRICES = st.floats(0.0001, 5_000.0)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=150)
@given(shares=SHARES, side=SIDES, price=SHORT_PRICES, row=ROWS, before=BEFORE)
def test_a_short_price_is_always_charged_to_the_millionth(model, *, shares, side, price, row, before):
    assert charge(model, side * shares, price, row, before) == exactly(model, side * shares, price, row, before)


@pytest.mark.parametrize("model", ["ibkr_fixed", "ibkr_tiered"])
@settings(max_examples=150)
@given(shares=st.integers(1, 20_000), side=SIDES, price=LONG_PRICES, row=ROWS, before=BEFORE)
def test_a_long_price_is_charged_to_the_millionth_or_not_at_all(model, *, shares, side, price, row, before):
    assert charge(model, side * shares, price, row, before) in {
        exactly(model, side * shares, price, row, before),
        machine.UNSURE,
    }


def test_hardly_any_charge_is_left_undecided():
    rng = np.random.default_rng(1)
    prices, shares = rng.uniform(0.3, 700.0, 20_000), rng.integers(1, 5_000, 20_000)
    undecided = sum(
        charge("ibkr_tiered", -float(count), price, len(DAYS) - 1) == machine.UNSURE
        for count, price in zip(shares.tolist(), prices.tolist(), strict=True)
    )
    assert undecided == 0


def test_a_sum_of_nothing_but_shares_needs_no_price():
    # half a millionth is passed through by 2,600 shares; the price has more digits than a decimal could tell
    assert charge("ibkr_tiered", 2_600.0, math.pi * 10) == exactly("ibkr_tiered", 2_600.0, math.pi * 10)


def test_a_tie_is_rounded_up():
    # the cap: 1 % of 7 shares at 0.00125 is 87.5 millionths
    assert charge("ibkr_fixed", 7.0, 0.00125) == exactly("ibkr_fixed", 7.0, 0.00125) == 88


def test_a_tie_that_only_the_decimals_of_a_long_price_decide_is_left():
    price = math.nextafter(0.00125, 1.0)
    assert charge("ibkr_fixed", 7.0, price) == machine.UNSURE
    assert exactly("ibkr_fixed", 7.0, price) == 88


def test_where_the_cap_meets_the_minimum_either_is_charged():
    # 100 shares of 1.00: the minimum of 1.00 is 1 % of the value as well
    assert charge("ibkr_fixed", 100.0, 1.0) == exactly("ibkr_fixed", 100.0, 1.0) == 1_000_000


def test_orders_too_large_for_whole_numbers_are_left():
    assert charge("ibkr_fixed", 2e8, 10.0) == machine.UNSURE


def test_the_model_none_charges_nothing():
    assert charge("none", 500.0, 10.0) == 0


@cache
def terms(financing):
    costs = CostSettings(
        borrow_rate=financing.borrow_rate, margin_rate=financing.margin_rate, cash_rate=financing.cash_rate
    )
    return terms_of(1_000.0, costs.build(), Limits())


def interest(financing, cash, shorts, days):
    return machine.interest(terms(financing), cash, shorts, days)


FINANCINGS = st.sampled_from(
    [
        Financing(),
        Financing(0.1, 0.06, 0.036),
        Financing(0.0, 0.0, 0.05),
        Financing(0.0333, 0.1, 0.0),
        Financing(0.123456789123, 0.06, 0.01),
    ]
)
MONEY = st.one_of(
    st.builds(lambda cents: cents / 100, st.integers(-50_000_000, 50_000_000)),
    st.integers(-500_000, 500_000).map(float),
    st.floats(-1e6, 1e6),
)


@settings(max_examples=400)
@given(
    financing=FINANCINGS,
    cash=MONEY,
    shorts=st.one_of(st.just(0.0), MONEY.map(abs)),
    days=st.integers(0, 5),
)
def test_interest_is_rounded_to_the_cent_or_not_at_all(financing, cash, shorts, days):
    here, there = interest(financing, cash, shorts, days), financing.accrued(cash, shorts, days)
    assert math.isnan(here) or here == there


@pytest.mark.parametrize(("cash", "due"), [(1_530.0, 0.26), (-1_530.0, -0.26), (1_500.0, 0.25), (-90.0, -0.02)])
def test_half_a_cent_is_rounded_away_from_zero(cash, due):
    financing = Financing(0.0025, 0.06, 0.06)
    assert interest(financing, cash, 0.0, 1) == financing.accrued(cash, 0.0, 1) == due


def test_half_a_cent_of_an_amount_with_many_digits_is_left():
    financing = Financing(0.0025, 0.06, 0.06)
    assert math.isnan(interest(financing, math.nextafter(1_530.0, 0.0), 0.0, 1))


def test_every_rate_of_the_table_is_a_whole_number_of_its_unit():
    assert [Decimal(int(row[0])) / 10**12 for row in SALES] == [one.sec for one in fee_table().sale_fees]
    assert date(2024, 5, 22) in DAYS
