"""The broker in compiled form: from an order's submission to its end.

Belongs here: `research.simulated_broker` and the parts of Backtrader's broker under it, on flat records, with the same
operations in the same order. Does not belong here: what a limit allows (see `guard`), which orders a strategy sends
(see `desk`).
"""

from typing import Any

import numpy as np

from research.engine.kernel.charges import UNSURE, charge, interest
from research.engine.kernel.guard import closed_trade, review
from research.engine.kernel.records import (
    ACCEPTED,
    BASIS_POINTS,
    CANCELED,
    CLOSE,
    COMPLETED,
    DAY,
    FLATTEN,
    FULL,
    HALF_SPREAD,
    HIGH,
    LIMIT,
    LIVE,
    LOW,
    MARGIN,
    MARKET,
    MET,
    MONTH,
    NEWS,
    NIGHTS,
    NO_CASH,
    NO_POSITION,
    NO_REASON,
    NONE,
    OPEN,
    PARTIAL,
    PENDING,
    REDUCE_ONLY,
    REJECTED,
    SALE_FEES,
    SENT,
    SUBMITTED,
    TS,
    UNCERTAIN_FEE,
    UNCERTAIN_INTEREST,
    VOLUME,
    VOLUME_SHARE,
    Records,
    compiled,
)

_FORGIVING = 1 + 1e-12
_MILLION = 1_000_000.0


# ---------------------------------------------------------------- submission


@compiled
def submit(  # noqa: PLR0917 (compiled functions take no keywords)
    terms: Records,
    account: Records,
    symbols: Records,
    orders: Records,
    queues: Any,
    market: Any,
    ticks: Any,
    recent: Any,
    tick: int,
    symbol: int,
    kind: int,
    size: float,
    price: float,
    reduces: int,
    by_guard: int,
) -> int:
    """Send an order through the risk review; its row."""
    a, number = account[0], account[0].orders
    if number >= len(orders) or a.sent + a.pending + a.live + a.news + 8 >= queues.shape[1]:
        a.fault = FULL
        return 0
    a.orders += 1
    order = orders[number]
    order.tick, order.symbol, order.kind, order.requested = tick, symbol, kind, size
    order.price, order.filled, order.final_tick = price, 0.0, tick
    order.protective, order.by_guard, order.reason = reduces, by_guard, NO_REASON
    order.fee_day, order.fee_shares, order.fee_value, order.fee_charged = NONE, 0.0, 0.0, 0
    order.approved = 0.0
    if by_guard or a.closing == 0 or not closing(account, orders, queues, symbol):
        review(terms, account, symbols, orders, queues, market, ticks, recent, tick, number)
    order.remaining = order.approved
    if order.approved == 0.0:
        order.remaining = size
        order.status = REJECTED
    else:
        order.status = SUBMITTED
        a.closing += by_guard
        queues[SENT, a.sent] = number
        queues[LIVE, a.live] = number
        a.sent += 1
        a.live += 1
    _tell(account, queues, symbol)
    return int(number)


@compiled
def closing(account: Records, orders: Records, queues: Any, symbol: int) -> bool:
    """Whether an order with which the guard closes a position still works."""
    for at in range(account[0].live):
        order = orders[queues[LIVE, at]]
        if order.by_guard and order.symbol == symbol:
            return True
    return False


@compiled
def alive(orders: Records, number: int) -> bool:
    """Whether there is such an order and it may still execute."""
    return number != NONE and SUBMITTED <= orders[number].status <= PARTIAL


@compiled
def _tell(account: Records, queues: Any, symbol: int) -> None:
    """Queue news of an order for the strategy."""
    a = account[0]
    queues[NEWS, a.news] = symbol
    a.news += 1


@compiled
def _end(account: Records, orders: Records, queues: Any, number: int, status: int, tick: int) -> None:
    """An order comes to its end."""
    a, order = account[0], orders[number]
    order.status, order.final_tick = status, tick
    a.closing -= order.by_guard
    kept = 0
    for at in range(a.live):
        queues[LIVE, kept] = queues[LIVE, at]
        kept += queues[LIVE, at] != number
    a.live = kept
    _tell(account, queues, order.symbol)


