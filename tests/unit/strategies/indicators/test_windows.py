"""Sums and extremes of sliding windows are those of Python, window by window."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from strategies.errors import StrategyError
from strategies.indicators import atr, crossover, ema, highest, macd, rsi, shifted, sma, stddev, stochastic
from strategies.indicators.columns import not_ready, read_only
from strategies.indicators.windows import common_unit, fill_ages, fill_extremes, fill_sums, fill_weighted
from tests.unit.strategies.indicators.backtraders import bits

# where a sum rounds is decided far below its last bit: halves of units, and what breaks the tie
ROUGH = st.sampled_from([1.0, -1.0, 2.0**-53, -(2.0**-53), 2.0**-54, 2.0**-106, 1e16, -1e16, 2.0**53, 0.1, 0.0, -0.0])
WIDE = st.floats(allow_nan=False, allow_infinity=False)
ODD = st.one_of(st.floats(0.0, 10.0), st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 1.7e308, -1.7e308]))
CENTS = st.integers(-50000, 50000).map(lambda cents: cents / 100)
COLUMNS = st.one_of(*(st.lists(numbers, max_size=40) for numbers in (ROUGH, WIDE, ODD, CENTS)))
PERIODS = st.integers(1, 12)


def by_hand(column, period, of_window):
    """The results window by window, up to the first that Python refuses, and the index of that one."""
    results = [math.nan] * len(column)
    for at in range(period - 1, len(column)):
        try:
            results[at] = of_window(column[at - period + 1 : at + 1])
        except (ValueError, OverflowError):
            return results, at
    return results, -1


def filled(fill, column, period, *options):
    out = not_ready(len(column))
    refused = fill(read_only(np.array(column, dtype=float)), period - 1, period, *options, out)
    return out.tolist(), refused


@settings(max_examples=150)
@given(column=COLUMNS, period=PERIODS)
@example(column=[1e308, 1e308, -1e308], period=3)
@example(column=[-1e308, 1e308, 1e308, -1e308], period=3)
@example(column=[math.inf, 1.0, -math.inf], period=3)
@example(column=[1e300, 1.0, 2.0, 3.0, 4.0], period=2)
def test_a_sliding_sum_is_rounded_once_as_fsum(column, period):
    expected, refused = by_hand(column, period, lambda window: math.fsum(window) / period)
    sums, said = filled(fill_sums, column, period, float(period))
    assert said == refused
    assert bits(sums[: max(refused, 0) or None]) == bits(expected[: max(refused, 0) or None])


def test_a_long_sliding_sum_stays_exact():
    moves = np.random.default_rng(11).normal(0.0, 1.0, 12000)
    column = (1000.0 + np.cumsum(moves) * math.pi).tolist()
    expected, _ = by_hand(column, 30, lambda window: math.fsum(window) / 30)
    assert bits(sma(np.array(column), 30)) == bits(expected)


@pytest.mark.parametrize("span", [0, 5, 20, 38, 39, 40, 41, 42, 43, 60])
@pytest.mark.parametrize("period", [1, 2, 31, 100])
def test_a_sum_is_rounded_once_however_far_its_numbers_lie_apart(span, period):
    generator = np.random.default_rng(span)
    column = np.ldexp(generator.uniform(0.5, 1.0, 400), generator.integers(0, span + 1, 400))
    column *= generator.choice([-1.0, 1.0, 1.0], 400)
    expected, _ = by_hand(column.tolist(), period, lambda window: math.fsum(window) / period)
    assert bits(sma(column, period)) == bits(expected)


def test_a_unit_is_found_for_prices_and_none_for_what_floats_cannot_part():
    def unit(*numbers, period=30):
        return common_unit(read_only(np.array(numbers)).view(np.int64), 0, period)

    assert unit(0.1, 123.45, -600.0, 0.0) == 2.0**-8
    assert unit(0.0, -0.0) == 1.0
    assert unit(1.0, 2.0**40) > 0.0
    assert unit(1.0, 2.0**44) == unit(1.0, math.nan) == unit(1.0, math.inf) == unit(5e-324, 5e-324) == 0.0


@settings(max_examples=60)
@given(column=COLUMNS, period=PERIODS, data=st.data())
def test_a_weighted_sum_is_rounded_once_as_fsum(column, period, data):
    weights = data.draw(st.lists(st.floats(-3.0, 3.0), min_size=period, max_size=period))

    def weighted(window):
        return 0.7 * math.fsum(value * weight for value, weight in zip(window, weights, strict=True))

    expected, refused = by_hand(column, period, weighted)
    out = not_ready(len(column))
    said = fill_weighted(read_only(np.array(column, dtype=float)), period - 1, read_only(np.array(weights)), 0.7, out)
    assert said == refused
    assert bits(out.tolist()[: max(refused, 0) or None]) == bits(expected[: max(refused, 0) or None])


@settings(max_examples=60)
@given(column=COLUMNS, period=PERIODS)
def test_extremes_are_pythons_of_each_window(column, period):
    for sign, extreme in ((1.0, max), (-1.0, min)):
        expected, _ = by_hand(column, period, extreme)
        assert bits(filled(fill_extremes, column, period, sign)[0]) == bits(expected)


@settings(max_examples=60)
@given(column=st.lists(st.one_of(st.integers(0, 3).map(float), st.just(math.nan)), max_size=30), period=PERIODS)
def test_ages_of_extremes_count_from_the_latest_or_the_earliest(column, period):
    for sign, extreme in ((1.0, max), (-1.0, min)):
        for latest in (True, False):

            def age(window, extreme=extreme, latest=latest):
                places = [at for at, value in enumerate(window) if value == extreme(window)]
                return float(len(window) - 1 - (max(places) if latest else min(places)))  # ValueError: there is none

            expected, refused = by_hand(column, period, age)
            ages, said = filled(fill_ages, column, period, sign, latest)
            assert said == refused
            assert bits(ages) == bits(expected)


# ---------------------------------------------------------------- what formulas refuse, and how they fit together


@pytest.mark.parametrize("period", [0, -3, 2.5, "20"])
def test_a_period_is_a_whole_number_of_bars(period):
    with pytest.raises(StrategyError, match="period"):
        sma(np.ones(5), period)


def test_columns_of_one_symbol_have_one_length():
    three, four = np.ones(3), np.ones(4)
    for formula in (
        lambda: atr(three, three, four, 2),
        lambda: stochastic(four, three, four),
        lambda: crossover(three, four),
    ):
        with pytest.raises(StrategyError, match="lengths differ"):
            formula()


def test_no_value_comes_from_the_future():
    with pytest.raises(StrategyError, match="future"):
        shifted(np.ones(3), -1)


def test_a_sum_that_is_too_large_is_an_error_that_names_the_bar():
    column = np.array([1.0, 1.7e308, 1.7e308, 1.0])
    with pytest.raises(StrategyError, match="index 2"):
        sma(column, 2)
    with pytest.raises(StrategyError, match="index 1"):
        stddev(column, 1)


def test_leading_nan_are_the_warm_up_of_what_made_a_column():
    column = np.array([math.nan, math.nan, 1.0, 2.0, math.nan, 4.0, 5.0, 6.0])
    assert bits(ema(column, 2)) == bits([math.nan] * 3 + [1.5] + [math.nan] * 4)
    assert bits(sma(column, 2)) == bits([math.nan] * 3 + [1.5, math.nan, math.nan, 4.5, 5.5])
    assert bits(highest(np.full(4, math.nan), 2)) == ["nan"] * 4


def test_a_level_can_be_crossed_too():
    column = np.array([1.0, 3.0, 2.0, 2.0, 1.0, 5.0])
    assert crossover(column, 2.0).tolist()[1:] == [1.0, 0.0, 0.0, -1.0, 1.0]


def test_an_index_without_gains_or_losses_is_in_the_middle():
    assert rsi(np.full(6, 50.0), 3).tolist()[3:] == [50.0] * 3
    assert rsi(np.arange(6.0), 3).tolist()[3:] == [100.0] * 3
    assert bits(rsi(np.full(6, 50.0), 3, safediv=False)) == ["nan"] * 6


def test_integers_and_strided_columns_are_taken_as_numbers():
    table = np.arange(40).reshape(20, 2)
    assert sma(table[:, 0], 4).tolist()[3:] == sma(np.arange(0.0, 40.0, 2.0), 4).tolist()[3:]


def test_results_by_name():
    column = np.arange(60.0)
    difference, signal = macd(column)
    assert bits(macd(column).macd) == bits(difference)
    assert bits(macd(column).signal) == bits(signal)
