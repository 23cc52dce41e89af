"""One run in compiled form: what the broker, the risk guard and the order desk do at each bar.

Belongs here: `research.simulated_broker`, the parts of Backtrader's broker under it, `risk.guard`, `risk.decision` and
`strategies.order_desk`, step by step on flat records, each with the same floating-point operations in the same order.
Does not belong here: what the records are made of (see `market`), what becomes of them (see `output`, `figures`).

All of it stands in one file, because numba keeps compiled code until the file of the compiled function changes and
does not look at the files of the functions that it calls. The functions are few and large, because numba compiles a
function anew into every one that calls it: depth costs seconds at the first run. What a run does not need (exits,
halts) is left out of what is compiled for it, by an argument that is None.

What cannot be decided exactly is left: the run ends with a fault, and a slower engine takes it.
"""

# ruff: noqa: FURB136, PLR0911, PLR1714, PLR1730, SIM102, SIM109 (what is shorter in Python is slower to compile)

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

Records = npt.NDArray[Any]
"""An array of one of the structured types below."""
Table = npt.NDArray[Any]
"""An array of plain numbers."""
Given = bool | None
"""None leaves out what would be done."""

compiled = njit(cache=True, error_model="numpy", nogil=True, no_cfunc_wrapper=True, _nrt=False)
inner = njit(cache=True, error_model="numpy", no_cfunc_wrapper=True, no_cpython_wrapper=True, _nrt=False)
inlined = njit(
    cache=True, error_model="numpy", no_cfunc_wrapper=True, no_cpython_wrapper=True, _nrt=False, forceinline=True
)
"""For what is called from one place: to pass a hundred words of arrays at each bar took a third of a run."""

# ---------------------------------------------------------------- words

MARKET, STOP, LIMIT = range(3)
"""Kinds of orders."""

# an order's status, in Backtrader's numbers; from SUBMITTED to PARTIAL it is alive
SUBMITTED, ACCEPTED, PARTIAL, COMPLETED, REJECTED = 1, 2, 3, 4, 8
CANCELED, MARGIN = np.int64(5), np.int64(7)

ACTIVE, HALT_ENTRIES, REDUCE_ONLY, FLATTEN = range(4)
"""Halt states by severity."""

NO_REASON, NO_CASH, NO_POSITION = range(3)
"""Why an order ended otherwise than asked for, where that is no matter of risk."""

SOUND, FULL, UNCERTAIN_FEE, UNCERTAIN_INTEREST, NO_PRICE, NO_EQUITY, CROWDED = range(7)
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

# numpy's, as are two of the statuses: numba compiles a function once more for every plain constant that it is given
YES, NO = np.bool_(True), np.bool_(False)

NEVER = 2**62
LONG_AGO = -(2**62)
NONE = -1
WORKING = 12
"""Orders of one symbol that may be alive at once: more than a desk ever has."""

_F, _I = "f8", "i8"

TERMS: Final = np.dtype(
    [
        # the strategy
        ("weight", _F), ("cash_reserve", _F), ("cash", _F),
        # fills
        ("slippage", _I), ("slipped", _F), ("participation", _F),
        # fees, in millionths of a dollar (6) or millionths of them (12); fractions of the value likewise
        ("charges", _I), ("third_party", _I), ("minimum6", _I), ("maximum6", _I), ("clearing6", _I), ("exchange6", _I),
        ("exchange_below_one12", _I), ("pass_through6", _I),
        # interest: rates, and the same as whole parts of `rate_scale` (0: they are none)
        ("borrow", _F), ("margin", _F), ("earned", _F), ("borrow_part", _I), ("margin_part", _I), ("earned_part", _I),
        ("rate_scale", _I),
        # limits: infinity or NONE where there is none, times in microseconds
        ("position_shares", _F), ("position_value", _F), ("position_fraction", _F), ("gross", _F), ("net", _F),
        ("order_value", _F), ("shorting", _I), ("per_minute", _I), ("per_session", _I), ("open_orders", _I),
        ("daily_loss", _F), ("daily_fraction", _F), ("on_daily", _I), ("drawdown", _F), ("on_drawdown", _I),
        ("losses", _I), ("cooldown", _I), ("flat", _I), ("flat_minutes", _F),
        # whether the guard must be asked at all, sees every bar, looks at the equity there, counts sessions
        ("guarded", _I), ("marks", _I), ("watches", _I), ("sessions", _I),
    ],
    align=True,
)  # fmt: skip
"""What does not change during a run."""

ACCOUNT: Final = np.dtype(
    [
        ("cash", _F), ("value", _F), ("fault", _I), ("orders", _I), ("fills", _I), ("bookings", _I), ("booked", _I),
        ("sent", _I), ("pending", _I), ("live", _I), ("wishes", _I), ("news", _I), ("met", _I), ("closing", _I),
        ("month", _I), ("month_shares", _F), ("events", _I), ("halt", _I),
        # the guard's memory
        ("effective", _I), ("latched", _I), ("session_halt", _I), ("session", _I), ("start", _F), ("peak", _F),
        ("last", _F), ("entries", _I), ("recent", _I), ("losses", _I), ("cooldown_until", _I), ("close", _I),
        ("flat_from", _I), ("quiet_until", _I), ("floor", _F),
    ],
    align=True,
)  # fmt: skip
"""Money, how long every list is, and what the guard remembers."""

