"""The rules of the single strategies, at bars where one can say by hand what they must do."""

import math
from itertools import pairwise

import backtrader as bt
import pytest

from strategies.breakout import ATRBreakout, DonchianBreakout, KeltnerBreakout
from strategies.mean_reversion import BollingerReversion, RSIReversion, ZScoreReversion
from strategies.momentum import CrossSectionalRotation, DualMomentum, RSIMomentum
from strategies.timing import ADXTrend, MACDTiming, StochasticTiming
from tests.unit.strategies.directional_movement import DirectionalStrength
from tests.unit.strategies.markets import frame, run, walk


def rise(rate, bars, start=100.0):
    return [start * (1 + rate) ** bar for bar in range(bars)]


def decided(done, symbol=None):
    return [(fill.decided, 1 if fill.size > 0 else -1) for fill in done.fills if symbol in (None, fill.symbol)]


# ---------------------------------------------------------------------- momentum


def test_dual_momentum_holds_the_best_riser():
    done = run(DualMomentum, {"A": rise(0.001, 80), "B": rise(0.003, 80)}, lookback=20, top=1, rebalance="bar")
    assert [(fill.symbol, fill.decided) for fill in done.fills] == [("B", 21)]


def test_dual_momentum_stays_in_cash_while_all_fall():
    falling = {"A": rise(-0.001, 80), "B": rise(-0.003, 80)}
    assert run(DualMomentum, falling, lookback=20, top=1).fills == []
    done = run(DualMomentum, falling, lookback=20, top=1, allow_short=True)
    assert [(fill.symbol, fill.size < 0) for fill in done.fills] == [("B", True)]


def test_dual_momentum_wants_more_than_the_least_return():
    rising = rise(0.001, 80)  # 2.02 % in 20 bars
    assert len(run(DualMomentum, rising, lookback=20, min_return=0.02, rebalance="bar").fills) == 1
    assert run(DualMomentum, rising, lookback=20, min_return=0.0203, rebalance="bar").fills == []


def test_a_rotation_looks_again_at_the_first_bar_of_a_month_only():
    # B overtakes in the middle of March 2020; bars are days from 2020-01-01
    closes = {"A": rise(0.003, 70) + [rise(0.003, 70)[-1]] * 50, "B": [100.0] * 70 + rise(0.01, 50)}
    done = run(CrossSectionalRotation, closes, lookback=20, skip=0, top=1, rebalance="month")
    assert [(fill.symbol, fill.size > 0, fill.decided) for fill in done.fills] == [
        ("A", True, 21),  # the first bar with a score
        ("A", False, 92),  # 2020-04-01
        ("B", True, 92),
    ]


def test_a_rotation_skips_the_latest_bars():
    closes = {"A": [*rise(0.002, 40), 60.0, 60.0, 60.0], "B": rise(0.001, 43)}
    done = run(CrossSectionalRotation, closes, lookback=20, skip=10, top=1, rebalance="bar")
    assert decided(done, "B") == []


def test_a_rotation_keeps_what_stays_chosen():
    done = run(CrossSectionalRotation, {s: rise(0.001 * i, 90) for i, s in enumerate("ABC")},
               lookback=20, skip=0, top=2, rebalance="bar")  # fmt: skip
    assert sorted(fill.symbol for fill in done.fills) == ["B", "C"]


def test_rsi_momentum_buys_strength_and_leaves_when_it_fades():
    closes = [100.0] * 20 + rise(0.01, 10)[1:] + [108.0, 100.0, 95.0, 95.0]
    rsi = rsi_of(closes)
    expected = next(bar for bar in range(20, 40) if rsi[bar] > 60)
    left = next(bar for bar in range(expected, 40) if rsi[bar] < 50)
    done = run(RSIMomentum, closes, rsi_period=5, rsi_entry=60.0, rsi_exit=50.0)
    assert decided(done) == [(expected, 1), (left, -1)]


