"""Resampling of returns that keeps their dependence over time.

Belongs here: the stationary bootstrap of Politis and Romano (1994) and its block length by Politis and White (2004),
corrected by Patton, Politis and White (2009). Does not belong here: what is tested with it.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from research.overfitting.sharpe import Floats

_FLAT = 1e-12


def block_length(series: Floats) -> float:
    """Expected length of blocks for the mean of a series, at least 1 and at most a third of it."""
    count = len(series)
    if count < 8:
        return 1.0
    centred = series - series.mean()
    if float(np.abs(centred).max()) <= _FLAT * float(np.abs(series).max()):
        return 1.0
    reach = max(5, int(np.ceil(np.sqrt(np.log10(count)))))
    most = int(np.ceil(np.sqrt(count))) + reach
    covariances = np.array([centred[lag:] @ centred[: count - lag] / count for lag in range(min(most, count - 1) + 1)])
    correlations = covariances / covariances[0]
    lags = _bandwidth(correlations, 2.0 * np.sqrt(np.log10(count) / count), reach)
    at = np.arange(1, lags + 1)
    weights = np.minimum(1.0, 2.0 * (1.0 - at / lags)) if lags > 1 else np.array([1.0])
    # of correlations instead of covariances: only their quotient counts, and it then knows no scale
    spectrum = 1.0 + 2.0 * float(weights @ correlations[1 : lags + 1])
    slope = 2.0 * float((weights * at) @ correlations[1 : lags + 1])
    longest = float(np.ceil(min(3.0 * np.sqrt(count), count / 3.0)))
    if abs(spectrum) < _FLAT:
        return longest
    return float(min(max((slope / spectrum) ** 2 * count, 1.0) ** (1.0 / 3.0), longest))


def _bandwidth(correlations: Floats, bound: float, reach: int) -> int:
    """Twice the last lag before correlations stay within the bound."""
    small = np.abs(correlations[1:]) < bound
    most = len(correlations) - 1
    for lag in range(len(small)):
        if small[lag : lag + reach].all():
            return int(min(max(2 * lag, 1), most))
    large = np.flatnonzero(~small)
    return int(min(2 * (int(large[-1]) + 1), most))


def resampled_rows(
    count: int, block: float, samples: int, generator: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """Indices of each resample: blocks of geometric length with mean `block`, wrapped around the end."""
    for _ in range(samples):
        begins = generator.random(count) < 1.0 / block
        begins[0] = True
        starts = generator.integers(0, count, int(begins.sum()))
        which = np.cumsum(begins) - 1
        since = np.arange(count) - np.flatnonzero(begins)[which]
        yield (starts[which] + since) % count
