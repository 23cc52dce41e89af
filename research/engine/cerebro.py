"""Cerebro with a faster loop around Backtrader's own strategies, indicators, orders and analyzers.

Belongs here: the loop over bars, and what it asks of a broker. Does not belong here: what may run through it (see
`eligibility`), how lines follow the loop's clocks (see `lines`).

At each bar Backtrader moves every line by itself, values the portfolio, tells everybody cash and value, and asks every
observer and analyzer. Here lines read their position from a clock that they share, and a part is called only when
somebody can see what it does. What is called is Backtrader's own code, in Backtrader's order.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Final, Protocol, runtime_checkable

import backtrader as bt
import numpy as np
import numpy.typing as npt
from backtrader.feed import AbstractDataBase
from backtrader.lineroot import LineRoot
from backtrader.lineseries import LineSeries

from research.engine.broker import FastBroker, is_own_way
from research.engine.eligibility import ineligible, tells_writers_plainly
from research.engine.lines import Clock, Clocked, advances_plainly, first_line, lines_of
from research.engine.looking import looks_of
from research.engine.making import Made, quickly
from research.engine.matching import MatchingBroker
from research.engine.native import compiled
from research.engine.notifications import News, collect, overrides
from research.engine.once import run_once
from research.engine.preload import quick_preload
from research.engine.stages import begin_stage, end_stage
from research.engine.times import NaiveTimes
from research.errors import ResearchError
from strategies.base_strategy import BaseStrategy, is_declared

_NAN: Final = float("nan")
_GARBAGE: Final = (200_000, 50, 1000)  # bars make few cycles; scanning all objects after 700 new ones costs more
_MOST_CONTAINERS: Final = 6  # of a broker's work, which the loops know one by one


@runtime_checkable
class PatientBroker(Protocol):
    """A broker whose `next` may be left out at bars where it would change nothing but values.

    Attributes:
        stale: set by the loop at such a bar; whoever reads a value has to bring it up to date first.
    """

    stale: bool

    def lazy(self) -> str | None:
        """Why `next` must be called at every bar of this run after all, in a sentence; None when it need not."""

    def work(self) -> Sequence[Sized]:
        """At most six containers, the same ones during the whole run, all empty when `next` may be left out."""

    def watch(self, step: Clock) -> Clock | None:
        """Called once before the first bar with the clock of the run: the number of the present bar, from 0.

        Returns:
            The first bar at which `next` must be called though there is no work, kept up to date by the broker; None
            where there is no such bar.
        """


class FastCerebro(bt.Cerebro):  # type: ignore[misc]
    """Backtrader's Cerebro, with the same results sooner.

    Everything is used as in Backtrader; `stdstats` defaults to False, because observers take the slower loop. A run
    that is not eligible goes through Backtrader's own loop.

    Attributes:
        engine: "fast" or "vanilla": the loop of the last run.
        reason: why it was the slower one, in a sentence; None otherwise.
    """

    params = (("stdstats", False),)

    def __init__(self) -> None:
        super().__init__()
        self.engine = "vanilla"
        self.reason: str | None = "Nothing has run yet."
        self._fast_run: _Run | None = None
        self.setbroker(FastBroker())

    def setbroker(self, broker: bt.BrokerBase) -> None:
        """As Backtrader's, also while bars run."""
        super().setbroker(broker)
        if self._fast_run is not None:
            self._fast_run.surrender()

    broker = property(bt.Cerebro.getbroker, setbroker)

    def run(self, **kwargs: object) -> list[bt.Strategy]:
        """As Backtrader's `run`."""
        with calm_garbage_collector():
            ran: list[bt.Strategy] = super().run(**kwargs)
            return ran

    def runstrategies(self, iterstrat: Sequence[Made], predata: bool = False) -> list[bt.Strategy]:
        """As Backtrader's, which `run` calls for every set of strategies."""
        with quick_preload(self.datas):
            made = [(partial(_about_to_start, make), args, kwargs) for make, args, kwargs in quickly(iterstrat)]
            ran: list[bt.Strategy] = super().runstrategies(made, predata=predata)
            return ran

    def _runonce(self, runstrats: list[bt.Strategy]) -> None:
        self.reason = ineligible(self, runstrats)
        self.engine = "fast" if self.reason is None else "vanilla"
        if self.reason is not None:
            super()._runonce(runstrats)
            return
        strategy = runstrats[0]
        run_once(strategy)
        self._fast_run = run = _Run(self, strategy)
        try:
            run.begin()
            go_on = run.bars()
        finally:
            self._fast_run = None
            run.end()
        end_stage(strategy)
        if go_on:
            self._go_on(strategy)

    def _go_on(self, strategy: bt.Strategy) -> None:
        """Backtrader's own loop from the present bar on, without computing the indicators again."""
        strategy._once = strategy.reset = lambda: None
        try:
            super()._runonce([strategy])
        finally:
            del strategy._once, strategy.reset

    def stop_writers(self, runstrats: list[bt.Strategy]) -> None:
        """As Backtrader's, which collects what writers are to write even where there is none."""
        if self.runwriters or not all(tells_writers_plainly(strategy) for strategy in runstrats):
            super().stop_writers(runstrats)

    def _runonce_old(self, runstrats: list[bt.Strategy]) -> None:
        self.engine, self.reason = "vanilla", "oldsync is on; the fast loop keeps time as Backtrader has since 1.9."
        super()._runonce_old(runstrats)

    def _runnext(self, runstrats: list[bt.Strategy]) -> None:
        self.engine, self.reason = "vanilla", "Bars come one at a time; the fast loop needs them loaded beforehand."
        super()._runnext(runstrats)

    def _runnext_old(self, runstrats: list[bt.Strategy]) -> None:
        self.engine, self.reason = "vanilla", "Bars come one at a time; the fast loop needs them loaded beforehand."
        super()._runnext_old(runstrats)


