"""An experiment as the arrays that the compiled rules read.

Belongs here: whether the kernel can run an experiment, its bars, calendar, costs and limits as arrays, one run for a set
of parameters. Does not belong here: the rules (see `rules`), what becomes of the logs (see `output`, `figures`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from broker.costs import CostModel
from broker.costs.fees import fee_table
from broker.costs.slippage import BasisPoints, HalfSpread, NoSlippage, VolumeShare
from research.clock import Clock, clock_of
from research.engine.kernel import charges, rules
from research.engine.run import PreparedRun, limits_of
from research.errors import ResearchError
from research.feed import SymbolBars
from risk.limits import Limits
from strategies.base_strategy import BaseStrategy, is_declared
from strategies.declaration import Bars, Bools, Floats, Signals, declare

_MINUTE_US: Final = 60_000_000
_FIRST_ROOM: Final = 256
_LAST_ROOM: Final = 2**26
_COLUMNS: Final = ("open", "high", "low", "close", "volume")
_STATES: Final = ("ACTIVE", "HALT_ENTRIES", "REDUCE_ONLY", "FLATTEN")
_SESSION_LIMITS: Final = (
    "max_daily_loss", "max_daily_loss_fraction", "max_orders_per_session", "flat_before_close_minutes",
)  # fmt: skip
_WATCHED: Final = (*_SESSION_LIMITS, "max_drawdown")
_OF_LIMITS: Final = ("max_concentration", "max_gross_exposure", "max_daily_loss", "max_drawdown", "allow_short")
_TERMS: Final = {
    rules.MAX_SHARES: "max_position_shares",
    rules.MAX_VALUE: "max_position_value",
    rules.MAX_FRACTION: "max_position_fraction",
    rules.MAX_ORDER_VALUE: "max_order_value",
    rules.MAX_GROSS: "max_gross_exposure",
    rules.MAX_NET: "max_net_exposure",
    rules.MAX_OPEN: "max_open_orders",
    rules.MAX_SESSION: "max_orders_per_session",
    rules.MAX_MINUTE: "max_orders_per_minute",
    rules.DAILY_LOSS: "max_daily_loss",
    rules.DAILY_FRACTION: "max_daily_loss_fraction",
    rules.DRAWDOWN: "max_drawdown",
    rules.MAX_LOSSES: "max_consecutive_losses",
}


class RoomError(ResearchError):
    """A run asked for more orders than a machine can remember."""


@dataclass(frozen=True, slots=True)
class KernelRun:
    """What happened in one run, as logs; see `rules` for the places in their rows.

    Attributes:
        uncertain: why the run ended early, in a sentence; the logs are of no use then.
        acted: whether the risk guard refused, cut or halted anything.
        ready: first bar of each symbol's own at which the declaration could decide.
    """

    uncertain: str | None
    acted: bool
    ready: tuple[int, ...]
    order_f: npt.NDArray[np.float64]
    order_i: npt.NDArray[np.int64]
    fill_f: npt.NDArray[np.float64]
    fill_i: npt.NDArray[np.int64]
    interest: npt.NDArray[np.float64]
    met: npt.NDArray[np.int64]  # symbols in the order in which the broker met them
    final_value: float


def ineligible(prepared: PreparedRun) -> str | None:
    """Why the kernel cannot run an experiment: one sentence, or None when it can."""
    strategy, resolution = prepared.strategy, prepared.experiment.resolution
    name = strategy.__name__
    if not is_declared(strategy):
        return f"{name} decides bar by bar; the kernel runs strategies that declare their signals."
    for method in ("positions_at_most", "_capped", "enter_long", "enter_short", "leave", "notify_order", "stop", "start"):
        if getattr(strategy, method) is not getattr(BaseStrategy, method):
            return f"{name} overrides {method}, which the kernel does not call."
    if strategy.__init__ is not BaseStrategy.__init__:  # type: ignore[misc]
        return f"{name} has an __init__ of its own, which the kernel does not call."
    if not isinstance(prepared.costs.slippage, BasisPoints | HalfSpread | VolumeShare | NoSlippage):
        return f"The slippage model {type(prepared.costs.slippage).__name__} is not one of the kernel's."
    gap = _hole(prepared.bars)
    if gap is not None:
        return gap
    if prepared.limits.max_orders_per_minute is not None and resolution.seconds < 60:
        return "max_orders_per_minute is counted over bars shorter than a minute, which the kernel does not do."
    return None


def _hole(all_bars: Mapping[str, SymbolBars]) -> str | None:
    """The kernel's symbols may begin later, but then have a bar at every step."""
    if len(all_bars) == 1:
        return None
    times = np.unique(np.concatenate([bars.ts for bars in all_bars.values()]))
    for symbol, bars in all_bars.items():
        if len(times) - np.searchsorted(times, bars.ts[0]) != len(bars):
            return f"{symbol} lacks bars that other symbols have; the kernel needs one at every step."
    return None


