"""Without costs and limits, fills, cash and equity are Backtrader's own to the last bit."""

from typing import ClassVar

import backtrader as bt
import numpy as np
import pytest

from tests.unit.research.scenarios import fills_of, minutes, run, vanilla, walk


class Crossing(bt.Strategy):
    params = (("short", 5), ("long", 20), ("share", 0.9))

    def __init__(self):
        self.crossings = {
            data: bt.ind.CrossOver(bt.ind.SMA(data, period=self.p.short), bt.ind.SMA(data, period=self.p.long))
            for data in self.datas
        }

    def next(self):
        for data, crossing in self.crossings.items():
            if crossing[0] > 0:
                self.order_target_percent(data, self.p.share / len(self.datas))
            elif crossing[0] < 0:
                self.close(data)


class LongAndShort(Crossing):
    def next(self):
        for data, crossing in self.crossings.items():
            if crossing[0]:
                self.order_target_percent(data, crossing[0] * self.p.share / len(self.datas))


class Brackets(Crossing):
    def next(self):
        close = self.data.close[0]
        if not self.position and not self.broker.get_orders_open() and self.crossings[self.data][0]:
            side = self.crossings[self.data][0]
            send = self.buy_bracket if side > 0 else self.sell_bracket
            entry, stop, target = (close * (1 + side * away) for away in (-0.002, -0.03, 0.05))
            send(size=100, price=entry, stopprice=stop, limitprice=target)


class Waiting(Crossing):
    """Limit, stop, stop-limit and trailing orders with expiry, OCO and cancellations."""

    def next(self):
        close, bar = self.data.close[0], len(self)
        if bar % 11 == 0:
            first = self.buy(size=40, exectype=bt.Order.Limit, price=close * 0.99, valid=self.data.datetime.date(0))
            self.buy(size=40, exectype=bt.Order.Stop, price=close * 1.01, oco=first)
        if bar % 13 == 0 and self.position.size > 0:
            self.sell(size=self.position.size, exectype=bt.Order.StopTrail, trailpercent=0.02)
        if bar % 17 == 0:
            self.sell(size=25, exectype=bt.Order.StopLimit, price=close * 0.99, plimit=close * 0.985)
        if bar % 40 == 0:
            for order in self.broker.get_orders_open():
                self.cancel(order)
        if bar % 41 == 0:
            self.close(exectype=bt.Order.Close)


class Greedy(Crossing):
    """Asks for more than the cash pays for: some orders end as Margin."""

    params = (("share", 1.0),)

    def next(self):
        if not self.position and len(self) % 3 == 0:
            self.buy(size=int(self.broker.getcash() / self.data.close[0]))
        elif len(self) % 5 == 0:
            self.close()


@pytest.mark.parametrize("strategy", [Crossing, LongAndShort, Brackets, Waiting, Greedy])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_symbol_gives_backtraders_fills_equity_and_cash(strategy, seed):
    bars = walk("A", seed=seed)
    fills, equity, cash = vanilla(strategy, bars)
    ours = run(strategy, bars)
    assert len(fills) >= 8
    assert fills_of(ours) == fills
    assert ours.equity["equity"].to_pylist() == equity
    assert ours.equity["cash"].to_pylist() == cash


@pytest.mark.parametrize("strategy", [Crossing, LongAndShort])
def test_several_symbols_give_backtraders_fills_equity_and_cash(strategy):
    tables = [walk(name, seed=seed) for seed, name in enumerate("ABCD")]
    fills, equity, cash = vanilla(strategy, *tables)
    ours = run(strategy, *tables)
    assert len(fills) > 30
    assert fills_of(ours) == fills
    assert ours.equity["equity"].to_pylist() == equity
    assert ours.equity["cash"].to_pylist() == cash


@pytest.mark.parametrize("seed", [1, 2])
def test_symbols_with_missing_bars_give_backtraders_fills_equity_and_cash(seed):
    kept = np.random.default_rng(seed).random((3, 300)) < 0.8
    tables = [walk(name, seed=number).filter(kept[number]) for number, name in enumerate("ABC")]
    fills, equity, cash = vanilla(LongAndShort, *tables)
    ours = run(LongAndShort, *tables)
    assert len(fills) > 30
    assert fills_of(ours) == fills
    assert ours.equity["equity"].to_pylist() == equity
    assert ours.equity["cash"].to_pylist() == cash


@pytest.mark.parametrize("strategy", [LongAndShort, Brackets])
def test_minute_bars_give_backtraders_fills_equity_and_cash(strategy):
    days = walk("A", 390, seed=3)
    rows = zip(*(days[name].to_pylist() for name in ("open", "high", "low", "close", "volume")), strict=True)
    bars = minutes("A", list(rows))
    fills, equity, cash = vanilla(strategy, bars)
    ours = run(strategy, bars)
    assert len(fills) > 8
    assert (fills_of(ours), ours.equity["equity"].to_pylist()) == (fills, equity)
    assert ours.equity["cash"].to_pylist() == cash


def test_the_strategy_is_told_what_backtrader_would_tell_it():
    class Told(Waiting):
        log: ClassVar[list] = []

        def notify_order(self, order):
            done = order.executed
            self.log.append((len(self), order.getstatusname(), done.size, done.price, done.value, done.pnl, done.psize))

        def notify_trade(self, trade):
            self.log.append((len(self), trade.size, trade.price, trade.pnl, trade.pnlcomm, trade.barlen, trade.status))

        def notify_cashvalue(self, cash, value):
            self.log.append((cash, value))

        def notify_fund(self, cash, value, fundvalue, shares):
            self.log.append((fundvalue, shares))

    bars = walk("A", seed=5)
    vanilla(Told, bars)
    expected, Told.log = Told.log, []
    run(Told, bars)
    assert len(expected) > 700
    assert Told.log == expected


def test_the_strategies_that_backtrader_cannot_vectorise_run_as_well():
    class Stepwise(Crossing):
        def __init__(self):
            super().__init__()
            bt.ind.HeikinAshi(self.data) if hasattr(bt.ind, "HeikinAshi") else bt.ind.PivotPoint(self.data)

    bars = walk("A", seed=4)
    fills, equity, _ = vanilla(Stepwise, bars)
    ours = run(Stepwise, bars)
    assert (fills_of(ours), ours.equity["equity"].to_pylist()) == (fills, equity)
