"""Timing by the classic oscillators and by trend strength.

Belongs here: MACD, stochastic, directional movement. Does not belong here: reversion to a mean (see
`mean_reversion`), new levels (see `breakout`).
"""

from typing import Any, ClassVar

from strategies.base_strategy import BaseStrategy
from strategies.declaration import Bars, Signals
from strategies.indicators import crossings, directional_strength, macd, stochastic
from strategies.parameters import Constraint, Float, Int, ParameterSpace


class MACDTiming(BaseStrategy):
    """Buy when the MACD crosses above its signal line, sell when it crosses below.

    Parameters (and those of `BaseStrategy`):
        macd_fast: Bars in the fast exponential average.
        macd_slow: Bars in the slow one; more than in the fast one.
        macd_signal: Bars in the exponential average of their difference.
    """

    family: ClassVar[str] = "timing"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "macd_fast": Int(5, 20, default=12, valid=(1, 500)),
            "macd_slow": Int(15, 60, default=26, valid=(2, 1000)),
            "macd_signal": Int(5, 20, default=9, valid=(1, 500)),
        },
        (Constraint("macd_fast < macd_slow"),),
    )

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        """Follow the crossings of the line and its signal."""
        lines = bars.compute(macd, bars.close, p.macd_fast, p.macd_slow, p.macd_signal)
        up, down = crossings(lines.macd, lines.signal)
        return Signals(p.macd_slow + p.macd_signal - 1, long_entry=up, short_entry=down, long_exit=down, short_exit=up)


class StochasticTiming(BaseStrategy):
    """Buy when %K crosses above %D among the lows of the range, sell when it crosses below among the highs.

    Parameters (and those of `BaseStrategy`):
        stochastic_period: Bars in the range of highs and lows.
        smooth_k: Bars in the simple average that makes %K of the raw position in the range.
        smooth_d: Bars in the simple average that makes %D of %K.
        oversold: %D, 0 to 100, below which an upward crossing buys.
        overbought: %D above which a downward crossing sells; more than `oversold`.
    """

    family: ClassVar[str] = "timing"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "stochastic_period": Int(5, 30, default=14, valid=(2, 1000)),
            "smooth_k": Int(1, 5, default=3, valid=(1, 100)),
            "smooth_d": Int(2, 5, default=3, valid=(1, 100)),
            "oversold": Float(10.0, 40.0, 5.0, default=20.0, valid=(0.0, 100.0)),
            "overbought": Float(60.0, 90.0, 5.0, default=80.0, valid=(0.0, 100.0)),
        },
        (Constraint("oversold < overbought"),),
    )

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        """Follow a crossing in the right zone."""
        lines = bars.compute(
            stochastic, bars.high, bars.low, bars.close, p.stochastic_period,
            smooth_k=p.smooth_k, smooth_d=p.smooth_d, flat=0.5,
        )  # fmt: skip
        crossed = crossings(lines.k, lines.d)
        up = crossed.above & (lines.d < p.oversold)
        down = crossed.below & (lines.d > p.overbought)
        ready = p.stochastic_period + p.smooth_k + p.smooth_d - 2
        return Signals(ready, long_entry=up, short_entry=down, long_exit=down, short_exit=up)


class ADXTrend(BaseStrategy):
    """Be on the side of the trend while the average directional index says that there is one.

    Parameters (and those of `BaseStrategy`):
        adx_period: Bars in Wilder's averages.
        trend: ADX, 0 to 100, above which a trend is entered.
        trend_over: ADX below which it is over; at most `trend`. The other side taking the lead ends it as well.
    """

    family: ClassVar[str] = "timing"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "adx_period": Int(7, 30, default=14, valid=(2, 500)),
            "trend": Float(15.0, 40.0, 1.0, default=25.0, valid=(0.0, 100.0)),
            "trend_over": Float(5.0, 30.0, 1.0, default=20.0, valid=(0.0, 100.0)),
        },
        (Constraint("trend_over <= trend"),),
    )

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        """Enter a strong trend, leave a weak or turned one."""
        strength = bars.compute(directional_strength, bars.high, bars.low, bars.close, p.adx_period)
        lead = strength.plus - strength.minus
        strong, over = strength.adx > p.trend, strength.adx < p.trend_over
        return Signals(
            2 * p.adx_period - 1,
            long_entry=strong & (lead > 0.0),
            short_entry=strong & (lead < 0.0),
            long_exit=over | (lead < 0.0),
            short_exit=over | (lead > 0.0),
        )
