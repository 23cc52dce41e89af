"""The works that engines are measured on: bars and strategies in plain Backtrader's own terms.

Belongs here: the bars, the strategies, one run of Backtrader or of the fast Cerebro. Does not belong here: timing.

The strategies are generic: they decide in `next`, and are told of their orders. W1 to W3 hold 100 shares from one
crossing of two averages to the next; the order-heavy one sends a bracket or a trailing stop at nearly every bar.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
from sample_data import clean_sample

from research.engine.cerebro import FastCerebro
from research.feed import SymbolBars, arrow_feed, symbol_bars
from warehouse.resolution import Resolution

COMMISSION = 0.001
PERIODS = (10, 30)
MINUTES = 500_000
_MINUTE_US = 60_000_000
_FIRST_US = 1_420_070_400_000_000  # 2015-01-01


class Crossing(bt.Strategy):
    """Long 100 shares while the short average is above the long one, counted from a crossing."""

    params = (("short", PERIODS[0]), ("long", PERIODS[1]))

    def __init__(self) -> None:
        self.fills: list[tuple[float, ...]] = []
        averages = [bt.ind.SMA(self.data.close, period=period) for period in (self.p.short, self.p.long)]
        self.crossing = bt.ind.CrossOver(*averages)

    def notify_order(self, order: bt.Order) -> None:
        """Note what was filled."""
        if order.status == order.Completed:
            done = order.executed
            self.fills.append((done.dt, done.size, done.price, done.comm))

    def next(self) -> None:
        """Follow the crossings."""
        if not self.position:
            if self.crossing[0] > 0:
                self.buy(size=100)
        elif self.crossing[0] < 0:
            self.close()


class Crossings(Crossing):
    """The same on every feed."""

    def __init__(self) -> None:
        self.fills = []
        self.crossings = {}
        for data in self.datas:
            averages = [bt.ind.SMA(data.close, period=period) for period in (self.p.short, self.p.long)]
            self.crossings[data] = bt.ind.CrossOver(*averages)

    def next(self) -> None:
        """Follow the crossings of each feed."""
        for data in self.datas:
            crossing = self.crossings[data][0]
            if not self.getposition(data):
                if crossing > 0:
                    self.buy(data=data, size=100)
            elif crossing < 0:
                self.close(data=data)


class Brackets(Crossing):
    """A bracket at each bar that finds the strategy flat, a trailing stop at each other bar that has none."""

    def __init__(self) -> None:
        self.fills = []
        self.trailing = None

    def next(self) -> None:
        """Send orders at most bars."""
        close = self.data.close[0]
        if not self.position:
            self.buy_bracket(
                size=10, exectype=bt.Order.Market, limitprice=close * 1.01, stopprice=close * 0.99, price=close
            )
            self.trailing = None
        elif self.trailing is None or not self.trailing.alive():
            self.trailing = self.sell(size=5, exectype=bt.Order.StopTrail, trailpercent=0.01)


@dataclass(frozen=True)
class Work:
    """One thing to run."""

    name: str
    strategy: type[bt.Strategy]
    bars: Mapping[str, SymbolBars]
    resolution: Resolution
    cash: float

    @cached_property
    def frames(self) -> Mapping[str, pd.DataFrame]:
        """The same bars as Backtrader takes them."""
        return {symbol: _frame(one) for symbol, one in self.bars.items()}


@cache
def work(name: str) -> Work:
    """W1 one symbol of 3,270 days, W2 500,000 minutes, W3 four symbols, `orders` the order-heavy one."""
    resolution = Resolution.DAILY
    if name == "W2":
        bars, resolution = {"WALK": _walk()}, Resolution.MINUTE
    elif name == "W3":
        bars = _common(_sample("AAPL", "GOOG", "IBM", "MSFT"))
    else:
        bars = _sample("MSFT")
    strategy = {"W3": Crossings, "orders": Brackets}.get(name, Crossing)
    return Work(name, strategy, bars, resolution, 1e7 if name == "W2" else 1e6)


def run_vanilla(of: Work, *, stdstats: bool = True, **params: int) -> tuple[list[tuple[float, ...]], float]:
    """Backtrader as it comes; fills and final value."""
    cerebro = bt.Cerebro(stdstats=stdstats)
    for symbol, frame in of.frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=symbol)
    return _run(cerebro, of, params)


def run_fast(of: Work, **params: int) -> tuple[list[tuple[float, ...]], float]:
    """The same on the fast loop, on the project's bars; fills and final value."""
    cerebro = FastCerebro()
    for bars in of.bars.values():
        cerebro.adddata(arrow_feed(bars, of.resolution))
    done = _run(cerebro, of, params)
    if cerebro.engine != "fast":
        raise RuntimeError(cerebro.reason)
    return done


def _run(cerebro: bt.Cerebro, of: Work, params: Mapping[str, Any]) -> tuple[list[tuple[float, ...]], float]:
    cerebro.broker.setcash(of.cash)
    cerebro.broker.setcommission(commission=COMMISSION)
    cerebro.addstrategy(of.strategy, **params)
    (strategy,) = cerebro.run()
    return strategy.fills, cerebro.broker.getvalue()


def _sample(*symbols: str) -> dict[str, SymbolBars]:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = clean_sample(Path(folder), list(symbols))
        tables = {symbol: warehouse.read_bars(symbol, Resolution.DAILY) for symbol in symbols}
    return {
        symbol: symbol_bars(symbol, table, table["session"][0].as_py(), table["session"][-1].as_py())
        for symbol, table in tables.items()
    }


def _common(bars: Mapping[str, SymbolBars]) -> dict[str, SymbolBars]:
    """The days that all symbols have."""
    shared = set.intersection(*(set(one.ts.tolist()) for one in bars.values()))
    return {symbol: _only(one, np.array(sorted(shared))) for symbol, one in bars.items()}


def _only(bars: SymbolBars, times: np.ndarray) -> SymbolBars:
    kept = np.isin(bars.ts, times)
    columns = {name: getattr(bars, name)[kept] for name in ("open", "high", "low", "close", "volume")}
    return SymbolBars(bars.symbol, bars.ts[kept], bars.sessions[kept], **columns)


def _walk() -> SymbolBars:
    """A seeded random walk, a minute a step, without sessions or gaps."""
    rng = np.random.default_rng(20240607)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.0005, MINUTES))), 4)
    open_ = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(open_, close) + np.round(np.abs(rng.normal(0, 0.02, MINUTES)), 4)
    low = np.minimum(open_, close) - np.round(np.abs(rng.normal(0, 0.02, MINUTES)), 4)
    ts = _FIRST_US + np.arange(MINUTES, dtype=np.int64) * _MINUTE_US
    volume = rng.integers(1_000, 100_000, MINUTES).astype(float)
    return SymbolBars("WALK", ts, ts // 86_400_000_000, open_, high, low, close, volume)


def _frame(bars: SymbolBars) -> pd.DataFrame:
    columns = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(bars.ts.astype("datetime64[us]")))
