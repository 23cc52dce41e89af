"""How many different bets a set of trials amounts to.

Belongs here: grouping trials by the correlation of their returns, the effective number of trials, the variance of
Sharpe ratios between groups. Does not belong here: what follows from the number (see `sharpe`).

A grid of averages is a few bets tried hundreds of times. Trials are merged, nearest first, by average linkage on the
distance sqrt((1 - correlation) / 2), and the number of groups is the one whose members fit theirs best by the
t-statistic of the silhouettes: the base step of Lopez de Prado and Lewis, "Detection of False Investment Strategies
Using Unsupervised Learning Methods" (2019), with a deterministic linkage in the place of k-means.

A t-statistic is best somewhere even among trials that have nothing to do with each other. Groups whose members fit them
no better than 0.25 on average are therefore none ("no substantial structure": Kaufman and Rousseeuw, "Finding Groups in
Data", 1990), and every trial is a bet of its own. Where all trials share one correlation that is right as well: what
they share is no longer in the variance of their ratios.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from research.overfitting.sharpe import Floats, sharpe_ratios
from research.overfitting.trials import checked_trials

_MOST = 500
"""Trials that are grouped; of more, every k-th in the order of their ratios, which keeps the range of bets."""
_EACH = 30
"""Numbers of groups up to this one are all looked at, larger ones in steps of a tenth."""
_STRUCTURE = 0.25
"""Mean silhouette below which groups are no groups."""
_FLAT = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Groups of trials.

    Attributes:
        labels: group of each trial that was grouped.
        rows: which trials those are.
        count: groups: the effective number of trials. Where there are none, all trials whose returns vary, those that
            were not grouped included.
        variance: of the Sharpe ratios a period of the groups' returns, each the average of its members at the same
            risk; 0 where there is one group.
        fit: mean silhouette, -1 to 1; 0 where there are no groups.
    """

    labels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    count: int
    variance: float
    fit: float


def cluster_trials(returns: Floats) -> Clusters:
    """Group trials by what moves together.

    Work grows with the square of the trials that are grouped, 500 at most: half a second for any number of them.

    Args:
        returns: simple, trials x periods; trials that do not vary are left out.

    Raises:
        StatisticsError: returns are no matrix of numbers.
    """
    ratios = sharpe_ratios(checked_trials(returns))
    varying = np.flatnonzero(np.isfinite(ratios))
    rows = _sampled(varying, ratios)
    labels, fit = _best_labels(_distances(returns[rows])) if len(rows) > 1 else (np.arange(len(rows)), 0.0)
    if len(rows) and labels.max() + 1 == len(rows):
        return Clusters(labels, rows, len(varying), _variance(ratios[varying]), fit)
    return Clusters(labels, rows, int(labels.max(initial=-1)) + 1, _variance(_ratios(returns[rows], labels)), fit)


def _sampled(varying: npt.NDArray[np.int64], ratios: Floats) -> npt.NDArray[np.int64]:
    if len(varying) <= _MOST:
        return varying
    ordered = varying[np.argsort(ratios[varying], kind="stable")]
    return np.sort(ordered[np.linspace(0, len(ordered) - 1, _MOST).astype(int)])


def _distances(returns: Floats) -> Floats:
    correlation = np.clip(np.corrcoef(returns), -1.0, 1.0)
    distance: Floats = np.sqrt((1.0 - correlation) / 2.0)
    distance[distance < 1e-7] = 0.0  # rounding of identical rows
    np.fill_diagonal(distance, 0.0)
    return distance


def _best_labels(distance: Floats) -> tuple[npt.NDArray[np.int64], float]:
    """The grouping whose members fit best, and how well they do.

    One group where every two trials are the same, and a group for each trial where there is no structure.
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # noqa: PLC0415 (slow to load)
    from scipy.spatial.distance import squareform  # noqa: PLC0415

    count = len(distance)
    if distance.max() < _FLAT:
        return np.zeros(count, dtype=np.int64), 1.0
    tree = linkage(squareform(distance, checks=False), method="average")
    best, best_sureness, best_fit = np.arange(count), -np.inf, 0.0
    for groups in _candidates(count):
        labels = fcluster(tree, groups, criterion="maxclust").astype(np.int64) - 1
        if labels.max() == 0:
            continue
        fits = _silhouettes(distance, labels)
        fit, sureness = float(fits.mean()), float(fits.mean()) / max(float(fits.std()), _FLAT)
        if fit >= _STRUCTURE and sureness > best_sureness:
            best, best_sureness, best_fit = labels, sureness, fit
    return best, best_fit


def _candidates(count: int) -> list[int]:
    """Numbers of groups of that many trials, less than one each."""
    larger = [int(_EACH * 1.1**step) for step in range(1, 100)]
    return [groups for groups in (*range(2, _EACH + 1), *larger) if groups < count]


def _silhouettes(distance: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    """How much nearer each trial is to its own group than to the next one, from -1 to 1; Rousseeuw (1987)."""
    groups = int(labels.max()) + 1
    member = np.zeros((len(labels), groups))
    member[np.arange(len(labels)), labels] = 1.0
    sizes = member.sum(axis=0)
    sums = distance @ member
    own = sums[np.arange(len(labels)), labels] / np.maximum(sizes[labels] - 1.0, 1.0)
    means = sums / sizes
    means[np.arange(len(labels)), labels] = np.inf
    nearest = means.min(axis=1)
    widest = np.maximum(np.maximum(own, nearest), _FLAT)
    fits: Floats = np.where(sizes[labels] > 1, (nearest - own) / widest, 0.0)
    return fits


def _ratios(returns: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    """Sharpe ratio a period of each group, its members at the same risk: leverage must not decide what it earns."""
    weights = 1.0 / returns.std(axis=1)
    members = [labels == group for group in range(int(labels.max(initial=-1)) + 1)]
    groups = [weights[own] @ returns[own] / weights[own].sum() for own in members]
    return sharpe_ratios(np.array(groups).reshape(len(groups), returns.shape[1]))


def _variance(ratios: Floats) -> float:
    known = ratios[np.isfinite(ratios)]
    return float(np.var(known, ddof=1)) if len(known) > 1 else 0.0
