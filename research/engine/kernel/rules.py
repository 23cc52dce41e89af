"""The run of a declared strategy, compiled: what the strategy's desk, the broker and the risk guard do at each bar.

Belongs here: the rules of `strategies.order_desk`, `research.simulated_broker` and `risk` on flat arrays, each with the
same floating-point operations in the same order. Does not belong here: what the arrays are made of (see `market`), what
becomes of the logs (see `output`, `figures`).

The functions bear the names of the methods that they restate. What they cannot decide exactly they leave: the run ends
with a code, and the fast engine takes it.

Arrays (rows are symbols or orders, places in a row are the constants below):

- `account`, `counts`: the account's money and the lengths of the lists.
- `desk_f`, `desk_i`: one row a symbol: position, wish, protective exits.
- `order_f`, `order_i`: one row an order, in the order of submission.
- `fill_f`, `fill_i`: one row an execution; `interest_f`: one row a booking of interest.
- `queue`: row 0 submitted orders, row 1 pending ones, row 2 living ones; row 3 symbols as the broker met them.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from research.engine.kernel.charges import UNCERTAIN, cents, millionths
from strategies.declaration import Floats

Ints = npt.NDArray[np.int64]
Table = npt.NDArray[np.float64]

# terms: what holds for the whole run
(
    CASH, WEIGHT, RESERVE, SLIP_KIND, SLIP, PARTICIPATION, BORROW, MARGIN_RATE, CREDIT, ALLOW_SHORT, EXITS_FIRST,
    MAX_SHARES, MAX_VALUE, MAX_FRACTION, MAX_ORDER_VALUE, MAX_GROSS, MAX_NET, SHORTING, MAX_OPEN, MAX_SESSION,
    MAX_MINUTE, DAILY_LOSS, DAILY_FRACTION, ON_DAILY, DRAWDOWN, ON_DRAWDOWN, MAX_LOSSES, COOLDOWN, COUNTS_SESSIONS,
) = range(29)  # fmt: skip
NO_SLIP, BASIS_POINTS, HALF_SPREAD, VOLUME_SHARE = range(4)

MONEY, VALUE, PEAK, START, LAST, COOL_UNTIL, SESSION_ORDERS, BAR_ORDERS, LOSSES, MONTH_SHARES = range(10)  # account
(
    ORDERS, FILLS, SUBMITTED, PENDING, LIVING, MET, BOOKINGS, STALE, ACTED, ENDED, HALT, WAS_HALT, LATCHED,
    SESSION_HALT, WISHED, SESSION, MONTH, TRADES_OPEN, COOLING, MINUTE_BAR,
) = range(20)  # fmt: skip
"""Places in `counts`."""

HELD, AVERAGE, PROFIT, WISH_WEIGHT, STOP_PRICE, TAKE_PRICE, TAKEN = range(7)  # desk_f
WISH, WISH_ORDER, TRIES, STOP, STOP_SIDE, STOP_ORDER, TAKE, TAKE_SIDE, TAKE_ORDER, TAKEN_BAR, KNOWN, IN_TRADE = range(12)

REQUESTED, APPROVED, PRICE, REMAINING, FILLED, FEE_QUANTITY, FEE_VALUE, FEE_CHARGED = range(8)  # order_f
BAR, SYMBOL, KIND, PROTECTIVE, BY_GUARD, STATUS, FINAL_BAR, REASON, FEE_SESSION = range(9)  # order_i
MARKET, STOP_KIND, LIMIT_KIND = range(3)
# statuses are Backtrader's numbers
ST_SUBMITTED, ST_ACCEPTED, ST_PARTIAL, ST_COMPLETED, ST_CANCELED, ST_MARGIN, ST_REJECTED = 1, 2, 3, 4, 5, 7, 8
NO_REASON, NOT_PAID, POSITION_CLOSED, GUARD_CLOSES, BY_RISK = range(5)

FILL_SIZE, FILL_PRICE, FILL_FEE, FILL_SLIPPAGE, CASH_AFTER, HELD_AFTER, AVERAGE_AFTER = range(7)  # fill_f
FILL_BAR, FILL_SYMBOL, FILL_ORDER = range(3)  # fill_i

OPEN_, HIGH, LOW, CLOSE, VOLUME = range(5)  # bars, the first axis
STOP_DISTANCE, TRAIL_DISTANCE, TAKE_DISTANCE = range(3)  # distances, the first axis
DAYS, DAY, MONTH_OF, FLAT, TIME = range(5)  # calendar, the first axis
LONG_ENTRY, SHORT_ENTRY, LONG_EXIT, SHORT_EXIT = 1, 2, 4, 8  # decisions, bits

ACTIVE, HALT_ENTRIES, REDUCE_ONLY, FLATTEN = range(4)
DONE, FULL, NOT_CERTAIN = range(3)
"""How a run ended: to the end, out of room for its logs, or with a rounding that floats cannot decide."""

_SLACK = 1.0 + 1e-9
_SUBMITTED_Q, _PENDING_Q, _LIVING_Q, _MET_Q = range(4)
_ENTRY_TRIES = 3


@njit(cache=True)
def _sign(number):
    return (1 if number > 0 else 0) - (1 if number < 0 else 0)


@njit(cache=True)
def _whole(shares):
    return math.floor(shares * (1.0 + 1e-12))


@njit(cache=True)
def _isclose(first, second):
    if first == second:
        return True
    return abs(first - second) <= 1e-9 * max(abs(first), abs(second))


@njit(cache=True)
def _append(queue, counts, row, length, item):
    queue[row, counts[length]] = item
    counts[length] += 1


@njit(cache=True)
def _remove(queue, counts, row, length, item):
    """Take an item out, keeping the order of the others; whether it was there."""
    found = False
    kept = 0
    for at in range(counts[length]):
        if queue[row, at] == item:
            found = True
        else:
            queue[row, kept] = queue[row, at]
            kept += 1
    counts[length] = kept
    return found


@njit(cache=True)
def _end(order, status, bar, order_i, queue, counts):
    """An order comes to its end."""
    order_i[order, STATUS] = status
    order_i[order, FINAL_BAR] = bar
    _remove(queue, counts, _LIVING_Q, LIVING, order)


@njit(cache=True)
def _alive(order, order_i):
    return order >= 0 and order_i[order, STATUS] <= ST_PARTIAL


@njit(cache=True)
def _value(bar, bars, desk_f, queue, counts, account):
    """The account's value, as Backtrader adds it up."""
    worth = 0.0
    for at in range(counts[MET]):
        symbol = queue[_MET_Q, at]
        size = desk_f[symbol, HELD]
        close = bars[CLOSE, symbol, bar]
        value = size * close
        unrealized = size * (close - desk_f[symbol, AVERAGE])
        if value > 0:
            value -= unrealized
            worth += value
            worth += unrealized
        else:
            worth += value
    return account[MONEY] + worth


