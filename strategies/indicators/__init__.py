"""Formulas of indicators: arrays in, arrays out, equal to Backtrader's indicators bit for bit.

Belongs here: pure functions of numbers, NaN before they are ready. Does not belong here: decisions.
"""

from strategies.indicators.averages import sma
from strategies.indicators.crossings import crossover

__all__ = ["crossover", "sma"]
