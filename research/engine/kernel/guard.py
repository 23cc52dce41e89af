"""The risk guard in compiled form: halts, and the decision about an order.

Belongs here: `risk.guard.RiskGuard` and `risk.decision.decide` on flat records, step by step. Does not belong here:
events and their sentences, of which only the number is kept (a run that has any is told by a slower engine).
"""

from typing import Any

import numpy as np

from research.engine.kernel.records import (
    ACTIVE,
    CLOSE,
    DAY,
    FLATTEN,
    HALT_ENTRIES,
    LIVE,
    LONG_AGO,
    MET,
    NEVER,
    NO_EQUITY,
    NONE,
    SESSION_CLOSE,
    TS,
    Records,
    compiled,
)

_MINUTE = 60_000_000
_SLACK = 1 + 1e-9


# ---------------------------------------------------------------- time and equity


@compiled
def begin(account: Records) -> None:
    """A guard that has seen nothing."""
    a = account[0]
    a.effective = a.latched = a.session_halt = ACTIVE
    a.session = LONG_AGO
    a.start = a.peak = a.last = np.nan
    a.entries = a.recent = a.losses = a.events = 0
    a.cooldown_until = a.close = a.flat_from = NONE
    a.quiet_until = LONG_AGO
    a.daily_floor = a.drawdown_floor = a.floor = -np.inf


@compiled
def mark(terms: Records, account: Records, ticks: Any, tick: int) -> int:
    """See the account's value at a tick; the halt state in force."""
    a = account[0]
    now, equity = ticks[TS, tick], a.value
    if now < a.quiet_until and a.floor < equity <= a.peak:
        a.last = equity
        return int(a.effective)
    if now >= a.quiet_until:
        _pass_time(terms, account, ticks, tick)
    if not np.isfinite(equity):
        a.fault = NO_EQUITY
        return int(a.effective)
    a.last = equity
    if np.isnan(a.start):
        a.start = equity
        _set_floors(terms, account)
    if not equity <= a.peak:
        a.peak = equity
        _set_floors(terms, account)
    if equity <= a.daily_floor:
        a.session_halt = terms[0].on_daily
        _change(terms, account, now)
    if equity <= a.drawdown_floor:
        a.latched = max(a.latched, terms[0].on_drawdown)
        _change(terms, account, now)
    return int(a.effective)


@compiled
def closed_trade(terms: Records, account: Records, profit: float, now: int) -> None:
    """A round trip ended with a profit, after costs; a loss counts, anything else resets."""
    a = account[0]
    a.losses = a.losses + 1 if profit < 0.0 else 0
    if terms[0].losses == NONE or a.losses < terms[0].losses:
        return
    a.cooldown_until = now + terms[0].cooldown
    a.quiet_until = min(a.quiet_until, a.cooldown_until)
    a.losses = 0
    a.events += 1
    _settle(account, now)


@compiled
def _pass_time(terms: Records, account: Records, ticks: Any, tick: int) -> None:
    a, of = account[0], terms[0]
    now = ticks[TS, tick]
    if of.sessions:
        _see_session(terms, account, ticks, tick)
    if a.cooldown_until != NONE and now >= a.cooldown_until:
        a.cooldown_until = NONE
        a.events += 1
    if a.flat_from != NONE and now >= a.flat_from and a.effective != FLATTEN:
        a.events += 1
    _settle(account, now)
    quiet = NEVER
    if of.sessions and a.close + 1 > now:
        quiet = a.close + 1
    elif of.sessions:
        quiet = now
    if a.flat_from > now:
        quiet = min(quiet, a.flat_from) if quiet > now else a.flat_from
    if a.cooldown_until > now:
        quiet = min(quiet, a.cooldown_until) if quiet > now else a.cooldown_until
    a.quiet_until = quiet


@compiled
def _see_session(terms: Records, account: Records, ticks: Any, tick: int) -> None:
    a, of = account[0], terms[0]
    now = ticks[TS, tick]
    if ticks[DAY, tick] > a.session:
        a.session = ticks[DAY, tick]
        a.start = a.last
        a.entries = 0
        if a.session_halt != ACTIVE or (a.flat_from != NONE and a.effective == FLATTEN):
            a.events += 1
        a.session_halt = ACTIVE
        a.close = a.flat_from = NONE
        _set_floors(terms, account)
        _settle(account, now)
    if a.close == NONE:
        a.close = ticks[SESSION_CLOSE, tick]
        a.flat_from = NONE if of.flat == NONE else a.close - of.flat


