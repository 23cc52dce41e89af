"""Indicators computed at once: every line is left as Backtrader leaves it, to the last bit."""

import inspect
import math
import operator
import sys
from functools import partial

import backtrader as bt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.engine.once import run_once
from tests.unit.research.engine.lines_after_once import backtraders_way, left_behind
from tests.unit.strategies.indicators.backtraders import Feed, Prices, column_of_any_numbers, prices


def walk(count, seed=3):
    """Bars with ties, a gap and a stretch that does not move."""
    state, close, moves = seed, [100.0], [-1.25, -0.5, 0.0, 0.25, 0.5, 1.0]
    for at in range(count - 1):
        state = (state * 1103515245 + 12345) % 2**31
        move = 0.0 if 40 <= at < 48 else moves[(state >> 16) % 6]
        close.append(close[-1] + move + (8.0 if at == 70 else 0.0))
    high = [value + (at % 3) * 0.5 + 0.1 for at, value in enumerate(close)]
    low = [value - (at % 4) * 0.25 - 0.1 for at, value in enumerate(close)]
    return Prices([close[0], *close[:-1]], high, low, close)


def strategy_with(make):
    """A strategy whose `__init__` makes lines of its feeds."""

    class Made(bt.Strategy):
        def __init__(self):
            self.made = make(*self.datas)

    return Made


def both_ways(make, *bars):
    feeds = lambda: [Feed(prices=one) for one in bars]  # noqa: E731
    kind = strategy_with(make)
    return left_behind(kind, feeds), left_behind(kind, feeds, compute=backtraders_way)


def assert_same(make, *bars):
    ours, theirs = both_ways(make, *bars)
    assert [one.what for one in ours] == [one.what for one in theirs]
    assert ours == theirs
    return ours


# ---------------------------------------------------------------- Backtrader's indicators, all of them

NEEDS_MORE = {"OLS_Slope_InterceptN", "OLS_TransformationN", "OLS_BetaN", "CointN"}  # packages that are not installed
BAR_BY_BAR = {"HeikinAshi", "haDelta"}  # Backtrader computes these as the bars run
ALL = sorted(
    name
    for name, cls in vars(bt.ind).items()
    if inspect.isclass(cls)
    and issubclass(cls, bt.Indicator)
    and not name.startswith("_")
    and not getattr(cls, "aliased", "")
    and cls.__module__.startswith("backtrader.indicators")
    and name not in NEEDS_MORE | BAR_BY_BAR
)


def with_defaults(name):
    """The indicator on as many feeds as it wants; a period where the default is none."""

    def make(data, *_):
        cls = getattr(bt.ind, name)
        datas = [data, data.open][: max(cls._mindatas, 1)]
        special = {"ReduceN": (operator.add,), "ApplyN": ()}
        options = {"period": 5} if name in {"ApplyN", "BaseApplyN"} else {}
        if name in {"ApplyN", "BaseApplyN"}:
            options["func"] = max
        return cls(*datas, *special.get(name, ()), **options)

    return make


@pytest.mark.parametrize("name", ALL)
def test_every_indicator_of_backtraders_is_left_as_it_leaves_it(name):
    assert_same(with_defaults(name), walk(150))


@pytest.mark.parametrize(
    "name", ["SMA", "EMA", "RSI_Safe", "ATR", "MACDHisto", "CrossOver", "BBands", "KAMA", "Highest"]
)
@pytest.mark.parametrize("count", [1, 2, 14, 15])
def test_a_series_that_is_too_short_fails_as_in_backtrader(name, count):
    assert_same(with_defaults(name), walk(count))


