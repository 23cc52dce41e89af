"""The one decision: may this order go, whole, smaller, or not at all.

Belongs here: the pure function from request, portfolio, state and limits to a decision, and its plain types. Does not
belong here: remembering anything between two orders (see `guard`), Backtrader, brokers, files.

An order is split in two. The part that brings the position towards zero is never refused by a limit. The rest opens
or adds; it is an entry and every limit judges it. What already works at the broker counts as if it were filled, in the
worst case, so that two orders which are fine one by one cannot exceed a limit together.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from risk.limits import Limits
from risk.states import HaltState

ORDER_WINDOW = timedelta(seconds=60)
"""Span of `max_orders_per_minute`."""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order before it is sent. `quantity` is signed, + buys; `price` is the last known price; `ts` is aware UTC."""

    symbol: str
    quantity: float
    price: float
    kind: str
    limit_price: float | None
    ts: datetime
    reduces_only: bool = False  # a protective child of a bracket: the broker never lets it open a position


@dataclass(frozen=True, slots=True)
class Holding:
    """A position: signed quantity and last price."""

    quantity: float
    price: float


@dataclass(frozen=True, slots=True)
class WorkingOrder:
    """What is left of an order at the broker; `quantity` is signed, `price` the best guess of its fill price."""

    symbol: str
    quantity: float
    price: float
    reduces_only: bool = False


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Money, positions by symbol and working orders at one moment."""

    cash: float
    equity: float
    holdings: Mapping[str, Holding] = field(default_factory=dict)
    working: tuple[WorkingOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class RiskState:
    """What the guard remembers; enough to continue after a restart. `causes` holds (limit, state) of each halt."""

    halt: HaltState = HaltState.ACTIVE
    causes: tuple[tuple[str, HaltState], ...] = ()
    session: date | None = None
    session_start_equity: float | None = None
    last_equity: float | None = None
    peak_equity: float | None = None
    orders_this_session: int = 0
    recent_orders: tuple[datetime, ...] = ()
    consecutive_losses: int = 0
    cooldown_until: datetime | None = None


class Verdict(StrEnum):
    """What becomes of an order."""

    ALLOW = "allow"
    SHRINK = "shrink"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. `quantity` is the signed part that may go; `entry` the part of it that opens or adds.

    `limit`, `limit_value` and `measured` name the limit that took something away. `reduces_only` means: the broker
    must not let this order open a position, because another working order may close it first.
    """

    verdict: Verdict
    quantity: float
    entry: float = 0.0
    limit: str | None = None
    limit_value: float | None = None
    measured: float | None = None
    reason: str = ""
    reduces_only: bool = False


@dataclass(frozen=True, slots=True)
class _Cut:
    """A limit's verdict on an entry: how much of it may go at most, in shares."""

    allowed: float
    limit: str
    limit_value: float | None
    measured: float | None


def decide(
    request: OrderRequest,
    portfolio: Portfolio,
    state: RiskState,
    limits: Limits,
    *,
    session_close: datetime | None = None,
) -> Decision:
    """Judge one order. Pure: the same arguments give the same decision, nothing is remembered.

    Entries that are cut down are cut to whole shares.
    """
    quantity = request.quantity
    if not math.isfinite(quantity) or quantity == 0:
        return _refusal("quantity", None, None, f"quantity {quantity!r} is not a quantity")
    if request.reduces_only:
        return Decision(Verdict.ALLOW, quantity)
    entry = _entry_part(request, portfolio)
    if not entry:
        return Decision(Verdict.ALLOW, quantity)
    cut = _tightest_cut(request, entry, portfolio, state, limits, session_close=session_close)
    if cut is None:
        return Decision(Verdict.ALLOW, quantity, entry=math.copysign(entry, quantity))
    return _reduced(request, entry, cut, portfolio)


def _entry_part(request: OrderRequest, portfolio: Portfolio) -> float:
    """Unsigned quantity that opens or adds, when everything that works on the same side fills first."""
    base = _after_same_side(request, portfolio)
    if base * request.quantity >= 0:
        return abs(request.quantity)
    return max(0.0, abs(request.quantity) - abs(base))


def _after_same_side(request: OrderRequest, portfolio: Portfolio) -> float:
    """Signed position after all working orders of the request's side; protective children never open one."""
    held = _held(request.symbol, portfolio)
    opening = sum(
        order.quantity
        for order in portfolio.working
        if order.symbol == request.symbol and order.quantity * request.quantity > 0 and not order.reduces_only
    )
    return held + opening


def _held(symbol: str, portfolio: Portfolio) -> float:
    holding = portfolio.holdings.get(symbol)
    return holding.quantity if holding else 0.0


