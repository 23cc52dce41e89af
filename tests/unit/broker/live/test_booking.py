"""Executions as Backtrader books them, against plain arithmetic."""

from datetime import datetime
from decimal import Decimal

import backtrader as bt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.live.booking import Booking, average_of_difference

CON_ID = 1
fills = st.lists(
    st.tuples(st.integers(-50, 50).filter(bool), st.integers(100, 900).map(lambda cents: cents / 10)), max_size=25
)


def feed_with_a_bar():
    """A feed that Cerebro has played to its only bar."""
    bar = {name: [50.0] for name in ("open", "high", "low", "close", "volume")}
    feed = bt.feeds.PandasData(dataname=pd.DataFrame(bar, index=[datetime(2024, 1, 8, 15, 0)]))  # noqa: DTZ001
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(feed)
    cerebro.addstrategy(bt.Strategy)
    cerebro.run(runonce=False, preload=False)
    return feed


FEED = feed_with_a_bar()


def booked(executions, fee=1.0):
    """Book executions; the booking, what was told of closed trades, and the orders."""
    told = []
    booking = Booking({}, told.append)
    orders = [booking.external(FEED, CON_ID, size, price, fee) for size, price in executions]
    return booking, told, orders


@given(fills)
def test_profits_of_trades_and_the_open_position_add_up_to_the_cash(executions):
    booking, told, orders = booked(executions)
    cash = -sum(size * price + 1.0 for size, price in executions)
    position = booking.position(CON_ID)
    open_profit = booking._profits.get(CON_ID, 0.0)
    assert position.size == sum(size for size, _ in executions)
    assert sum(told) + open_profit - position.size * position.price == pytest.approx(cash, abs=1e-6)
    assert sum(order.executed.comm for order in orders) == pytest.approx(len(executions))


@given(fills)
def test_a_trade_is_told_when_the_position_is_flat_or_turns(executions):
    _, told, _ = booked(executions)
    held, ends = 0, 0
    for size, _ in executions:
        ends += held != 0 and held * (held + size) <= 0
        held += size
    assert len(told) == ends


@given(fills)
def test_backtraders_trades_earn_the_same(executions):
    booking, told, orders = booked(executions)
    trade, earned = bt.Trade(data=None), []
    for order in orders:
        (bit,) = order.executed.exbits
        for size, value, fee in (
            (bit.closed, bit.closedvalue, bit.closedcomm),
            (bit.opened, bit.openedvalue, bit.openedcomm),
        ):
            if trade.isclosed and size:
                trade = bt.Trade(data=None)
            if size:
                trade.data = FEED
                trade.update(order, size, bit.price, value, fee, bit.pnl, booking.commissions(CON_ID))
                earned += [trade.pnlcomm] if trade.isclosed else []
    assert earned == pytest.approx(told, abs=1e-6)


def test_fractions_that_add_up_close_the_position():
    booking, told, _ = booked([(0.1, 10.0), (0.2, 10.0), (-0.3, 11.0)], fee=0.0)
    assert booking.position(CON_ID).size == 0
    assert told == [pytest.approx(0.3)]


def test_a_commission_is_split_between_what_closes_and_what_opens():
    _, _, orders = booked([(10, 50.0), (-40, 50.0)], fee=4.0)
    (bit,) = orders[1].executed.exbits
    assert (bit.closed, bit.opened, bit.closedcomm, bit.openedcomm) == (-10, -30, 1.0, 3.0)


def test_a_late_commission_is_added_to_its_execution():
    booking, _, (order,) = booked([(10, 50.0)])
    (bit,) = order.executed.exbits
    booking.amend(CON_ID, order, bit, 0.5)
    assert (bit.openedcomm, bit.comm, order.executed.comm) == (1.5, 1.5, 1.5)


@pytest.mark.parametrize(
    ("before", "after", "held_at", "cost", "price"),
    [
        (0, 10, 0.0, 48, 48.0),  # all of it came at the average cost
        (10, 20, 40.0, 45, 50.0),  # the second ten at 50 make an average of 45
        (10, 4, 40.0, 40, 47.0),  # what went, went at the last price
        (10, -5, 40.0, 50, 47.0),
        (0, 10, 0.0, 0, 47.0),  # no cost is told
    ],
)
def test_a_change_without_an_execution_has_the_price_that_explains_the_cost(before, after, held_at, cost, price):
    assert average_of_difference(Decimal(before), Decimal(after), held_at, Decimal(cost), 47.0) == price
