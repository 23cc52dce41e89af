"""Wilder's directional movement.

Belongs here: direction and strength of a trend in bars. Does not belong here: strategies that follow it.
"""

from typing import NamedTuple

import numpy as np

from strategies.indicators.averages import wilder_from
from strategies.indicators.columns import Floats, check_period, read_only, shifted, warm_up
from strategies.indicators.deviations import divided
from strategies.indicators.ranges import atr


class DirectionalStrength(NamedTuple):
    """+DI, -DI and ADX, 0 to 100."""

    plus: Floats
    minus: Floats
    adx: Floats


@np.errstate(all="ignore")
def directional_strength(high: Floats, low: Floats, close: Floats, period: int = 14) -> DirectionalStrength:
    """+DI, -DI and ADX, `bt.ind.DirectionalMovementIndex` where that does not divide by zero, else 0.

    The first +DI and -DI are at index `period`, the first ADX at `2 * period - 1`.

    Args:
        high: highest price of each bar.
        low: lowest price of each bar.
        close: last price of each bar.
        period: bars in Wilder's averages.

    Raises:
        StrategyError: the columns differ in length, or the period is less than 1.
    """
    span = check_period("period", period)
    begin = warm_up(read_only(high), read_only(low), read_only(close)) + 1
    ranges = atr(high, low, close, span)
    highs, lows = shifted(high, 1), shifted(low, 1)
    up, down = high - highs, lows - low
    plus = _share(np.where((up > down) & (up > 0.0), up, 0.0), ranges, begin, span)
    minus = _share(np.where((down > up) & (down > 0.0), down, 0.0), ranges, begin, span)
    spread = divided(np.abs(plus - minus), plus + minus, 0.0)
    smoothed = wilder_from(spread, begin + span - 1, span)
    return DirectionalStrength(plus, minus, 100.0 * smoothed)


@np.errstate(all="ignore")
def _share(movement: Floats, ranges: Floats, begin: int, period: int) -> Floats:
    smoothed = wilder_from(movement, begin, period)
    return divided(100.0 * smoothed, ranges, 0.0)
