"""The broker that values on demand: what a strategy reads from it at any bar is what Backtrader's broker says."""

from collections.abc import Callable
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from research.engine.broker import FastBroker
from research.engine.cerebro import FastCerebro

pytestmark = pytest.mark.usefixtures("loop")

BARS = 80


def frame(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = np.round(50.0 * np.cumprod(1.0 + rng.normal(0.0003, 0.02, BARS)), 2)
    index = pd.date_range("2001-01-01", periods=BARS, freq="B")
    columns = {"open": close, "high": close + 0.5, "low": close - 0.5, "close": close, "volume": 1000.0}
    return pd.DataFrame(columns, index=index)


class Meddler(bt.Strategy):
    """Holds positions, and at some quiet bar does one thing to the broker; reads at the bars `reads` apart."""

    params = (("meddle", None), ("reads", 1))

    def __init__(self) -> None:
        self.log: list[Any] = []

    def next(self) -> None:
        bar = len(self)
        if bar in {5, 40}:
            for data in self.datas:
                self.buy(data=data, size=7)
        if bar == 60:
            self.close(data=self.datas[0])
        if bar == 20 and self.p.meddle is not None:
            self.log.append(repr(self.p.meddle(self)))
        if bar % self.p.reads == 0 or bar in {20, 21}:
            self.read()

    def read(self) -> None:
        broker = self.broker
        reads: list[Callable[[], Any]] = [
            broker.getvalue, broker.getcash, broker.get_fundvalue, broker.get_fundshares, broker.get_leverage,
            lambda: broker.getvalue(mkt=True), lambda: broker.getvalue(lever=True), lambda: broker.fundvalue,
            lambda: broker.getvalue([self.datas[0]]), broker.get_value_lever, broker.getvalue,
            lambda: [(p.size, p.price, p.adjbase, str(p)) for p in map(self.getposition, self.datas)],
            lambda: [p.datetime for p in map(self.getposition, self.datas)],
        ]  # fmt: skip
        for number, read in enumerate(reads):
            try:
                self.log.append((len(self), number, repr(read())))
            except AttributeError as error:
                self.log.append((len(self), number, str(error)))

    def stop(self) -> None:
        self.read()


def log(cerebro: bt.Cerebro, **params: Any) -> list[Any]:
    for seed in (1, 2):
        cerebro.adddata(bt.feeds.PandasData(dataname=frame(seed)), name=f"S{seed}")
    cerebro.broker.setcash(10_000.0)
    cerebro.broker.setcommission(commission=0.001)
    cerebro.addstrategy(Meddler, **params)
    return cerebro.run()[0].log


def same(**params: Any) -> FastCerebro:
    fast = FastCerebro()
    assert log(fast, **params) == log(bt.Cerebro(stdstats=False), **params)
    assert (fast.engine, fast.reason) == ("fast", None)
    return fast


class Odd(bt.CommInfoBase):
    """A scheme that charges in a way of its own."""

    def getvaluesize(self, size: float, price: float) -> float:
        return float(size * price * 0.5)


MEDDLING: dict[str, Callable[[Meddler], Any]] = {
    "cash added": lambda s: s.broker.add_cash(500.0),
    "whole cash added": lambda s: s.broker.add_cash(500),
    "cash taken": lambda s: s.broker.add_cash(-333.3),
    "cash set": lambda s: s.broker.set_cash(5_000.0),
    "whole cash set": lambda s: (s.broker.setcash(5_000), s.broker.getvalue(), s.broker.get_leverage()),
    "cash written": lambda s: setattr(s.broker, "cash", s.broker.cash + 10.0),
    "whole cash written": lambda s: setattr(s.broker, "cash", 7),
    "futures": lambda s: s.broker.setcommission(commission=2.0, margin=100.0, mult=5.0),
    "futures of one": lambda s: s.broker.setcommission(
        2.0, 100.0, 5.0, None, True, False, 0.0, False, 1.0, False, "S2"
    ),
    "interest": lambda s: s.broker.setcommission(interest=0.1, interest_long=True),
    "own scheme": lambda s: s.broker.addcommissioninfo(Odd(stocklike=True)),
    "leverage": lambda s: s.broker.setcommission(leverage=4.0, stocklike=True),
    "no shortcash": lambda s: s.broker.set_shortcash(False),
    "position fixed": lambda s: s.getposition(s.data).fix(3, 45.0),
    "fund mode": lambda s: s.broker.set_fundmode(True, 50.0),
    "order": lambda s: s.sell(size=1, exectype=bt.Order.Limit, price=1e9).ref > 0,
    "cash of nothing": lambda s: s.broker.add_cash(0.0),
    "value of two feeds": lambda s: (s.broker.getvalue(s.datas), s.broker.getvalue()),
    "value twice": lambda s: (s.broker.getvalue([s.data1], lever=True), s.broker.get_value_lever([s.data1])),
}


@pytest.mark.thorough
@pytest.mark.parametrize("reads", [1, 1000])
@pytest.mark.parametrize("meddle", MEDDLING.values(), ids=MEDDLING)
def test_a_strategy_that_meddles_at_a_quiet_bar_reads_the_same(meddle: Callable[[Meddler], Any], reads: int) -> None:
    same(meddle=meddle, reads=reads)


def test_quiet_bars_are_left_out() -> None:
    called: list[int] = []

    class Counting(FastBroker):
        def next(self) -> None:
            called.append(1)
            super().next()

    cerebro = FastCerebro()
    cerebro.setbroker(Counting())
    assert log(cerebro, reads=1000) == log(bt.Cerebro(stdstats=False), reads=1000)
    assert cerebro.engine == "fast"
    assert len(called) == 4  # the first bar, and those after the orders


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda broker: broker.setcommission(margin=10.0), "The gains of futures move cash at every bar."),
        (lambda broker: broker.setcommission(interest=0.1), "Interest is charged at every bar."),
        (lambda broker: broker.addcommissioninfo(Odd(), "S1"), "Odd overrides getvaluesize."),
        (lambda broker: broker.setcommission(commission=0.1, leverage=3.0), None),
    ],
)
def test_no_bar_is_left_out_where_cash_moves_by_itself(
    prepare: Callable[[FastBroker], None], reason: str | None
) -> None:
    fast, slow = FastCerebro(), bt.Cerebro(stdstats=False)
    for cerebro in (fast, slow):
        cerebro.broker.setcommission(name="other", commission=1.0)
        prepare(cerebro.broker)
    assert fast.broker.lazy() == reason
    for cerebro in (fast, slow):
        for seed in (1, 2):
            cerebro.adddata(bt.feeds.PandasData(dataname=frame(seed)), name=f"S{seed}")
        cerebro.addstrategy(Meddler)
    assert fast.run()[0].log == slow.run()[0].log
    assert fast.engine == "fast"


def test_histories_are_replayed_at_every_bar() -> None:
    logs = []
    for cerebro in (FastCerebro(), bt.Cerebro(stdstats=False)):
        cerebro.add_order_history([["2001-01-10", 5, 50.0], ["2001-02-10", -5, 51.0]], notify=True)
        logs.append(log(cerebro))
    assert logs[0] == logs[1]
    assert logs[0] != log(bt.Cerebro(stdstats=False))


def test_a_broker_is_idle_when_nothing_waits() -> None:
    broker = FastBroker()
    broker.init()
    assert broker.idle()
    broker.add_cash(1.0)
    assert not broker.idle()
