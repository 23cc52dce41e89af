"""Pairs trading: the spread of two symbols comes back.

Belongs here: strategies of two symbols held against each other. Does not belong here: finding the pairs.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import backtrader as bt

from strategies.base_strategy import BaseStrategy
from strategies.errors import StrategyError
from strategies.parameters import Choice, Constraint, Float, Int, ParameterSpace


@dataclass(frozen=True, slots=True)
class Spread:
    """The spread `log a - beta log b` over a window: its slope beta, and its last value in standard deviations."""

    beta: float
    z: float


class PairsTrading(BaseStrategy):
    """Sell the dear one of two symbols and buy the cheap one when their spread is far from its average.

    The spread is `log(first) - beta * log(second)` with beta by least squares over the lookback, or 1. Its last value
    in standard deviations is z: above `entry_z` the first symbol is sold and the second bought, below `-entry_z` the
    other way round; out inside `exit_z`, and beyond `stop_z`, where the relation is broken. Both legs together are
    `target_fraction` of equity, split 1 to beta. Only bars that both symbols have are looked at. A leg without its
    other (refused, or closed by a limit) is closed.

    Parameters (and those of `BaseStrategy`; `allow_short` is always on, and exactly two symbols are needed):
        lookback: Common bars over which beta, average and deviation (divided by n) are measured.
        entry_z: Distance at which to enter, in standard deviations.
        exit_z: Distance at which to leave; less than `entry_z`.
        stop_z: Distance at which to give up; more than `entry_z`.
        hedge: `ols` fits beta, and does not trade while it is not positive; `equal` takes 1.
    """

    family: ClassVar[str] = "pairs"
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "lookback": Int(20, 250, default=60, valid=(3, 2000)),
            "entry_z": Float(1.0, 3.0, 0.25, default=2.0, valid=(0.1, 20.0)),
            "exit_z": Float(0.0, 1.0, 0.25, default=0.5, valid=(0.0, 20.0)),
            "stop_z": Float(3.0, 6.0, 0.5, default=4.0, valid=(0.1, 50.0)),
            "hedge": Choice("ols", "equal"),
            "allow_short": Choice(True, tuned=False),
        },
        (Constraint("exit_z < entry_z < stop_z"),),
    )

    def __init__(self) -> None:
        super().__init__()
        if len(self.datas) != 2:
            raise StrategyError(f"symbols: PairsTrading needs exactly two, not {len(self.datas)}.")
        self._window: deque[tuple[float, float]] = deque(maxlen=self.p.lookback)

    def decide_all(self, ready: Sequence[bt.feed.DataBase]) -> None:
        """Look at a bar that both symbols have."""
        first, second = self.datas
        self._close_lonely_leg(first, second)
        if len(ready) != 2 or min(first.close[0], second.close[0]) <= 0:
            return
        self._window.append((math.log(first.close[0]), math.log(second.close[0])))
        if len(self._window) == self.p.lookback:
            self._trade(measure_spread(self._window, fit=self.p.hedge == "ols"))

    def _trade(self, spread: Spread) -> None:
        first, second = self.datas
        side, z = self.side(first), spread.z
        if side and not self.p.exit_z < -side * z < self.p.stop_z:
            self.leave(first)
            self.leave(second)
        elif not side and not self.side(second) and spread.beta > 0 and self.p.entry_z < abs(z) < self.p.stop_z:
            self._enter(-1 if z > 0 else 1, spread.beta)

    def _enter(self, side: int, beta: float) -> None:
        """Both legs, scaled down together where a cap on one position is in the way."""
        whole = self.p.target_fraction / (1.0 + beta)
        cap = min(self.p.max_position_size, self.p.max_concentration)
        first_weight = min(whole, cap, cap / beta)
        legs = (self.enter_long, self.enter_short) if side > 0 else (self.enter_short, self.enter_long)
        legs[0](self.datas[0], weight=first_weight)
        legs[1](self.datas[1], weight=first_weight * beta)

    def _close_lonely_leg(self, first: Any, second: Any) -> None:  # noqa: ANN401 (data feeds)
        if self.pending(first) or self.pending(second):
            return
        for one, other in ((first, second), (second, first)):
            if self.side(one) and not self.side(other):
                self.leave(one)


def measure_spread(window: Sequence[tuple[float, float]], *, fit: bool) -> Spread:
    """Slope and standing of the spread over a window of log prices, oldest first.

    Args:
        window: log price of the first and of the second symbol at each common bar.
        fit: whether beta is the least-squares slope; it is 1 otherwise, or 0 where the second symbol never moved.

    >>> round(measure_spread([(0.2, 0.1), (0.4, 0.2), (0.6, 0.3)], fit=True).beta, 9)
    2.0
    """
    beta = _slope(window) if fit else 1.0
    spreads = [first - beta * second for first, second in window]
    # a spread that never moves has no standing; rounding must not give it one
    if all(math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12) for a, b in pairwise(spreads)):
        return Spread(beta, 0.0)
    mean = math.fsum(spreads) / len(spreads)
    deviation = math.sqrt(math.fsum((spread - mean) ** 2 for spread in spreads) / len(spreads))
    return Spread(beta, (spreads[-1] - mean) / deviation)


def _slope(window: Sequence[tuple[float, float]]) -> float:
    count = len(window)
    mean_first = math.fsum(first for first, _ in window) / count
    mean_second = math.fsum(second for _, second in window) / count
    variance = math.fsum((second - mean_second) ** 2 for _, second in window)
    if variance < 1e-18:
        return 0.0
    return math.fsum((first - mean_first) * (second - mean_second) for first, second in window) / variance