class Kernel:
    """Everything of an experiment that does not depend on the strategy's parameters.

    Attributes:
        clock: the steps of a run.
        symbols: in the order of the experiment.
    """

    def __init__(self, prepared: PreparedRun) -> None:
        reason = ineligible(prepared)
        if reason is not None:
            raise ResearchError(f"{prepared.experiment.name}: {reason}")
        self._prepared = prepared
        self.clock = clock = clock_of(list(prepared.bars.values()), prepared.calendar)
        self.symbols = tuple(prepared.bars)
        self._bars = [_declared_bars(bars) for bars in prepared.bars.values()]
        self.first = np.array([np.searchsorted(clock.ts, bars.ts[0]) for bars in prepared.bars.values()], np.int64)
        self.columns = _columns(self._bars, self.first, len(clock))
        self._rates, self._tiers = _rates(prepared.costs)
        self._sales, self._check_sales = _sales(clock)
        self._limits: dict[tuple[object, ...], tuple[Limits, npt.NDArray[np.int64], Floats]] = {}
        self._decisions = np.zeros((len(self.symbols), len(clock)), np.uint8)
        self._none = np.zeros((3, len(self.symbols), 0))
        self._room = _FIRST_ROOM

    @classmethod
    def prepare(cls, prepared: PreparedRun) -> "Kernel":
        """The kernel of an experiment.

        Raises:
            ResearchError: the experiment is not one for the kernel (see `ineligible`).
        """
        return cls(prepared)

    def run(self, params: Mapping[str, Any]) -> KernelRun:
        """Run once.

        Args:
            params: every parameter of the strategy, checked.
        """
        p = SimpleNamespace(**params)
        strategy: Any = self._prepared.strategy
        signals = [declare(strategy, bars, p) for bars in self._bars]
        ready = np.empty(len(signals), np.int64)
        for row, (one, first) in enumerate(zip(signals, self.first, strict=True)):
            ready[row] = first + max(one.ready, 0)
            _pack(
                self._decisions, row, first, one.ready, one.long_entry, one.short_entry, one.long_exit, one.short_exit
            )
        limits, calendar, terms = self._terms(params)
        return self._execute(
            tuple(one.ready for one in signals), ready, self._distances(signals), limits, calendar, terms
        )

    def _execute(
        self,
        own_ready: tuple[int, ...],
        ready: npt.NDArray[np.int64],
        distances: npt.NDArray[np.float64],
        limits: Limits,
        calendar: npt.NDArray[np.int64],
        terms: Floats,
    ) -> KernelRun:
        watches = any(getattr(limits, name) is not None for name in _WATCHED)
        while True:
            room = self._room
            order_f, order_i = np.empty((room, 8)), np.empty((room, 9), np.int64)
            fill_f, fill_i, interest = np.empty((room, 7)), np.empty((room, 3), np.int64), np.empty((room, 3))
            counts, account = np.empty(20, np.int64), np.empty(10)
            met = np.empty(len(self.symbols), np.int64)
            ended = rules.execute(
                self.columns, self.first, ready, self._decisions, distances, calendar, self._sales, self._check_sales,
                terms, self._rates, self._tiers, watches, order_f, order_i, fill_f, fill_i, interest, counts, account,
                met,
            )  # fmt: skip
            if ended != rules.FULL:
                break
            if room >= _LAST_ROOM:
                raise RoomError(f"{self._prepared.experiment.name}: the strategy sends more than {room} orders.")
            self._room = room * 4
        orders, fills = counts[rules.ORDERS], counts[rules.FILLS]
        return KernelRun(
            "A fee lies too near the middle of two millionths for floats." if ended == rules.NOT_CERTAIN else None,
            bool(counts[rules.ACTED]),
            own_ready,
            order_f[:orders].copy(),
            order_i[:orders].copy(),
            fill_f[:fills].copy(),
            fill_i[:fills].copy(),
            interest[: counts[rules.BOOKINGS]].copy(),
            met[: counts[rules.MET]].copy(),
            float(account[rules.VALUE]),
        )

    def _distances(self, signals: list[Signals]) -> npt.NDArray[np.float64]:
        """Infinity stands for no stop and no take-profit, NaN for no trail."""
        if all(one.stop is None and one.trail is None and one.take_profit is None for one in signals):
            return self._none
        table = np.empty((3, *self._decisions.shape))
        table[rules.STOP_DISTANCE] = table[rules.TAKE_DISTANCE] = math.inf
        table[rules.TRAIL_DISTANCE] = math.nan
        for row, (one, first) in enumerate(zip(signals, self.first, strict=True)):
            for kind, distance in (
                (rules.STOP_DISTANCE, one.stop),
                (rules.TRAIL_DISTANCE, one.trail),
                (rules.TAKE_DISTANCE, one.take_profit),
            ):
                if distance is not None:
                    table[kind, row, first:] = distance
        return table

    def _terms(self, params: Mapping[str, Any]) -> tuple[Limits, npt.NDArray[np.int64], Floats]:
        """Limits, calendar and the vector of terms for these parameters; limits are worked out once for each set."""
        prepared = self._prepared
        key = tuple(params[name] for name in _OF_LIMITS)
        if prepared.strategy.limits_for.__func__ is not BaseStrategy.limits_for.__func__:  # type: ignore[attr-defined]
            key = tuple(params.values())
        known = self._limits.get(key)
        if known is None:
            limits = limits_of(prepared.experiment, prepared.strategy, params)
            known = limits, _calendar(self.clock, limits), _terms(prepared, limits)
            self._limits[key] = known
        limits, calendar, general = known
        terms = general.copy()
        share = params["target_fraction"] / len(self.symbols)
        terms[rules.WEIGHT] = min(share, params["max_position_size"], params["max_concentration"])
        terms[rules.RESERVE] = params["cash_reserve"]
        terms[rules.ALLOW_SHORT] = float(bool(params["allow_short"]))
        return limits, calendar, terms


