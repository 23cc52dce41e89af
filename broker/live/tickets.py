"""Backtrader's orders in the broker's terms.

Belongs here: types, prices, times in force. Does not belong here: whether an order may go (see `broker.live_broker`).

| Backtrader     | IB          | prices                                                           |
|----------------|-------------|------------------------------------------------------------------|
| Market         | MKT         |                                                                  |
| Close          | MOC         |                                                                  |
| Limit          | LMT         | limit = price                                                    |
| Stop           | STP         | stop = price                                                     |
| StopLimit      | STP LMT     | stop = price, limit = plimit                                     |
| StopTrail      | TRAIL       | distance = trailamount, or trailpercent; first stop from price   |
| StopTrailLimit | TRAIL LIMIT | the same, and the limit's offset from the stop = price - plimit  |
"""

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypedDict

import backtrader as bt
from backtrader.order import Order

from broker.errors import OrderTermsError
from broker.ib.messages import Action, OrderTicket
from broker.instrument import Instrument, decimal_of

KINDS = {
    Order.Market: "market",
    Order.Close: "close",
    Order.Limit: "limit",
    Order.Stop: "stop",
    Order.StopLimit: "stop_limit",
    Order.StopTrail: "trail",
    Order.StopTrailLimit: "trail_limit",
}
"""What `risk` calls the order types."""

_TYPES = {
    Order.Market: "MKT",
    Order.Close: "MOC",
    Order.Limit: "LMT",
    Order.Stop: "STP",
    Order.StopLimit: "STP LMT",
    Order.StopTrail: "TRAIL",
    Order.StopTrailLimit: "TRAIL LIMIT",
}


def drafted(order: Order, instrument: Instrument, order_ref: str) -> OrderTicket:
    """The order in the broker's terms, without what only the sending gives it: number, account, quantity, group.

    Raises:
        OrderTermsError: it has terms that no broker takes.
    """
    action: Action = "BUY" if order.isbuy() else "SELL"
    tif, good_till = time_in_force(order)
    return OrderTicket(
        order_id=0, action=action, quantity=Decimal(), order_type=order_type(order), account="", order_ref=order_ref,
        tif=tif, good_till=good_till, outside_rth=order.info.get("outside_rth", False) is True,
        **_prices(order, instrument, action),
    )  # fmt: skip


def order_type(order: Order) -> str:
    """IB's name of the order's type.

    Raises:
        OrderTermsError: there is none.
    """
    name = _TYPES.get(order.exectype)
    if name is None:
        raise OrderTermsError("exectype: an order that brings its own price is no order a broker takes.")
    return name


def exectype(order_type: str) -> int:
    """Backtrader's number of IB's type.

    Raises:
        OrderTermsError: it has none.
    """
    for number, name in _TYPES.items():
        if name == order_type:
            return int(number)
    raise OrderTermsError(f"order_type: {order_type!r} is none that a strategy sends.")


def changed(
    order: Order, instrument: Instrument, ticket: OrderTicket, *, price: float | None, plimit: float | None
) -> OrderTicket:
    """The terms of a working order with other prices, named as in `bt.Strategy.buy`; None leaves one as it is.

    Raises:
        OrderTermsError: a price is none, or the order has none.
    """
    prices = Prices()
    if (price, plimit) != (None, None) and order.exectype not in (Order.Limit, Order.Stop, Order.StopLimit):
        raise OrderTermsError(f"price: an order of type {order_type(order)} has none that can be changed.")
    if price is not None:
        name: Literal["limit_price", "aux_price"] = "limit_price" if order.exectype == Order.Limit else "aux_price"
        prices[name] = _rounded(instrument, price, ticket.action)
    if plimit is not None:
        prices["limit_price"] = _rounded(instrument, plimit, ticket.action)
    return replace(ticket, transmit=True, **prices)


class Prices(TypedDict, total=False):
    """The prices of a ticket."""

    limit_price: Decimal
    aux_price: Decimal
    trailing_percent: Decimal
    trail_stop_price: Decimal
    limit_offset: Decimal


def _prices(order: Order, instrument: Instrument, action: Action) -> Prices:
    created = order.created
    if order.exectype == Order.Limit:
        return {"limit_price": _rounded(instrument, created.price, action)}
    if order.exectype == Order.Stop:
        return {"aux_price": _rounded(instrument, created.price, action)}
    if order.exectype == Order.StopLimit:
        return {
            "limit_price": _rounded(instrument, created.pricelimit, action),
            "aux_price": _rounded(instrument, created.price, action),
        }
    if order.exectype in (Order.StopTrail, Order.StopTrailLimit):
        return {"trail_stop_price": _rounded(instrument, created.price, action), **_distances(order, instrument)}
    return {}


def _rounded(instrument: Instrument, price: float, action: Action) -> Decimal:
    if not (math.isfinite(price) and price > 0):
        raise OrderTermsError(f"price: {price!r} is no price of a share.")
    return instrument.price(price, action)


def _distances(order: Order, instrument: Instrument) -> Prices:
    """How far a trailing stop lies from the price, and its limit from the stop."""
    stop, distances = order.created.price, Prices()
    if order.trailamount:
        distances["aux_price"] = instrument.distance(order.trailamount, stop)
    elif order.trailpercent:
        distances["trailing_percent"] = decimal_of(order.trailpercent * 100)
    else:
        raise OrderTermsError("trailamount: a trailing order needs it, or trailpercent.")
    if order.exectype == Order.StopTrailLimit:
        offset = abs(order._limitoffset)  # Backtrader keeps price - plimit there
        distances["limit_offset"] = instrument.distance(offset, stop) if offset else Decimal()
    return distances


def time_in_force(order: Order) -> tuple[str, str]:
    """IB's time in force, and until when: None is GTC, 0 a day, a moment or a span GTD.

    Moments without a zone are UTC, as Backtrader's lines are; spans count from the order's bar.

    Raises:
        OrderTermsError: `valid` is none of these.
    """
    valid = order.p.valid
    if order.exectype == Order.Close:
        return "DAY", ""  # IB takes market-on-close orders for the day only
    if valid is None:
        return "GTC", ""
    if valid in (0, Order.DAY) and not isinstance(valid, date):
        return "DAY", ""
    return "GTD", f"{_moment(valid, order.data):%Y%m%d-%H:%M:%S}"


def _moment(valid: Any, data: bt.feed.DataBase) -> datetime:  # noqa: ANN401 (whatever a strategy passes)
    bar: datetime = data.datetime.datetime(0).replace(tzinfo=UTC)
    if isinstance(valid, datetime):
        return valid.replace(tzinfo=UTC) if valid.tzinfo is None else valid.astimezone(UTC)
    if isinstance(valid, date):
        return datetime(valid.year, valid.month, valid.day, tzinfo=UTC)
    if isinstance(valid, timedelta):
        return bar + valid
    if isinstance(valid, int | float) and math.isfinite(valid) and valid > 0:
        return bar + timedelta(days=valid)
    raise OrderTermsError(f"valid: {valid!r} is no time limit of an order.")
