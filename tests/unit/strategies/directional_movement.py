"""Wilder's directional movement as a Backtrader indicator, the reference of `strategies.indicators`.

Belongs here: the indicator. Does not belong here: tests.
"""

from typing import Any, ClassVar

import backtrader as bt


class DirectionalStrength(bt.Indicator):
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
