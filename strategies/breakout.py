"""Breakouts: a price outside its usual range is the start of a move.

Belongs here: strategies that buy new levels, and their stops. Does not belong here: averages crossing (see
`sma_crossover`, `timing`).
"""

from typing import Any, ClassVar

import numpy as np

from strategies.base_strategy import BaseStrategy
from strategies.declaration import Bars, Signals
from strategies.indicators import atr, ema, highest, lowest, shifted
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

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        """Follow a new level, leave at the opposite one."""
        high, low, close = bars.compute(shifted, bars.high, 1), bars.compute(shifted, bars.low, 1), bars.close
        return Signals(
            max(p.entry_bars, p.exit_bars, p.atr_period),
            long_entry=close > bars.compute(highest, high, p.entry_bars),
            short_entry=close < bars.compute(lowest, low, p.entry_bars),
            long_exit=close < bars.compute(lowest, low, p.exit_bars),
            short_exit=close > bars.compute(highest, high, p.exit_bars),
            stop=p.atr_stop * bars.compute(atr, bars.high, bars.low, close, p.atr_period),
        )


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

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        """Follow a large move, trail the stop."""
        close = bars.close
        ranges = bars.compute(atr, bars.high, bars.low, close, p.atr_period)
        move, least = close - bars.compute(shifted, close, 1), p.breakout * bars.compute(shifted, ranges, 1)
        never = np.zeros(len(bars), dtype=np.bool_)
        distance = p.trail * ranges
        return Signals(
            p.atr_period + 1,
            long_entry=move > least,
            short_entry=move < -least,
            long_exit=never,
            short_exit=never,
            stop=distance,
            trail=distance,
        )


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

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        """Follow a close outside the channel, leave at its middle."""
        distance = bars.close - bars.compute(ema, bars.close, p.average_period)
        height = p.width * bars.compute(atr, bars.high, bars.low, bars.close, p.atr_period)
        return Signals(
            max(p.average_period - 1, p.atr_period),
            long_entry=distance > height,
            short_entry=distance < -height,
            long_exit=distance < 0.0,
            short_exit=distance > 0.0,
        )
