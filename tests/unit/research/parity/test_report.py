"""Rows, notes and sums of a parity report."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.experiment import Experiment
from research.parity.live import LiveSession
from research.parity.parts import Parts
from research.parity.replay import Opening
from research.parity.report import compared
from risk.decision import RiskState
from tests.unit.research.parity.orders import OPEN, at, order

D = Decimal
EXPERIMENT = Experiment.build(
    strategy="strategies.sma_crossover.SMACrossover", symbols=["AAPL", "MSFT"], start="2024-01-02", end="2024-01-05",
    costs={"model": "none"},
)  # fmt: skip


def session(orders, **changes):
    """A session of five minutes that were all seen in time."""
    opening = Opening(OPEN, D(10_000), D(0), {}, (), RiskState(), {})
    fields = {
        "deployment": "sma", "session": OPEN.date(), "orders": tuple(orders), "opening": opening, "bars": {},
        "seen": {("AAPL", at(n)): (at(n), True) for n in range(1, 6)}, "marks": {"AAPL": D(105), "MSFT": D(55)},
        "refused": (), "equity": D(10_000), "closes": at(5), "commissions_missing": 0, **changes,
    }  # fmt: skip
    return LiveSession(**fields)


def report(live, modelled, stored=None, **changes):
    return compared(session(live, **changes), modelled, stored, experiment=EXPERIMENT)


def test_without_the_warehouse_s_bars_live_is_held_against_the_bars_as_seen():
    found = report([order(price="101", commission="0")], [order(commission="0")])
    assert (found.live_result, found.seen_result, found.stored_result, found.total) == (40, 50, None, -10)
    assert found.parts == Parts(price=D(-10))


def test_with_the_warehouse_s_bars_the_revision_is_a_part():
    free = {"commission": "0"}
    found = report([order(price="101", **free)], [order(**free)], [order(price="99", **free)])
    assert (found.total, found.parts) == (-20, Parts(data_revision=D(-10), price=D(-10)))


def test_a_decision_that_only_the_warehouse_s_bars_make_has_a_row_of_its_own():
    found = report([], [], [order(commission="0")])
    (row,) = found.trades
    assert (row.live, row.seen, row.parts, row.note) == (
        None, None, Parts(data_revision=D(-50)), "only the warehouse's bars decide so"
    )  # fmt: skip
    assert found.signals == 0


def test_a_decision_that_the_warehouse_s_bars_do_not_make_says_so():
    (row,) = report([order(commission="0")], [order(commission="0")], []).trades
    assert (row.parts, row.note) == (Parts(data_revision=D(50)), "not decided over the warehouse's bars")


def test_an_order_that_nobody_filled_is_no_trade():
    assert report([order(filled=0)], [order(filled=0)]).trades == ()


def test_a_missed_signal_says_that_the_bar_came_too_late():
    late = {("AAPL", at(1)): (at(4), False)}
    (row,) = report([], [order(bar=1)], seen=late).trades
    assert row.note == "the bar was seen at 14:34:00 UTC, when no order could be sent"


def test_a_missed_signal_says_that_nobody_saw_the_bar():
    (row,) = report([], [order(bar=9)]).trades
    assert row.note == "no run saw the bar"


def test_a_missed_signal_says_that_risk_refused_it():
    refused = ((at(2) + timedelta(seconds=3), "AAPL", "no entries while the risk state is HALT_ENTRIES"),)
    rows = report([], [order(bar=1), order("SELL", bar=2)], refused=refused).trades
    assert [row.note for row in rows] == [
        "no such order was decided live", "refused live: no entries while the risk state is HALT_ENTRIES"
    ]  # fmt: skip


def test_an_order_that_risk_refuses_in_the_backtest_is_no_decision_there():
    refused = order(ordered=0, filled=0, reason="no entries while the risk state is HALT_ENTRIES")
    found = report([order()], [refused])
    (row,) = found.trades
    assert (row.seen, row.note) == (
        None, "refused in the backtest: no entries while the risk state is HALT_ENTRIES"
    )  # fmt: skip
    assert found.parts == Parts(signal=D(49))


def test_a_fill_by_somebody_else_is_a_signal_of_the_live_side_only():
    by_hand = order("SELL", kind="external", reason="not decided by the strategy", commission="0")
    found = report([by_hand], [])
    assert (found.signals, found.trades[0].note, found.parts) == (
        1, "not decided by the strategy", Parts(signal=D(-50))
    )  # fmt: skip


@pytest.mark.parametrize(
    ("live", "modelled", "note"),
    [
        (4, 1, "decided 0:03:00 later than in the backtest"),
        (1, 2, "decided 0:01:00 earlier than in the backtest"),
    ],
)
def test_a_signal_on_another_bar_says_by_how_much(live, modelled, note):
    (row,) = report([order(bar=live)], [order(bar=modelled)]).trades
    assert (row.note, row.signal_differs) == (note, True)


def test_a_fill_in_part_says_why():
    (row,) = report([order(filled=4, reason="cancelled by the broker")], [order()]).trades
    assert row.note == "live 4 of 10 were filled: cancelled by the broker"


def test_bars_that_no_run_saw_are_remarked_on():
    found = report([], [], seen={("AAPL", at(3)): (at(3), True)})
    assert found.remarks == ("No run saw bars after 14:33 UTC; what came after is not compared.",)


def test_commissions_that_the_broker_has_not_told_are_remarked_on():
    assert report([], [], commissions_missing=2).remarks == (
        "2 fills have no commission from the broker; the cost model's is taken.",
    )


ORDERS = st.lists(
    st.builds(
        order,
        st.sampled_from(["BUY", "SELL"]),
        bar=st.integers(0, 4),
        ordered=st.integers(1, 30),
        filled=st.integers(0, 30),
        price=st.decimals(1, 500, places=6),
        commission=st.decimals(0, 9, places=6),
        kind=st.sampled_from(["market", "stop"]),
        symbol=st.sampled_from(["AAPL", "MSFT"]),
    ),
    max_size=6,
)


@settings(max_examples=60)
@given(live=ORDERS, seen=ORDERS, stored=st.none() | ORDERS)
def test_all_parts_of_all_trades_add_up_to_the_difference_of_the_results(live, seen, stored):
    found = report(live, seen, stored)
    reference = found.seen_result if stored is None else found.stored_result
    assert found.parts.total == found.total == found.live_result - reference
    assert sum((trade.parts.total for trade in found.trades), D(0)) == found.total
