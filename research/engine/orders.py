"""Backtrader's orders, made and copied without its detours.

Belongs here: making an order as its constructor does, copying it as its `clone` does, booking an execution into it.
Does not belong here: when an order executes (see `matching`).

Backtrader makes an order through the metaclass that collects parameters, computes the end of the session through three
datetimes, and copies by way of pickling. The objects here have the same class and the same attributes; an order's
parameters are attributes of its own besides, where Backtrader looks them up at every use.
"""

import datetime as dt
import math
from collections import deque
from functools import lru_cache
from typing import Any, Final

from backtrader.feed import AbstractDataBase
from backtrader.order import BuyOrder, Order, OrderBase, OrderData, OrderExecutionBit, SellOrder
from backtrader.utils import AutoOrderedDict

TRAILING: Final = frozenset({Order.StopTrail, Order.StopTrailLimit})
PLAIN: Final = frozenset({BuyOrder, SellOrder})  # the classes whose ways are known here
ALIVE: Final = frozenset({Order.Created, Order.Submitted, Order.Partial, Order.Accepted})

_ROUNDING: Final = 1e-8  # of a day, a thousand times what `num2date` rounds


def makes_plainly(valid: object) -> bool:
    """Whether `new_order` knows what Backtrader makes of an order's `valid`."""
    return valid is None or type(valid) in {float, int, dt.datetime, dt.date}


def new_order(wanted: dict[str, Any], *, buys: bool) -> Order:
    """What `BuyOrder(**wanted)` or `SellOrder(**wanted)` makes.

    Args:
        wanted: all parameters in their order; becomes the order's own.
        buys: which of the two.
    """
    ref = next(OrderBase.refbasis)  # counts also where the feed has no bar yet, which is an error below
    cls = BuyOrder if buys else SellOrder
    order, params = object.__new__(cls), object.__new__(cls.params)
    params.__dict__ = wanted
    data, price, limit = wanted["data"], wanted["price"], wanted["pricelimit"]
    kind = Order.Market if wanted["exectype"] is None else wanted["exectype"]
    size = wanted["size"] if buys else -wanted["size"]
    close, now = data.close[0], data.datetime[0]
    order.__dict__ = {
        **wanted,
        "params": params, "p": params, "ref": ref, "broker": None, "info": AutoOrderedDict(),
        "comminfo": None, "triggered": False, "_active": wanted["parent"] is None, "status": Order.Created,
        "_plimit": limit, "exectype": kind, "size": size, "_limitoffset": 0.0, "position": 0,
    }  # fmt: skip
    order.created = _order_data(
        dt=now, size=size, price=price if price or limit else close, pricelimit=limit, pclose=close,
        trailamount=wanted["trailamount"], trailpercent=wanted["trailpercent"],
    )  # fmt: skip
    if kind in TRAILING:
        _begin_to_trail(order, buys=buys)
    order.executed = _order_data(remsize=size)
    if isinstance(wanted["valid"], dt.date):
        order.valid = data.date2num(wanted["valid"])
    order.dteos = session_end(data, now)
    return order


def _begin_to_trail(order: Order, *, buys: bool) -> None:
    created = order.created
    order._limitoffset = created.price - created.pricelimit
    price, created.price = created.price, math.inf if buys else -math.inf
    order.trailadjust(price)


def _order_data(
    *, dt: float | None = None, size: float = 0, price: float = 0.0, pricelimit: float | None = 0.0, remsize: float = 0,
    pclose: float = 0.0, trailamount: float | None = 0.0, trailpercent: float | None = 0.0,
) -> OrderData:  # fmt: skip
    made = object.__new__(OrderData)
    made.__dict__ = {
        "pclose": pclose, "exbits": deque(), "p1": 0, "p2": 0, "dt": dt, "size": size, "remsize": remsize,
        "price": pricelimit if pricelimit and not price else price, "pricelimit": pricelimit or price,
        "trailamount": trailamount, "trailpercent": trailpercent, "_plimit": pricelimit, "value": 0.0, "comm": 0.0,
        "margin": None, "pnl": 0.0, "psize": 0, "pprice": 0,
    }  # fmt: skip
    return made


def session_end(data: AbstractDataBase, now: float) -> float:
    """The day number of the end of a bar's session, as the constructor of orders works it out."""
    session = data.p.sessionend
    day, parts, inside = _session_parts(session)
    if type(data).date2num is AbstractDataBase.date2num and data._tz is None and now % 1.0 < inside - _ROUNDING:
        return math.fsum((float(now // 1.0), *parts))
    time = data.datetime.datetime(0)
    end = time.replace(hour=session.hour, minute=session.minute, second=session.second, microsecond=session.microsecond)
    number: float = data.date2num(end + day if end < time else end)
    return number


@lru_cache(maxsize=64)
def _session_parts(session: dt.time) -> tuple[dt.timedelta, tuple[float, ...], float]:
    """One day; what `date2num` adds for a time of day; their sum."""
    parts = (session.hour / 24.0, session.minute / 1440.0, session.second / 86_400.0, session.microsecond / 86_400e6)
    return dt.timedelta(days=1), parts, math.fsum(parts)


def told(order: Order) -> Order:
    """What `order.clone()` gives: the order as it is now, for the one to be notified."""
    executed = order.executed
    executed.p1, executed.p2 = executed.p2, len(executed.exbits)
    copied, copy = object.__new__(OrderData), object.__new__(type(order))
    copied.__dict__ = executed.__dict__.copy()
    copy.__dict__ = order.__dict__.copy()
    copy.__dict__["executed"] = copied
    return copy


def book(  # noqa: PLR0917 (one call an execution)
    order: Order, now: float, size: float, price: float, closed: tuple[float, float, float],
    opened: tuple[float, float, float], margin: float | None, pnl: float, position: tuple[float, float],
) -> None:  # fmt: skip
    """What `order.execute` does with one execution.

    Args:
        order: the order.
        now: day number of the execution.
        size: signed quantity.
        price: of the execution.
        closed: quantity that closed a position, its value and commission.
        opened: quantity that opened a position, its value and commission.
        margin: of the commission scheme.
        pnl: profit of what was closed.
        position: size and price of the position afterwards.
    """
    value, comm = closed[1] + opened[1], closed[2] + opened[2]
    bit = object.__new__(OrderExecutionBit)
    bit.__dict__ = {
        "dt": now, "size": size, "price": price, "closed": closed[0], "opened": opened[0], "closedvalue": closed[1],
        "openedvalue": opened[1], "closedcomm": closed[2], "openedcomm": opened[2], "value": value, "comm": comm,
        "pnl": pnl, "psize": position[0], "pprice": position[1],
    }  # fmt: skip
    done = order.executed
    done.exbits.append(bit)
    done.remsize -= size
    done.dt = now
    before = done.size * done.price
    done.size += size
    done.price = (before + size * price) / done.size
    done.value += value
    done.comm += comm
    done.pnl += pnl
    done.psize, done.pprice = position
    done.margin = margin
    order.status = Order.Partial if done.remsize else Order.Completed


def is_plain(order: Order) -> bool:
    """Whether an order is of a class whose ways are known here."""
    return type(order) in PLAIN
