"""What the order desk never does, whatever a strategy wishes and however slowly the broker answers."""

import random

import backtrader as bt
import numpy as np
import pytest

from strategies.base_strategy import BaseStrategy
from tests.unit.strategies.markets import frame

SEEDS = range(12)
SYMBOLS = ("A", "B", "C")


class SlowAndPartial(bt.brokers.BackBroker):
    """Confirms a cancellation one bar late and fills a tenth of each bar's range, as real markets do."""

    params = (("filler", bt.fillers.FixedBarPerc(perc=10.0)),)

    def start(self):
        super().start()
        self.asked = []

    def cancel(self, order, bracket=False):
        if bracket:
            return super().cancel(order, bracket)
        self.asked.append(order)
        return True

    def next(self):
        asked, self.asked = self.asked, []
        super().next()
        for order in asked:
            if order.alive():
                super().cancel(order)


class Whims(BaseStrategy):
    """Wishes at random and looks at what works after every bar."""

    params = (("seed", 0),)

    def start(self):
        self.random = random.Random(self.p.seed)  # noqa: S311
        self.orders, self.broken = [], []

    def buy(self, *args, **kwargs):
        return self._kept(super().buy(*args, **kwargs))

    def sell(self, *args, **kwargs):
        return self._kept(super().sell(*args, **kwargs))

    def _kept(self, order):
        self.orders.append(order)
        return order

    def decide(self, data):
        wish, close = self.random.random(), data.close[0]
        away = self.random.choice([None, 0.01, 0.03, 0.1])
        if wish < 0.08:
            self.enter_long(data, stop=away and close * (1 - away))
        elif wish < 0.16:
            self.enter_short(data, stop=away and close * (1 + away))
        elif wish < 0.26:
            self.leave(data)

    def _step(self):
        super()._step()
        for data in self.datas:
            self._look(data, self.getposition(data).size)

    def _look(self, data, held):
        working = [order for order in self.orders if order is not None and order.alive() and order.data is data]
        stops = [order.executed.remsize for order in working if order.exectype == bt.Order.Stop]
        markets = [order for order in working if order.exectype == bt.Order.Market]
        laws = {
            "a position is a whole number": held == int(held),
            "a long-only strategy is never short": self.p.allow_short or held >= 0,
            "one market order at a time": len(markets) <= 1,
            "one stop at a time": len(stops) <= 1,
            "a stop only closes": all(size * held < 0 and abs(size) <= abs(held) for size in stops),
        }
        self.broken += [f"bar {len(self)} {data._name}: {law}" for law, kept in laws.items() if not kept]


@pytest.mark.parametrize("allow_short", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_no_wish_stacks_orders_or_opens_a_position_by_its_stop(seed, allow_short):
    dice = np.random.default_rng(seed)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker = SlowAndPartial()
    cerebro.broker.setcash(100_000)
    for symbol in SYMBOLS:
        closes = 100 * np.exp(np.cumsum(dice.normal(0, 0.02, 200)))
        opens = closes * np.exp(dice.normal(0, 0.02, 200))
        cerebro.adddata(
            bt.feeds.PandasData(dataname=frame(closes.tolist(), opens=opens.tolist(), volume=3_000)), name=symbol
        )
    cerebro.addstrategy(Whims, seed=seed, allow_short=allow_short)
    strategy = cerebro.run()[0]
    assert len(strategy.orders) > 50
    assert strategy.broken == []
