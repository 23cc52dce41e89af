"""Moving-average crossover.

Belongs here: the crossover strategy that the examples and the documentation use. Does not belong here: other trend
following (see `timing` and `breakout`).
"""

from typing import Any, ClassVar

from strategies.base_strategy import BaseStrategy
from strategies.declaration import Bars, Signals
from strategies.indicators import crossings, sma
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

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        """Follow the crossings of the two averages."""
        short = bars.compute(sma, bars.close, p.sma_short)
        long = bars.compute(sma, bars.close, p.sma_long)
        up, down = crossings(short, long)
        return Signals(p.sma_long, long_entry=up, short_entry=down, long_exit=down, short_exit=up)