def _reduced(request: OrderRequest, entry: float, cut: _Cut, portfolio: Portfolio) -> Decision:
    """The decision when a limit takes something from the entry part."""
    side = math.copysign(1.0, request.quantity)
    kept = float(math.floor(max(0.0, cut.allowed) + 1e-9))
    going = abs(request.quantity) - entry + kept
    closing = _closes_now(request, portfolio)
    if closing > going:  # only because another working order might close first: it may go, but never open
        going, kept, reduces_only = closing, 0.0, True
    else:
        reduces_only = False
    verdict = Verdict.REFUSE if not going else Verdict.SHRINK if going < abs(request.quantity) else Verdict.ALLOW
    reason = _reason(cut, request, going)
    return Decision(verdict, side * going, side * kept, cut.limit, cut.limit_value, cut.measured, reason, reduces_only)


def _closes_now(request: OrderRequest, portfolio: Portfolio) -> float:
    """Unsigned quantity that brings the position as it is at this moment towards zero."""
    held = _held(request.symbol, portfolio)
    return min(abs(held), abs(request.quantity)) if held * request.quantity < 0 else 0.0


def _reason(cut: _Cut, request: OrderRequest, going: float) -> str:
    outcome = "refused" if not going else f"cut to {going:g}"
    against = "" if cut.limit_value is None else f" {cut.limit_value:g}"
    measured = "" if cut.measured is None else f", measured {cut.measured:g}"
    return f"{request.symbol} {request.quantity:+g}: {cut.limit}{against}{measured}: {outcome}"


def _refusal(limit: str, value: float | None, measured: float | None, reason: str) -> Decision:
    return Decision(Verdict.REFUSE, 0.0, 0.0, limit, value, measured, reason)


# ---------------------------------------------------------------- the limits


@dataclass(frozen=True, slots=True)
class _Entry:
    """Everything a limit needs to judge an entry. `quantity` is unsigned, `value_price` the worst price to value it."""

    request: OrderRequest
    quantity: float
    value_price: float
    base: float  # signed position before the entry, after every working order of the same side
    portfolio: Portfolio
    state: RiskState
    limits: Limits
    session_close: datetime | None

    @property
    def side(self) -> float:
        return 1.0 if self.request.quantity > 0 else -1.0

    @property
    def on_side(self) -> float:
        """Unsigned position on the entry's side that is there before it."""
        return max(0.0, self.base * self.side)


def _tightest_cut(
    request: OrderRequest,
    quantity: float,
    portfolio: Portfolio,
    state: RiskState,
    limits: Limits,
    *,
    session_close: datetime | None,
) -> _Cut | None:
    """The limit that leaves least of an entry, or None when all of it may go."""
    worst_price = request.price if request.limit_price is None else max(request.price, request.limit_price)
    base = _after_same_side(request, portfolio)
    entry = _Entry(request, quantity, worst_price, base, portfolio, state, limits, session_close)
    cuts = list(_unfit(entry)) or [cut for check in _CHECKS for cut in check(entry)]
    binding = [cut for cut in cuts if not cut.allowed >= quantity]
    return min(binding, key=lambda cut: cut.allowed) if binding else None


def _unfit(entry: _Entry) -> Iterator[_Cut]:
    """Figures with which nothing can be measured: an unknown is never a yes."""
    for name, value in (("price", entry.value_price), ("equity", entry.portfolio.equity)):
        if not (math.isfinite(value) and value > 0):
            yield _Cut(0.0, name, None, value if math.isfinite(value) else None)


def _halt(entry: _Entry) -> Iterator[_Cut]:
    if entry.state.halt is not HaltState.ACTIVE:
        cause = entry.state.causes[-1][0] if entry.state.causes else entry.state.halt.value
        yield _Cut(0.0, f"halt:{cause}", None, None)


def _cooldown(entry: _Entry) -> Iterator[_Cut]:
    until = entry.state.cooldown_until
    if until is not None and entry.request.ts < until:
        left = (until - entry.request.ts).total_seconds() / 60
        yield _Cut(0.0, "max_consecutive_losses", entry.limits.max_consecutive_losses, round(left, 1))


def _before_close(entry: _Entry) -> Iterator[_Cut]:
    minutes = entry.limits.flat_before_close_minutes
    if minutes is None or entry.session_close is None:
        return
    left = (entry.session_close - entry.request.ts).total_seconds() / 60
    if left <= minutes:
        yield _Cut(0.0, "flat_before_close_minutes", minutes, left)


