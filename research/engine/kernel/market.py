"""Bars, calendar, costs and limits as the arrays that the compiled rules read.

Belongs here: turning what an experiment names into flat arrays, once. Does not belong here: the rules (see `machine`),
running them (see `kernel`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from broker.costs import CostModel
from broker.costs.fees import fee_table
from broker.costs.slippage import BasisPoints, HalfSpread, NoSlippage, SlippageModel, VolumeShare
from research.clock import Clock
from research.compiled import machine
from research.errors import ResearchError
from research.feed import SymbolBars
from research.run_tables import closes_on
from risk.limits import Limits

Integers = npt.NDArray[np.int64]

_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_EVERYTHING: Final = 2**62
_RATE_DIGITS: Final = 8
_COLUMNS: Final = ("open", "high", "low", "close", "volume")
_SLIPPAGE: Final = (
    (BasisPoints, machine.BASIS_POINTS, "bps"),
    (HalfSpread, machine.HALF_SPREAD, "spread_bps"),
    (VolumeShare, machine.VOLUME_SHARE, "impact"),
)
_LIMITS: Final = {
    "position_shares": "max_position_shares",
    "position_value": "max_position_value",
    "position_fraction": "max_position_fraction",
    "gross": "max_gross_exposure",
    "net": "max_net_exposure",
    "order_value": "max_order_value",
    "daily_loss": "max_daily_loss",
    "daily_fraction": "max_daily_loss_fraction",
    "drawdown": "max_drawdown",
}
_COUNTS: Final = {
    "per_minute": "max_orders_per_minute",
    "per_session": "max_orders_per_session",
    "open_orders": "max_open_orders",
    "losses": "max_consecutive_losses",
}


class FinerRateError(ResearchError):
    """A fee of the table has more digits than the kernel's whole numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """Bars and calendar; see `machine.simulate`.

    Attributes:
        prices: by row (`machine.OPEN` ...), symbol and tick.
        fresh: whether a symbol has a bar at a tick.
        at: the tick of each bar, of each symbol.
        ticks: the clock by row (`machine.TS` ...) and tick.
        tiers: rates by shares of the month.
        sales: fees on sales by period.
    """

    prices: npt.NDArray[np.float64]
    fresh: npt.NDArray[np.uint8]
    at: tuple[Integers, ...]
    ticks: Integers
    tiers: Integers
    sales: Integers

    @property
    def aligned(self) -> bool:
        """Whether every symbol has a bar at every tick."""
        return bool(self.fresh.all())

    @classmethod
    def of(cls, clock: Clock, all_bars: Sequence[SymbolBars], costs: CostModel) -> "Market":
        """The arrays of some symbols, in the order of the experiment."""
        count, span = len(all_bars), len(clock)
        prices, fresh = np.full((len(_COLUMNS), count, span), np.nan), np.zeros((count, span), np.uint8)
        places = tuple(_ticks_of(bars, clock) for bars in all_bars)
        for row, (bars, at) in enumerate(zip(all_bars, places, strict=True)):
            fresh[row, at] = 1
            for place, name in enumerate(_COLUMNS):
                prices[place, row, at] = getattr(bars, name)
            if len(at) < span:
                prices[machine.CLOSE, row] = closes_on(clock.ts, bars)
        return cls(prices, fresh, places, _ticks(clock), tiers_of(costs), sale_fees())


def _ticks_of(bars: SymbolBars, clock: Clock) -> Integers:
    """The tick of each bar; every moment of the symbol is one of the clock."""
    at: Integers = np.arange(len(bars)) if len(bars) == len(clock) else np.searchsorted(clock.ts, bars.ts)
    return at


def _ticks(clock: Clock) -> Integers:
    table = np.zeros((6, len(clock)), np.int64)
    table[machine.TS], table[machine.SESSION_CLOSE], table[machine.DAY] = clock.ts, clock.regular_closes, clock.days
    table[machine.NIGHTS] = np.diff(clock.days, prepend=clock.days[:1])
    table[machine.MONTH] = clock.days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    first_days = np.array([day.toordinal() - _EPOCH_ORDINAL for day in fee_table().days])
    table[machine.SALE_FEES] = np.maximum(np.searchsorted(first_days, clock.days, side="right") - 1, 0)
    return table


def tiers_of(costs: CostModel) -> Integers:
    """Rates a share by shares of the month, one row a tier; see `machine.charge`."""
    if costs.rates is None:
        return np.zeros((1, 2), np.int64)
    rows = [(_EVERYTHING if one.up_to is None else int(one.up_to), _whole(one.rate, 6)) for one in costs.rates.tiers]
    return np.array(rows, np.int64)


def sale_fees() -> Integers:
    """Fees on sales, one row a period; see `machine.charge`."""
    return np.array(_sale_fees(), np.int64)


@cache
def _sale_fees() -> tuple[tuple[int, ...], ...]:
    return tuple(
        (_whole(one.sec, 12), _whole(one.activity, 6), _whole(one.activity_cap, 6)) for one in fee_table().sale_fees
    )


def _whole(rate: Decimal, digits: int) -> int:
    scaled = rate.scaleb(digits)
    if scaled != int(scaled):
        raise FinerRateError(f"us_fees.yaml: {rate} has more than {digits} digits.")
    return int(scaled)


# ---------------------------------------------------------------- terms


def models(slippage: SlippageModel) -> bool:
    """Whether the rules know a slippage model."""
    return type(slippage) is NoSlippage or any(type(slippage) is kind for kind, _, _ in _SLIPPAGE)


def terms_of(cash: float, costs: CostModel, limits: Limits) -> machine.Records:
    """`machine.TERMS` of an experiment, without what a strategy's parameters say."""
    return limited(terms_without_limits(cash, costs), limits)


