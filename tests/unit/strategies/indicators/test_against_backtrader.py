"""Every formula gives the numbers of Backtrader's indicator of the same parameters, to the last bit."""

import backtrader as bt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import indicators as ind
from tests.unit.strategies.directional_movement import DirectionalStrength
from tests.unit.strategies.indicators.backtraders import (
    LockedPrices,
    bars_of,
    bits,
    first_known,
    lines_of,
    prices,
)

PERIODS = st.integers(1, 12)


def closes(formula, **options):
    return lambda bars, period: formula(bars.array("close"), period, **options)


def begins_finite(bars, count):
    """Whether the other formula's first value is a number: where it is NaN it cannot be told from warm-up."""
    return bool(np.isfinite([*bars.open[:count], *bars.close[:count]]).all())


def ranges(formula, **options):
    return lambda bars, period: formula(*(bars.array(name) for name in ("high", "low", "close")), period, **options)


# name: Backtrader's indicator, the formula, the index of its first values for a period (one or one a line)
CASES = {
    "sma": (lambda d, n: bt.ind.SMA(d.close, period=n), closes(ind.sma), lambda n: n - 1),
    "ema": (lambda d, n: bt.ind.EMA(d.close, period=n), closes(ind.ema), lambda n: n - 1),
    "wilder": (lambda d, n: bt.ind.SmoothedMovingAverage(d.close, period=n), closes(ind.wilder), lambda n: n - 1),
    "wma": (lambda d, n: bt.ind.WMA(d.close, period=n), closes(ind.wma), lambda n: n - 1),
    "dema": (lambda d, n: bt.ind.DEMA(d.close, period=n), closes(ind.dema), lambda n: 2 * n - 2),
    "tema": (lambda d, n: bt.ind.TEMA(d.close, period=n), closes(ind.tema), lambda n: 3 * n - 3),
    "hma": (
        lambda d, n: bt.ind.HMA(d.close, period=n + 1),
        lambda bars, n: ind.hma(bars.array("close"), n + 1),
        lambda n: n + int((n + 1) ** 0.5) - 1,
    ),
    "highest": (lambda d, n: bt.ind.Highest(d.close, period=n), closes(ind.highest), lambda n: n - 1),
    "lowest": (lambda d, n: bt.ind.Lowest(d.close, period=n), closes(ind.lowest), lambda n: n - 1),
    "stddev": (lambda d, n: bt.ind.StdDev(d.close, period=n), closes(ind.stddev), lambda n: n - 1),
    "mean_deviation": (
        lambda d, n: bt.ind.MeanDev(d.close, period=n),
        closes(ind.mean_deviation),
        lambda n: 2 * n - 2,
    ),
    "bollinger": (
        lambda d, n: bt.ind.BollingerBands(d.close, period=n, devfactor=1.7),
        closes(ind.bollinger, width=1.7),
        lambda n: n - 1,
    ),
    "zscore": (
        lambda d, n: bt.DivByZero(d.close - bt.ind.SMA(d.close, period=n), bt.ind.StdDev(d.close, period=n), zero=0.0),
        closes(ind.zscore),
        lambda n: n - 1,
    ),
    "roc": (lambda d, n: bt.ind.ROC(d.close, period=n), closes(ind.roc), lambda n: n),
    "momentum": (lambda d, n: bt.ind.Momentum(d.close, period=n), closes(ind.momentum), lambda n: n),
    "shifted": (lambda d, n: d.close(-n), closes(ind.shifted), lambda n: n),
    "rsi": (lambda d, n: bt.ind.RSI(d.close, period=n), closes(ind.rsi, safediv=False), lambda n: n),
    "rsi, safe": (lambda d, n: bt.ind.RSI(d.close, period=n, safediv=True), closes(ind.rsi), lambda n: n),
    "macd": (
        lambda d, n: bt.ind.MACD(d.close, period_me1=n, period_me2=n + 3, period_signal=4),
        lambda bars, n: ind.macd(bars.array("close"), n, n + 3, 4),
        lambda n: (n + 2, n + 5),
    ),
    "true_range": (
        lambda d, n: bt.ind.TrueRange(d),
        lambda bars, n: ind.true_range(*(bars.array(name) for name in ("high", "low", "close"))),
        lambda n: 1,
    ),
    "atr": (lambda d, n: bt.ind.ATR(d, period=n), ranges(ind.atr), lambda n: n),
    "stochastic": (
        lambda d, n: bt.ind.Stochastic(d, period=n, period_dfast=2, period_dslow=3, safediv=True, safezero=0.5),
        ranges(ind.stochastic, smooth_k=2, smooth_d=3, flat=0.5),
        lambda n: (n, n + 2),
    ),
    "williams_r": (lambda d, n: bt.ind.WilliamsR(d, period=n), ranges(ind.williams_r), lambda n: n - 1),
    "cci": (lambda d, n: bt.ind.CCI(d, period=n, factor=0.02), ranges(ind.cci, factor=0.02), lambda n: 2 * n - 2),
    "directional_strength": (
        lambda d, n: DirectionalStrength(d, period=n),
        ranges(ind.directional_strength),
        lambda n: (n, n, 2 * n - 1),
    ),
    "crossover": (
        lambda d, n: bt.ind.CrossOver(d.close, bt.ind.SMA(d.open, period=n)),
        lambda bars, n: ind.crossover(bars.array("close"), ind.sma(bars.array("open"), n)),
        lambda n: n,
    ),
    "ema of sma": (
        lambda d, n: bt.ind.EMA(bt.ind.SMA(d.close, period=3), period=n),
        lambda bars, n: ind.ema(ind.sma(bars.array("close"), 3), n),
        lambda n: n + 1,
    ),
    "rsi of macd": (
        lambda d, n: bt.ind.RSI(bt.ind.MACD(d.close, period_me1=2, period_me2=4).macd, period=n, safediv=True),
        lambda bars, n: ind.rsi(ind.macd(bars.array("close"), 2, 4).macd, n),
        lambda n: n + 3,
    ),
}
OF_ANOTHER = {"crossover", "ema of sma", "rsi of macd"}  # whose input is the result of another formula
EVERY = pytest.mark.parametrize("name", CASES)


