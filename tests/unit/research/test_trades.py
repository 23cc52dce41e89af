"""Trades from fills: sides, sizes, averages, profits."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.feed import SymbolBars
from research.run_output import FILLS_SCHEMA
from research.trades import trades_from_fills

START = dt.datetime(2024, 1, 2, 21, tzinfo=dt.UTC)


def bars(count=40, last=100.0):
    ts = np.array([int((START + dt.timedelta(days=day)).timestamp() * 1e6) for day in range(count)])
    price = np.full(count, last)
    return {"X": SymbolBars("X", ts, ts // 86_400_000_000, price, price, price, price, price)}


def fills(*rows):
    """From (bar, signed quantity, price[, commission])."""
    table = []
    for number, (bar, quantity, price, *commission) in enumerate(rows, 1):
        ts = START + dt.timedelta(days=bar)
        side = "buy" if quantity > 0 else "sell"
        fee = commission[0] if commission else 0.0
        table.append((ts, ts.date(), "X", side, abs(quantity), price, fee, 0.0, number))
    return pa.Table.from_pylist([dict(zip(FILLS_SCHEMA.names, row, strict=True)) for row in table], FILLS_SCHEMA)


def shown(trades):
    names = (
        "side",
        "quantity",
        "entry_price",
        "exit_price",
        "gross_profit",
        "costs",
        "net_profit",
        "bars_held",
        "fills",
    )
    return [tuple(trade[name] for name in names) for trade in trades.to_pylist()]


def test_a_long_trade_has_its_size_prices_and_profit():
    closed, still_open = trades_from_fills(fills((1, 10, 100.0, 1.0), (4, -10, 110.0, 2.0)), bars())
    assert shown(closed) == [("long", 10, 100.0, 110.0, 100.0, 3.0, 97.0, 3, 2)]
    assert closed["return"][0].as_py() == pytest.approx(0.097)
    assert still_open.num_rows == 0


def test_a_short_trade_is_short_and_earns_when_the_price_falls():
    closed, _ = trades_from_fills(fills((1, -10, 100.0), (2, 10, 90.0)), bars())
    assert shown(closed) == [("short", 10, 100.0, 90.0, 100.0, 0.0, 100.0, 1, 2)]


def test_pieces_are_one_trade_at_average_prices():
    closed, _ = trades_from_fills(fills((1, 10, 100.0), (2, 30, 104.0), (3, -15, 110.0), (5, -25, 102.0)), bars())
    assert shown(closed) == [("long", 40, 103.0, 105.0, 80.0, 0.0, 80.0, 4, 4)]


def test_a_reversal_ends_one_trade_and_begins_the_next_and_shares_its_commission():
    closed, still_open = trades_from_fills(fills((1, 10, 100.0, 1.0), (2, -30, 110.0, 3.0)), bars(last=105.0))
    assert shown(closed) == [("long", 10, 100.0, 110.0, 100.0, 2.0, 98.0, 1, 2)]
    assert shown(still_open) == [("short", 20, 110.0, None, 100.0, 2.0, 98.0, 37, 1)]
    assert still_open["exit_ts"][0].as_py() is None


def test_an_open_trade_counts_what_it_already_sold():
    _, still_open = trades_from_fills(fills((1, 10, 100.0), (2, -4, 110.0)), bars(last=120.0))
    assert shown(still_open) == [("long", 10, 100.0, 110.0, 4 * 10 + 6 * 20, 0.0, 160.0, 38, 2)]


quantities = st.integers(-50, 50).filter(bool)
prices = st.floats(1, 500).map(lambda price: round(price, 2))


@given(st.lists(st.tuples(quantities, prices, st.floats(0, 5)), max_size=30))
@settings(max_examples=150, deadline=None)
def test_profits_are_money_received_minus_money_paid_plus_what_is_held(rows):
    table = fills(*[(bar, *row) for bar, row in enumerate(rows)])
    closed, still_open = trades_from_fills(table, bars(last=77.0))
    held = sum(quantity for quantity, _, _ in rows)
    expected = held * 77.0 - sum(quantity * price for quantity, price, _ in rows)
    both = closed.to_pylist() + still_open.to_pylist()
    assert sum(trade["gross_profit"] for trade in both) == pytest.approx(expected, abs=1e-6)
    assert sum(trade["costs"] for trade in both) == pytest.approx(sum(fee for _, _, fee in rows), abs=1e-9)
    assert all(trade["quantity"] > 0 for trade in both)
    assert still_open.num_rows == (1 if held else 0)
    assert all(
        trade["exit_price"] is not None and trade["exit_ts"] >= trade["entry_ts"] for trade in closed.to_pylist()
    )
