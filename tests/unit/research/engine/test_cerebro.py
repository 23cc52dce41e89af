"""The fast loop beside Backtrader's own: whatever a strategy can read, at every bar, is the same to the last bit."""

import gc
from collections.abc import Callable
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from research.engine.cerebro import FastCerebro

pytestmark = pytest.mark.usefixtures("loop")


def frame(seed: int, bars: int = 120, *, missing: int = 0, freq: str = "B", start: str = "2001-01-01") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = np.round(50.0 * np.cumprod(1.0 + rng.normal(0.0003, 0.02, bars)), 2)
    opens = np.round(np.concatenate([close[:1], close[:-1]]) * (1.0 + rng.normal(0, 0.005, bars)), 2)
    table = pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, close) + 0.25,
            "low": np.minimum(opens, close) - 0.25,
            "close": close,
            "volume": rng.integers(0, 5_000, bars).astype(float),
        },
        index=pd.date_range(start, periods=bars, freq=freq),
    )
    keep = np.ones(bars, dtype=bool)
    keep[rng.integers(0, bars, missing)] = False
    return table[keep]


def run(
    cerebro: bt.Cerebro, strategy: type[bt.Strategy], frames: list[pd.DataFrame], *analyzers: type, **params: Any
) -> bt.Strategy:
    for number, table in enumerate(frames):
        cerebro.adddata(bt.feeds.PandasData(dataname=table), name=f"S{number}")
    cerebro.broker.setcash(20_000.0)
    cerebro.broker.setcommission(commission=0.001)
    for analyzer in analyzers:
        cerebro.addanalyzer(analyzer)
    cerebro.addstrategy(strategy, **params)
    return cerebro.run()[0]


def both(
    strategy: type[bt.Strategy], frames: list[pd.DataFrame], *analyzers: type, **params: Any
) -> tuple[bt.Strategy, bt.Strategy]:
    """The strategy after Backtrader's loop and after the fast one, which must not have given up."""
    slow = run(bt.Cerebro(stdstats=False), strategy, frames, *analyzers, **params)
    cerebro = FastCerebro()
    fast = run(cerebro, strategy, frames, *analyzers, **params)
    assert (cerebro.engine, cerebro.reason) == ("fast", None)
    return slow, fast


def exact(value: Any) -> Any:
    """A value in a form that is equal only to itself: floats by their bits."""
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, (list, tuple)) or type(value).__name__ == "array":
        return [exact(item) for item in value]
    if isinstance(value, (bool, int, str, type(None), np.generic)):
        return value
    return repr(value) if "object at" not in repr(value) else type(value).__name__


def outcome(read: Callable[[Any], Any], strategy: Any) -> Any:
    try:
        return exact(read(strategy))
    except (IndexError, AttributeError, TypeError, ValueError) as error:
        return type(error).__name__, str(error)


