"""Mean reversion: what went too far comes back.

Belongs here: strategies of single symbols that buy weakness. Does not belong here: the spread of two symbols (see
`pairs`).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import backtrader as bt

from strategies.base_strategy import BaseStrategy
from strategies.parameters import Constraint, Float, Int, ParameterSpace


class RSIReversion(BaseStrategy):
    """Buy when the relative strength index says oversold, leave when it has recovered.

    With `allow_short` the mirror image: sell short above `100 - oversold`, cover below `100 - recovered`.

    Parameters (and those of `BaseStrategy`):
        rsi_period: Bars in Wilder's averages of gains and losses.
        oversold: Index, 0 to 100, below which to buy.
        recovered: Index above which to leave; more than `oversold`.
    """

    family: ClassVar[str] = "mean reversion"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "rsi_period": Int(2, 30, default=14, valid=(2, 1000)),
            "oversold": Float(10.0, 40.0, 1.0, default=30.0, valid=(0.0, 50.0)),
            "recovered": Float(45.0, 75.0, 1.0, default=55.0, valid=(0.0, 100.0)),
        },
        (Constraint("oversold < recovered"),),
    )

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """The index; 50 while nothing moves."""
        return {"rsi": bt.ind.RSI(data.close, period=self.p.rsi_period, safediv=True)}

    def decide(self, data: bt.feed.DataBase) -> None:
        """Buy weakness, leave on recovery."""
        rsi, side = self.ind[data].rsi[0], self.side(data)
        if rsi < self.p.oversold:
            self.enter_long(data)
        elif rsi > 100.0 - self.p.oversold:
            self.enter_short(data)
        elif (side > 0 and rsi > self.p.recovered) or (side < 0 and rsi < 100.0 - self.p.recovered):
            self.leave(data)


class BollingerReversion(BaseStrategy):
    """Buy a close below the lower Bollinger band, leave at the average or a little beyond.

    Bands lie `deviations` standard deviations (divided by n) around the simple average of closes, this bar included.
    With `allow_short` the mirror image at the upper band.

    Parameters (and those of `BaseStrategy`):
        band_period: Bars in the average and in the deviation.
        deviations: Distance of the bands from the average, in standard deviations.
        exit_deviations: Distance beyond the average at which to leave, in standard deviations; 0 is the average.
    """

    family: ClassVar[str] = "mean reversion"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "band_period": Int(10, 60, default=20, valid=(2, 1000)),
            "deviations": Float(1.0, 3.0, 0.25, default=2.0, valid=(0.1, 10.0)),
            "exit_deviations": Float(0.0, 1.0, 0.25, default=0.0, valid=(0.0, 10.0)),
        },
        (Constraint("exit_deviations < deviations"),),
    )

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """Average and deviation of the closes."""
        return {
            "average": bt.ind.SMA(data.close, period=self.p.band_period),
            "deviation": bt.ind.StdDev(data.close, period=self.p.band_period, safepow=True),
        }

    def decide(self, data: bt.feed.DataBase) -> None:
        """Buy below the band, leave at the average."""
        distance = data.close[0] - self.ind[data].average[0]
        deviation, side = self.ind[data].deviation[0], self.side(data)
        band, target = self.p.deviations * deviation, self.p.exit_deviations * deviation
        if distance < -band:
            self.enter_long(data)
        elif distance > band:
            self.enter_short(data)
        elif (side > 0 and distance >= target) or (side < 0 and distance <= -target):
            self.leave(data)


class ZScoreReversion(BaseStrategy):
    """Buy a close far below its average, leave on the way back, give up when it goes further.

    z is the distance of the close from its simple average in standard deviations (divided by n, this bar included).
    Long below `-entry_z`, out above `-exit_z`; below `-stop_z` the average has moved, not the price: out, and no entry.
    With `allow_short` the mirror image.

    Parameters (and those of `BaseStrategy`):
        lookback: Bars in the average and in the deviation; z cannot exceed the root of one less.
        entry_z: Distance at which to enter, in standard deviations.
        exit_z: Distance at which to leave; less than `entry_z`.
        stop_z: Distance at which to give up; more than `entry_z`.
    """

    family: ClassVar[str] = "mean reversion"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "lookback": Int(10, 120, default=30, valid=(3, 2000)),
            "entry_z": Float(1.0, 3.0, 0.25, default=2.0, valid=(0.1, 20.0)),
            "exit_z": Float(0.0, 1.0, 0.25, default=0.5, valid=(0.0, 20.0)),
            "stop_z": Float(3.0, 6.0, 0.5, default=4.0, valid=(0.1, 50.0)),
        },
        (Constraint("exit_z < entry_z < stop_z"),),
    )

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """The distance in deviations; 0 while nothing moves."""
        average = bt.ind.SMA(data.close, period=self.p.lookback)
        deviation = bt.ind.StdDev(data.close, period=self.p.lookback, safepow=True)
        return {"z": bt.DivByZero(data.close - average, deviation, zero=0.0)}

    def decide(self, data: bt.feed.DataBase) -> None:
        """Enter between the entry and the stop, leave outside of them."""
        z, side = self.ind[data].z[0], self.side(data)
        if side and not self.p.exit_z < -side * z < self.p.stop_z:
            self.leave(data)
        elif -self.p.stop_z < z < -self.p.entry_z:
            self.enter_long(data)
        elif self.p.entry_z < z < self.p.stop_z:
            self.enter_short(data)
