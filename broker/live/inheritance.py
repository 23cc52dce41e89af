"""Orders of an earlier run that still work, as orders of this one.

Belongs here: making Backtrader's order from what the book knows. Does not belong here: which book (see
`broker.orders`), what a strategy does with them.
"""

import backtrader as bt
from backtrader.order import BuyOrder, Order, SellOrder

from broker.ib.messages import OrderTicket
from broker.instrument import Instrument
from broker.live import tickets
from broker.live.exits import is_exit
from broker.live.orders import LiveOrder
from broker.orders.tracked import TrackedOrder


def revived(
    tracked: TrackedOrder, instrument: Instrument, data: bt.feed.DataBase, owner: bt.Strategy | None
) -> LiveOrder:
    """The order as it stands; what was filled of it before is not told again. The feed has a bar."""
    ticket = tracked.ticket
    exectype = tickets.exectype(ticket.order_type)
    made = BuyOrder if ticket.action == "BUY" else SellOrder
    order = made(owner=owner, data=data, size=float(ticket.quantity), exectype=exectype, **_prices(ticket, exectype))
    order.addinfo(inherited=True)
    capped = is_exit(ticket) or ticket.parent_id != 0
    if capped:
        order.addinfo(reduces_only=True)
    live = LiveOrder(
        order=order,
        instrument=instrument,
        parent=None,
        quantity=ticket.quantity,
        capped=capped,
        by_guard=False,
        kind=tickets.KINDS[exectype],
        draft=ticket,
        order_id=ticket.order_id,
        oca_group=ticket.oca_group,
        oca_type=ticket.oca_type,
        applied=tracked.filled,
        accepted=True,
        resent=True,  # one that never came to the broker was decided on bars of then
    )
    live.keep_remaining()
    return live


def _prices(ticket: OrderTicket, exectype: int) -> dict[str, float]:
    """Price terms as Backtrader names them."""
    limit = None if ticket.limit_price is None else float(ticket.limit_price)
    aux = None if ticket.aux_price is None else float(ticket.aux_price)
    if exectype == Order.Limit:
        terms = {"price": limit}
    elif exectype in (Order.Stop, Order.StopLimit):
        terms = {"price": aux, "pricelimit": limit if exectype == Order.StopLimit else None}
    elif exectype in (Order.StopTrail, Order.StopTrailLimit):
        percent = None if ticket.trailing_percent is None else float(ticket.trailing_percent) / 100
        terms = {"trailamount": aux if percent is None else None, "trailpercent": percent}
    else:
        terms = {}
    return {name: value for name, value in terms.items() if value is not None}