@compiled
def _change(terms: Records, account: Records, now: int) -> None:
    account[0].events += 1
    _set_floors(terms, account)
    _settle(account, now)


@compiled
def _set_floors(terms: Records, account: Records) -> None:
    """Equity at or below which a loss limit trips."""
    a, of = account[0], terms[0]
    daily = drawdown = -np.inf
    if a.session_halt == ACTIVE and not np.isnan(a.start):
        if not np.isnan(of.daily_loss):
            daily = a.start - of.daily_loss
        if not np.isnan(of.daily_fraction) and a.start > 0.0:
            daily = max(daily, a.start * (1 - of.daily_fraction))
    if not np.isnan(of.drawdown) and a.peak > 0.0 and a.latched < of.on_drawdown:
        drawdown = a.peak * (1 - of.drawdown)
    a.daily_floor, a.drawdown_floor = daily, drawdown
    a.floor = max(daily, drawdown)


@compiled
def _settle(account: Records, now: int) -> None:
    """Work out the state in force."""
    a = account[0]
    state = max(a.latched, a.session_halt)
    if a.cooldown_until != NONE and now < a.cooldown_until:
        state = max(state, HALT_ENTRIES)
    if a.flat_from != NONE and now >= a.flat_from:
        state = FLATTEN
    a.effective = state


# ---------------------------------------------------------------- orders


@compiled
def review(  # noqa: PLR0917
    terms: Records,
    account: Records,
    symbols: Records,
    orders: Records,
    queues: Any,
    market: Any,
    ticks: Any,
    recent: Any,
    tick: int,
    number: int,
) -> None:
    """Decide about an order: sets what is approved of it, and whether it may only reduce."""
    a, order = account[0], orders[number]
    if ticks[TS, tick] >= a.quiet_until:
        _pass_time(terms, account, ticks, tick)
    if order.protective:
        order.approved = order.requested
        return
    sign = 1.0 if order.requested > 0.0 else -1.0
    wanted = abs(order.requested)
    mirrored = sign * symbols[order.symbol].size
    adding, closing = _working(account, orders, queues, order.symbol, sign)
    top = mirrored + min(max(0.0, -mirrored), closing) + adding
    held = max(0.0, top)
    opens = max(0.0, top + wanted) - held
    order.approved = order.requested
    if opens <= 0.0:
        order.protective = 1
        return
    room = _room(terms, account, symbols, orders, queues, market, ticks, recent, tick, number, sign, held)
    if not opens <= max(0.0, room) * _SLACK:
        covered = min(wanted, max(0.0, -mirrored - adding))
        granted = max(0.0, np.floor(max(0.0, room) * _SLACK))
        allowed = wanted - opens + granted
        reduces = allowed <= covered or granted == 0.0
        if reduces:
            allowed = max(allowed, covered)
        if allowed >= wanted:
            order.protective = 1
        else:
            a.events += 1
            order.approved = np.copysign(allowed, order.requested) if allowed > 0.0 else 0.0
            order.protective = 1 if reduces and allowed > 0.0 else 0
    if order.approved != 0.0 and not order.protective:
        a.entries += 1
        if terms[0].per_minute != NONE:
            recent[a.recent % len(recent)] = ticks[TS, tick]
            a.recent += 1


@compiled
def _working(account: Records, orders: Records, queues: Any, symbol: int, sign: float) -> tuple[float, float]:
    """Shares of working orders on one side of a symbol: those that may open a position, those that only reduce."""
    adding = closing = 0.0
    for at in range(account[0].live):
        order = orders[queues[LIVE, at]]
        left = order.approved - order.filled
        if order.symbol == symbol and left * sign > 0.0:
            if order.protective:
                closing += abs(left)
            else:
                adding += abs(left)
    return adding, closing


