"""What else could have happened: the same trades in another order, the same days in other blocks.

Belongs here: distributions of final equity, drawdown, Sharpe and growth by resampling. Does not belong here:
resampling of whole studies (see `multiple_testing`).
"""

from dataclasses import dataclass

import numpy as np

from research.measured import Missing
from research.overfitting.bootstrap import block_length, resampled_rows
from research.overfitting.sharpe import Floats

_TAILS = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True)
class Band:
    """5th percentile, median and 95th percentile."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class Futures:
    """What resampling makes of a record.

    Attributes:
        growth: final over first equity, less 1.
        drawdown: deepest fall from a peak, a negative fraction; `low` is the bad end.
        sharpe: annualised; None where trades were resampled, which have no time.
        ruin: share of samples that fell below the ruin level.
        samples: how many.
    """

    growth: Band
    drawdown: Band
    sharpe: Band | None
    ruin: float
    samples: int


def of_trades(
    returns: Floats, *, samples: int = 2000, ruin: float = 0.5, seed: int = 0, replace: bool = True
) -> Futures | Missing:
    """Trades in another order, drawn with replacement (bootstrap) or shuffled, which keeps the final equity.

    Args:
        returns: profit of each closed trade as a fraction of the equity before it.
        samples: how many.
        ruin: fraction of the first equity below which the account counts as lost.
        seed: makes it repeatable.
        replace: False shuffles.
    """
    if len(returns) < 10:
        return Missing(f"{len(returns)} closed trades are too few to resample")
    generator = np.random.default_rng(seed)
    if replace:
        drawn = generator.choice(returns, (samples, len(returns)))
    else:
        drawn = generator.permuted(np.tile(returns, (samples, 1)), axis=1)
    return _futures(drawn, ruin, None)


def of_returns(
    returns: Floats, *, samples: int = 2000, ruin: float = 0.5, seed: int = 0, annualization: int = 252
) -> Futures | Missing:
    """Daily returns in blocks of the stationary bootstrap, which keeps streaks and calm together.

    Args:
        returns: simple, a session each.
        samples: how many.
        ruin: fraction of the first equity below which the account counts as lost.
        seed: makes it repeatable.
        annualization: sessions a year.
    """
    if len(returns) < 60 or np.std(returns) < 1e-12:
        return Missing(f"{len(returns)} daily returns are too few" if len(returns) < 60 else "returns do not vary")
    generator = np.random.default_rng(seed)
    rows = resampled_rows(len(returns), block_length(returns), samples, generator)
    return _futures(returns[np.array(list(rows))], ruin, annualization)


def _futures(drawn: Floats, ruin: float, annualization: int | None) -> Futures:
    equity: Floats = np.cumprod(np.maximum(1.0 + drawn, 0.0), axis=1).astype(np.float64)
    peaks = np.maximum(np.maximum.accumulate(equity, axis=1), 1.0)
    deepest: Floats = (equity / peaks - 1.0).min(axis=1)
    sharpe = None
    if annualization is not None:
        ratios: Floats = drawn.mean(axis=1) / np.maximum(drawn.std(axis=1, ddof=1), 1e-12)
        annual: Floats = ratios * annualization**0.5
        sharpe = _band(annual)
    lost = float(np.mean(equity.min(axis=1) < ruin))
    growth: Floats = (equity[:, -1] - 1.0).astype(np.float64)
    return Futures(_band(growth), _band(deepest), sharpe, lost, len(drawn))


def _band(values: Floats) -> Band:
    return Band(*(float(value) for value in np.quantile(values, _TAILS)))