def _shorting(entry: _Entry) -> Iterator[_Cut]:
    if entry.side < 0 and not entry.limits.allow_shorting:
        yield _Cut(0.0, "allow_shorting", 0.0, -entry.on_side - entry.quantity)


def _collar(entry: _Entry) -> Iterator[_Cut]:
    collar, limit_price = entry.limits.price_collar, entry.request.limit_price
    if collar is None or limit_price is None:
        return
    away = abs(limit_price / entry.request.price - 1.0)
    if not away <= collar:
        yield _Cut(0.0, "price_collar", collar, away)


def _rates(entry: _Entry) -> Iterator[_Cut]:
    limits, state = entry.limits, entry.state
    if limits.max_orders_per_minute is not None:
        recent = sum(1 for sent in state.recent_orders if entry.request.ts - sent < ORDER_WINDOW)
        yield from _room("max_orders_per_minute", limits.max_orders_per_minute, recent)
    if limits.max_orders_per_session is not None:
        yield from _room("max_orders_per_session", limits.max_orders_per_session, state.orders_this_session)
    if limits.max_open_orders is not None:
        working = sum(1 for order in entry.portfolio.working if not order.reduces_only)
        yield from _room("max_open_orders", limits.max_open_orders, working)


def _room(limit: str, most: int, used: int) -> Iterator[_Cut]:
    if used >= most:
        yield _Cut(0.0, limit, most, used + 1)


def _order_value(entry: _Entry) -> Iterator[_Cut]:
    most = entry.limits.max_order_value
    if most is not None:
        yield _Cut(most / entry.value_price, "max_order_value", most, entry.quantity * entry.value_price)


def _position(entry: _Entry) -> Iterator[_Cut]:
    limits, price, equity = entry.limits, entry.value_price, entry.portfolio.equity
    after = entry.on_side + entry.quantity
    if limits.max_position_shares is not None:
        yield _Cut(limits.max_position_shares - entry.on_side, "max_position_shares", limits.max_position_shares, after)
    if limits.max_position_value is not None:
        room = limits.max_position_value / price - entry.on_side
        yield _Cut(room, "max_position_value", limits.max_position_value, after * price)
    if limits.max_position_fraction is not None:
        room = limits.max_position_fraction * equity / price - entry.on_side
        yield _Cut(room, "max_position_fraction", limits.max_position_fraction, after * price / equity)


def _gross(entry: _Entry) -> Iterator[_Cut]:
    most = entry.limits.max_gross_exposure
    if most is None:
        return
    equity, price, symbol = entry.portfolio.equity, entry.value_price, entry.request.symbol
    others = sum(_worst_value(name, entry.portfolio) for name in _names(entry.portfolio) if name != symbol)
    room = (most * equity - others) / price - entry.on_side
    yield _Cut(_known(room), "max_gross_exposure", most, (others + (entry.on_side + entry.quantity) * price) / equity)


def _net(entry: _Entry) -> Iterator[_Cut]:
    most = entry.limits.max_net_exposure
    if most is None:
        return
    equity, price, side = entry.portfolio.equity, entry.value_price, entry.side
    others = sum(
        _value_after(name, side, entry.portfolio) for name in _names(entry.portfolio) if name != entry.request.symbol
    )
    room = (most * equity - side * others) / price - entry.on_side
    measured = (others + side * (entry.on_side + entry.quantity) * price) / equity
    yield _Cut(_known(room), "max_net_exposure", most, measured)


_CHECKS: tuple[Callable[[_Entry], Iterator[_Cut]], ...] = (
    _halt, _cooldown, _before_close, _shorting, _collar, _rates, _order_value, _position, _gross, _net,
)  # fmt: skip


def _known(room: float) -> float:
    """A room that cannot be measured, because another symbol has no price, is no room."""
    return room if math.isfinite(room) else 0.0


def _names(portfolio: Portfolio) -> list[str]:
    return list(dict.fromkeys([*portfolio.holdings, *(order.symbol for order in portfolio.working)]))


def _worst_value(symbol: str, portfolio: Portfolio) -> float:
    """Largest absolute value the symbol can reach when the working orders of either side fill."""
    return max(abs(_value_after(symbol, 1.0, portfolio)), abs(_value_after(symbol, -1.0, portfolio)))


def _value_after(symbol: str, side: float, portfolio: Portfolio) -> float:
    """Signed value of a symbol after all its working orders of one side."""
    holding = portfolio.holdings.get(symbol)
    value = holding.quantity * holding.price if holding else 0.0
    for order in portfolio.working:
        if order.symbol == symbol and order.quantity * side > 0 and not order.reduces_only:
            value += order.quantity * order.price
    return value
