"""The books of a run: true ones pass, every kind of false one is found."""

import dataclasses

import backtrader as bt
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from research.accounting import check_accounting, require_balanced
from research.engine import replay
from research.errors import AccountingError
from research.feed import SymbolBars
from tests.unit.research.scenarios import prepared, walk


class Turning(bt.Strategy):
    """Long, short, flat in turns on all symbols, in odd sizes."""

    def next(self):
        for number, data in enumerate(self.datas):
            if len(self) % (7 + number) == 0:
                self.order_target_percent(data, (0.4, -0.3, 0.0, 0.15)[(len(self) // 7) % 4])


COSTS = {"model": "ibkr_tiered", "participation": 0.05, "borrow_rate": 0.05, "margin_rate": 0.08, "cash_rate": 0.02}


@pytest.fixture(scope="module")
def books():
    ready = prepared(Turning, walk("A", 250, 1, volume=2e3), walk("B", 250, 2, volume=5e3), costs=COSTS)
    return replay(ready), ready.bars


def check(output, bars):
    return check_accounting(output, bars, participation=0.05)


def changed(table, column, row, change):
    """The table with one value changed."""
    values = table[column].to_pylist()
    values[row] = change(values[row])
    at = table.schema.get_field_index(column)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


def test_a_run_with_everything_in_it_adds_up(books):
    output, bars = books
    assert output.fills.num_rows > 100
    assert output.trades.num_rows > 20
    assert output.open_trades.num_rows
    assert {"long", "short"} == set(output.trades["side"].to_pylist())
    assert output.commission > 50
    assert output.slippage > 10
    assert output.financing != 0
    assert check(output, bars) == ()


@pytest.mark.parametrize(
    ("table", "column", "row", "change", "violation"),
    [
        ("fills", "price", 5, lambda price: price * 2, "outside the bar's"),
        ("fills", "price", 5, lambda price: price + 1e-3, "cash at"),
        ("fills", "quantity", 5, lambda quantity: quantity + 1, "position_value at"),
        ("fills", "quantity", 5, lambda quantity: quantity * 40, "of a bar that allows"),
        ("fills", "quantity", 5, lambda quantity: quantity * 40, "was allowed"),
        ("fills", "commission", 5, lambda fee: 0.0, "cash at"),
        ("fills", "side", 5, lambda side: "sell" if side == "buy" else "buy", "position_value at"),
        ("fills", "order_id", 5, lambda number: 99_999, "a fill belongs to no order"),
        ("orders", "ts", 3, lambda ts: ts.replace(year=2030), "not later than their order"),
        ("equity", "equity", 100, lambda equity: equity + 0.01, "equity at"),
        ("equity", "cash", 100, lambda cash: cash + 0.01, "cash at"),
        ("equity", "financing", 100, lambda interest: interest + 1, "cash at"),
        ("trades", "gross_profit", 5, lambda profit: profit + 1, "trades, costs and financing explain"),
        ("trades", "costs", 5, lambda costs: costs + 1, "trades carry"),
        ("open_trades", "gross_profit", 0, lambda profit: -profit, "trades, costs and financing explain"),
    ],
)
def test_a_false_number_is_found(books, table, *, column, row, change, violation):
    output, bars = books
    false = dataclasses.replace(output, **{table: changed(getattr(output, table), column, row, change)})
    found = check(false, bars)
    assert any(violation in sentence for sentence in found)


def test_a_fill_without_a_bar_of_its_symbol_is_found(books):
    output, bars = books
    series = bars["A"]
    filled = pc.filter(output.fills["ts"], pc.equal(output.fills["symbol"], "A"))[0].value
    others = series.ts != filled
    names = ("ts", "sessions", "open", "high", "low", "close", "volume")
    gap = SymbolBars("A", *(getattr(series, name)[others] for name in names))
    assert "A was filled at a moment without a bar of its own" in check(output, bars | {"A": gap})


def test_an_unbalanced_run_raises_the_first_violation(books):
    output, bars = books
    require_balanced(output, bars, participation=0.05)
    false = dataclasses.replace(output, equity=changed(output.equity, "cash", 100, lambda cash: cash + 0.01))
    with pytest.raises(AccountingError, match=r"^backtest does not add up: cash at .* \(1 more\).$"):
        require_balanced(false, bars, participation=0.05)
