"""Ratios of daily returns, in empyrical's definitions and arithmetic.

Belongs here: formulas on arrays of simple returns that have an answer. Does not belong here: when there is none and why
(see `research.metrics`).

They are empyrical's numbers to the last bit (`tests/unit/research/test_ratios.py` asks it), without the library:
importing it takes 70 MB and a second, most of that for parts of scipy that no figure here needs. Where empyrical takes
its means from bottleneck, which adds in order, so do these; numpy's own `mean` adds in pairs.

Arguments are one-dimensional float arrays of finite returns, simple fractions a session, not empty; a rate is for a
session too.
"""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_START = 100.0  # what a drawdown's curve begins with


def sharpe_ratio(returns: Floats, rate: float, annualization: int) -> float:
    """Annualised mean over sample deviation of what is earned above a rate; NaN or infinite where that never varies."""
    excess = returns - rate if rate else returns
    deviation = 0.0 if excess.max() == excess.min() else _deviation(excess)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(_mean(excess), deviation) * np.sqrt(annualization))


def sortino_ratio(returns: Floats, rate: float, annualization: int) -> float:
    """Annualised mean above a rate over the annualised deviation below it; infinite where nothing is below."""
    excess = returns - rate if rate else returns
    below = math.sqrt(_mean(np.square(np.minimum(excess, 0.0)))) * math.sqrt(annualization)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(_mean(excess) * annualization, below))


def annual_volatility(returns: Floats, annualization: int) -> float:
    """Sample deviation times the root of the sessions a year; two returns or more."""
    return _deviation(returns) * float(annualization**0.5)


def annual_return(returns: Floats, annualization: int) -> float:
    """Compound return a year."""
    return float(np.prod(returns + 1.0) ** (1 / (len(returns) / annualization)) - 1)


def max_drawdown(returns: Floats) -> float:
    """The deepest fall from a peak, a negative fraction of it; 0.0 where there was none."""
    curve = np.empty(len(returns) + 1)
    curve[0] = _START
    curve[1:] = np.cumprod(returns + 1.0) * _START
    peaks = np.fmax.accumulate(curve)
    return float(((curve - peaks) / peaks)[1:].min())


def value_at_risk(returns: Floats, cutoff: float = 0.05) -> float:
    """The return that a fraction of sessions is below."""
    return float(np.percentile(returns, 100 * cutoff))


def conditional_value_at_risk(returns: Floats, cutoff: float = 0.05) -> float:
    """Mean of that fraction of the worst sessions."""
    last = int((len(returns) - 1) * cutoff)
    return float(np.mean(np.partition(returns, last)[: last + 1]))


def tail_ratio(returns: Floats) -> float:
    """The 95th percentile over the 5th, without their signs."""
    return float(np.abs(np.percentile(returns, 95)) / np.abs(np.percentile(returns, 5)))


def alpha_beta(returns: Floats, market: Floats, rate: float, annualization: int) -> tuple[float, float]:
    """Annualised alpha, and beta, of returns on those of a market on the same sessions; NaN where it never moves."""
    away = market - _mean(market)
    variance = _mean(np.square(away))
    beta = _mean(away * returns) / variance if variance >= 1e-30 else math.nan
    ours, theirs = (returns - rate, market - rate) if rate else (returns, market)
    return float(np.power(_mean(ours - beta * theirs) + 1.0, annualization)) - 1.0, beta


def _mean(values: Floats) -> float:
    """Added in order."""
    return float(np.cumsum(values)[-1] / len(values))


def _deviation(values: Floats) -> float:
    """Of a sample, added in order."""
    return math.sqrt(float(np.cumsum(np.square(values - _mean(values)))[-1]) / (len(values) - 1))