def _about_to_start(make: Callable[..., bt.Strategy], /, *args: object, **kwargs: object) -> bt.Strategy:
    """A strategy that Backtrader starts next."""
    made = make(*args, **kwargs)
    if isinstance(made, bt.Strategy):
        begin_stage(made)
    return made


class _Surrender:
    """The value of Cerebro's stop flag that ends the fast loop but not the run."""


class _Forgotten(list[object]):
    """Orders of a run, and the copies that were told: Backtrader collects both for whoever wants them later."""

    def append(self, order: object) -> None:
        """Keep nothing."""

    def extend(self, orders: Iterable[object]) -> None:
        """Keep nothing."""


class _Watched(list[LineRoot]):
    """The strategy's indicators or observers during a run: one more makes Backtrader's own loop go on."""

    def __init__(self, made: list[LineRoot], before_change: Callable[[], None]) -> None:
        super().__init__(made)
        self._made = made
        self._before_change = before_change

    def append(self, one: LineRoot) -> None:
        """Add one, here and to the list that was there before the run."""
        self._before_change()
        self._made.append(one)
        super().append(one)


class _Schedule:
    """Which bar of each feed is the present one at each step of a run, known before it begins.

    Attributes:
        times: of each step, Backtrader's day numbers.
        bars: for each feed its bar (index) at each step, -1 before its first; None where all feeds have the same
            times, so that the step is the bar.
        statuses: Backtrader's minimum-period status of the strategy at each step: positive while it waits, zero when
            it may begin, negative afterwards.
    """

    def __init__(self, datas: Sequence[AbstractDataBase], minperiods: Sequence[int]) -> None:
        columns = [data.lines.datetime.array[: data.buflen()] for data in datas]
        self.bars: list[list[int]] | None = None
        self.times: Sequence[float]
        self.statuses: Sequence[int]
        if all(column.tobytes() == columns[0].tobytes() for column in columns[1:]):
            self.times = columns[0]
            first = max(minperiods) - 1
            self.statuses = range(first, first - len(self.times), -1)
            return
        stamps = [np.array(column, dtype=np.float64) for column in columns]
        times = np.unique(np.concatenate(stamps))
        bars = [np.searchsorted(own, times, side="right") - 1 for own in stamps]
        self.times = times.tolist()
        self.bars = [own.tolist() for own in bars]
        waits = [needed - 1 - own for needed, own in zip(minperiods, bars, strict=True)]
        self.statuses = np.max(waits, axis=0).tolist()

    @property
    def ready(self) -> int:
        """The first step at which the strategy's `next` is called as such, not through its `nextstart`."""
        return next((step for step, status in enumerate(self.statuses) if status < 0), len(self.times))

    @property
    def begins(self) -> int:
        """The first step at which the strategy need not wait any more."""
        return next((step for step, status in enumerate(self.statuses) if status <= 0), len(self.times))