def rsi_of(closes, period=5):
    """Wilder's index by bar number, from the definition."""
    moves = [after - before for before, after in pairwise(closes)]
    ups, downs = [max(move, 0.0) for move in moves], [max(-move, 0.0) for move in moves]
    up, down, found = sum(ups[:period]) / period, sum(downs[:period]) / period, {}
    for bar in range(period, len(moves) + 1):
        if bar > period:
            up = (up * (period - 1) + ups[bar - 1]) / period
            down = (down * (period - 1) + downs[bar - 1]) / period
        found[bar + 1] = 50.0 if up == down == 0 else 100.0 - 100.0 / (1.0 + up / down) if down else 100.0
    return found


# ---------------------------------------------------------------------- mean reversion


def test_rsi_reversion_buys_weakness_and_leaves_on_recovery():
    closes = [100.0 + (bar % 2) for bar in range(20)] + [95.0, 90.0, 85.0, 95.0, 100.0, 105.0, 105.0]
    rsi = rsi_of(closes)
    bought = next(bar for bar in sorted(rsi) if rsi[bar] < 30)
    left = next(bar for bar in range(bought, 30) if rsi[bar] > 55)
    assert decided(run(RSIReversion, closes, rsi_period=5)) == [(bought, 1), (left, -1)]


def banded(last):
    """Twenty closes 99, 101, ... and then some."""
    return [99.0 + 2 * (bar % 2) for bar in range(20)] + last


def test_bollinger_buys_below_the_band_and_leaves_at_the_average():
    done = run(BollingerReversion, banded([95.0, 96.0, 99.9, 99.9]), band_period=20)
    assert decided(done) == [(21, 1), (23, -1)]


def test_bollinger_may_wait_for_more_than_the_average():
    done = run(BollingerReversion, banded([95.0, 96.0, 99.9, 102.0, 102.0]), band_period=20, exit_deviations=0.5)
    assert decided(done) == [(21, 1), (24, -1)]


def test_a_score_beyond_the_stop_is_no_entry():
    assert decided(run(ZScoreReversion, banded([80.0, 100.0, 100.0]), lookback=20, stop_z=4.0)) == []
    assert decided(run(ZScoreReversion, banded([80.0, 100.0, 100.0]), lookback=20, stop_z=6.0))[0] == (21, 1)


def test_a_score_that_passes_the_stop_ends_the_trade():
    done = run(ZScoreReversion, banded([97.0, 97.0, 60.0, 60.0]), lookback=20, entry_z=1.8, stop_z=4.0)
    assert decided(done) == [(21, 1), (23, -1)]


# ---------------------------------------------------------------------- breakout


def test_donchian_buys_above_the_highest_high_of_the_bars_before():
    level, above = ([100.0] * 25 + [close] * 2 for close in (101.0, 101.01))  # highs were 101
    assert decided(run(DonchianBreakout, frame(level, spread=1.0), entry_bars=20)) == []
    assert decided(run(DonchianBreakout, frame(above, spread=1.0), entry_bars=20)) == [(26, 1)]


def test_donchian_leaves_below_the_lowest_low_of_its_exit_channel():
    bars = frame([100.0] * 25 + [103.0, 103.0, 103.0, 98.0, 98.0], spread=1.0)
    done = run(DonchianBreakout, bars, entry_bars=20, exit_bars=10, atr_stop=50.0)
    assert decided(done) == [(26, 1), (29, -1)]


def test_donchian_stops_at_a_multiple_of_the_true_range_below_the_breakout():
    bars = frame([100.0] * 25 + [103.0, 103.0, 98.0, 98.0], opens=[100.0] * 26 + [103.0, 103.0, 98.0], spread=1.0)
    done = run(DonchianBreakout, bars, entry_bars=20, exit_bars=10, atr_period=10, atr_stop=1.0)
    true_range = (9 * 2.0 + 5.0) / 10  # 2 for every bar, 5 for the breakout
    assert done.fills[1].filled == 28
    assert done.fills[1].price == pytest.approx(103.0 - true_range)


