"""The figures of a backtest: what it earned, what it risked, how it traded, and against what.

Belongs here: formulas on daily returns, session closes, fills and trades, in empyrical's definitions.
Does not belong here: sampling (`research.daily`), labels (`research.metric_catalog`), files (`research.result`).

Everything is a simple fraction (0.1 = 10 %). Ratios use DAILY returns whatever the bar, sample standard
deviation (ddof 1), and are annualised by `annualization` sessions; `risk_free` is a yearly rate. A figure
that cannot be computed is a `Missing` with its reason, never 0, NaN or infinity.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from research import ratios
from research.measured import Figure, Measured, Missing
from research.overfitting.sharpe import moments, probabilistic_sharpe

_FLAT = 1e-12
"""A standard deviation below this is rounding noise of returns that do not vary."""

_TOO_FEW = Missing("fewer than 2 daily returns")
_NO_TRADES = Missing("no closed trade")
_NO_BENCHMARK = Missing("no benchmark")


@dataclass(frozen=True, slots=True)
class Scale:
    """How per-day figures become yearly ones.

    Attributes:
        annualization: sessions a year.
        risk_free: yearly rate, a fraction.
    """

    annualization: int = 252
    risk_free: float = 0.0

    @property
    def daily_rate(self) -> float:
        """The risk-free return of one session."""
        return float((1.0 + self.risk_free) ** (1.0 / self.annualization) - 1.0)

    @property
    def root(self) -> float:
        """Square root of the sessions a year."""
        return math.sqrt(self.annualization)


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall in percent of its peak. `recovery` is None while it lasts.

    Attributes:
        depth: negative fraction of the peak; 0.0 when the curve never fell.
    """

    depth: float
    peak: date | None
    trough: date | None
    recovery: date | None
    days: int


def return_metrics(closes: pd.Series, start_value: float, scale: Scale) -> Measured:
    """Figures of an equity curve alone.

    Args:
        closes: equity at session closes (money), see `research.daily.session_closes`.
        start_value: money before the first session; the first return is measured from it.
        scale: sessions a year and risk-free rate.
    """
    total: dict[str, Figure] = {"total_return": float(closes.iloc[-1] / start_value - 1.0)}
    total.update(_drawdown_figures(worst_drawdown(closes, start_value)))
    total["sessions"] = len(closes)
    broke = closes[closes <= 0.0]
    if broke.empty:
        returns = (closes / closes.shift(1).fillna(start_value)).to_numpy(dtype=float) - 1.0
        return Measured.of(total | _ratios(returns, scale))
    reason = Missing(f"equity fell to {broke.iloc[0]:.2f} on {broke.index[0].date()}, so returns are not defined")
    return Measured.of(total | dict.fromkeys(_RATIOS, reason) | {"calmar_ratio": reason})


def worst_drawdown(closes: pd.Series, start_value: float) -> Drawdown:
    """The deepest PERCENTAGE below a running peak, which begins at `start_value`; not the deepest money."""
    periods = drawdown_periods(closes, start_value)
    return periods[0] if periods else Drawdown(0.0, None, None, None, 0)


