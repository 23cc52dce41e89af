"""From bars and equity stamps to one value a session.

Belongs here: sampling an equity curve and closing prices at session ends, daily returns from them.
Does not belong here: statistics (`research.metrics`), what a benchmark is (`research.benchmark`).

Series are indexed by session date (naive `DatetimeIndex`, ascending, unique). Returns are simple fractions.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

from research.errors import ResearchError


def session_closes(equity: pa.Table) -> pd.Series:
    """Equity at the last bar of every session.

    Args:
        equity: `EQUITY_SCHEMA`, ascending; the session is the bars' own, not the UTC date of the stamp.

    Raises:
        ResearchError: no equity rows.
    """
    if equity.num_rows == 0:
        raise ResearchError("equity: the backtest has no equity rows, so no return can be measured.")
    return _last_of_session(_days(equity["session"]), equity["equity"].to_numpy())


def closes_by_session(bars: pa.Table) -> pd.Series:
    """Last close of every session of one symbol's bars."""
    return _last_of_session(_days(bars["session"]), bars["close"].to_numpy())


def daily_returns(closes: pd.Series, start_value: float | None = None) -> pd.Series:
    """Simple returns between session closes; the first one is measured from `start_value`.

    Without `start_value` the first session has no return and is left out.
    """
    if start_value is None:
        return closes.pct_change(fill_method=None).iloc[1:]
    before = closes.shift(1)
    before.iloc[0] = start_value
    return closes / before - 1.0


def compound(returns: pd.Series) -> float:
    """Total return of simple returns; 0.0 of none."""
    return float(np.prod(1.0 + returns.to_numpy()) - 1.0)


def _last_of_session(days: np.ndarray, values: np.ndarray) -> pd.Series:
    last = np.append(days[1:] != days[:-1], True)
    index = pd.DatetimeIndex(days[last].astype("datetime64[s]"), name="session")
    return pd.Series(values[last].astype(float), index=index)


def _days(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.to_numpy(), dtype="datetime64[D]")