READS: dict[str, Callable[[Any], Any]] = {
    "present": lambda s: [s.data.close[0], s.data[0], s.data0.high[0], s.data.lines.open[0], s.data.lines[3][0]],
    "aliases": lambda s: [s.data_close[0], s.data0_low[0], s.data.l.volume[0], s.data_1[0], s.data.openinterest[0]],
    "past": lambda s: [s.data.close[-1], s.data.close[-7], s.data[-2]],
    "before the first": lambda s: s.data.close[-len(s.data) - 3],
    "future": lambda s: s.data.close[1],
    "behind the last": lambda s: s.data.close[1_000_000],
    "far before the first": lambda s: s.data.close[-1_000_000],
    "no index": lambda s: s.data.close["x"],
    "get": lambda s: [s.data.close.get(size=3), s.data.close.get(ago=-1, size=2), s.data.get(size=2), s.sma.get()],
    "get too much": lambda s: s.data.close.get(size=len(s) + 5),
    "zero based": lambda s: [s.data.close.getzero(1, 2), s.data.close.getzeroval(3), len(s.data.close.plot())],
    "lengths": lambda s: [len(s), len(s.data), len(s.data.close), len(s.sma), len(s.sma.lines), len(s.spread)],
    "buffers": lambda s: [s.data.buflen(), s.sma.buflen(), len(s.data.array), len(s.datetime.array), s.buflen()],
    "positions": lambda s: [s.data.close.idx, s.sma.lines[0].idx, s.data.close.lencount, s.spread.idx, s.datetime.idx],
    "own time": lambda s: [s.datetime[0], s.datetime[-1], s.datetime[-3], s.datetime.datetime(), s.datetime.date(0)],
    "own future": lambda s: s.datetime[1],
    "own distant past": lambda s: s.datetime[-40],
    "times": lambda s: [
        s.data.datetime[0], s.data.datetime.datetime(0), s.data.datetime.date(-1), s.data.datetime.time(),
        s.data.datetime.dt(), s.data.datetime.tm(), s.data.datetime.tm_raw(), s.data.num2date(), s.data.advance_peek(),
    ],
    "indicators": lambda s: [s.sma[0], s.sma[-1], s.sma.sma[0], s.sma.lines.sma[0], s.macd.signal[0], s.macd.l.macd[0]],
    "inner indicators": lambda s: [s.twin.inner[0], len(s.twin.inner), s.cross._lineiterators[0][0][0]],
    "operations": lambda s: [s.spread[0], s.both_up[0], s.earlier[0], s.mid[-2], s.cross[0]],
    "indicator of a line": lambda s: [s.of_signal[0], len(s.of_signal), s.of_spread[0]],
    "comparisons": lambda s: [
        s.data.close > s.sma, s.data > 50, s.sma >= s.data.close, s.cross > 0, s.data.close == s.data.close,
        s.spread != 0.0, s.sma < s.macd, s.data.close > 50, bool(s.cross), not s.spread, s.data <= 49.5,
    ],
    "arithmetic": lambda s: [s.data.close + 1, s.sma - s.data, 2 * s.spread, -s.data.close, abs(s.spread), s.data / 3],
    "bound": lambda s: [s.twin.doubled[0], s.twin[-1], s.twin.half[0]],
    "positions held": lambda s: [s.position.size, s.getposition(s.data).price, bool(s.position), s.position.adjbase],
    "position marked": lambda s: [s.position.adjbase, s.position.datetime, str(s.position)],
    "money": lambda s: [s.broker.getvalue(), s.broker.getcash(), s.broker.fundvalue, s.broker.get_fundshares()],
    "value of a feed": lambda s: [s.broker.getvalue([s.data]), s.broker.get_leverage(), s.broker.getvalue(mkt=True)],
    "ticks": lambda s: [s.data.tick_open, s.data.tick_close, s.data.tick_last, s.data.tick_volume],
    "identity": lambda s: [{s.data: 1}[s.data], s.data.close is s.data.lines[0]],
    "names": lambda s: [type(s.data).__name__, s.data._name, type(s.sma).__name__, s.data.close.__class__.__name__],
    "kinds": lambda s: [isinstance(s.data, bt.feeds.PandasData), isinstance(s.spread, bt.LineRoot), s.data.p.tz],
    "unknown": lambda s: s.data.nonsense,
    "unknown of an indicator": lambda s: s.sma.nonsense,
    "other feeds": lambda s: [[d.close[0], d.close[-1], len(d), d.datetime[0]] for d in s.datas if len(d)],
}  # fmt: skip


class Twin(bt.Indicator):
    lines = ("doubled", "half")

    def __init__(self) -> None:
        self.inner = bt.ind.SMA(self.data, period=2)
        self.lines.doubled = self.data * 2.0

    def next(self) -> None:
        self.lines.half[0] = self.data[0] / 2.0