@njit(cache=True)
def _held(symbol, desk_f, desk_i, queue, counts):
    """The position; whoever asks for it first makes the broker know the symbol."""
    if desk_i[symbol, KNOWN] == 0:
        desk_i[symbol, KNOWN] = 1
        _append(queue, counts, _MET_Q, MET, symbol)
    return desk_f[symbol, HELD]


# ---------------------------------------------------------------- risk


@njit(cache=True)
def _working(sign, symbol, order_f, order_i, queue, counts):
    adding = closing = 0.0
    for at in range(counts[LIVING]):
        order = queue[_LIVING_Q, at]
        remaining = order_f[order, APPROVED] - order_f[order, FILLED]
        if order_i[order, SYMBOL] == symbol and remaining * sign > 0:
            if order_i[order, PROTECTIVE] != 0:
                closing += abs(remaining)
            else:
                adding += abs(remaining)
    return adding, closing


@njit(cache=True)
def _top(mirrored, adding, closing):
    return mirrored + min(max(0.0, -mirrored), closing) + adding


@njit(cache=True)
def _other(sign, symbol, bar, bars, desk_f, order_f, order_i, queue, counts):
    """Worst gross and net value of one other symbol."""
    position = desk_f[symbol, HELD]
    adding, closing = _working(sign, symbol, order_f, order_i, queue, counts)
    own = _top(sign * position, adding, closing)
    adding, closing = _working(-sign, symbol, order_f, order_i, queue, counts)
    opposite = _top(-sign * position, adding, closing)
    if own == 0.0 and opposite == 0.0:
        return 0.0, 0.0
    price = math.nan
    for at in range(counts[LIVING]):
        order = queue[_LIVING_Q, at]
        if order_i[order, SYMBOL] == symbol:
            known = order_f[order, PRICE]
            if math.isfinite(known) and known > 0 and not known <= price:
                price = known
    if position != 0.0:
        known = bars[CLOSE, symbol, bar]
        if math.isfinite(known) and known > 0 and not known <= price:
            price = known
    return max(abs(own), abs(opposite)) * price, own * price


@njit(cache=True)
def _others(sign, symbol, bar, bars, desk_f, order_f, order_i, queue, counts):
    """As `risk.decision`: those held in the order in which the broker met them, then those with working orders."""
    gross = net = 0.0
    for at in range(counts[MET]):
        other = queue[_MET_Q, at]
        if other != symbol and desk_f[other, HELD] != 0.0:
            more, signed = _other(sign, other, bar, bars, desk_f, order_f, order_i, queue, counts)
            gross += more
            net += signed
    for at in range(counts[LIVING]):
        other = order_i[queue[_LIVING_Q, at], SYMBOL]
        if other == symbol or desk_f[other, HELD] != 0.0:
            continue
        first = True
        for before in range(at):
            if order_i[queue[_LIVING_Q, before], SYMBOL] == other:
                first = False
        if first:
            more, signed = _other(sign, other, bar, bars, desk_f, order_f, order_i, queue, counts)
            gross += more
            net += signed
    return gross, net


@njit(cache=True)
def _stopped(bar, price, equity, terms, calendar, order_i, queue, counts, account):
    """Whether no entry may go at all."""
    if calendar[FLAT, bar] != 0 or counts[COOLING] != 0 or counts[HALT] != ACTIVE:
        return True
    if max(counts[LATCHED], counts[SESSION_HALT]) != ACTIVE:
        return True
    if not (math.isfinite(price) and price > 0) or not (math.isfinite(equity) and equity > 0):
        return True
    if account[BAR_ORDERS] + 1 > terms[MAX_MINUTE] or account[SESSION_ORDERS] + 1 > terms[MAX_SESSION]:
        return True
    if terms[MAX_OPEN] < math.inf:
        working = 0
        for at in range(counts[LIVING]):
            if order_i[queue[_LIVING_Q, at], PROTECTIVE] == 0:
                working += 1
        return working + 1 > terms[MAX_OPEN]
    return False


@njit(cache=True)
def _room(symbol, sign, held, bar, price, equity, terms, bars, desk_f, order_f, order_i, queue, counts):
    """How many shares of entry the tightest limit leaves; infinite where nothing limits it."""
    room = math.inf
    if terms[SHORTING] == 0.0 and sign < 0:
        room = 0.0
    if terms[MAX_SHARES] < math.inf:
        room = min(room, max(0.0, terms[MAX_SHARES] - held))
    if terms[MAX_VALUE] < math.inf:
        room = min(room, max(0.0, terms[MAX_VALUE] / price - held))
    if terms[MAX_FRACTION] < math.inf:
        room = min(room, max(0.0, terms[MAX_FRACTION] * equity / price - held))
    if terms[MAX_ORDER_VALUE] < math.inf:
        room = min(room, max(0.0, terms[MAX_ORDER_VALUE] / price))
    if terms[MAX_GROSS] < math.inf or terms[MAX_NET] < math.inf:
        gross, net = _others(sign, symbol, bar, bars, desk_f, order_f, order_i, queue, counts)
        if math.isnan(gross):
            return 0.0
        if terms[MAX_GROSS] < math.inf:
            room = min(room, max(0.0, (terms[MAX_GROSS] * equity - gross) / price - held))
        if terms[MAX_NET] < math.inf:
            room = min(room, max(0.0, (terms[MAX_NET] * equity - net) / price - held))
    return room


