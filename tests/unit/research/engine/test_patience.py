"""A broker and a strategy that can do without some bars are asked at the others only, and nobody can tell."""

from collections.abc import Sequence, Sized
from typing import Any

import backtrader as bt
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from research.engine.cerebro import FastCerebro
from research.errors import ResearchError
from strategies.base_strategy import BaseStrategy

BARS = 300


def frame(seed: int, *, missing: int = 0, first: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = np.round(50.0 * np.cumprod(1.0 + rng.normal(0.0003, 0.02, BARS)), 2)
    index = pd.date_range("2001-01-01", periods=BARS, freq="B")
    columns = {"open": close, "high": close + 0.5, "low": close - 0.5, "close": close, "volume": 1000.0}
    keep = np.ones(BARS, dtype=bool)
    keep[rng.integers(0, BARS, missing)] = False
    return pd.DataFrame(columns, index=index)[keep][first:]


class Patient(bt.brokers.BackBroker):
    """Backtrader's broker, whose value is computed when somebody reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.stale = False
        self.worked: list[int] = []
        self.step: list[int] = [-1]

    def lazy(self) -> str | None:
        return None

    def work(self) -> Sequence[Sized]:
        return self.notifs, self.pending, self.submitted, self._toactivate, self._cash_addition

    def watch(self, step: list[int]) -> None:
        self.step = step

    def next(self) -> None:
        self.stale = False
        self.worked.append(self.step[0])
        super().next()

    def get_value(self, datas: Any = None, mkt: bool = False, lever: bool = False) -> float:
        if self.stale:
            self.stale = False
            self._get_value()
        return super().get_value(datas, mkt, lever)

    getvalue = get_value


class Impatient(Patient):
    def lazy(self) -> str | None:
        return "Its value changes at every bar."


class Crowded(Patient):
    def work(self) -> Sequence[Sized]:
        return *super().work(), (), ()


class Sleeper(BaseStrategy):
    """Acts at some bars, known beforehand, and while orders of its own are at work."""

    params = (("declares", True), ("short", 0))

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Any] = []
        self.called: list[int] = []
        self.sma = bt.ind.SMA(self.data.close, period=5)
        self.resting = True
        self.until = -1

    def wakes(self) -> npt.NDArray[np.bool_] | None:
        if not self.p.declares:
            return None
        wakes = np.zeros(len(np.unique(np.concatenate([d.lines.datetime.array for d in self.datas]))), dtype=bool)
        wakes[[1, 40, 41, 120, 290]] = True
        return wakes[self.p.short :]

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        bar = len(self) - 1
        self.called.append(bar)
        self.resting = bar > self.until
        if bar in {1, 40, 41, 120, 290}:
            self.note(bar)
            for data in [data for data in self.datas if len(data)]:
                self.order_target_size(data=data, target=10 if bar % 2 else -5)
                self.sell(
                    data=data, size=3, exectype=bt.Order.Limit, price=data.close[0] * 1.02, valid=data.datetime.date(0)
                )
        if bar == 120:
            self.until = 125
            self.resting = False
        if bar in {123, 125}:
            self.note(bar)

    def note(self, bar: int) -> None:
        value = self.broker.getvalue().hex()
        past = [self.datetime[ago].hex() for ago in (0, -1)]
        reads = [(len(d), d.close[0], d.close[-1], d.datetime.datetime(0)) for d in self.datas if len(d)]
        self.log.append(
            (bar, len(self), len(self.datetime.array), past, value, reads, len(self.sma), self.sma[0].hex())
        )

    def notify_order(self, order: bt.Order) -> None:
        self.log.append((len(self), order.status, order.executed.price, order.executed.dt, order.executed.size))

    def stop(self) -> None:
        self.note(len(self))


class Watched(Sleeper):
    def notify_cashvalue(self, cash: float, value: float) -> None:
        self.log.append((cash, value))


def run(
    cerebro: bt.Cerebro, frames: list[pd.DataFrame], broker: bt.BrokerBase, kind: type = Sleeper, **params: Any
) -> Any:
    for number, table in enumerate(frames):
        cerebro.adddata(bt.feeds.PandasData(dataname=table), name=f"S{number}")
    cerebro.setbroker(broker)
    cerebro.broker.setcash(50_000.0)
    cerebro.addstrategy(kind, **params)
    return cerebro.run()[0]


FEEDS = [[frame(1)], [frame(2), frame(3)], [frame(4, missing=40), frame(5, missing=9), frame(6, first=80)]]


@pytest.mark.parametrize("frames", FEEDS, ids=["one", "aligned", "apart"])
def test_bars_at_which_a_strategy_will_not_act_go_by_unseen(frames: list[pd.DataFrame]) -> None:
    slow = run(bt.Cerebro(stdstats=False), frames, bt.brokers.BackBroker())
    fast = run(FastCerebro(), frames, Patient())
    assert fast.log == slow.log
    assert len(slow.called) == len(slow)
    assert {1, 40, 41, 120, 121, 122, 123, 124, 125, 290} <= set(fast.called)
    assert len(fast.called) < 0.9 * len(slow)
    assert fast.datetime.array == slow.datetime.array
    assert fast.broker.getvalue().hex() == slow.broker.getvalue().hex()


@pytest.mark.parametrize(("broker", "params"), [(Impatient, {}), (Patient, {"declares": False})])
def test_nothing_goes_by_unseen_otherwise(broker: type[Patient], params: dict[str, Any]) -> None:
    slow = run(bt.Cerebro(stdstats=False), FEEDS[0], bt.brokers.BackBroker())
    fast = run(FastCerebro(), FEEDS[0], broker(), **params)
    assert fast.log == slow.log
    assert fast.called == slow.called


def test_somebody_who_wants_cash_and_value_is_told_at_every_bar() -> None:
    slow = run(bt.Cerebro(stdstats=False), FEEDS[2], bt.brokers.BackBroker(), Watched)
    fast = run(FastCerebro(), FEEDS[2], Patient(), Watched)
    assert fast.log == slow.log
    assert fast.called == slow.called


def test_a_broker_works_only_while_there_is_work() -> None:
    fast = run(FastCerebro(), FEEDS[0], Patient(), declares=False)
    worked = fast.broker.worked
    assert worked == sorted(set(worked))
    assert {2, 41, 121, 291} <= set(worked)
    assert len(worked) < 100


def test_an_impatient_broker_works_at_every_bar() -> None:
    fast = run(FastCerebro(), FEEDS[0], Impatient(), declares=False)
    assert len(fast.broker.worked) == BARS


def test_wakes_of_another_length_are_refused() -> None:
    with pytest.raises(ResearchError, match=r"^Sleeper\.wakes: 299 bars instead of the 300 of the run\.$"):
        run(FastCerebro(), FEEDS[0], Patient(), short=1)


def test_work_in_more_containers_than_the_loops_look_at_is_refused() -> None:
    with pytest.raises(ResearchError, match=r"^Crowded\.work: 7 containers instead of at most 6\.$"):
        run(FastCerebro(), FEEDS[0], Crowded())


class Stopper(Sleeper):
    def next(self) -> None:
        super().next()
        if len(self) == 42:
            self.cerebro.runstop()


def test_runstop_is_heard_between_the_bars_that_go_by() -> None:
    slow = run(bt.Cerebro(stdstats=False), FEEDS[2], bt.brokers.BackBroker(), Stopper)
    fast = run(FastCerebro(), FEEDS[2], Patient(), Stopper)
    assert fast.log == slow.log
    assert len(fast) == len(slow) == 42
