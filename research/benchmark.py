"""What the money would have done without the strategy.

Belongs here: buy-and-hold curves of one symbol or of many in equal parts.
Does not belong here: comparing them with a strategy (`research.metrics`), market regimes (`research.regimes`).

Bought at the close of the first session, held to the last, whole range, no costs: the yardstick of the sample's
closed forms (AAPL 2000-03-01..2013-03-01: +12.408616).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from research.daily import closes_by_session
from research.measured import Measured, Missing
from research.metrics import Scale, return_metrics


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A buy-and-hold curve on the backtest's sessions.

    Attributes:
        name: the symbol, or `equal weight of A, B`.
        levels: one a session, 1.0 at its first known one, NaN before that one.
        history: levels on the benchmark's own sessions, those before the backtest included, for regimes.
        warnings: sentences about sessions it does not cover.
    """

    name: str
    levels: pd.Series
    history: pd.Series
    warnings: tuple[str, ...] = ()

    def metrics(self, scale: Scale) -> Measured:
        """Figures of holding it, from the close at which it was bought."""
        known = self.levels.dropna()
        if len(known) < 2:
            return Measured.of({"total_return": Missing("fewer than 2 sessions with a price")})
        return return_metrics(known.iloc[1:], float(known.iloc[0]), scale)

    @property
    def returns(self) -> pd.Series:
        """Daily simple returns; 0.0 on the session of the purchase, NaN before it."""
        known = self.levels.dropna()
        returns = known.pct_change(fill_method=None)
        if len(returns):
            returns.iloc[0] = 0.0
        return returns.reindex(self.levels.index)


def hold_symbol(name: str, bars: pa.Table, sessions: pd.DatetimeIndex) -> Benchmark:
    """Buy-and-hold of one symbol; sessions without a bar keep the last close, those before its first are unknown."""
    closes = closes_by_session(bars)
    levels = _on_sessions(closes, sessions)
    known = levels.dropna()
    levels = levels / known.iloc[0] if len(known) else levels
    return Benchmark(name, levels, closes, _uncovered(name, closes, sessions))


def hold_equally(bars: Mapping[str, pa.Table], sessions: pd.DatetimeIndex) -> Benchmark:
    """Equal parts of every symbol, never rebalanced; a part stays cash until its symbol has a bar."""
    parts = {symbol: closes_by_session(table) for symbol, table in bars.items() if table.num_rows}
    history_index = pd.DatetimeIndex(sorted(set().union(*(closes.index for closes in parts.values()))), name="session")
    held = np.mean([_part(closes, sessions) for closes in parts.values()], axis=0)
    history = np.mean([_part(closes, history_index) for closes in parts.values()], axis=0)
    name = next(iter(parts)) if len(parts) == 1 else f"equal weight of {', '.join(parts)}"
    return Benchmark(name, pd.Series(held, sessions), pd.Series(history, history_index))


def _part(closes: pd.Series, sessions: pd.DatetimeIndex) -> np.ndarray:
    levels = _on_sessions(closes, sessions)
    known = levels.dropna()
    return (levels / known.iloc[0]).fillna(1.0).to_numpy() if len(known) else np.ones(len(sessions))


def _on_sessions(closes: pd.Series, sessions: pd.DatetimeIndex) -> pd.Series:
    return closes.reindex(closes.index.union(sessions)).ffill().reindex(sessions)


def _uncovered(name: str, closes: pd.Series, sessions: pd.DatetimeIndex) -> tuple[str, ...]:
    missing = int((~sessions.isin(closes.index)).sum())
    if not missing:
        return ()
    return (f"benchmark: {name} has no bar on {missing} of the backtest's {len(sessions)} sessions.",)
