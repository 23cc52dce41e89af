"""What must hold for every strategy that ships."""

import importlib
import inspect
import math
import pkgutil
from functools import cache

import numpy as np
import pandas as pd
import pytest

import strategies
from strategies.base_strategy import BaseStrategy
from strategies.errors import ParameterError
from strategies.parameters import Choice
from strategies.registry import LIBRARY, load_strategy
from tests.unit.strategies.markets import frame, run

CLASSES = {path.rpartition(".")[2]: load_strategy(path) for path in LIBRARY}
EVERY = pytest.mark.parametrize("name", CLASSES)
TUNED = [(name, parameter) for name, cls in CLASSES.items() for parameter in cls.space.tuned]

BARS = 240
LONG_AND_SHORT = {"allow_short": True}
FAST = {
    "DualMomentum": {"lookback": 30, "rebalance": "week", "top": 1},
    "CrossSectionalRotation": {"lookback": 30, "skip": 5, "rebalance": "week", "top": 1},
    "PairsTrading": {"lookback": 40},
}
"""Parameters with which a strategy has something to do in a year of bars."""


def shaken(seed, *, bars, length, height):
    """A swinging, noisy series with honest highs and lows, the same for the same seed."""
    chance = np.random.default_rng(seed)
    swing = height * np.sin(2 * math.pi * np.arange(bars) / length)
    drift = np.cumsum(chance.normal(0.0, 0.012, bars))
    drift[bars // 2 :] += 0.3  # a shock, after which averages do not fit
    closes = (100.0 * np.exp(swing + drift + chance.normal(0.0, 0.015, bars))).tolist()
    table = frame(closes)
    table["high"] *= 1.0 + np.abs(chance.normal(0.0, 0.01, bars))
    table["low"] *= 1.0 - np.abs(chance.normal(0.0, 0.01, bars))
    return table


@cache
def market(name):
    """A market that the strategy can work with: two symbols that belong together, or two that do not."""
    if name == "PairsTrading":
        first = shaken(11, bars=BARS, length=45, height=0.15)
        chance = np.random.default_rng(5)
        wobble = np.exp(0.06 * np.sin(np.arange(BARS) / 6.0) + chance.normal(0.0, 0.02, BARS))
        return {"A": first, "B": first.assign(**{c: first[c] * wobble for c in ("open", "high", "low", "close")})}
    symbols = "ABCD" if name == "CrossSectionalRotation" else "AB"
    return {symbol: shaken(11 + i, bars=BARS, length=45 + 15 * i, height=0.15) for i, symbol in enumerate(symbols)}


def trade(name, *, tables=None, runonce=True, **params):
    return run(CLASSES[name], tables or market(name), runonce=runonce, **{**FAST.get(name, {}), **params})


@cache
def usual(name):
    return trade(name, **LONG_AND_SHORT).fills


@EVERY
def test_it_trades_and_closes_what_it_opens(name):
    sizes = [fill.size for fill in usual(name)]
    assert sum(size > 0 for size in sizes) >= 2
    assert sum(size < 0 for size in sizes) >= 2


@EVERY
def test_it_fills_at_later_bars_only(name):
    assert all(fill.filled > fill.decided for fill in usual(name))


@EVERY
def test_it_is_the_same_twice(name):
    assert trade(name, **LONG_AND_SHORT).fills == usual(name)


@EVERY
def test_bar_by_bar_is_the_same_as_at_once(name):
    assert trade(name, runonce=False, **LONG_AND_SHORT).fills == usual(name)


@EVERY
@pytest.mark.parametrize("cut", [101, 207])
def test_it_decides_the_same_without_the_future(name, cut):
    known = {symbol: table.iloc[:cut] for symbol, table in market(name).items()}
    assert trade(name, tables=known, **LONG_AND_SHORT).fills == [fill for fill in usual(name) if fill.filled <= cut]


@EVERY
@pytest.mark.parametrize("level", [100.0, 99.37, 0.1 + 0.2])
def test_a_market_that_does_not_move_is_not_traded(name, level):
    still = {symbol: frame([level] * 150) for symbol in market(name)}
    done = trade(name, tables=still, **LONG_AND_SHORT)
    if name == "CrossSectionalRotation":  # is always invested, by its definition
        assert len(done.fills) <= 2
    else:
        assert done.fills == []


@EVERY
def test_every_line_is_a_number_at_the_first_decision(name):
    cls, seen = CLASSES[name], []

    class Looking(cls):
        def decide_all(self, ready):
            for data in ready:
                for line in vars(self.ind[data]).values():
                    seen.extend(one[0] for one in line.lines)
                if data in self._declared:
                    signals, at = self._declared[data], len(data) - 1
                    seen.append(signals.ready)
                    distances = (signals.stop, signals.trail, signals.take_profit)
                    seen.extend(float(distance[at]) for distance in distances if distance is not None)
            super().decide_all(ready)

    run(Looking, market(name), **FAST.get(name, {}))
    assert all(math.isfinite(value) for value in seen)
    assert seen or name == "PairsTrading"  # has no indicators of one symbol


@EVERY
def test_long_only_never_holds_less_than_nothing(name):
    if name == "PairsTrading":
        with pytest.raises(ParameterError):
            trade(name, allow_short=False)
        return
    held = dict.fromkeys(market(name), 0.0)
    for fill in trade(name).fills:
        held[fill.symbol] += fill.size
        assert held[fill.symbol] >= 0


@EVERY
def test_late_symbols_trade_when_they_are_ready_and_early_ones_before(name):
    if name == "PairsTrading":
        return
    late = {"A": market(name)["A"], "B": market(name)["B"].iloc[90:]}
    done = trade(name, tables=late, **LONG_AND_SHORT)
    listed = late["B"].index[0]
    early = [fill for fill in done.fills if fill.symbol == "A" and late["A"].index[fill.filled - 1] < listed]
    assert early
    assert [fill for fill in done.fills if fill.symbol == "B"]


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "parameter"), TUNED)
def test_every_searched_parameter_changes_what_is_traded(name, parameter):
    now = CLASSES[name].space.defaults | FAST.get(name, {})
    declared = CLASSES[name].space.parameters[parameter]
    options = declared.options if isinstance(declared, Choice) else (declared.low, declared.high, now[parameter] * 1.1)
    others = [declared.check(parameter, type(now[parameter])(value)) for value in options if value != now[parameter]]
    allowed = [
        value for value in others if all(c.holds(now | {parameter: value}) for c in CLASSES[name].space.constraints)
    ]
    assert any(trade(name, **LONG_AND_SHORT, **{parameter: value}).fills != usual(name) for value in allowed)


