"""One run in compiled form: what the broker, the risk guard and the order desk do at each bar.

Belongs here: `research.simulated_broker`, the parts of Backtrader's broker under it, `risk.guard`, `risk.decision` and
`strategies.order_desk`, step by step on flat records, each with the same floating-point operations in the same order.
Does not belong here: what the records are made of (see `market`), what becomes of them (see `output`, `figures`).

All of it stands in one file, because numba keeps compiled code until the file of the compiled function changes and
does not look at the files of the functions that it calls. Most functions are pasted into the one that calls them
(`inlined`): compiling one large function takes a tenth of the time that a tree of calls takes. For the same reason
each of the large ones is called at one place only.

What cannot be decided exactly is left: the run ends with a fault, and a slower engine takes it.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

Records = npt.NDArray[Any]
"""An array of one of the structured types below."""
Table = npt.NDArray[Any]
"""An array of plain numbers."""

compiled = njit(cache=True, error_model="numpy", no_cfunc_wrapper=True, _nrt=False)
inlined = njit(cache=True, error_model="numpy", no_cfunc_wrapper=True, no_cpython_wrapper=True, _nrt=False)

# ---------------------------------------------------------------- words

MARKET, STOP, LIMIT = range(3)
"""Kinds of orders."""

# an order's status, in Backtrader's numbers; from SUBMITTED to PARTIAL it is alive
SUBMITTED, ACCEPTED, PARTIAL, COMPLETED, CANCELED, MARGIN, REJECTED = 1, 2, 3, 4, 5, 7, 8

ACTIVE, HALT_ENTRIES, REDUCE_ONLY, FLATTEN = range(4)
"""Halt states by severity."""

NO_REASON, NO_CASH, NO_POSITION = range(3)
"""Why an order ended otherwise than asked for, where that is no matter of risk."""

SOUND, FULL, UNCERTAIN_FEE, UNCERTAIN_INTEREST, NO_PRICE, NO_EQUITY = range(6)
"""How a run ended."""

NO_SLIPPAGE, BASIS_POINTS, HALF_SPREAD, VOLUME_SHARE = range(4)
"""Slippage models."""

OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)
"""Rows of prices."""

STOP_AWAY, TRAIL_AWAY, PROFIT_AWAY = range(3)
"""Rows of distances from the close."""

TS, SESSION_CLOSE, DAY, NIGHTS, MONTH, SALE_FEES = range(6)
"""Rows of the clock: moment and regular close (microseconds since 1970-01-01 UTC), session (day number), calendar days
since the session before (0 within one), number of the month, row of the fees on sales."""

# bits of what is declared about one bar; READY: the bar may decide
LONG_ENTRY, SHORT_ENTRY, LONG_EXIT, SHORT_EXIT, EXITS_FIRST, READY = 1, 2, 4, 8, 16, 32
DECISIONS = LONG_ENTRY | SHORT_ENTRY | LONG_EXIT | SHORT_EXIT
_DECLARED = DECISIONS | EXITS_FIRST

STAY, GO_LONG, GO_SHORT, LEAVE = range(4)
"""What a decision comes to."""

# rows of queues: orders that wait for the check of cash, orders in the market, orders that may still fill by age;
# symbols on their way by age, symbols with news of their orders, symbols in the order in which the broker met them
SENT, PENDING, LIVE, WISHES, NEWS, MET = range(6)
QUEUES: Final = 6

NEVER = 2**62
LONG_AGO = -(2**62)
NONE = -1
WORKING = 12
"""Orders of one symbol that may be alive at once: more than a desk ever has."""

_F, _I = "f8", "i8"

TERMS: Final = np.dtype(
    [
        # the strategy
        ("weight", _F), ("cash_reserve", _F), ("cash", _F), ("stops", _I), ("trails", _I), ("profits", _I),
        # fills
        ("slippage", _I), ("slipped", _F), ("participation", _F),
        # fees, in millionths of a dollar (6) or millionths of them (12); fractions of the value likewise
        ("charges", _I), ("third_party", _I), ("minimum6", _I), ("maximum6", _I), ("clearing6", _I), ("exchange6", _I),
        ("exchange_below_one12", _I), ("pass_through6", _I),
        # interest: rates, and the same as whole parts of `rate_scale` (0: they are none)
        ("borrow", _F), ("margin", _F), ("earned", _F), ("borrow_part", _I), ("margin_part", _I), ("earned_part", _I),
        ("rate_scale", _I),
        # limits: NaN or NONE where there is none, times in microseconds
        ("position_shares", _F), ("position_value", _F), ("position_fraction", _F), ("gross", _F), ("net", _F),
        ("order_value", _F), ("shorting", _I), ("per_minute", _I), ("per_session", _I), ("open_orders", _I),
        ("daily_loss", _F), ("daily_fraction", _F), ("on_daily", _I), ("drawdown", _F), ("on_drawdown", _I),
        ("losses", _I), ("cooldown", _I), ("flat", _I), ("flat_minutes", _F),
        # whether the guard sees every bar, whether it looks at the equity there, whether it counts sessions
        ("marks", _I), ("watches", _I), ("sessions", _I),
    ],
    align=True,
)  # fmt: skip
"""What does not change during a run."""

ACCOUNT: Final = np.dtype(
    [
        ("cash", _F), ("value", _F), ("fault", _I), ("orders", _I), ("fills", _I), ("bookings", _I),
        ("sent", _I), ("pending", _I), ("live", _I), ("wishes", _I), ("news", _I), ("met", _I), ("closing", _I),
        ("month", _I), ("month_shares", _F), ("events", _I), ("halt", _I),
        # the guard's memory
        ("effective", _I), ("latched", _I), ("session_halt", _I), ("session", _I), ("start", _F), ("peak", _F),
        ("last", _F), ("entries", _I), ("recent", _I), ("losses", _I), ("cooldown_until", _I), ("close", _I),
        ("flat_from", _I), ("quiet_until", _I), ("daily_floor", _F), ("drawdown_floor", _F), ("floor", _F),
    ],
    align=True,
)  # fmt: skip
"""Money, how long every list is, and what the guard remembers."""

SYMBOL: Final = np.dtype(
    [
        ("size", _F), ("average", _F), ("profit", _F), ("taken", _F), ("taken_at", _I), ("pseudo", _F), ("pseudo_at", _I),
        # the wish: a position that is not there yet
        ("wish", _I), ("weight", _F), ("order", _I), ("tries", _I),
        # what protects the position on `side`: a stop and a limit order
        ("side", _I), ("stop", _I), ("stop_price", _F), ("stop_order", _I),
        ("take", _I), ("take_price", _F), ("take_order", _I),
        # orders sent that may be alive
        ("working", _I), ("numbers", _I, (WORKING,)),
        ("first_ready", _I),
    ],
    align=True,
)  # fmt: skip
"""Position and plans of one symbol. An order is known by its row, NONE for none."""

ORDER: Final = np.dtype(
    [
        ("tick", _I), ("symbol", _I), ("kind", _I), ("requested", _F), ("approved", _F), ("price", _F), ("filled", _F),
        ("remaining", _F), ("status", _I), ("final_tick", _I), ("protective", _I), ("by_guard", _I), ("reason", _I),
        # of the session in which it was last filled
        ("fee_day", _I), ("fee_shares", _F), ("fee_value", _F), ("fee_charged", _I),
    ],
    align=True,
)  # fmt: skip
"""One order from submission to its end; `price` is the close for market orders."""

FILL: Final = np.dtype(
    [
        ("tick", _I), ("symbol", _I), ("quantity", _F), ("price", _F), ("commission", _F), ("slippage", _F),
        ("order", _I), ("size", _F), ("average", _F), ("cash", _F),
    ],
    align=True,
)  # fmt: skip
"""One execution, and position and cash after it."""

BOOKING: Final = np.dtype([("tick", _I), ("amount", _F), ("cash", _F)], align=True)
"""Interest, booked before the fills of a tick, and cash after it."""

_MILLION = 1_000_000
_FORGIVING = 1.0 + 1e-12  # 94.99999999999999 shares were meant to be 95
_SLACK = 1 + 1e-9  # an order of exactly the limit must not fail on the last bit of a float
_MINUTE = 60_000_000
_TRIES = 3

# ---------------------------------------------------------------- fees and interest

# A charge is the sum of what depends on shares alone, which is exact in whole numbers, and of a fraction of the value,
# which is known to a few units of the last place. The sum is rounded to millionths, so these units decide only where it
# lies next to the middle of two of them. There the price is read as the short decimal that it is, if it is one, and the
# sum is made exactly; otherwise the answer is UNSURE.

UNSURE = -1
_LARGEST = 1e8  # shares of an order, so that whole numbers stay within 63 bits
_ROUNDING = 1e-15  # of a sum: more than the roundings in it
_ROOM = 2e18


@compiled
def charge(  # noqa: PLR0917 (compiled functions take no keywords)
    terms: Records, tiers: Table, sales: Table, sale_row: int, quantity: float, price: float, before: float
) -> int:
    """What one order pays for its fills of one session, in millionths of a dollar; UNSURE where floats cannot tell.

    Args:
        terms: TERMS.
        tiers: whole shares of a month up to which a rate holds, and the rate in millionths; one row a tier.
        sales: fees on sales: fraction of the value (1e-12), a share and at most (millionths); one row a period.
        sale_row: the row that holds on the day.
        quantity: signed shares.
        price: average price a share.
        before: shares traded earlier in the month.
    """
    of = terms[0]
    if of.charges == 0 or quantity == 0.0:
        return 0
    shares = abs(quantity)
    if not (shares <= _LARGEST and 0.0 <= before <= 1e12 and price >= 0.0):
        return UNSURE
    whole, at = int(shares), int(before)
    end, by_shares = at + whole, 0
    for row in range(len(tiers)):
        upper = min(end, tiers[row, 0])
        if upper > at:
            by_shares += (upper - at) * tiers[row, 1]
            at = upper
    by_shares = max(by_shares, of.minimum6)
    most = shares * price * of.maximum6
    capped, exactly = most < by_shares, abs(most - by_shares) <= 1e-9 * by_shares
    scaled = scale = 0
    while True:
        if exactly:
            scaled, scale = as_decimal(price)
            if scale == 0 or float(whole) * scaled * of.maximum6 > _ROOM or float(by_shares) * scale > _ROOM:
                return UNSURE
            capped = whole * scaled * of.maximum6 < by_shares * scale
        # what is paid apart from the value, and the fraction of the value that is paid; both in 1e-12
        passed = _MILLION + (of.pass_through6 if of.third_party else 0)
        fixed, fraction = (0, of.maximum6 * passed) if capped else (by_shares * passed, 0)
        if of.third_party:
            fixed += whole * of.clearing6 * _MILLION
            if price < 1.0:
                fraction += of.exchange_below_one12
            else:
                fixed += whole * of.exchange6 * _MILLION
        if quantity < 0.0:
            fraction += sales[sale_row, 0]
            fixed += min(whole * sales[sale_row, 1], sales[sale_row, 2]) * _MILLION
        if exactly:
            return _rounded(fixed, fraction, whole, scaled, scale)
        due = shares * price * fraction / _MILLION + (fixed % _MILLION) / _MILLION
        millionths = int(due)
        if due < 2.0**50 and abs(due - millionths - 0.5) > _ROUNDING * (1.0 + due):
            return fixed // _MILLION + millionths + (due - millionths > 0.5)
        exactly = True


@inlined
def _rounded(fixed: int, fraction: int, shares: int, price: int, scale: int) -> int:
    """Millionths of `fixed + fraction * shares * price / scale`, in 1e-12, half up."""
    unit = _MILLION
    while unit > 1 and fixed % 10 == 0 and fraction % 10 == 0:
        fixed, fraction, unit = fixed // 10, fraction // 10, unit // 10
    if float(fraction) * shares * price + float(fixed) * scale > _ROOM or float(unit) * scale > _ROOM:
        return UNSURE
    whole = fixed * scale + fraction * shares * price
    return (2 * whole + unit * scale) // (2 * unit * scale)


@compiled
def as_decimal(number: float) -> tuple[int, int]:
    """A number of at most fifteen digits as a whole number over a power of ten; a scale of 0 if it has more.

    Its shortest text is then that decimal: no other one of so few digits is read as the same float.
    """
    scale = 1
    for _ in range(12):
        scaled = np.rint(number * scale)
        if abs(scaled) >= 1e15:
            break
        if scaled / scale == number:
            return int(scaled), scale
        scale *= 10
    return 0, 0


@compiled
def interest(terms: Records, cash: float, shorts: float, days: int) -> float:
    """Interest for some calendar days, money: + received, - paid; NaN where floats cannot tell the cents.

    Args:
        terms: TERMS.
        cash: proceeds of short sales included.
        shorts: market value of all short positions, positive.
        days: calendar days.
    """
    of = terms[0]
    own = cash - shorts
    rate, part = (of.earned, of.earned_part) if own >= 0.0 else (of.margin, of.margin_part)
    if days == 0 or (own * rate == 0.0 and shorts == 0.0):
        return 0.0
    earned, paid = own * rate, shorts * of.borrow
    cents = (earned - paid) * days / 3.6
    whole = int(abs(cents))
    error = 4.0 * _ROUNDING * ((abs(earned) + paid) * days / 3.6 + 1.0)
    if abs(cents) < 2.0**50 and abs(abs(cents) - whole - 0.5) > error:
        whole += abs(cents) - whole > 0.5
        return (-whole if cents < 0.0 else whole) / 100.0
    own_scaled, own_scale = as_decimal(own)
    short_scaled, short_scale = as_decimal(shorts)
    scale = max(own_scale, short_scale)
    if own_scale == 0 or short_scale == 0 or of.rate_scale == 0:
        return np.nan
    if float(abs(own_scaled)) * scale > _ROOM or float(short_scaled) * scale > _ROOM:
        return np.nan
    own_scaled *= scale // own_scale
    short_scaled *= scale // short_scale
    yearly = float(abs(own_scaled)) * part + float(short_scaled) * of.borrow_part
    if yearly * days * 10.0 > _ROOM or 36.0 * scale * of.rate_scale > _ROOM:
        return np.nan
    above, below = (own_scaled * part - short_scaled * of.borrow_part) * days * 5, 18 * scale * of.rate_scale
    whole = (2 * abs(above) + below) // (2 * below)
    return (-whole if above < 0 else whole) / 100.0


# ---------------------------------------------------------------- the guard


@inlined
def mark(terms: Records, account: Records, ticks: Table, tick: int) -> None:
    """See the account's value: `RiskGuard.mark_equity`."""
    a = account[0]
    now, equity = ticks[TS, tick], a.value
    if now < a.quiet_until and a.floor < equity <= a.peak:
        a.last = equity
    else:
        if now >= a.quiet_until:
            pass_time(terms, account, ticks, tick)
        if not np.isfinite(equity):
            a.fault = NO_EQUITY
        a.last = equity
        if np.isnan(a.start):
            a.start = equity
        if not equity <= a.peak:
            a.peak = equity
        set_floors(terms, account)
        tripped = 0
        if equity <= a.daily_floor:
            a.session_halt = terms[0].on_daily
            tripped = 1
        if equity <= a.drawdown_floor:
            a.latched = max(a.latched, terms[0].on_drawdown)
            tripped = 1
        if tripped:
            a.events += 1
            set_floors(terms, account)
            settle_state(account, now)