@compiled
def cancel(account: Records, orders: Records, queues: Any, number: int, tick: int) -> bool:
    """Cancel an order that waits in the market; False for one that does not."""
    a = account[0]
    kept = 0
    for at in range(a.pending):
        queues[PENDING, kept] = queues[PENDING, at]
        kept += queues[PENDING, at] != number
    if kept == a.pending:
        return False
    a.pending = kept
    _end(account, orders, queues, number, CANCELED, tick)
    return True


@compiled
def check_submitted(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Any, ticks: Any, tiers: Any,
    sales: Any, tick: int,
) -> None:  # fmt: skip
    """Accept the orders that the cash would pay for, one after the other, at the prices they were sent with."""
    a = account[0]
    cash = a.cash
    # until the session changes for the first time, Backtrader asks for the fees of the earliest day
    row = ticks[SALE_FEES, tick] if ticks[DAY, tick] != ticks[DAY, 0] else 0
    for at in range(a.sent):
        number = queues[SENT, at]
        order = orders[number]
        of = symbols[order.symbol]
        if of.pseudo_at != tick:
            of.pseudo_at, of.pseudo = tick, of.size
        closed, opened = _split(of.pseudo, order.remaining)
        of.pseudo += order.remaining
        if closed != 0.0:
            cash += -closed * order.price
            cash -= _dollars(account, charge(terms, tiers, sales, row, closed, order.price, 0.0))
        if opened != 0.0:
            cash -= opened * order.price
            cash -= _dollars(account, charge(terms, tiers, sales, row, opened, order.price, 0.0))
        if cash >= 0.0:
            order.status, order.final_tick = ACCEPTED, tick
            queues[PENDING, a.pending] = number
            a.pending += 1
            _tell(account, queues, order.symbol)
        else:
            _end(account, orders, queues, number, MARGIN, tick)
    a.sent = 0


# ---------------------------------------------------------------- executions


@compiled
def work_orders(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, queues: Any, market: Any,
    fresh: Any, ticks: Any, tiers: Any, sales: Any, tick: int,
) -> bool:  # fmt: skip
    """Give every pending order one chance; whether anything was filled."""
    a = account[0]
    before = a.fills
    count, kept = a.pending, 0
    for at in range(count):
        number = queues[PENDING, at]
        order = orders[number]
        if fresh[order.symbol, tick]:
            price = reached(orders, market, number, tick)
            if not np.isnan(price):
                _fill(terms, account, symbols, orders, fills, queues, market, ticks, tiers, sales, tick, number, price)
        if SUBMITTED <= order.status <= PARTIAL:
            queues[PENDING, kept] = number
            kept += 1
    a.pending = kept
    return bool(a.fills > before)


@compiled
def reached(orders: Records, market: Any, number: int, tick: int) -> float:
    """The price at which a bar lets an order execute, before slippage; NaN where it does not."""
    order = orders[number]
    symbol, at = order.symbol, order.price
    first = market[OPEN, symbol, tick]
    if order.kind == MARKET:
        return float(first)
    if (order.requested > 0.0) == (order.kind == LIMIT):  # executes at its price or below
        if first <= at:
            return float(first)
        return float(at) if market[LOW, symbol, tick] <= at else np.nan
    if first >= at:
        return float(first)
    return float(at) if market[HIGH, symbol, tick] >= at else np.nan


@compiled
def _fill(  # noqa: PLR0917, PLR0915
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, queues: Any, market: Any,
    ticks: Any, tiers: Any, sales: Any, tick: int, number: int, price: float,
) -> None:  # fmt: skip
    """Execute as much of an order as the bar allows."""
    a, order = account[0], orders[number]
    of = symbols[order.symbol]
    size = order.remaining
    if order.protective or order.by_guard:
        if of.size * size >= 0.0:
            order.reason = NO_POSITION
            _end(account, orders, queues, number, CANCELED, tick)
            return
        size = np.copysign(min(abs(size), abs(of.size)), size)
    if of.taken_at != tick:
        of.taken_at, of.taken = tick, 0.0
    size = np.copysign(min(abs(size), _available(terms, market, order.symbol, tick, of.taken)), size)
    if size == 0.0:
        return
    at = price if order.kind == LIMIT else _slipped(terms, market, order.symbol, tick, price, size)
    closed, opened = _split(of.size, size)
    closed_fee = opened_fee = 0
    if closed != 0.0:
        closed_fee = _fee(terms, account, orders, ticks, tiers, sales, tick, number, closed, at)
    if opened != 0.0:
        opened_fee = _fee(terms, account, orders, ticks, tiers, sales, tick, number, size, at) - closed_fee
    profit = -closed * (at - of.average) if closed != 0.0 else 0.0
    cash, done = a.cash, size
    if closed != 0.0:
        cash += -closed * of.average + profit
        cash -= closed_fee / _MILLION
    if opened != 0.0:
        left = cash - opened * at
        left -= opened_fee / _MILLION
        if left < 0.0:
            done, opened_fee = closed, 0
        else:
            cash = left
    if a.fault:
        return
    if done != 0.0:
        a.cash = cash
        _book(terms, account, symbols, orders, fills, ticks, tick, number, done, at, price, closed_fee + opened_fee)
        _follow_trade(terms, account, symbols, order.symbol, ticks[TS, tick], closed, done - closed, profit,
                      closed_fee / _MILLION, opened_fee / _MILLION)  # fmt: skip
        if order.remaining == 0.0:
            _end(account, orders, queues, number, COMPLETED, tick)
        else:
            order.status, order.final_tick = PARTIAL, tick
            _tell(account, queues, order.symbol)
    if done != size:
        order.reason = NO_CASH
        if order.status != COMPLETED:
            _end(account, orders, queues, number, MARGIN, tick)


