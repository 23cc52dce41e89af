"""How far an account is from each of its limits.

Belongs here: the distances, a pure function measured as `decision` measures: working orders at their worst. Does not
belong here: limits of a single order (its value, its price), of which nothing is used up between orders.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from risk.decision import Portfolio, RiskState, worst_case, worst_exposure
from risk.limits import Limits

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Headroom:
    """One limit, `most`, and what of it is `used`, both in the limit's own unit; NaN where that is not known.

    `symbol` says whose position comes nearest to a limit of positions; None where there is none, and for limits of the
    account.
    """

    limit: str
    most: float
    used: float
    symbol: str | None = None

    @property
    def left(self) -> float:
        """What is left of it, never below 0; NaN where that is not known.

        >>> Headroom("max_drawdown", 0.5, 0.25).left
        0.25
        """
        return self.most - self.used if not self.used > self.most else 0.0


def headroom(portfolio: Portfolio, state: RiskState, limits: Limits, now: datetime) -> tuple[Headroom, ...]:
    """The limits that are set and can be used up, in the order in which `Limits` has them.

    Args:
        portfolio: the account.
        state: what its guard remembers.
        limits: those in force.
        now: aware UTC; orders of the last minute count from it.
    """
    found = (
        *_of_positions(portfolio, limits),
        *_of_exposure(portfolio, limits),
        *_of_counts(portfolio, state, limits, now),
        *_of_losses(portfolio, state, limits),
    )
    order = list(Limits.model_fields)
    return tuple(sorted(found, key=lambda one: order.index(one.limit)))


def _of_positions(portfolio: Portfolio, limits: Limits) -> Iterator[Headroom]:
    shares, values = _positions(portfolio)
    measured = (
        ("max_position_shares", limits.max_position_shares, shares, 1.0),
        ("max_position_value", limits.max_position_value, values, 1.0),
        ("max_position_fraction", limits.max_position_fraction, values, portfolio.equity),
    )
    for name, most, by_symbol, unit in measured:
        if most is not None:
            symbol = max(by_symbol, key=lambda one: _known(by_symbol[one]), default=None)
            yield Headroom(name, most, 0.0 if symbol is None else _ratio(by_symbol[symbol], unit), symbol)


def _positions(portfolio: Portfolio) -> tuple[dict[str, float], dict[str, float]]:
    """Shares and value of each symbol if its working orders went as they add most to it."""
    symbols = {**dict.fromkeys(portfolio.holdings), **{order.symbol: None for order in portfolio.working}}
    shares, values = {}, {}
    for symbol in symbols:
        shares[symbol], price = worst_case(symbol, portfolio)
        values[symbol] = shares[symbol] * price if shares[symbol] else 0.0
    return shares, values


def _of_exposure(portfolio: Portfolio, limits: Limits) -> Iterator[Headroom]:
    if limits.max_gross_exposure is None and limits.max_net_exposure is None:
        return
    gross, net = worst_exposure(portfolio)
    if limits.max_gross_exposure is not None:
        yield Headroom("max_gross_exposure", limits.max_gross_exposure, _ratio(gross, portfolio.equity))
    if limits.max_net_exposure is not None:
        yield Headroom("max_net_exposure", limits.max_net_exposure, _ratio(net, portfolio.equity))


def _of_counts(portfolio: Portfolio, state: RiskState, limits: Limits, now: datetime) -> Iterator[Headroom]:
    counts = (
        ("max_orders_per_minute", sum(1 for ts in state.recent_orders if now - ts < _MINUTE)),
        ("max_orders_per_session", state.orders_this_session),
        ("max_open_orders", sum(1 for order in portfolio.working if not order.reduces_only)),
        ("max_consecutive_losses", state.consecutive_losses),
    )
    for name, count in counts:
        most = getattr(limits, name)
        if most is not None:
            yield Headroom(name, most, count)


def _of_losses(portfolio: Portfolio, state: RiskState, limits: Limits) -> Iterator[Headroom]:
    start, peak, equity = state.session_start_equity, state.peak_equity, portfolio.equity
    lost = _at_least_zero(start - equity)
    if limits.max_daily_loss is not None:
        yield Headroom("max_daily_loss", limits.max_daily_loss, lost)
    if limits.max_daily_loss_fraction is not None:
        yield Headroom("max_daily_loss_fraction", limits.max_daily_loss_fraction, _ratio(lost, start))
    if limits.max_drawdown is not None:
        yield Headroom("max_drawdown", limits.max_drawdown, _ratio(_at_least_zero(peak - equity), peak))


def _at_least_zero(number: float) -> float:
    return number if math.isnan(number) else max(number, 0.0)


def _ratio(number: float, of: float) -> float:
    return number / of if of > 0 else math.nan


def _known(number: float) -> float:
    """A number to compare by: what is not known may be the largest."""
    return math.inf if math.isnan(number) else number