class Reader(bt.Strategy):
    """Reads everything at every bar, and trades a little."""

    params = (("trades", True),)

    def __init__(self) -> None:
        self.log: list[Any] = []
        data = self.data
        self.sma = bt.ind.SMA(data.close, period=7)
        self.macd = bt.ind.MACD(data.close, period_me1=4, period_me2=9, period_signal=3)
        self.cross = bt.ind.CrossOver(data.close, self.sma)
        self.spread = data.close - self.sma
        self.mid = (data.high + data.low) / 2.0
        self.earlier = data.close(-2)
        self.both_up = bt.And(data.close > self.sma, self.macd.macd > self.macd.signal)
        self.of_signal = bt.ind.Highest(self.macd.signal, period=4)
        self.of_spread = bt.ind.EMA(self.spread, period=3)
        self.twin = Twin(data)
        self.others = [bt.ind.EMA(other, period=5) for other in self.datas[1:]]
        self.last_order: bt.Order | None = None
        self.first_ref: int | None = None

    def note(self, *what: Any) -> None:
        self.log.append(exact(list(what)))

    def read(self, where: str) -> None:
        self.log.append((where, {name: outcome(read, self) for name, read in READS.items()}))
        self.log.append([[exact(ind[0]), len(ind)] for ind in self.others])

    def prenext(self) -> None:
        self.read("prenext")

    def nextstart(self) -> None:
        self.read("nextstart")

    def next(self) -> None:
        self.read("next")
        if self.p.trades:
            self.trade(len(self))

    def trade(self, bar: int) -> None:
        for data in self.datas:
            held = self.getposition(data).size
            if bar % 11 == 0 and not held:
                close = data.close[0]
                self.buy_bracket(
                    data=data, size=3, exectype=bt.Order.Market, stopprice=close * 0.97, limitprice=close * 1.03
                )
            elif bar % 7 == 3:
                self.order_target_percent(data=data, target=0.2 if bar % 2 else -0.1)
            elif bar % 13 == 5:
                self.sell(data=data, size=1, exectype=bt.Order.StopTrail, trailpercent=0.01)
        if bar % 17 == 0:
            for order in self.broker.get_orders_open()[:2]:
                self.cancel(order)
        if bar % 29 == 0:
            self.broker.add_cash(100.0)

    def notify_order(self, order: bt.Order) -> None:
        self.first_ref = self.first_ref or order.ref
        done = order.executed
        self.note(
            "order", order.ref - self.first_ref, order.status, done.dt, done.size, done.price, done.comm, len(self)
        )

    def notify_trade(self, trade: bt.Trade) -> None:
        self.note("trade", trade.status, trade.size, trade.price, trade.pnl, trade.pnlcomm, trade.barlen, trade.dtopen)

    def stop(self) -> None:
        self.read("stop")


class CashReader(Reader):
    def notify_cashvalue(self, cash: float, value: float) -> None:
        self.note("cash", cash, value, len(self))

    def notify_fund(self, cash: float, value: float, fundvalue: float, shares: float) -> None:
        self.note("fund", cash, value, fundvalue, shares)


class Keeper(Reader):
    """Keeps lines of its own."""

    lines = ("signal", "bound")

    def __init__(self) -> None:
        super().__init__()
        self.lines.bound = bt.ind.SMA(self.data.close, period=3)

    def read(self, where: str) -> None:
        self.lines.signal[0] = self.data.close[0] * 2.0
        for ago in (0, -1, -5, 1):
            self.note(outcome(lambda s, ago=ago: s.lines.signal[ago], self), outcome(lambda s: s.lines.bound[0], self))
        super().read(where)


ALIGNED = [frame(1)]
THREE_ALIGNED = [frame(1), frame(2), frame(3)]
APART = [frame(4, missing=25), frame(5, missing=12), frame(6, start="2001-02-20")]
MINUTES = [frame(7, freq="min"), frame(8, freq="7min")]


@pytest.mark.thorough
@pytest.mark.parametrize("strategy", [Reader, CashReader, Keeper])
@pytest.mark.parametrize("frames", [ALIGNED, THREE_ALIGNED, APART, MINUTES], ids=["one", "aligned", "apart", "minutes"])
def test_whatever_a_strategy_can_read_is_the_same_at_every_bar(
    strategy: type[Reader], frames: list[pd.DataFrame]
) -> None:
    slow, fast = both(strategy, frames)
    assert len(slow.log) > 100
    for expected, found in zip(slow.log, fast.log, strict=True):
        assert found == expected


@pytest.mark.parametrize("frames", [ALIGNED, APART], ids=["one", "apart"])
def test_analyzers_find_the_same(frames: list[pd.DataFrame]) -> None:
    kinds = (
        bt.analyzers.TimeReturn, bt.analyzers.DrawDown, bt.analyzers.TradeAnalyzer, bt.analyzers.SQN, bt.analyzers.VWR,
        bt.analyzers.Transactions, bt.analyzers.PositionsValue, bt.analyzers.SharpeRatio, bt.analyzers.Returns,
        bt.analyzers.LogReturnsRolling, bt.analyzers.GrossLeverage, bt.analyzers.PeriodStats, bt.analyzers.PyFolio,
    )  # fmt: skip
    slow, fast = both(Reader, frames, *kinds)
    assert fast.log == slow.log
    for expected, found in zip(slow.analyzers, fast.analyzers, strict=True):
        assert repr(found.get_analysis()) == repr(expected.get_analysis())