@compiled
def _room(  # noqa: C901, PLR0911, PLR0912, PLR0917 (a list of limits)
    terms: Records,
    account: Records,
    symbols: Records,
    orders: Records,
    queues: Any,
    market: Any,
    ticks: Any,
    recent: Any,
    tick: int,
    number: int,
    sign: float,
    held: float,
) -> float:
    """How many shares of entry the strictest limit leaves; infinite when nothing limits."""
    a, of, order = account[0], terms[0], orders[number]
    now = ticks[TS, tick]
    equity, price = a.value, market[CLOSE, order.symbol, tick]
    if of.flat != NONE and a.close != NONE and not (a.close - now) / _MINUTE > of.flat_minutes:
        return 0.0
    if a.cooldown_until != NONE and now < a.cooldown_until:
        return 0.0
    if a.effective != ACTIVE or a.latched != ACTIVE or a.session_halt != ACTIVE:
        return 0.0
    if not (np.isfinite(price) and price > 0.0 and np.isfinite(equity) and equity > 0.0):
        return 0.0
    if _too_many(terms, account, orders, queues, recent, now):
        return 0.0
    if not of.shorting and sign < 0.0:
        return 0.0
    room = np.inf
    if not np.isnan(of.position_shares):
        room = min(room, of.position_shares - held)
    if not np.isnan(of.position_value):
        room = min(room, of.position_value / price - held)
    if not np.isnan(of.position_fraction):
        room = min(room, of.position_fraction * equity / price - held)
    if not np.isnan(of.order_value):
        room = min(room, of.order_value / price)
    if np.isnan(of.gross) and np.isnan(of.net):
        return room
    gross, net = _others(account, symbols, orders, queues, market, tick, order.symbol, sign)
    if np.isnan(gross):
        return 0.0
    if not np.isnan(of.gross):
        room = min(room, (of.gross * equity - gross) / price - held)
    if not np.isnan(of.net):
        room = min(room, (of.net * equity - net) / price - held)
    return room


@compiled
def _too_many(terms: Records, account: Records, orders: Records, queues: Any, recent: Any, now: int) -> bool:
    a, of = account[0], terms[0]
    if of.per_minute != NONE:
        count = 0
        for at in range(min(a.recent, len(recent))):
            count += now - recent[at] < _MINUTE
        if count + 1 > of.per_minute:
            return True
    if of.per_session != NONE and a.entries + 1 > of.per_session:
        return True
    if of.open_orders != NONE:
        count = 0
        for at in range(a.live):
            count += not orders[queues[LIVE, at]].protective
        if count + 1 > of.open_orders:
            return True
    return False


@compiled
def _others(  # noqa: PLR0917
    account: Records, symbols: Records, orders: Records, queues: Any, market: Any, tick: int, symbol: int, sign: float
) -> tuple[float, float]:
    """Worst gross and worst net value (mirrored by `sign`) of all other symbols: those held, then those ordered."""
    gross = net = 0.0
    if len(symbols) == 1:
        return gross, net
    seen = np.zeros(len(symbols), np.uint8)
    seen[symbol] = 1
    for at in range(account[0].met + account[0].live):
        if at < account[0].met:
            other = queues[MET, at]
            if symbols[other].size == 0.0:
                continue
        else:
            other = orders[queues[LIVE, at - account[0].met]].symbol
        if seen[other]:
            continue
        seen[other] = 1
        held = sign * symbols[other].size
        adding, closing = _working(account, orders, queues, other, sign)
        own = held + min(max(0.0, -held), closing) + adding
        adding, closing = _working(account, orders, queues, other, -sign)
        against = -held + min(max(0.0, held), closing) + adding
        if own != 0.0 or against != 0.0:
            price = _price_of(account, symbols, orders, queues, market, tick, other)
            gross += max(abs(own), abs(against)) * price
            net += own * price
    return gross, net


@compiled
def _price_of(  # noqa: PLR0917
    account: Records, symbols: Records, orders: Records, queues: Any, market: Any, tick: int, symbol: int
) -> float:
    price = 0.0
    for at in range(account[0].live):
        order = orders[queues[LIVE, at]]
        if order.symbol == symbol and np.isfinite(order.price):
            price = max(price, order.price)
    if symbols[symbol].size != 0.0 and np.isfinite(market[CLOSE, symbol, tick]):
        price = max(price, market[CLOSE, symbol, tick])
    return price if price > 0.0 else np.nan
