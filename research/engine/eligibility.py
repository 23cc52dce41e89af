"""What the fast loop can run: everything else is Backtrader's own.

Belongs here: the reasons for which a run is not eligible, each one sentence for a user. Does not belong here: the loop.

The list is of what is known to be the same. A feature that is not looked at here is one that the loop leaves to
Backtrader's own code at each bar.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import backtrader as bt
import numpy as np
from backtrader.dataseries import DataSeries
from backtrader.feed import AbstractDataBase
from backtrader.linebuffer import LineBuffer

from research.engine.broker import FastBroker
from research.engine.lines import can_all_follow, first_line, lines_of
from research.feed import ArrowFeed, Floats

_IND = bt.LineIterator.IndType
_OBS = bt.LineIterator.ObsType

_STRATEGY_INTERNALS: Final = (
    "_next", "_once", "_oncepost", "_notify", "_addnotification", "clear", "_getminperstatus", "_next_analyzers",
    "_next_observers", "_clk_update", "forward", "advance", "home", "reset", "once", "preonce", "oncestart", "__len__",
    "__getitem__", "__getattr__",
)  # fmt: skip
_CEREBRO_INTERNALS: Final = ("_brokernotify", "_check_timers", "_next_writers")
_FEED_INTERNALS: Final = ("advance", "advance_peek", "home", "forward", "rewind", "__len__", "__getitem__")
_TICKS: Final = {
    AbstractDataBase._tick_fill, AbstractDataBase._tick_nullify, ArrowFeed._tick_fill, ArrowFeed._tick_nullify,
}  # fmt: skip


def ineligible(cerebro: bt.Cerebro, strategies: Sequence[bt.Strategy]) -> str | None:
    """Why a run that Cerebro has started cannot go through the fast loop: one sentence, or None when it can."""
    return next(_reasons(cerebro, strategies), None)


def _reasons(cerebro: bt.Cerebro, strategies: Sequence[bt.Strategy]) -> Iterator[str]:
    yield from _of_cerebro(cerebro, strategies)
    for data in cerebro.datas:
        yield from _of_feed(data)
    yield from _of_stamps(cerebro.datas)
    yield from _of_strategy(strategies[0], cerebro.datas)


def _of_cerebro(cerebro: bt.Cerebro, strategies: Sequence[bt.Strategy]) -> Iterator[str]:
    if len(strategies) != 1:
        yield f"{len(strategies)} strategies run at once; the fast loop runs one."
    if cerebro._timers or cerebro._timerscheat:
        yield "A timer is set; the fast loop keeps none."
    if cerebro.p.cheat_on_open:
        yield "cheat_on_open is on; the fast loop decides at the close only."
    if cerebro.p.quicknotify:
        yield "quicknotify is on; the fast loop notifies once a bar."
    if cerebro.runwriters:
        yield "A writer is attached; the fast loop writes nothing while it runs."
    own = _overridden(type(cerebro), bt.Cerebro, _CEREBRO_INTERNALS)
    if own:
        yield f"{type(cerebro).__name__} overrides Cerebro.{own}."


def _of_feed(data: AbstractDataBase) -> Iterator[str]:
    name = data._name or type(data).__name__
    if data.resampling or data.replaying or data._clone:
        yield f"The feed {name} is resampled, replayed or cloned."
    if data._filters or data._ffilters:
        yield f"The feed {name} has filters."
    own = _overridden(type(data), AbstractDataBase, _FEED_INTERNALS)
    if own:
        yield f"The feed {name} overrides {own}."
    if not {type(data)._tick_fill, type(data)._tick_nullify} <= _TICKS:
        yield f"The feed {name} keeps ticks of its own."
    if not can_all_follow(data.lines.lines) or any(line.useislice for line in data.lines.lines):
        yield f"The feed {name} has lines that are not plain ones."


def _of_stamps(datas: Sequence[AbstractDataBase]) -> Iterator[str]:
    for data in datas:
        stamps = np.frombuffer(data.lines.datetime.array or b"", dtype=np.float64)[: data.buflen()]
        if _ascend(stamps):
            continue
        name = data._name or type(data).__name__
        if not np.isfinite(stamps).all():
            yield f"The feed {name} has a bar without a time."
        elif not (np.diff(stamps) > 0.0).all():
            yield f"The feed {name} has two bars of one time, or bars out of order."


def _ascend(stamps: Floats) -> bool:
    """Whether times are finite and each is later than the one before, in which case those in between are finite too."""
    count = len(stamps)
    if not count:
        return True
    ends = math.isfinite(stamps[0]) and math.isfinite(stamps[-1])
    return ends and np.count_nonzero(stamps[1:] > stamps[:-1]) == count - 1


def _of_strategy(strategy: bt.Strategy, datas: Sequence[AbstractDataBase]) -> Iterator[str]:
    name = type(strategy).__name__
    own = _overridden(type(strategy), bt.Strategy, _STRATEGY_INTERNALS)
    if own:
        yield f"The strategy {name} overrides {own}, which belongs to Backtrader's loop."
    if strategy._oldsync:
        yield "oldsync is on; the fast loop keeps time as Backtrader has since 1.9."
    if strategy._lineiterators[_OBS]:
        yield "Observers are attached (stdstats adds three); the fast loop serves none."
    if [id(data) for data in strategy.datas] != [id(data) for data in datas]:
        yield f"The strategy {name} does not see every feed."
    if strategy.lines.datetime.bindings or not all(type(line) is LineBuffer for line in strategy.lines.lines):
        yield f"The strategy {name} has lines of its own kind."
    yield from _of_indicators(strategy, datas)


def _of_indicators(strategy: bt.Strategy, datas: Sequence[AbstractDataBase]) -> Iterator[str]:
    """An indicator whose clock comes after it in the order of computation lags by one bar in Backtrader."""
    indicators = strategy._lineiterators[_IND]
    seen: set[int] = set()
    made = {id(line) for indicator in indicators for line in lines_of(indicator)}
    for indicator in indicators:
        clock = first_line(indicator._clock)
        if clock is not None and id(clock) in made and id(clock) not in seen:
            yield f"The indicator {type(indicator).__name__} follows one that is computed after it."
        seen.update(id(line) for line in lines_of(indicator))


def tells_writers_plainly(strategy: bt.Strategy) -> bool:
    """Whether asking a strategy and its feeds what a writer is to write of them would run nobody's code."""
    kind, name = type(strategy), "getwriterinfo"
    plain = kind.getwriterinfo is bt.Strategy.getwriterinfo and name not in vars(strategy) and not strategy.analyzers
    values = type(strategy.broker).getvalue is FastBroker.getvalue
    feeds = all(type(data).getwriterinfo is DataSeries.getwriterinfo for data in strategy.datas)
    return plain and values and feeds


def _overridden(cls: type, base: type, names: Sequence[str]) -> str | None:
    """The first of these methods that a class does not take from its base."""
    return next((name for name in names if getattr(cls, name, None) is not getattr(base, name, None)), None)