class Bars(bt.Analyzer):
    def start(self) -> None:
        self.seen: list[Any] = []

    def prenext(self) -> None:
        self.seen.append(("pre", len(self), len(self.data)))

    def nextstart(self) -> None:
        self.seen.append(("start", len(self), self.data.close[0]))

    def next(self) -> None:
        self.seen.append(("next", len(self), self.data.close[0]))

    def notify_order(self, order: bt.Order) -> None:
        self.seen.append((order.status, order.executed.price))

    def notify_cashvalue(self, cash: float, value: float) -> None:
        self.seen.append((cash, value))


class Wrapper(bt.Analyzer):
    def __init__(self) -> None:
        self.inner = Bars()

    def notify_fund(self, cash: float, value: float, fundvalue: float, shares: float) -> None:
        self.inner.seen.append((cash, value, fundvalue, shares))


def test_an_analyzer_inside_an_analyzer_is_told_in_the_same_order() -> None:
    slow, fast = both(Reader, APART, Wrapper, Bars)
    assert fast.analyzers[0].inner.seen == slow.analyzers[0].inner.seen
    assert fast.analyzers[1].seen == slow.analyzers[1].seen
    assert len(slow.analyzers[1].seen) > 200


def state(strategy: bt.Strategy) -> Any:
    """What the objects are like after a run."""
    things = [strategy, *strategy.datas, *strategy._lineiterators[bt.LineIterator.IndType]]
    lines = [line for thing in things for line in thing.lines]
    return (
        [(type(thing), len(thing), sorted(vars(thing))) for thing in things],
        [(type(line), line.idx, line.lencount, len(line), exact(line.array), sorted(vars(line))) for line in lines],
        strategy._minperstatus,
        [order.status for order in strategy._orders],
        [order.status for order in strategy._orderspending],
        [trade.pnl for trade in strategy._tradespending],
    )


@pytest.mark.parametrize("frames", [ALIGNED, APART], ids=["one", "apart"])
def test_the_objects_are_backtraders_again_after_the_run(frames: list[pd.DataFrame]) -> None:
    slow, fast = both(Reader, frames)
    assert state(fast) == state(slow)


class Breaks(Reader):
    params = (("where", "next"), ("at", 60))

    def crash(self, where: str) -> None:
        if where == self.p.where and len(self) >= self.p.at:
            raise ZeroDivisionError(where)

    def next(self) -> None:
        super().next()
        Breaks.left = self
        self.crash("next")

    def prenext(self) -> None:
        Breaks.left = self
        self.crash("prenext")

    def notify_order(self, order: bt.Order) -> None:
        super().notify_order(order)
        self.crash("notify_order")


@pytest.mark.parametrize(("where", "at"), [("next", 60), ("prenext", 4), ("notify_order", 50)])
def test_an_exception_leaves_the_objects_as_backtrader_does(where: str, at: int) -> None:
    before = gc.get_threshold()
    states = []
    for cerebro in (bt.Cerebro(stdstats=False), FastCerebro()):
        with pytest.raises(ZeroDivisionError, match=where):
            run(cerebro, Breaks, APART, where=where, at=at)
        states.append((Breaks.left.log, state(Breaks.left)))
    assert states[0] == states[1]
    assert gc.get_threshold() == before


class Stops(Reader):
    params = (("where", "next"), ("at", 40))

    def next(self) -> None:
        super().next()
        if self.p.where == "next" and len(self) == self.p.at:
            self.cerebro.runstop()

    def prenext(self) -> None:
        super().prenext()
        if self.p.where == "prenext" and len(self) == self.p.at:
            self.env.runstop()


