"""The figures of a compiled run, as `research.metrics` gives them.

Belongs here: the figures a study searches for, from the sums over the records of a run. Does not belong here: the sums
(see `research.compiled.measures`), what a figure means (see `research.metrics`).
"""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from research.clock import Clock
from research.compiled import machine, measures
from research.engine.kernel.market import Integers, Market
from research.errors import ResearchError
from research.experiment import Experiment
from research.feed import SymbolBars
from research.metric_catalog import METRICS, Unit
from research.metrics import Scale, return_metrics

Floats = npt.NDArray[np.float64]

_FLAT: Final = 1e-12
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
    asked, span = _known(tuple(names)), session.prices.shape[1]
    equity, gross = np.zeros(span), np.zeros(span if asked & _OF_ACTIVITY else 0)
    measures.equity_curve(session.cash, session.prices, fills, bookings, met, equity, gross)
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


@lru_cache(maxsize=256)  # a study asks for the same in every trial
def _known(names: tuple[str, ...]) -> frozenset[str]:
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise ResearchError(f"metric: {unknown[0]!r} is not one that a run alone can tell.")
    return frozenset(names)


def closes_of(session: Session, fills: machine.Records, bookings: machine.Records, met: Integers) -> Floats:
    """Equity at the close of every session."""
    equity = np.zeros(session.prices.shape[1])
    measures.equity_curve(session.cash, session.prices, fills, bookings, met, equity, np.zeros(0))
    closes: Floats = equity[session.closes]
    return closes


def _return_figures(session: Session, equity: Floats, asked: Set[str]) -> dict[str, float | None]:
    scale, rate = session.scale, session.scale.daily_rate
    levels = equity if len(session.closes) == len(equity) else equity[session.closes]  # daily bars are closes already
    returns = np.empty(len(levels))
    (lowest, total, mean, deviation, spread, downside, best, worst, below, constant) = measures.daily_returns(
        levels, session.cash, rate, returns
    )
    count = len(levels)
    found: dict[str, float | None] = dict.fromkeys(_OF_RETURNS)
    found["total_return"] = float(levels[-1]) / session.cash - 1.0
    deepest = 0.0
    if asked & _OF_DEPTH:
        found["max_drawdown"], deepest = measures.deepest_falls(levels, session.cash, returns)
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
    values = {name: found[name] for name in asked & _OF_RETURNS}
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}


def _other_figures(session: Session, equity: Floats) -> dict[str, float | None]:
    """The rarer figures of an equity curve, by the formulas of `research.metrics` themselves."""
    days = pd.DatetimeIndex(session.days.astype("datetime64[D]").astype("datetime64[s]"))
    measured = return_metrics(pd.Series(equity[session.closes], index=days), session.cash, session.scale)
    return {name: value for name, value in measured.values.items() if not isinstance(value, str)}


# ---------------------------------------------------------------- equity


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
    rows, still_open = np.empty((4, len(fills))), np.zeros(len(session.last_closes))
    closed = measures.profits_of_trades(
        fills, session.bars.by_symbol, session.last_closes, session.ts, rows,
        np.zeros((len(still_open), measures.OF_A_TRADE)), still_open,
    )  # fmt: skip
    gross, net, held, bars = rows[:, :closed]
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
