"""The one decision whether an order may go: request + portfolio + state + limits -> allow, shrink or refuse.

Belongs here: the decision, a pure function, and the shapes it reads. Does not belong here: remembering anything
between orders (see `guard`), closing positions, which is the broker's work.

How an order is measured:

- It is split into the part that reduces what is held and the part that opens or adds (its entry part). Only the entry
  part is limited; what reduces is allowed in every state.
- Working orders count at their worst: those on the order's own side as if they had all filled, those on the other
  side as if they never would. Two orders that are each allowed can therefore not exceed a limit together.
- Protective orders (`reduces_only`) never count as exposure: the broker caps their fills by the position. They do
  count as exits under way, so that `close(); sell()` is an exit and an entry, not two exits.
- An order that only reduces is allowed with `Decision.reduces_only` set, and the broker must cap its fills in the same
  way. So a second exit is allowed while a first one works: together they cannot go through zero. What a working order
  without that mark (a reversal) already takes from the position, a further exit cannot take again.
- Everything is measured at the last price, or at the order's limit price where that is higher.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from risk.limits import Limits
from risk.states import HaltState, worse

_MINUTE = timedelta(minutes=1)
_NOTHING_ELSE = (0.0, 0.0)
_SLACK = 1 + 1e-9  # an order of exactly the limit must not fail on the last bit of a float


class Verdict(StrEnum):
    """What became of a request."""

    ALLOW = "ALLOW"
    SHRINK = "SHRINK"
    REFUSE = "REFUSE"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order somebody wants to send. `reduces_only` marks the protective children of a bracket."""

    symbol: str
    quantity: float  # signed shares, + buys
    price: float  # best known price now: the last close
    kind: str  # "market" | "limit" | "stop" | ...
    limit_price: float | None
    ts: datetime  # aware UTC
    reduces_only: bool = False


@dataclass(frozen=True, slots=True)
class Holding:
    """A position: signed shares and the last price."""

    quantity: float
    price: float


@dataclass(frozen=True, slots=True)
class WorkingOrder:
    """An order that may still fill: signed remaining shares and the price to value them at."""

    symbol: str
    quantity: float
    price: float
    reduces_only: bool = False


