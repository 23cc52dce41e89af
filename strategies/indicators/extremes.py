"""Extremes of the last bars, equal to Backtrader's bit for bit.

Belongs here: highest and lowest values. Does not belong here: channels and what is decided on them.
"""

from strategies.indicators.columns import Floats, check_period, not_ready, read_only, warm_up
from strategies.indicators.windows import fill_extremes


def highest(values: Floats, period: int) -> Floats:
    """The highest value of the last `period` bars, this one included, `bt.ind.Highest`; first at `period - 1`.

    Args:
        values: one a bar, oldest first; leading NaN are warm-up. Elsewhere, as Python's `max`, a window that begins
            with NaN is NaN, and other NaN are passed over.
        period: bars in a window.

    Raises:
        StrategyError: the period is less than 1.
    """
    column = read_only(values)
    return extreme_from(column, warm_up(column), check_period("period", period), 1.0)


def lowest(values: Floats, period: int) -> Floats:
    """The lowest value of the last `period` bars, this one included, `bt.ind.Lowest`; see `highest`."""
    column = read_only(values)
    return extreme_from(column, warm_up(column), check_period("period", period), -1.0)


def extreme_from(column: Floats, begin: int, period: int, sign: float) -> Floats:
    """`highest` for a `sign` of 1, `lowest` for -1, of a column whose first value is at `begin`."""
    result = not_ready(len(column))
    fill_extremes(column, begin + period - 1, period, sign, result)
    return result
