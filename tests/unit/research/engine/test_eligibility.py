"""What the fast loop leaves to Backtrader's own, and that the results are Backtrader's then too."""

from collections.abc import Callable
from datetime import time
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from research.engine.cerebro import FastCerebro


def frame(bars: int = 60, freq: str = "B") -> pd.DataFrame:
    close = np.round(50.0 * np.cumprod(1.0 + np.random.default_rng(3).normal(0, 0.02, bars)), 2)
    index = pd.date_range("2001-01-01", periods=bars, freq=freq)
    columns = {"open": close, "high": close + 0.5, "low": close - 0.5, "close": close, "volume": 1000.0}
    return pd.DataFrame(columns, index=index)


class Trades(bt.Strategy):
    def __init__(self) -> None:
        self.log: list[Any] = []
        self.sma = bt.ind.SMA(self.data.close, period=5)

    def next(self) -> None:
        self.log.append((len(self), self.data.close[0], self.sma[0], self.broker.getvalue()))
        if len(self) % 10 == 0:
            self.order_target_percent(target=0.5 if not self.position else 0.0)


class Timed(Trades):
    def __init__(self) -> None:
        super().__init__()
        self.add_timer(time(0, 0))

    def notify_timer(self, timer: Any, when: Any, *args: Any, **kwargs: Any) -> None:
        self.log.append(("timer", when, len(self)))


class OwnNext(Trades):
    def _oncepost(self, dt: float) -> None:
        self.log.append(("oncepost", dt))
        super()._oncepost(dt)


class Notes(bt.observers.Value):
    def next(self) -> None:
        self.seen = [*getattr(self, "seen", []), len(self)]
        super().next()


class OwnCerebro(FastCerebro):
    notes = 0

    def _brokernotify(self) -> None:
        OwnCerebro.notes += 1
        super()._brokernotify()


class Late(bt.Indicator):
    lines = ("late",)

    def __init__(self) -> None:
        self.lines.late = self.data(-1)


class Circular(Trades):
    """Its indicator follows one that is made later."""

    def __init__(self) -> None:
        super().__init__()
        late = Late(self.data)
        late._clock = bt.ind.EMA(self.data, period=3)
        self.late = late


class OwnAdvance(bt.feeds.PandasData):
    def advance(self, *args: Any, **kwargs: Any) -> None:
        super().advance(*args, **kwargs)


class OwnTicks(bt.feeds.PandasData):
    ticks = 0

    def _tick_fill(self, force: bool = False) -> None:
        self.ticks += 1
        super()._tick_fill(force)


def feed(table: pd.DataFrame | None = None, kind: type = bt.feeds.PandasData, **params: Any) -> bt.feeds.PandasData:
    return kind(dataname=frame() if table is None else table, name="X", **params)


def plain(cerebro: bt.Cerebro, strategy: type[bt.Strategy] = Trades) -> None:
    cerebro.adddata(feed())
    cerebro.addstrategy(strategy)


def with_timer(cerebro: bt.Cerebro) -> None:
    plain(cerebro, Timed)


def with_own_next(cerebro: bt.Cerebro) -> None:
    plain(cerebro, OwnNext)


def with_circle(cerebro: bt.Cerebro) -> None:
    plain(cerebro, Circular)


def with_two_strategies(cerebro: bt.Cerebro) -> None:
    plain(cerebro)
    cerebro.addstrategy(Trades)


def with_observer(cerebro: bt.Cerebro) -> None:
    plain(cerebro)
    cerebro.addobserver(Notes)


def with_stdstats(cerebro: bt.Cerebro) -> None:
    plain(cerebro)
    cerebro.p.stdstats = True


def with_cheating(cerebro: bt.Cerebro) -> None:
    plain(cerebro)
    cerebro.p.cheat_on_open = True


def with_quick_news(cerebro: bt.Cerebro) -> None:
    plain(cerebro)
    cerebro.p.quicknotify = True


def with_writer(cerebro: bt.Cerebro) -> None:
    plain(cerebro)
    cerebro.addwriter(bt.WriterStringIO)


def with_resampling(cerebro: bt.Cerebro) -> None:
    cerebro.resampledata(feed(), timeframe=bt.TimeFrame.Weeks)
    cerebro.addstrategy(Trades)


def with_filter(cerebro: bt.Cerebro) -> None:
    data = feed()
    data.addfilter(bt.filters.HeikinAshi)
    cerebro.adddata(data)
    cerebro.addstrategy(Trades)


