"""What kind of market each session was, seen from the benchmark.

Belongs here: the rule that names a regime, and a strategy's figures in each.
Does not belong here: the benchmark's curve (`research.benchmark`), the formulas (`research.metrics`).

Trend: the benchmark's close above or below its mean of 200 sessions. Turbulence: its volatility of 30 sessions above
or below the median of that volatility. A session's regime is the state at the PREVIOUS close, so that a day's own move
does not choose its drawer. The median is taken over the whole range: regimes describe a result, nobody can trade them.
"""

import numpy as np
import pandas as pd

from research.daily import compound
from research.measured import Figure, Measured, Missing
from research.metrics import Scale, sharpe_ratio, volatility

TREND_SESSIONS = 200
VOLATILITY_SESSIONS = 30
UNKNOWN_REGIME = "unknown"
REGIMES = (
    "above_mean_low_volatility",
    "above_mean_high_volatility",
    "below_mean_low_volatility",
    "below_mean_high_volatility",
    UNKNOWN_REGIME,
)


def classify(closes: pd.Series, sessions: pd.DatetimeIndex) -> pd.Series:
    """Regime of every one of `sessions`; `unknown` until 200 benchmark closes came before.

    Args:
        closes: the benchmark's closes by session, ideally from 200 sessions before the first one.
        sessions: the backtest's sessions.
    """
    above = closes > closes.rolling(TREND_SESSIONS).mean()
    spread = closes.pct_change(fill_method=None).rolling(VOLATILITY_SESSIONS).std(ddof=1)
    within = spread[(spread.index >= sessions[0]) & (spread.index <= sessions[-1])]
    turbulent = spread > within.median()
    known = closes.rolling(TREND_SESSIONS).mean().notna() & spread.notna()
    names = pd.Series(_names(above, turbulent), index=closes.index).where(known, UNKNOWN_REGIME)
    return _known_before(names, sessions)


def by_regime(returns: pd.Series, regimes: pd.Series, benchmark: pd.Series | None, scale: Scale) -> dict[str, Measured]:
    """Sessions, share, compound return, volatility, Sharpe and the benchmark's return in each of the five regimes.

    The returns of all regimes compound to the total return.
    """
    return {name: _row(returns[regimes == name], benchmark, len(returns), scale) for name in REGIMES}


def _row(part: pd.Series, benchmark: pd.Series | None, total: int, scale: Scale) -> Measured:
    share = {"sessions": len(part), "share": len(part) / total}
    if part.empty:
        return Measured.of(share | dict.fromkeys(_FIGURES, Missing("no session in this regime")))
    values = part.to_numpy(dtype=float)
    theirs: Figure = Missing("no benchmark")
    if benchmark is not None:
        theirs = compound(benchmark.reindex(part.index))  # NaN, so unknown, if one of its sessions is
    figures = (compound(part), volatility(values, scale), sharpe_ratio(values, scale), theirs)
    return Measured.of(share | dict(zip(_FIGURES, figures, strict=True)))


_FIGURES = ("total_return", "volatility", "sharpe_ratio", "benchmark_return")


def _names(above: pd.Series, turbulent: pd.Series) -> np.ndarray:
    trend = np.where(above, "above_mean_", "below_mean_")
    return np.char.add(trend, np.where(turbulent, "high_volatility", "low_volatility"))


def _known_before(names: pd.Series, sessions: pd.DatetimeIndex) -> pd.Series:
    """The last name strictly before each session."""
    at = names.index.searchsorted(sessions, side="left") - 1
    values = [names.iloc[i] if i >= 0 else UNKNOWN_REGIME for i in at]
    return pd.Series(values, index=sessions)
