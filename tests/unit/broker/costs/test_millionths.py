"""The quick charge is the exact one, to the millionth."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.costs import COST_MODELS, cost_model
from broker.costs.millionths import Millionths, dollars
from broker.errors import InvalidFillError

DAY = date(2010, 3, 1)
MODELS = {
    (name, times): (cost_model(name).scaled(times), Millionths(cost_model(name).scaled(times)))
    for name in COST_MODELS
    for times in (0, 1, 2, 4)
}
NAMED = st.tuples(st.sampled_from(COST_MODELS), st.sampled_from((1, 1, 0, 2, 4)))

shares = st.one_of(
    st.integers(1, 50_000_000).map(float), st.floats(0.001, 10_000), st.decimals(1, 999, places=1).map(float)
)
signed = st.tuples(shares, st.sampled_from([1, -1])).map(lambda pair: pair[0] * pair[1])
prices = st.one_of(st.decimals(Decimal("0.01"), 900, places=2).map(float), st.floats(0.001, 100_000))
months = st.one_of(st.just(0.0), st.integers(0, 200_000_000).map(float), st.floats(0, 4e8))
days = st.integers(0, 14_000).map(lambda later: date(1990, 1, 1) + timedelta(days=later))


@given(NAMED, signed, prices, days, months)
@example(("ibkr_fixed", 1), 100.0, 0.00005, DAY, 0.0)  # the cap of 0.00005 dollars is fifty millionths
@example(("ibkr_fixed", 1), 1.0, 0.00005, DAY, 0.0)  # half a millionth
@example(("ibkr_tiered", 1), -100.0, 0.9999, DAY, 299_950.0)
def test_the_charge_is_the_exact_one(model, quantity, price, day, before):
    costs, quick = MODELS[model]
    exact = costs.commission(quantity, price, day, monthly_shares=before).total
    charged = quick.charge(quantity, price, day, monthly_shares=before)
    assert (Decimal(charged) / 1_000_000, dollars(charged).hex()) == (exact, float(exact).hex())


@given(NAMED, signed, prices, days)
def test_no_order_pays_more_than_the_most(model, quantity, price, day):
    _, quick = MODELS[model]
    assert dollars(quick.charge(quantity, price, day)) <= quick.at_most(abs(quantity), price)


def test_half_a_millionth_is_rounded_up_as_decimals_do():
    costs, quick = MODELS["ibkr_fixed", 1]
    assert costs.commission(1, 0.00005, DAY).total == Decimal("0.000001")
    assert quick.charge(1.0, 0.00005, DAY) == 1


def test_what_lies_between_two_millionths_is_left_to_decimals(monkeypatch):
    asked = []
    quick = Millionths(cost_model("ibkr_fixed"))
    monkeypatch.setattr(quick, "_exactly", lambda *order: asked.append(order) or 0)
    quick.charge(1.0, 0.00005, DAY)
    quick.charge(100.0, 50.0, DAY)
    assert asked == [(1.0, 0.00005, DAY, 0.0)]


@pytest.mark.parametrize("model", COST_MODELS)
@pytest.mark.parametrize(
    ("quantity", "price", "before"),
    [(float("nan"), 5.0, 0.0), (10.0, float("nan"), 0.0), (10.0, -1.0, 0.0), (10.0, 5.0, -1.0), (float("inf"), 1.0, 0)],
)
def test_what_is_no_order_is_refused_as_ever(model, quantity, price, before):
    _, quick = MODELS[model, 1]
    with pytest.raises(InvalidFillError):
        quick.charge(quantity, price, DAY, monthly_shares=before)
