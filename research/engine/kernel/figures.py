"""The figures of a compiled run, as `research.metrics` gives them.

Belongs here: equity, daily returns and trades from the records of a run, and the figures a study searches for, each
summed in the order in which the libraries sum. Does not belong here: what a figure means (see `research.metrics`).
"""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from numba import njit

from research.clock import Clock
from research.engine.kernel import machine
from research.engine.kernel.market import Integers, Market
from research.errors import ResearchError
from research.experiment import Experiment
from research.feed import SymbolBars
from research.metric_catalog import METRICS, Unit
from research.metrics import Scale, return_metrics

Floats = npt.NDArray[np.float64]
Records = machine.Records

_FLAT: Final = 1e-12
_NO_SHARES: Final = 1e-9
_OF_BENCHMARK: Final = frozenset({"alpha", "beta", "correlation", "tracking_error", "information_ratio"})
_OF_ACTIVITY: Final = frozenset({"exposure", "gross_exposure", "turnover"})
_OF_TRADES: Final = frozenset(
    {
        "trades", "trades_per_year", "win_rate", "profit_factor", "expectancy", "average_win", "average_loss",
        "average_holding_days", "average_holding_bars", "gross_profit", "open_profit", "fees_to_gross_profit",
    }
)  # fmt: skip
_OF_RETURNS: Final = frozenset(
    {
        "total_return", "annual_return", "volatility", "sharpe_ratio", "sortino_ratio", "calmar_ratio", "max_drawdown",
        "best_day", "worst_day",
    }
)  # fmt: skip
_OF_DEPTH: Final = frozenset({"max_drawdown", "calmar_ratio"})
_OF_MONEY: Final = frozenset({"sessions", "fills", "final_equity", "net_profit", "fees", "slippage", "financing"})

QUICK: Final = _OF_RETURNS | _OF_TRADES | _OF_ACTIVITY | _OF_MONEY
"""The figures that compiled code measures; the others take some milliseconds a run."""

FIGURES: Final = frozenset(name for name, info in METRICS.items() if info.unit is not Unit.DATE) - _OF_BENCHMARK
"""Every figure a run can be asked for: all that are numbers and need no benchmark."""


class BarNumbers:
    """The number of each symbol's bar at each tick; counted when a figure first asks."""

    def __init__(self, fresh: npt.NDArray[np.uint8]) -> None:
        self._fresh = fresh

    @cached_property
    def by_symbol(self) -> Integers:
        """By symbol and tick, -1 before the first."""
        return np.cumsum(self._fresh, axis=1, dtype=np.int64) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """What the figures of all runs of an experiment share.

    Attributes:
        cash: starting cash.
        scale: sessions a year and risk-free rate.
        days: exchange day of each session.
        closes: last tick of each session.
        prices: closes by symbol and tick.
        bars: number of the symbol's bar at each tick.
        last_closes: last close of each symbol.
        ts: moments of the ticks, microseconds since 1970-01-01 UTC.
    """

    cash: float
    scale: Scale
    days: Integers
    closes: Integers
    prices: Floats
    bars: BarNumbers
    last_closes: Floats
    ts: Integers

    @classmethod
    def of(cls, experiment: Experiment, clock: Clock, market: Market, all_bars: Sequence[SymbolBars]) -> "Session":
        """From an experiment and its bars."""
        closes = np.flatnonzero(np.append(clock.days[1:] != clock.days[:-1], True)).astype(np.int64)
        return cls(
            experiment.cash,
            Scale(experiment.annualization, experiment.risk_free),
            clock.days[closes],
            closes,
            market.prices[machine.CLOSE],
            BarNumbers(market.fresh),
            np.array([bars.close[-1] for bars in all_bars]),
            market.ticks[machine.TS],  # the clock's own may be read-only, for which numba would compile once more
        )


