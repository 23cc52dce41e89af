"""Deviations from an average, equal to Backtrader's bit for bit.

Belongs here: standard deviation, bands of it, scores in it. Does not belong here: averages (see `averages`).
"""

from typing import NamedTuple

import numpy as np

from strategies.indicators.averages import accept, mean_from
from strategies.indicators.columns import Floats, check_period, not_ready, read_only, warm_up
from strategies.indicators.recursions import fill_powers


class Bands(NamedTuple):
    """A middle line and one on each side of it."""

    mid: Floats
    top: Floats
    bot: Floats


def stddev(values: Floats, period: int) -> Floats:
    """Standard deviation (divided by n), `bt.ind.StdDev` with its `safepow`; the first value is at `period - 1`.

    It is the root of the absolute difference between the mean of squares and the square of the mean.

    Args:
        values: one a bar, oldest first; leading NaN are warm-up.
        period: bars in a window.

    Raises:
        StrategyError: the period is less than 1, or a square is too large.
    """
    column, span = read_only(values), check_period("period", period)
    begin = warm_up(column)
    return _deviation(column, mean_from(column, begin, span), begin, span)


@np.errstate(all="ignore")
def bollinger(values: Floats, period: int, width: float = 2.0) -> Bands:
    """Bollinger bands, `bt.ind.BollingerBands`; the first values are at index `period - 1`.

    Args:
        values: one a bar, oldest first; leading NaN are warm-up.
        period: bars in the average and in the deviation.
        width: distance of the bands from the average, in standard deviations.

    Raises:
        StrategyError: as `stddev`.
    """
    column, span = read_only(values), check_period("period", period)
    begin = warm_up(column)
    mid = mean_from(column, begin, span)
    distance = width * _deviation(column, mid, begin, span)
    return Bands(mid, mid + distance, mid - distance)


@np.errstate(all="ignore")
def zscore(values: Floats, period: int) -> Floats:
    """Distance from the simple average in standard deviations (divided by n), 0 where nothing moves.

    The first value is at index `period - 1`.

    Raises:
        StrategyError: as `stddev`.
    """
    column, span = read_only(values), check_period("period", period)
    begin = warm_up(column)
    mean = mean_from(column, begin, span)
    return divided(column - mean, _deviation(column, mean, begin, span), 0.0)


@np.errstate(all="ignore")
def mean_deviation(values: Floats, period: int) -> Floats:
    """Mean absolute deviation from the simple average, `bt.ind.MeanDev`; the first value is at `2 * period - 2`.

    Raises:
        StrategyError: as `stddev`.
    """
    column, span = read_only(values), check_period("period", period)
    begin = warm_up(column)
    mean = mean_from(column, begin, span)
    return mean_from(np.abs(column - mean), begin + span - 1, span)


@np.errstate(all="ignore")
def divided(numerator: Floats, denominator: Floats, zero: float) -> Floats:
    """The quotient, `zero` where the denominator is 0, NaN where it is not ready: `bt.DivByZero`."""
    return np.where(denominator != 0.0, numerator / denominator, zero)


def power(column: Floats, exponent: float, begin: int) -> Floats:
    """`column ** exponent` from index `begin` on, with the C library's rounding as Python's.

    Raises:
        StrategyError: a power is too large or complex.
    """
    result = not_ready(len(column))
    accept(fill_powers(read_only(column), exponent, begin, result))
    return result


@np.errstate(all="ignore")
def _deviation(column: Floats, mean: Floats, begin: int, period: int) -> Floats:
    squares = mean_from(power(column, 2.0, begin), begin, period)
    first = begin + period - 1
    squared = power(mean, 2.0, first)
    return power(np.abs(squares - squared), 0.5, first)