class _Run:
    """One run: its clocks, the calls that somebody can see, and the loop."""

    def __init__(self, cerebro: FastCerebro, strategy: bt.Strategy) -> None:
        self._cerebro = cerebro
        self._strategy = strategy
        self._broker = cerebro._broker
        self._schedule = _Schedule(cerebro.datas, strategy._minperiods)
        self._bar: Clock = [-1]  # the step; moves first
        self._now: Clock = [-1]  # the step as the strategy knows it; moves last
        self._early: list[Clock] = []  # of each feed
        self._late: list[Clock] = []  # of the indicators on each feed
        self._iterators: dict[int, list[LineRoot]] = {}  # indicators and observers of the strategy
        self._others: list[LineRoot] = []  # indicators that move by themselves
        self._native = compiled()
        self._clocked = Clocked(self._surrendered, NaiveTimes(self._schedule.times), self._native)
        self._surrendered_at = -1
        self._telling = False
        *_, self._add_time = self._add_values = _appends(strategy)
        self._work: Sequence[Sized] = ("never idle", "", "", "", "", "")
        self._due: Clock = [len(self._schedule.times)]
        self._settle: Callable[[], None] = lambda: None  # before the broker works again: what it was left out of
        self._news = News(strategy, self._broker)
        self._analyzers = [analyzer for analyzer in strategy.analyzers if _looks_at_bars(analyzer)]
        self._wakes = _wakes(strategy, len(self._schedule.times))

    def begin(self) -> None:
        """Take the objects over until `end`."""
        iterators = self._strategy._lineiterators
        self._iterators = {kind: iterators[kind] for kind in (bt.LineIterator.IndType, bt.LineIterator.ObsType)}
        self._follow()
        iterators.update((kind, _Watched(made, self.surrender)) for kind, made in self._iterators.items())
        broker = self._broker
        if isinstance(broker, (FastBroker, PatientBroker)) and broker.lazy() is None:
            self._due = broker.watch(self._bar) or self._due
            self._work = _six_containers(broker)
        if isinstance(broker, FastBroker):
            self._settle = broker.catch_up
        if is_declared(type(self._strategy)) and not (self._strategy.analyzers or self._strategy._slave_analyzers):
            self._strategy._orders = broker.orders = _Forgotten()  # nothing of the user's can ask for them
        self._clocked.ask(self._strategy, broker)

    def end(self) -> None:
        """Give the objects back; also after an exception."""
        self._clocked.release()
        self._strategy._lineiterators.update(self._iterators)
        if isinstance(self._broker, MatchingBroker):
            self._broker.native = None

    # ---------------------------------------------------------------- who follows which clock

    def _follow(self) -> None:
        """Feeds move when a bar begins, indicators after the broker has worked on it, the strategy after them."""
        datas = self._cerebro.datas
        feed_of = {id(line): number for number, data in enumerate(datas) for line in lines_of(data)}
        followers: list[tuple[LineRoot, int]] = []
        for indicator in self._strategy._lineiterators[bt.LineIterator.IndType]:
            number = feed_of.get(id(first_line(indicator._clock)))
            if number is None or not advances_plainly(indicator):
                self._others.append(indicator)
            else:
                followers.append((indicator, number))
                feed_of.update((id(line), number) for line in lines_of(indicator))
        self._make_clocks(len(datas))
        followed: set[int] = set()
        for data, early in zip(datas, self._early, strict=True):
            self._follow_clock(data, early, followed)
        for indicator, number in followers:
            self._follow_clock(indicator, self._late[number], followed)
        self._follow_clock(self._strategy, self._now, followed)

    def _make_clocks(self, feeds: int) -> None:
        """Where all feeds have the same times, one clock stands for many."""
        if self._schedule.bars is None:
            self._early = [self._bar] * feeds
            self._late = [[-1] if self._others else self._now] * feeds
        else:
            self._early = [[-1] for _ in range(feeds)]
            self._late = [[-1] for _ in range(feeds)]

    def _follow_clock(self, thing: LineRoot, clock: Clock, followed: set[int]) -> None:
        for line in lines_of(thing):
            if id(line) not in followed:
                followed.add(id(line))
                self._clocked.follow(line, clock)
        if thing is self._strategy:
            self._clocked.name_lines(thing)
        elif isinstance(thing, LineSeries):
            self._clocked.follow_series(thing, clock)

    def surrender(self) -> None:
        """Something happens that only Backtrader's own loop can go on from."""
        self._clocked.surrender()

    def _surrendered(self) -> None:
        self._strategy._lineiterators.update(self._iterators)
        self._surrendered_at = self._now[0]
        if isinstance(self._broker, FastBroker):
            self._broker.unwatch()
        if not self._cerebro._event_stop:
            self._cerebro._event_stop = _Surrender

    # ---------------------------------------------------------------- the loop

    def bars(self) -> bool:
        """All bars, or those until the run is stopped.

        Returns:
            Whether Backtrader's own loop has to go on from here, because the strategy did what only that can follow.
        """
        try:
            step = self._steps()
        finally:
            judged = self._now[0] - self._telling  # Backtrader looks at the warm-up after it has told the news
            if judged >= 0:
                self._strategy._minperstatus = self._schedule.statuses[judged]
        return self._unfinished(step)

    def _steps(self) -> int:
        """The last step that began."""
        schedule = self._schedule
        begins, ready, count = schedule.begins, schedule.ready, len(schedule.times)
        if self._wakes is not None and not (self._others or self._news.of_money or self._analyzers):
            return self._sparse([*np.flatnonzero(self._wakes).tolist(), count], ready)
        step = 0
        while step < ready:
            self._step(step, schedule.statuses[step])
            if self._cerebro._event_stop:
                return step
            step = self._wait(step + 1, begins)
        return self._loop()(ready, count)

    def _wait(self, step: int, begins: int) -> int:
        """Where the warm-up goes on: where the strategy begins, if nobody acts or looks until then."""
        awake = min(begins, self._due[0])
        seen = self._others or self._news.of_money or self._analyzers or self._clocked.released
        if step >= awake or seen or any(self._work) or overrides(self._strategy, bt.Strategy, "prenext"):
            return step
        self._pass_over(step, awake)
        return awake

    def _loop(self) -> Callable[[int, int], int]:
        if self._others or self._news.of_money or self._analyzers:
            return self._attended
        if len(self._add_values) > 1:
            return self._attended
        if self._native is not None:
            return partial(self._compiled, self._native)
        return self._quick if self._schedule.bars is None else self._quick_apart

    def _unfinished(self, step: int) -> bool:
        """After the loop: finish a bar at which the objects were given back before the strategy had seen the bar."""
        cerebro = self._cerebro
        if cerebro._event_stop is not _Surrender:
            return False
        cerebro._event_stop = False
        if self._surrendered_at < step:
            self._strategy._oncepost(self._schedule.times[step])
        return not cerebro._event_stop

    def _attended(self, first: int, count: int) -> int:
        """The loop where others than the strategy look at every bar; returns the last step."""
        cerebro = self._cerebro
        step = first - 1
        for step in range(first, count):
            self._step(step, -1)
            if cerebro._event_stop:
                break
        return step

    def _quick(self, step: int, count: int) -> int:
        """The loop where nobody but the strategy looks at bars and all feeds move together; returns the last step."""
        cerebro, broker, strategy, due = self._cerebro, self._broker, self._strategy, self._due
        times, bar, now, add_time = self._schedule.times, self._bar, self._now, self._add_time
        following, own = strategy.next, vars(strategy)  # a strategy may put another method in the place of its `next`
        work_1, work_2, work_3, work_4, work_5, work_6 = self._work
        while step < count:
            quiet_until = min(due[0], count)
            for step in range(step, quiet_until):  # noqa: B020, PLR1704 (the quiet bars from here on)
                if work_1 or work_2 or work_3 or work_4 or work_5 or work_6:
                    break
                bar[0] = now[0] = step
                broker.stale = True
                add_time(times[step])
                if "next" in own:
                    strategy.next()
                else:
                    following()
                if cerebro._event_stop:
                    self._tell_analyzers(-1)
                    return step
            else:
                step = max(step, quiet_until)
                if step >= count:
                    break
            self._work_at(step)
            if cerebro._event_stop:
                return step
            step += 1
        return count - 1

    def _quick_apart(self, step: int, count: int) -> int:
        """As `_quick`, where feeds have times of their own."""
        cerebro, broker, strategy, due = self._cerebro, self._broker, self._strategy, self._due
        times, bar, now, add_time = self._schedule.times, self._bar, self._now, self._add_time
        moves = list(zip(self._early, self._late, self._schedule.bars or (), strict=True))
        following, own = strategy.next, vars(strategy)
        work_1, work_2, work_3, work_4, work_5, work_6 = self._work
        for step in range(step, count):  # noqa: B020, PLR1704 (the bars from here on)
            if work_1 or work_2 or work_3 or work_4 or work_5 or work_6 or due[0] <= step:
                self._work_at(step)
            else:
                for early, late, bars in moves:
                    early[0] = late[0] = bars[step]
                bar[0] = now[0] = step
                broker.stale = True
                add_time(times[step])
                (strategy.next if "next" in own else following)()
                if cerebro._event_stop:
                    self._tell_analyzers(-1)
            if cerebro._event_stop:
                return step
        return count - 1

    def _compiled(self, native: ModuleType, first: int, count: int) -> int:
        """`_quick` and `_quick_apart`, compiled; returns the last step."""
        strategy, broker, schedule = self._strategy, self._broker, self._schedule
        moves = () if schedule.bars is None else zip(self._early, self._late, schedule.bars, strict=True)
        plain = getattr(type(broker), "get_notification", None) is MatchingBroker.get_notification
        known = looks_of(strategy.next)
        loop = native.Loop(
            run=self, cerebro=self._cerebro, broker=broker, strategy=strategy, own=vars(strategy),
            following=strategy.next, times=schedule.times, bar=self._bar, now=self._now, add_time=self._add_time,
            due=self._due, work=tuple(self._work), moves=tuple(moves), news=broker.notifs if plain else None,
            settle=self._settle, own_broker=is_own_way(broker), tell=self.tell if self._news.of_changes else None,
            looks=None if known is None else native.Looks(*known),
        )  # fmt: skip
        return int(loop.bars(first, count))

    def _work_at(self, step: int) -> None:
        """A bar at which the broker has work."""
        self._begin_bar(step)
        self._busy(step, -1)

    def _sparse(self, waking: Sequence[int], ready: int) -> int:
        """The loop over a strategy that knows beforehand at which bars it may act; returns the last step.

        Args:
            waking: these bars, ascending, and behind them the number of bars.
            ready: the first step at which `next` is called as such.
        """
        cerebro, strategy, statuses = self._cerebro, self._strategy, self._schedule.statuses
        nth = step = 0
        while step < waking[-1]:
            while waking[nth] < step:
                nth += 1
            awake = min(waking[nth], self._due[0])
            if 0 < step < awake and strategy.resting and not any(self._work):
                self._pass_over(step, awake)
                step = awake
                continue
            self._step(step, -1 if step >= ready else statuses[step])
            if cerebro._event_stop:
                return step
            step += 1
        return step - 1

    def _pass_over(self, first: int, stop: int) -> None:
        """The bars from `first` up to `stop` go by: nobody acts, the values of the portfolio move."""
        self._broker.stale = True
        time = self._strategy.lines.datetime
        for line in self._strategy.lines.lines:
            line.array.extend(self._schedule.times[first:stop] if line is time else [_NAN] * (stop - first))
        last = stop - 1
        self._bar[0] = self._now[0] = last
        for number, (early, late) in enumerate(zip(self._early, self._late, strict=True)):
            early[0] = late[0] = last if self._schedule.bars is None else self._schedule.bars[number][last]

    def _step(self, step: int, status: int) -> None:
        """One bar of this minimum-period status; the broker works at the first one in any case."""
        busy = step == 0 or any(self._work) or self._due[0] <= step
        self._begin_bar(step, busy=busy)
        if busy:
            self._busy(step, status)
            return
        self._broker.stale = True
        self._arrive(step)
        if self._news.of_money:
            self._telling = True
            self._news.tell_money()
            self._telling = False
        self._call(status)
        self._tell_analyzers(status)

    def _busy(self, step: int, status: int) -> None:
        """What is left of a bar after the feeds have moved, where the broker has work."""
        strategy, broker = self._strategy, self._cerebro._broker
        broker.next()
        while (order := broker.get_notification()) is not None:
            self.deliver(order)
        if self._cerebro._event_stop:
            return
        self._arrive(step)
        self._telling = True
        self.tell()
        self._telling = False
        self._call(status)
        self._tell_analyzers(status)
        strategy.clear()

    # ---------------------------------------------------------------- the parts of a bar

    def deliver(self, order: bt.Order) -> None:
        """A notification of the broker's reaches whom it concerns."""
        if order.owner is None or order.owner is self._strategy:
            collect(self._strategy, order)
        else:
            order.owner._addnotification(order, quicknotify=False)

    def tell(self) -> None:
        """The strategy and whoever listens are told what became of orders and trades."""
        self._news.tell()

    def after_stop(self) -> None:
        """The strategy has had its turn at the last bar of a run that was stopped."""
        self._tell_analyzers(-1)

    def _begin_bar(self, step: int, *, busy: bool = True) -> None:
        """The feeds move."""
        if busy:
            self._settle()
        self._bar[0] = step
        if self._schedule.bars is not None:
            for clock, bars in zip(self._early, self._schedule.bars, strict=True):
                clock[0] = bars[step]

    def _arrive(self, step: int) -> None:
        """The indicators move, then the strategy, whose own lines are one value longer from now on."""
        for late, early in zip(self._late, self._early, strict=True):
            late[0] = early[0]
        for indicator in self._others:
            if len(indicator._clock) > len(indicator):
                indicator.advance()
        self._now[0] = step
        for add_value in self._add_values[:-1]:
            add_value(_NAN)
        self._add_time(self._schedule.times[step])

    def _call(self, status: int) -> None:
        """The strategy's turn; it may have put another method in the place of its `next`."""
        strategy = self._strategy
        if status < 0:
            strategy.next()
        elif status == 0:
            strategy.nextstart()
        else:
            strategy.prenext()

    def _tell_analyzers(self, status: int) -> None:
        for analyzer in self._analyzers:
            if status < 0:
                analyzer._next()
            elif status == 0:
                analyzer._nextstart()
            else:
                analyzer._prenext()
        if self._clocked.released:  # then there may be an observer by now
            self._strategy._next_observers(status, once=True)