def figures_of(  # noqa: PLR0917 (the records of a run)
    session: Session,
    fills: machine.Records,
    bookings: machine.Records,
    met: Integers,
    names: Sequence[str],
    since: int = 0,
) -> dict[str, float | None]:
    """Figures by name, None where there is none to give.

    Args:
        session: what all runs share.
        fills: of the run; none before session number `since`.
        bookings: of the run.
        met: symbols in the order in which the broker met them.
        names: figures asked for.
        since: number of the first session that is measured; those before it only warmed indicators up.

    Raises:
        ResearchError: a figure needs a benchmark, is no number or does not exist.
    """
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise ResearchError(f"metric: {unknown[0]!r} is not one that a run alone can tell.")
    asked, span = set(names), session.prices.shape[1]
    equity, gross = np.empty(span), np.empty(span if asked & _OF_ACTIVITY else 0)
    _curve(session.cash, session.prices, fills, bookings, met, equity, gross)
    if since:
        tick = int(session.closes[since - 1]) + 1
        session = replace(
            session,
            cash=float(equity[tick - 1]),
            days=session.days[since:],
            closes=session.closes[since:] - tick,
        )
        equity, gross, bookings = equity[tick:], gross[tick:], bookings[bookings["tick"] >= tick]
    found: dict[str, float | None] = {}
    if asked & _OF_RETURNS:
        found |= _return_figures(session, equity, asked)
    if asked & _OF_TRADES:
        found |= _trade_figures(session, fills)
    if asked & _OF_ACTIVITY:
        found |= _activity_figures(session, fills, equity, gross)
    if asked & _OF_MONEY:
        found |= _money_figures(session, fills, bookings, equity)
    if not asked <= found.keys():
        found |= _other_figures(session, equity)
    return {name: found[name] for name in names}


def closes_of(session: Session, fills: machine.Records, bookings: machine.Records, met: Integers) -> Floats:
    """Equity at the close of every session."""
    equity = np.empty(session.prices.shape[1])
    _curve(session.cash, session.prices, fills, bookings, met, equity, np.empty(0))
    closes: Floats = equity[session.closes]
    return closes


def _return_figures(session: Session, equity: Floats, asked: Set[str]) -> dict[str, float | None]:
    scale, rate = session.scale, session.scale.daily_rate
    levels = equity if len(session.closes) == len(equity) else equity[session.closes]  # daily bars are closes already
    returns = np.empty(len(levels))
    (lowest, total, mean, deviation, spread, downside, best, worst, below, constant) = _returns(
        levels, session.cash, rate, returns
    )
    count = len(levels)
    found: dict[str, float | None] = dict.fromkeys(_OF_RETURNS)
    found["total_return"] = float(levels[-1]) / session.cash - 1.0
    deepest = 0.0
    if asked & _OF_DEPTH:
        found["max_drawdown"], deepest = _depths(levels, session.cash, returns)
    if lowest <= 0.0:  # returns are not defined
        return found
    yearly = total ** (1 / (count / scale.annualization)) - 1
    found |= {"annual_return": yearly, "best_day": best, "worst_day": worst}
    if deepest < 0.0:
        found["calmar_ratio"] = yearly / -deepest
    if count > 1:
        found["volatility"] = spread * scale.annualization**0.5
        if spread >= _FLAT:
            found["sharpe_ratio"] = (mean / deviation if not constant else math.nan) * math.sqrt(scale.annualization)
        if below:
            yearly_downside = math.sqrt(downside) * math.sqrt(scale.annualization)
            found["sortino_ratio"] = mean * scale.annualization / yearly_downside
    return {name: value if value is not None and math.isfinite(value) else None for name, value in found.items()}