def terms_without_limits(cash: float, costs: CostModel) -> machine.Records:
    """What of `machine.TERMS` is the same for all parameters."""
    terms = np.zeros(1, machine.TERMS)
    of = terms[0]
    of["cash"] = cash
    for kind, number, field in _SLIPPAGE:
        if type(costs.slippage) is kind:
            of["slippage"], of["slipped"] = number, getattr(costs.slippage, field)
    part = costs.participation.fraction
    of["participation"] = np.inf if part is None else part
    _set_fees(of, costs)
    _set_interest(of, costs)
    return terms


def limited(terms: machine.Records, limits: Limits) -> machine.Records:
    """A copy of some terms, with limits."""
    terms = terms.copy()
    _set_limits(terms[0], limits)
    return terms


def _set_fees(of: Any, costs: CostModel) -> None:  # noqa: ANN401
    rates, third = costs.rates, fee_table().third_party
    if rates is None:
        return
    of["charges"], of["third_party"] = 1, rates.third_party
    of["minimum6"], of["maximum6"] = _whole(rates.minimum, 6), _whole(rates.maximum_fraction, 6)
    of["clearing6"], of["exchange6"] = _whole(third.clearing, 6), _whole(third.exchange, 6)
    of["exchange_below_one12"] = _whole(third.exchange_fraction_below_one_dollar, 12)
    of["pass_through6"] = _whole(third.pass_through, 6)


def _set_interest(of: Any, costs: CostModel) -> None:  # noqa: ANN401
    rates = {"borrow": costs.financing.borrow_rate, "margin": costs.financing.margin_rate,
             "earned": costs.financing.cash_rate}  # fmt: skip
    exact = {name: Decimal(repr(float(rate))) for name, rate in rates.items()}
    digits = 0
    while digits <= _RATE_DIGITS and any(rate.scaleb(digits) % 1 for rate in exact.values()):
        digits += 1
    for name, rate in rates.items():
        of[name] = rate
        of[f"{name}_part"] = int(exact[name].scaleb(digits))
    of["rate_scale"] = 10**digits if digits <= _RATE_DIGITS else 0


def _set_limits(of: Any, limits: Limits) -> None:  # noqa: ANN401
    for field, name in _LIMITS.items():
        value = getattr(limits, name)
        of[field] = np.inf if value is None else value
    for field, name in _COUNTS.items():
        value = getattr(limits, name)
        of[field] = machine.NONE if value is None else value
    of["shorting"] = limits.allow_shorting
    of["on_daily"], of["on_drawdown"] = limits.on_daily_loss.severity, limits.on_drawdown.severity
    of["cooldown"] = timedelta(minutes=limits.cooldown_minutes) // _MICROSECOND
    flat = limits.flat_before_close_minutes
    of["flat"] = machine.NONE if flat is None else timedelta(minutes=flat) // _MICROSECOND
    of["flat_minutes"] = np.nan if flat is None else flat
    daily = limits.max_daily_loss is not None or limits.max_daily_loss_fraction is not None
    of["watches"] = daily or limits.max_drawdown is not None
    of["marks"] = of["watches"] or flat is not None or limits.max_consecutive_losses is not None
    counts = (limits.max_orders_per_minute, limits.max_orders_per_session, limits.max_open_orders)
    of["guarded"] = of["marks"] or any(count is not None for count in counts)
    of["sessions"] = daily or flat is not None or limits.max_orders_per_session is not None
