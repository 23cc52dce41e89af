"""What a halt state asks of a broker: which working orders to cancel, which positions to close.

Belongs here: the meaning of REDUCE_ONLY and FLATTEN in orders, one definition for simulated and real brokers.
Does not belong here: sending or cancelling anything.
"""

from collections.abc import Mapping
from datetime import datetime

from risk.decision import Holding, OrderRequest, Portfolio, WorkingOrder
from risk.states import HaltState


def must_cancel(order: WorkingOrder, holdings: Mapping[str, Holding], halt: HaltState) -> bool:
    """Whether a working order may not stay: entries in REDUCE_ONLY, every order in FLATTEN."""
    if halt is HaltState.FLATTEN:
        return True
    if halt is not HaltState.REDUCE_ONLY or order.reduces_only:
        return False
    held = holdings[order.symbol].quantity if order.symbol in holdings else 0.0
    return held * order.quantity >= 0 or abs(order.quantity) > abs(held)


def closing_orders(portfolio: Portfolio, now: datetime) -> tuple[OrderRequest, ...]:
    """One market order for each open position, ordered by symbol; to be sent after every other order is cancelled."""
    return tuple(
        OrderRequest(symbol, -holding.quantity, holding.price, "market", None, now, reduces_only=True)
        for symbol, holding in sorted(portfolio.holdings.items())
        if holding.quantity
    )
