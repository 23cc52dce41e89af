"""Averages of a column, equal to Backtrader's bit for bit.

Belongs here: moving averages. Does not belong here: deviations from them (see `deviations`), the loops (see `windows`,
`recursions`).

Leading NaN of an input are the warm-up of what made it: an average begins behind them. NaN elsewhere count as in
Backtrader.
"""

import numpy as np

from strategies.errors import StrategyError
from strategies.indicators.columns import Floats, check_period, not_ready, read_only, warm_up
from strategies.indicators.recursions import fill_smoothed
from strategies.indicators.windows import fill_sums, fill_weighted


def sma(values: Floats, period: int) -> Floats:
    """Simple moving average, `bt.ind.SMA`; the first value is at index `period - 1`.

    Each is the correctly rounded sum of its window divided by `period`, as `math.fsum(window) / period`.

    Args:
        values: one a bar, oldest first.
        period: bars in a window.

    Raises:
        StrategyError: the period is less than 1, or a window's sum is too large or of infinities of both signs.
    """
    column = read_only(values)
    return mean_from(column, warm_up(column), check_period("period", period))


def ema(values: Floats, period: int) -> Floats:
    """Exponential moving average, `bt.ind.EMA`; the first value, at index `period - 1`, is the simple average.

    Args:
        values: one a bar, oldest first.
        period: bars; the newest value weighs `2 / (1 + period)`.

    Raises:
        StrategyError: as `sma`.
    """
    column = read_only(values)
    return exponential_from(column, warm_up(column), check_period("period", period))


def wilder(values: Floats, period: int) -> Floats:
    """Wilder's average, `bt.ind.SmoothedMovingAverage`; the first value, at index `period - 1`, is the simple average.

    Args:
        values: one a bar, oldest first.
        period: bars; the newest value weighs `1 / period`.

    Raises:
        StrategyError: as `sma`.
    """
    column = read_only(values)
    return wilder_from(column, warm_up(column), check_period("period", period))


def wma(values: Floats, period: int) -> Floats:
    """Linearly weighted moving average, `bt.ind.WMA`; the first value is at index `period - 1`.

    Raises:
        StrategyError: as `sma`.
    """
    column = read_only(values)
    return weighted_from(column, warm_up(column), check_period("period", period))


@np.errstate(all="ignore")
def dema(values: Floats, period: int) -> Floats:
    """Mulloy's double exponential average, `bt.ind.DEMA`; the first value is at index `2 * period - 2`.

    Raises:
        StrategyError: as `sma`.
    """
    column, span = read_only(values), check_period("period", period)
    begin = warm_up(column)
    once = exponential_from(column, begin, span)
    twice = exponential_from(once, begin + span - 1, span)
    return 2.0 * once - twice


@np.errstate(all="ignore")
def tema(values: Floats, period: int) -> Floats:
    """Mulloy's triple exponential average, `bt.ind.TEMA`; the first value is at index `3 * period - 3`.

    Raises:
        StrategyError: as `sma`.
    """
    column, span = read_only(values), check_period("period", period)
    begin = warm_up(column)
    once = exponential_from(column, begin, span)
    twice = exponential_from(once, begin + span - 1, span)
    thrice = exponential_from(twice, begin + 2 * (span - 1), span)
    return 3.0 * once - 3.0 * twice + thrice


@np.errstate(all="ignore")
def hma(values: Floats, period: int) -> Floats:
    """Hull's moving average, `bt.ind.HMA`; the first value is at index `period + int(period**0.5) - 2`.

    Args:
        values: one a bar, oldest first.
        period: bars, at least 2.

    Raises:
        StrategyError: as `sma`.
    """
    column, span = read_only(values), check_period("period", period)
    begin = warm_up(column)
    half = weighted_from(column, begin, check_period("half of period", span // 2))
    whole = weighted_from(column, begin, span)
    return weighted_from(2.0 * half - whole, begin + span - 1, int(span**0.5))


# ---------------------------------------------------------------- averages of columns whose warm-up is known


def mean_from(column: Floats, begin: int, period: int) -> Floats:
    """`sma` of a column whose first value is at `begin`, also where that is NaN."""
    column, result = read_only(column), not_ready(len(column))
    accept(fill_sums(column, begin + period - 1, period, float(period), result))
    return result


def exponential_from(column: Floats, begin: int, period: int) -> Floats:
    """`ema` of a column whose first value is at `begin`, also where that is NaN."""
    return _smoothed_from(column, begin, period, 2.0 / (1.0 + period))


def wilder_from(column: Floats, begin: int, period: int) -> Floats:
    """`wilder` of a column whose first value is at `begin`, also where that is NaN."""
    return _smoothed_from(column, begin, period, 1.0 / period)


def weighted_from(column: Floats, begin: int, period: int) -> Floats:
    """`wma` of a column whose first value is at `begin`, also where that is NaN."""
    column, result = read_only(column), not_ready(len(column))
    weights = read_only(np.arange(1.0, period + 1.0))
    coefficient = 2.0 / (period * (period + 1.0))
    accept(fill_weighted(column, begin + period - 1, weights, coefficient, result))
    return result


def _smoothed_from(column: Floats, begin: int, period: int, take: float) -> Floats:
    column, result = read_only(column), not_ready(len(column))
    accept(fill_smoothed(column, begin + period - 1, period, 1.0 - take, take, result))
    return result


def accept(refused: int) -> None:
    """What a loop returned: -1, or the index of the bar that it could not compute.

    Raises:
        StrategyError: there is such a bar; Backtrader's run ends there too.
    """
    if refused >= 0:
        raise StrategyError(f"values: there is no result at index {refused}, the numbers up to there are too large.")
