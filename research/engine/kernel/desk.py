"""The order desk in compiled form: from a wanted position to orders.

Belongs here: `strategies.order_desk.OrderDesk` and `strategies.sizing` on flat records, step by step. Does not belong
here: what is wanted (see `loop`), what becomes of an order (see `broker`).
"""

from typing import Any

import numpy as np

from research.engine.kernel.broker import alive, cancel, submit
from research.engine.kernel.records import (
    CLOSE,
    COMPLETED,
    FULL,
    LIMIT,
    MARGIN,
    MARKET,
    NO_PRICE,
    NONE,
    STOP,
    WISHES,
    WORKING,
    Records,
    compiled,
)

_TRIES = 3
_FORGIVING = 1.0 + 1e-12
_CLOSE_ENOUGH = 1e-9


@compiled
def side(symbols: Records, symbol: int) -> int:
    """1, -1 or 0: where the symbol is or is on its way to."""
    of = symbols[symbol]
    number = of.weight if of.wish else of.size
    return int(number > 0.0) - int(number < 0.0)


@compiled
def wish(account: Records, symbols: Records, queues: Any, symbol: int, weight: float) -> None:
    """Want another position: a signed fraction of equity, 0 to be flat."""
    a, of = account[0], symbols[symbol]
    if not of.wish:
        queues[WISHES, a.wishes] = symbol
        a.wishes += 1
    of.wish, of.weight, of.order, of.tries = 1, weight, NONE, 0
    of.stop = of.take = 0


@compiled
def settle(account: Records, symbols: Records, orders: Records, queues: Any, symbol: int) -> bool:
    """Take note of what became of the symbol's order; whether a position is left that must now be closed."""
    of = symbols[symbol]
    if not of.wish or of.order == NONE or alive(orders, of.order):
        return False
    status = orders[of.order].status
    if of.weight == 0.0:
        return _finish(account, symbols, queues, symbol, of.size == 0.0, True)
    if status == COMPLETED:
        return _finish(account, symbols, queues, symbol, True, False)
    return _finish(account, symbols, queues, symbol, False, status == MARGIN and of.tries < _TRIES)


@compiled
def pursue(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Any, market: Any, ticks: Any,
    recent: Any, tick: int, symbol: int,
) -> None:  # fmt: skip
    """Send what is missing to the wanted position, unless that was done."""
    of = symbols[symbol]
    again = True
    while again and of.wish and of.order == NONE and _withdrawn(account, symbols, orders, queues, tick, symbol):
        again = False
        held = of.size
        size = _target(terms, account, symbols, orders, queues, market, tick, symbol) - held
        of.tries += 1
        if size != 0.0:
            price = market[CLOSE, symbol, tick]
            of.order = _send(
                terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol, MARKET, size, price, 0
            )
        elif of.weight == 0.0 or of.tries >= _TRIES:
            again = _finish(account, symbols, queues, symbol, of.weight == 0.0, False)


@compiled
def keep_exits(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Any, market: Any, ticks: Any,
    recent: Any, tick: int, symbol: int,
) -> None:  # fmt: skip
    """Keep the stop and the limit order equal to the position they protect."""
    of = symbols[symbol]
    if not of.stop and not of.take:
        return
    _forget_dead(symbols, orders, symbol)
    for at in range(of.working):
        number = of.numbers[at]
        own = (of.stop and number == of.stop_order) or (of.take and number == of.take_order)
        if not own and orders[number].remaining * of.size < 0.0:
            return
    if of.size * of.side > 0.0:
        if of.stop:
            of.stop_order = _renew(
                terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol, STOP,
                of.stop_order, of.stop_price,
            )  # fmt: skip
        if of.take:
            of.take_order = _renew(
                terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol, LIMIT,
                of.take_order, of.take_price,
            )  # fmt: skip
    elif not of.wish:
        of.stop = of.take = 0
        _withdrawn(account, symbols, orders, queues, tick, symbol)


@compiled
def on_news(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Any, market: Any, ticks: Any,
    recent: Any, tick: int, symbol: int,
) -> None:  # fmt: skip
    """React between bars of the symbol to news of an order."""
    of = symbols[symbol]
    if of.wish and of.order == NONE:
        _forget_dead(symbols, orders, symbol)
        if of.working == 0:
            pursue(terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol)
    keep_exits(terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol)