@njit(cache=True)
def _review(order, bar, terms, calendar, bars, desk_f, order_f, order_i, queue, counts, account):
    """`RiskGuard.review`: sets what is approved, and whether the order may only reduce."""
    symbol, quantity = order_i[order, SYMBOL], order_f[order, REQUESTED]
    if order_i[order, PROTECTIVE] != 0:
        return
    sign = 1.0 if quantity > 0 else -1.0
    wanted = abs(quantity)
    position = desk_f[symbol, HELD]
    adding, closing = _working(sign, symbol, order_f, order_i, queue, counts)
    top = _top(sign * position, adding, closing)
    opens = max(0.0, top + wanted) - max(0.0, top)
    covered = min(wanted, max(0.0, -sign * position - adding))
    if opens <= 0:
        order_i[order, PROTECTIVE] = 1
        return
    equity, price = account[VALUE], bars[CLOSE, symbol, bar]
    room = 0.0
    if not _stopped(bar, price, equity, terms, calendar, order_i, queue, counts, account):
        held = max(0.0, top)
        room = _room(symbol, sign, held, bar, price, equity, terms, bars, desk_f, order_f, order_i, queue, counts)
        if room == math.inf or opens <= room * _SLACK:
            account[SESSION_ORDERS] += 1
            account[BAR_ORDERS] += 1
            return
    granted = max(0.0, math.floor(room * _SLACK))
    allowed = wanted - opens + granted
    reduces_only = allowed <= covered or granted == 0.0
    if reduces_only:
        allowed = max(allowed, covered)
    if allowed >= wanted:
        order_i[order, PROTECTIVE] = 1
        return
    counts[ACTED] = 1
    if allowed > 0:
        order_f[order, APPROVED] = math.copysign(allowed, quantity)
        if reduces_only:
            order_i[order, PROTECTIVE] = 1
        else:
            account[SESSION_ORDERS] += 1
            account[BAR_ORDERS] += 1
    else:
        order_f[order, APPROVED] = 0.0


@njit(cache=True)
def _submit(
    symbol, kind, size, price, protective, by_guard, bar, terms, calendar, bars, desk_f, order_f, order_i, queue, counts,
    account,
):
    """An order at the broker's door; its number."""
    order = counts[ORDERS]
    counts[ORDERS] += 1
    order_f[order] = 0.0
    order_i[order] = 0
    order_f[order, REQUESTED] = order_f[order, APPROVED] = size
    order_f[order, PRICE] = price
    order_i[order, BAR] = order_i[order, FINAL_BAR] = bar
    order_i[order, SYMBOL], order_i[order, KIND] = symbol, kind
    order_i[order, PROTECTIVE], order_i[order, BY_GUARD] = protective, by_guard
    order_i[order, FEE_SESSION] = -1
    if by_guard == 0 and _closing(symbol, order_i, queue, counts):
        order_f[order, APPROVED] = 0.0
        counts[ACTED] = 1
    else:
        _review(order, bar, terms, calendar, bars, desk_f, order_f, order_i, queue, counts, account)
    if order_f[order, APPROVED] == 0.0:
        order_i[order, STATUS] = ST_REJECTED
        return order
    order_f[order, REMAINING] = order_f[order, APPROVED]
    order_i[order, STATUS] = ST_SUBMITTED
    _append(queue, counts, _SUBMITTED_Q, SUBMITTED, order)
    _append(queue, counts, _LIVING_Q, LIVING, order)
    return order


@njit(cache=True)
def _closing(symbol, order_i, queue, counts):
    for at in range(counts[LIVING]):
        order = queue[_LIVING_Q, at]
        if order_i[order, BY_GUARD] != 0 and order_i[order, SYMBOL] == symbol:
            return True
    return False


@njit(cache=True)
def _mark(bar, terms, calendar, counts, account):
    """`RiskGuard.mark_equity` at a bar."""
    equity = account[VALUE]
    if terms[COUNTS_SESSIONS] != 0.0 and calendar[DAY, bar] > counts[SESSION]:
        counts[SESSION] = calendar[DAY, bar]
        account[START] = account[LAST]
        account[SESSION_ORDERS] = 0.0
        if counts[SESSION_HALT] != ACTIVE:
            counts[SESSION_HALT] = ACTIVE
            counts[ACTED] = 1
    if counts[COOLING] != 0 and calendar[TIME, bar] >= account[COOL_UNTIL]:
        counts[COOLING] = 0
        counts[ACTED] = 1
    account[LAST] = equity
    if math.isnan(account[START]):
        account[START] = equity
    if not equity <= account[PEAK]:
        account[PEAK] = equity
    _trip(equity, terms, counts, account)
    state = max(counts[LATCHED], counts[SESSION_HALT])
    if counts[COOLING] != 0:
        state = max(state, HALT_ENTRIES)
    if calendar[FLAT, bar] != 0:
        state = FLATTEN
        counts[ACTED] = 1
    counts[HALT] = state


@njit(cache=True)
def _trip(equity, terms, counts, account):
    """The loss limits."""
    start, peak = account[START], account[PEAK]
    floor = -math.inf
    if counts[SESSION_HALT] == ACTIVE:
        if terms[DAILY_LOSS] < math.inf:
            floor = start - terms[DAILY_LOSS]
        if terms[DAILY_FRACTION] < math.inf and start > 0:
            floor = max(floor, start * (1 - terms[DAILY_FRACTION]))
    lowest = -math.inf
    if terms[DRAWDOWN] < math.inf and peak > 0 and counts[LATCHED] < terms[ON_DRAWDOWN]:
        lowest = peak * (1 - terms[DRAWDOWN])
    if equity <= floor:
        counts[SESSION_HALT] = int(terms[ON_DAILY])
        counts[ACTED] = 1
    if equity <= lowest:
        counts[LATCHED] = max(counts[LATCHED], int(terms[ON_DRAWDOWN]))
        counts[ACTED] = 1


