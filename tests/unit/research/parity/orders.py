"""Decided orders for tests of parity.

Belongs here: builders with defaults. Does not belong here: tests.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from research.parity.orders import DecidedOrder

OPEN = datetime(2024, 1, 8, 14, 30, tzinfo=UTC)


def at(minutes):
    return OPEN + timedelta(minutes=minutes)


def order(side="BUY", *, bar=1, ordered=10, filled=None, price="100", commission="1", kind="market", **fields):
    shares = Decimal(ordered if filled is None else filled)
    base = {
        "symbol": "AAPL", "bar": at(bar), "side": side, "kind": kind, "ordered": Decimal(ordered), "filled": shares,
        "value": shares * Decimal(price), "commission": Decimal(commission) if shares else Decimal(0),
        "reference": f"{side}-{bar}",
    }  # fmt: skip
    return DecidedOrder(**{**base, **fields})
