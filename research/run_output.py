"""What one run of the engine produced, before anything is measured on it.

Belongs here: the shapes of equity, orders, fills and trades. Does not belong here: metrics, identifiers, files.

Times are UTC in microseconds and mark the close of the bar in which something happened. Money and prices are in
the account's currency, quantities in shares; a `quantity` column is positive and `side` says the direction.
"""

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from risk.events import RiskEvent
from risk.states import HaltState
from warehouse.schema import UTC_US

EQUITY_SCHEMA = pa.schema(
    [
        pa.field("ts", UTC_US),
        pa.field("session", pa.date32()),
        pa.field("equity", pa.float64()),  # cash + position_value, at the bar's close
        pa.field("cash", pa.float64()),
        pa.field("position_value", pa.float64()),  # signed sum: shorts count negative
        pa.field("gross_value", pa.float64()),  # sum of absolute position values
        pa.field("financing", pa.float64()),  # interest booked at this bar: + received, - paid
    ]
)
"""One row a bar of the union of all symbols' bars, from the first bar on."""

ORDERS_SCHEMA = pa.schema(
    [
        pa.field("order_id", pa.int64()),  # 1, 2, ... in order of submission
        pa.field("parent_id", pa.int64()),  # the bracket's main order, or null
        pa.field("ts", UTC_US),  # submission
        pa.field("symbol", pa.string()),
        pa.field("side", pa.string()),  # "buy" | "sell"
        pa.field("kind", pa.string()),  # "market" | "close" | "limit" | "stop" | "stop_limit" | "trail" ...
        pa.field("quantity_requested", pa.float64()),  # what the strategy asked for
        pa.field("quantity", pa.float64()),  # what the risk guard let through; 0 when refused
        pa.field("price", pa.float64()),  # limit or trigger price, null for market orders
        pa.field("limit_price", pa.float64()),  # second price of a stop-limit order, else null
        pa.field("filled", pa.float64()),
        pa.field("status", pa.string()),  # "completed" | "partial" | "accepted" | "canceled" | "rejected" ...
        pa.field("final_ts", UTC_US),  # when the order reached that status
        pa.field("reason", pa.string()),  # why it was refused, shrunk, cancelled or sent by the guard, else null
    ]
)

FILLS_SCHEMA = pa.schema(
    [
        pa.field("ts", UTC_US),
        pa.field("session", pa.date32()),
        pa.field("symbol", pa.string()),
        pa.field("side", pa.string()),
        pa.field("quantity", pa.float64()),
        pa.field("price", pa.float64()),  # slippage included
        pa.field("commission", pa.float64()),  # broker, exchange, clearing and regulatory fees
        pa.field("slippage", pa.float64()),  # money lost to slippage; already inside `price`, told for information
        pa.field("order_id", pa.int64()),
    ]
)

TRADES_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("side", pa.string()),  # "long" | "short"
        pa.field("entry_ts", UTC_US),
        pa.field("exit_ts", UTC_US),  # null while open
        pa.field("quantity", pa.float64()),  # shares entered over the trade's life
        pa.field("entry_price", pa.float64()),  # average
        pa.field("exit_price", pa.float64()),  # average of what was sold (long) or bought back (short), null if none
        pa.field("gross_profit", pa.float64()),  # before commissions; an open trade is valued at the last close
        pa.field("costs", pa.float64()),  # commissions of its fills
        pa.field("net_profit", pa.float64()),  # gross_profit - costs
        pa.field("return", pa.float64()),  # net_profit / (quantity * entry_price)
        pa.field("bars_held", pa.int64()),  # bars of that symbol from entry to exit
        pa.field("fills", pa.int64()),
    ]
)
"""A trade is one position from flat to flat; a reversal ends one trade and begins the next."""


@dataclass(frozen=True, slots=True)
class RunOutput:
    """Everything the engine knows at the end of a backtest.

    `trades` holds closed trades only, `open_trades` (same schema) the positions left at the end.
    `equity[-1] - starting_cash == sum(gross_profit of both) - sum(commission) + financing + deposits` up to rounding.
    """

    starting_cash: float
    equity: pa.Table  # EQUITY_SCHEMA
    orders: pa.Table  # ORDERS_SCHEMA
    fills: pa.Table  # FILLS_SCHEMA
    trades: pa.Table  # TRADES_SCHEMA
    open_trades: pa.Table  # TRADES_SCHEMA
    risk_events: tuple[RiskEvent, ...]
    warnings: tuple[str, ...]
    final_halt: HaltState
    open_profit: float  # unrealised profit of `open_trades`, before costs
    commission: float  # sum over fills
    slippage: float  # sum over fills, already inside prices
    financing: float  # sum: + received, - paid
    deposits: float  # cash that the strategy added (or took out) through the broker
    warmed_up: datetime | None = None  # UTC; when every symbol had the bars that the strategy's indicators need
    engine: str = "vanilla"  # which engine ran; it changes nothing else
    engine_reason: str | None = None  # why it was not a faster one, a sentence

    @property
    def final_equity(self) -> float:
        """Equity at the close of the last bar."""
        return float(self.equity.column("equity")[-1].as_py())
