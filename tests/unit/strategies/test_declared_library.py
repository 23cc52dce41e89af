"""Every declaration of the library decides, bit for bit, as Backtrader's indicators bar by bar."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.base_strategy import is_declared
from strategies.parameters import Choice
from strategies.registry import LIBRARY, load_strategy
from tests.unit.strategies.bar_by_bar import BAR_BY_BAR
from tests.unit.strategies.markets import frame, run

EVERY = pytest.mark.parametrize("declared", BAR_BY_BAR, ids=lambda declared: declared.__name__)


def random_bars(chance, count, tick):
    """Bars with gaps, ties, stretches in which nothing moves, and prices on a grid."""
    closes = 40.0 * np.exp(np.cumsum(chance.normal(0.0, 0.03, count)) + 0.2 * np.sin(np.arange(count) / 9.0))
    still = int(chance.integers(0, count))
    closes[still : still + int(chance.integers(0, 25))] = closes[still]
    opens = np.where(chance.random(count) < 0.5, np.roll(closes, 1), closes * np.exp(chance.normal(0.0, 0.02, count)))
    closes, opens = (np.maximum(np.round(prices / tick), 1.0) * tick for prices in (closes, opens))
    bars = frame(closes.tolist(), opens=opens.tolist())
    bars["high"] += np.round(chance.exponential(0.4, count) / tick) * tick * (chance.random(count) < 0.7)
    bars["low"] -= np.minimum(np.round(chance.exponential(0.4, count) / tick) * tick, bars["low"] / 2)
    return bars


def random_params(chance, space):
    """Values anywhere in what is searched, periods short enough for these bars."""
    while True:
        params = {}
        for name, parameter in space.tuned.items():
            if isinstance(parameter, Choice):
                params[name] = parameter.options[int(chance.integers(0, len(parameter.options)))]
            elif isinstance(parameter.low, int):
                params[name] = int(chance.integers(parameter.low, min(parameter.high, parameter.low + 25) + 1))
            else:
                params[name] = float(chance.uniform(parameter.low, parameter.high))
        if all(constraint.holds(space.defaults | params) for constraint in space.constraints):
            return params


def happened(done):
    """What can be compared of a run: fills, statuses, and the value at the end, to the last bit."""
    fills = [(*vars(fill).items(), fill.price.hex(), float(fill.size).hex()) for fill in done.fills]
    return fills, done.statuses, done.value.hex()


@EVERY
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32))
def test_a_declaration_decides_as_backtraders_indicators_do(declared, seed):
    chance = np.random.default_rng(seed)
    count, tick = int(chance.integers(100, 200)), float(chance.choice([0.01, 0.5, 0.0001]))
    bars = {symbol: random_bars(chance, count, tick) for symbol in "AB"[: int(chance.integers(1, 3))]}
    if "B" in bars:
        bars["B"] = bars["B"].iloc[int(chance.integers(0, 30)) :]
    params = random_params(chance, declared.space) | {"allow_short": bool(chance.random() < 0.5)}
    assert happened(run(declared, bars, **params)) == happened(run(BAR_BY_BAR[declared], bars, **params))


def test_every_declared_strategy_of_the_library_is_compared():
    assert {load_strategy(path) for path in LIBRARY if is_declared(load_strategy(path))} == set(BAR_BY_BAR)
    assert not any(is_declared(other) for other in BAR_BY_BAR.values())