@pytest.mark.parametrize(("where", "at"), [("next", 40), ("next", 12), ("prenext", 3)])
@pytest.mark.parametrize("frames", [ALIGNED, APART], ids=["one", "apart"])
def test_runstop_ends_the_run_at_the_same_bar(where: str, at: int, frames: list[pd.DataFrame]) -> None:
    slow, fast = both(Stops, frames, where=where, at=at)
    assert fast.log == slow.log
    assert state(fast) == state(slow)


class Moves(Reader):
    """Moves lines by itself, which Backtrader allows."""

    params = (("how", "advance"), ("at", 50))

    def next(self) -> None:
        super().next()
        if len(self) == self.p.at:
            {"advance": self.data.advance, "rewind": self.data.rewind, "indicator": self.sma.lines.rewind}[self.p.how]()
            self.read("moved")


@pytest.mark.parametrize("how", ["advance", "rewind", "indicator"])
@pytest.mark.parametrize("frames", [ALIGNED, APART], ids=["one", "apart"])
def test_a_strategy_that_moves_a_line_by_itself_goes_on_in_backtraders_loop(
    how: str, frames: list[pd.DataFrame]
) -> None:
    slow, fast = both(Moves, frames, bt.analyzers.TimeReturn, how=how)
    assert len(fast.log) == len(slow.log)
    for expected, found in zip(slow.log, fast.log, strict=True):
        assert found == expected
    assert state(fast) == state(slow)


class MovesOnNews(Reader):
    def notify_order(self, order: bt.Order) -> None:
        super().notify_order(order)
        if len(self) == 45:
            self.data.advance()


class MovesInBroker(Reader):
    """A volume filler runs while the broker works, before the strategy has seen the bar."""

    def start(self) -> None:
        self.broker.set_filler(self.fill)

    def fill(self, order: bt.Order, price: float, ago: int) -> float:
        self.note("fill", len(self), len(self.data), len(self.sma), self.sma[0], self.data.close[0], self.datetime[0])
        if len(self) == 44 and len(self.data) == 45:
            self.data.advance()
        return abs(order.executed.remsize)


@pytest.mark.parametrize("strategy", [MovesOnNews, MovesInBroker])
def test_a_line_may_be_moved_while_the_broker_or_the_news_have_their_turn(strategy: type[Reader]) -> None:
    slow, fast = both(strategy, ALIGNED)
    assert fast.log == slow.log
    assert state(fast) == state(slow)


class Lagging(bt.Indicator):
    """An indicator that moves in its own way."""

    lines = ("lag",)
    moved = 0

    def __init__(self) -> None:
        self.lines.lag = self.data.close(-1)

    def advance(self, size: int = 1) -> None:
        self.moved += 1
        super().advance(size)