@dataclass(frozen=True, slots=True)
class Portfolio:
    """The account at the moment of the decision; money in account currency."""

    cash: float
    equity: float
    holdings: Mapping[str, Holding] = field(default_factory=dict)
    working: tuple[WorkingOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class RiskState:
    """All that the guard remembers; enough to go on after a restart (`RiskGuard.restore`).

    `halt` is the state in force. `latched_halt` stays until somebody resumes, `session_halt` until the next session.
    Money is NaN while nothing was seen.
    """

    halt: HaltState = HaltState.ACTIVE
    session: date | None = None
    session_start_equity: float = math.nan
    peak_equity: float = math.nan
    orders_this_session: int = 0
    recent_orders: tuple[datetime, ...] = ()
    consecutive_losses: int = 0
    cooldown_until: datetime | None = None
    latched_halt: HaltState = HaltState.ACTIVE
    session_halt: HaltState = HaltState.ACTIVE
    last_equity: float = math.nan


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer: the signed quantity that may go, and the limit that took the rest.

    With `reduces_only` the order was let through because it reduces: the broker must never fill it beyond the position.
    """

    verdict: Verdict
    quantity: float
    limit: str | None
    limit_value: float | None
    measured: float | None
    reason: str
    reduces_only: bool = False


@dataclass(slots=True)
class _Bound:
    """How many shares of entry one limit leaves, and what the whole request would have measured.

    Every order that may go has been held against bounds, so they are made only where one cuts (see `_Room`).
    """

    limit: str
    room: float
    value: float | None
    measured: float | None
    text: str


class _Entry:
    """The entry part of a request, mirrored so that the order always adds to the upper side."""

    __slots__ = ("held", "price", "quantity", "sign")

    def __init__(self, sign: float, top: float, wanted: float, price: float) -> None:
        """`top` is the worst case on the order's own side before it, in shares; negative while it would only reduce."""
        self.sign = sign
        self.price = price
        self.held = max(0.0, top)
        self.quantity = max(0.0, top + wanted) - self.held


_Room = tuple[float, str]
"""How many shares of entry a limit leaves, before a negative number becomes none, and the limit's name."""


def decide(
    request: OrderRequest,
    portfolio: Portfolio,
    state: RiskState,
    limits: Limits,
    *,
    session_close: datetime | None = None,
) -> Decision:
    """Allow, shrink or refuse one order. Pure: the same arguments give the same answer.

    Args:
        request: the order.
        portfolio: positions, working orders (without this one) and equity.
        state: what the guard remembers.
        limits: the limits in force.
        session_close: close of the present session, UTC; needed by `flat_before_close_minutes`.
    """
    fault = _malformed(request, portfolio)
    if fault is not None:
        return Decision(Verdict.REFUSE, 0.0, fault.limit, None, fault.measured, fault.text)
    quantity = request.quantity
    if request.reduces_only:
        return Decision(Verdict.ALLOW, quantity, None, None, None, "", reduces_only=True)
    sign = 1.0 if quantity > 0 else -1.0
    wanted = abs(quantity)
    position = _position(portfolio, request.symbol)
    adding, closing = _working(sign, request.symbol, portfolio)
    entry = _Entry(sign, _top(sign * position, adding, closing), wanted, _measuring_price(request))
    opens = entry.quantity
    covered = min(wanted, max(0.0, -sign * position - adding))
    if opens <= 0:
        return Decision(Verdict.ALLOW, quantity, None, None, None, "", reduces_only=True)
    bound = _cutting(entry, request, portfolio, state, limits, session_close=session_close)
    if bound is None:
        return Decision(Verdict.ALLOW, quantity, None, None, None, "")
    granted = max(0.0, float(math.floor(bound.room * _SLACK)))
    allowed = wanted - opens + granted
    if allowed <= covered or granted == 0:
        # what the position covers always goes, capped by the position
        return _cut(request, max(allowed, covered), bound, reduces_only=True)
    return _cut(request, allowed, bound, reduces_only=False)


def _cut(request: OrderRequest, allowed: float, bound: _Bound, *, reduces_only: bool) -> Decision:
    wanted = abs(request.quantity)
    if allowed >= wanted:
        return Decision(Verdict.ALLOW, request.quantity, None, None, None, "", reduces_only=True)
    verdict = Verdict.SHRINK if allowed > 0 else Verdict.REFUSE
    return Decision(
        verdict,
        math.copysign(allowed, request.quantity) if allowed > 0 else 0.0,
        bound.limit,
        bound.value,
        bound.measured,
        f"{request.symbol}: {bound.text}; {allowed:g} of {wanted:g} shares allowed",
        reduces_only and allowed > 0,
    )


def _malformed(request: OrderRequest, portfolio: Portfolio) -> _Bound | None:
    """Why a request cannot be judged at all, whatever it does."""
    if not math.isfinite(request.quantity) or request.quantity == 0:
        text = f"{request.symbol}: quantity {request.quantity!r} is not a number of shares"
        return _Bound("quantity", 0.0, None, request.quantity, text)
    limit_price = request.limit_price
    if limit_price is not None and not (math.isfinite(limit_price) and limit_price > 0):
        text = f"{request.symbol}: limit price {limit_price!r} is not a price"
        return _Bound("price", 0.0, None, limit_price, text)
    position = _position(portfolio, request.symbol)
    if not math.isfinite(position):
        text = f"{request.symbol}: the position {position!r} is not known"
        return _Bound("quantity", 0.0, None, position, text)
    return None


def _position(portfolio: Portfolio, symbol: str) -> float:
    holding = portfolio.holdings.get(symbol)
    return 0.0 if holding is None else holding.quantity


def _measuring_price(request: OrderRequest) -> float:
    limit_price = request.limit_price
    return request.price if limit_price is None or limit_price <= request.price else limit_price


# ---------------------------------------------------------------- worst cases


def _working(sign: float, symbol: str, portfolio: Portfolio) -> tuple[float, float]:
    """Shares of working orders on one side of a symbol: those that may open a position, those that only reduce."""
    adding = closing = 0.0
    for order in portfolio.working:
        if order.symbol == symbol and order.quantity * sign > 0:
            if order.reduces_only:
                closing += abs(order.quantity)
            else:
                adding += abs(order.quantity)
    return adding, closing


def _top(mirrored: float, adding: float, closing: float) -> float:
    """Signed shares, on the scale where the side looked at is the upper one, if all its working orders filled."""
    return mirrored + min(max(0.0, -mirrored), closing) + adding


def worst_case(symbol: str, portfolio: Portfolio) -> tuple[float, float]:
    """Shares of a symbol, without sign, if its working orders went as they add most to it, and its price.

    The price is NaN where none is known.
    """
    position = _position(portfolio, symbol)
    own = _top(position, *_working(1.0, symbol, portfolio))
    other = _top(-position, *_working(-1.0, symbol, portfolio))
    return max(abs(own), abs(other)), _price_of(symbol, portfolio)


def worst_exposure(portfolio: Portfolio) -> tuple[float, float]:
    """Gross and net value, both without sign, if the working orders went as they add most.

    NaN where the price of something that is held or ordered is not known.
    """
    gross, upward = _others(1.0, "", portfolio)
    _, downward = _others(-1.0, "", portfolio)
    return gross, max(upward, downward)


def _others(sign: float, symbol: str, portfolio: Portfolio) -> tuple[float, float]:
    """Worst gross and worst net value (mirrored by `sign`) of all other symbols; NaN where a price is not known."""
    gross = net = 0.0
    symbols = {name: None for name, holding in portfolio.holdings.items() if holding.quantity}
    symbols.update((order.symbol, None) for order in portfolio.working)
    symbols.pop(symbol, None)
    for name in symbols:
        position = _position(portfolio, name)
        own = _top(sign * position, *_working(sign, name, portfolio))
        other = _top(-sign * position, *_working(-sign, name, portfolio))
        if own or other:
            price = _price_of(name, portfolio)
            gross += max(abs(own), abs(other)) * price
            net += own * price
    return gross, net


def _price_of(symbol: str, portfolio: Portfolio) -> float:
    prices = [order.price for order in portfolio.working if order.symbol == symbol]
    if symbol in portfolio.holdings:
        prices.append(portfolio.holdings[symbol].price)
    usable = [price for price in prices if price is not None and math.isfinite(price) and price > 0]
    return max(usable) if usable else math.nan


# ---------------------------------------------------------------- limits


def _cutting(
    entry: _Entry,
    request: OrderRequest,
    portfolio: Portfolio,
    state: RiskState,
    limits: Limits,
    *,
    session_close: datetime | None,
) -> _Bound | None:
    """The limit that leaves least, or None when all of them leave enough."""
    stop = (
        _near_close(request, limits, session_close)
        or _halted(request, state, limits)
        or _unmeasurable(request, portfolio)
        or _collared(request, limits)
        or _too_many(request, portfolio, state, limits)
    )
    if stop is not None:
        return stop
    others = _NOTHING_ELSE
    if limits.max_gross_exposure is not None or limits.max_net_exposure is not None:
        others = _others(entry.sign, request.symbol, portfolio)
    rooms = _position_rooms(entry, portfolio.equity, limits)
    rooms += _exposure_rooms(entry, portfolio.equity, others, limits)
    least: _Room | None = None
    for room in rooms:
        if least is None or max(0.0, room[0]) < max(0.0, least[0]):
            least = room
    if least is None or entry.quantity <= max(0.0, least[0]) * _SLACK:
        return None
    return _bound(least, entry, portfolio.equity, others, limits)


def _halted(request: OrderRequest, state: RiskState, limits: Limits) -> _Bound | None:
    until = state.cooldown_until
    if until is not None and request.ts < until:
        text = f"no entries until {until.isoformat()}, after {limits.max_consecutive_losses} losing trades in a row"
        return _Bound("max_consecutive_losses", 0.0, limits.max_consecutive_losses, limits.max_consecutive_losses, text)
    if not (state.halt is state.latched_halt is state.session_halt is HaltState.ACTIVE):
        halt = worse(state.halt, worse(state.latched_halt, state.session_halt))
        return _Bound("halt_state", 0.0, None, None, f"no entries while the risk state is {halt.value}")
    return None


def _near_close(request: OrderRequest, limits: Limits, session_close: datetime | None) -> _Bound | None:
    minutes = limits.flat_before_close_minutes
    if minutes is None or session_close is None:
        return None
    left = (session_close - request.ts) / _MINUTE
    if left > minutes:
        return None
    text = f"no entries in the last {minutes:g} minutes of the session"
    return _Bound("flat_before_close_minutes", 0.0, minutes, left, text)


def _unmeasurable(request: OrderRequest, portfolio: Portfolio) -> _Bound | None:
    if not (math.isfinite(request.price) and request.price > 0):
        return _Bound("price", 0.0, None, request.price, f"the last price {request.price!r} is not a price")
    if not (math.isfinite(portfolio.equity) and portfolio.equity > 0):
        return _Bound("equity", 0.0, None, portfolio.equity, f"no entries on an equity of {portfolio.equity!r}")
    return None


def _collared(request: OrderRequest, limits: Limits) -> _Bound | None:
    if limits.price_collar is None or request.limit_price is None:
        return None
    distance = abs(request.limit_price / request.price - 1)
    if distance <= limits.price_collar * _SLACK:
        return None
    text = f"limit price {request.limit_price:g} is {distance:.2%} away from the last price {request.price:g}"
    return _Bound("price_collar", 0.0, limits.price_collar, distance, text)


def _too_many(request: OrderRequest, portfolio: Portfolio, state: RiskState, limits: Limits) -> _Bound | None:
    """Counts of entry orders; each count includes the order being judged."""
    counts: list[tuple[str, int, int]] = []
    if limits.max_orders_per_minute is not None:
        recent = sum(1 for ts in state.recent_orders if request.ts - ts < _MINUTE)
        counts.append(("max_orders_per_minute", limits.max_orders_per_minute, recent + 1))
    if limits.max_orders_per_session is not None:
        counts.append(("max_orders_per_session", limits.max_orders_per_session, state.orders_this_session + 1))
    if limits.max_open_orders is not None:
        working = sum(1 for order in portfolio.working if not order.reduces_only)
        counts.append(("max_open_orders", limits.max_open_orders, working + 1))
    for name, limit, count in counts:
        if count > limit:
            return _Bound(name, 0.0, limit, count, f"{name} is {limit}, this would be order {count}")
    return None


def _position_rooms(entry: _Entry, equity: float, limits: Limits) -> list[_Room]:
    """Rooms that depend on this symbol alone."""
    held, price = entry.held, entry.price
    rooms: list[_Room] = []
    if not limits.allow_shorting and entry.sign < 0:
        rooms.append((0.0, "allow_shorting"))
    if (most := limits.max_position_shares) is not None:
        rooms.append((most - held, "max_position_shares"))
    if (most := limits.max_position_value) is not None:
        rooms.append((most / price - held, "max_position_value"))
    if (most := limits.max_position_fraction) is not None:
        rooms.append((most * equity / price - held, "max_position_fraction"))
    if (most := limits.max_order_value) is not None:
        rooms.append((most / price, "max_order_value"))
    return rooms


def _exposure_rooms(entry: _Entry, equity: float, others: tuple[float, float], limits: Limits) -> list[_Room]:
    """Rooms that depend on the whole portfolio; `others` as of `_others`."""
    gross, net = others
    if math.isnan(gross):
        return [(0.0, "price")]
    held, price = entry.held, entry.price
    rooms: list[_Room] = []
    if (most := limits.max_gross_exposure) is not None:
        rooms.append(((most * equity - gross) / price - held, "max_gross_exposure"))
    if (most := limits.max_net_exposure) is not None:
        rooms.append(((most * equity - net) / price - held, "max_net_exposure"))
    return rooms


def _bound(least: _Room, entry: _Entry, equity: float, others: tuple[float, float], limits: Limits) -> _Bound:
    """The bound of a limit that cuts, with what the whole request would measure against it."""
    room, name = max(0.0, least[0]), least[1]
    after, price = entry.held + entry.quantity, entry.price
    if name == "allow_shorting":
        return _Bound(name, room, 0.0, after, f"short sales are not allowed, this would be {after:g} short")
    if name == "price":
        return _Bound(name, room, None, None, "the price of another position is not known")
    if name == "max_order_value":
        measured = entry.quantity * price
    elif name == "max_position_value":
        measured = after * price
    elif name == "max_position_shares":
        measured = after
    elif name == "max_position_fraction":
        measured = after * price / equity
    else:
        measured = (others[name == "max_net_exposure"] + after * price) / equity
    value = getattr(limits, name)
    return _Bound(name, room, value, measured, f"{name} is {value:g}, this order would make {measured:.6g}")
