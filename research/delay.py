"""Orders that reach the market later than they were sent.

Belongs here: from which bar on such an order may execute. Does not belong here: executing it (see `simulated_broker`).

An order executes on a bar newer than the newest one known when it was submitted. Delayed by a bar, it executes on a
bar newer than the one after that: decision, size and prices are those of the bar at which it was decided.
"""

from collections.abc import Mapping

import numpy as np

from research.feed import SymbolBars


class Delay:
    """A number of bars of an order's own symbol."""

    def __init__(self, bars: Mapping[str, SymbolBars], count: int) -> None:
        self._numbers = {symbol: series.numbers for symbol, series in bars.items()}
        self._count = count

    def newest(self, symbol: str, known: float) -> float:
        """The bar (a day number) that an order waits for, sent when the bar `known` was the newest; inf for never."""
        numbers = self._numbers[symbol]
        at = int(np.searchsorted(numbers, known, side="right")) - 1 + self._count
        return float(numbers[at]) if at < len(numbers) else float("inf")
