"""Orders of an earlier run, as orders of this one.

Belongs here: Backtrader's order for an order that works at the broker already. Does not belong here: which orders are
taken over (see `broker.deployment`).
"""

from datetime import UTC, datetime
from typing import Any

import backtrader as bt
from backtrader.order import BuyOrder, Order, SellOrder

from broker.instrument import Instrument
from broker.live.orders import LiveOrder
from broker.live.tickets import KINDS
from broker.orders.tracked import TrackedOrder

_TYPES = {
    "MKT": Order.Market, "MOC": Order.Close, "LMT": Order.Limit, "STP": Order.Stop, "STP LMT": Order.StopLimit,
    "TRAIL": Order.StopTrail, "TRAIL LIMIT": Order.StopTrailLimit,
}  # fmt: skip


def order_of(tracked: TrackedOrder, data: bt.feed.DataBase, owner: bt.Strategy, *, reduces_only: bool) -> Order:
    """Backtrader's order with the terms that are in force at the broker."""
    ticket = tracked.ticket
    exectype = _TYPES[ticket.order_type]
    first = ticket.limit_price if exectype == Order.Limit else ticket.aux_price
    terms: dict[str, Any] = {
        "owner": owner, "data": data, "size": float(ticket.quantity), "exectype": exectype,
        "price": None if first is None else float(first),
        "pricelimit": None if ticket.limit_price is None else float(ticket.limit_price),
    }  # fmt: skip
    order: Order = (BuyOrder if ticket.action == "BUY" else SellOrder)(**terms)
    order.addinfo(reduces_only=reduces_only, taken_over=True)
    return order


def live_order(order: Order, tracked: TrackedOrder, instrument: Instrument) -> LiveOrder:
    """What the live broker keeps about such an order; what was filled before is done and told already."""
    live = LiveOrder(
        order=order, instrument=instrument, parent=None, quantity=tracked.ticket.quantity,
        capped=bool(order.info["reduces_only"]), by_guard=False, kind=KINDS[order.exectype],
        draft=tracked.ticket, oca_group=tracked.ticket.oca_group, oca_type=tracked.ticket.oca_type,
        applied=tracked.filled, accepted=True,
    )  # fmt: skip
    live.keep_remaining()
    order.status = Order.Partial if tracked.filled else Order.Accepted
    order.created.dt = bt.date2num(datetime.now(UTC).replace(tzinfo=None))
    return live
