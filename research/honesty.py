"""Statistics on all trials of a study, on its best trial, and on its parameters' neighbourhood.

Belongs here: formulas on plain arrays, each with its source. Does not belong here: reading a study (see `material`),
thresholds and sentences (see `verdict`).

Sharpe ratios here are of one session, not annualised, unless a name says otherwise. Chance is seeded.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_NORMAL = NormalDist()
_EULER = 0.5772156649015329
_FLAT = 1e-12
_CHUNK = 512


def sharpe(returns: Floats) -> Floats:
    """Of each row; 0.0 where returns do not vary."""
    spread = returns.std(axis=-1, ddof=1)
    ratio: Floats = np.where(spread > _FLAT, returns.mean(axis=-1) / np.maximum(spread, _FLAT), 0.0)
    return ratio


def moments(returns: Floats) -> tuple[float, float]:
    """Skewness and (non-excess) kurtosis; those of a normal distribution where returns do not vary."""
    away = returns - returns.mean()
    spread = math.sqrt(float(np.mean(away**2)))
    if spread <= _FLAT:
        return 0.0, 3.0
    return float(np.mean(away**3)) / spread**3, float(np.mean(away**4)) / spread**4


def probabilistic_sharpe(ratio: float, benchmark: float, count: int, skew: float, kurtosis: float) -> float:
    """Chance that the true Sharpe ratio exceeds a benchmark.

    Bailey and Lopez de Prado, "The Sharpe ratio efficient frontier", Journal of Risk 15 (2012).
    """
    spread = math.sqrt(max(1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2, _FLAT))
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt(count - 1) / spread)


def minimum_track_record(ratio: float, benchmark: float, skew: float, kurtosis: float, sure: float = 0.95) -> float:
    """Sessions until a Sharpe ratio is above a benchmark for sure (same paper); infinite where it is not above."""
    if ratio <= benchmark:
        return math.inf
    spread = 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    return 1.0 + spread * (_NORMAL.inv_cdf(sure) / (ratio - benchmark)) ** 2


def expected_best_sharpe(trials: float, variance: float) -> float:
    """The best of so many trials without any edge.

    Bailey and Lopez de Prado, "The deflated Sharpe ratio", Journal of Portfolio Management 40 (2014).
    """
    if trials <= 1.0 or variance <= 0.0:
        return 0.0
    quantile = _NORMAL.inv_cdf
    return math.sqrt(variance) * (
        (1.0 - _EULER) * quantile(1.0 - 1.0 / trials) + _EULER * quantile(1.0 - 1.0 / (trials * math.e))
    )


def effective_trials(returns: Floats, seed: int = 0) -> float:
    """How many independent trials these are worth: those of average correlation (same paper, appendix 3).

    Of many trials a sample of a thousand is taken.
    """
    rows = returns[returns.std(axis=1) > _FLAT]
    if len(rows) < 2:
        return float(len(rows))
    count = len(rows)
    if count > 1_000:
        rows = rows[np.random.default_rng(seed).choice(count, 1_000, replace=False)]
    correlation = np.corrcoef(rows)
    size = len(correlation)
    average = float((correlation.sum() - size) / (size * (size - 1)))
    return average + (1.0 - average) * count if average > 0.0 else float(count)


def overfitting_probability(returns: Floats, blocks: int = 16) -> float | None:
    """How often the best trial in one half of the sessions is below the median in the other.

    Combinatorially symmetric cross-validation: Bailey, Borwein, Lopez de Prado, Zhu, "The probability of backtest
    overfitting", Journal of Computational Finance 20 (2017). None of fewer than two trials that differ, or of too few
    sessions.
    """
    rows = np.unique(returns, axis=0)
    span = rows.shape[1] // blocks
    if len(rows) < 2 or span < 2:
        return None
    parts = rows[:, : span * blocks].reshape(len(rows), blocks, span)
    sums, squares = parts.sum(axis=2).T, (parts**2).sum(axis=2).T  # blocks x trials
    halves = np.zeros((math.comb(blocks, blocks // 2), blocks))
    for row, chosen in enumerate(itertools.combinations(range(blocks), blocks // 2)):
        halves[row, list(chosen)] = 1.0
    below, count = 0, span * blocks // 2
    for start in range(0, len(halves), _CHUNK):
        half = halves[start : start + _CHUNK]
        in_sums, in_squares = half @ sums, half @ squares
        inside = _ratios(in_sums, in_squares, count)
        outside = _ratios(sums.sum(axis=0) - in_sums, squares.sum(axis=0) - in_squares, count)
        best = inside.argmax(axis=1)
        own = outside[np.arange(len(half)), best]
        rank = (outside < own[:, None]).sum(axis=1) + 0.5 * ((outside == own[:, None]).sum(axis=1) - 1)
        below += int((rank + 1 <= (len(rows) + 1) / 2).sum())
    return below / len(halves)


def _ratios(sums: Floats, squares: Floats, count: int) -> Floats:
    variance = np.maximum(squares / count - (sums / count) ** 2, 0.0)
    ratios: Floats = np.where(variance > _FLAT**2, sums / count / np.sqrt(np.maximum(variance, _FLAT**2)), 0.0)
    return ratios


def superior_ability(returns: Floats, *, samples: int = 500, block: float = 10.0, seed: int = 0) -> float:
    """p-value of "no trial earns anything".

    Hansen, "A test for superior predictive ability", Journal of Business and Economic Statistics 23 (2005), consistent
    version; stationary bootstrap of Politis and Romano (1994).
    """
    rows = returns[returns.std(axis=1) > _FLAT]
    if not len(rows):
        return 1.0
    count = rows.shape[1]
    mean = rows.mean(axis=1)
    weights = _stationary_weights(count, samples, block, np.random.default_rng(seed))
    means = weights @ rows.T / count  # samples x trials
    spread = np.maximum(means.std(axis=0) * math.sqrt(count), _FLAT)
    observed = max(0.0, float((math.sqrt(count) * mean / spread).max()))
    kept = math.sqrt(count) * mean / spread >= -math.sqrt(2.0 * math.log(math.log(count)))
    centred = means - np.where(kept, mean, 0.0)
    best = np.maximum((math.sqrt(count) * centred / spread).max(axis=1), 0.0)
    return float((best >= observed).mean()) if observed > 0.0 else 1.0


def _stationary_weights(count: int, samples: int, block: float, generator: np.random.Generator) -> Floats:
    """How often each session is drawn in each sample."""
    weights = np.zeros((samples, count))
    for sample in range(samples):
        weights[sample] = np.bincount(_stationary(count, block, generator), minlength=count)
    return weights


def _stationary(count: int, block: float, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Sessions in blocks of random length, around the end to the beginning."""
    begins = generator.random(count) < 1.0 / block
    begins[0] = True
    first = np.flatnonzero(begins)
    starts = generator.integers(0, count, len(first))
    run = np.cumsum(begins) - 1
    drawn: npt.NDArray[np.int64] = (starts[run] + np.arange(count) - first[run]) % count
    return drawn