@inlined
def closed_trade(terms: Records, account: Records, profit: float, now: int) -> None:
    """A round trip ended with a profit, after costs: `RiskGuard.closed_trade`."""
    a = account[0]
    a.losses = a.losses + 1 if profit < 0.0 else 0
    if terms[0].losses != NONE and a.losses >= terms[0].losses:
        a.cooldown_until = now + terms[0].cooldown
        a.quiet_until = min(a.quiet_until, a.cooldown_until)
        a.losses = 0
        a.events += 1
        settle_state(account, now)


@compiled
def pass_time(terms: Records, account: Records, ticks: Table, tick: int) -> None:
    """Begin a session, end what ends by itself: `RiskGuard._pass_time`."""
    a, of, now = account[0], terms[0], ticks[TS, tick]
    if of.sessions:
        if ticks[DAY, tick] > a.session:
            a.session = ticks[DAY, tick]
            a.start = a.last
            a.entries = 0
            if a.session_halt != ACTIVE or (a.flat_from != NONE and a.effective == FLATTEN):
                a.events += 1
            a.session_halt = ACTIVE
            a.close = a.flat_from = NONE
            set_floors(terms, account)
        if a.close == NONE:
            a.close = ticks[SESSION_CLOSE, tick]
            a.flat_from = NONE if of.flat == NONE else a.close - of.flat
    if a.cooldown_until != NONE and now >= a.cooldown_until:
        a.cooldown_until = NONE
        a.events += 1
    if a.flat_from != NONE and now >= a.flat_from:
        a.events += 1
    settle_state(account, now)
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
def set_floors(terms: Records, account: Records) -> None:
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
def settle_state(account: Records, now: int) -> None:
    """Work out the halt state in force."""
    a = account[0]
    state = max(a.latched, a.session_halt)
    if a.cooldown_until != NONE and now < a.cooldown_until:
        state = max(state, HALT_ENTRIES)
    if a.flat_from != NONE and now >= a.flat_from:
        state = FLATTEN
    a.effective = state


