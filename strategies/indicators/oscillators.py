"""Oscillators and rates of change, equal to Backtrader's bit for bit.

Belongs here: how fast and how far a column moves against its own past. Does not belong here: the strength of a trend in
bars (see `directional`).

Where an indicator of Backtrader's divides by zero and ends the run, the results here are the infinities and NaN of
floating-point division.
"""

from typing import NamedTuple

import numpy as np

from strategies.indicators.averages import exponential_from, mean_from, wilder_from
from strategies.indicators.columns import (
    Floats,
    check_lengths,
    check_period,
    read_only,
    shifted,
    warm_up,
)
from strategies.indicators.deviations import divided
from strategies.indicators.extremes import extreme_from


class MACD(NamedTuple):
    """Difference of two exponential averages, and the exponential average of the difference."""

    macd: Floats
    signal: Floats


class Stochastic(NamedTuple):
    """%K, smoothed, and its average %D, 0 to 100."""

    k: Floats
    d: Floats


@np.errstate(all="ignore")
def rsi(values: Floats, period: int, *, safediv: bool = True) -> Floats:
    """Wilder's relative strength index, `bt.ind.RSI`; the first value is at index `period`.

    Args:
        values: one a bar, oldest first; leading NaN are warm-up.
        period: bars in Wilder's averages of gains and losses.
        safediv: where there were no losses the index is 100, or 50 where there were no gains either, as Backtrader's
            option of this name. Without it, it is NaN where there were neither; Backtrader's run ends there.

    Raises:
        StrategyError: the period is less than 1, or gains are too large to be summed.
    """
    column, span = read_only(values), check_period("period", period)
    begin, before = warm_up(column) + 1, shifted(column, 1)
    rise, fall = column - before, before - column
    gains = wilder_from(_positive(rise), begin, span)
    losses = wilder_from(_positive(fall), begin, span)
    strength = gains / losses
    if safediv:
        neither = np.where(gains == 0.0, 1.0, np.inf)
        strength = np.where(losses == 0.0, neither, strength)
    return 100.0 - 100.0 / (1.0 + strength)


@np.errstate(all="ignore")
def macd(values: Floats, fast: int = 12, slow: int = 26, signal: int = 9) -> MACD:
    """Appel's moving average convergence divergence, `bt.ind.MACD`.

    The first difference is at index `max(fast, slow) - 1`, the first signal `signal - 1` bars later.

    Args:
        values: one a bar, oldest first; leading NaN are warm-up.
        fast: bars in the exponential average from which the other is subtracted.
        slow: bars in the exponential average that is subtracted.
        signal: bars in the exponential average of the difference.

    Raises:
        StrategyError: a period is less than 1.
    """
    column = read_only(values)
    spans = check_period("fast", fast), check_period("slow", slow)
    begin = warm_up(column)
    first, second = (exponential_from(column, begin, span) for span in spans)
    difference = first - second
    return MACD(difference, exponential_from(difference, begin + max(spans) - 1, check_period("signal", signal)))


@np.errstate(all="ignore")
def stochastic(
    high: Floats,
    low: Floats,
    close: Floats,
    period: int = 14,
    *,
    smooth_k: int = 3,
    smooth_d: int = 3,
    flat: float = 0.0,
) -> Stochastic:
    """Lane's slow stochastic, `bt.ind.Stochastic` with its `safediv`.

    The first %K is at index `period + smooth_k - 2`, the first %D `smooth_d - 1` bars later.

    Args:
        high: highest price of each bar.
        low: lowest price of each bar.
        close: last price of each bar.
        period: bars in the range of highs and lows.
        smooth_k: bars in the simple average that makes %K.
        smooth_d: bars in the simple average that makes %D of %K.
        flat: the raw value, 0 to 1, where the range is 0: Backtrader's `safezero`.

    Raises:
        StrategyError: the columns differ in length, or a period is less than 1.
    """
    check_lengths(high, low, close)
    span, for_k, for_d = (
        check_period("period", period),
        check_period("smooth_k", smooth_k),
        check_period("smooth_d", smooth_d),
    )
    begin = warm_up(read_only(high), read_only(low), read_only(close))
    top = extreme_from(read_only(high), begin, span, 1.0)
    bottom = extreme_from(read_only(low), begin, span, -1.0)
    place = divided(close - bottom, top - bottom, flat)
    raw = 100.0 * place
    k = mean_from(raw, begin + span - 1, for_k)
    return Stochastic(k, mean_from(k, begin + span + for_k - 2, for_d))


@np.errstate(all="ignore")
def momentum(values: Floats, period: int) -> Floats:
    """Change over `period` bars, `bt.ind.Momentum`; the first value is at index `period`.

    Raises:
        StrategyError: the period is less than 1.
    """
    before = shifted(values, check_period("period", period))
    return values - before


@np.errstate(all="ignore")
def roc(values: Floats, period: int) -> Floats:
    """Change over `period` bars as a share of the value then, `bt.ind.ROC`; the first value is at index `period`.

    Raises:
        StrategyError: the period is less than 1.
    """
    before = shifted(values, check_period("period", period))
    return (values - before) / before


@np.errstate(all="ignore")
def williams_r(high: Floats, low: Floats, close: Floats, period: int = 14) -> Floats:
    """Williams' %R, -100 to 0, `bt.ind.WilliamsR`; the first value is at index `period - 1`.

    Raises:
        StrategyError: the columns differ in length, or the period is less than 1.
    """
    check_lengths(high, low, close)
    span = check_period("period", period)
    begin = warm_up(read_only(high), read_only(low), read_only(close))
    top = extreme_from(read_only(high), begin, span, 1.0)
    bottom = extreme_from(read_only(low), begin, span, -1.0)
    return -100.0 * (top - close) / (top - bottom)


@np.errstate(all="ignore")
def cci(high: Floats, low: Floats, close: Floats, period: int = 20, factor: float = 0.015) -> Floats:
    """Lambert's commodity channel index, `bt.ind.CCI`; the first value is at index `2 * period - 2`.

    Raises:
        StrategyError: the columns differ in length, or the period is less than 1.
    """
    check_lengths(high, low, close)
    span = check_period("period", period)
    begin = warm_up(read_only(high), read_only(low), read_only(close))
    typical = (high + low + close) / 3.0
    mean = mean_from(typical, begin, span)
    distance = typical - mean
    usual = mean_from(np.abs(distance), begin + span - 1, span)
    return distance / (factor * usual)


def _positive(column: Floats) -> Floats:
    return np.where(column < 0.0, 0.0, column)