def drawdown_periods(closes: pd.Series, start_value: float) -> list[Drawdown]:
    """Every fall from a peak until equity is back at it, deepest percentage first."""
    levels = closes.to_numpy(dtype=float)
    depths = levels / np.maximum(np.maximum.accumulate(levels), start_value) - 1.0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], depths < 0.0, [False]]).astype(int)))
    days = closes.index
    found = [_period(depths, days, a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return sorted(found, key=lambda one: one.depth)


def _period(depths: np.ndarray, days: pd.Index, begin: int, end: int) -> Drawdown:
    """The sessions begin..end-1 are under water; a fall from the starting cash itself begins on the first session."""
    top, trough = days[max(begin - 1, 0)], days[begin + int(np.argmin(depths[begin:end]))]
    recovery = days[end] if end < len(days) else None
    length = ((days[-1] if recovery is None else recovery) - top).days
    back = None if recovery is None else recovery.date()
    return Drawdown(float(depths[begin:end].min()), top.date(), trough.date(), back, length)


def _drawdown_figures(worst: Drawdown) -> dict[str, Figure]:
    never = Missing("equity never fell below a peak")
    if worst.trough is None or worst.peak is None:
        dates: dict[str, Figure] = dict.fromkeys(
            ("max_drawdown_peak", "max_drawdown_trough", "max_drawdown_recovery"), never
        )
        return {"max_drawdown": 0.0, **dates, "max_drawdown_days": 0}
    recovery: Figure = worst.recovery.isoformat() if worst.recovery else Missing("not recovered at the end")
    return {
        "max_drawdown": worst.depth,
        "max_drawdown_peak": worst.peak.isoformat(),
        "max_drawdown_trough": worst.trough.isoformat(),
        "max_drawdown_recovery": recovery,
        "max_drawdown_days": worst.days,
    }


def sharpe_ratio(returns: np.ndarray, scale: Scale) -> Figure:
    """Annualised mean over standard deviation of daily excess returns (empyrical)."""
    if len(returns) < 2:
        return _TOO_FEW
    if np.std(returns, ddof=1) < _FLAT:
        return Missing("daily returns do not vary")
    return ratios.sharpe_ratio(returns, scale.daily_rate, scale.annualization)


def sortino_ratio(returns: np.ndarray, scale: Scale) -> Figure:
    """Annualised excess return over downside deviation (empyrical)."""
    if len(returns) < 2:
        return _TOO_FEW
    if (returns >= scale.daily_rate).all():
        return Missing("no session fell below the risk-free return")
    return ratios.sortino_ratio(returns, scale.daily_rate, scale.annualization)


def volatility(returns: np.ndarray, scale: Scale) -> Figure:
    """Annualised standard deviation (ddof 1) of daily returns (empyrical)."""
    return ratios.annual_volatility(returns, scale.annualization) if len(returns) > 1 else _TOO_FEW


def annual_return(returns: np.ndarray, scale: Scale) -> Figure:
    """Compound return a year (empyrical's CAGR: sessions / annualization years)."""
    if len(returns) == 0:
        return Missing("no daily return")
    return ratios.annual_return(returns, scale.annualization)


def probabilistic_sharpe_ratio(returns: np.ndarray, threshold: float = 0.0) -> Figure:
    """Probability that the true per-day Sharpe exceeds `threshold`; see `research.overfitting.sharpe`."""
    found = moments(returns)
    return found if isinstance(found, Missing) else probabilistic_sharpe(found, threshold)


def _calmar(returns: np.ndarray, scale: Scale) -> Figure:
    depth = ratios.max_drawdown(returns)
    yearly = annual_return(returns, scale)
    if depth >= 0.0:
        return Missing("equity never fell below a peak")
    return yearly / -depth if isinstance(yearly, float) else yearly


def _value_at_risk(returns: np.ndarray, _: Scale) -> Figure:
    return ratios.value_at_risk(returns) if len(returns) else _TOO_FEW


def _conditional_value_at_risk(returns: np.ndarray, _: Scale) -> Figure:
    return ratios.conditional_value_at_risk(returns) if len(returns) else _TOO_FEW


def _tail_ratio(returns: np.ndarray, _: Scale) -> Figure:
    if len(returns) < 2:
        return _TOO_FEW
    if abs(np.percentile(returns, 5)) < _FLAT:
        return Missing("the 5th percentile of daily returns is 0")
    return ratios.tail_ratio(returns)


def _skew(returns: np.ndarray, _: Scale) -> Figure:
    if len(returns) < 3 or np.std(returns, ddof=1) < _FLAT:
        return Missing("fewer than 3 daily returns, or they do not vary")
    return float(cast("float", pd.Series(returns).skew()))


def _kurtosis(returns: np.ndarray, _: Scale) -> Figure:
    if len(returns) < 4 or np.std(returns, ddof=1) < _FLAT:
        return Missing("fewer than 4 daily returns, or they do not vary")
    return float(cast("float", pd.Series(returns).kurt()))


_RATIOS: Mapping[str, Callable[[np.ndarray, Scale], Figure]] = {
    "annual_return": annual_return,
    "volatility": volatility,
    "sharpe_ratio": sharpe_ratio,
    "sortino_ratio": sortino_ratio,
    "calmar_ratio": _calmar,
    "probabilistic_sharpe_ratio": lambda returns, _: probabilistic_sharpe_ratio(returns),
    "value_at_risk_95": _value_at_risk,
    "conditional_value_at_risk_95": _conditional_value_at_risk,
    "skew": _skew,
    "kurtosis": _kurtosis,
    "tail_ratio": _tail_ratio,
    "best_day": lambda returns, _: float(returns.max()),
    "worst_day": lambda returns, _: float(returns.min()),
}


def _ratios(returns: np.ndarray, scale: Scale) -> dict[str, Figure]:
    return {key: formula(returns, scale) for key, formula in _RATIOS.items()}


def relative_metrics(returns: pd.Series, benchmark: pd.Series | None, scale: Scale) -> Measured:
    """Alpha, beta, correlation, tracking error and information ratio against daily benchmark returns.

    Sessions on which either return is unknown are left out.
    """
    if benchmark is None:
        return Measured.of(dict.fromkeys(_RELATIVE, _NO_BENCHMARK))
    both = pd.concat([returns, benchmark], axis=1, join="inner").dropna().to_numpy(dtype=float)
    if len(both) < 3:
        return Measured.of(dict.fromkeys(_RELATIVE, Missing("fewer than 3 sessions shared with the benchmark")))
    ours, theirs = both[:, 0], both[:, 1]
    return Measured.of(_regression(ours, theirs, scale) | _active(ours - theirs, scale))


_RELATIVE = ("alpha", "beta", "correlation", "tracking_error", "information_ratio")


def _regression(ours: np.ndarray, theirs: np.ndarray, scale: Scale) -> dict[str, Figure]:
    if np.std(theirs, ddof=1) < _FLAT:
        return dict.fromkeys(_RELATIVE[:3], Missing("benchmark returns do not vary"))
    alpha, beta = ratios.alpha_beta(ours, theirs, scale.daily_rate, scale.annualization)
    varies = np.std(ours, ddof=1) >= _FLAT
    correlation = float(np.corrcoef(ours, theirs)[0, 1]) if varies else Missing("daily returns do not vary")
    return {"alpha": alpha, "beta": beta, "correlation": correlation}


def _active(active: np.ndarray, scale: Scale) -> dict[str, Figure]:
    spread = float(np.std(active, ddof=1))
    ratio = float(np.mean(active)) / spread * scale.root if spread >= _FLAT else Missing("equal to the benchmark")
    return {"tracking_error": spread * scale.root, "information_ratio": ratio}


def trade_metrics(trades: pa.Table, sessions: int, scale: Scale) -> Measured:
    """Figures of closed round trips.

    Args:
        trades: `entry_ts`, `exit_ts`, `gross_profit`, `net_profit` (money), `bars_held`, one row a closed trade.
        sessions: sessions in the backtest, for trades a year.
        scale: sessions a year.
    """
    count = trades.num_rows
    yearly: Figure = count / sessions * scale.annualization if sessions else Missing("no session")
    if count == 0:
        return Measured.of({"trades": 0, "trades_per_year": yearly} | dict.fromkeys(_TRADE_FIGURES, _NO_TRADES))
    net = trades["net_profit"].to_numpy().astype(float)
    held = pc.subtract(trades["exit_ts"], trades["entry_ts"]).cast(pa.int64()).to_numpy() / 86_400e6
    return Measured.of(
        {"trades": count, "trades_per_year": yearly, **_profit_figures(net)}
        | {
            "average_holding_days": float(held.mean()),
            "average_holding_bars": float(trades["bars_held"].to_numpy().mean()),
            "gross_profit": float(trades["gross_profit"].to_numpy().sum()),
        }
    )


_TRADE_FIGURES = (
    "win_rate", "profit_factor", "expectancy", "average_win", "average_loss",
    "average_holding_days", "average_holding_bars", "gross_profit",
)  # fmt: skip


def _profit_figures(net: np.ndarray) -> dict[str, Figure]:
    wins, losses = net[net > 0.0], net[net < 0.0]
    no_loser = Missing("no losing trade")
    return {
        "win_rate": len(wins) / len(net),
        "profit_factor": float(wins.sum() / -losses.sum()) if len(losses) else no_loser,
        "expectancy": float(net.mean()),
        "average_win": float(wins.mean()) if len(wins) else Missing("no winning trade"),
        "average_loss": float(losses.mean()) if len(losses) else no_loser,
    }


def by_year(closes: pd.Series, start_value: float, benchmark: pd.Series | None, scale: Scale) -> dict[str, Measured]:
    """Return, volatility, Sharpe, drawdown and benchmark return of each calendar year (`2001`).

    `benchmark` holds its levels on the same sessions; the first one is where it was bought.
    """
    return {
        year: _year(part, _value_before(closes, part, start_value), scale) | _benchmark_return(benchmark, part)
        for year, part in _grouped(closes, "%Y")
    }


def by_month(closes: pd.Series, start_value: float, benchmark: pd.Series | None) -> dict[str, Measured]:
    """Return of each calendar month (`2001-03`) and the benchmark's; the months compound to the total return."""
    return {
        month: _month(part, _value_before(closes, part, start_value)) | _benchmark_return(benchmark, part)
        for month, part in _grouped(closes, "%Y-%m")
    }


_YEAR_FIGURES = ("sessions", "total_return", "volatility", "sharpe_ratio", "max_drawdown")


def _year(part: pd.Series, before: float, scale: Scale) -> Measured:
    full = return_metrics(part, before, scale)
    reasons = {key: reason for key, reason in full.reasons.items() if key in _YEAR_FIGURES}
    return Measured({key: full.values[key] for key in _YEAR_FIGURES}, reasons)


def _month(part: pd.Series, before: float) -> Measured:
    return Measured.of({"sessions": len(part), "total_return": float(part.iloc[-1] / before - 1.0)})


def _benchmark_return(levels: pd.Series | None, part: pd.Series) -> Measured:
    if levels is None:
        return Measured.of({"benchmark_return": _NO_BENCHMARK})
    theirs = levels.reindex(part.index)
    before = _value_before(levels, theirs, float(levels.iloc[0]))
    return Measured.of({"benchmark_return": _growth(before, float(theirs.iloc[-1]))})


def _growth(before: float, after: float) -> Figure:
    return after / before - 1.0 if math.isfinite(before) else Missing("the benchmark has no bar before it")


def _grouped(closes: pd.Series, pattern: str) -> list[tuple[str, pd.Series]]:
    days = pd.DatetimeIndex(closes.index)
    return [(str(name), part) for name, part in closes.groupby(days.strftime(pattern))]


def _value_before(closes: pd.Series, part: pd.Series, start_value: float) -> float:
    at = int(closes.index.searchsorted(part.index[0]))
    return float(closes.to_numpy()[at - 1]) if at else start_value


def activity_metrics(equity: pa.Table, fills: pa.Table, scale: Scale, sessions: int) -> Measured:
    """How much of the time and of the money was in the market, and how often it was turned over.

    Args:
        equity: `EQUITY_SCHEMA`.
        fills: `FILLS_SCHEMA`.
        scale: sessions a year.
        sessions: sessions in the backtest.
    """
    gross, money = equity["gross_value"].to_numpy(), equity["equity"].to_numpy()
    traded = float(np.sum(fills["quantity"].to_numpy() * fills["price"].to_numpy()))
    broke = Missing("equity fell to 0 or below")
    return Measured.of(
        {
            "exposure": float(np.mean(gross > 0.0)),
            "gross_exposure": float(np.mean(gross / money)) if (money > 0.0).all() else broke,
            "turnover": traded / 2.0 / float(money.mean()) / (sessions / scale.annualization)
            if money.mean() > 0.0
            else broke,
            "fills": fills.num_rows,
        }
    )