@njit(cache=True)
def _closed_trade(profit, bar, terms, calendar, counts, account):
    """`RiskGuard.closed_trade`."""
    account[LOSSES] = account[LOSSES] + 1.0 if profit < 0 else 0.0
    if account[LOSSES] < terms[MAX_LOSSES]:
        return
    account[LOSSES] = 0.0
    account[COOL_UNTIL] = calendar[TIME, bar] + terms[COOLDOWN]
    counts[COOLING] = 1
    counts[ACTED] = 1


@njit(cache=True)
def _enforce(bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account):
    """What a halt asks of working orders and positions."""
    halt = counts[HALT]
    if halt >= REDUCE_ONLY and halt != counts[WAS_HALT]:
        living = queue[_LIVING_Q, : counts[LIVING]].copy()
        for order in living:
            held = desk_f[order_i[order, SYMBOL], HELD]
            remaining = order_f[order, APPROVED] - order_f[order, FILLED]
            reduces = order_i[order, PROTECTIVE] != 0 or (held * remaining < 0 and abs(remaining) <= abs(held))
            if order_i[order, BY_GUARD] != 0 or (halt == REDUCE_ONLY and reduces):
                continue
            order_i[order, REASON] = BY_RISK
            _remove(queue, counts, _PENDING_Q, PENDING, order)
            _end(order, ST_CANCELED, bar, order_i, queue, counts)
    counts[WAS_HALT] = halt
    if halt == FLATTEN:
        for at in range(counts[MET]):
            symbol = queue[_MET_Q, at]
            held = desk_f[symbol, HELD]
            if held != 0.0 and not _closing(symbol, order_i, queue, counts):
                _submit(
                    symbol, MARKET, -held, bars[CLOSE, symbol, bar], 0, 1, bar, terms, calendar, bars, desk_f, order_f,
                    order_i, queue, counts, account,
                )  # fmt: skip


# ---------------------------------------------------------------- the broker


@njit(cache=True)
def _split(held, size):
    if held * size >= 0:
        return 0.0, size
    if abs(size) <= abs(held):
        return size, 0.0
    return -held, held + size


@njit(cache=True)
def _check_submitted(bar, rates, tiers, check_sales, desk_f, order_f, order_i, queue, counts, account):
    """Backtrader's check of cash at submission; False where a fee is not certain."""
    cash = account[MONEY]
    sizes = desk_f[:, HELD].copy()
    for at in range(counts[SUBMITTED]):
        order = queue[_SUBMITTED_Q, at]
        symbol, size, price = order_i[order, SYMBOL], order_f[order, REMAINING], order_f[order, PRICE]
        closed, opened = _split(sizes[symbol], size)
        sizes[symbol] += size
        if closed != 0.0:
            fee = millionths(closed, price, rates, tiers, check_sales[bar], 0.0)
            if fee == UNCERTAIN:
                return False
            cash += -closed * price + 0.0
            cash -= fee / 1_000_000.0
        if opened != 0.0:
            fee = millionths(opened, price, rates, tiers, check_sales[bar], 0.0)
            if fee == UNCERTAIN:
                return False
            cash -= opened * price
            cash -= fee / 1_000_000.0
        if cash >= 0.0:
            order_i[order, STATUS] = ST_ACCEPTED
            order_i[order, FINAL_BAR] = bar
            _append(queue, counts, _PENDING_Q, PENDING, order)
        else:
            _end(order, ST_MARGIN, bar, order_i, queue, counts)
    counts[SUBMITTED] = 0
    return True


@njit(cache=True)
def _touched(order, bar, bars, order_f, order_i):
    """The price at which an order executes on a bar; NaN where it does not."""
    symbol, created = order_i[order, SYMBOL], order_f[order, PRICE]
    first, high, low = bars[OPEN_, symbol, bar], bars[HIGH, symbol, bar], bars[LOW, symbol, bar]
    kind = order_i[order, KIND]
    if kind == MARKET:
        return first
    # a buying stop and a selling limit wait for a price from below, the others from above
    from_below = (order_f[order, APPROVED] > 0) == (kind == STOP_KIND)
    if from_below:
        return first if first >= created else created if high >= created else math.nan
    return first if first <= created else created if low <= created else math.nan


@njit(cache=True)
def _slipped(side, kind, price, quantity, symbol, bar, terms, bars):
    if kind == LIMIT_KIND:
        return price
    high, low, volume = bars[HIGH, symbol, bar], bars[LOW, symbol, bar], bars[VOLUME, symbol, bar]
    slip_kind, slip = terms[SLIP_KIND], terms[SLIP]
    slipped = price
    if slip_kind == BASIS_POINTS:
        slipped = price * (1 + side * slip / 10_000.0)
    elif slip_kind == HALF_SPREAD:
        slipped = price * (1 + side * slip / 2 / 10_000.0)
    elif slip_kind == VOLUME_SHARE:
        known = not math.isnan(volume) and volume > 0
        share = min(1.0, quantity / volume) if known else 1.0
        slipped = price * (1 + side * slip * share * share)
    return min(max(slipped, low), high)


@njit(cache=True)
def _fillable(order, bar, terms, bars, desk_f, desk_i, order_f, order_i, queue, counts):
    """Signed quantity that may execute on this bar."""
    size, symbol = order_f[order, REMAINING], order_i[order, SYMBOL]
    if order_i[order, PROTECTIVE] != 0 or order_i[order, BY_GUARD] != 0:
        held = desk_f[symbol, HELD]
        if held * size >= 0:
            order_i[order, REASON] = POSITION_CLOSED
            _end(order, ST_CANCELED, bar, order_i, queue, counts)
            return 0.0
        size = math.copysign(min(abs(size), abs(held)), size)
    volume = bars[VOLUME, symbol, bar]
    if math.isnan(volume) or terms[PARTICIPATION] == math.inf:
        return size
    taken = desk_f[symbol, TAKEN] if desk_i[symbol, TAKEN_BAR] == bar else 0.0
    shares = math.floor(max(0.0, volume) * terms[PARTICIPATION] * (1 + 1e-12))
    return math.copysign(min(abs(size), max(0.0, shares - taken)), size)


