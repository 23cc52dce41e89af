"""Proof that a finished backtest adds up, from its own tables and the bars alone.

Belongs here: identities between cash, positions, fills, orders, trades and bars. Does not belong here: judging whether
a result is good.

The engine checks every run with it before the run is returned; it takes a few milliseconds.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research.errors import AccountingError
from research.feed import Floats, Integers, SymbolBars
from research.run_output import RunOutput
from research.run_tables import closes_on

_RELATIVE = 1e-9


def require_balanced(output: RunOutput, bars: Mapping[str, SymbolBars], *, participation: float | None) -> None:
    """Raise when `check_accounting` finds anything.

    Raises:
        AccountingError: the first violation, and how many there are.
    """
    violations = check_accounting(output, bars, participation=participation)
    if violations:
        more = f" ({len(violations) - 1} more)" if len(violations) > 1 else ""
        raise AccountingError(f"backtest does not add up: {violations[0]}{more}.")


def check_accounting(
    output: RunOutput, bars: Mapping[str, SymbolBars], *, participation: float | None
) -> tuple[str, ...]:
    """Everything about a run that cannot be true, as sentences without a full stop; empty when it adds up.

    Args:
        output: the run.
        bars: the bars it ran on, by symbol.
        participation: largest share of a bar's volume that may be taken, None for no limit.
    """
    found = [*_cash_and_positions(output, bars), *_profits(output), *_orders(output)]
    for symbol in pc.unique(output.fills["symbol"]).to_pylist():
        fills = output.fills.filter(pc.equal(output.fills["symbol"], symbol))
        found.extend(_fills_inside_bars(fills, bars[symbol], participation))
    return tuple(found)


def _cash_and_positions(output: RunOutput, bars: Mapping[str, SymbolBars]) -> Iterator[str]:
    """Cash and positions, rebuilt from the fills, against the equity curve."""
    equity = output.equity
    ts = _microseconds(equity["ts"])
    cash = np.full(len(ts), output.starting_cash) + np.cumsum(_floats(equity["financing"]))
    value = np.zeros(len(ts))
    for symbol, series in bars.items():
        fills = output.fills.filter(pc.equal(output.fills["symbol"], symbol))
        if not fills.num_rows:
            continue
        at = np.searchsorted(ts, _microseconds(fills["ts"]))
        signed, paid, held = _signed(fills), np.zeros(len(ts)), np.zeros(len(ts))
        np.add.at(paid, at, signed * _floats(fills["price"]) + _floats(fills["commission"]))
        np.add.at(held, at, signed)
        held = np.cumsum(held)
        cash -= np.cumsum(paid)
        value += np.where(np.abs(held) < _RELATIVE, 0.0, held * closes_on(ts, series))
    tolerance = _tolerance(output)
    if not output.deposits:
        yield from _differs("cash", _floats(equity["cash"]), cash, tolerance, equity)
    yield from _differs("position_value", _floats(equity["position_value"]), value, tolerance, equity)
    total = _floats(equity["cash"]) + _floats(equity["position_value"])
    yield from _differs("equity", _floats(equity["equity"]), total, tolerance, equity)


def _profits(output: RunOutput) -> Iterator[str]:
    """Trade profits, costs and financing against the change of equity."""
    gross = sum(_floats(table["gross_profit"]).sum() for table in (output.trades, output.open_trades))
    costs = sum(_floats(table["costs"]).sum() for table in (output.trades, output.open_trades))
    change = output.final_equity - output.starting_cash
    explained = gross - output.commission + output.financing + output.deposits
    if abs(change - explained) > _tolerance(output):
        yield f"equity changed by {change!r} but trades, costs and financing explain {explained!r}"
    if abs(costs - output.commission) > _tolerance(output):
        yield f"fills cost {output.commission!r} but trades carry {costs!r}"


def _orders(output: RunOutput) -> Iterator[str]:
    """Every fill belongs to an order that was submitted earlier and was large enough."""
    orders, fills = output.orders, output.fills
    number = _integers(fills["order_id"])
    filled = np.bincount(number, weights=_floats(fills["quantity"]), minlength=orders.num_rows + 1)[1:]
    if len(filled) != orders.num_rows:
        yield "a fill belongs to no order"
        return
    allowed = _floats(orders["quantity"])
    for row in np.flatnonzero(filled > allowed * (1 + _RELATIVE)):
        yield f"order {row + 1} was allowed {allowed[row]!r} and filled {filled[row]!r}"
    submitted = _microseconds(orders["ts"])[number - 1]
    early = int((_microseconds(fills["ts"]) <= submitted).sum())
    if early:
        yield f"{early} fills are not later than their order"


def _fills_inside_bars(fills: pa.Table, bars: SymbolBars, participation: float | None) -> Iterator[str]:
    """Prices inside the bar's range, quantities inside its volume share."""
    ts = _microseconds(fills["ts"])
    at = np.minimum(np.searchsorted(bars.ts, ts), len(bars) - 1)
    if (bars.ts[at] != ts).any():
        yield f"{bars.symbol} was filled at a moment without a bar of its own"
        return
    price, quantity = _floats(fills["price"]), _floats(fills["quantity"])
    for row in np.flatnonzero((price < bars.low[at]) | (price > bars.high[at])):
        low, high = float(bars.low[at[row]]), float(bars.high[at[row]])
        yield f"{bars.symbol} was filled at {float(price[row])!r} outside the bar's {low!r} to {high!r}"
    if participation is None:
        return
    taken = np.bincount(at, weights=quantity, minlength=len(bars))
    share = np.where(np.isnan(bars.volume), np.inf, bars.volume) * participation
    for row in np.flatnonzero(taken > share * (1 + _RELATIVE)):
        yield f"{bars.symbol} was filled {taken[row]!r} of a bar that allows {float(share[row])!r}"


def _differs(name: str, told: Floats, rebuilt: Floats, tolerance: float, equity: pa.Table) -> Iterator[str]:
    wrong = ~(np.abs(told - rebuilt) <= tolerance)
    if wrong.any():
        row = int(np.argmax(wrong))
        yield f"{name} at {equity['ts'][row]} is {float(told[row])!r} but its fills make it {float(rebuilt[row])!r}"


def _tolerance(output: RunOutput) -> float:
    """What rounding may do to sums of this size."""
    turnover = float(np.dot(_floats(output.fills["quantity"]), _floats(output.fills["price"])))
    return _RELATIVE * max(abs(output.starting_cash), turnover, 1.0)


def _signed(fills: pa.Table) -> Floats:
    buys = pc.equal(fills["side"], "buy").to_numpy(zero_copy_only=False)
    signed: Floats = np.where(buys, 1.0, -1.0) * _floats(fills["quantity"])
    return signed


def _floats(column: pa.ChunkedArray) -> Floats:
    values: Floats = column.to_numpy().astype(np.float64)
    return values


def _integers(column: pa.ChunkedArray) -> Integers:
    values: Integers = column.to_numpy().astype(np.int64)
    return values


def _microseconds(column: pa.ChunkedArray) -> Integers:
    return _integers(column.cast(pa.int64()))
