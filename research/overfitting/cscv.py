"""How often the trial that is best on one half of history disappoints on the other.

Belongs here: the probability of backtest overfitting by combinatorially symmetric cross-validation: Bailey, Borwein,
Lopez de Prado and Zhu, "The Probability of Backtest Overfitting" (2015). Does not belong here: walk-forward.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from research.errors import StatisticsError
from research.measured import Missing
from research.overfitting.sharpe import Floats
from research.overfitting.trials import checked_trials

_FLAT = 1e-24
_EQUAL = 1e-12
_CHUNK = 1024
_MOST_TRIALS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Overfitting:
    """What the splits say.

    Attributes:
        probability: share of splits in which the best half's winner is in the worse half of the others: 0.5 is luck.
        logits: of the winner's relative rank out of sample, one a split; below 0 is the worse half.
        slope: out-of-sample over in-sample ratio of the winners, by least squares; below 0 the better it looked, the
            worse it did.
        loss: share of splits in which the winner lost money out of sample.
        splits: how many there were.
        trials: how many took part.
    """

    probability: float
    logits: Floats
    slope: float | None
    loss: float
    splits: int
    trials: int


def probability_of_overfitting(returns: Floats, parts: int = 16) -> Overfitting | Missing:
    """Cut history into parts and try every half of them against the other half.

    Trials that are equal share their mean rank, so a set of equal trials gives logits of 0, which count half: nothing
    is known. Where several are best on one half, the mean of their ratios on the other is ranked, so that the order
    of the trials does not matter. Of more than a thousand trials the best and evenly spaced others take part.

    Args:
        returns: trials x periods, simple; the oldest periods that do not fill a part are left out.
        parts: an even number; 16 gives 12,870 splits.

    Raises:
        StatisticsError: returns are no matrix of numbers, or parts are odd.
    """
    if parts < 2 or parts % 2:
        raise StatisticsError(f"parts: {parts} must be an even number, at least 2.")
    varying = checked_trials(returns)[np.std(returns, axis=1) > 1e-12]
    count, periods = varying.shape
    if count < 2:
        return Missing("fewer than 2 trials whose returns vary")
    if periods < 2 * parts:
        return Missing(f"{periods} daily returns are too few for {parts} parts")
    length = periods // parts
    blocks = _chosen(varying)[:, periods - length * parts :].reshape(-1, parts, length)
    sums, squares = blocks.sum(axis=2), (blocks**2).sum(axis=2)
    halves = _halves(parts)
    found = [_split(sums, squares, halves[at : at + _CHUNK], length) for at in range(0, len(halves), _CHUNK)]
    ranks, inside, outside = (np.concatenate(column) for column in zip(*found, strict=True))
    logits = np.log(ranks / (1.0 - ranks))
    slope = float(np.polyfit(inside, outside, 1)[0]) if np.ptp(inside) > 1e-12 else None
    probability = float(np.mean(logits < 0.0) + 0.5 * np.mean(logits == 0.0))
    return Overfitting(probability, logits, slope, float(np.mean(outside < 0.0)), len(halves), len(blocks))


def _chosen(returns: Floats) -> Floats:
    if len(returns) <= _MOST_TRIALS:
        return returns
    order = np.argsort(returns.mean(axis=1) / returns.std(axis=1), kind="stable")
    chosen: Floats = returns[np.sort(order[np.linspace(0, len(order) - 1, _MOST_TRIALS).astype(int)])]
    return chosen


@lru_cache(maxsize=4)
def _halves(parts: int) -> npt.NDArray[np.float64]:
    """Each row marks the parts of one half."""
    chosen = np.array(list(combinations(range(parts), parts // 2)))
    marks = np.zeros((len(chosen), parts))
    np.put_along_axis(marks, chosen, 1.0, axis=1)
    marks.setflags(write=False)
    return marks


def _split(sums: Floats, squares: Floats, halves: Floats, length: int) -> tuple[Floats, Floats, Floats]:
    """Relative rank of each split's winner out of sample, and its ratios inside and outside."""
    size = length * halves.shape[1] // 2
    inside = _ratios(halves @ sums.T, halves @ squares.T, size)
    outside = _ratios((1.0 - halves) @ sums.T, (1.0 - halves) @ squares.T, size)
    best = inside.max(axis=1)
    winners = inside >= best[:, None] - _EQUAL
    reached = np.einsum("ij,ij->i", winners, outside) / winners.sum(axis=1)
    below = (outside < reached[:, None] - _EQUAL).sum(axis=1)
    above = (outside > reached[:, None] + _EQUAL).sum(axis=1)
    rank = (below + outside.shape[1] - above + 1.0) / 2.0
    return rank / (outside.shape[1] + 1.0), best, reached


def _ratios(sums: Floats, squares: Floats, size: int) -> Floats:
    mean = sums / size
    variance = np.maximum(squares / size - mean**2, 0.0)
    ratios: Floats = np.where(variance > _FLAT, mean / np.sqrt(np.maximum(variance, _FLAT)), 0.0)
    return ratios