def with_clone(cerebro: bt.Cerebro) -> None:
    data = feed()
    cerebro.adddata(data)
    cerebro.adddata(data.clone(), name="Y")
    cerebro.addstrategy(Trades)


def with_duplicates(cerebro: bt.Cerebro) -> None:
    table = frame()
    cerebro.adddata(feed(pd.concat([table[:20], table[19:]])))
    cerebro.addstrategy(Trades)


def with_disorder(cerebro: bt.Cerebro) -> None:
    cerebro.adddata(feed(frame()[::-1]))
    cerebro.addstrategy(Trades)


def with_own_advance(cerebro: bt.Cerebro) -> None:
    cerebro.adddata(feed(kind=OwnAdvance))
    cerebro.addstrategy(Trades)


def with_own_ticks(cerebro: bt.Cerebro) -> None:
    cerebro.adddata(feed(kind=OwnTicks))
    cerebro.addstrategy(Trades)


def with_old_clock(cerebro: bt.Cerebro) -> None:
    plain(cerebro)
    cerebro.p.oldsync = True


CASES: list[tuple[Callable[[bt.Cerebro], None], str]] = [
    (with_timer, "A timer is set; the fast loop keeps none."),
    (with_own_next, "The strategy OwnNext overrides _oncepost, which belongs to Backtrader's loop."),
    (with_circle, "The indicator Late follows one that is computed after it."),
    (with_two_strategies, "2 strategies run at once; the fast loop runs one."),
    (with_observer, "Observers are attached (stdstats adds three); the fast loop serves none."),
    (with_stdstats, "Observers are attached (stdstats adds three); the fast loop serves none."),
    (with_cheating, "cheat_on_open is on; the fast loop decides at the close only."),
    (with_quick_news, "quicknotify is on; the fast loop notifies once a bar."),
    (with_writer, "A writer is attached; the fast loop writes nothing while it runs."),
    (with_resampling, "Bars come one at a time; the fast loop needs them loaded beforehand."),
    (with_filter, "The feed X has filters."),
    (with_clone, "The feed Y is resampled, replayed or cloned."),
    (with_duplicates, "The feed X has two bars of one time, or bars out of order."),
    (with_disorder, "The feed X has two bars of one time, or bars out of order."),
    (with_own_advance, "The feed X overrides advance."),
    (with_own_ticks, "The feed X keeps ticks of its own."),
    (with_old_clock, "oldsync is on; the fast loop keeps time as Backtrader has since 1.9."),
]


@pytest.mark.parametrize(("attach", "reason"), CASES, ids=[attach.__name__ for attach, _ in CASES])
def test_what_is_not_eligible_takes_backtraders_loop_and_says_why(
    attach: Callable[[bt.Cerebro], None], reason: str
) -> None:
    logs = []
    for cerebro in (bt.Cerebro(stdstats=False), FastCerebro()):
        attach(cerebro)
        logs.append([strategy.log for strategy in cerebro.run()])
    assert logs[0] == logs[1]
    assert logs[0][0]
    assert (cerebro.engine, cerebro.reason) == ("vanilla", reason)


def test_a_cerebro_that_replaces_parts_of_the_loop_takes_backtraders() -> None:
    cerebro = OwnCerebro()
    plain(cerebro)
    cerebro.run()
    assert OwnCerebro.notes == 60
    assert (cerebro.engine, cerebro.reason) == ("vanilla", "OwnCerebro overrides Cerebro._brokernotify.")


def test_memory_saving_takes_backtraders_loop() -> None:
    logs = []
    for cerebro in (bt.Cerebro(stdstats=False, exactbars=1), FastCerebro(exactbars=1)):
        plain(cerebro)
        logs.append(cerebro.run()[0].log)
    assert logs[0] == logs[1]
    assert (cerebro.engine, cerebro.reason) == (
        "vanilla",
        "Bars come one at a time; the fast loop needs them loaded beforehand.",
    )


class OwnBroker(bt.brokers.BackBroker):
    bars = 0

    def next(self) -> None:
        self.bars += 1
        super().next()


def test_an_unknown_broker_is_asked_at_every_bar() -> None:
    logs = []
    for cerebro in (bt.Cerebro(stdstats=False), FastCerebro()):
        cerebro.setbroker(OwnBroker())
        plain(cerebro)
        logs.append(cerebro.run()[0].log)
        assert cerebro.broker.bars == 60
    assert logs[0] == logs[1]
    assert cerebro.engine == "fast"


def test_a_plain_run_is_eligible() -> None:
    cerebro = FastCerebro()
    plain(cerebro)
    cerebro.run()
    assert (cerebro.engine, cerebro.reason) == ("fast", None)