COMMON = {
    "moving averages": lambda d: [kind(d, period=7) for kind in (bt.ind.SMA, bt.ind.EMA, bt.ind.SMMA, bt.ind.WMA)],
    "averages of averages": lambda d: [kind(d, period=5) for kind in (bt.ind.DEMA, bt.ind.TEMA, bt.ind.HMA)],
    "crossings": lambda d: bt.ind.CrossOver(bt.ind.SMA(d, period=4), bt.ind.SMA(d, period=9)),
    "rsi": lambda d: [bt.ind.RSI_Safe(d, period=6), bt.ind.RSI_SMA(d, safediv=True), bt.ind.RSI_EMA(d, safediv=True)],
    "ranges": lambda d: [bt.ind.TR(d), bt.ind.ATR(d, period=5)],
    "macd": lambda d: bt.ind.MACDHisto(d, period_me1=5, period_me2=9, period_signal=4),
    "bands": lambda d: [bt.ind.BBands(d, period=6), bt.ind.StdDev(d, period=6, movav=bt.ind.EMA), bt.ind.MeanDev(d)],
    "stochastic": lambda d: bt.ind.StochasticFull(d, period=6, safediv=True, safezero=0.5),
    "rates": lambda d: [bt.ind.ROC(d, period=3), bt.ind.Momentum(d, period=3), bt.ind.PctChange(d, period=3)],
    "extremes": lambda d: [bt.ind.Highest(d.high, period=6), bt.ind.Lowest(d.low(-1), period=6)],
    "ages": lambda d: [bt.ind.AroonUpDown(d), bt.ind.FindLastIndexHighest(d), bt.ind.FindLastIndexLowest(d, period=4)],
    "sums": lambda d: [bt.ind.SumN(d, period=6), bt.ind.Accum(d, seed=2.5), bt.ind.AnyN(d > d(-1), period=3)],
    "all": lambda d: [bt.ind.AllN(d > d(-1), period=3), bt.Sum(d, d.open)],
    "williams": lambda d: [bt.ind.WilliamsR(d), bt.ind.WilliamsAD(d), bt.ind.CCI(d)],
    "ichimoku": lambda d: bt.ind.Ichimoku(d, tenkan=3, kijun=5, senkou=7, senkou_lead=5, chikou=5),
}


@pytest.mark.parametrize("name", COMMON)
def test_common_indicators_are_computed_without_a_loop_in_python(name):
    loops = set()

    def watch(frame, event, _):
        code = frame.f_code
        if event == "call" and "backtrader" in code.co_filename and "once" in code.co_name:
            loops.add(f"{code.co_filename.rsplit('/', 1)[1]}:{code.co_qualname}")

    def watched(strategy):
        sys.setprofile(watch)
        try:
            run_once(strategy)
        finally:
            sys.setprofile(None)

    left = left_behind(strategy_with(COMMON[name]), lambda: [Feed(prices=walk(150))], compute=watched)
    assert len(left) > 8  # no error
    # Backtrader calls these of the strategy itself; they do nothing
    assert loops <= {f"lineiterator.py:LineIterator.{own}" for own in ("preonce", "oncestart", "once")}


@pytest.mark.parametrize("name", COMMON)
@settings(max_examples=4)
@given(bars=prices(least=1, most=60))
def test_common_indicators_are_the_same_on_any_numbers(name, bars):
    assert_same(COMMON[name], bars)


# ---------------------------------------------------------------- operations on lines

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.floordiv]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]
LOGIC = [bt.And, bt.Or, bt.Max, bt.Min, bt.Sum, bt.Any, bt.All, bt.DivByZero, bt.DivZeroByZero, bt.Cmp]
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, 2, -3, True, 0.5, math.inf, math.nan, 1e308, 2**60])
LEAVES = st.sampled_from(["close", "open", "high", "low"])


def trees(inner):
    two = st.tuples(st.sampled_from(ARITHMETIC + COMPARISONS), inner, st.one_of(inner, NUMBERS))
    return st.one_of(
        two.map(lambda parts: ("of two", *parts)),
        st.tuples(st.just("of number"), st.sampled_from(ARITHMETIC + COMPARISONS), NUMBERS, inner),
        st.tuples(st.just("own"), st.sampled_from([abs, operator.neg, operator.truth]), inner),
        st.tuples(st.just("ago"), inner, st.integers(-3, 0)),
        st.tuples(st.just("logic"), st.sampled_from(LOGIC), inner, inner),
        st.tuples(st.just("if"), inner, inner, st.one_of(inner, NUMBERS)),
        st.tuples(st.just("ex"), inner, inner, inner, st.one_of(inner, NUMBERS)),
        st.tuples(st.just("average"), inner, st.integers(1, 4)),
        st.tuples(st.just("nzd"), inner, inner),
    )


