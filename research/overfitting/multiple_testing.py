"""Whether the best of many trials beats a benchmark by more than the luck of having tried many.

Belongs here: the reality check of White (2000) and the test for superior predictive ability of Hansen (2005), both by
the stationary bootstrap. Does not belong here: resampling itself (see `bootstrap`).
"""

from dataclasses import dataclass

import numpy as np

from research.measured import Missing
from research.overfitting.bootstrap import block_length, resampled_rows
from research.overfitting.sharpe import Floats

_FLAT = 1e-12
_MOST_TRIALS = 500


@dataclass(frozen=True, slots=True)
class Superiority:
    """Chance of so good a best trial if none of them were better than the benchmark.

    Attributes:
        reality_check: White's p-value, which hopeless trials raise.
        spa: Hansen's consistent p-value, which they do not.
        spa_lower: its liberal bound.
        spa_upper: its conservative bound.
        block: expected length of the blocks.
        trials: how many took part.
    """

    reality_check: float
    spa: float
    spa_lower: float
    spa_upper: float
    block: float
    trials: int


def superior_ability(
    returns: Floats, benchmark: Floats | None = None, *, samples: int = 1000, seed: int = 0
) -> Superiority | Missing:
    """Test the best of the rows of `returns` (trials x periods) against a benchmark's returns, zero when not given.

    Of more than five hundred trials, the best and evenly spaced others take part: near copies of each other add nothing
    to the maximum.
    """
    excess = returns if benchmark is None else returns - benchmark
    excess = excess[np.std(excess, axis=1) > _FLAT]
    count, periods = excess.shape
    if not count or periods < 30:
        return Missing("no trial's returns vary" if periods >= 30 else f"{periods} daily returns are too few")
    excess = _chosen(excess)
    means = excess.mean(axis=1)
    block = block_length(excess[int(means.argmax())])
    generator = np.random.default_rng(seed)
    rows = list(resampled_rows(periods, block, samples, generator))
    drawn = np.array([excess[:, row].mean(axis=1) for row in rows]) if count * periods < 2e6 else _means(excess, rows)
    root = np.sqrt(periods)
    spread = np.maximum(root * drawn.std(axis=0), _FLAT)
    best, scaled = root * means.max(), max(0.0, float((root * means / spread).max()))
    white = float(np.mean((root * (drawn - means)).max(axis=1) >= best))
    hopeless = means < -spread / root * np.sqrt(2.0 * np.log(np.log(periods)))
    centres = {"lower": np.maximum(means, 0.0), "consistent": np.where(hopeless, 0.0, means), "upper": means}
    p = {name: _p_value(drawn, centre, spread, root, scaled) for name, centre in centres.items()}
    return Superiority(white, p["consistent"], p["lower"], p["upper"], block, len(excess))


def _p_value(drawn: Floats, centre: Floats, spread: Floats, root: float, reached: float) -> float:
    largest = np.maximum((root * (drawn - centre) / spread).max(axis=1), 0.0)
    return float(np.mean(largest >= reached)) if reached > 0.0 else 1.0


def _means(excess: Floats, rows: list[np.ndarray]) -> Floats:
    """Means of the resamples by counting how often each period was drawn: one product of matrices."""
    periods = excess.shape[1]
    counts = np.array([np.bincount(row, minlength=periods) for row in rows], dtype=float)
    means: Floats = counts @ excess.T / periods
    return means


def _chosen(excess: Floats) -> Floats:
    if len(excess) <= _MOST_TRIALS:
        return excess
    order = np.argsort(excess.mean(axis=1), kind="stable")
    chosen: Floats = excess[np.sort(order[np.linspace(0, len(order) - 1, _MOST_TRIALS).astype(int)])]
    return chosen
