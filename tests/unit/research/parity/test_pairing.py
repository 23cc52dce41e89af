"""Which orders of two runs belong to one decision."""

from hypothesis import given
from hypothesis import strategies as st

from research.parity.pairing import paired
from tests.unit.research.parity.orders import order


def pairs(one, other):
    return [(p.one and p.one.reference, p.other and p.other.reference) for p in paired(one, other)]


def test_the_same_bar_and_side_is_the_same_decision():
    live, modelled = [order(bar=1), order("SELL", bar=5)], [order("SELL", bar=5), order(bar=1)]
    assert pairs(live, modelled) == [("BUY-1", "BUY-1"), ("SELL-5", "SELL-5")]


def test_another_symbol_is_another_decision():
    assert pairs([order(reference="a")], [order(symbol="MSFT", reference="m")]) == [("a", None), (None, "m")]


def test_orders_that_nobody_filled_still_belong_together():
    assert pairs([order(filled=0)], [order(filled=0)]) == [("BUY-1", "BUY-1")]


def test_a_later_order_of_the_same_side_is_the_same_signal_come_late():
    assert pairs([order(bar=9)], [order(bar=4)]) == [("BUY-9", "BUY-4")]


def test_an_earlier_order_of_the_same_side_is_the_same_signal_come_early():
    assert pairs([order(bar=4)], [order(bar=9)]) == [("BUY-4", "BUY-9")]


def test_a_signal_came_late_rather_than_early():
    assert pairs([order(bar=5)], [order(bar=4), order(bar=6)]) == [("BUY-5", "BUY-4"), (None, "BUY-6")]


def test_a_signal_is_not_late_once_the_backtest_has_turned():
    missed = [order(bar=1), order("SELL", bar=3)]
    assert pairs([order(bar=9)], missed) == [(None, "BUY-1"), (None, "SELL-3"), ("BUY-9", None)]


def test_only_the_last_of_two_missed_signals_came_late():
    assert pairs([order(bar=9)], [order(bar=1), order(bar=5)]) == [(None, "BUY-1"), ("BUY-9", "BUY-5")]


def stop(bar, filled=10, **fields):
    return order("SELL", bar=bar, kind="stop", filled=filled, **fields)


def test_stops_that_filled_belong_together_whenever_they_were_renewed():
    live = [stop(2, filled=0), stop(4, filled=0), stop(6)]
    modelled = [stop(3, filled=0), stop(5)]
    assert pairs(live, modelled) == [("SELL-6", "SELL-5")]


def test_a_stop_that_filled_on_one_side_belongs_to_the_one_that_waited_last():
    assert pairs([stop(2, filled=0), stop(4, filled=0)], [stop(3)]) == [("SELL-4", "SELL-3")]
    assert pairs([stop(3)], [stop(2, filled=0), stop(4, filled=0)]) == [("SELL-3", "SELL-4")]


def test_a_stop_that_nothing_answers_is_alone():
    assert pairs([stop(3)], []) == [("SELL-3", None)]


def test_a_stop_is_no_market_order():
    assert pairs([stop(3)], [order("SELL", bar=3, reference="exit")]) == [("SELL-3", None), (None, "exit")]


ORDERS = st.lists(
    st.builds(
        order,
        st.sampled_from(["BUY", "SELL"]),
        bar=st.integers(0, 6),
        filled=st.sampled_from([0, 10]),
        kind=st.sampled_from(["market", "stop", "limit"]),
        symbol=st.sampled_from(["AAPL", "MSFT"]),
    ),
    max_size=8,
)


@given(one=ORDERS, other=ORDERS)
def test_every_filled_order_is_in_exactly_one_pair(one, other):
    found = paired(one, other)
    for orders, mine in ((one, [p.one for p in found]), (other, [p.other for p in found])):
        kept = sorted(id(order) for order in mine if order is not None)
        assert len(kept) == len(set(kept))
        assert {id(order) for order in orders if order.filled} <= set(kept)
    assert all(p.one is not None or p.other is not None for p in found)


@given(orders=ORDERS)
def test_a_run_paired_with_itself_leaves_no_order_alone(orders):
    assert all(p.one is not None and p.other is not None for p in paired(orders, list(orders)))