@njit(cache=True)
def _fee(order, size, price, bar, rates, tiers, sales, calendar, order_f, order_i, account):
    """What executing `size` more adds to the order's commission of this session, millionths."""
    quantity = value = charged = 0.0
    if order_i[order, FEE_SESSION] == calendar[DAY, bar]:
        quantity, value = order_f[order, FEE_QUANTITY], order_f[order, FEE_VALUE]
        charged = order_f[order, FEE_CHARGED]
    quantity += abs(size)
    value += abs(size) * price
    traded = account[MONTH_SHARES] - (quantity - abs(size))
    total = millionths(math.copysign(quantity, size), value / quantity, rates, tiers, sales[bar], traded)
    return UNCERTAIN if total == UNCERTAIN else max(total - charged, 0.0)


@njit(cache=True)
def _fill(
    order, price, bar, terms, rates, tiers, sales, calendar, bars, desk_f, desk_i, order_f, order_i, fill_f, fill_i,
    queue, counts, account,
):  # fmt: skip
    """Execute as much of an order as the bar allows; False where a fee is not certain."""
    size = _fillable(order, bar, terms, bars, desk_f, desk_i, order_f, order_i, queue, counts)
    if size == 0.0:
        return True
    symbol = order_i[order, SYMBOL]
    reference = price
    price = _slipped(1 if size > 0 else -1, order_i[order, KIND], price, abs(size), symbol, bar, terms, bars)
    held, average = desk_f[symbol, HELD], desk_f[symbol, AVERAGE]
    closed, opened = _split(held, size)
    closed_fee = opened_fee = 0.0
    if closed != 0.0:
        closed_fee = _fee(order, closed, price, bar, rates, tiers, sales, calendar, order_f, order_i, account)
    if opened != 0.0:
        opened_fee = _fee(order, size, price, bar, rates, tiers, sales, calendar, order_f, order_i, account)
    if closed_fee == UNCERTAIN or opened_fee == UNCERTAIN:
        return False
    if opened != 0.0:
        opened_fee -= closed_fee
    profit = -closed * (price - average)
    cash = account[MONEY]
    if closed != 0.0:
        cash += -closed * average + profit
        cash -= closed_fee / 1_000_000.0
    refused = False
    if opened != 0.0:
        left = cash - opened * price
        left -= opened_fee / 1_000_000.0
        if left < 0.0:
            refused, opened, opened_fee = True, 0.0, 0.0
        else:
            cash = left
    done = closed + opened
    if done != 0.0:
        account[MONEY] = cash
        _settle(
            order, done, price, closed, opened, profit, closed_fee, opened_fee, abs(done) * abs(price - reference), bar,
            terms, calendar, desk_f, desk_i, order_f, order_i, fill_f, fill_i, queue, counts, account,
        )  # fmt: skip
    if refused:
        order_i[order, REASON] = NOT_PAID
        _end(order, ST_MARGIN, bar, order_i, queue, counts)
    return True


@njit(cache=True)
def _settle(
    order, size, price, closed, opened, profit, closed_fee, opened_fee, slippage, bar, terms, calendar, desk_f, desk_i,
    order_f, order_i, fill_f, fill_i, queue, counts, account,
):  # fmt: skip
    """Book an execution."""
    symbol = order_i[order, SYMBOL]
    _update(symbol, size, price, desk_f)
    counts[STALE] = 1
    taken = desk_f[symbol, TAKEN] if desk_i[symbol, TAKEN_BAR] == bar else 0.0
    desk_f[symbol, TAKEN], desk_i[symbol, TAKEN_BAR] = taken + abs(size), bar
    if order_i[order, FEE_SESSION] != calendar[DAY, bar]:
        order_i[order, FEE_SESSION] = calendar[DAY, bar]
        order_f[order, FEE_QUANTITY] = order_f[order, FEE_VALUE] = order_f[order, FEE_CHARGED] = 0.0
    order_f[order, FEE_QUANTITY] += abs(size)
    order_f[order, FEE_VALUE] += abs(size) * price
    order_f[order, FEE_CHARGED] += closed_fee + opened_fee
    account[MONTH_SHARES] += abs(size)
    order_f[order, FILLED] += size
    order_f[order, REMAINING] -= size
    fill = counts[FILLS]
    counts[FILLS] += 1
    fill_i[fill, FILL_BAR], fill_i[fill, FILL_SYMBOL], fill_i[fill, FILL_ORDER] = bar, symbol, order
    fill_f[fill, FILL_SIZE], fill_f[fill, FILL_PRICE] = size, price
    fill_f[fill, FILL_FEE], fill_f[fill, FILL_SLIPPAGE] = (closed_fee + opened_fee) / 1_000_000.0, slippage
    fill_f[fill, CASH_AFTER] = account[MONEY]
    fill_f[fill, HELD_AFTER], fill_f[fill, AVERAGE_AFTER] = desk_f[symbol, HELD], desk_f[symbol, AVERAGE]
    so_far = desk_f[symbol, PROFIT] + profit - closed_fee / 1_000_000.0
    held = desk_f[symbol, HELD]
    if closed != 0.0 and (opened != 0.0 or held == 0.0):
        _closed_trade(so_far, bar, terms, calendar, counts, account)
        so_far = 0.0
    counts[TRADES_OPEN] += (1 if held != 0.0 else 0) - desk_i[symbol, IN_TRADE]
    desk_i[symbol, IN_TRADE] = 1 if held != 0.0 else 0
    desk_f[symbol, PROFIT] = so_far - opened_fee / 1_000_000.0 if held != 0.0 else 0.0
    order_i[order, FINAL_BAR] = bar
    if order_f[order, REMAINING] != 0.0:
        order_i[order, STATUS] = ST_PARTIAL
    else:
        _end(order, ST_COMPLETED, bar, order_i, queue, counts)