@EVERY
def test_every_parameter_of_its_own_is_in_its_manual(name):
    cls = CLASSES[name]
    for parameter in cls.space.tuned:
        assert f"    {parameter}: " in inspect.getdoc(cls)


@EVERY
def test_its_whole_searched_range_is_valid(name):
    for parameter, declared in CLASSES[name].space.tuned.items():
        for value in declared.options if isinstance(declared, Choice) else (declared.low, declared.high):
            assert declared.check(parameter, value) == value


def test_the_library_lists_every_strategy_of_the_package():
    found = set()
    for module in pkgutil.iter_modules(strategies.__path__):
        loaded = importlib.import_module(f"strategies.{module.name}")
        for name, value in vars(loaded).items():
            own = inspect.isclass(value) and issubclass(value, BaseStrategy) and value.__module__ == loaded.__name__
            if own and value is not BaseStrategy and not name.startswith("_"):
                found.add(f"{loaded.__name__}.{name}")
    assert found == set(LIBRARY)


def test_markets_of_these_tests_are_the_same_at_every_run():
    closes = market("SMACrossover")["A"]["close"]
    assert isinstance(closes, pd.Series)
    assert closes.iloc[-1] == pytest.approx(shaken(11, bars=BARS, length=45, height=0.15)["close"].iloc[-1], abs=0)