@njit(cache=True)
def _pack(
    decisions: npt.NDArray[np.uint8],
    row: int,
    first: int,
    ready: int,
    long_entry: Bools,
    short_entry: Bools,
    long_exit: Bools,
    short_exit: Bools,
) -> None:
    """Four truths a bar as bits, from the first bar that may decide on."""
    for at in range(len(long_entry)):
        bits = 0
        if at >= ready:
            if long_entry[at]:
                bits += 1
            if short_entry[at]:
                bits += 2
            if long_exit[at]:
                bits += 4
            if short_exit[at]:
                bits += 8
        decisions[row, first + at] = bits


def _declared_bars(bars: SymbolBars) -> Bars:
    return Bars(bars.symbol, **{name: getattr(bars, name).copy() for name in _COLUMNS})


def _columns(all_bars: list[Bars], first: npt.NDArray[np.int64], steps: int) -> npt.NDArray[np.float64]:
    columns = np.full((len(_COLUMNS), len(all_bars), steps), np.nan)
    for place, name in enumerate(_COLUMNS):
        for row, bars in enumerate(all_bars):
            columns[place, row, first[row] :] = getattr(bars, name)
    return columns


def _rates(costs: CostModel) -> tuple[Floats, npt.NDArray[np.float64]]:
    vector, rates = np.zeros(8), costs.rates
    if rates is None:
        return vector, np.zeros((1, 2))
    third = fee_table().third_party
    vector[charges.CHARGED] = 1.0
    vector[charges.MINIMUM] = float(rates.minimum)
    vector[charges.MAXIMUM_FRACTION] = float(rates.maximum_fraction)
    vector[charges.THIRD_PARTY] = float(rates.third_party)
    vector[charges.EXCHANGE], vector[charges.CLEARING] = float(third.exchange), float(third.clearing)
    vector[charges.EXCHANGE_BELOW_ONE] = float(third.exchange_fraction_below_one_dollar)
    vector[charges.PASSED_ON] = float(third.pass_through)
    tiers = [(math.inf if tier.up_to is None else float(tier.up_to), float(tier.rate)) for tier in rates.tiers]
    return vector, np.array(tiers)


