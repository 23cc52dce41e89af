"""How many different bets a set of trials amounts to.

Belongs here: grouping trials by the correlation of their returns, the effective number of trials, the variance of
Sharpe ratios between groups. Does not belong here: what follows from the number (see `sharpe`).

A grid of averages is a few bets tried hundreds of times. Trials are merged, nearest first, by average linkage on the
distance sqrt((1 - correlation) / 2), and the number of groups is the one whose members fit theirs best by the
t-statistic of the silhouettes: the base step of Lopez de Prado and Lewis, "Detection of False Investment Strategies
Using Unsupervised Learning Methods" (2019), with a deterministic linkage in the place of k-means.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from research.overfitting.sharpe import Floats, sharpe_ratios

_MOST = 500
"""Trials that are grouped; of more, every k-th in the order of their ratios, which keeps the range of bets."""
_GROUPS = 30
_FLAT = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Groups of trials.

    Attributes:
        labels: group of each trial that was grouped.
        rows: which trials those are.
        count: groups.
        variance: of the Sharpe ratios a period of the groups' average returns; 0 where there is one group.
    """

    labels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    count: int
    variance: float


def cluster_trials(returns: Floats) -> Clusters:
    """Group the rows of `returns` (trials x periods); rows that do not vary are left out."""
    ratios = sharpe_ratios(returns)
    rows = np.flatnonzero(np.isfinite(ratios))
    if len(rows) > _MOST:
        ordered = rows[np.argsort(ratios[rows], kind="stable")]
        rows = np.sort(ordered[np.linspace(0, len(ordered) - 1, _MOST).astype(int)])
    if len(rows) < 3:
        return Clusters(np.arange(len(rows)), rows, len(rows), _variance(returns[rows], np.arange(len(rows))))
    labels = _best_labels(_distances(returns[rows]))
    return Clusters(labels, rows, int(labels.max()) + 1, _variance(returns[rows], labels))


def _distances(returns: Floats) -> Floats:
    correlation = np.clip(np.corrcoef(returns), -1.0, 1.0)
    distance: Floats = np.sqrt((1.0 - correlation) / 2.0)
    distance[distance < 1e-7] = 0.0  # rounding of identical rows
    np.fill_diagonal(distance, 0.0)
    return distance


def _best_labels(distance: Floats) -> npt.NDArray[np.int64]:
    """The grouping whose members fit best; one group where every two trials are the same."""
    from scipy.cluster.hierarchy import fcluster, linkage  # noqa: PLC0415 (slow to load)
    from scipy.spatial.distance import squareform  # noqa: PLC0415

    count = len(distance)
    alone = np.zeros(count, dtype=np.int64)
    if distance.max() < _FLAT:
        return alone
    tree = linkage(squareform(distance, checks=False), method="average")
    best, best_fit = alone, -np.inf
    for groups in range(2, min(_GROUPS, count - 1) + 1):
        labels = fcluster(tree, groups, criterion="maxclust").astype(np.int64) - 1
        if labels.max() == 0:
            continue
        fits = _silhouettes(distance, labels)
        spread = float(fits.std())
        fit = float(fits.mean()) / spread if spread > _FLAT else float(fits.mean()) / _FLAT
        if fit > best_fit:
            best, best_fit = labels, fit
    return best


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


def _variance(returns: Floats, labels: npt.NDArray[np.int64]) -> float:
    groups = int(labels.max()) + 1 if len(labels) else 0
    if groups < 2:
        return 0.0
    means = np.array([returns[labels == group].mean(axis=0) for group in range(groups)])
    ratios = sharpe_ratios(means)
    known = ratios[np.isfinite(ratios)]
    return float(np.var(known, ddof=1)) if len(known) > 1 else 0.0