@njit(cache=True, error_model="numpy", nogil=True)
def _returns(levels: Floats, start: float, rate: float, returns: Floats) -> tuple[float, ...]:
    """Daily returns, and sums over them; see `_return_figures` for their names."""
    count = len(levels)
    returns[0] = levels[0] / start - 1.0
    for at in range(1, count):  # by itself, so that several days go at a time
        returns[at] = levels[at] / levels[at - 1] - 1.0
    lowest, best, worst = start, -np.inf, np.inf
    total, adjusted_sum, plain_sum, squares, below = 1.0, 0.0, 0.0, 0.0, 0
    for at in range(count):
        one, level = returns[at], levels[at]
        lowest = min(lowest, level)
        best = max(best, one)
        worst = min(worst, one)
        total *= one + 1.0
        adjusted = one - rate
        adjusted_sum += adjusted
        plain_sum += one
        squares += adjusted * adjusted if adjusted < 0.0 else 0.0
        below += one < rate
    mean, plain_mean = adjusted_sum / count, plain_sum / count
    deviation = spread = 0.0
    varied = 0
    for at in range(count):
        away, plain = returns[at] - rate - mean, returns[at] - plain_mean
        deviation += away * away
        spread += plain * plain
        varied |= returns[at] != returns[0]
    return (
        lowest, total, mean, np.sqrt(deviation / (count - 1)), np.sqrt(spread / (count - 1)), squares / count, best,
        worst, below, varied == 0,
    )  # fmt: skip


@njit(cache=True, error_model="numpy", nogil=True)
def _depths(levels: Floats, start: float, returns: Floats) -> tuple[float, float]:
    """The deepest falls from a peak: of the equity, and of what one hundred grow to by the returns."""
    peak, depth, total, growth_peak, deepest = start, 0.0, 1.0, 100.0, 0.0
    for at in range(len(levels)):
        peak = max(peak, levels[at])
        depth = min(depth, levels[at] / peak - 1.0)
        total *= returns[at] + 1.0
        growth_peak = max(growth_peak, total * 100.0)
        deepest = min(deepest, (total * 100.0 - growth_peak) / growth_peak)
    return depth, deepest


def _other_figures(session: Session, equity: Floats) -> dict[str, float | None]:
    """The rarer figures of an equity curve, by the formulas of `research.metrics` themselves."""
    days = pd.DatetimeIndex(session.days.astype("datetime64[D]").astype("datetime64[s]"))
    measured = return_metrics(pd.Series(equity[session.closes], index=days), session.cash, session.scale)
    return {name: value for name, value in measured.values.items() if not isinstance(value, str)}


# ---------------------------------------------------------------- equity


@njit(cache=True, error_model="numpy", nogil=True)
def _curve(  # noqa: C901, PLR0912, PLR0917 (compiled functions take no keywords)
    cash: float, prices: Records, fills: Records, bookings: Records, met: Records, equity: Records, gross: Records
) -> None:
    """Equity, and where it has room the gross value of positions, at every tick: as `run_tables.equity_table`."""
    span = len(equity)
    equity[:] = 0.0
    gross[:] = 0.0
    for row in range(len(met)):
        symbol = met[row]
        begin, size, average = 0, 0.0, 0.0
        for at in range(len(fills) + 1):
            end = span
            if at < len(fills):
                if fills[at].symbol != symbol:
                    continue
                end = fills[at].tick
            if size != 0.0:
                for tick in range(begin, end):
                    worth = size * prices[symbol, tick]
                    if worth > 0.0:
                        profit = size * (prices[symbol, tick] - average)
                        equity[tick] = (equity[tick] + (worth - profit)) + profit
                    else:
                        equity[tick] += worth
                for tick in range(begin, min(end, len(gross))):
                    gross[tick] += abs(size * prices[symbol, tick])
            if at < len(fills):
                begin, size, average = end, fills[at].size, fills[at].average
    at = booked = tick = 0
    while tick < span:
        # interest is booked before anything fills
        while booked < len(bookings) and bookings[booked].tick <= tick:
            cash = bookings[booked].cash
            booked += 1
        while at < len(fills) and fills[at].tick <= tick:
            cash = fills[at].cash
            at += 1
        until = span
        if at < len(fills):
            until = fills[at].tick
        if booked < len(bookings):
            until = min(until, bookings[booked].tick)
        for place in range(tick, until):
            equity[place] = cash + equity[place]
        tick = until


