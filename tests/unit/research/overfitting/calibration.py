"""How often the statistics pass worthless and worthy sets of trials.

Belongs here: made-up returns and the rates over many seeds, for the test beside it and for the soak. Does not belong
here: bounds that a rate must keep.
"""

from dataclasses import dataclass

import numpy as np

from research.overfitting import (
    cluster_trials,
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


@dataclass(frozen=True)
class Worthless:
    """What is made of trials without an edge, by how many there are and how alike: shares of the seeds.

    Attributes:
        effective: mean effective number of trials.
        dsr: the deflated Sharpe ratio of the best one is above 95 %.
        dsr_effective: so is that by the effective number of trials.
        spa: Hansen's p-value is below 5 %.
        white: White's is.
    """

    effective: float
    dsr: float
    dsr_effective: float
    spa: float
    white: float


def worthless(seeds: range, *, bets: int, copies: int, periods: int = 1_000, samples: int = 500) -> Worthless:
    """Over many seeds: `copies` trials each of independent bets, which share 80 % of their variance."""
    rows = [_measured(_alike(seed, bets, copies, periods), seed, samples) for seed in seeds]
    effective, *shares = (np.array(column) for column in zip(*rows, strict=True))
    return Worthless(float(effective.mean()), *(float(share.mean()) for share in shares))


def _alike(seed: int, bets: int, copies: int, periods: int) -> np.ndarray:
    """Fat tails, and volatility in clusters that all trials share."""
    shared = returns_of(seed, bets, periods, edge=0.0, calm=False)
    own = returns_of(seed + 10**6, bets * copies, periods, edge=0.0, calm=False)
    return np.repeat(shared, copies, axis=0) * 0.8**0.5 + own * 0.2**0.5 if copies > 1 else shared


def _measured(returns: np.ndarray, seed: int, samples: int) -> tuple[float, ...]:
    ratios, bets = sharpe_ratios(returns), cluster_trials(returns)
    best = moments(returns[int(ratios.argmax())])
    # the seed of the data must not be that of the resamples: they would be drawn from the same stream
    tested = superior_ability(returns, samples=samples, seed=seed + 10**9)
    return (
        bets.count,
        deflated_sharpe(best, len(returns), float(ratios.var(ddof=1))) > 0.95,
        deflated_sharpe(best, bets.count, bets.variance) > 0.95,
        tested.spa < 0.05,
        tested.reality_check < 0.05,
    )
