"""Momentum: what went up goes on.

Belongs here: strategies that buy strength, against a threshold or against the other symbols. Does not belong here:
trend following by averages (see `sma_crossover`, `timing`) and by levels (see `breakout`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import backtrader as bt

from strategies.base_strategy import BaseStrategy
from strategies.declaration import Bars, Signals
from strategies.indicators import rsi
from strategies.parameters import Choice, Constraint, Float, Int, ParameterSpace


class _Ranking(BaseStrategy):
    """Holds the best `top` symbols by a score, looked at once a month, a week or a bar.

    With `allow_short` the worst `top` are held short beside them, each side with half of the money.
    """

    family: ClassVar[str] = "momentum"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "top": Int(1, 10, default=2, valid=(1, 1000)),
            "rebalance": Choice("month", "week", "bar"),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self._period: tuple[int, ...] | None = None

    def positions_at_most(self) -> int:
        """`top` positions on each side that is traded, or all symbols where there are fewer."""
        sides = 2 if self.p.allow_short else 1
        return min(sides * int(self.p.top), len(self.datas))

    def decide_all(self, ready: Sequence[bt.feed.DataBase]) -> None:
        """At the first bar of a new period: leave what is no longer chosen, then enter what is."""
        period = self._period_of_bar()
        if period == self._period:
            return
        self._period = period
        scores = {data: self.score(data) for data in ready}
        longs, shorts = self.choose(sorted(ready, key=lambda data: -scores[data]), scores)
        for data in ready:
            if data not in longs and data not in shorts:
                self.leave(data)
        for data in shorts:
            self.enter_short(data)
        for data in longs:
            self.enter_long(data)

    def score(self, data: bt.feed.DataBase) -> float:
        """What symbols are ranked by; higher is better."""
        raise NotImplementedError

    def choose(self, ranked: Sequence[Any], scores: Mapping[Any, float]) -> tuple[list[Any], list[Any]]:
        """The symbols to hold long, and those to hold short where shorting is allowed.

        Args:
            ranked: symbols with a score, the best first; ties in the order of the experiment.
            scores: the score of each.
        """
        raise NotImplementedError

    def _period_of_bar(self) -> tuple[int, ...]:
        now = self.datetime.datetime(0)
        if self.p.rebalance == "month":
            return (now.year, now.month)
        return tuple(now.isocalendar()[:2]) if self.p.rebalance == "week" else (len(self),)


class DualMomentum(_Ranking):
    """Hold the symbols that rose most, as far as they rose at all; cash otherwise.

    Relative momentum chooses the best `top` symbols, absolute momentum keeps those whose return is above
    `min_return` (Antonacci, Dual Momentum Investing, 2014). With `allow_short` the worst ones below `-min_return` are
    held short.

    Parameters (and those of `BaseStrategy`):
        lookback: Bars over which the return is measured; 252 daily bars are a year.
        min_return: Return over the lookback that a symbol must exceed, as a fraction (0.05 is 5 %).
        top: Most symbols to hold on a side.
        rebalance: When to look again: at the first bar of each `month` or `week`, or at every `bar`.
    """

    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "lookback": Int(21, 252, 21, default=126, valid=(1, 5000)),
            "min_return": Float(0.0, 0.2, 0.01, default=0.0, valid=(0.0, 10.0)),
        }
    )

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """Return over the lookback."""
        return {"change": bt.ind.ROC(data.close, period=self.p.lookback)}

    def score(self, data: bt.feed.DataBase) -> float:
        """Return over the lookback, as a fraction."""
        return float(self.ind[data].change[0])

    def choose(self, ranked: Sequence[Any], scores: Mapping[Any, float]) -> tuple[list[Any], list[Any]]:
        """The best of those that rose enough, the worst of those that fell enough."""
        risen = [data for data in ranked if scores[data] > self.p.min_return]
        fallen = [data for data in reversed(ranked) if scores[data] < -self.p.min_return]
        return risen[: self.p.top], fallen[: self.p.top] if self.p.allow_short else []


class CrossSectionalRotation(_Ranking):
    """Always hold the strongest symbols of the universe, whatever the market does.

    Strength is the return over `lookback` bars without the latest `skip` bars, which tend to reverse (Jegadeesh and
    Titman, Returns to Buying Winners and Selling Losers, 1993). With `allow_short` the weakest are held short.

    Parameters (and those of `BaseStrategy`):
        lookback: Bars back at which the measured return begins; 252 daily bars are a year.
        skip: Bars back at which it ends; fewer than `lookback`.
        top: How many symbols to hold on a side.
        rebalance: When to look again: at the first bar of each `month` or `week`, or at every `bar`.
    """

    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "lookback": Int(42, 252, 21, default=126, valid=(1, 5000)),
            "skip": Int(0, 42, 21, default=21, valid=(0, 1000)),
        },
        (Constraint("skip < lookback"),),
    )

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """Return from `lookback` bars ago to `skip` bars ago."""
        change = bt.ind.ROC(data.close, period=self.p.lookback - self.p.skip)
        return {"strength": change(-self.p.skip) if self.p.skip else change}

    def score(self, data: bt.feed.DataBase) -> float:
        """Return without the latest bars, as a fraction."""
        return float(self.ind[data].strength[0])

    def choose(self, ranked: Sequence[Any], scores: Mapping[Any, float]) -> tuple[list[Any], list[Any]]:
        """The best, and with shorting the worst; no more than half of the symbols on a side then."""
        if not self.p.allow_short or len(ranked) < 2:
            return list(ranked[: self.p.top]), []
        each = min(int(self.p.top), len(ranked) // 2)
        return list(ranked[:each]), list(ranked[-each:])


class RSIMomentum(BaseStrategy):
    """Buy when the relative strength index shows strength, leave when it fades.

    The index is read as momentum, not as a sign of having gone too far: above `rsi_entry` buy, below `rsi_exit` leave.
    With `allow_short` the mirror image: below `100 - rsi_entry` sell short, above `100 - rsi_exit` cover.

    Parameters (and those of `BaseStrategy`):
        rsi_period: Bars in Wilder's averages of gains and losses.
        rsi_entry: Index, 0 to 100, above which to be long.
        rsi_exit: Index below which to leave; less than `rsi_entry`.
    """

    family: ClassVar[str] = "momentum"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "rsi_period": Int(5, 40, default=14, valid=(2, 1000)),
            "rsi_entry": Float(50.0, 75.0, 1.0, default=60.0, valid=(50.0, 100.0)),
            "rsi_exit": Float(35.0, 60.0, 1.0, default=50.0, valid=(0.0, 100.0)),
        },
        (Constraint("rsi_exit < rsi_entry"),),
    )

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        """Be on the side of strength."""
        index = bars.compute(rsi, bars.close, p.rsi_period)
        return Signals(
            p.rsi_period,
            long_entry=index > p.rsi_entry,
            short_entry=index < 100.0 - p.rsi_entry,
            long_exit=index < p.rsi_exit,
            short_exit=index > 100.0 - p.rsi_exit,
        )
