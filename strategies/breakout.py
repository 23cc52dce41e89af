"""Breakouts: a price outside its usual range is the start of a move.

Belongs here: strategies that buy new levels, and their stops. Does not belong here: averages crossing (see
`sma_crossover`, `timing`).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import backtrader as bt

from strategies.base_strategy import BaseStrategy
from strategies.parameters import Constraint, Float, Int, ParameterSpace


class DonchianBreakout(BaseStrategy):
    """Buy a close above the highest high of the bars before, with a stop at a multiple of the true range.

    Leaves at a close below the lowest low of `exit_bars` bars before, or at the stop order, which stays where the
    entry put it. With `allow_short` the mirror image. (The Turtle rules; Faith, The Original Turtle Trading Rules.)

    Parameters (and those of `BaseStrategy`):
        entry_bars: Bars before this one whose highest high must be exceeded.
        exit_bars: Bars before this one whose lowest low ends the trade; at most `entry_bars`.
        atr_period: Bars in Wilder's average true range.
        atr_stop: Distance of the stop from the close of the breakout, in average true ranges.
    """

    family: ClassVar[str] = "breakout"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "entry_bars": Int(10, 100, 5, default=20, valid=(1, 2000)),
            "exit_bars": Int(5, 50, 5, default=10, valid=(1, 2000)),
            "atr_period": Int(5, 40, default=20, valid=(1, 1000)),
            "atr_stop": Float(0.5, 5.0, 0.5, default=2.0, valid=(0.1, 100.0)),
        },
        (Constraint("exit_bars <= entry_bars"),),
    )

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """Channels of the bars before this one, and the true range."""
        high, low = data.high(-1), data.low(-1)
        return {
            "entry_high": bt.ind.Highest(high, period=self.p.entry_bars),
            "entry_low": bt.ind.Lowest(low, period=self.p.entry_bars),
            "exit_high": bt.ind.Highest(high, period=self.p.exit_bars),
            "exit_low": bt.ind.Lowest(low, period=self.p.exit_bars),
            "atr": bt.ind.ATR(data, period=self.p.atr_period),
        }

    def decide(self, data: bt.feed.DataBase) -> None:
        """Follow a new level, leave at the opposite one."""
        close, side, ind = data.close[0], self.side(data), self.ind[data]
        distance = self.p.atr_stop * ind.atr[0]
        if close > ind.entry_high[0]:
            self.enter_long(data, stop=close - distance)
        elif close < ind.entry_low[0]:
            self.enter_short(data, stop=close + distance)
        elif (side > 0 and close < ind.exit_low[0]) or (side < 0 and close > ind.exit_high[0]):
            self.leave(data)


class ATRBreakout(BaseStrategy):
    """Buy a rise of more than a multiple of the true range in one bar, and trail a stop order behind it.

    The range is the average up to the bar before, so that the breakout does not measure itself. The stop follows
    `trail` ranges behind the close and never moves back. With `allow_short` the mirror image.

    Parameters (and those of `BaseStrategy`):
        atr_period: Bars in Wilder's average true range.
        breakout: Change from the close before that is a breakout, in average true ranges.
        trail: Distance of the stop from the best close since the entry, in average true ranges.
    """

    family: ClassVar[str] = "breakout"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "atr_period": Int(5, 40, default=14, valid=(1, 1000)),
            "breakout": Float(0.5, 3.0, 0.25, default=1.5, valid=(0.01, 100.0)),
            "trail": Float(1.0, 6.0, 0.5, default=3.0, valid=(0.1, 100.0)),
        }
    )

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """The true range, and the one known before this bar."""
        atr = bt.ind.ATR(data, period=self.p.atr_period)
        return {"atr": atr, "atr_before": atr(-1)}

    def decide(self, data: bt.feed.DataBase) -> None:
        """Follow a large move, trail the stop."""
        ind, close = self.ind[data], data.close[0]
        move, least = close - data.close[-1], self.p.breakout * ind.atr_before[0]
        distance = self.p.trail * ind.atr[0]
        if move > least:
            self.enter_long(data, stop=close - distance)
        elif move < -least:
            self.enter_short(data, stop=close + distance)
        self._trail(data, close, distance)

    def _trail(self, data: bt.feed.DataBase, close: float, distance: float) -> None:
        side, stop = self.side(data), self.stop_price(data)
        if side and stop is not None and side * (close - side * distance - stop) > 0:
            self.protect(data, close - side * distance)


class KeltnerBreakout(BaseStrategy):
    """Buy a close above the Keltner channel, leave when it is back at the channel's middle.

    The channel lies `width` average true ranges around the exponential average of closes. With `allow_short` the
    mirror image below the channel.

    Parameters (and those of `BaseStrategy`):
        average_period: Bars in the exponential average.
        atr_period: Bars in Wilder's average true range.
        width: Half the height of the channel, in average true ranges.
    """

    family: ClassVar[str] = "breakout"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "average_period": Int(10, 100, default=20, valid=(1, 2000)),
            "atr_period": Int(5, 40, default=10, valid=(1, 1000)),
            "width": Float(0.5, 4.0, 0.25, default=2.0, valid=(0.01, 100.0)),
        }
    )

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """The channel's middle and the true range."""
        return {
            "middle": bt.ind.EMA(data.close, period=self.p.average_period),
            "atr": bt.ind.ATR(data, period=self.p.atr_period),
        }

    def decide(self, data: bt.feed.DataBase) -> None:
        """Follow a close outside the channel, leave at its middle."""
        distance = data.close[0] - self.ind[data].middle[0]
        height, side = self.p.width * self.ind[data].atr[0], self.side(data)
        if distance > height:
            self.enter_long(data)
        elif distance < -height:
            self.enter_short(data)
        elif side * distance < 0:
            self.leave(data)