@compiled
def _renew(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Any, market: Any, ticks: Any,
    recent: Any, tick: int, symbol: int, kind: int, number: int, price: float,
) -> int:  # fmt: skip
    of = symbols[symbol]
    if alive(orders, number):
        order = orders[number]
        left, size = abs(order.remaining), abs(of.size)
        if order.remaining * of.size < 0.0 and order.price == price:
            if abs(left - size) <= _CLOSE_ENOUGH * max(left, size):
                return number
        cancel(account, orders, queues, number, tick)
        if alive(orders, number):
            return number
    if not (np.isfinite(price) and price > 0.0):
        account[0].fault = NO_PRICE
    return int(
        _send(terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol, kind, -of.size, price, 1)
    )


@compiled
def _send(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Any, market: Any, ticks: Any,
    recent: Any, tick: int, symbol: int, kind: int, size: float, price: float, reduces: int,
) -> int:  # fmt: skip
    of = symbols[symbol]
    number = submit(
        terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol, kind, size, price, reduces, 0
    )
    if of.working == WORKING:
        _forget_dead(symbols, orders, symbol)
    if of.working == WORKING:
        account[0].fault = FULL
        return int(number)
    of.numbers[of.working] = number
    of.working += 1
    return int(number)


@compiled
def _finish(account: Records, symbols: Records, queues: Any, symbol: int, done: bool, again: bool) -> bool:  # noqa: PLR0917
    """End a wish, or keep it for another try; whether a reversal given up on half-way left a position to close."""
    a, of = account[0], symbols[symbol]
    if not done and again:
        of.order = NONE
        return False
    of.wish = 0
    kept = 0
    for at in range(a.wishes):
        queues[WISHES, kept] = queues[WISHES, at]
        kept += queues[WISHES, at] != symbol
    a.wishes = kept
    if not done and of.size * of.weight < 0.0:
        wish(account, symbols, queues, symbol, 0.0)
        return True
    return False


@compiled
def _forget_dead(symbols: Records, orders: Records, symbol: int) -> None:
    of = symbols[symbol]
    kept = 0
    for at in range(of.working):
        number = of.numbers[at]
        of.numbers[kept] = number
        kept += alive(orders, number)
    of.working = kept


@compiled
def _withdrawn(account: Records, symbols: Records, orders: Records, queues: Any, tick: int, symbol: int) -> bool:  # noqa: PLR0917
    """Cancel the symbol's working orders; whether none is left."""
    of = symbols[symbol]
    _forget_dead(symbols, orders, symbol)
    for at in range(of.working):
        cancel(account, orders, queues, of.numbers[at], tick)
    _forget_dead(symbols, orders, symbol)
    return bool(of.working == 0)


# ---------------------------------------------------------------- size


@compiled
def _target(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Any, market: Any, tick: int,
    symbol: int,
) -> float:  # fmt: skip
    """The position to aim at, in whole shares, signed."""
    of, equity, price = symbols[symbol], account[0].value, market[CLOSE, symbol, tick]
    held, weight = of.size, of.weight
    if not (np.isfinite(price) and price > 0.0 and equity > 0.0):
        return float(held) if weight != 0.0 else 0.0
    wanted = np.copysign(_whole(abs(weight) * equity / price), weight)
    if weight <= 0.0:
        return float(wanted)
    free = _free_cash(account, symbols, orders, queues, market, tick)
    affordable = held + max(0.0, _whole(free * (1.0 - terms[0].cash_reserve) / price))
    return float(max(min(wanted, affordable), min(held, wanted), 0.0))


@compiled
def _whole(shares: float) -> float:
    return float(np.floor(shares * _FORGIVING))


@compiled
def _free_cash(account: Records, symbols: Records, orders: Records, queues: Any, market: Any, tick: int) -> float:  # noqa: PLR0917
    """Cash less what working buys will cost, plus what working sales of shares held will bring."""
    cash = account[0].cash
    for at in range(account[0].wishes):
        symbol = queues[WISHES, at]
        of = symbols[symbol]
        if alive(orders, of.order):
            missing = orders[of.order].remaining
            sold = max(missing, -max(of.size, 0.0))
            cash -= (missing if missing > 0.0 else sold) * market[CLOSE, symbol, tick]
    return float(cash)
