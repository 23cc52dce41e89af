"""Moving-average crossover.

Belongs here: the crossover strategy that the examples and the documentation use. Does not belong here: other trend
following (see `timing` and `breakout`).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import backtrader as bt

from strategies.base_strategy import BaseStrategy
from strategies.parameters import Constraint, Int, ParameterSpace


class SMACrossover(BaseStrategy):
    """Buy when the short average of closes crosses above the long one, sell when it crosses below.

    A symbol whose short average is above from the start is not bought until it crosses.

    Parameters (and those of `BaseStrategy`):
        sma_short: Bars in the short simple moving average.
        sma_long: Bars in the long one; more than in the short one.

    Example: `barloom backtest --strategy strategies.sma_crossover.SMACrossover --symbols AAPL --start 2000-03-01
    --end 2012-12-31 --params '{"sma_short": 20, "sma_long": 50}'`
    """

    family: ClassVar[str] = "trend"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "sma_short": Int(5, 50, default=20, valid=(1, 1000)),
            "sma_long": Int(20, 250, default=50, valid=(2, 2000)),
        },
        (Constraint("sma_short < sma_long"),),
    )

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """The sign of a crossing at this bar."""
        short = bt.ind.SMA(data.close, period=self.p.sma_short)
        long = bt.ind.SMA(data.close, period=self.p.sma_long)
        return {"crossing": bt.ind.CrossOver(short, long)}

    def decide(self, data: bt.feed.DataBase) -> None:
        """Follow the crossing."""
        crossing = self.ind[data].crossing[0]
        if crossing > 0:
            self.enter_long(data)
        elif crossing < 0:
            self.enter_short(data)
