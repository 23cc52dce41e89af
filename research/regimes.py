"""What kind of market each session was, seen from the benchmark.

Belongs here: the rule that names a regime, and a strategy's figures in each.
Does not belong here: the benchmark's curve (`research.benchmark`), the formulas (`research.metrics`).

Trend: the benchmark's close above or below its mean of 200 sessions. Turbulence: its volatility of 30 sessions above
or below the median of that volatility. A session's regime is the state at the PREVIOUS close, so that a day's own move
does not choose its drawer. The median is taken over the whole range: regimes describe a result, nobody can trade them.
"""

from typing import Any

import numpy as np
import pandas as pd

from research.daily import compound
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


def by_regime(
    returns: pd.Series, regimes: pd.Series, benchmark: pd.Series | None, scale: Scale
) -> list[dict[str, Any]]:
    """One row a regime, all five of them: sessions, share, compound return, volatility, Sharpe, benchmark's return.

    The returns of all rows compound to the total return. A figure without sessions is None.
    """
    return [_row(name, returns[regimes == name], benchmark, len(returns), scale) for name in REGIMES]


def _row(name: str, part: pd.Series, benchmark: pd.Series | None, total: int, scale: Scale) -> dict[str, Any]:
    values = part.to_numpy(dtype=float)
    theirs = None if benchmark is None else benchmark.reindex(part.index)
    covered = theirs is not None and len(part) > 0 and not theirs.isna().any()
    ratios = {"volatility": volatility(values, scale), "sharpe_ratio": sharpe_ratio(values, scale)}
    return {
        "regime": name,
        "sessions": len(part),
        "share": len(part) / total,
        "total_return": compound(part) if len(part) else None,
        **{key: value if isinstance(value, float) else None for key, value in ratios.items()},
        "benchmark_return": compound(theirs) if theirs is not None and covered else None,
    }


def _names(above: pd.Series, turbulent: pd.Series) -> np.ndarray:
    trend = np.where(above, "above_mean_", "below_mean_")
    return np.char.add(trend, np.where(turbulent, "high_volatility", "low_volatility"))


def _known_before(names: pd.Series, sessions: pd.DatetimeIndex) -> pd.Series:
    """The last name strictly before each session."""
    at = names.index.searchsorted(sessions, side="left") - 1
    values = [names.iloc[i] if i >= 0 else UNKNOWN_REGIME for i in at]
    return pd.Series(values, index=sessions)