@compiled
def review(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Table, market: Table, ticks: Table,
    recent: Table, tick: int, number: int,
) -> None:  # fmt: skip
    """Decide about an order: sets what is approved of it, and whether it may only reduce (`RiskGuard.review`)."""
    a, order = account[0], orders[number]
    if ticks[TS, tick] >= a.quiet_until:
        pass_time(terms, account, ticks, tick)
    order.approved = order.requested
    if order.protective:
        return
    sign = 1.0 if order.requested > 0.0 else -1.0
    wanted = abs(order.requested)
    mirrored = sign * symbols[order.symbol].size
    adding, closing = working(account, orders, queues, order.symbol, sign)
    top = mirrored + min(max(0.0, -mirrored), closing) + adding
    held = max(0.0, top)
    opens = max(0.0, top + wanted) - held
    if opens <= 0.0:
        order.protective = 1
        return
    room = 0.0
    if not _stopped(terms, account, orders, queues, market, ticks, recent, tick, number, sign):
        room = _room(terms, account, symbols, orders, queues, market, tick, number, sign, held)
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
def working(account: Records, orders: Records, queues: Table, symbol: int, sign: float) -> tuple[float, float]:
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


@inlined
def _stopped(  # noqa: PLR0917
    terms: Records, account: Records, orders: Records, queues: Table, market: Table, ticks: Table, recent: Table, tick: int,
    number: int, sign: float,
) -> bool:  # fmt: skip
    """Whether a limit forbids every entry."""
    a, of = account[0], terms[0]
    now, price, stopped = ticks[TS, tick], market[CLOSE, orders[number].symbol, tick], False
    if of.flat != NONE and a.close != NONE and not (a.close - now) / _MINUTE > of.flat_minutes:
        stopped = True
    if a.cooldown_until != NONE and now < a.cooldown_until:
        stopped = True
    if a.effective != ACTIVE or a.latched != ACTIVE or a.session_halt != ACTIVE:
        stopped = True
    if not (np.isfinite(price) and price > 0.0 and np.isfinite(a.value) and a.value > 0.0):
        stopped = True
    if not of.shorting and sign < 0.0:
        stopped = True
    if of.per_minute != NONE:
        count = 1
        for at in range(min(a.recent, len(recent))):
            count += now - recent[at] < _MINUTE
        stopped |= count > of.per_minute
    if of.per_session != NONE:
        stopped |= a.entries + 1 > of.per_session
    if of.open_orders != NONE:
        count = 1
        for at in range(a.live):
            count += not orders[queues[LIVE, at]].protective
        stopped |= count > of.open_orders
    return stopped