@njit(cache=True)
def _update(symbol, size, price, desk_f):
    """Backtrader's `Position.update`."""
    held = desk_f[symbol, HELD]
    after = held + size
    desk_f[symbol, HELD] = after
    if after == 0.0:
        desk_f[symbol, AVERAGE] = 0.0
    elif held == 0.0 or held * after < 0:
        desk_f[symbol, AVERAGE] = price
    elif held * size > 0:
        desk_f[symbol, AVERAGE] = (desk_f[symbol, AVERAGE] * held + size * price) / after


@njit(cache=True)
def _book_interest(bar, terms, calendar, bars, desk_f, queue, counts, account, interest_f):
    """Interest for the nights since the last session; False where its rounding is not certain."""
    shorts = 0.0
    if counts[TRADES_OPEN] != 0:
        for at in range(counts[MET]):
            symbol = queue[_MET_Q, at]
            if desk_f[symbol, HELD] < 0:
                shorts -= desk_f[symbol, HELD] * bars[CLOSE, symbol, bar - 1]
    due = cents(
        account[MONEY], shorts, float(calendar[DAYS, bar]), terms[BORROW], terms[MARGIN_RATE], terms[CREDIT]
    )
    if math.isnan(due):
        return False
    interest = due / 100.0
    if interest != 0.0:
        account[MONEY] += interest
        counts[STALE] = 1
        booking = counts[BOOKINGS]
        counts[BOOKINGS] += 1
        interest_f[booking, 0], interest_f[booking, 1], interest_f[booking, 2] = bar, interest, account[MONEY]
    return True


# ---------------------------------------------------------------- the desk


@njit(cache=True)
def _withdrawn(symbol, bar, order_i, queue, counts):
    """Cancel the symbol's working orders; whether none is left."""
    none_left = True
    living = counts[LIVING]
    at = 0
    while at < living:
        order = queue[_LIVING_Q, at]
        at += 1
        if order_i[order, SYMBOL] != symbol or order_i[order, BY_GUARD] != 0:
            continue
        if _remove(queue, counts, _PENDING_Q, PENDING, order):
            _end(order, ST_CANCELED, bar, order_i, queue, counts)
            living -= 1
            at -= 1
        else:
            none_left = False
    return none_left


@njit(cache=True)
def _free_cash(bar, bars, desk_f, desk_i, order_f, order_i, account):
    """Cash less what working buys will cost, plus what working sales of shares held will bring."""
    cash = account[MONEY]
    last = -1
    while True:  # wishes in the order in which they came up
        following = -1
        for symbol in range(len(desk_i)):
            rank = desk_i[symbol, WISH]
            if rank > last and (following < 0 or rank < desk_i[following, WISH]) and rank > 0:
                following = symbol
        if following < 0:
            return cash
        last = desk_i[following, WISH]
        order = desk_i[following, WISH_ORDER]
        if _alive(order, order_i):
            missing = order_f[order, REMAINING]
            sold = max(missing, -max(desk_f[following, HELD], 0.0))
            cash -= (missing if missing > 0 else sold) * bars[CLOSE, following, bar]


@njit(cache=True)
def _target(symbol, weight, held, bar, terms, bars, desk_f, desk_i, order_f, order_i, account):
    """`strategies.sizing.target_shares`."""
    equity, price = account[VALUE], bars[CLOSE, symbol, bar]
    if not (math.isfinite(price) and price > 0 and equity > 0):
        return held if weight != 0.0 else 0.0
    wanted = math.copysign(_whole(abs(weight) * equity / price), weight)
    if weight <= 0:
        return wanted
    free = _free_cash(bar, bars, desk_f, desk_i, order_f, order_i, account)
    affordable = held + max(0.0, _whole(free * (1.0 - terms[RESERVE]) / price))
    return max(max(min(wanted, affordable), min(held, wanted)), 0.0)


@njit(cache=True)
def _side(symbol, desk_f, desk_i, queue, counts):
    if desk_i[symbol, WISH] != 0:
        return _sign(desk_f[symbol, WISH_WEIGHT])
    return _sign(_held(symbol, desk_f, desk_i, queue, counts))


@njit(cache=True)
def _wish(symbol, weight, desk_f, desk_i, counts):
    """Want a position, and forget what protected the one before."""
    if desk_i[symbol, WISH] == 0:
        counts[WISHED] += 1
        desk_i[symbol, WISH] = counts[WISHED]
    desk_f[symbol, WISH_WEIGHT] = weight
    desk_i[symbol, WISH_ORDER], desk_i[symbol, TRIES] = -1, 0
    desk_i[symbol, STOP] = desk_i[symbol, TAKE] = 0


@njit(cache=True)
def _finish(symbol, done, again, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account):
    """End a wish, or keep it for another try."""
    if not done and again:
        desk_i[symbol, WISH_ORDER] = -1
        return
    weight = desk_f[symbol, WISH_WEIGHT]
    desk_i[symbol, WISH] = 0
    held = desk_f[symbol, HELD]
    if not done and held * weight < 0:
        # given up half-way: the old position is still to be closed; the wish to be flat cannot be given up again
        _wish(symbol, 0.0, desk_f, desk_i, counts)
        if _withdrawn(symbol, bar, order_i, queue, counts):
            _send_exit(symbol, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account)


@njit(cache=True)
def _send_exit(symbol, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account):
    """The order of a wish to be flat."""
    held = _held(symbol, desk_f, desk_i, queue, counts)
    desk_i[symbol, TRIES] += 1
    if held != 0.0:
        desk_i[symbol, WISH_ORDER] = _submit(
            symbol, MARKET, -held, bars[CLOSE, symbol, bar], 0, 0, bar, terms, calendar, bars, desk_f, order_f, order_i,
            queue, counts, account,
        )  # fmt: skip
    else:
        desk_i[symbol, WISH] = 0