@compiled
def _book(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, ticks: Any, tick: int,
    number: int, size: float, price: float, reference: float, fee: int,
) -> None:  # fmt: skip
    """Book an execution: position, fees, record."""
    a, order = account[0], orders[number]
    of = symbols[order.symbol]
    held = of.size
    of.size += size
    if of.size == 0.0:
        of.average = 0.0
    elif held == 0.0 or held * of.size < 0.0:
        of.average = price
    elif held * size > 0.0:
        of.average = (of.average * held + size * price) / of.size
    of.taken += abs(size)
    _see_day(orders, ticks, tick, number)
    order.fee_shares += abs(size)
    order.fee_value += abs(size) * price
    order.fee_charged += fee
    a.month_shares += abs(size)
    order.filled += size
    order.remaining -= size
    if a.fills >= len(fills):
        a.fault = FULL
        return
    fill = fills[a.fills]
    a.fills += 1
    fill.tick, fill.symbol, fill.quantity, fill.price = tick, order.symbol, size, price
    fill.commission = fee / _MILLION
    fill.slippage = abs(size) * abs(price - reference)
    fill.order, fill.size, fill.average, fill.cash = number, of.size, of.average, a.cash


@compiled
def _follow_trade(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, symbol: int, now: int, closed: float, opened: float,
    profit: float, closed_fee: float, opened_fee: float,
) -> None:  # fmt: skip
    """Keep the running profit of the open trade; tell the guard when it ends."""
    of = symbols[symbol]
    sofar = of.profit + profit - closed_fee
    if closed != 0.0 and (opened != 0.0 or of.size == 0.0):
        closed_trade(terms, account, sofar, now)
        sofar = 0.0
    of.profit = sofar - opened_fee if of.size != 0.0 else 0.0


@compiled
def _split(held: float, size: float) -> tuple[float, float]:
    """How much of an execution closes and how much opens, both signed like `size`."""
    if held * size >= 0.0:
        return 0.0, size
    if abs(size) <= abs(held):
        return size, 0.0
    return -held, held + size


@compiled
def _available(terms: Records, market: Any, symbol: int, tick: int, taken: float) -> float:
    """Shares of a bar that are still to be had."""
    volume, part = market[VOLUME, symbol, tick], terms[0].participation
    if np.isnan(volume) or np.isnan(part):
        return np.inf
    return max(0.0, np.floor(max(0.0, volume) * part * _FORGIVING) - taken)


@compiled
def _slipped(terms: Records, market: Any, symbol: int, tick: int, price: float, size: float) -> float:  # noqa: PLR0917
    """The price after slippage, inside the bar."""
    of, high, low = terms[0], market[HIGH, symbol, tick], market[LOW, symbol, tick]
    side = 1.0 if size > 0.0 else -1.0
    if of.slippage == BASIS_POINTS:
        price *= 1.0 + side * of.slipped / 10_000.0
    elif of.slippage == HALF_SPREAD:
        price *= 1.0 + side * of.slipped / 2.0 / 10_000.0
    elif of.slippage == VOLUME_SHARE:
        volume = market[VOLUME, symbol, tick]
        share = min(1.0, abs(size) / volume) if np.isfinite(volume) and volume > 0.0 else 1.0
        price *= 1.0 + side * of.slipped * share * share
    return float(min(max(price, low), high))


