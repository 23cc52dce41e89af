"""Fills put together into trades.

Belongs here: matching entries and exits of one symbol. Does not belong here: statistics over trades (see `metrics`).

A trade is one position from flat to flat, however many fills build it up and take it down; a fill that crosses zero
ends one trade and begins the next, and its commission is shared between the two by quantity. Prices are averages, so
`gross_profit` is what was received minus what was paid, whatever the order of the pieces. An open trade is valued at
the last close.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from research.feed import SymbolBars
from research.run_output import TRADES_SCHEMA
from warehouse.schema import UTC_US

_FLAT = 1e-9  # shares; sums of fractional quantities are not exact


class _Fill(NamedTuple):
    """What a fill does to a trade; `ts` is in microseconds UTC."""

    ts: int
    symbol: str
    side: str
    quantity: float
    price: float
    commission: float


@dataclass(slots=True)
class _Position:
    """A trade while it grows. Quantities are positive, `direction` is +1 long, -1 short, times are microseconds UTC."""

    symbol: str
    direction: int
    entry_ts: int
    entered: float = 0.0
    paid: float = 0.0
    left: float = 0.0
    received: float = 0.0
    costs: float = 0.0
    fills: int = 0

    @property
    def held(self) -> float:
        return self.entered - self.left

    def enter(self, quantity: float, price: float) -> None:
        self.entered += quantity
        self.paid += quantity * price

    def leave(self, quantity: float, price: float) -> None:
        self.left += quantity
        self.received += quantity * price

    def row(self, exit_ts: int | None, bars: SymbolBars) -> dict[str, Any]:
        """The trade as a row of TRADES_SCHEMA; what is still held counts at the last close."""
        worth = self.received + (0.0 if exit_ts is not None else self.held * float(bars.close[-1]))
        gross = self.direction * (worth - self.paid)
        return {
            "symbol": self.symbol,
            "side": "long" if self.direction > 0 else "short",
            "entry_ts": self.entry_ts,
            "exit_ts": exit_ts,
            "quantity": self.entered,
            "entry_price": self.paid / self.entered,
            "exit_price": self.received / self.left if self.left else None,
            "gross_profit": gross,
            "costs": self.costs,
            "net_profit": gross - self.costs,
            "return": (gross - self.costs) / self.paid if self.paid else None,
            "bars_held": _bars_between(bars, self.entry_ts, exit_ts),
            "fills": self.fills,
        }


def trades_from_fills(fills: pa.Table, bars: Mapping[str, SymbolBars]) -> tuple[pa.Table, pa.Table]:
    """Closed and open trades of all symbols, ordered by exit (closed) and by entry (open).

    Args:
        fills: FILLS_SCHEMA, ascending in time.
        bars: bars of every symbol that was filled; give holding times and the last close.
    """
    closed: list[dict[str, Any]] = []
    still_open: list[dict[str, Any]] = []
    positions: dict[str, _Position] = {}
    columns = [fills["ts"].cast(pa.int64()), *(fills[name] for name in _Fill._fields[1:])]
    for fill in map(_Fill, *(column.to_pylist() for column in columns)):
        closed.extend(trade.row(fill.ts, bars[trade.symbol]) for trade in _apply(fill, positions))
    still_open.extend(position.row(None, bars[symbol]) for symbol, position in positions.items())
    still_open.sort(key=lambda trade: (trade["entry_ts"], trade["symbol"]))
    return _table(closed), _table(still_open)


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    columns = [(field, [row[field.name] for row in rows]) for field in TRADES_SCHEMA]
    arrays = [
        pa.array(column, pa.int64()).cast(UTC_US) if field.type == UTC_US else pa.array(column, field.type)
        for field, column in columns
    ]
    return pa.table(arrays, schema=TRADES_SCHEMA)


def _apply(fill: _Fill, positions: dict[str, _Position]) -> Iterator[_Position]:
    """Book one fill; yields the trade it ends, if any."""
    ts, symbol, side, quantity, price, commission = fill
    direction = 1 if side == "buy" else -1
    position = positions.get(symbol)
    opening = quantity
    if position is not None and position.direction != direction:
        closing = min(quantity, position.held)
        opening = quantity - closing
        position.leave(closing, price)
        position.costs += commission * (closing / quantity)
        position.fills += 1
        if position.held <= _FLAT:
            del positions[symbol]
            yield position
    if opening > _FLAT:
        position = positions.setdefault(symbol, _Position(symbol, direction, ts))
        position.enter(opening, price)
        position.costs += commission * (opening / quantity)
        position.fills += 1


def _bars_between(bars: SymbolBars, entry: int, leaving: int | None) -> int:
    first = bisect_left(bars.ts, entry)
    last = len(bars) - 1 if leaving is None else bisect_left(bars.ts, leaving)
    return last - first