def _activity_figures(
    session: Session, fills: machine.Records, equity: Floats, gross: Floats
) -> dict[str, float | None]:
    traded = float(np.sum(np.abs(fills["quantity"]) * fills["price"]))
    years = len(session.closes) / session.scale.annualization
    mean = float(equity.mean())
    return {
        "exposure": float(np.mean(gross > 0.0)),
        "gross_exposure": float(np.mean(gross / equity)) if (equity > 0.0).all() else None,
        "turnover": traded / 2.0 / mean / years if mean > 0.0 else None,
    }


def _money_figures(
    session: Session, fills: machine.Records, bookings: machine.Records, equity: Floats
) -> dict[str, float | None]:
    final = float(equity[-1])
    return {
        "sessions": len(session.closes),
        "fills": len(fills),
        "final_equity": final,
        "net_profit": final - session.cash,
        "fees": sum(fills["commission"].tolist()),
        "slippage": sum(fills["slippage"].tolist()),
        "financing": sum(bookings["amount"].tolist()),
    }


# ---------------------------------------------------------------- trades


def _trade_figures(session: Session, fills: machine.Records) -> dict[str, float | None]:
    rows, still_open = _trades(fills, session.bars.by_symbol, session.last_closes, session.ts)
    gross, net, held, bars = rows
    count, sessions = len(net), len(session.closes)
    open_profit, earned = float(np.sum(still_open)), float(gross.sum())
    found: dict[str, float | None] = dict.fromkeys(_OF_TRADES)
    found |= {"trades": count, "trades_per_year": count / sessions * session.scale.annualization}
    found["open_profit"] = open_profit
    if not count:
        return found
    wins, losses = net[net > 0.0], net[net < 0.0]
    found |= {
        "win_rate": len(wins) / count,
        "profit_factor": float(wins.sum() / -losses.sum()) if len(losses) else None,
        "expectancy": float(net.mean()),
        "average_win": float(wins.mean()) if len(wins) else None,
        "average_loss": float(losses.mean()) if len(losses) else None,
        "average_holding_days": float((held / 86_400e6).mean()),
        "average_holding_bars": float(bars.mean()),
        "gross_profit": earned,
        "fees_to_gross_profit": sum(fills["commission"].tolist()) / earned if earned > 0.0 else None,
    }
    return found


@njit(cache=True, error_model="numpy", nogil=True)
def _trades(fills: Records, bars: Records, last_closes: Records, ts: Records) -> tuple[Floats, Floats]:
    """Gross profit, net profit, time and bars held of closed trades, net profits of open ones: `trades_from_fills`."""
    closed = np.empty((4, len(fills)))
    count = 0
    # direction, first tick, and shares and money entered, shares and money left, costs; of each symbol's open trade
    trade = np.zeros((bars.shape[0], 7))
    for at in range(len(fills)):
        fill = fills[at]
        one = trade[fill.symbol]
        quantity, direction = abs(fill.quantity), 1.0 if fill.quantity > 0.0 else -1.0
        opening = quantity
        if one[0] == -direction:
            closing = min(quantity, one[2] - one[4])
            opening = quantity - closing
            one[4] += closing
            one[5] += closing * fill.price
            one[6] += fill.commission * (closing / quantity)
            if one[2] - one[4] <= _NO_SHARES:
                entered = int(one[1])
                closed[0, count] = one[0] * (one[5] - one[3])
                closed[1, count] = closed[0, count] - one[6]
                closed[2, count] = ts[fill.tick] - ts[entered]
                closed[3, count] = bars[fill.symbol, fill.tick] - bars[fill.symbol, entered]
                count += 1
                one[:] = 0.0
        if opening > _NO_SHARES:
            if one[0] == 0.0:
                one[0], one[1] = direction, fill.tick
            one[2] += opening
            one[3] += opening * fill.price
            one[6] += fill.commission * (opening / quantity)
    left = np.zeros(bars.shape[0])
    for symbol in range(bars.shape[0]):
        one = trade[symbol]
        if one[0] != 0.0:
            worth = one[5] + (one[2] - one[4]) * last_closes[symbol]
            left[symbol] = one[0] * (worth - one[3]) - one[6]
    return closed[:, :count], left
