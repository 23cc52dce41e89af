"""The tables of a run, built from what was recorded while it ran.

Belongs here: equity, orders, fills from the recorder's lists. Does not belong here: trades (see `trades`), checks
(see `accounting`), metrics.

Equity is not observed bar by bar: cash and positions change only at fills, interest and deposits, so their steps and
the closes give every bar's value in a few array operations, in the order in which Backtrader adds them up.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from research.clock import Clock
from research.feed import Floats, Integers, SymbolBars
from research.recorder import OrderRecord, Recorder
from research.run_output import EQUITY_SCHEMA, FILLS_SCHEMA, ORDERS_SCHEMA
from warehouse.schema import UTC_US

_OF_EQUITY: Final = ("equity", "cash", "position_value", "gross_value", "financing")
_AT_A_TIME: Final = 65_536  # bars


def equity_table(recorder: Recorder, clock: Clock, all_bars: Sequence[SymbolBars], bars_done: int) -> pa.Table:
    """EQUITY_SCHEMA, one row for each of the first `bars_done` bars of the clock.

    `all_bars` must come in the order in which the broker met the symbols, for sums to be the broker's own.
    """
    columns = {name: np.zeros(bars_done) for name in _OF_EQUITY}
    for bar, amount in recorder.financing:
        columns["financing"][bar] += amount
    held = [bars for bars in all_bars if recorder.positions.get(bars.symbol)]
    cash = _Steps(recorder.cash)
    sizes = [_Steps([(-1, 0.0), *((bar, size) for bar, size, _ in recorder.positions[bars.symbol])]) for bars in held]
    averages = [
        _Steps([(-1, 0.0), *((bar, mean) for bar, _, mean in recorder.positions[bars.symbol])]) for bars in held
    ]
    for first in range(0, bars_done, _AT_A_TIME):  # what is thrown away again then takes no memory to speak of
        last = min(first + _AT_A_TIME, bars_done)
        part = {name: column[first:last] for name, column in columns.items()}
        value = np.zeros(last - first)
        for bars, size, average in zip(held, sizes, averages, strict=True):
            close = closes_on(clock.ts[first:last], bars)
            value = _add_position(part, value, size.at(first, last), average.at(first, last), close)
        part["cash"][:] = cash.at(first, last)
        part["equity"][:] = part["cash"] + value
    return _table([clock.ts[:bars_done], clock.days[:bars_done], *columns.values()], EQUITY_SCHEMA)


def _add_position(part: Mapping[str, Floats], value: Floats, size: Floats, average: Floats, close: Floats) -> Floats:
    """Add one symbol's position to some bars; returns the value of all so far."""
    worth = np.where(size == 0, 0.0, size * close)
    # Backtrader adds the cost and the unrealised profit of a long position one after the other
    profit = np.where(size == 0, 0.0, size * (close - average))
    part["position_value"][:] += worth
    part["gross_value"][:] += np.abs(worth)
    total: Floats = np.where(worth > 0, (value + (worth - profit)) + profit, value + worth)
    return total


def closes_on(ts: Integers, bars: SymbolBars) -> Floats:
    """The symbol's last close at each moment; NaN before its first bar."""
    at = np.searchsorted(bars.ts, ts, side="right") - 1
    closes: Floats = np.where(at >= 0, bars.close[at], np.nan)
    return closes


def fills_table(recorder: Recorder, clock: Clock) -> pa.Table:
    """FILLS_SCHEMA in the order of execution."""
    fills = recorder.fills
    columns = [
        _at(clock.ts, [fill.bar for fill in fills]),
        clock.days[np.array([fill.bar for fill in fills], dtype=np.int64)],
        [fill.symbol for fill in fills],
        ["buy" if fill.quantity > 0 else "sell" for fill in fills],
        [abs(fill.quantity) for fill in fills],
        [fill.price for fill in fills],
        [fill.commission for fill in fills],
        [fill.slippage for fill in fills],
        [fill.order_number for fill in fills],
    ]
    return _table(columns, FILLS_SCHEMA)


def orders_table(recorder: Recorder, clock: Clock) -> pa.Table:
    """ORDERS_SCHEMA in the order of submission; `ts` is the first bar's for orders from before it."""
    orders = recorder.orders
    columns = [
        [order.number for order in orders],
        [order.parent for order in orders],
        _at(clock.ts, [max(order.bar, 0) for order in orders]),
        [order.symbol for order in orders],
        ["buy" if order.order.isbuy() else "sell" for order in orders],
        [order.kind for order in orders],
        [abs(order.requested) for order in orders],
        [abs(order.approved) for order in orders],
        [order.price for order in orders],
        [order.limit_price for order in orders],
        [abs(order.filled) for order in orders],
        [_status(order) for order in orders],
        _at(clock.ts, [max(order.final_bar, 0) for order in orders]),
        [order.reason for order in orders],
    ]
    return _table(columns, ORDERS_SCHEMA)


def _status(record: OrderRecord) -> str:
    """Backtrader's word for the order's status, in lower case: completed, canceled, rejected, margin, ..."""
    return str(record.order.getstatusname()).lower()


class _Steps:
    """A value at each bar, from (bar, value from then on); the first change must be at bar -1."""

    def __init__(self, changes: Sequence[tuple[int, float]]) -> None:
        self._bars = np.array([bar for bar, _ in changes])
        self._values = np.array([value for _, value in changes], dtype=np.float64)

    def at(self, first: int, last: int) -> Floats:
        """The values at the bars from `first` to before `last`."""
        values: Floats = self._values[np.searchsorted(self._bars, np.arange(first, last), side="right") - 1]
        return values


def _at(ts: Integers, bars: Sequence[int]) -> Integers:
    moments: Integers = ts[np.array(bars, dtype=np.int64)]
    return moments


def _table(columns: Sequence[object], schema: pa.Schema) -> pa.Table:
    return pa.table([_array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema)


def _array(column: object, kind: pa.DataType) -> pa.Array:
    if kind == UTC_US:
        return pa.array(column, pa.int64()).cast(kind)
    return pa.array(column, pa.int32()).cast(kind) if kind == pa.date32() else pa.array(column, kind)