def resampled(returns: Floats, *, samples: int = 1_000, block: float = 1.0, seed: int = 0) -> dict[str, float]:
    """Totals and drawdowns of the same returns in other orders: the chance of a loss, and what 95 % stay above."""
    generator = np.random.default_rng(seed)
    totals, depths = np.empty(samples), np.empty(samples)
    for sample in range(samples):
        curve = np.cumprod(1.0 + returns[_stationary(len(returns), block, generator)])
        totals[sample] = curve[-1] - 1.0
        depths[sample] = (curve / np.maximum(np.maximum.accumulate(curve), 1.0) - 1.0).min()
    return {
        "chance_of_loss": float((totals <= 0.0).mean()),
        "total_return_5": float(np.quantile(totals, 0.05)),
        "total_return_50": float(np.quantile(totals, 0.5)),
        "max_drawdown_50": float(np.quantile(depths, 0.5)),
        "max_drawdown_95": float(np.quantile(depths, 0.05)),
    }


def neighbours(params: Sequence[Mapping[str, Any]], values: Floats, best: int, most: int = 8) -> Floats:
    """Values of the trials nearest to the best one, in units of each parameter's range; another word is far."""
    away = np.zeros(len(params))
    for name, value in params[best].items():
        away += _distances([point.get(name) for point in params], value)
    same = np.array([point == params[best] for point in params])
    order = [row for row in np.argsort(away, kind="stable") if not same[row] and np.isfinite(values[row])]
    found: Floats = values[order[:most]]
    return found


def _distances(points: Sequence[Any], value: object) -> Floats:
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in points):
        numbers = np.array(points, dtype=float)
        apart: Floats = np.abs(numbers - numbers[points.index(value)]) / max(np.ptp(numbers), _FLAT)
        return apart
    return np.array([float(one != value) for one in points])
