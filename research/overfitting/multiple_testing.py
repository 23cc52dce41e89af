"""Whether the best of many trials beats a benchmark by more than the luck of having tried many.

Belongs here: the reality check of White (2000) and the test for superior predictive ability of Hansen (2005), both by
the stationary bootstrap. Does not belong here: resampling itself (see `bootstrap`).

Every trial takes part. To test the best of a thousand trials among a part of them is to forget the luck of the others:
of two thousand worthless trials of which five hundred were kept with the best, one in three was found superior at 5 %.
"""

from dataclasses import dataclass

import numpy as np

from research.errors import StatisticsError
from research.measured import Missing
from research.overfitting.bootstrap import block_length, resampled_rows
from research.overfitting.sharpe import Floats
from research.overfitting.trials import checked_samples, checked_trials, in_chunks

_FLAT = 1e-12


@dataclass(frozen=True, slots=True)
class Superiority:
    """Chance of so good a best trial if none of them were better than the benchmark.

    Attributes:
        reality_check: White's p-value, which hopeless trials raise.
        spa: Hansen's consistent p-value, which they do not.
        spa_lower: its liberal bound.
        spa_upper: its conservative bound.
        block: expected length of the blocks.
        trials: how many took part: those whose returns vary.
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
    """Test the best of many trials against a benchmark.

    Work grows with trials x periods x samples, a product of matrices: 2,000 trials of 3,270 days take a few seconds.

    Args:
        returns: simple, trials x periods.
        benchmark: its returns in the same periods; zero when not given.
        samples: resamples; the p-values are multiples of one over their number.
        seed: makes it repeatable.

    Raises:
        StatisticsError: returns are no matrix of numbers, the benchmark is of other periods, or samples are none.
    """
    excess = _excess(checked_trials(returns), benchmark)
    count, periods = excess.shape
    if not count or periods < 30:
        return Missing("no trial's returns vary" if periods >= 30 else f"{periods} daily returns are too few")
    block = block_length(excess[int((excess.mean(axis=1) / excess.std(axis=1)).argmax())])
    counts = _counts(periods, block, checked_samples(samples), np.random.default_rng(seed))
    parts = [_part(chunk, counts, block) for chunk in in_chunks(excess)]
    # of all trials the best is the best of the parts' best
    reached = {name: max(part[0][name] for part in parts) for name in parts[0][0]}
    drawn = {name: np.max([part[1][name] for part in parts], axis=0) for name in parts[0][1]}
    spa = {name: _p_value(drawn[name], reached["scaled"]) for name in ("lower", "consistent", "upper")}
    white = float(np.mean(drawn["white"] >= reached["white"]))
    return Superiority(white, spa["consistent"], spa["lower"], spa["upper"], block, count)


def _excess(returns: Floats, benchmark: Floats | None) -> Floats:
    """Of the trials that differ from the benchmark at all."""
    if benchmark is not None and benchmark.shape != returns.shape[1:]:
        raise StatisticsError(
            f"benchmark: its shape {benchmark.shape} is not that of the {returns.shape[1]} periods of the trials."
        )
    excess = returns if benchmark is None else returns - benchmark
    if not np.isfinite(excess).all():
        raise StatisticsError("benchmark: one of its returns is no number.")
    varying: Floats = excess[np.std(excess, axis=1) > _FLAT]
    return varying


def _counts(periods: int, block: float, samples: int, generator: np.random.Generator) -> Floats:
    """How often each resample draws each period: its means are then one product of matrices."""
    rows = resampled_rows(periods, block, samples, generator)
    return np.array([np.bincount(row, minlength=periods) for row in rows], dtype=float)


def _part(excess: Floats, counts: Floats, block: float) -> tuple[dict[str, float], dict[str, Floats]]:
    """The largest statistics of some trials, as they were and in each resample."""
    periods = excess.shape[1]
    root, means = np.sqrt(periods), excess.mean(axis=1)
    spread = _spread(excess - means[:, None], block)
    drawn = counts @ excess.T / periods
    hopeless = means < -spread / root * np.sqrt(2.0 * np.log(np.log(periods)))
    centres = {"lower": np.maximum(means, 0.0), "consistent": np.where(hopeless, 0.0, means), "upper": means}
    largest = {name: (root * (drawn - centre) / spread).max(axis=1) for name, centre in centres.items()}
    reached = {"white": float(root * means.max()), "scaled": float((root * means / spread).max())}
    return reached, {**largest, "white": (root * (drawn - means)).max(axis=1)}


def _spread(centred: Floats, block: float) -> Floats:
    """Deviation of sqrt(periods) x mean under the stationary bootstrap, exactly: Politis and Romano (1994), lemma 1.

    Taken from the resamples instead it has an error of its own, which the best of many trials picks.
    """
    periods = centred.shape[1]
    lags = np.arange(1, periods)
    keeps = 1.0 - 1.0 / block
    weights = (1.0 - lags / periods) * keeps**lags + lags / periods * keeps ** (periods - lags)
    spectrum = np.fft.rfft(centred, 2 * periods, axis=1)  # padded, so that the end does not meet the beginning
    covariances = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :periods] / periods
    variance = covariances[:, 0] + 2.0 * covariances[:, 1:] @ weights
    spread: Floats = np.sqrt(np.maximum(variance, _FLAT**2))
    return spread


def _p_value(largest: Floats, reached: float) -> float:
    return float(np.mean(np.maximum(largest, 0.0) >= reached)) if reached > 0.0 else 1.0
