"""Strategies and indicators that are made without detours are what Backtrader makes."""

import array
import datetime as dt
import itertools
from collections import defaultdict
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import backtrader as bt
import pytest
from backtrader.indicator import MetaIndicator
from backtrader.linebuffer import MetaLineActions

from research.engine import making
from research.engine.cerebro import FastCerebro
from research.feed import ArrowFeed
from tests.unit.research.engine.test_cerebro import ALIGNED, THREE_ALIGNED, run

pytestmark = pytest.mark.usefixtures("loop")

_PLAIN = (int, float, str, bool, type(None), dt.date, dt.time, dt.timedelta, type, FunctionType)


class Making(bt.Cerebro):
    """Makes its strategy and runs nothing."""

    def runstrategies(self, iterstrat, predata=False):
        self._init_stcount()
        ((made, args, kwargs),) = iterstrat
        return [made(*self.datas, *args, **kwargs)]


class MakingQuickly(Making):
    """The same in the fast engine's way."""

    def runstrategies(self, iterstrat, predata=False):
        return super().runstrategies(making.quickly(iterstrat), predata)


def left_behind(strategy_class: type[bt.Strategy], *, quickly: bool, **params: Any) -> list[Any]:
    """A strategy before its bars run, with everything that can be reached from it."""
    cerebro = (MakingQuickly if quickly else Making)(stdstats=False)
    for table in THREE_ALIGNED[:2]:
        cerebro.adddata(bt.feeds.PandasData(dataname=table))
    cerebro.addstrategy(strategy_class, **params)
    return list(_walk(cerebro.run()[0], {}))


def _walk(thing: Any, seen: dict[int, int]) -> Iterator[Any]:
    if isinstance(thing, _PLAIN):
        yield repr(thing) if isinstance(thing, float) else thing
    elif id(thing) in seen:
        yield "seen", seen[id(thing)]
    elif not isinstance(thing, bt.Cerebro):
        seen[id(thing)] = len(seen)
        yield type(thing).__name__.rstrip("0123456789")  # couplers are numbered
        for part in _parts(thing):
            yield from _walk(part, seen)


def _parts(thing: Any) -> Iterator[Any]:
    if isinstance(thing, array.array):
        yield from (thing.typecode, len(thing))
    elif isinstance(thing, dict):
        yield thing.default_factory if isinstance(thing, defaultdict) else None
        yield from itertools.chain.from_iterable(thing.items())
    elif isinstance(thing, list | tuple):
        yield from thing
    elif not isinstance(thing, bt.feed.DataBase | itertools.count):
        yield from itertools.chain.from_iterable(sorted(getattr(thing, "__dict__", {}).items()))


def using(made: Any) -> type[bt.Strategy]:
    class Using(bt.Strategy):
        params = (("period", 5), ("width", 2.0))

        def __init__(self) -> None:
            self.made = made(self)

    return Using


@pytest.mark.parametrize(
    "given", [{"name": "X"}, {"name": "X", "compression": 5, "timeframe": bt.TimeFrame.Minutes, "plot": False}]
)
def test_a_feed_is_what_backtrader_makes(given):
    def known(feed: ArrowFeed) -> list[Any]:
        return [part for item in sorted(vars(feed).items()) for part in _walk(item, {})]

    assert known(making.make_feed(ArrowFeed, dataname=None, **given)) == known(ArrowFeed(dataname=None, **given))


def test_a_feed_of_a_kind_of_its_own_is_made_by_backtrader():
    class Own(ArrowFeed):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)

    made = making.make_feed(Own, dataname=None, name="X")
    assert (type(made), made._name, made.p.compression) == (Own, "X", 1)


OF_ONE = sorted(
    name
    for name, kind in MetaIndicator._indcol.items()
    if isinstance(kind, type) and kind.__module__.startswith("backtrader.indicators") and kind._mindatas == 1
)


@pytest.mark.parametrize("name", OF_ONE)
def test_an_indicator_of_backtraders_is_what_backtrader_makes(name):
    strategy = using(lambda self: MetaIndicator._indcol[name](self.data))
    try:
        expected = left_behind(strategy, quickly=False)
    except (AttributeError, TypeError, ValueError, LookupError) as error:
        with pytest.raises(type(error)):
            left_behind(strategy, quickly=True)
    else:
        assert left_behind(strategy, quickly=True) == expected


class Two(bt.Indicator):
    _mindatas = 2
    lines = ("wide", "narrow")
    params = (("by", 3),)
    plotinfo = dict(subplot=False)  # noqa: RUF012, C408 (as Backtrader's own indicators say it)

    def __init__(self) -> None:
        self.lines.wide = bt.Max(self.data, self.data1(-self.p.by)) + 1.0
        self.lines.narrow = self.data0.close - self.data1


@pytest.mark.parametrize(
    "made",
    [
        lambda self: [bt.ind.SMA(data.close, period=self.p.period) for data in self.datas],
        lambda self: bt.ind.CrossOver(bt.ind.SMA(self.data, period=3), bt.ind.EMA(self.data1.close)),
        lambda self: Two(self.data, self.data1, by=4, plotname="both"),
        lambda self: Two(self.data, 1.5),
        lambda self: bt.ind.SMA(period=2),
        lambda self: (
            self.data.close > self.data1.open,
            -self.data.high,
            abs(self.data.low / 2.0),
            1.0 - self.data.close,
        ),
        lambda self: bt.And(self.data.close > self.data.open, bt.If(self.data.close > 2.0, self.data.high, 0.0)),
        lambda self: bt.ind.BollingerBands(bt.ind.RSI(self.data.close(-1)), devfactor=self.p.width),
        lambda self: self.data.close(1),
        lambda self: bt.ind.MACD(self.data, self.data1).signal(0),
    ],
    ids=itertools.count(),
)
def test_what_a_strategy_builds_is_what_backtrader_makes(made):
    strategy = using(made)
    assert left_behind(strategy, quickly=True, period=4) == left_behind(strategy, quickly=False, period=4)


def test_a_class_with_ways_of_its_own_is_left_to_backtrader():
    class Counting(type(bt.Indicator)):
        def donew(cls, *args, **kwargs):
            made, args, kwargs = super().donew(*args, **kwargs)
            made.counted = True
            return made, args, kwargs

    class Counted(bt.Indicator, metaclass=Counting):
        lines = ("counted_line",)

    strategy = using(lambda self: Counted(self.data))
    seen = left_behind(strategy, quickly=True)
    assert "counted" in seen
    assert seen == left_behind(strategy, quickly=False)


def test_backtraders_cache_is_as_before_after_a_strategy_that_fails():
    def fails(self: bt.Strategy) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        left_behind(using(fails), quickly=True)
    assert (MetaIndicator._icacheuse, MetaLineActions._acacheuse) == (False, False)
    assert (type(MetaIndicator._icache), type(MetaLineActions._acache)) == (dict, dict)


def test_a_run_makes_no_indicator_by_detours(monkeypatch):
    detours: list[type] = []
    made = making._maker

    def watched(cls: type) -> Any:
        maker = made(cls)
        if maker is None:
            detours.append(cls)
        return maker

    monkeypatch.setattr(making, "_maker", watched)
    run(FastCerebro(), using(lambda self: bt.ind.CrossOver(bt.ind.SMA(self.data), bt.ind.EMA(self.data))), ALIGNED)
    assert detours == []