@njit(cache=True)
def _pursue(symbol, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account):
    """Send what is missing to the wanted position, unless that was done."""
    if desk_i[symbol, WISH] == 0 or desk_i[symbol, WISH_ORDER] >= 0:
        return
    if not _withdrawn(symbol, bar, order_i, queue, counts):
        return
    weight = desk_f[symbol, WISH_WEIGHT]
    if weight == 0.0:
        _send_exit(symbol, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account)
        return
    held = _held(symbol, desk_f, desk_i, queue, counts)
    size = _target(symbol, weight, held, bar, terms, bars, desk_f, desk_i, order_f, order_i, account) - held
    desk_i[symbol, TRIES] += 1
    if size != 0.0:
        desk_i[symbol, WISH_ORDER] = _submit(
            symbol, MARKET, size, bars[CLOSE, symbol, bar], 0, 0, bar, terms, calendar, bars, desk_f, order_f, order_i,
            queue, counts, account,
        )  # fmt: skip
    elif desk_i[symbol, TRIES] >= _ENTRY_TRIES:
        _finish(
            symbol, False, False, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account
        )


@njit(cache=True)
def _settle_wish(symbol, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account):
    """`OrderDesk.settle`."""
    order = desk_i[symbol, WISH_ORDER]
    if desk_i[symbol, WISH] == 0 or order < 0 or _alive(order, order_i):
        return
    status = order_i[order, STATUS]
    if desk_f[symbol, WISH_WEIGHT] == 0.0:
        done, again = desk_f[symbol, HELD] == 0.0, True
    else:
        done = status == ST_COMPLETED
        again = status == ST_MARGIN and desk_i[symbol, TRIES] < _ENTRY_TRIES
    _finish(symbol, done, again, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account)


@njit(cache=True)
def _decide(
    symbol, bar, decisions, distances, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account
):
    """`BaseStrategy._follow`."""
    says, close = decisions[symbol, bar], bars[CLOSE, symbol, bar]
    side = _side(symbol, desk_f, desk_i, queue, counts)
    leaves = (side > 0 and says & LONG_EXIT != 0) or (side < 0 and says & SHORT_EXIT != 0)
    wanted = 2  # nothing
    if leaves and terms[EXITS_FIRST] != 0.0:
        wanted = 0
    elif says & LONG_ENTRY != 0:
        wanted = 1
    elif says & SHORT_ENTRY != 0:
        wanted = -1 if terms[ALLOW_SHORT] != 0.0 else 0 if side > 0 else 2
    elif leaves:
        wanted = 0
    if wanted != 2 and wanted != side:
        _wish(symbol, wanted * terms[WEIGHT], desk_f, desk_i, counts)
        if wanted != 0 and distances.shape[2] != 0:
            _protect(symbol, wanted, close, bar, distances, desk_f, desk_i)
        _pursue(symbol, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account)
    if distances.shape[2] != 0:
        distance = distances[TRAIL_DISTANCE, symbol, bar]
        side = _side(symbol, desk_f, desk_i, queue, counts)
        # NaN stands for no trail
        if side != 0 and desk_i[symbol, STOP] != 0 and side * (close - side * distance - desk_f[symbol, STOP_PRICE]) > 0:
            desk_f[symbol, STOP_PRICE] = close - side * distance


@njit(cache=True)
def _protect(symbol, side, close, bar, distances, desk_f, desk_i):
    """The exits of a new position; a distance of infinity stands for none."""
    stop, take = distances[STOP_DISTANCE, symbol, bar], distances[TAKE_DISTANCE, symbol, bar]
    if stop != math.inf:
        desk_i[symbol, STOP], desk_i[symbol, STOP_SIDE], desk_i[symbol, STOP_ORDER] = 1, side, -1
        desk_f[symbol, STOP_PRICE] = close + -side * stop
    if take != math.inf:
        desk_i[symbol, TAKE], desk_i[symbol, TAKE_SIDE], desk_i[symbol, TAKE_ORDER] = 1, side, -1
        desk_f[symbol, TAKE_PRICE] = close + side * take


@njit(cache=True)
def _keep_exits(symbol, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account):
    """`OrderDesk._keep_exits`."""
    has_stop, has_take = desk_i[symbol, STOP] != 0, desk_i[symbol, TAKE] != 0
    if not has_stop and not has_take:
        return
    held = _held(symbol, desk_f, desk_i, queue, counts)
    stop_order = desk_i[symbol, STOP_ORDER] if has_stop else -1
    take_order = desk_i[symbol, TAKE_ORDER] if has_take else -1
    for at in range(counts[LIVING]):
        order = queue[_LIVING_Q, at]
        if order_i[order, SYMBOL] != symbol or order_i[order, BY_GUARD] != 0:
            continue
        if order not in (stop_order, take_order) and order_f[order, REMAINING] * held < 0:
            return
    side = desk_i[symbol, STOP_SIDE] if has_stop else desk_i[symbol, TAKE_SIDE]
    if held * side > 0:
        if has_stop:
            desk_i[symbol, STOP_ORDER] = _renew(
                symbol, stop_order, STOP_KIND, desk_f[symbol, STOP_PRICE], -held, bar, terms, calendar, bars, desk_f,
                order_f, order_i, queue, counts, account,
            )  # fmt: skip
        if has_take:
            desk_i[symbol, TAKE_ORDER] = _renew(
                symbol, take_order, LIMIT_KIND, desk_f[symbol, TAKE_PRICE], -held, bar, terms, calendar, bars, desk_f,
                order_f, order_i, queue, counts, account,
            )  # fmt: skip
    elif desk_i[symbol, WISH] == 0:
        desk_i[symbol, STOP] = desk_i[symbol, TAKE] = 0
        _withdrawn(symbol, bar, order_i, queue, counts)


@njit(cache=True)
def _renew(
    symbol, order, kind, price, size, bar, terms, calendar, bars, desk_f, order_f, order_i, queue, counts, account
):
    """Keep a protective order at its price and size; its number."""
    if _alive(order, order_i):
        if _isclose(order_f[order, REMAINING], size) and order_f[order, PRICE] == price:
            return order
        if not _remove(queue, counts, _PENDING_Q, PENDING, order):
            return order
        _end(order, ST_CANCELED, bar, order_i, queue, counts)
    return _submit(
        symbol, kind, size, price, 1, 0, bar, terms, calendar, bars, desk_f, order_f, order_i, queue, counts, account
    )


# ---------------------------------------------------------------- the run


