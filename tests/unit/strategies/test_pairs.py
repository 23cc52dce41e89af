"""Two symbols against each other."""

import math

import backtrader as bt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.errors import ParameterError, StrategyError
from strategies.pairs import PairsTrading, Spread, measure_spread
from tests.unit.strategies.markets import frame, run, walk


def pair(bars=200, *, seed=2, beta=1.0):
    """The second symbol wanders; the first follows its power beta with a swing of its own."""
    second = walk(bars, seed=seed, volatility=0.03)
    swing = np.random.default_rng(seed).normal(0.0, 0.01, bars) + 0.03 * np.sin(np.arange(bars) / 4.0)
    first = [100.0 * (price / 100.0) ** beta * math.exp(move) for price, move in zip(second, swing, strict=True)]
    return {"A": first, "B": second}


def positions(done):
    """Positions (A, B) after each pair of fills of one bar."""
    held, states = {"A": 0.0, "B": 0.0}, {}
    for fill in done.fills:
        held[fill.symbol] += fill.size
        states[fill.filled] = (held["A"], held["B"])
    return list(states.values())


def test_legs_are_always_opposite():
    states = positions(run(PairsTrading, pair(), lookback=40))
    assert len(states) >= 4
    assert all(a * b < 0 or (a, b) == (0, 0) for a, b in states)
    assert any(a > 0 for a, _ in states)
    assert any(a < 0 for a, _ in states)


def test_the_dear_symbol_is_sold_and_the_cheap_one_bought():
    second = walk(60, seed=4, volatility=0.01)
    noise = np.random.default_rng(1).normal(0.0, 0.005, 60)
    first = [price * math.exp(move) for price, move in zip(second, noise, strict=True)]
    first[-3:] = [price * 1.05 for price in first[-3:]]
    done = run(PairsTrading, {"A": first, "B": second}, lookback=50, hedge="equal", stop_z=50.0)
    assert [(fill.symbol, fill.decided, fill.size < 0) for fill in done.fills] == [("A", 58, True), ("B", 58, False)]


def test_legs_are_split_one_to_beta():
    done = run(PairsTrading, pair(beta=2.0), lookback=60, hedge="ols")
    first, second = done.fills[:2]
    money = [abs(fill.size) * fill.price for fill in (first, second)]
    assert sum(money) == pytest.approx(95_000.0, rel=0.02)
    assert 1.3 < money[1] / money[0] < 3.0


def test_equal_hedge_puts_the_same_money_in_both_legs():
    first, second = run(PairsTrading, pair(beta=2.0), lookback=60, hedge="equal").fills[:2]
    assert abs(first.size) * first.price == pytest.approx(47_500.0, rel=0.02)
    assert abs(second.size) * second.price == pytest.approx(47_500.0, rel=0.02)


def test_a_cap_on_a_position_scales_both_legs():
    first, second = run(PairsTrading, pair(beta=2.0), lookback=60, max_position_size=0.2).fills[:2]
    free_first, free_second = run(PairsTrading, pair(beta=2.0), lookback=60).fills[:2]
    assert max(abs(f.size) * f.price for f in (first, second)) == pytest.approx(20_000.0, rel=0.02)
    assert first.size / second.size == pytest.approx(free_first.size / free_second.size, rel=0.02)


def test_a_leg_whose_other_was_refused_is_closed():
    class RefusesB(bt.brokers.BackBroker):
        def transmit(self, order, check=True):
            if order.data._name == "B":
                order.submit(self)
                order.reject(self)
                self.notify(order)
                return order
            return super().transmit(order, check)

    done = run(PairsTrading, pair(), lookback=40, broker=RefusesB())
    assert done.fills
    assert {fill.symbol for fill in done.fills} == {"A"}
    opened = done.fills[::2]
    closed = done.fills[1::2]
    assert all(after.decided <= before.filled + 1 for before, after in zip(opened, closed, strict=False))


def test_bars_that_only_one_symbol_has_are_not_looked_at():
    bars = {symbol: frame(closes) for symbol, closes in pair().items()}
    common = {symbol: table.drop(index=bars["B"].index[100:103]) for symbol, table in bars.items()}
    more = {"A": bars["A"], "B": common["B"]}
    decided = [[(f.symbol, bars["A"].index.get_loc(t[f.symbol].index[f.decided - 1])) for f in done.fills]
               for t in (common, more) for done in [run(PairsTrading, t, lookback=40)]]  # fmt: skip
    assert decided[0] == decided[1]


def test_beyond_the_stop_the_pair_is_given_up():
    second = walk(80, seed=4, volatility=0.01)
    noise = np.random.default_rng(1).normal(0.0, 0.005, 80)
    first = [price * math.exp(move) for price, move in zip(second, noise, strict=True)]
    first[60:62] = [price * 1.013 for price in first[60:62]]
    first[62:] = [price * 1.2 for price in first[62:]]
    done = run(PairsTrading, {"A": first, "B": second}, lookback=50, hedge="equal", entry_z=1.8, stop_z=4.0)
    assert [fill.decided for fill in done.fills if fill.symbol == "A"][:2] == [61, 63]


@pytest.mark.parametrize("symbols", ["A", "ABC"])
def test_another_number_of_symbols_than_two_is_refused(symbols):
    with pytest.raises(StrategyError, match=f"symbols: PairsTrading needs exactly two, not {len(symbols)}"):
        run(PairsTrading, {symbol: walk(80) for symbol in symbols})


def test_a_pair_without_shorting_is_refused():
    with pytest.raises(ParameterError, match="allow_short must be one of True, not False"):
        PairsTrading.limits_for({"allow_short": False})


def test_the_spread_of_known_numbers():
    # second 0, 1, 2; first 1, 1, 4: slope 3/2, spreads 1, -1/2, 1, mean 1/2, deviation sqrt(1/2)
    spread = measure_spread([(1.0, 0.0), (1.0, 1.0), (4.0, 2.0)], fit=True)
    assert spread.beta == pytest.approx(1.5)
    assert spread.z == pytest.approx(0.5 / math.sqrt(0.5))


def test_a_second_symbol_that_never_moves_has_no_slope():
    assert measure_spread([(1.0, 2.0), (1.1, 2.0), (1.3, 2.0)], fit=True).beta == 0.0


def test_a_spread_that_never_moves_has_no_standing():
    assert measure_spread([(0.3, 0.1), (0.5, 0.3), (0.9, 0.7)], fit=False) == Spread(1.0, 0.0)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=5, max_size=40),
    st.floats(-3, 3),
)
def test_the_standing_does_not_depend_on_the_level_of_prices(window, shift):
    here = measure_spread(window, fit=False)
    there = measure_spread([(first + shift, second) for first, second in window], fit=False)
    deviation = np.std([first - second for first, second in window])
    if deviation > 1e-3:
        assert there.z == pytest.approx(here.z, abs=1e-6)
        assert abs(here.z) <= math.sqrt(len(window) - 1) + 1e-9