@inlined
def _room(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Table, market: Table, tick: int,
    number: int, sign: float, held: float,
) -> float:  # fmt: skip
    """How many shares of entry the strictest limit leaves; infinite when nothing limits."""
    of, symbol, equity = terms[0], orders[number].symbol, account[0].value
    price, room = market[CLOSE, symbol, tick], np.inf
    if not np.isnan(of.position_shares):
        room = min(room, of.position_shares - held)
    if not np.isnan(of.position_value):
        room = min(room, of.position_value / price - held)
    if not np.isnan(of.position_fraction):
        room = min(room, of.position_fraction * equity / price - held)
    if not np.isnan(of.order_value):
        room = min(room, of.order_value / price)
    if not np.isnan(of.gross) or not np.isnan(of.net):
        gross = net = 0.0
        if len(symbols) > 1:
            gross, net = others(account, symbols, orders, queues, market, tick, symbol, sign)
        if np.isnan(gross):
            room = 0.0
        elif not np.isnan(of.gross):
            room = min(room, (of.gross * equity - gross) / price - held)
        if not np.isnan(gross) and not np.isnan(of.net):
            room = min(room, (of.net * equity - net) / price - held)
    return room


@compiled
def others(  # noqa: PLR0917
    account: Records,
    symbols: Records,
    orders: Records,
    queues: Table,
    market: Table,
    tick: int,
    symbol: int,
    sign: float,
) -> tuple[float, float]:
    """Worst gross and worst net value (mirrored by `sign`) of all other symbols: those held, then those ordered."""
    gross = net = 0.0
    met, live = account[0].met, account[0].live
    for turn in range(met + live):
        if turn < met:
            other = queues[MET, turn]
            new = symbols[other].size != 0.0
        else:
            other = orders[queues[LIVE, turn - met]].symbol
            new = symbols[other].size == 0.0
            for before in range(turn - met):
                new &= orders[queues[LIVE, before]].symbol != other
        if not new or other == symbol:
            continue
        held = sign * symbols[other].size
        adding, closing = working(account, orders, queues, other, sign)
        own = held + min(max(0.0, -held), closing) + adding
        adding, closing = working(account, orders, queues, other, -sign)
        against = -held + min(max(0.0, held), closing) + adding
        if own == 0.0 and against == 0.0:
            continue
        price = market[CLOSE, other, tick] if held != 0.0 else 0.0
        for at in range(live):
            order = orders[queues[LIVE, at]]
            if order.symbol == other and np.isfinite(order.price):
                price = max(price, order.price)
        price = price if price > 0.0 else np.nan
        gross += max(abs(own), abs(against)) * price
        net += own * price
    return gross, net


# ---------------------------------------------------------------- orders


@inlined
def alive(orders: Records, number: int) -> bool:
    """Whether there is such an order and it may still execute."""
    return number != NONE and orders[number].status <= PARTIAL


@compiled
def end(account: Records, orders: Records, queues: Table, number: int, status: int, tick: int) -> None:  # noqa: PLR0917
    """An order comes to its end, which the strategy will be told."""
    a, order = account[0], orders[number]
    order.status, order.final_tick = status, tick
    a.closing -= order.by_guard
    kept = 0
    for at in range(a.live):
        queues[LIVE, kept] = queues[LIVE, at]
        kept += queues[LIVE, at] != number
    a.live = kept
    queues[NEWS, a.news] = order.symbol
    a.news += 1


@compiled
def cancel(account: Records, orders: Records, queues: Table, number: int, tick: int) -> bool:
    """Cancel an order that waits in the market; False for one that does not."""
    a = account[0]
    kept = 0
    for at in range(a.pending):
        queues[PENDING, kept] = queues[PENDING, at]
        kept += queues[PENDING, at] != number
    if kept == a.pending:
        return False
    a.pending = kept
    end(account, orders, queues, number, CANCELED, tick)
    return True


@inlined
def submit(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Table, market: Table, ticks: Table,
    recent: Table, tick: int, symbol: int, kind: int, size: float, price: float, reduces: int, by_guard: int,
) -> int:  # fmt: skip
    """Send an order through the risk review; its row."""
    a, number = account[0], account[0].orders
    if number >= len(orders):
        a.fault = FULL
        number = 0
    else:
        a.orders += 1
        order = orders[number]
        order.tick, order.symbol, order.kind, order.requested = tick, symbol, kind, size
        order.price, order.filled, order.final_tick = price, 0.0, tick
        order.protective, order.by_guard, order.reason = reduces, by_guard, NO_REASON
        order.fee_day, order.approved, order.remaining, order.status = NONE, 0.0, size, REJECTED
        refused = False
        if a.closing and not by_guard:
            refused = closing_by_guard(account, orders, queues, symbol)
        if not refused:
            review(terms, account, symbols, orders, queues, market, ticks, recent, tick, number)
        if order.approved != 0.0:
            order.remaining, order.status = order.approved, SUBMITTED
            a.closing += by_guard
            queues[SENT, a.sent] = number
            queues[LIVE, a.live] = number
            a.sent += 1
            a.live += 1
        queues[NEWS, a.news] = symbol
        a.news += 1
    return number


