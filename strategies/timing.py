"""Timing by the classic oscillators and by trend strength.

Belongs here: MACD, stochastic, directional movement. Does not belong here: reversion to a mean (see
`mean_reversion`), new levels (see `breakout`).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import backtrader as bt

from strategies.base_strategy import BaseStrategy
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

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """The sign of a crossing at this bar."""
        macd = bt.ind.MACD(
            data.close, period_me1=self.p.macd_fast, period_me2=self.p.macd_slow, period_signal=self.p.macd_signal
        )
        return {"crossing": bt.ind.CrossOver(macd.macd, macd.signal)}

    def decide(self, data: bt.feed.DataBase) -> None:
        """Follow the crossing."""
        crossing = self.ind[data].crossing[0]
        if crossing > 0:
            self.enter_long(data)
        elif crossing < 0:
            self.enter_short(data)


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

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """%D, and the sign of a crossing at this bar; both lines are 50 while nothing moves."""
        stochastic = bt.ind.Stochastic(
            data,
            period=self.p.stochastic_period,
            period_dfast=self.p.smooth_k,
            period_dslow=self.p.smooth_d,
            safediv=True,
            safezero=0.5,
        )
        return {"d": stochastic.percD, "crossing": bt.ind.CrossOver(stochastic.percK, stochastic.percD)}

    def decide(self, data: bt.feed.DataBase) -> None:
        """Follow a crossing in the right zone."""
        crossing, d = self.ind[data].crossing[0], self.ind[data].d[0]
        if crossing > 0 and d < self.p.oversold:
            self.enter_long(data)
        elif crossing < 0 and d > self.p.overbought:
            self.enter_short(data)


class DirectionalStrength(bt.Indicator):  # type: ignore[misc]
    """Wilder's +DI, -DI and ADX, 0 to 100, that survive a series that does not move.

    Backtrader's own indicator divides by the true range and by the sum of both DIs without a look; where nothing
    moves, these are 0 here and the ADX with them. Everywhere else the values are the same.
    """

    lines: ClassVar[Any] = ("plus", "minus", "adx")
    params: ClassVar[Any] = (("period", 14),)

    def __init__(self) -> None:
        up, down = self.data.high - self.data.high(-1), self.data.low(-1) - self.data.low
        atr = bt.ind.ATR(self.data, period=self.p.period)
        self.lines.plus = plus = self._share(bt.If(bt.And(up > down, up > 0.0), up, 0.0), atr)
        self.lines.minus = minus = self._share(bt.If(bt.And(down > up, down > 0.0), down, 0.0), atr)
        spread = bt.DivByZero(abs(plus - minus), plus + minus, zero=0.0)
        self.lines.adx = 100.0 * bt.ind.SmoothedMovingAverage(spread, period=self.p.period)
        super().__init__()

    def _share(self, movement: bt.LineActions, atr: bt.LineActions) -> bt.LineActions:
        smoothed = bt.ind.SmoothedMovingAverage(movement, period=self.p.period)
        return bt.DivByZero(100.0 * smoothed, atr, zero=0.0)


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

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """Strength and direction of the trend."""
        return {"strength": DirectionalStrength(data, period=self.p.adx_period)}  # type: ignore[call-arg]

    def decide(self, data: bt.feed.DataBase) -> None:
        """Enter a strong trend, leave a weak or turned one."""
        strength, side = self.ind[data].strength, self.side(data)
        adx, lead = strength.adx[0], strength.plus[0] - strength.minus[0]
        if adx > self.p.trend and lead > 0:
            self.enter_long(data)
        elif adx > self.p.trend and lead < 0:
            self.enter_short(data)
        elif side and (adx < self.p.trend_over or side * lead < 0):
            self.leave(data)