def build(tree, data):  # noqa: PLR0911 (one case a kind)
    if isinstance(tree, str):
        return getattr(data, tree)
    if not isinstance(tree, tuple):
        return tree
    kind, *parts = tree
    made = partial(build, data=data)
    if kind in {"of two", "of number"}:
        return parts[0](made(parts[1]), made(parts[2]))
    if kind == "own":
        return made(parts[1]).__bool__() if parts[0] is operator.truth else parts[0](made(parts[1]))
    if kind == "ago":
        return made(parts[0])(parts[1])
    if kind == "logic":
        return parts[0](made(parts[1]), made(parts[2]))
    if kind == "if":
        return bt.If(*map(made, parts))
    if kind == "ex":
        return bt.CmpEx(*map(made, parts), 0.0)
    if kind == "average":
        return bt.ind.SMA(made(parts[0]), period=parts[1])
    return bt.ind.NonZeroDifference(*map(made, parts))


@settings(max_examples=60)
@given(tree=st.recursive(LEAVES, trees, max_leaves=8), bars=prices(least=1, most=30))
def test_any_expression_of_lines_is_left_as_backtrader_leaves_it(tree, bars):
    assert_same(lambda data: build(tree, data), bars)


@settings(max_examples=40)
@given(column=column_of_any_numbers(1, 30), exponent=st.sampled_from([2, 0.5, -1, 3.0, 0, -0.5, 1e10]))
def test_powers_are_pythons_or_its_errors(column, exponent):
    assert_same(lambda data: data.close**exponent, Prices(column, column, column, column))


@pytest.mark.parametrize("ago", [1, 3, 40])
def test_lines_of_the_future_are_left_as_backtrader_leaves_them(ago):
    assert_same(lambda data: bt.ind.SMA(data.close, period=4)(ago), walk(30))


# ---------------------------------------------------------------- what users make


class OwnNext(bt.Indicator):
    """Computed bar by bar; reads what moves with it."""

    lines = ("sum",)
    params = (("period", 3),)

    def __init__(self):
        self.mean = bt.ind.SMA(self.data, period=self.p.period)
        self.seen = []

    def next(self):
        self.seen.append((len(self), len(self.data), len(self.mean), len(self._owner)))
        self.lines.sum[0] = self.mean[0] + self.data[-1] + len(self.data)


class OwnHighest(bt.ind.Highest):
    func = staticmethod(lambda window: max(window) + 1.0)


class OwnOnce(bt.ind.Average):
    def once(self, start, end):
        super().once(start, end)
        for at in range(start, end):
            self.line.array[at] += 1.0


class OwnStart(bt.ind.ExponentialSmoothing):
    def oncestart(self, start, end):
        self.line.array[start] = 7.0


class PlainSubclass(bt.ind.RSI_Safe):
    params = (("period", 5),)


class OwnForward(bt.ind.SMA):
    def home(self):
        super().home()
        self.homes = getattr(self, "homes", 0) + 1


class OwnDivision(bt.DivByZero):
    def once(self, start, end):
        for at in range(start, end):
            self.array[at] = 1.0


class OwnOperator(bt.linebuffer.LinesOperation):
    def _once_op(self, start, end):
        for at in range(start, end):
            self.array[at] = 5.0


class Between(bt.ind.Average):
    def once(self, start, end):
        for at in range(start, end):
            self.line.array[at] = 3.0


class WithBetween(bt.ind.ExponentialSmoothing, Between):
    pass


class OwnLines(bt.Indicator):
    """Lines given to one another in several ways."""

    lines = ("first", "second", "third")

    def __init__(self):
        self.lines.first = bt.ind.SMA(self.data, period=3)
        self.lines.second = self.lines.first - bt.ind.EMA(self.lines.first, period=4)
        self.third = bt.ind.Highest(self.lines.second, period=2)
        self.third.bind2lines("third")