@compiled
def closing_by_guard(account: Records, orders: Records, queues: Table, symbol: int) -> bool:
    """Whether an order with which the guard closes a position still works."""
    for at in range(account[0].live):
        order = orders[queues[LIVE, at]]
        if order.by_guard and order.symbol == symbol:
            return True
    return False


@inlined
def check_submitted(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Table, ticks: Table, tiers: Table,
    sales: Table, tick: int,
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
        closed, opened = split(of.pseudo, order.remaining)
        of.pseudo += order.remaining
        for part in range(2):
            size = opened if part else closed
            if size != 0.0:
                fee = charge(terms, tiers, sales, row, size, order.price, 0.0)
                if fee == UNSURE:
                    a.fault = UNCERTAIN_FEE
                cash -= size * order.price
                cash -= fee / _MILLION
        if cash >= 0.0:
            order.status, order.final_tick = ACCEPTED, tick
            queues[PENDING, a.pending] = number
            a.pending += 1
            queues[NEWS, a.news] = order.symbol
            a.news += 1
        else:
            end(account, orders, queues, number, MARGIN, tick)
    a.sent = 0


@compiled
def split(held: float, size: float) -> tuple[float, float]:
    """How much of an execution closes and how much opens, both signed like `size`."""
    if held * size >= 0.0:
        return 0.0, size
    if abs(size) <= abs(held):
        return size, 0.0
    return -held, held + size


@compiled
def reached(orders: Records, market: Table, number: int, tick: int) -> float:
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


@inlined
def work_orders(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, queues: Table, market: Table,
    fresh: Table, ticks: Table, tiers: Table, sales: Table, tick: int,
) -> None:  # fmt: skip
    """Give every pending order one chance."""
    a = account[0]
    count, kept = a.pending, 0
    for at in range(count):
        number = queues[PENDING, at]
        order = orders[number]
        if fresh[order.symbol, tick]:
            price = reached(orders, market, number, tick)
            if not np.isnan(price):
                _fill(terms, account, symbols, orders, fills, queues, market, ticks, tiers, sales, tick, number, price)
        if order.status <= PARTIAL:
            queues[PENDING, kept] = number
            kept += 1
    a.pending = kept


@inlined
def _fill(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, queues: Table, market: Table,
    ticks: Table, tiers: Table, sales: Table, tick: int, number: int, price: float,
) -> None:  # fmt: skip
    """Execute as much of an order as the bar allows."""
    order = orders[number]
    of = symbols[order.symbol]
    size = order.remaining
    if (order.protective or order.by_guard) and of.size * size >= 0.0:
        order.reason = NO_POSITION
        end(account, orders, queues, number, CANCELED, tick)
    else:
        if order.protective or order.by_guard:
            size = np.copysign(min(abs(size), abs(of.size)), size)
        if of.taken_at != tick:
            of.taken_at, of.taken = tick, 0.0
        volume, part = market[VOLUME, order.symbol, tick], terms[0].participation
        if not np.isnan(volume) and not np.isnan(part):
            left = max(0.0, np.floor(max(0.0, volume) * part * _FORGIVING) - of.taken)
            size = np.copysign(min(abs(size), left), size)
        if size != 0.0:
            _execute(terms, account, symbols, orders, fills, queues, market, ticks, tiers, sales, tick, number, price,
                     size)  # fmt: skip


@inlined
def _execute(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, queues: Table, market: Table,
    ticks: Table, tiers: Table, sales: Table, tick: int, number: int, reference: float, size: float,
) -> None:  # fmt: skip
    """Execute shares of an order as far as the cash pays for them, and book it."""
    a, order = account[0], orders[number]
    of = symbols[order.symbol]
    price = reference
    if order.kind != LIMIT:
        price = _slipped(terms, market, order.symbol, tick, reference, size)
    if order.fee_day != ticks[DAY, tick]:
        order.fee_day, order.fee_shares, order.fee_value, order.fee_charged = ticks[DAY, tick], 0.0, 0.0, 0
    if a.month != ticks[MONTH, tick]:
        a.month, a.month_shares = ticks[MONTH, tick], 0.0
    closed, opened = split(of.size, size)
    closed_fee = opened_fee = 0
    for part in range(2):
        some = (size if opened != 0.0 else 0.0) if part else closed
        if some != 0.0 and terms[0].charges:
            shares = order.fee_shares + abs(some)
            worth = order.fee_value + abs(some) * price
            fee = charge(terms, tiers, sales, ticks[SALE_FEES, tick], np.copysign(shares, some), worth / shares,
                         a.month_shares - (shares - abs(some)))  # fmt: skip
            if fee == UNSURE:
                a.fault = UNCERTAIN_FEE
            fee = max(fee - order.fee_charged, 0)
            if part:
                opened_fee = fee - closed_fee
            else:
                closed_fee = fee
    profit = -closed * (price - of.average) if closed != 0.0 else 0.0
    cash = a.cash
    if closed != 0.0:
        cash += -closed * of.average + profit
        cash -= closed_fee / _MILLION
    if opened != 0.0:
        left = cash - opened * price
        left -= opened_fee / _MILLION
        if left < 0.0:
            opened, opened_fee = 0.0, 0
        else:
            cash = left
    done = closed + opened
    if done != 0.0:
        a.cash = cash
        _book(terms, account, symbols, orders, fills, ticks, tick, number, done, price, reference,
              closed_fee + opened_fee)  # fmt: skip
        sofar = of.profit + profit - closed_fee / _MILLION
        if closed != 0.0 and (opened != 0.0 or of.size == 0.0):
            closed_trade(terms, account, sofar, ticks[TS, tick])
            sofar = 0.0
        of.profit = sofar - opened_fee / _MILLION if of.size != 0.0 else 0.0
        order.status, order.final_tick = PARTIAL, tick
    if done != size:
        order.reason = NO_CASH
    if done != size or order.remaining == 0.0:
        end(account, orders, queues, number, MARGIN if done != size else COMPLETED, tick)
    if done != 0.0 and (done != size or order.remaining != 0.0):
        queues[NEWS, a.news] = order.symbol
        a.news += 1


@inlined
def _slipped(terms: Records, market: Table, symbol: int, tick: int, price: float, size: float) -> float:  # noqa: PLR0917
    """The price after slippage, inside the bar."""
    of, high, low = terms[0], market[HIGH, symbol, tick], market[LOW, symbol, tick]
    side = 1.0 if size > 0.0 else -1.0
    if of.slippage == BASIS_POINTS:
        price *= 1.0 + side * of.slipped / 10_000.0
    elif of.slippage == HALF_SPREAD:
        price *= 1.0 + side * of.slipped / 2.0 / 10_000.0
    elif of.slippage == VOLUME_SHARE:
        volume, share = market[VOLUME, symbol, tick], 1.0
        if np.isfinite(volume) and volume > 0.0:
            share = min(1.0, abs(size) / volume)
        price *= 1.0 + side * of.slipped * share * share
    return min(max(price, low), high)


@inlined
def _book(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, ticks: Table, tick: int,
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
    order.fee_shares += abs(size)
    order.fee_value += abs(size) * price
    order.fee_charged += fee
    a.month_shares += abs(size)
    order.filled += size
    order.remaining -= size
    if a.fills >= len(fills):
        a.fault = FULL
    else:
        fill = fills[a.fills]
        a.fills += 1
        fill.tick, fill.symbol, fill.quantity, fill.price = tick, order.symbol, size, price
        fill.commission = fee / _MILLION
        fill.slippage = abs(size) * abs(price - reference)
        fill.order, fill.size, fill.average, fill.cash = number, of.size, of.average, a.cash


# ---------------------------------------------------------------- the account


@compiled
def value(account: Records, symbols: Records, queues: Table, market: Table, tick: int) -> float:
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


@inlined
def book_interest(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, bookings: Records, queues: Table, market: Table, ticks: Table,
    tick: int,
) -> None:  # fmt: skip
    """Charge and pay for the nights since the last session, on the closes before this bar."""
    a = account[0]
    shorts = 0.0
    for at in range(a.met):
        symbol = queues[MET, at]
        if symbols[symbol].size < 0.0:
            shorts -= symbols[symbol].size * market[CLOSE, symbol, tick - 1]
    amount = interest(terms, a.cash, shorts, ticks[NIGHTS, tick])
    if np.isnan(amount):
        a.fault = UNCERTAIN_INTEREST
    elif amount != 0.0:
        a.cash += amount
        if a.bookings >= len(bookings):
            a.fault = FULL
        else:
            booking = bookings[a.bookings]
            a.bookings += 1
            booking.tick, booking.amount, booking.cash = tick, amount, a.cash


@inlined
def enforce(account: Records, symbols: Records, orders: Records, queues: Table, tick: int) -> None:
    """Withdraw the orders that a halt state forbids."""
    a = account[0]
    if a.effective >= REDUCE_ONLY and a.effective != a.halt:
        at = 0
        while at < a.live:
            number = queues[LIVE, at]
            order = orders[number]
            held, left = symbols[order.symbol].size, order.approved - order.filled
            reduces = order.protective or (held * left < 0.0 and abs(left) <= abs(held))
            if order.by_guard or (a.effective == REDUCE_ONLY and reduces):
                at += 1
            else:
                cancel(account, orders, queues, number, tick)
    a.halt = a.effective


# ---------------------------------------------------------------- the desk


@inlined
def side(symbols: Records, symbol: int) -> int:
    """1, -1 or 0: where the symbol is or is on its way to."""
    number = symbols[symbol].weight if symbols[symbol].wish else symbols[symbol].size
    return int(number > 0.0) - int(number < 0.0)


@compiled
def wish(account: Records, symbols: Records, queues: Table, symbol: int, weight: float) -> None:
    """Want another position: a signed fraction of equity, 0 to be flat."""
    a, of = account[0], symbols[symbol]
    if not of.wish:
        queues[WISHES, a.wishes] = symbol
        a.wishes += 1
    of.wish, of.weight, of.order, of.tries = 1, weight, NONE, 0
    of.stop = of.take = 0


@inlined
def settle(account: Records, symbols: Records, orders: Records, queues: Table, symbol: int) -> bool:
    """Take note of what became of the symbol's order; whether a position is left that must now be closed."""
    of = symbols[symbol]
    left = False
    if of.wish and of.order != NONE and orders[of.order].status > PARTIAL:
        status = orders[of.order].status
        if of.weight == 0.0:
            done, again = of.size == 0.0, True
        else:
            done, again = status == COMPLETED, status == MARGIN and of.tries < _TRIES
        left = finish(account, symbols, queues, symbol, done, again)
    return left


@compiled
def finish(account: Records, symbols: Records, queues: Table, symbol: int, done: bool, again: bool) -> bool:  # noqa: PLR0917
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
def forget_dead(symbols: Records, orders: Records, symbol: int) -> int:
    """Keep the living among the orders sent; how many there are."""
    of = symbols[symbol]
    kept = 0
    for at in range(of.working):
        number = of.numbers[at]
        of.numbers[kept] = number
        kept += orders[number].status <= PARTIAL
    of.working = kept
    return int(kept)


@compiled
def withdrawn(account: Records, symbols: Records, orders: Records, queues: Table, tick: int, symbol: int) -> bool:  # noqa: PLR0917
    """Cancel the symbol's working orders; whether none is left."""
    for at in range(forget_dead(symbols, orders, symbol)):
        cancel(account, orders, queues, symbols[symbol].numbers[at], tick)
    return forget_dead(symbols, orders, symbol) == 0


@inlined
def _target(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Table, market: Table, tick: int,
    symbol: int,
) -> float:  # fmt: skip
    """The position to aim at, in whole shares, signed: `strategies.sizing.target_shares`."""
    of, equity, price = symbols[symbol], account[0].value, market[CLOSE, symbol, tick]
    target = of.size if of.weight != 0.0 else 0.0
    if np.isfinite(price) and price > 0.0 and equity > 0.0:
        target = np.copysign(np.floor(abs(of.weight) * equity / price * _FORGIVING), of.weight)
        if of.weight > 0.0:
            free = _free_cash(account, symbols, orders, queues, market, tick)
            more = np.floor(free * (1.0 - terms[0].cash_reserve) / price * _FORGIVING)
            target = max(min(target, of.size + max(0.0, more)), min(of.size, target), 0.0)
    return target


@inlined
def _free_cash(account: Records, symbols: Records, orders: Records, queues: Table, market: Table, tick: int) -> float:  # noqa: PLR0917
    """Cash less what working buys will cost, plus what working sales of shares held will bring."""
    cash = account[0].cash
    for at in range(account[0].wishes):
        symbol = queues[WISHES, at]
        of = symbols[symbol]
        if alive(orders, of.order):
            missing = orders[of.order].remaining
            sold = max(missing, -max(of.size, 0.0))
            cash -= (missing if missing > 0.0 else sold) * market[CLOSE, symbol, tick]
    return cash


@inlined
def _keeps_exits(account: Records, symbols: Records, orders: Records, queues: Table, tick: int, symbol: int) -> bool:  # noqa: PLR0917
    """Whether the protective orders are to be brought into step with a position; withdraws them where there is none."""
    of = symbols[symbol]
    keeps = False
    if of.stop or of.take:
        leaving = False
        for at in range(forget_dead(symbols, orders, symbol)):
            number = of.numbers[at]
            own = (of.stop and number == of.stop_order) or (of.take and number == of.take_order)
            # an exit that still works, perhaps a cancelled one: a stop beside it would sell the same shares twice
            leaving |= not own and orders[number].remaining * of.size < 0.0
        if not leaving:
            keeps = of.size * of.side > 0.0
            if not keeps and not of.wish:
                of.stop = of.take = 0
                withdrawn(account, symbols, orders, queues, tick, symbol)
    return keeps


@inlined
def _refused(symbols: Records, orders: Records, symbol: int) -> bool:
    """Whether a protective order was refused: it is tried again at the next bar, not at the news of that."""
    of = symbols[symbol]
    stop = of.stop and of.stop_order != NONE and orders[of.stop_order].status == REJECTED
    take = of.take and of.take_order != NONE and orders[of.take_order].status == REJECTED
    return stop or take


@compiled
def outdated(  # noqa: PLR0917
    account: Records,
    symbols: Records,
    orders: Records,
    queues: Table,
    tick: int,
    symbol: int,
    number: int,
    price: float,
) -> bool:
    """Whether a protective order must be sent anew; the old one is cancelled then."""
    size = -symbols[symbol].size
    if number == NONE or orders[number].status > PARTIAL:
        return True
    left = orders[number].remaining
    if orders[number].price == price and abs(left - size) <= 1e-9 * max(abs(left), abs(size)):
        return False
    return cancel(account, orders, queues, number, tick)


# ---------------------------------------------------------------- the bar


@inlined
def trade(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, bookings: Records,
    queues: Table, market: Table, fresh: Table, ticks: Table, tiers: Table, sales: Table, tick: int,
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
        mark(terms, account, ticks, tick)
        enforce(account, symbols, orders, queues, tick)


# What may send an order at a bar, in this order: the guard's flattening, news of symbols without a bar, and for all
# symbols with one the settling of old wishes, the decisions, and what the end of the bar brings into step.
_FLATTENING, _TOLD, _SETTLING, _DECIDING, _ENDING, _OVER = range(6)


@inlined
def step(  # noqa: C901, PLR0912, PLR0917 (a list of turns)
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Table, market: Table, fresh: Table,
    code: Table, away: Table, comes_to: Table, ticks: Table, recent: Table, tick: int,
) -> None:  # fmt: skip
    """The guard's and the strategy's orders of a bar."""
    a = account[0]
    stage, turn, turns = _FLATTENING, 0, a.met if a.halt == FLATTEN else 0
    while stage < _OVER:
        if turn == turns:
            if stage == _TOLD:
                for at in range(turns, a.news):
                    queues[NEWS, at - turns] = queues[NEWS, at]
                a.news -= turns
            stage += 1
            turn, turns = 0, a.news if stage == _TOLD else len(symbols)
            continue
        symbol = queues[MET, turn] if stage == _FLATTENING else queues[NEWS, turn] if stage == _TOLD else turn
        turn += 1
        of, close = symbols[symbol], market[CLOSE, symbol, tick]
        if stage == _DECIDING:
            if not code[symbol, tick] & READY:
                continue
        elif stage != _FLATTENING and (fresh[symbol, tick] != 0) == (stage == _TOLD):
            continue
        pursues = stage == _ENDING
        if stage == _TOLD and of.wish and of.order == NONE:
            pursues = forget_dead(symbols, orders, symbol) == 0
        elif stage == _SETTLING:
            pursues = settle(account, symbols, orders, queues, symbol)
        elif stage == _DECIDING:
            pursues = _decide(terms, account, symbols, queues, market, code, away, comes_to, tick, symbol)
        keeps = False
        for part in range(4):
            kind, size, price = MARKET, 0.0, close
            if stage == _FLATTENING:
                if part == 0 and of.size != 0.0 and not closing_by_guard(account, orders, queues, symbol):
                    size = -of.size
            elif part < 2:
                # a second time where a reversal was given up and the position is to be closed
                if (
                    pursues
                    and of.wish
                    and of.order == NONE
                    and withdrawn(account, symbols, orders, queues, tick, symbol)
                ):
                    size = _target(terms, account, symbols, orders, queues, market, tick, symbol) - of.size
                    of.tries += 1
                    pursues = False
                    if size == 0.0 and (of.weight == 0.0 or of.tries >= _TRIES):
                        pursues = finish(account, symbols, queues, symbol, of.weight == 0.0, False)
            else:
                if part == 2 and (stage == _ENDING or (stage == _TOLD and not _refused(symbols, orders, symbol))):
                    keeps = _keeps_exits(account, symbols, orders, queues, tick, symbol)
                if keeps and (of.take if part == 3 else of.stop):
                    kind, price, number = STOP, of.stop_price, of.stop_order
                    if part == 3:
                        kind, price, number = LIMIT, of.take_price, of.take_order
                    if outdated(account, symbols, orders, queues, tick, symbol, number, price):
                        size = -of.size
                        if not (np.isfinite(price) and price > 0.0):
                            a.fault = NO_PRICE
            if size != 0.0:
                number = submit(
                    terms, account, symbols, orders, queues, market, ticks, recent, tick, symbol, kind, size, price,
                    1 if part >= 2 else 0, 1 if stage == _FLATTENING else 0,
                )  # fmt: skip
                if stage != _FLATTENING:
                    _remember(account, symbols, orders, symbol, part, number)
        if stage == _DECIDING and terms[0].trails and of.stop:
            up = side(symbols, symbol)
            price = close - up * away[TRAIL_AWAY, symbol, tick]
            if up * (price - of.stop_price) > 0.0:
                of.stop_price = price


@inlined
def _remember(account: Records, symbols: Records, orders: Records, symbol: int, part: int, number: int) -> None:  # noqa: PLR0917
    """Note an order that was sent for a wish (part 0 or 1), as the stop (2) or to take the profit (3)."""
    of = symbols[symbol]
    if part < 2:
        of.order = number
    elif part == 2:
        of.stop_order = number
    else:
        of.take_order = number
    if of.working == WORKING and forget_dead(symbols, orders, symbol) == WORKING:
        account[0].fault = FULL
    else:
        of.numbers[of.working] = number
        of.working += 1


@inlined
def _decide(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, queues: Table, market: Table, code: Table, away: Table, comes_to: Table,
    tick: int, symbol: int,
) -> bool:  # fmt: skip
    """Do what is declared about one bar; whether there is a new wish."""
    of, close = symbols[symbol], market[CLOSE, symbol, tick]
    action = comes_to[code[symbol, tick] & _DECLARED, side(symbols, symbol) + 1]
    if action != STAY:
        up = 1 if action == GO_LONG else -1 if action == GO_SHORT else 0
        wish(account, symbols, queues, symbol, up * terms[0].weight)
        of.side = up
        if up != 0 and terms[0].stops and away[STOP_AWAY, symbol, tick] != -np.inf:
            of.stop, of.stop_price, of.stop_order = 1, close - up * away[STOP_AWAY, symbol, tick], NONE
        if up != 0 and terms[0].profits and away[PROFIT_AWAY, symbol, tick] != -np.inf:
            of.take, of.take_price, of.take_order = 1, close + up * away[PROFIT_AWAY, symbol, tick], NONE
    return action != STAY


@inlined
def next_tick(  # noqa: C901, PLR0912, PLR0917 (one loop that hardly calls)
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Table, market: Table, fresh: Table,
    code: Table, away: Table, comes_to: Table, ticks: Table, tick: int,
) -> int:  # fmt: skip
    """The first tick from `tick` on at which anything can happen, while nothing is on its way."""
    a, of = account[0], terms[0]
    pays = of.earned != 0.0 or a.cash < 0.0
    invested = False
    for symbol in range(len(symbols)):
        pays |= symbols[symbol].size < 0.0
        invested |= symbols[symbol].size != 0.0
    watches = of.watches != 0 and invested
    idle = not (of.losses != NONE and a.cooldown_until != NONE)
    while idle and tick < ticks.shape[1]:
        if pays and ticks[NIGHTS, tick]:
            idle = False
        if of.flat != NONE and ticks[TS, tick] >= ticks[SESSION_CLOSE, tick] - of.flat:
            idle = False
        for symbol in range(len(symbols)):
            bits = code[symbol, tick]
            if bits & DECISIONS:
                size = symbols[symbol].size
                if comes_to[bits & _DECLARED, int(size > 0.0) - int(size < 0.0) + 1] != STAY:
                    idle = False
            if of.trails and bits & READY and symbols[symbol].stop:
                size = symbols[symbol].size
                up = int(size > 0.0) - int(size < 0.0)
                price = market[CLOSE, symbol, tick] - up * away[TRAIL_AWAY, symbol, tick]
                if up * (price - symbols[symbol].stop_price) > 0.0:
                    idle = False
        for at in range(a.pending):
            number = queues[PENDING, at]
            if fresh[orders[number].symbol, tick] and not np.isnan(reached(orders, market, number, tick)):
                idle = False
        if idle and watches:
            equity = value(account, symbols, queues, market, tick)
            if ticks[TS, tick] < a.quiet_until and a.floor < equity <= a.peak:
                a.last = equity
            else:
                idle = False
        tick += idle
    return tick


@compiled
def simulate(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, bookings: Records,
    queues: Table, market: Table, fresh: Table, code: Table, away: Table, comes_to: Table, ticks: Table, tiers: Table, sales: Table,
    recent: Table,
) -> int:  # fmt: skip
    """Run from the first bar to the last.

    Args:
        terms: TERMS, one row.
        account: ACCOUNT, one row; overwritten, as are all records and queues.
        symbols: SYMBOL, in the order of the experiment, with `first_ready` set.
        orders: ORDER; how many are used stands in `account`, as for fills and bookings.
        fills: FILL.
        bookings: BOOKING.
        queues: whole numbers, one row a queue.
        market: prices by row, symbol and tick; the close is the last one known.
        fresh: whether the symbol has a bar at the tick.
        code: what is declared about the symbol's bar at the tick.
        away: distances by row, symbol and tick; empty where none are declared.
        comes_to: the decision by code and side + 1.
        ticks: the clock by row and tick.
        tiers: see `charge`.
        sales: likewise.
        recent: moments of the last entry orders, as many as a minute may have.

    Returns:
        How the run ended, SOUND or a fault.
    """
    a = account[0]
    _reset(terms, account, symbols, queues)
    tick = 0
    while tick < ticks.shape[1] and not a.fault:
        trade(terms, account, symbols, orders, fills, bookings, queues, market, fresh, ticks, tiers, sales, tick)
        step(terms, account, symbols, orders, queues, market, fresh, code, away, comes_to, ticks, recent, tick)
        if a.news + 16 * (a.live + len(symbols) + 1) >= queues.shape[1]:
            a.fault = FULL
        tick += 1
        if a.sent == 0 and a.wishes == 0 and a.news == 0 and a.halt == ACTIVE and a.effective == ACTIVE:
            tick = next_tick(terms, account, symbols, orders, queues, market, fresh, code, away, comes_to, ticks, tick)
    a.value = value(account, symbols, queues, market, ticks.shape[1] - 1)
    return int(a.fault)


@inlined
def _reset(terms: Records, account: Records, symbols: Records, queues: Table) -> None:
    """Money in cash, a guard that has seen nothing, and a desk without plans."""
    a = account[0]
    a.cash = a.value = terms[0].cash
    a.fault = a.orders = a.fills = a.bookings = a.events = 0
    a.sent = a.pending = a.live = a.wishes = a.news = a.met = a.closing = 0
    a.month, a.month_shares, a.halt = NONE, 0.0, ACTIVE
    a.effective = a.latched = a.session_halt = ACTIVE
    a.session = a.quiet_until = LONG_AGO
    a.start = a.peak = a.last = np.nan
    a.entries = a.recent = a.losses = 0
    a.cooldown_until = a.close = a.flat_from = NONE
    a.daily_floor = a.drawdown_floor = a.floor = -np.inf
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