def _sales(clock: Clock) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fees on sales of each step; for the check at submission the first session counts as the earliest day."""
    days, inverse = np.unique(clock.days, return_inverse=True)
    rows = []
    for day in days.tolist():
        sale = fee_table().on_sale(date.fromordinal(day + date(1970, 1, 1).toordinal()))
        rows.append((float(sale.sec), float(sale.activity), float(sale.activity_cap)))
    earliest = fee_table().on_sale(date.min)
    sales = np.array(rows)[inverse]
    checked = sales.copy()
    checked[clock.days == clock.days[0]] = (
        float(earliest.sec), float(earliest.activity), float(earliest.activity_cap),
    )  # fmt: skip
    return sales, checked


def _calendar(clock: Clock, limits: Limits) -> npt.NDArray[np.int64]:
    table = np.zeros((5, len(clock)), np.int64)
    table[rules.DAYS] = np.diff(clock.days, prepend=clock.days[:1])
    table[rules.DAY] = clock.days
    table[rules.MONTH_OF] = clock.days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    if limits.flat_before_close_minutes is not None:
        before = round(limits.flat_before_close_minutes * _MINUTE_US)
        table[rules.FLAT] = clock.ts >= clock.regular_closes - before
    table[rules.TIME] = clock.ts
    return table


def _terms(prepared: PreparedRun, limits: Limits) -> Floats:
    """All but what a study's parameters change."""
    costs, terms = prepared.costs, np.zeros(29)
    terms[rules.CASH] = prepared.experiment.cash
    terms[rules.SLIP_KIND], terms[rules.SLIP] = _slippage(costs)
    participation = costs.participation.fraction
    terms[rules.PARTICIPATION] = math.inf if participation is None else participation
    terms[rules.BORROW], terms[rules.MARGIN_RATE] = costs.financing.borrow_rate, costs.financing.margin_rate
    terms[rules.CREDIT] = costs.financing.cash_rate
    terms[rules.SHORTING] = float(limits.allow_shorting)
    for place, name in _TERMS.items():
        value = getattr(limits, name)
        terms[place] = math.inf if value is None else value
    terms[rules.ON_DAILY] = limits.on_daily_loss.severity
    terms[rules.ON_DRAWDOWN] = limits.on_drawdown.severity
    terms[rules.COOLDOWN] = round(limits.cooldown_minutes * _MINUTE_US)
    terms[rules.COUNTS_SESSIONS] = float(any(getattr(limits, name) is not None for name in _SESSION_LIMITS))
    return terms


def _slippage(costs: CostModel) -> tuple[int, float]:
    match costs.slippage:
        case BasisPoints(bps):
            return rules.BASIS_POINTS, bps
        case HalfSpread(spread_bps):
            return rules.HALF_SPREAD, spread_bps
        case VolumeShare(impact):
            return rules.VOLUME_SHARE, impact
        case _:
            return rules.NO_SLIP, 0.0
