"""Backtrader's own test programs, on its own loop and on the fast one, against the values that it publishes."""

import datetime as dt

import backtrader as bt
import pandas as pd
import pytest

from research.engine.cerebro import FastCerebro
from tests.unit.research.engine import published

both_loops = pytest.mark.parametrize("cerebro_class", [bt.Cerebro, FastCerebro])


def run(cerebro_class, strategy, feed=None, before=None, **params):
    """One run; the fast loop must have taken it unless `before` prevents that."""
    cerebro = cerebro_class(stdstats=False)
    cerebro.adddata(published.feed() if feed is None else feed)
    if before is not None:
        before(cerebro)
    cerebro.addstrategy(strategy, **params)
    result = cerebro.run()[0]
    return cerebro, result


def assert_fast(cerebro):
    assert getattr(cerebro, "engine", "fast") == "fast", cerebro.reason


class Checked(bt.Strategy):
    """Looks at an indicator in `stop`, at the last, the first and the middle bar that has a value."""

    params = (("make", None),)

    def __init__(self):
        self.indicator = self.p.make(self.data)

    def prenext(self):
        pass

    def nextstart(self):
        self.first = len(self)
        super().nextstart()

    def stop(self):
        begin = self.first - len(self.indicator)
        self.found = [
            " ".join(f"{self.indicator.lines[line][at]:f}" for at in (0, begin, begin // 2))
            for line in range(self.indicator.size())
        ]
        self.lengths = len(self.indicator), len(self)


@both_loops
@pytest.mark.parametrize(("name", "params", "first", "lines"), published.INDICATORS, ids=lambda value: str(value)[:20])
def test_an_indicator_has_its_published_values(cerebro_class, name, params, first, lines):
    cerebro, strategy = run(cerebro_class, Checked, make=lambda data: getattr(bt.ind, name)(data, **params))
    if name != "HeikinAshi":  # makes Backtrader itself go bar by bar
        assert_fast(cerebro)
    assert strategy.found[: len(lines)] == lines
    assert (strategy.first, *strategy.lengths) == (first, 255, 255)


@both_loops
@pytest.mark.parametrize(
    ("feed_params", "expected"),
    [
        ("resample", "3836.453333 3703.962333 3741.802000"),
        ("pandas", "4063.463000 3644.444667 3554.693333"),
    ],
)
def test_an_average_of_other_feeds_has_its_published_values(cerebro_class, feed_params, expected):
    feed = published.feed()
    if feed_params == "resample":
        feed.resample(timeframe=bt.TimeFrame.Weeks, compression=1)
    else:
        feed = bt.feeds.PandasData(dataname=pd.read_csv(published.BARS, parse_dates=True, index_col=0))
    _, strategy = run(cerebro_class, Checked, feed, make=bt.ind.SMA)
    assert (strategy.found, strategy.first) == ([expected], 30)


@both_loops
def test_the_slowest_indicator_says_when_a_strategy_begins(cerebro_class):
    def several(data):
        for kind in (bt.ind.Stochastic, bt.ind.MACD, bt.ind.Highest):
            kind(data)
        return bt.ind.SMA(data)

    _, strategy = run(cerebro_class, Checked, make=several)
    assert strategy.first == 34


class Crossing(bt.Strategy):
    """Buys one when the close crosses its average upwards, closes when it crosses down, and writes down the prices."""

    params = (("period", 15), ("futures", False))

    def __init__(self):
        self.waiting = None
        self.average = bt.ind.SMA(self.data, period=self.p.period)
        self.cross = bt.ind.CrossOver(self.data.close, self.average)
        self.bought, self.sold, self.buys, self.sells = [], [], [], []

    def start(self):
        if self.p.futures:
            self.broker.setcommission(commission=2.0, mult=10.0, margin=1000.0)

    def notify_order(self, order):
        if order.status in (bt.Order.Submitted, bt.Order.Accepted):
            return
        if order.status == order.Completed:
            (self.buys if isinstance(order, bt.BuyOrder) else self.sells).append(f"{order.executed.price:.2f}")
        self.waiting = None

    def next(self):
        if self.waiting:
            return
        if not self.position.size:
            if self.cross > 0.0:
                self.waiting = self.buy()
                self.bought.append(f"{self.data.close[0]:.2f}")
        elif self.cross < 0.0:
            self.waiting = self.close()
            self.sold.append(f"{self.data.close[0]:.2f}")

    def stop(self):
        self.ended_with = f"{self.broker.getvalue():.2f}", f"{self.broker.getcash():.2f}"


@both_loops
@pytest.mark.parametrize(
    ("futures", "ended_with"), [(False, ("10284.10", "6164.16")), (True, ("12795.00", "11795.00"))]
)
def test_the_crossing_of_an_average_trades_at_the_published_prices(cerebro_class, futures, ended_with):
    cerebro, strategy = run(cerebro_class, Crossing, futures=futures)
    assert_fast(cerebro)
    assert strategy.ended_with == ended_with
    assert (strategy.bought, strategy.sold) == (published.BOUGHT_AT, published.SOLD_AT)
    assert (strategy.buys, strategy.sells) == (published.BUYS_FILLED, published.SELLS_FILLED)


class CrossingOnce(Crossing):
    """Never hears of its order, so that it sends only one."""

    notify_order = bt.Strategy.notify_order


@both_loops
def test_every_period_ends_with_its_published_value(cerebro_class):
    found = [run(cerebro_class, CrossingOnce, futures=True, period=period)[1].ended_with for period in range(5, 45)]
    assert [value for value, _ in found] == published.VALUES_BY_PERIOD
    assert [cash for _, cash in found] == [f"{float(value) - 1000:.2f}" for value in published.VALUES_BY_PERIOD]


@both_loops
def test_the_analyzers_have_their_published_results(cerebro_class):
    def analyzers(cerebro):
        cerebro.addanalyzer(bt.analyzers.SQN)
        cerebro.addanalyzer(bt.analyzers.TimeReturn, timeframe=bt.TimeFrame.Years)

    cerebro, strategy = run(cerebro_class, Crossing, before=analyzers, futures=True)
    assert_fast(cerebro)
    sqn, returns = (analyzer.get_analysis() for analyzer in strategy.analyzers)
    assert (str(sqn.sqn)[:14], sqn.trades) == ("0.912550316439", 11)
    assert dict(returns) == {dt.date(2006, 12, 31): 0.2794999999999983}


@both_loops
@pytest.mark.parametrize(("trades", "expected"), [(0, (0, 0)), (1, (0, 1))])
def test_system_quality_needs_more_than_one_trade(cerebro_class, trades, expected):
    class Few(Crossing):
        def next(self):
            if self.position.size or len(self.bought) < trades:
                super().next()

    _, strategy = run(cerebro_class, Few, before=lambda cerebro: cerebro.addanalyzer(bt.analyzers.SQN), futures=True)
    analysis = strategy.analyzers[0].get_analysis()
    assert (analysis.sqn, analysis.trades) == expected


@both_loops
def test_a_writer_gets_a_line_for_every_bar(cerebro_class):
    cerebro, _ = run(
        cerebro_class,
        Checked,
        before=lambda cerebro: cerebro.addwriter(bt.WriterStringIO, csv=True),
        make=bt.ind.SMA,
    )
    lines = list(cerebro.runwriters[0].out)
    assert lines[0].rstrip() == "=" * 79
    assert next(number for number, line in enumerate(lines[1:]) if line.startswith("=")) == 256


class PartlyFilled(bt.Strategy):
    """One order that needs several bars; keeps what each notice calls new."""

    def __init__(self):
        self.new = []

    def nextstart(self):
        self.buy(size=100)

    def notify_order(self, order):
        self.new.append([(bit.size, bit.price) for bit in order.executed.iterpending()])


def forty(order, price, ago):
    return min(40, order.executed.remsize)


@both_loops
def test_each_notice_of_an_order_shows_the_executions_since_the_last_one(cerebro_class):
    _, strategy = run(
        cerebro_class,
        PartlyFilled,
        before=lambda cerebro: (cerebro.broker.setcash(1e6), cerebro.broker.set_filler(forty)),
    )
    assert strategy.new == [[], [], [(40, 3604.08)], [(40, 3615.23)], [(20, 3652.19)]]