class Odd(Reader):
    """Indicators without a feed for a clock, and one that moves by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.lagging = Lagging(self.data)
        self.number = bt.LineNum(3.5)
        self.of_inner = bt.ind.SMA(self.twin.inner, period=3)

    def read(self, where: str) -> None:
        super().read(where)
        for thing in (self.lagging, self.number, self.of_inner):
            self.note(outcome(lambda s, thing=thing: thing[0], self), len(thing), self.lagging.moved)


def test_indicators_that_move_in_their_own_way_do_so() -> None:
    slow, fast = both(Odd, ALIGNED)
    assert fast.log == slow.log
    assert state(fast) == state(slow)


def test_a_feed_can_be_used_by_one_engine_after_the_other() -> None:
    logs: list[list[Any]] = []
    for kinds in ((bt.Cerebro, bt.Cerebro, bt.Cerebro), (FastCerebro, bt.Cerebro, FastCerebro)):
        data = bt.feeds.PandasData(dataname=ALIGNED[0])
        for kind in kinds:
            cerebro = kind(stdstats=False)
            cerebro.adddata(data, name="S0")
            cerebro.addstrategy(Reader)
            logs.append(cerebro.run()[0].log)
    assert logs[:3] == logs[3:]


def test_no_class_of_backtrader_is_changed_by_a_run() -> None:
    kinds = (
        bt.Strategy,
        bt.Cerebro,
        bt.Indicator,
        bt.LineRoot,
        bt.linebuffer.LineBuffer,
        bt.feeds.PandasData,
        bt.Order,
    )
    before = [dict(vars(kind)) for kind in kinds]
    both(Reader, ALIGNED)
    assert [dict(vars(kind)) for kind in kinds] == before


class Nests(Reader):
    """Runs another backtest inside its own."""

    def next(self) -> None:
        super().next()
        if len(self) == 30:
            inner = run(FastCerebro(), Reader, [frame(9, 40)])
            self.note(len(inner.log), inner.broker.getvalue())


def test_a_run_inside_a_run_disturbs_neither() -> None:
    slow, fast = both(Nests, ALIGNED)
    assert fast.log == slow.log


def test_garbage_is_collected_as_before_after_a_run() -> None:
    before = gc.get_threshold()
    run(FastCerebro(), Reader, ALIGNED)
    assert gc.get_threshold() == before


def test_a_feed_shorter_than_the_warm_up_never_reaches_next() -> None:
    frames = [frame(1), frame(2)[:30], frame(3)[80:]]
    slow, fast = both(Reader, frames)
    assert fast.log == slow.log
    assert state(fast) == state(slow)


def test_a_run_without_bars_is_vanillas() -> None:
    cerebro = FastCerebro()
    assert cerebro.run() == []
    assert (cerebro.engine, cerebro.reason) == ("vanilla", "Nothing has run yet.")


def test_bars_that_come_one_at_a_time_take_backtraders_loop() -> None:
    slow = run(bt.Cerebro(stdstats=False, runonce=False), Reader, ALIGNED)
    cerebro = FastCerebro(runonce=False)
    fast = run(cerebro, Reader, ALIGNED)
    assert fast.log == slow.log
    assert cerebro.engine == "vanilla"
    assert cerebro.reason == "Bars come one at a time; the fast loop needs them loaded beforehand."


def test_optimization_runs_every_strategy_on_the_fast_loop() -> None:
    results = []
    for cerebro in (bt.Cerebro(stdstats=False, maxcpus=1), FastCerebro(maxcpus=1)):
        cerebro.adddata(bt.feeds.PandasData(dataname=ALIGNED[0]))
        cerebro.addanalyzer(bt.analyzers.DrawDown)
        cerebro.optstrategy(Stops, at=[20, 40, 60])
        results.append([repr(result[0].analyzers[0].get_analysis()) for result in cerebro.run()])
    assert results[0] == results[1]
    assert (cerebro.engine, cerebro.reason) == ("fast", None)


class Seen(bt.Observer):
    lines = ("seen",)

    def next(self) -> None:
        self.lines.seen[0] = len(self._owner)


class Changes(Reader):
    """Becomes another in the middle of the run: Python and Backtrader let it."""

    params = (("how", ""),)

    def next(self) -> None:
        super().next()
        if len(self) == 40:
            getattr(self, self.p.how)()

    def another_next(self) -> None:
        self.next = self.calm

    def calm(self) -> None:
        self.read("calm")

    def another_broker(self) -> None:
        self.read("old broker")
        self.broker = self.cerebro.broker = bt.brokers.BackBroker(cash=777.0)
        self.read("new broker")

    def another_indicator(self) -> None:
        self.others.append(bt.ind.SMA(self.data.close, period=3))

    def another_operation(self) -> None:
        self.note(outcome(lambda s: s.data.close(-1)[0], self))

    def another_observer(self) -> None:
        self._addobserver(False, Seen)

    def read(self, where: str) -> None:
        self.note([outcome(lambda s, other=other: other[0], self) for other in self.others], *map(len, self.others))
        others, self.others = self.others, []
        super().read(where)
        self.others = others


@pytest.mark.thorough
@pytest.mark.parametrize(
    "how", ["another_next", "another_broker", "another_indicator", "another_operation", "another_observer"]
)
@pytest.mark.parametrize("frames", [ALIGNED, APART], ids=["one", "apart"])
def test_a_strategy_that_changes_itself_in_the_middle_is_followed(how: str, frames: list[pd.DataFrame]) -> None:
    slow, fast = both(Changes, frames, how=how)
    assert len(fast.log) == len(slow.log)
    for expected, found in zip(slow.log, fast.log, strict=True):
        assert found == expected
    assert state(fast) == state(slow)
    assert exact(fast.stats[-1].lines.seen.array if len(fast.stats) else 0) == exact(
        slow.stats[-1].lines.seen.array if len(slow.stats) else 0
    )
