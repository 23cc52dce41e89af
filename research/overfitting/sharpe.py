"""How sure a Sharpe ratio is, alone and as the best of many.

Belongs here: probabilistic and deflated Sharpe ratio, minimum track record. Does not belong here: how many trials there
were in truth (see `clustering`), figures of a backtest (`research.metrics`).

Ratios are per period (a day), never annualised; kurtosis is NOT in excess of 3. Sources: Bailey and Lopez de Prado,
"The Sharpe Ratio Efficient Frontier" (2012) and "The Deflated Sharpe Ratio" (2014).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from research.errors import StatisticsError
from research.measured import Figure, Missing

Floats = npt.NDArray[np.float64]

_EULER = 0.5772156649015329
_FLAT = 1e-12
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Moments:
    """What the estimate's error depends on: ratio, skewness and kurtosis of `count` returns a period."""

    sharpe: float
    skew: float
    kurtosis: float
    count: int

    @property
    def variance(self) -> float:
        """Variance of the estimated ratio, times (count - 1); Mertens (2002)."""
        return 1.0 - self.skew * self.sharpe + (self.kurtosis - 1.0) / 4.0 * self.sharpe**2


def moments(returns: Floats) -> Moments | Missing:
    """Of simple returns a period: sample deviation in the ratio, population moments elsewhere, as in the paper."""
    count = len(returns)
    if count < 2:
        return Missing("fewer than 2 daily returns")
    if not np.isfinite(returns).all():
        return Missing("a daily return is no number: equity fell to 0 or was not measured")
    spread = float(np.std(returns, ddof=1))
    if spread < _FLAT:
        return Missing("daily returns do not vary")
    centred = (returns - np.mean(returns)) / np.std(returns)
    return Moments(float(np.mean(returns)) / spread, float(np.mean(centred**3)), float(np.mean(centred**4)), count)


def probabilistic_sharpe(of: Moments, threshold: float = 0.0) -> Figure:
    """Probability that the true ratio is above `threshold`, a ratio a period.

    >>> round(probabilistic_sharpe(Moments(2.5 / 250**0.5, -3.0, 10.0, 1250), 0.1131720), 4)
    0.9004
    """
    if of.variance <= 0.0:
        return Missing("the variance of the Sharpe estimate is not positive")
    return _NORMAL.cdf((of.sharpe - threshold) * math.sqrt(of.count - 1) / math.sqrt(of.variance))


def minimum_track_record(of: Moments, threshold: float = 0.0, confidence: float = 0.95) -> Figure:
    """Periods after which a ratio like this would be above `threshold` with that confidence (2012, equation 11).

    Raises:
        StatisticsError: the confidence is not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise StatisticsError(f"confidence: {confidence} must be above 0 and below 1.")
    if of.sharpe <= threshold:
        return Missing("the ratio is not above the threshold, so no track record is long enough")
    if of.variance <= 0.0:
        return Missing("the variance of the Sharpe estimate is not positive")
    return 1.0 + of.variance * (_NORMAL.inv_cdf(confidence) / (of.sharpe - threshold)) ** 2


def expected_maximum(trials: float, variance: float) -> float:
    """The ratio a period that the best of so many worthless trials is expected to show (2014, equation 1).

    Args:
        trials: how many independent ones; 1 or fewer give 0, and so does a number so little above 1 that the formula,
            which is for many, falls below the 0 of a single one.
        variance: of the ratios across trials, a period.

    Raises:
        StatisticsError: one of them is no number, or the variance is negative.

    >>> round(expected_maximum(100, 0.5 / 250), 7)
    0.113172
    """
    if not (math.isfinite(trials) and math.isfinite(variance) and variance >= 0.0):
        raise StatisticsError(f"trials, variance: {trials} and {variance} must be numbers, the variance not below 0.")
    if trials <= 1.0:
        return 0.0
    # the lower tail, turned round: 1 - 1 / trials is rounded to 1 where trials are very many
    above = -(1.0 - _EULER) * _NORMAL.inv_cdf(1.0 / trials) - _EULER * _NORMAL.inv_cdf(1.0 / (trials * math.e))
    return math.sqrt(variance) * max(above, 0.0)


def deflated_sharpe(of: Moments, trials: float, variance: float) -> Figure:
    """Probability that the true ratio is above what the best of so many worthless trials would show (2014).

    Args:
        of: the best trial.
        trials: how many independent trials it is the best of.
        variance: of the ratios across trials, a period.

    >>> round(deflated_sharpe(Moments(2.5 / 250**0.5, -3.0, 10.0, 1250), 100, 0.5 / 250), 7)
    0.9003968
    """
    return probabilistic_sharpe(of, expected_maximum(trials, variance))


def sharpe_ratios(returns: Floats) -> Floats:
    """Ratio a period of each row (trials x periods); NaN where a row does not vary."""
    spread = np.std(returns, axis=1, ddof=1)
    flat = spread < _FLAT
    ratios: Floats = np.where(flat, np.nan, np.mean(returns, axis=1) / np.where(flat, 1.0, spread))
    return ratios
