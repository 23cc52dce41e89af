"""What else could have happened: the same trades in another order, the same days in other blocks.

Belongs here: distributions of final equity, drawdown, Sharpe and growth by resampling. Does not belong here:
resampling of whole studies (see `multiple_testing`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from research.errors import StatisticsError
from research.measured import Missing
from research.overfitting.bootstrap import block_length, resampled_rows
from research.overfitting.sharpe import Floats
from research.overfitting.trials import checked_samples

_TAILS = (0.05, 0.5, 0.95)
_NUMBERS = 2_000_000
"""Returns that are drawn at once: of many trades not all samples fit into memory."""


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
        annual_return: growth compounded to a year (CAGR), a fraction; None where trades were resampled.
        ruin: share of samples that fell below the ruin level.
        samples: how many.
    """

    growth: Band
    drawdown: Band
    sharpe: Band | None
    annual_return: Band | None
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

    Raises:
        StatisticsError: no samples, or a ruin level that is no fraction.
    """
    if len(returns) < 10:
        return Missing(f"{len(returns)} closed trades are too few to resample")
    if not np.isfinite(returns).all():
        return Missing("the return of a trade is no number")
    generator = np.random.default_rng(seed)

    def drawn(count: int) -> Floats:
        if replace:
            return returns[generator.integers(0, len(returns), (count, len(returns)))]
        return generator.permuted(np.tile(returns, (count, 1)), axis=1)

    return _futures(_chunks(drawn, samples, len(returns)), _checked_ruin(ruin))


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

    Raises:
        StatisticsError: no samples, or a ruin level that is no fraction.
    """
    if len(returns) < 60:
        return Missing(f"{len(returns)} daily returns are too few")
    if not np.isfinite(returns).all():
        return Missing("a daily return is no number: equity fell to 0 or was not measured")
    if np.std(returns) < 1e-12:
        return Missing("returns do not vary")
    generator, block = np.random.default_rng(seed), block_length(returns)

    def drawn(count: int) -> Floats:
        rows = np.array(list(resampled_rows(len(returns), block, count, generator)))
        blocks: Floats = returns[rows]
        return blocks

    return _futures(_chunks(drawn, samples, len(returns)), _checked_ruin(ruin), annualization / len(returns))


def _checked_ruin(ruin: float) -> float:
    if not 0.0 < ruin <= 1.0:
        raise StatisticsError(f"ruin: {ruin} must be above 0 and at most 1, a fraction of the first equity.")
    return ruin


def _chunks(drawn: Callable[[int], Floats], samples: int, length: int) -> Iterator[Floats]:
    """All samples, as many rows at a time as fit."""
    rows = max(1, _NUMBERS // length)
    for first in range(0, checked_samples(samples), rows):
        yield drawn(min(rows, samples - first))


def _futures(chunks: Iterator[Floats], ruin: float, in_a_year: float | None = None) -> Futures:
    """`in_a_year`: a year in records of this length; None where they have no time."""
    paths = [_paths(drawn) for drawn in chunks]
    final, deepest, lowest, ratios = (np.concatenate(column) for column in zip(*paths, strict=True))
    growth, drawdown, lost = _band(final - 1.0), _band(deepest), float(np.mean(lowest < ruin))
    if in_a_year is None:
        return Futures(growth, drawdown, None, None, lost, len(final))
    return Futures(growth, drawdown, _band(ratios * in_a_year**0.5), _band(final**in_a_year - 1.0), lost, len(final))


def _paths(drawn: Floats) -> tuple[Floats, ...]:
    """Of each sample: final equity over the first, deepest fall, lowest equity, mean over error of the mean."""
    equity: Floats = np.cumprod(np.maximum(1.0 + drawn, 0.0), axis=1).astype(np.float64)
    peaks = np.maximum(np.maximum.accumulate(equity, axis=1), 1.0)
    deepest: Floats = (equity / peaks - 1.0).min(axis=1)
    # times the root of a year in such records it is the annualised Sharpe ratio
    ratios: Floats = drawn.mean(axis=1) / np.maximum(drawn.std(axis=1, ddof=1), 1e-12) * drawn.shape[1] ** 0.5
    return equity[:, -1], deepest, equity.min(axis=1), ratios


def _band(values: Floats) -> Band:
    return Band(*(float(value) for value in np.quantile(values, _TAILS)))
