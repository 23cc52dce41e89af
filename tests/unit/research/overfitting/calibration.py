"""How often the statistics pass worthless and worthy sets of trials.

Belongs here: made-up returns and the rates over many seeds, for the test beside it and for the soak. Does not belong
here: bounds that a rate must keep.
"""

from dataclasses import dataclass

import numpy as np

from research.overfitting import (
    deflated_sharpe,
    moments,
    probabilistic_sharpe,
    probability_of_overfitting,
    sharpe_ratios,
    superior_ability,
)


@dataclass(frozen=True)
class Rates:
    """Shares of the seeds, but for `overfitting`, which is a mean.

    Attributes:
        psr: the best trial's probabilistic Sharpe ratio is above 95 %.
        dsr: its deflated Sharpe ratio is.
        overfitting: mean probability of backtest overfitting.
        pbo: it is below 20 %.
        spa: Hansen's p-value is below 5 %.
        white: White's is.
        all_pass: no check of the three would fail at its default limit (DSR 90 %, PBO 50 %, SPA 10 %).
    """

    psr: float
    dsr: float
    overfitting: float
    pbo: float
    spa: float
    white: float
    all_pass: float


def returns_of(seed: int, trials: int, periods: int, *, edge: float, calm: bool) -> np.ndarray:
    """Daily returns of independent trials with fat tails; the first has an annual Sharpe ratio of `edge`.

    Without `calm` volatility comes in clusters that all trials share, as markets have them.
    """
    generator = np.random.default_rng(seed)
    shocks = generator.standard_t(5, (trials, periods)) / np.sqrt(5 / 3)
    if not calm:
        weather = np.zeros(periods)
        drawn = generator.normal(0.0, 0.15, periods)
        for day in range(1, periods):
            weather[day] = 0.97 * weather[day - 1] + drawn[day]
        shocks *= np.exp(weather - np.var(weather))
        shocks /= shocks.std()
    returns = 0.01 * shocks
    returns[0] += edge * returns[0].std() / np.sqrt(252)
    return returns


def rates(
    seeds: range, *, trials: int = 50, periods: int = 2_520, edge: float = 0.0, calm: bool = True, samples: int = 300
) -> Rates:
    """Over many seeds."""
    rows = [_judged(returns_of(seed, trials, periods, edge=edge, calm=calm), seed, samples) for seed in seeds]
    psr, dsr, pbo, spa, white = (np.array(column) for column in zip(*rows, strict=True))
    passed = (dsr >= 0.9) & (pbo <= 0.5) & (spa <= 0.1)
    return Rates(
        *(float(np.mean(one)) for one in (psr > 0.95, dsr > 0.95, pbo, pbo < 0.2, spa < 0.05, white < 0.05, passed))
    )


def _judged(returns: np.ndarray, seed: int, samples: int) -> tuple[float, ...]:
    ratios = sharpe_ratios(returns)
    best = moments(returns[int(ratios.argmax())])
    tested = superior_ability(returns, samples=samples, seed=seed)
    return (
        probabilistic_sharpe(best), deflated_sharpe(best, len(returns), float(ratios.var(ddof=1))),
        probability_of_overfitting(returns).probability, tested.spa, tested.reality_check,
    )  # fmt: skip
