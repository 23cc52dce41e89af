"""The crossover that examples and documentation use."""

from itertools import pairwise

import pytest

from strategies.errors import ParameterError
from strategies.sma_crossover import SMACrossover
from tests.unit.strategies.markets import run, walk


def crossings(closes, short, long):
    """Numbers of the bars (from 1) at which the short average crosses, with the sign, by hand."""
    found, last = [], 0
    for bar in range(long, len(closes) + 1):
        gap = sum(closes[bar - short : bar]) / short - sum(closes[bar - long : bar]) / long
        sign = (gap > 0) - (gap < 0)
        if last and sign and sign != last:
            found.append((bar, sign))
        last = sign or last
    return found


def test_it_trades_exactly_at_the_crossings():
    closes = walk(400, seed=3)
    done = run(SMACrossover, closes, sma_short=5, sma_long=20, allow_short=True)
    expected = [(bar, sign) for bar, sign in crossings(closes, 5, 20) if bar < len(closes)]
    assert [(fill.decided, 1 if fill.size > 0 else -1) for fill in done.fills] == expected
    assert len(expected) > 10


def test_long_only_starts_with_a_buy_and_alternates():
    closes = walk(400, seed=3)
    sizes = run(SMACrossover, closes, sma_short=5, sma_long=20).sizes()
    assert sizes[0] > 0
    assert all(after == -before for before, after in pairwise(sizes) if before > 0)


def test_it_fills_at_the_next_bar():
    for fill in run(SMACrossover, walk(200, seed=3), sma_short=5, sma_long=20).fills:
        assert fill.filled == fill.decided + 1


def test_an_average_that_is_above_from_the_start_is_no_crossing():
    assert run(SMACrossover, [float(100 + bar) for bar in range(60)], sma_short=5, sma_long=20).fills == []


def test_a_step_up_is_bought_at_the_bar_that_shows_it():
    done = run(SMACrossover, [100.0 - bar * 0.01 for bar in range(30)] + [150.0] * 5, sma_short=2, sma_long=10)
    (fill,) = done.fills
    assert (fill.decided, fill.filled, fill.price) == (31, 32, 150.0)
    assert fill.size == 633.0  # 95 % of 100,000 at 150


@pytest.mark.parametrize(("short", "long"), [(50, 20), (20, 20)])
def test_averages_in_the_wrong_order_are_refused_and_never_swapped(short, long):
    with pytest.raises(ParameterError) as caught:
        run(SMACrossover, walk(100), sma_short=short, sma_long=long)
    assert str(caught.value) == f"sma_short < sma_long must hold, but sma_short = {short}, sma_long = {long}."