USERS = {
    "next": OwnNext,
    "next on an average": lambda d: OwnNext(bt.ind.EMA(d, period=4)),
    "average of next": lambda d: [bt.ind.SMA(OwnNext(d), period=4), bt.ind.RSI_Safe(d)],
    "next between others": lambda d: [bt.ind.ATR(d), OwnNext(d), bt.ind.MACD(d), bt.ind.CrossOver(OwnNext(d), d.open)],
    "func": lambda d: OwnHighest(d, period=4),
    "func of the instance": lambda d: bt.ind.ApplyN(d, period=4, func=lambda window: window[0]),
    "known func of the instance": lambda d: bt.ind.ApplyN(d, period=4, func=math.fsum),
    "once": lambda d: OwnOnce(d, period=4),
    "oncestart": lambda d: OwnStart(d, period=4),
    "between smoothing and average": lambda d: WithBetween(d, period=4),
    "nothing but a parameter": PlainSubclass,
    "home": lambda d: OwnForward(d, period=4),
    "operation": lambda d: [OwnDivision(d.close, d.open), OwnOperator(d.close, d.open, operator.add)],
    "lines": OwnLines,
    "reversed smoothing": lambda d: bt.ind.ExponentialSmoothing(d, period=4, alpha=1),
    "weights of its own": lambda d: bt.ind.WeightedAverage(d, period=3, coef=0.5, weights=(1, 2, 0.5)),
    "fewer weights": lambda d: bt.ind.WeightedAverage(d, period=3, coef=0.5, weights=(1.0, 2.0)),
    "the time of day": lambda d: d.datetime < __import__("datetime").time(12, 0),
    "a coupled line": lambda d: d.close(),
    "a sum of three": lambda d: bt.Sum(d, d.open, d.high),
    "a list": lambda d: [bt.ind.SMA(d, period=2.0)],
}


@pytest.mark.parametrize("name", USERS)
def test_what_users_make_is_computed_by_its_own_methods(name):
    assert_same(USERS[name], walk(60))


def test_an_indicator_of_a_user_sees_the_lengths_that_backtrader_shows_it():
    def seen(compute):
        found = []

        class Watching(bt.Strategy):
            def __init__(self):
                bt.ind.CrossOver(bt.ind.SMA(self.data, period=3), self.data.open)
                found.append(OwnNext(bt.ind.SMA(OwnNext(self.data), period=2)))

        left_behind(Watching, lambda: [Feed(prices=walk(40))], compute=compute)
        return found[0].seen

    assert seen(run_once) == seen(backtraders_way)
    assert len(seen(run_once)) > 30


def test_a_method_put_on_an_object_is_called():
    def make(data):
        average = bt.ind.Average(data, period=4)
        average.once = lambda start, end: average.line.array.__setitem__(end - 1, 9.0)
        return average

    assert_same(make, walk(20))


def test_feeds_of_other_lengths_are_left_as_backtrader_leaves_them():
    def make(first, second):
        return [bt.ind.SMA(first, period=5), bt.ind.ATR(second, period=5), bt.ind.CrossOver(second.close, second.open)]

    assert_same(make, walk(60), walk(40, seed=5))
    assert_same(lambda first, second: [first.close - second.close], walk(60), walk(40, seed=5))
    assert_same(lambda first, second: [second.close - first.close], walk(60), walk(40, seed=5))


def test_a_strategy_that_computes_its_own_way_is_left_to_it():
    class Own(bt.Strategy):
        def __init__(self):
            bt.ind.SMA(self.data, period=4)

        def _once(self):
            super()._once()
            self.data.close.array[0] = -1.0

    feeds = lambda: [Feed(prices=walk(20))]  # noqa: E731
    assert left_behind(Own, feeds) == left_behind(Own, feeds, compute=backtraders_way)


def test_an_object_computed_twice_is_lengthened_twice():
    def twice(way):
        def compute(strategy):
            way(strategy)
            way(strategy)

        return compute

    feeds = lambda: [Feed(prices=walk(20))]  # noqa: E731
    kind = strategy_with(lambda data: bt.ind.SMA(data, period=4))
    assert left_behind(kind, feeds, compute=twice(run_once)) == left_behind(kind, feeds, compute=twice(backtraders_way))