@compiled
def _fee(  # noqa: PLR0917
    terms: Records, account: Records, orders: Records, ticks: Any, tiers: Any, sales: Any, tick: int, number: int,
    size: float, price: float,
) -> int:  # fmt: skip
    """What executing `size` more adds to the order's fees of this session, in millionths."""
    a, order = account[0], orders[number]
    if terms[0].charges == 0:
        return 0
    if a.month != ticks[MONTH, tick]:
        a.month, a.month_shares = ticks[MONTH, tick], 0.0
    _see_day(orders, ticks, tick, number)
    shares = order.fee_shares + abs(size)
    value = order.fee_value + abs(size) * price
    traded = a.month_shares - (shares - abs(size))
    total = charge(
        terms, tiers, sales, ticks[SALE_FEES, tick], np.copysign(shares, size), value / shares, traded
    )
    if total == UNSURE:
        a.fault = UNCERTAIN_FEE
    return max(total - order.fee_charged, 0)


@compiled
def _see_day(orders: Records, ticks: Any, tick: int, number: int) -> None:
    """Minimum and maximum of a commission are an order's and a session's."""
    order = orders[number]
    if order.fee_day != ticks[DAY, tick]:
        order.fee_day, order.fee_shares, order.fee_value, order.fee_charged = ticks[DAY, tick], 0.0, 0.0, 0


@compiled
def _dollars(account: Records, millionths: int) -> float:
    if millionths == UNSURE:
        account[0].fault = UNCERTAIN_FEE
    return millionths / _MILLION


# ---------------------------------------------------------------- money


@compiled
def value(account: Records, symbols: Records, queues: Any, market: Any, tick: int) -> float:
    """Cash and positions at the last closes, added in Backtrader's order."""
    worth = 0.0
    for at in range(account[0].met):
        symbol = queues[MET, at]
        of = symbols[symbol]
        if of.size == 0.0:
            continue
        close = market[CLOSE, symbol, tick]
        now = of.size * close
        if now > 0.0:
            profit = of.size * (close - of.average)
            worth = (worth + (now - profit)) + profit
        else:
            worth += now
    return float(account[0].cash + worth)


@compiled
def book_interest(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, bookings: Records, queues: Any, market: Any, ticks: Any,
    tick: int,
) -> bool:  # fmt: skip
    """Charge and pay for the nights since the last session; whether there was anything to book."""
    a = account[0]
    shorts = 0.0
    for at in range(a.met):
        symbol = queues[MET, at]
        if symbols[symbol].size < 0.0:
            shorts -= symbols[symbol].size * market[CLOSE, symbol, tick - 1]
    amount, certain = interest(terms, a.cash, shorts, ticks[NIGHTS, tick])
    if not certain:
        a.fault = UNCERTAIN_INTEREST
    if amount == 0.0:
        return False
    a.cash += amount
    if a.bookings >= len(bookings):
        a.fault = FULL
        return False
    booking = bookings[a.bookings]
    a.bookings += 1
    booking.tick, booking.amount, booking.cash = tick, amount, a.cash
    return True


# ---------------------------------------------------------------- halts


@compiled
def enforce(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Any, market: Any, ticks: Any,
    recent: Any, tick: int, halt: int,
) -> None:  # fmt: skip
    """Do what a halt state asks of working orders and positions."""
    a = account[0]
    if halt >= REDUCE_ONLY and halt != a.halt:
        at = 0
        while at < a.live:
            number = queues[LIVE, at]
            order = orders[number]
            held, left = symbols[order.symbol].size, order.approved - order.filled
            reduces = order.protective or (held * left < 0.0 and abs(left) <= abs(held))
            if order.by_guard or (halt == REDUCE_ONLY and reduces):
                at += 1
            elif not cancel(account, orders, queues, number, tick):
                _end(account, orders, queues, number, CANCELED, tick)
    a.halt = halt
    if halt != FLATTEN:
        return
    for at in range(a.met):
        symbol = queues[MET, at]
        size = symbols[symbol].size
        if size != 0.0 and not closing(account, orders, queues, symbol):
            price = market[CLOSE, symbol, tick]
            submit(terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol, MARKET, -size, price,
                   0, 1)  # fmt: skip
