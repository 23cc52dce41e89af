"""Figures that were published or follow in closed form come out of every engine."""

import datetime as dt

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from research.engine import prepare_run, replay
from research.engine.choice import Engine
from research.experiment import Experiment
from research.metrics import Scale, return_metrics
from strategies.base_strategy import BaseStrategy
from strategies.declaration import Signals
from strategies.indicators import crossover, sma
from tests.unit.research.engine import published
from tests.unit.research.engine.account_cases import write_output
from tests.unit.research.engine.recording import Recording, first_difference
from tests.unit.research.engine.sample_market import stock
from tests.unit.research.scenarios import FREE, daily, flat, prepared

every_engine = pytest.mark.parametrize("engine", [Engine.VANILLA, Engine.FAST, Engine.KERNEL])
RANGE = {"start": dt.date(2000, 1, 1), "end": dt.date(2013, 12, 31)}


class Holder(BaseStrategy):
    """Buys at the first close that it sees and keeps what it bought."""

    params = (("target_fraction", 1.0), ("cash_reserve", 0.0))

    @classmethod
    def signals(cls, bars, p):
        never = np.zeros(len(bars), dtype=bool)
        return Signals(0, ~never, never, never, never)


def run(engine, strategy, *tables, params=None, **fields):
    """A run of one engine; another one may not take it over."""
    ready = prepared(strategy, *tables, params={**strategy.space.defaults, **(params or {})}, **fields)
    output = replay(ready, engine=engine)
    assert output.engine == engine
    return output


CLOSED_FORMS = {
    "AAPL": (12.408616, 0.678402, 0.459643, -0.818018, "2003-04-17"),
    "MSFT": (-0.183333, 0.117599, 0.330319, -0.674645, "2009-03-09"),
    "IBM": (1.379213, 0.378510, 0.279848, -0.583139, "2002-10-09"),
}


@every_engine
@pytest.mark.parametrize("symbol", CLOSED_FORMS)
def test_holding_a_stock_gives_its_closed_forms(engine, symbol):
    output = run(engine, Holder, stock(symbol, opens_at_last_close=True), cash=1e12, **RANGE)
    table = output.equity
    equity = pd.Series(table["equity"].to_numpy(), pd.DatetimeIndex(table["session"].to_pandas()))
    figures = return_metrics(equity.iloc[1:], equity.iloc[0], Scale()).values
    names = ("total_return", "sharpe_ratio", "volatility", "max_drawdown")
    assert [figures[name] for name in names] == pytest.approx(CLOSED_FORMS[symbol][:4], abs=5.1e-7)
    assert figures["max_drawdown_trough"] == CLOSED_FORMS[symbol][4]


@every_engine
@pytest.mark.parametrize(("shares", "price", "commission"), [(100, 25.0, 1.00), (1000, 25.0, 5.00), (1000, 0.25, 2.50)])
def test_a_purchase_costs_what_the_broker_publishes(engine, shares, price, commission):
    cash = shares * price * 1.02
    output = run(
        engine,
        Holder,
        daily("A", flat(price, 4)),
        params={"target_fraction": (shares + 0.5) * price / cash},
        cash=cash,
        costs={**FREE, "model": "ibkr_fixed"},
    )
    bought = [(fill["quantity"], fill["price"], fill["commission"]) for fill in output.fills.to_pylist()]
    assert bought == [(shares, price, commission)]


class Crossing(BaseStrategy):
    """Backtrader's own example: long while the close is above its average of 15 days, counted from a crossing."""

    @classmethod
    def signals(cls, bars, p):
        crossed = crossover(bars.close, sma(bars.close, 15))
        up, down = crossed > 0, crossed < 0
        never = np.zeros(len(bars), dtype=bool)
        return Signals(15, up, never, down, never)


@every_engine
def test_the_declared_crossing_fills_at_the_prices_that_backtrader_publishes(engine):
    feed = published.feed()
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(feed)
    cerebro.addstrategy(bt.Strategy)
    cerebro.run()
    rows = list(zip(*(line.array for line in (feed.open, feed.high, feed.low, feed.close)), strict=True))
    bars = daily("A", rows, first="2020-01-02")
    output = run(engine, Crossing, bars, cash=1e6)
    found = [(fill["side"], f"{fill['price']:.2f}") for fill in output.fills.to_pylist()]
    assert [price for side, price in found if side == "buy"] == published.BUYS_FILLED
    assert [price for side, price in found if side == "sell"] == published.SELLS_FILLED


def grid_point(engine, short, long):
    """SMACrossover on Apple with the default costs and limits; all that came out."""
    experiment = Experiment.build(
        strategy="strategies.sma_crossover.SMACrossover",
        params={"sma_short": short, "sma_long": long},
        symbols=["AAPL"],
        cash=100_000.0,
        **RANGE,
    )
    output = replay(prepare_run(experiment, {"AAPL": stock("AAPL")}), engine=engine)
    recording = Recording()
    write_output(recording, output)
    return recording, output.engine


@pytest.mark.parametrize(("short", "long"), [(5, 31), (30, 31), (13, 77), (30, 100)])
def test_a_point_of_the_grid_is_the_same_on_every_engine(short, long):
    expected, _ = grid_point(Engine.VANILLA, short, long)
    for engine in (Engine.FAST, Engine.KERNEL):
        found, ran = grid_point(engine, short, long)
        assert (ran, first_difference(expected, found)) == (engine, None)
