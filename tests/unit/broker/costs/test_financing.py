"""Interest: actual days over 360, short proceeds are collateral."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.costs import Financing
from broker.errors import InvalidFillError

RATES = Financing(borrow_rate=0.03, margin_rate=0.06, cash_rate=0.02)


@pytest.mark.parametrize(
    ("cash", "short", "days", "interest"),
    [
        (36_000, 0, 1, 2.00),  # idle cash earns
        (-60_000, 0, 3, -30.00),  # a margin loan over a weekend
        (120_000, 120_000, 1, -10.00),  # only the borrowed shares cost: the proceeds earn nothing
        (156_000, 120_000, 1, -8.00),  # own cash beside the proceeds earns
        (20_000, 80_000, 1, -6.67 - 10.00),  # proceeds repay no loan: 60,000 is borrowed money
        (36_000, 0, 0, 0.0),
        (0, 0, 5, 0.0),
    ],
)
def test_interest_for_some_days(cash, short, days, interest):
    assert RATES.accrued(cash, short, days) == pytest.approx(interest)


def test_interest_is_rounded_half_up_to_cents_on_both_sides():
    assert Financing(cash_rate=0.36).accrued(5, 0, 1) == 0.01  # half a cent
    assert Financing(margin_rate=0.36).accrued(-5, 0, 1) == -0.01


def test_by_default_shorts_and_loans_cost_something_and_cash_earns_nothing():
    assert Financing().accrued(0, 0, 30) == 0
    assert Financing().accrued(100_000, 100_000, 360) == -250
    assert Financing().accrued(-100_000, 0, 360) == -6_000
    assert Financing().accrued(100_000, 0, 360) == 0
    assert Financing().notice is None


@pytest.mark.parametrize(
    ("rates", "notice"),
    [
        (Financing(borrow_rate=0), "No interest on short positions."),
        (Financing(margin_rate=0), "No interest on margin loans."),
        (Financing(0, 0), "No interest on short positions and margin loans."),
    ],
)
def test_free_borrowing_is_said_aloud(rates, notice):
    assert rates.notice == notice


@pytest.mark.parametrize(
    "case", [(math.nan, 0, 1), (math.inf, 0, 1), (0, -1, 1), (0, math.nan, 1), (0, math.inf, 1), (0, 0, -1)]
)
def test_numbers_that_cannot_be_are_errors(case):
    with pytest.raises(InvalidFillError, match="interest: "):
        RATES.accrued(*case)


@given(st.floats(-1e7, 1e7), st.floats(0, 1e7), st.integers(0, 400))
def test_more_shorts_never_earn_more(cash, short, days):
    assert RATES.accrued(cash, short + 1_000, days) <= RATES.accrued(cash, short, days)