@njit(cache=True)
def _broker(
    bar, terms, rates, tiers, sales, check_sales, calendar, bars, desk_f, desk_i, order_f, order_i, fill_f, fill_i,
    queue, counts, account, interest_f,
):  # fmt: skip
    """`SimulatedBroker.next`; False where floats cannot decide an amount."""
    if calendar[MONTH_OF, bar] != counts[MONTH]:
        counts[MONTH] = calendar[MONTH_OF, bar]
        account[MONTH_SHARES] = 0.0
    account[BAR_ORDERS] = 0.0
    owes = counts[TRADES_OPEN] != 0 or terms[CREDIT] != 0.0 or account[MONEY] < 0
    if calendar[DAYS, bar] != 0 and owes:
        if not _book_interest(bar, terms, calendar, bars, desk_f, queue, counts, account, interest_f):
            return False
    if counts[SUBMITTED] != 0:
        if not _check_submitted(
            bar, rates, tiers, check_sales, desk_f, order_f, order_i, queue, counts, account
        ):
            return False
    if counts[PENDING] != 0:
        pending = queue[_PENDING_Q, : counts[PENDING]].copy()
        counts[PENDING] = 0
        for order in pending:
            price = _touched(order, bar, bars, order_f, order_i)
            if not math.isnan(price) and not _fill(
                order, price, bar, terms, rates, tiers, sales, calendar, bars, desk_f, desk_i, order_f, order_i, fill_f,
                fill_i, queue, counts, account,
            ):  # fmt: skip
                return False
            if _alive(order, order_i):
                _append(queue, counts, _PENDING_Q, PENDING, order)
    account[VALUE] = _value(bar, bars, desk_f, queue, counts, account)
    _mark(bar, terms, calendar, counts, account)
    if counts[HALT] != ACTIVE or counts[WAS_HALT] != ACTIVE:
        _enforce(bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account)
    return True


@njit(cache=True)
def _strategy(
    bar, first, ready, decisions, distances, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts,
    account,
):  # fmt: skip
    """`BaseStrategy._step`."""
    for symbol in range(len(first)):
        if bar >= first[symbol]:
            _settle_wish(
                symbol, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account
            )
    for symbol in range(len(first)):
        if bar >= ready[symbol]:
            _decide(
                symbol, bar, decisions, distances, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts,
                account,
            )  # fmt: skip
    for symbol in range(len(first)):
        if bar >= first[symbol]:
            _pursue(symbol, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account)
            _keep_exits(symbol, bar, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue, counts, account)


@njit(cache=True)
def _rests(terms, desk_i, counts):
    """Whether nothing can happen before a bar at which the strategy decides something."""
    if counts[SUBMITTED] != 0 or counts[PENDING] != 0 or counts[HALT] != ACTIVE or counts[WAS_HALT] != ACTIVE:
        return False
    return not (desk_i[:, WISH].any() or desk_i[:, STOP].any() or desk_i[:, TAKE].any())


@njit(cache=True)
def execute(
    bars, first, ready, decisions, distances, calendar, sales, check_sales, terms, rates, tiers, watches, order_f, order_i,
    fill_f, fill_i, interest_f, counts, account, met,
):  # fmt: skip
    """Run to the end of the bars, filling the logs; returns how it ended (`DONE`, `FULL`, `NOT_CERTAIN`).

    Args:
        bars: open, high, low, close, volume of each symbol at each step of the common clock; NaN before its first bar.
        first: first step of each symbol; it has a bar at every step from there.
        ready: first step at which each symbol's declaration may decide.
        decisions: bits of each symbol and step.
        distances: stop, trail, take-profit distances of each symbol and step; no steps where none is declared.
        calendar: days passed, day, month, flatten, time (microseconds) of each step.
        sales: fees on sales of each step; `check_sales` as the check at submission sees them.
        terms: see `CASH` and the places behind it.
        rates: see `charges`.
        tiers: see `charges`.
        watches: whether the guard looks at the account at every step.
        order_f: to be filled, like the others behind it.
    """
    symbols, steps = decisions.shape
    desk_f = np.zeros((symbols, 7))
    desk_i = np.zeros((symbols, 12), np.int64)
    desk_i[:, WISH_ORDER] = desk_i[:, STOP_ORDER] = desk_i[:, TAKE_ORDER] = desk_i[:, TAKEN_BAR] = -1
    queue = np.zeros((4, len(order_f) + symbols), np.int64)
    counts[:] = 0
    counts[SESSION] = counts[MONTH] = -(2**62)
    account[:] = 0.0
    account[MONEY] = account[VALUE] = terms[CASH]
    account[PEAK] = account[START] = account[LAST] = math.nan
    begun = ready.min()
    step = 0
    while step < steps:
        if counts[ORDERS] + 4 * symbols > len(order_f) or counts[FILLS] + 4 * symbols > len(fill_f):
            return FULL
        if counts[BOOKINGS] + 1 > len(interest_f):
            return FULL
        if not _broker(
            step, terms, rates, tiers, sales, check_sales, calendar, bars, desk_f, desk_i, order_f, order_i, fill_f,
            fill_i, queue, counts, account, interest_f,
        ):  # fmt: skip
            return NOT_CERTAIN
        if step >= begun:
            _strategy(
                step, first, ready, decisions, distances, terms, calendar, bars, desk_f, desk_i, order_f, order_i, queue,
                counts, account,
            )  # fmt: skip
        step += 1
        if _rests(terms, desk_i, counts):
            invested = counts[TRADES_OPEN] != 0
            pays = terms[CREDIT] != 0.0 or account[MONEY] < 0
            if invested:
                for symbol in range(symbols):
                    pays = pays or desk_f[symbol, HELD] < 0
            if not pays and not (watches and invested) and not (watches and terms[COUNTS_SESSIONS] != 0.0):
                while step < steps and not decisions[:, step].any():
                    step += 1
    account[VALUE] = _value(steps - 1, bars, desk_f, queue, counts, account)
    met[: counts[MET]] = queue[_MET_Q, : counts[MET]]
    return DONE