def test_a_large_bar_is_an_atr_breakout_and_its_stop_trails():
    closes = [100.0] * 20 + [104.0, 108.0, 112.0, 100.0, 100.0]
    bars = frame(closes, spread=1.0)
    done = run(ATRBreakout, bars, atr_period=10, breakout=1.5, trail=2.0)
    assert done.fills[0].decided == 21
    ranges = [2.0] * 20 + [6.0] * 3  # high to low, the close before included
    atr = 2.0
    for true_range in ranges[20:23]:
        atr = (9 * atr + true_range) / 10
    assert (done.fills[1].decided, done.fills[1].filled) == (23, 24)
    assert done.fills[1].price == pytest.approx(112.0 - 2.0 * atr)


def test_a_small_bar_is_no_atr_breakout():
    assert run(ATRBreakout, frame([100.0] * 20 + [102.9] * 3, spread=1.0), atr_period=10, breakout=1.5).fills == []


def test_keltner_buys_outside_the_channel_and_leaves_at_its_middle():
    bars = frame([100.0] * 30 + [110.0, 111.0, 112.0, 101.0, 101.0], spread=1.0)
    assert decided(run(KeltnerBreakout, bars, average_period=20, atr_period=10)) == [(31, 1), (34, -1)]


# ---------------------------------------------------------------------- timing


def averaged(values, period):
    """Exponential average, begun with the simple one; None before that."""
    found = [None] * (period - 1) + [sum(values[:period]) / period]
    for value in values[period:]:
        found.append(found[-1] + (value - found[-1]) * 2 / (period + 1))
    return found


def test_macd_trades_where_it_crosses_its_signal_line():
    closes = walk(250, seed=6)
    fast, slow = averaged(closes, 12), averaged(closes, 26)
    macd = [a - b for a, b in zip(fast[25:], slow[25:], strict=True)]
    gaps = [a - b for a, b in zip(macd[8:], averaged(macd, 9)[8:], strict=True)]
    pairs = enumerate(pairwise(gaps), start=35)
    expected = [(bar, 1 if after > 0 else -1) for bar, (before, after) in pairs if before * after < 0 and bar < 250]
    assert len(expected) > 8
    assert decided(run(MACDTiming, closes, allow_short=True)) == expected


def test_stochastic_buys_crossings_among_the_lows_only():
    closes = [100 + 10 * math.sin(bar / 5) for bar in range(120)]
    done = run(StochasticTiming, frame(closes, spread=0.5), allow_short=True)
    lows = [closes[bar - 1] for bar, side in decided(done) if side > 0]
    highs = [closes[bar - 1] for bar, side in decided(done) if side < 0]
    assert len(lows) >= 2
    assert len(highs) >= 2
    assert max(lows) < 96
    assert min(highs) > 104


def test_adx_holds_the_trend_and_leaves_when_it_is_over():
    up = rise(0.01, 60)
    (bought, in_), (sold, out) = decided(run(ADXTrend, frame(up + rise(-0.01, 60, start=up[-1]), spread=0.2)))
    assert (in_, out) == (1, -1)
    assert bought < 40
    assert 60 < sold < 75


def test_directional_strength_equals_backtraders_where_that_has_a_value():
    class Comparing(bt.Strategy):
        def __init__(self):
            self.ours, self.theirs = DirectionalStrength(self.data), bt.ind.DirectionalMovementIndex(self.data)
            self.pairs = []

        def next(self):
            for ours, theirs in (("plus", "plusDI"), ("minus", "minusDI"), ("adx", "adx")):
                self.pairs.append((getattr(self.ours, ours)[0], getattr(self.theirs, theirs)[0]))

    compared = run(Comparing, frame(walk(120, seed=8), spread=0.7)).strategy.pairs
    assert len(compared) > 200
    assert all(ours == theirs for ours, theirs in compared)
