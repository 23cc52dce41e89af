"""Formulas of indicators: arrays in, arrays out, equal to Backtrader's indicators bit for bit.

Belongs here: pure functions of numbers, NaN before they are ready. Does not belong here: decisions.

An input has one value a bar, the oldest first. Its leading NaN are the warm-up of what made it, so that formulas can be
put into one another; NaN elsewhere count as in Backtrader.
"""

from strategies.indicators.averages import dema, ema, hma, sma, tema, wilder, wma
from strategies.indicators.columns import shifted
from strategies.indicators.crossings import Crossings, crossings, crossover
from strategies.indicators.deviations import Bands, bollinger, mean_deviation, stddev, zscore
from strategies.indicators.directional import DirectionalStrength, directional_strength
from strategies.indicators.extremes import highest, lowest
from strategies.indicators.oscillators import MACD, Stochastic, cci, macd, momentum, roc, rsi, stochastic, williams_r
from strategies.indicators.ranges import atr, true_range

__all__ = [
    "MACD",
    "Bands",
    "Crossings",
    "DirectionalStrength",
    "Stochastic",
    "atr",
    "bollinger",
    "cci",
    "crossings",
    "crossover",
    "dema",
    "directional_strength",
    "ema",
    "highest",
    "hma",
    "lowest",
    "macd",
    "mean_deviation",
    "momentum",
    "roc",
    "rsi",
    "shifted",
    "sma",
    "stddev",
    "stochastic",
    "tema",
    "true_range",
    "wilder",
    "williams_r",
    "wma",
    "zscore",
]
