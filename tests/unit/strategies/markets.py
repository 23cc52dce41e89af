"""Small markets to trade in, and what a strategy did there.

Belongs here: bars from lists of closes, running a strategy on them in a plain Cerebro. Does not belong here: tests.

A bar opens at the close before it unless opens are given, so that a fill at the next open is a fill at the last close.
"""

import math
from dataclasses import dataclass, field
from datetime import date

import backtrader as bt
import numpy as np
import pandas as pd

START = date(2020, 1, 1)


@dataclass(frozen=True)
class Fill:
    symbol: str
    decided: int  # number of the symbol's bar at whose close the order was sent, from 1
    filled: int  # number of the symbol's bar that executed it
    size: float
    price: float


@dataclass
class Run:
    strategy: bt.Strategy
    fills: list[Fill] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)

    @property
    def value(self):
        return self.strategy.broker.getvalue()

    def sizes(self, symbol=None):
        return [fill.size for fill in self.fills if symbol in (None, fill.symbol)]


class _Recorder(bt.Analyzer):
    """Every completed order and every status, as the strategy was told."""

    def start(self):
        self.fills, self.statuses = [], []

    def notify_order(self, order):
        self.statuses.append(order.getstatusname())
        if order.status == order.Completed:
            first = order.data.datetime.array.index(order.created.dt) + 1
            last = order.data.datetime.array.index(order.executed.dt) + 1
            self.fills.append(Fill(order.data._name, first, last, order.executed.size, order.executed.price))


def frame(closes, *, opens=None, volume=1e9, start=START, spread=0.0):
    """Daily bars from closes."""
    opens = opens or [closes[0], *closes[:-1]]
    pairs = list(zip(opens, closes, strict=True))
    return pd.DataFrame(
        {
            "open": opens,
            "high": [max(pair) + spread for pair in pairs],
            "low": [min(pair) - spread for pair in pairs],
            "close": closes,
            "volume": volume,
        },
        index=pd.date_range(start, periods=len(closes), freq="D"),
    )


def run(strategy, bars, *, cash=100_000.0, broker=None, runonce=True, **params):
    """Run a strategy class on a list of closes, a frame, or several of them by symbol."""
    cerebro = bt.Cerebro(stdstats=False, runonce=runonce)
    if broker is not None:
        cerebro.broker = broker
    cerebro.broker.setcash(cash)
    for symbol, given in (bars if isinstance(bars, dict) else {"A": bars}).items():
        table = frame(given) if isinstance(given, list) else given
        cerebro.adddata(bt.feeds.PandasData(dataname=table), name=symbol)
    cerebro.addstrategy(strategy, **params)
    cerebro.addanalyzer(_Recorder, _name="recorder")
    done = cerebro.run()[0]
    return Run(done, done.analyzers.recorder.fills, done.analyzers.recorder.statuses)


def walk(bars=400, *, seed=1, volatility=0.02, start=100.0):
    """Closes of a random walk, the same for the same seed."""
    chance = np.random.default_rng(seed)
    closes = [start]
    while len(closes) < bars:
        closes.append(closes[-1] * math.exp(chance.normal(0.0, volatility)))
    return closes


def waves(bars=400, *, length=40, height=0.2, level=100.0, noise=0.01, seed=1):
    """Closes that swing around a level: trends to follow and extremes to fade."""
    chance = np.random.default_rng(seed)
    return [
        level * math.exp(height * math.sin(2 * math.pi * bar / length) + chance.normal(0.0, noise))
        for bar in range(bars)
    ]
