"""The difference between two outcomes of one decision, worked out by hand, and the law that its parts add up."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.parity.orders import DecidedOrder
from research.parity.parts import Parts, between, revised
from tests.unit.research.parity.orders import at, order

D = Decimal
MARK = D(105)


def split(live, modelled, expected="1", mark=MARK):
    return between(live, modelled, mark, expected=D(expected))


def test_the_same_outcome_differs_in_nothing():
    assert split(order(), order()) == Parts()


def test_a_worse_price_of_a_buy_costs_its_shares_times_the_difference():
    assert split(order(price="100.25"), order(price="100")) == Parts(price=D("-2.50"))


def test_a_better_price_of_a_sale_is_above_zero():
    assert split(order("SELL", price="100.25"), order("SELL", price="100")) == Parts(price=D("2.50"))


def test_shares_that_were_not_ordered_live_did_not_earn_what_the_backtest_s_did():
    live = order(ordered=6)  # 4 shares fewer, which rose from 100 to 105
    assert split(live, order(ordered=10)) == Parts(size=D(-20))


def test_size_is_at_the_backtest_s_price_and_the_rest_is_price():
    live = order(ordered=6, price="101")
    assert split(live, order(ordered=10)) == Parts(size=D(-20), price=D(-6))


def test_an_order_that_was_not_filled_missed_all_that_the_backtest_earned():
    live = order(filled=0)
    assert split(live, order(), "0") == Parts(missed_fill=D(-49))  # 10 shares rose by 5, less its commission of 1


def test_an_order_that_filled_in_part_missed_the_rest():
    live = order(filled=4, commission="1")
    assert split(live, order()) == Parts(missed_fill=D(-30))


def test_a_fill_that_the_backtest_did_not_get_is_a_gain_or_a_loss():
    assert split(order(price="104"), order(filled=0)) == Parts(missed_fill=D(9))


def test_a_commission_above_the_model_s_is_costs():
    assert split(order(commission="1.35"), order(commission="1"), "1") == Parts(costs=D("-0.35"))


@pytest.mark.parametrize(
    ("live", "part"),
    [
        (order(ordered=6, commission="0.60"), "size"), (order(filled=6, commission="0.60"), "missed_fill"),
        (order(price="101", commission="0.60"), "price"),
    ],
)  # fmt: skip
def test_what_the_model_charges_for_other_fills_goes_where_the_fills_differ(live, part):
    cheap = split(live, order(commission="1"), "0.60")
    dear = split(live, order(commission="3"), "0.60")
    assert getattr(dear, part) - getattr(cheap, part) == 2
    assert dear.total - cheap.total == 2
    assert cheap.costs == dear.costs == 0


def test_a_decision_that_only_the_backtest_made_is_a_missed_signal():
    assert split(None, order()) == Parts(signal=D(-49))


def test_a_decision_that_only_the_live_session_made_is_signal_too():
    assert split(order(), None) == Parts(signal=D(49))


def test_a_decision_that_came_late_is_signal_whole_with_price_and_size():
    late = order(bar=4, price="103", ordered=8)
    assert split(late, order(bar=1)) == Parts(signal=(8 * D(2) - 1) - D(49))


def test_a_stop_that_was_renewed_on_another_bar_is_no_late_signal():
    live = order("SELL", bar=7, kind="stop", price="99.50")
    assert split(live, order("SELL", bar=3, kind="stop", price="99.75")) == Parts(price=D("-2.50"))


def test_an_order_that_only_later_bars_decide_is_a_data_revision():
    assert revised(None, order(), MARK) == Parts(data_revision=D(-49))
    assert revised(order(), None, MARK) == Parts(data_revision=D(49))


def test_prices_with_an_endless_average_lose_nothing():
    # 3 shares for 100 a share and less: their average has no end
    live = order(ordered=7, filled=7, value=D("700.07"))
    modelled = order(ordered=3, filled=3, value=D("299.99"), commission="0.35")
    parts = split(live, modelled, "0.70")
    assert parts.total == live.worth(MARK) - modelled.worth(MARK)


AMOUNTS = st.decimals(0, 10**7, places=6)
SHARES = st.decimals(0, 10**6, places=4)


@st.composite
def outcomes(draw):
    """Any order with a fill of any size: the broker may fill more than was ordered."""
    filled = draw(SHARES)
    return DecidedOrder(
        symbol="AAPL",
        bar=at(draw(st.integers(0, 2))),
        side=draw(st.shared(st.sampled_from(["BUY", "SELL"]), key="side")),
        kind=draw(st.shared(st.sampled_from(["market", "stop"]), key="kind")),
        ordered=draw(SHARES),
        filled=filled,
        value=draw(AMOUNTS) if filled else D(0),
        commission=draw(st.decimals(-100, 10**4, places=6)) if filled else D(0),
        reference="any",
    )


@given(live=st.none() | outcomes(), modelled=st.none() | outcomes(), mark=AMOUNTS, expected=AMOUNTS)
def test_parts_add_up_to_the_difference_exactly(live, modelled, mark, expected):
    if live is None and modelled is None:
        return
    worth = [D(0) if one is None else one.worth(mark) for one in (live, modelled)]
    assert between(live, modelled, mark, expected=expected).total == worth[0] - worth[1]


@given(st.lists(st.builds(Parts, *[st.decimals(-(10**12), 10**12, places=12)] * 6)))
def test_a_sum_of_parts_has_the_sum_of_their_totals(many):
    assert Parts.sum_of(many).total == sum((one.total for one in many), D(0))