def _appends(strategy: bt.Strategy) -> list[Callable[[float], None]]:
    """How the strategy's own lines grow, that of the times last."""
    time = strategy.lines.datetime
    others = [line for line in strategy.lines.lines if line is not time]
    return [line.array.append for line in (*others, time)]


def _six_containers(broker: FastBroker | PatientBroker) -> Sequence[Sized]:
    """A broker's work, with empty containers behind it where it has fewer.

    Raises:
        ResearchError: it has more.
    """
    work = broker.work()
    if len(work) > _MOST_CONTAINERS:
        raise ResearchError(
            f"{type(broker).__name__}.work: {len(work)} containers instead of at most {_MOST_CONTAINERS}."
        )
    return *work, *[""] * (_MOST_CONTAINERS - len(work))


def _wakes(strategy: bt.Strategy, count: int) -> npt.NDArray[np.bool_] | None:
    """The bars at which a strategy may act though nothing of its own is at work; None when it does not say so.

    Raises:
        ResearchError: it says so for another number of bars.
    """
    asked = getattr(strategy, "wakes", None) if isinstance(strategy, BaseStrategy) else None
    wakes: npt.NDArray[np.bool_] | None = asked() if callable(asked) else None
    if wakes is not None and len(wakes) != count:
        raise ResearchError(f"{type(strategy).__name__}.wakes: {len(wakes)} bars instead of the {count} of the run.")
    return wakes


def _looks_at_bars(analyzer: bt.Analyzer) -> bool:
    """Whether an analyzer, or one inside it, does anything at a bar."""
    own = overrides(analyzer, bt.Analyzer, "_next", "_prenext", "_nextstart", "next", "prenext", "nextstart")
    return own or any(_looks_at_bars(child) for child in analyzer._children)


@contextmanager
def calm_garbage_collector() -> Iterator[None]:
    """Collect rarely for a while, and as before afterwards."""
    before = gc.get_threshold()
    if before[0]:
        gc.set_threshold(*(max(calm, usual) for calm, usual in zip(_GARBAGE, before, strict=True)))
    try:
        yield
    finally:
        gc.set_threshold(*before)
