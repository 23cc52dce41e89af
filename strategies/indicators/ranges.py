"""Ranges of bars, equal to Backtrader's bit for bit.

Belongs here: how far prices went. Does not belong here: in which direction (see `oscillators`, `directional`).
"""

import numpy as np

from strategies.indicators.averages import wilder_from
from strategies.indicators.columns import (
    Floats,
    check_lengths,
    check_period,
    read_only,
    shifted,
    warm_up,
)


@np.errstate(all="ignore")
def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """Wilder's true range, `bt.ind.TrueRange`; the first value is at index 1.

    Args:
        high: highest price of each bar.
        low: lowest price of each bar.
        close: last price of each bar.

    Raises:
        StrategyError: the columns differ in length.
    """
    check_lengths(high, low, close)
    before = shifted(close, 1)
    ranges = np.where(before > high, before, high) - np.where(before < low, before, low)
    ranges[: warm_up(read_only(high), read_only(low), read_only(close)) + 1] = np.nan
    return ranges


def atr(high: Floats, low: Floats, close: Floats, period: int) -> Floats:
    """Wilder's average true range, `bt.ind.ATR`; the first value is at index `period`.

    Args:
        high: highest price of each bar.
        low: lowest price of each bar.
        close: last price of each bar.
        period: bars in Wilder's average.

    Raises:
        StrategyError: the columns differ in length, or the period is less than 1.
    """
    span = check_period("period", period)
    begin = warm_up(read_only(high), read_only(low), read_only(close)) + 1
    return wilder_from(true_range(high, low, close), begin, span)
