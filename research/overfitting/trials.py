"""What the statistics of many trials take: a matrix of returns, a number of samples.

Belongs here: refusing input that would give a figure which means nothing. Does not belong here: figures that cannot be
computed from good input, which are `research.measured.Missing`.
"""

from collections.abc import Iterator

import numpy as np

from research.errors import StatisticsError
from research.overfitting.sharpe import Floats

_CHUNK = 500


def checked_trials(returns: Floats) -> Floats:
    """Simple returns, trials x periods, all of them numbers.

    Raises:
        StatisticsError: the array is no such matrix, or a return is no number: select trials that are whole.
    """
    if returns.ndim != 2:
        raise StatisticsError(f"returns: trials x periods are needed, not an array of shape {returns.shape}.")
    whole = np.isfinite(returns).all(axis=1)
    if not whole.all():
        raise StatisticsError(f"returns: trial {int(np.argmin(whole))} has a return that is no number.")
    return returns


def checked_samples(samples: int) -> int:
    """How many resamples are drawn.

    Raises:
        StatisticsError: fewer than one.
    """
    if samples < 1:
        raise StatisticsError(f"samples: {samples} must be at least 1.")
    return samples


def in_chunks(returns: Floats) -> Iterator[Floats]:
    """Some hundred trials at a time: what is computed of tens of thousands must not be held in memory at once."""
    for first in range(0, len(returns), _CHUNK):
        yield returns[first : first + _CHUNK]
