"""Sub-periods of a search, each a backtest of its own.

Belongs here: where folds begin and end, the bars of one, holding a strategy back while its indicators warm up. Does not
belong here: what a trial comes to on them (see `evaluate`).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Any

import backtrader as bt
import numpy as np

from research.engine import PreparedRun
from research.errors import StudyError
from research.feed import SymbolBars
from strategies.base_strategy import is_declared
from strategies.declaration import Bars, Signals

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Part:
    """One backtest of a trial.

    Attributes:
        fold: its number, from 0.
        prepared: bars and strategy, warm-up included.
        start: first session that is measured; `end` the last.
        since: sessions before it, in which the strategy may do nothing.
    """

    fold: int
    prepared: PreparedRun
    start: date
    end: date
    since: int


def session_days(prepared: PreparedRun) -> np.ndarray:
    """Every session with a bar, ascending, as days since 1970-01-01."""
    return np.unique(np.concatenate([bars.sessions for bars in prepared.bars.values()]))


def as_dates(days: np.ndarray) -> tuple[date, ...]:
    """Days since 1970-01-01 as dates."""
    return tuple(_EPOCH + timedelta(days=int(day)) for day in days)


def parts_of(prepared: PreparedRun, folds: int, warmup: int) -> tuple[Part, ...]:
    """The backtests of a trial: one of the whole range, or `folds` of equal parts of it.

    A strategy that declares its signals sees up to `warmup` bars before a fold and may not trade in them; any other
    begins each fold cold.

    Raises:
        StudyError: there are more folds than sessions.
    """
    days = session_days(prepared)
    if folds == 1:
        first, last = as_dates(days[[0, -1]])
        return (Part(0, prepared, first, last, 0),)
    if folds > len(days):
        raise StudyError(f"folds: {folds} folds of {len(days)} sessions; there are not so many.")
    edges = np.linspace(0, len(days), folds + 1).round().astype(int)
    return tuple(
        _part(prepared, fold, days, (int(a), int(b)), warmup) for fold, (a, b) in enumerate(itertools.pairwise(edges))
    )


def _part(prepared: PreparedRun, fold: int, days: np.ndarray, edges: tuple[int, int], warmup: int) -> Part:
    first, last = int(days[edges[0]]), int(days[edges[1] - 1])
    begins = _warmup_begins(prepared, first, warmup) if warmup and is_declared(prepared.strategy) else first
    bars = {symbol: _between(one, begins, last) for symbol, one in prepared.bars.items()}
    bars = {symbol: one for symbol, one in bars.items() if len(one)}
    missing = [symbol for symbol in prepared.bars if symbol not in bars]
    start, end = as_dates(np.array([first, last]))
    if missing:
        raise StudyError(f"folds: {missing[0]} has no bars from {start} to {end}; ask for fewer folds.")
    since = int(np.count_nonzero((days >= begins) & (days < first)))
    held = {symbol: int(np.searchsorted(one.sessions, first)) for symbol, one in bars.items()}
    strategy = _held_back(prepared.strategy, held) if since else prepared.strategy
    return Part(fold, replace(prepared, bars=bars, strategy=strategy), start, end, since)


def _warmup_begins(prepared: PreparedRun, first: int, warmup: int) -> int:
    """The session with which the warm-up begins: that of the `warmup`-th bar before `first`, whole sessions only."""
    earliest = [one.sessions[max(0, int(np.searchsorted(one.sessions, first)) - warmup)] for one in _all(prepared)]
    return int(min(*earliest, first))


def _all(prepared: PreparedRun) -> Sequence[SymbolBars]:
    return list(prepared.bars.values())


def _between(bars: SymbolBars, first: int, last: int) -> SymbolBars:
    inside = slice(int(np.searchsorted(bars.sessions, first)), int(np.searchsorted(bars.sessions, last, side="right")))
    columns = {one.name: getattr(bars, one.name)[inside] for one in fields(bars) if one.init and one.name != "symbol"}
    return SymbolBars(bars.symbol, **columns)


def _held_back(strategy: type[bt.Strategy], first: Mapping[str, int]) -> type[bt.Strategy]:
    """The strategy with no decision of a symbol before its bar number `first`."""

    def signals(cls: type[Any], bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        declared: Signals = strategy.signals.__func__(cls, bars, p)
        return replace(declared, ready=max(declared.ready, first[bars.symbol]))

    body = {"signals": classmethod(signals), "__module__": strategy.__module__, "__doc__": strategy.__doc__}
    meta: Any = type(strategy)
    made: type[bt.Strategy] = meta(strategy.__name__, (strategy,), body)
    return made