SYMBOL: Final = np.dtype(
    [
        ("size", _F), ("average", _F), ("profit", _F), ("taken", _F), ("taken_at", _I),
        # the size that the check of submitted orders has reached
        ("pseudo", _F), ("pseudo_at", _I),
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
# sum is made exactly; otherwise the answer is UNSURE, and decimals are asked outside: the run ends with its
# question, and is run again with the answer.

UNSURE = -1
_LARGEST = 1e8  # shares of an order, so that whole numbers stay within 63 bits
_ROUNDING = 1e-15  # of a sum: more than the roundings in it
_ROOM = 2e18


@compiled
def charge(  # noqa: C901, PLR0912, PLR0917 (compiled functions take no keywords)
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
    end_of_order, by_shares = at + whole, 0
    for row in range(len(tiers)):
        upper = tiers[row, 0] if tiers[row, 0] < end_of_order else end_of_order
        if upper > at:
            by_shares += (upper - at) * tiers[row, 1]
            at = upper
    if by_shares < of.minimum6:
        by_shares = of.minimum6
    most = shares * price * of.maximum6
    capped, exactly = most < by_shares, abs(most - by_shares) <= 1e-9 * by_shares
    scaled, scale = 0, 1
    while True:
        if exactly:
            scaled, scale = as_decimal(price)
            if scale == 0 or shares * scaled * of.maximum6 > _ROOM or float(by_shares) * scale > _ROOM:
                return UNSURE
            capped = whole * scaled * of.maximum6 < by_shares * scale
        # what is paid apart from the value, and the fraction of the value that is paid; both in 1e-12
        passed = _MILLION + of.third_party * of.pass_through6
        fixed, fraction = (0, of.maximum6 * passed) if capped else (by_shares * passed, 0)
        if of.third_party:
            fixed += whole * of.clearing6 * _MILLION
            if price < 1.0:
                fraction += of.exchange_below_one12
            else:
                fixed += whole * of.exchange6 * _MILLION
        if quantity < 0.0:
            fraction += sales[sale_row, 0]
            activity = whole * sales[sale_row, 1]
            fixed += (activity if activity < sales[sale_row, 2] else sales[sale_row, 2]) * _MILLION
        if exactly:
            break
        due = shares * price * fraction / _MILLION + (fixed % _MILLION) / _MILLION
        millionths = int(due)
        if due < 2.0**50 and abs(due - millionths - 0.5) > _ROUNDING * (1.0 + due):
            return fixed // _MILLION + millionths + (due - millionths > 0.5)
        if fraction == 0:
            return (2 * fixed + _MILLION) // (2 * _MILLION)
        exactly = True
    unit = _MILLION
    while unit > 1 and fixed % 10 == 0 and fraction % 10 == 0:
        fixed, fraction, unit = fixed // 10, fraction // 10, unit // 10
    if fraction * shares * scaled + float(fixed) * scale > _ROOM or float(unit) * scale > _ROOM:
        return UNSURE
    exact = fixed * scale + fraction * whole * scaled
    return (2 * exact + unit * scale) // (2 * unit * scale)


@inner
def charged(  # noqa: PLR0917
    terms: Records, tiers: Table, sales: Table, answers: Table, sale_row: int, quantity: float, price: float,
    before: float,
) -> int:  # fmt: skip
    """`charge`, or where floats cannot tell what was answered earlier; UNSURE, and the question noted, if nothing was.

    Args:
        terms: as all that follow but `answers`, see `charge`.
        tiers: likewise.
        sales: likewise.
        answers: how many there are, then the open question; a row each of quantity, price, row of sales, shares before
            and millionths.
        sale_row: likewise.
        quantity: likewise.
        price: likewise.
        before: likewise.
    """
    fee: int = charge(terms, tiers, sales, sale_row, quantity, price, before)
    if fee != UNSURE:
        return fee
    for row in range(1, int(answers[0, 0]) + 1):
        same = answers[row, 0] == quantity and answers[row, 1] == price and answers[row, 2] == sale_row
        if same and answers[row, 3] == before:
            return int(answers[row, 4])
    answers[0, 1], answers[0, 2], answers[0, 3], answers[0, 4] = quantity, price, sale_row, before
    return UNSURE


@compiled
def as_decimal(number: float) -> tuple[int, int]:
    """A number of at most fifteen digits as a whole number over a power of ten; a scale of 0 if it has more.

    Its shortest text is then that decimal: no other one of so few digits is read as the same float.
    """
    scale = 1
    while scale <= 10**11:
        if abs(number) * scale >= 1e15:
            break
        scaled = math.floor(number * scale + 0.5)
        if scaled / scale == number:
            return scaled, scale
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
        return float((-whole if cents < 0.0 else whole) / 100.0)
    own_scaled, own_scale = as_decimal(own)
    short_scaled, short_scale = as_decimal(shorts)
    scale = own_scale if own_scale > short_scale else short_scale
    if own_scale == 0 or short_scale == 0 or of.rate_scale == 0:
        return math.nan
    if float(abs(own_scaled)) * scale > _ROOM or float(short_scaled) * scale > _ROOM:
        return math.nan
    own_scaled *= scale // own_scale
    short_scaled *= scale // short_scale
    yearly = float(abs(own_scaled)) * part + float(short_scaled) * of.borrow_part
    if yearly * days * 10.0 > _ROOM or 36.0 * scale * of.rate_scale > _ROOM:
        return math.nan
    above, below = (own_scaled * part - short_scaled * of.borrow_part) * days * 5, 18 * scale * of.rate_scale
    whole = (2 * abs(above) + below) // (2 * below)
    return float((-whole if above < 0 else whole) / 100.0)


# ---------------------------------------------------------------- orders


@inner
def end(account: Records, orders: Records, queues: Table, number: int, status: int, tick: int, waits: bool) -> bool:  # noqa: PLR0917
    """An order comes to its end, of which the strategy is told; False if it should wait in the market and does not."""
    a, order = account[0], orders[number]
    if waits:
        at = 0
        while at < a.pending and queues[PENDING, at] != number:
            at += 1
        if at == a.pending:
            return False
        a.pending -= 1
        while at < a.pending:
            queues[PENDING, at] = queues[PENDING, at + 1]
            at += 1
    order.status, order.final_tick = status, tick
    a.closing -= order.by_guard
    at = 0
    while queues[LIVE, at] != number:
        at += 1
    a.live -= 1
    while at < a.live:
        queues[LIVE, at] = queues[LIVE, at + 1]
        at += 1
    queues[NEWS, a.news] = order.symbol
    a.news += 1
    return True


@inner
def withdrawn(  # noqa: PLR0917
    account: Records, symbols: Records, orders: Records, queues: Table, tick: int, symbol: int, cancels: bool
) -> bool:
    """Forget a symbol's dead orders, where asked after cancelling the others; whether none is left."""
    of = symbols[symbol]
    kept = 0
    for at in range(of.working):
        number = of.numbers[at]
        if orders[number].status <= PARTIAL and not (
            cancels and end(account, orders, queues, number, CANCELED, tick, YES)
        ):
            of.numbers[kept] = number
            kept += 1
    of.working = kept
    return bool(kept == 0)


@inner
def closing(account: Records, orders: Records, queues: Table, symbol: int) -> bool:
    """Whether an order with which the guard closes a position still works."""
    for at in range(account[0].live):
        order = orders[queues[LIVE, at]]
        if order.by_guard and order.symbol == symbol:
            return True
    return False


@inner
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
        return float(at) if market[LOW, symbol, tick] <= at else math.nan
    if first >= at:
        return float(first)
    return float(at) if market[HIGH, symbol, tick] >= at else math.nan


@inner
def value(account: Records, symbols: Records, queues: Table, market: Table, tick: int) -> float:
    """Cash and positions at the last closes, added in Backtrader's order."""
    worth = 0.0
    for at in range(account[0].met):
        symbol = queues[MET, at]
        of = symbols[symbol]
        if of.size != 0.0:
            close = market[CLOSE, symbol, tick]
            now = of.size * close
            if now > 0.0:
                profit = of.size * (close - of.average)
                worth = (worth + (now - profit)) + profit
            else:
                worth += now
    return float(account[0].cash + worth)


# ---------------------------------------------------------------- the guard


@inner
def watch(terms: Records, account: Records, ticks: Table, tick: int, marks: bool) -> None:  # noqa: C901, PLR0912
    """Let the guard see the time, and where asked the account's value: `RiskGuard.mark_equity` and `_pass_time`."""
    a, of, now = account[0], terms[0], ticks[TS, tick]
    if now >= a.quiet_until:
        if of.sessions and ticks[DAY, tick] > a.session:
            a.session, a.close = ticks[DAY, tick], ticks[SESSION_CLOSE, tick]
            a.start, a.entries = a.last, 0
            a.events += a.session_halt != ACTIVE or (a.flat_from != NONE and a.effective == FLATTEN)
            a.session_halt = ACTIVE
            a.flat_from = NONE if of.flat == NONE else a.close - of.flat
        if a.cooldown_until != NONE and now >= a.cooldown_until:
            a.cooldown_until = NONE
            a.events += 1
        a.events += a.flat_from != NONE and now >= a.flat_from
        a.quiet_until = NEVER
        if of.sessions:
            a.quiet_until = a.close + 1 if a.close + 1 > now else now
        if a.flat_from > now and (a.quiet_until <= now or a.flat_from < a.quiet_until):
            a.quiet_until = a.flat_from
        if a.cooldown_until > now and (a.quiet_until <= now or a.cooldown_until < a.quiet_until):
            a.quiet_until = a.cooldown_until
    equity = a.value
    if marks:
        if not -math.inf < equity < math.inf:
            a.fault = NO_EQUITY
        a.last = equity
        if math.isnan(a.start):
            a.start = equity
        if not equity <= a.peak:
            a.peak = equity
    for turn in range(2):
        # equity at or below which a loss limit trips; minus infinity for one that is off or has tripped
        daily = drawdown = -math.inf
        if a.session_halt == ACTIVE and not math.isnan(a.start):
            daily = a.start - of.daily_loss
            if a.start > 0.0:
                by_fraction = a.start * (1 - of.daily_fraction)
                daily = daily if daily > by_fraction else by_fraction
        if a.peak > 0.0 and a.latched < of.on_drawdown:
            drawdown = a.peak * (1 - of.drawdown)
        if turn == 0 and marks and equity <= daily:
            a.session_halt = of.on_daily
            a.events += 1
        if turn == 0 and marks and equity <= drawdown:
            a.latched = of.on_drawdown
            a.events += 1
        a.floor = daily if daily > drawdown else drawdown
    state = a.latched if a.latched > a.session_halt else a.session_halt
    if a.cooldown_until != NONE and now < a.cooldown_until and state < HALT_ENTRIES:
        state = HALT_ENTRIES
    a.effective = FLATTEN if a.flat_from != NONE and now >= a.flat_from else state


@inlined
def review(  # noqa: C901, PLR0912, PLR0915, PLR0917 (a list of limits)
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Table, market: Table, ticks: Table,
    recent: Table, guarded: Given, tick: int, number: int,
) -> None:  # fmt: skip
    """Decide about an order: sets what is approved of it, and whether it may only reduce (`RiskGuard.review`)."""
    a, of, order = account[0], terms[0], orders[number]
    now = ticks[TS, tick]
    if guarded is not None:
        if now >= a.quiet_until:
            watch(terms, account, ticks, tick, NO)
    order.approved = order.requested
    if order.protective:
        return
    sign = 1.0 if order.requested > 0.0 else -1.0
    wanted = abs(order.requested)
    mirrored = sign * symbols[order.symbol].size
    adding, reducing = working(account, orders, queues, order.symbol, sign)
    held = mirrored + min(max(0.0, -mirrored), reducing) + adding
    opens = max(0.0, held + wanted)
    held = max(0.0, held)
    opens -= held
    if opens <= 0.0:
        order.protective = 1
        return
    equity, price = a.value, market[CLOSE, order.symbol, tick]
    room = min(of.position_shares, of.position_value / price, of.position_fraction * equity / price) - held
    room = min(room, of.order_value / price)
    gross, net = others(account, symbols, orders, queues, market, tick, order.symbol, sign)
    if not math.isnan(gross):
        room = min(room, (of.gross * equity - gross) / price - held, (of.net * equity - net) / price - held)
    elif of.gross < math.inf or of.net < math.inf:
        room = 0.0
    if guarded is not None:
        count = open_orders = 1
        if of.per_minute != NONE:
            for at in range(a.recent if a.recent < len(recent) else len(recent)):
                count += now - recent[at] < _MINUTE
        for at in range(a.live):
            open_orders += not orders[queues[LIVE, at]].protective
        if (
            (of.flat != NONE and a.close != NONE and not (a.close - now) / _MINUTE > of.flat_minutes)
            or (a.cooldown_until != NONE and now < a.cooldown_until)
            or a.effective != ACTIVE or a.latched != ACTIVE or a.session_halt != ACTIVE
            or (of.per_minute != NONE and count > of.per_minute)
            or (of.per_session != NONE and a.entries + 1 > of.per_session)
            or (of.open_orders != NONE and open_orders > of.open_orders)
        ):  # fmt: skip
            room = 0.0
    if not (0.0 < price < math.inf and 0.0 < equity < math.inf):
        room = 0.0
    if not of.shorting and sign < 0.0:
        room = 0.0
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
            order.approved = math.copysign(allowed, order.requested) if allowed > 0.0 else 0.0
            order.protective = 1 if reduces and allowed > 0.0 else 0
    if order.approved != 0.0 and not order.protective:
        a.entries += 1
        if of.per_minute != NONE:
            recent[a.recent % len(recent)] = now
            a.recent += 1


@inner
def working(account: Records, orders: Records, queues: Table, symbol: int, sign: float) -> tuple[float, float]:
    """Shares of working orders on one side of a symbol: those that may open a position, those that only reduce."""
    adding = reducing = 0.0
    for at in range(account[0].live):
        order = orders[queues[LIVE, at]]
        left = order.approved - order.filled
        if order.symbol == symbol and left * sign > 0.0:
            if order.protective:
                reducing += abs(left)
            else:
                adding += abs(left)
    return adding, reducing


@inner
def others(  # noqa: PLR0917
    account: Records, symbols: Records, orders: Records, queues: Table, market: Table, tick: int, symbol: int,
    sign: float,
) -> tuple[float, float]:  # fmt: skip
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
        adding, reducing = working(account, orders, queues, other, sign)
        own = held + min(max(0.0, -held), reducing) + adding
        adding, reducing = working(account, orders, queues, other, -sign)
        against = -held + min(max(0.0, held), reducing) + adding
        if own == 0.0 and against == 0.0:
            continue
        price = market[CLOSE, other, tick] if held != 0.0 else 0.0
        for at in range(live):
            order = orders[queues[LIVE, at]]
            if order.symbol == other and order.price < math.inf:
                price = max(price, order.price)
        if not price > 0.0:
            price = math.nan
        gross += max(abs(own), abs(against)) * price
        net += own * price
    return gross, net


# ---------------------------------------------------------------- the broker's part of a bar


@inner
def book_interest(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, bookings: Records, queues: Table, market: Table, ticks: Table,
    tick: int,
) -> None:  # fmt: skip
    """Charge and pay for the nights since the last session, on the closes before this bar."""
    a = account[0]
    a.booked = tick
    shorts = 0.0
    for at in range(a.met):
        of = symbols[queues[MET, at]]
        if of.size < 0.0:
            shorts -= of.size * market[CLOSE, queues[MET, at], tick - 1]
    amount = interest(terms, a.cash, shorts, ticks[NIGHTS, tick])
    if math.isnan(amount):
        a.fault = UNCERTAIN_INTEREST
    elif amount != 0.0 and a.bookings == len(bookings):
        a.fault = FULL
    elif amount != 0.0:
        a.cash += amount
        booking = bookings[a.bookings]
        booking.tick, booking.amount, booking.cash = tick, amount, a.cash
        a.bookings += 1


@inlined
def accept_submitted(  # noqa: PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Table, ticks: Table, tiers: Table,
    sales: Table, answers: Table, tick: int,
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
        opened = order.remaining
        closed = 0.0
        if of.pseudo * opened < 0.0:
            closed = opened if abs(opened) <= abs(of.pseudo) else -of.pseudo
            opened = opened - closed
        of.pseudo += order.remaining
        for part in range(2):
            size = opened if part else closed
            if size != 0.0:
                fee = charged(terms, tiers, sales, answers, row, size, order.price, 0.0)
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
            end(account, orders, queues, number, MARGIN, tick, NO)
    a.sent = 0


@inlined
def work_orders(  # noqa: C901, PLR0912, PLR0915, PLR0917 (the way of one fill)
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, queues: Table, market: Table,
    fresh: Table, ticks: Table, tiers: Table, sales: Table, answers: Table, tick: int,
) -> None:  # fmt: skip
    """Give every pending order one chance: execute what the bar allows and the cash pays for."""
    a, terms_of = account[0], terms[0]
    count, kept, at = a.pending, 0, 0
    for at in range(count):
        number = queues[PENDING, at]
        order = orders[number]
        symbol = order.symbol
        of = symbols[symbol]
        size, reference = 0.0, math.nan
        if fresh[symbol, tick]:
            reference = reached(orders, market, number, tick)
        if not math.isnan(reference):
            size = order.remaining
            if order.protective or order.by_guard:
                if of.size * size >= 0.0:
                    order.reason, size = NO_POSITION, 0.0
                    end(account, orders, queues, number, CANCELED, tick, NO)
                elif abs(size) > abs(of.size):
                    size = -of.size
            if of.taken_at != tick:
                of.taken_at, of.taken = tick, 0.0
            volume = market[VOLUME, symbol, tick]
            if not math.isnan(volume) and terms_of.participation < math.inf:
                left = np.floor(max(0.0, volume) * terms_of.participation * _FORGIVING) - of.taken
                if left < abs(size):
                    size = math.copysign(max(0.0, left), size)
        if size != 0.0:
            # the price, inside the bar
            price, side = reference, 1.0 if size > 0.0 else -1.0
            if order.kind != LIMIT:
                if terms_of.slippage == BASIS_POINTS:
                    price *= 1.0 + side * terms_of.slipped / 10_000.0
                elif terms_of.slippage == HALF_SPREAD:
                    price *= 1.0 + side * terms_of.slipped / 2.0 / 10_000.0
                elif terms_of.slippage == VOLUME_SHARE:
                    share = 1.0
                    if 0.0 < volume < math.inf and abs(size) / volume < 1.0:
                        share = abs(size) / volume
                    price *= 1.0 + side * terms_of.slipped * share * share
                if price < market[LOW, symbol, tick]:
                    price = market[LOW, symbol, tick]
                if price > market[HIGH, symbol, tick]:
                    price = market[HIGH, symbol, tick]
            # what closes and what opens, and their fees; a commission's minimum is an order's and a session's
            held, opened, closed = of.size, size, 0.0
            if held * size < 0.0:
                closed = size if abs(size) <= abs(held) else -held
                opened = 0.0 if abs(size) <= abs(held) else held + size
            if order.fee_day != ticks[DAY, tick]:
                order.fee_day, order.fee_shares, order.fee_value, order.fee_charged = ticks[DAY, tick], 0.0, 0.0, 0
            if a.month != ticks[MONTH, tick]:
                a.month, a.month_shares = ticks[MONTH, tick], 0.0
            closed_fee = opened_fee = 0
            for part in range(2):
                some = closed if part == 0 else size
                if terms_of.charges and some != 0.0 and (part == 0 or opened != 0.0):
                    shares = order.fee_shares + abs(some)
                    worth = order.fee_value + abs(some) * price
                    fee = charged(terms, tiers, sales, answers, ticks[SALE_FEES, tick], math.copysign(shares, some),
                                  worth / shares, a.month_shares - (shares - abs(some)))  # fmt: skip
                    if fee == UNSURE:
                        a.fault = UNCERTAIN_FEE
                    fee = fee - order.fee_charged if fee > order.fee_charged else 0
                    if part == 0:
                        closed_fee = fee
                    else:
                        opened_fee = fee - closed_fee
            # closing is always paid for, opening wholly or not at all
            cash, profit = a.cash, 0.0
            if closed != 0.0:
                profit = -closed * (price - of.average)
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
                of.size += done
                if of.size == 0.0:
                    of.average = 0.0
                elif held == 0.0 or held * of.size < 0.0:
                    of.average = price
                elif held * done > 0.0:
                    of.average = (of.average * held + done * price) / of.size
                of.taken += abs(done)
                order.fee_shares += abs(done)
                order.fee_value += abs(done) * price
                order.fee_charged += closed_fee + opened_fee
                a.month_shares += abs(done)
                order.filled += done
                order.remaining -= done
                order.status, order.final_tick = PARTIAL, tick
                if a.fills < len(fills):
                    fill = fills[a.fills]
                    fill.tick, fill.symbol, fill.quantity, fill.price = tick, symbol, done, price
                    fill.commission = (closed_fee + opened_fee) / _MILLION
                    fill.slippage = abs(done) * abs(price - reference)
                    fill.order, fill.size, fill.average, fill.cash = number, of.size, of.average, cash
                    a.fills += 1
                else:
                    a.fault = FULL
                # the running profit of the open trade, of which the guard hears when it ends
                profit = of.profit + profit - closed_fee / _MILLION
                if closed != 0.0 and (opened != 0.0 or of.size == 0.0):
                    a.losses = a.losses + 1 if profit < 0.0 else 0
                    profit = 0.0
                    if terms_of.losses != NONE and a.losses >= terms_of.losses:
                        a.cooldown_until = ticks[TS, tick] + terms_of.cooldown
                        if a.cooldown_until < a.quiet_until:
                            a.quiet_until = a.cooldown_until
                        a.losses = 0
                        a.events += 1
                        if a.effective == ACTIVE:
                            a.effective = HALT_ENTRIES
                of.profit = profit - opened_fee / _MILLION if of.size != 0.0 else 0.0
            ends = done != size or order.remaining == 0.0
            if done != 0.0 and (done != size or not ends):
                queues[NEWS, a.news] = symbol
                a.news += 1
            if ends:
                order.reason = order.reason if done == size else NO_CASH
                end(account, orders, queues, number, COMPLETED if done == size else MARGIN, tick, NO)
        if order.status <= PARTIAL:
            queues[PENDING, kept] = number
            kept += 1
    a.pending = kept


# ---------------------------------------------------------------- the strategy's part of a bar

# What may send an order at a bar, in this order: the guard's flattening, news of symbols without a bar, and for all
# symbols with one the settling of old wishes, the decisions, and what the end of the bar brings into step.
_FLATTENING, _TOLD, _SETTLING, _DECIDING, _ENDING, _OVER = range(6)

# what an order is sent for: a wish, the wish to close after a reversal was given up, the stop, the profit
_WISH, _REST, _STOP, _TAKE = range(4)


@inner
def finish(account: Records, symbols: Records, queues: Table, symbol: int, done: bool, again: bool) -> bool:  # noqa: PLR0917
    """End a wish, or keep it for another try; whether a reversal given up on half-way leaves a position to close."""
    a, of = account[0], symbols[symbol]
    if not done and again:
        of.order = NONE
        return False
    at = 0
    while queues[WISHES, at] != symbol:
        at += 1
    left = not done and of.size * of.weight < 0.0
    while at + 1 < a.wishes:
        queues[WISHES, at] = queues[WISHES, at + 1]
        at += 1
    if left:
        queues[WISHES, at] = symbol
        of.weight, of.order, of.tries = 0.0, NONE, 0
        of.stop = of.take = 0
    else:
        a.wishes -= 1
        of.wish = 0
    return left


@inlined
def send_orders(  # noqa: C901, PLR0912, PLR0915, PLR0917 (a list of turns)
    terms: Records, account: Records, symbols: Records, orders: Records, queues: Table, market: Table, fresh: Table,
    code: Table, away: Table | None, comes_to: Table, ticks: Table, recent: Table, guarded: Given,
    tick: int,
) -> None:  # fmt: skip
    """Everything that sends orders at a bar: `SimulatedBroker._flatten`, `BaseStrategy._step` and `OrderDesk`."""
    a, count = account[0], len(symbols)
    stage, turn, turns = _FLATTENING, 0, 0
    if guarded is not None:
        turns = a.met if a.halt == FLATTEN else 0
    while stage < _OVER:
        if turn == turns:
            if stage == _TOLD:
                for at in range(turns, a.news):
                    queues[NEWS, at - turns] = queues[NEWS, at]
                a.news -= turns
            stage += 1
            turn, turns = 0, a.news if stage == _TOLD else count
            continue
        symbol = queues[MET, turn] if stage == _FLATTENING else queues[NEWS, turn] if stage == _TOLD else turn
        turn += 1
        of, close = symbols[symbol], market[CLOSE, symbol, tick]
        if stage == _DECIDING:
            if not code[symbol, tick] & READY:
                continue
        elif stage != _FLATTENING and (fresh[symbol, tick] != 0) == (stage == _TOLD):
            continue
        side = 1 if of.size > 0.0 else -1 if of.size < 0.0 else 0
        if of.wish:
            side = 1 if of.weight > 0.0 else -1 if of.weight < 0.0 else 0
        pursues = stage == _ENDING
        if stage == _TOLD and of.wish and of.order == NONE:
            pursues = withdrawn(account, symbols, orders, queues, tick, symbol, NO)
        elif stage == _SETTLING and of.wish and of.order != NONE and orders[of.order].status > PARTIAL:
            status = orders[of.order].status
            done = of.size == 0.0 if of.weight == 0.0 else status == COMPLETED
            again = of.weight == 0.0 or (status == MARGIN and of.tries < _TRIES)
            pursues = finish(account, symbols, queues, symbol, done, again)
        elif stage == _DECIDING:
            action = comes_to[code[symbol, tick] & _DECLARED, side + 1]
            pursues = action != STAY
            if pursues:
                side = 1 if action == GO_LONG else -1 if action == GO_SHORT else 0
                if not of.wish:
                    queues[WISHES, a.wishes] = symbol
                    a.wishes += 1
                of.wish, of.weight, of.order, of.tries = 1, side * terms[0].weight, NONE, 0
                of.side, of.stop, of.take = side, 0, 0
                if away is not None:
                    if side != 0 and away[STOP_AWAY, symbol, tick] != -math.inf:
                        of.stop, of.stop_price, of.stop_order = 1, close - side * away[STOP_AWAY, symbol, tick], NONE
                    if side != 0 and away[PROFIT_AWAY, symbol, tick] != -math.inf:
                        of.take, of.take_price, of.take_order = 1, close + side * away[PROFIT_AWAY, symbol, tick], NONE
        keeps = False
        for part in range(4):
            kind, size, price = MARKET, 0.0, close
            if stage == _FLATTENING:
                if guarded is not None:
                    if part == _WISH and of.size != 0.0 and not closing(account, orders, queues, symbol):
                        size = -of.size
            elif part <= _REST:
                if pursues and of.wish and of.order == NONE and withdrawn(
                    account, symbols, orders, queues, tick, symbol, YES
                ):  # fmt: skip
                    # the position to aim at: `strategies.sizing.target_shares`
                    target, equity = of.size if of.weight != 0.0 else 0.0, a.value
                    if 0.0 < close < math.inf and equity > 0.0:
                        target = math.copysign(np.floor(abs(of.weight) * equity / close * _FORGIVING), of.weight)
                        if of.weight > 0.0:
                            free = a.cash
                            for at in range(a.wishes):
                                other = symbols[queues[WISHES, at]]
                                if other.order != NONE and orders[other.order].status <= PARTIAL:
                                    # a buy will cost what is missing, a sale brings what is sold of shares held
                                    left = orders[other.order].remaining
                                    left = max(left, -max(other.size, 0.0))
                                    free -= left * market[CLOSE, queues[WISHES, at], tick]
                            more = np.floor(free * (1.0 - terms[0].cash_reserve) / close * _FORGIVING)
                            target = max(min(target, of.size + max(0.0, more)), min(of.size, target), 0.0)
                    size = target - of.size
                    of.tries += 1
                    pursues = False
                    if size == 0.0 and (of.weight == 0.0 or of.tries >= _TRIES):
                        pursues = finish(account, symbols, queues, symbol, of.weight == 0.0, NO)
            elif away is not None:
                if part == _STOP and (of.stop or of.take) and (stage == _ENDING or stage == _TOLD):
                    keeps = True
                    if stage == _TOLD:
                        # a protective order that was refused is tried again at the next bar, not at the news of that
                        keeps = not (
                            (of.stop and of.stop_order != NONE and orders[of.stop_order].status == REJECTED)
                            or (of.take and of.take_order != NONE and orders[of.take_order].status == REJECTED)
                        )
                    if keeps:
                        withdrawn(account, symbols, orders, queues, tick, symbol, NO)
                    for at in range(of.working):
                        number = of.numbers[at]
                        own = (of.stop and number == of.stop_order) or (of.take and number == of.take_order)
                        # an exit works, perhaps a cancelled one: a stop beside it would sell the same shares twice
                        keeps &= own or not orders[number].remaining * of.size < 0.0
                    if keeps and not of.size * of.side > 0.0:
                        keeps = False
                        if not of.wish:
                            of.stop = of.take = 0
                            withdrawn(account, symbols, orders, queues, tick, symbol, YES)
                if keeps and (of.stop if part == _STOP else of.take):
                    kind, price, number = STOP, of.stop_price, of.stop_order
                    if part == _TAKE:
                        kind, price, number = LIMIT, of.take_price, of.take_order
                    size = -of.size
                    if number != NONE and orders[number].status <= PARTIAL:
                        left = orders[number].remaining
                        most = abs(left) if abs(left) > abs(size) else abs(size)
                        same = orders[number].price == price and abs(left - size) <= 1e-9 * most
                        if same or not end(account, orders, queues, number, CANCELED, tick, YES):
                            size = 0.0
                    if size != 0.0 and not 0.0 < price < math.inf:
                        a.fault = NO_PRICE
            if size == 0.0:
                continue
            number = a.orders
            if number >= len(orders) or of.working >= WORKING:
                a.fault = FULL if number >= len(orders) else CROWDED
                return
            a.orders += 1
            order = orders[number]
            order.tick, order.symbol, order.kind, order.requested = tick, symbol, kind, size
            order.price, order.filled, order.final_tick, order.reason = price, 0.0, tick, NO_REASON
            order.protective, order.by_guard = part >= _STOP, stage == _FLATTENING
            order.fee_day, order.approved, order.remaining, order.status = NONE, 0.0, size, REJECTED
            refused = False
            if guarded is not None:
                refused = a.closing and stage != _FLATTENING and closing(account, orders, queues, symbol)
            if not refused:
                review(terms, account, symbols, orders, queues, market, ticks, recent, guarded, tick, number)
            if order.approved != 0.0:
                order.remaining, order.status = order.approved, SUBMITTED
                a.closing += stage == _FLATTENING
                queues[SENT, a.sent] = number
                queues[LIVE, a.live] = number
                a.sent += 1
                a.live += 1
            queues[NEWS, a.news] = symbol
            a.news += 1
            if stage != _FLATTENING:
                of.numbers[of.working] = number
                of.working += 1
                if part <= _REST:
                    of.order = number
                elif part == _STOP:
                    of.stop_order = number
                else:
                    of.take_order = number
        if away is not None:
            if stage == _DECIDING and of.stop:
                side = 1 if of.size > 0.0 else -1 if of.size < 0.0 else 0
                if of.wish:
                    side = 1 if of.weight > 0.0 else -1 if of.weight < 0.0 else 0
                price = close - side * away[TRAIL_AWAY, symbol, tick]
                if side * (price - of.stop_price) > 0.0:
                    of.stop_price = price


# ---------------------------------------------------------------- the run


@inlined
def next_tick(  # noqa: C901, PLR0912, PLR0917 (one loop that hardly calls)
    terms: Records, account: Records, symbols: Records, orders: Records, bookings: Records, queues: Table,
    market: Table, fresh: Table, code: Table, away: Table | None, comes_to: Table, ticks: Table, guarded: Given,
    tick: int,
) -> int:  # fmt: skip
    """The first tick from `tick` on at which anything can happen, while nothing is on its way."""
    a, of, count, span = account[0], terms[0], len(symbols), ticks.shape[1]
    pays, watches = of.earned != 0.0 or a.cash < 0.0, False
    for symbol in range(count):
        pays |= symbols[symbol].size < 0.0
        watches |= symbols[symbol].size != 0.0
    watches |= pays
    quick = count == 1 and a.pending == 0 and not pays
    if away is not None:
        quick = False
    if guarded is not None:
        quick = False
    if quick:
        size = symbols[0].size
        look = 2 if size > 0.0 else 0 if size < 0.0 else 1
        while tick < span:
            bits = code[0, tick]
            if bits & DECISIONS and comes_to[bits & _DECLARED, look] != STAY:
                return tick
            tick += 1
        return tick
    while tick < span and not a.fault:
        for symbol in range(count):
            bits, size = code[symbol, tick], symbols[symbol].size
            if bits & DECISIONS and comes_to[bits & _DECLARED, 2 if size > 0.0 else 0 if size < 0.0 else 1] != STAY:
                return tick
        if away is not None:
            for symbol in range(count):
                size = symbols[symbol].size
                if symbols[symbol].stop and code[symbol, tick] & READY:
                    side = 1 if size > 0.0 else -1 if size < 0.0 else 0
                    price = market[CLOSE, symbol, tick] - side * away[TRAIL_AWAY, symbol, tick]
                    if side * (price - symbols[symbol].stop_price) > 0.0:
                        return tick
        for at in range(a.pending):
            number = queues[PENDING, at]
            if fresh[orders[number].symbol, tick] and not math.isnan(reached(orders, market, number, tick)):
                return tick
        if guarded is not None:
            if of.flat != NONE and ticks[TS, tick] >= ticks[SESSION_CLOSE, tick] - of.flat:
                return tick
        if pays and ticks[NIGHTS, tick]:
            book_interest(terms, account, symbols, bookings, queues, market, ticks, tick)
        if guarded is not None:
            if watches and of.watches:
                equity = value(account, symbols, queues, market, tick)
                if not (ticks[TS, tick] < a.quiet_until and a.floor < equity <= a.peak):
                    return tick
                a.last = equity
        tick += 1
    return tick


@compiled
def simulate(  # noqa: C901, PLR0912, PLR0915, PLR0917
    terms: Records, account: Records, symbols: Records, orders: Records, fills: Records, bookings: Records,
    queues: Table, market: Table, fresh: Table, code: Table, away: Table | None, comes_to: Table, ticks: Table,
    tiers: Table, sales: Table, answers: Table, recent: Table, guarded: Given,
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
        away: distances by row, symbol and tick (minus infinity for no stop and no profit, NaN for no trail), or None.
        comes_to: the decision by code and side + 1.
        ticks: the clock by row and tick.
        tiers: see `charge`.
        sales: likewise.
        answers: see `charged`.
        recent: moments of the last entry orders, as many as a minute may have.
        guarded: None where no limit looks at time, equity, or the number of orders.

    Returns:
        How the run ended, SOUND or a fault.
    """
    a, of = account[0], terms[0]
    a.cash = a.value = of.cash
    a.fault = a.orders = a.fills = a.bookings = a.events = 0
    a.sent = a.pending = a.live = a.wishes = a.news = a.met = a.closing = 0
    a.booked = NONE
    a.month, a.month_shares, a.halt = NONE, 0.0, ACTIVE
    a.effective = a.latched = a.session_halt = ACTIVE
    a.session = a.quiet_until = LONG_AGO
    a.start = a.peak = a.last = math.nan
    a.entries = a.recent = a.losses = 0
    a.cooldown_until = a.close = a.flat_from = NONE
    a.floor = -math.inf
    for symbol in range(len(symbols)):
        one = symbols[symbol]
        one.size = one.average = one.profit = 0.0
        one.taken_at = one.pseudo_at = NONE
        one.wish = one.stop = one.take = one.working = 0
        one.order = one.stop_order = one.take_order = NONE
        # the broker meets a symbol when the strategy first asks where it stands
        at = a.met
        while at > 0 and symbols[queues[MET, at - 1]].first_ready > one.first_ready:
            queues[MET, at] = queues[MET, at - 1]
            at -= 1
        queues[MET, at] = symbol
        a.met += 1
    tick = np.int64(0)  # a plain 0 would have all that takes it compiled twice
    while tick < ticks.shape[1] and not a.fault:
        if ticks[NIGHTS, tick] and a.booked != tick:
            book_interest(terms, account, symbols, bookings, queues, market, ticks, tick)
        if a.sent:
            accept_submitted(terms, account, symbols, orders, queues, ticks, tiers, sales, answers, tick)
        if a.pending:
            work_orders(
                terms, account, symbols, orders, fills, queues, market, fresh, ticks, tiers, sales, answers, tick
            )
        a.value = value(account, symbols, queues, market, tick)
        if guarded is not None:
            if of.marks:
                if ticks[TS, tick] < a.quiet_until and a.floor < a.value <= a.peak:
                    a.last = a.value
                else:
                    watch(terms, account, ticks, tick, YES)
                at = a.live if a.effective == a.halt or a.effective < REDUCE_ONLY else 0
                while at < a.live:
                    order = orders[queues[LIVE, at]]
                    held, left = symbols[order.symbol].size, order.approved - order.filled
                    reduces = order.protective or (held * left < 0.0 and abs(left) <= abs(held))
                    if order.by_guard or (a.effective == REDUCE_ONLY and reduces):
                        at += 1
                    else:
                        end(account, orders, queues, queues[LIVE, at], CANCELED, tick, YES)
                a.halt = a.effective
        send_orders(
            terms, account, symbols, orders, queues, market, fresh, code, away, comes_to, ticks, recent, guarded,
            tick,
        )  # fmt: skip
        if a.news + 16 * (a.live + len(symbols) + 1) >= queues.shape[1]:
            a.fault = FULL
        tick += 1
        if not (a.sent or a.wishes or a.news or a.halt or a.effective or a.cooldown_until != NONE):
            tick = next_tick(
                terms,
                account,
                symbols,
                orders,
                bookings,
                queues,
                market,
                fresh,
                code,
                away,
                comes_to,
                ticks,
                guarded,
                tick,
            )
    a.value = value(account, symbols, queues, market, ticks.shape[1] - 1)
    return int(a.fault)
