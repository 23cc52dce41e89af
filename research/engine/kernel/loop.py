"""One run in compiled form, from the first bar to the last.

Belongs here: what happens at a bar in which order (Backtrader's), what a declaration's bits come to, and which bars
can be passed over. Does not belong here: the single steps (see `broker`, `desk`, `guard`).
"""

from typing import Any

import numpy as np

from research.engine.kernel.broker import book_interest, check_submitted, enforce, reached, value, work_orders
from research.engine.kernel.desk import keep_exits, on_news, pursue, settle, side, wish
from research.engine.kernel.guard import begin, mark
from research.engine.kernel.records import (
    ACTIVE,
    CLOSE,
    FULL,
    GO_LONG,
    GO_SHORT,
    LEAVE,
    MARKET,
    MET,
    NEWS,
    NIGHTS,
    NONE,
    PENDING,
    PROFIT_AWAY,
    READY,
    SESSION_CLOSE,
    STAY,
    STOP_AWAY,
    TRAIL_AWAY,
    TS,
    Records,
    compiled,
)

_BITS = 15


@compiled
def simulate(  # noqa: PLR0917 (compiled functions take no keywords)
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, bookings: Records,
    queues: Any, market: Any, fresh: Any, code: Any, away: Any, comes_to: Any, ticks: Any, tiers: Any, sales: Any,
    recent: Any,
) -> int:  # fmt: skip
    """Run from the first bar to the last.

    Args:
        terms: TERMS.
        account: ACCOUNT; overwritten, as all records and queues below.
        symbols: SYMBOL, in the order of the experiment, with `first_ready` set.
        orders: ORDER; how many are used stands in `account`, likewise for fills and bookings.
        fills: FILL.
        bookings: BOOKING.
        queues: whole numbers, one row a queue.
        market: prices by row, symbol and tick; the close is the last one known.
        fresh: whether the symbol has a bar at the tick.
        code: what is declared about the symbol's bar at the tick.
        away: distances by row, symbol and tick; empty where none are declared.
        comes_to: the decision by code and side + 1.
        ticks: the clock.
        tiers: see `charges.charge`.
        sales: likewise.
        recent: moments of entry orders within the last minute.

    Returns:
        The fault, 0 for none.
    """
    a = account[0]
    _reset(terms, account, symbols, queues)
    count = ticks.shape[1]
    tick = 0
    while tick < count and not a.fault:
        _trade(
            terms, account, symbols, orders, fills, bookings, queues, market, fresh, ticks, tiers, sales, recent, tick
        )
        _step(terms, account, symbols, orders, queues, market, fresh, code, away, comes_to, ticks, recent, tick)
        if a.news + 16 * (a.live + len(symbols) + 1) >= queues.shape[1]:
            a.fault = FULL
        tick += 1
        if a.sent == 0 and a.wishes == 0 and a.news == 0 and a.halt == ACTIVE and a.effective == ACTIVE:
            tick = _next(terms, account, symbols, orders, queues, market, fresh, code, away, comes_to, ticks, tick)
    return int(a.fault)


@compiled
def _reset(terms: Records, account: Records, symbols: Records, queues: Any) -> None:
    a = account[0]
    begin(account)
    a.cash = a.value = terms[0].cash
    a.fault = a.orders = a.fills = a.bookings = 0
    a.sent = a.pending = a.live = a.wishes = a.news = a.met = a.closing = 0
    a.month, a.month_shares, a.halt = NONE, 0.0, ACTIVE
    for symbol in range(len(symbols)):
        of = symbols[symbol]
        of.size = of.average = of.profit = 0.0
        of.taken_at = of.pseudo_at = NONE
        of.wish = of.stop = of.take = of.working = 0
        of.order = of.stop_order = of.take_order = NONE
        # the broker meets a symbol when the strategy first asks where it stands
        at = a.met
        while at > 0 and symbols[queues[MET, at - 1]].first_ready > of.first_ready:
            queues[MET, at] = queues[MET, at - 1]
            at -= 1
        queues[MET, at] = symbol
        a.met += 1


@compiled
def _trade(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, bookings: Records,
    queues: Any, market: Any, fresh: Any, ticks: Any, tiers: Any, sales: Any, recent: Any, tick: int,
) -> None:  # fmt: skip
    """The broker's part of a bar: interest, executions, valuation, limits."""
    a = account[0]
    if ticks[NIGHTS, tick]:
        book_interest(terms, account, symbols, bookings, queues, market, ticks, tick)
    if a.sent:
        check_submitted(terms, account, symbols, orders, queues, ticks, tiers, sales, tick)
    if a.pending:
        work_orders(terms, account, symbols, orders, fills, queues, market, fresh, ticks, tiers, sales, tick)
    a.value = value(account, symbols, queues, market, tick)
    if terms[0].marks:
        halt = mark(terms, account, ticks, tick)
        if halt != ACTIVE or a.halt != ACTIVE:
            enforce(terms, account, symbols, orders, queues, market, ticks, recent, tick, halt)