def columns(result):
    return list(result) if isinstance(result, tuple) else [result]


@EVERY
@settings(max_examples=10)
@given(bars=prices(), period=PERIODS)
def test_a_formula_is_backtraders_indicator_to_the_last_bit(name, bars, period):
    make, formula, _ = CASES[name]
    expected = lines_of(lambda data: make(data, period), bars)
    if expected is None or (name in OF_ANOTHER and not begins_finite(bars, period + 4)):
        return
    assert [bits(column) for column in columns(formula(bars, period))] == [bits(line) for line in expected]


@EVERY
@pytest.mark.parametrize("period", [2, 3, 5, 30])
def test_the_first_value_is_where_the_docstring_says(name, period):
    moves = np.random.default_rng(7).normal(0.0, 1.0, 150)
    close = (100.0 + np.cumsum(moves)).tolist()
    bars = bars_of(close)
    _, formula, first = CASES[name]
    known = [first_known(column) for column in columns(formula(bars, period))]
    firsts = first(period)
    assert known == (list(firsts) if isinstance(firsts, tuple) else [firsts] * len(known))


@EVERY
def test_a_series_that_is_too_short_is_not_ready(name):
    _, formula, _ = CASES[name]
    for count in range(2):  # no indicator here is ready at its first bar
        for column in columns(formula(bars_of([7.0] * count), 4)):
            assert len(column) == count
            assert first_known(column) is None


@EVERY
def test_a_formula_leaves_its_input_alone_and_takes_arrays_nobody_may_write_to(name):
    bars = bars_of([float(at % 7) + 1.0 for at in range(60)])
    _, formula, _ = CASES[name]
    free = [bits(column) for column in columns(formula(bars, 5))]
    locked = LockedPrices(*(list(getattr(bars, name)) for name in ("open", "high", "low", "close")))
    assert [bits(column) for column in columns(formula(locked, 5))] == free