@compiled
def _step(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Any, market: Any, fresh: Any,
    code: Any, away: Any, comes_to: Any, ticks: Any, recent: Any, tick: int,
) -> None:  # fmt: skip
    """The strategy's part of a bar: news, decisions, orders."""
    a = account[0]
    count, told = len(symbols), a.news
    for at in range(told):
        symbol = queues[NEWS, at]
        if not fresh[symbol, tick]:
            on_news(terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol)
    for at in range(told, a.news):
        queues[NEWS, at - told] = queues[NEWS, at]
    a.news -= told
    for symbol in range(count):
        if fresh[symbol, tick] and settle(account, symbols, orders, queues, symbol):
            pursue(terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol)
    for symbol in range(count):
        if code[symbol, tick] & READY:
            _decide(terms, account, symbols, orders, queues, market, code, away, comes_to, ticks, recent, tick, symbol)
    for symbol in range(count):
        if fresh[symbol, tick]:
            pursue(terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol)
            keep_exits(terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol)


@compiled
def _decide(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Any, market: Any, code: Any,
    away: Any, comes_to: Any, ticks: Any, recent: Any, tick: int, symbol: int,
) -> None:  # fmt: skip
    """Do what is declared about one bar."""
    of, close = symbols[symbol], market[CLOSE, symbol, tick]
    action = comes_to[code[symbol, tick] & _BITS, side(symbols, symbol) + 1]
    if action == LEAVE:
        wish(account, symbols, queues, symbol, 0.0)
    elif action == GO_LONG or action == GO_SHORT:  # noqa: PLR1714 (compiled)
        up = 1 if action == GO_LONG else -1
        wish(account, symbols, queues, symbol, up * terms[0].weight)
        of.side = up
        if terms[0].stops:
            of.stop, of.stop_price, of.stop_order = 1, close - up * away[STOP_AWAY, symbol, tick], NONE
        if terms[0].profits:
            of.take, of.take_price, of.take_order = 1, close + up * away[PROFIT_AWAY, symbol, tick], NONE
    if action != STAY:
        pursue(terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol)
    if terms[0].trails and of.stop:
        up = side(symbols, symbol)
        price = close - up * away[TRAIL_AWAY, symbol, tick]
        if up != 0 and up * (price - of.stop_price) > 0.0:
            of.stop_price = price


@compiled
def _next(  # noqa: C901, PLR0912, PLR0917 (one loop that must not call)
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Any, market: Any, fresh: Any,
    code: Any, away: Any, comes_to: Any, ticks: Any, tick: int,
) -> int:  # fmt: skip
    """The first tick from `tick` on at which anything can happen, while nothing is on its way."""
    a, of = account[0], terms[0]
    count, span = len(symbols), ticks.shape[1]
    pays = of.earned != 0.0 or a.cash < 0.0
    invested = False
    for symbol in range(count):
        pays |= symbols[symbol].size < 0.0
        invested |= symbols[symbol].size != 0.0
    watches = of.watches != 0 and invested
    while tick < span:
        if pays and ticks[NIGHTS, tick]:
            return tick
        if of.flat != NONE and ticks[TS, tick] >= ticks[SESSION_CLOSE, tick] - of.flat:
            return tick
        if of.losses != NONE and a.cooldown_until != NONE:
            return tick
        for symbol in range(count):
            bits = code[symbol, tick]
            if bits & _BITS:
                size = symbols[symbol].size
                if comes_to[bits & _BITS, int(size > 0.0) - int(size < 0.0) + 1] != STAY:
                    return tick
            if of.trails and bits & READY and symbols[symbol].stop:
                size = symbols[symbol].size
                up = int(size > 0.0) - int(size < 0.0)
                price = market[CLOSE, symbol, tick] - up * away[TRAIL_AWAY, symbol, tick]
                if up * (price - symbols[symbol].stop_price) > 0.0:
                    return tick
        for at in range(a.pending):
            number = queues[PENDING, at]
            order = orders[number]
            if fresh[order.symbol, tick] and (
                order.kind == MARKET or not np.isnan(reached(orders, market, number, tick))
            ):
                return tick
        if watches:
            equity = value(account, symbols, queues, market, tick)
            if not (ticks[TS, tick] < a.quiet_until and a.floor < equity <= a.peak):
                return tick
            a.last = equity
        tick += 1
    return tick
