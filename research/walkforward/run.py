"""The walk-forward itself: search on one range, run on the next, for every window.

Belongs here: what is searched and run in a window, going on after a kill, putting the page together. Does not belong
here: how a search chooses (see `research.study`), the trading rules of a test (see `warmup`).

Windows do not depend on each other. Each one that is done is kept under a fingerprint of everything that decides it
(experiment, space, search, windows, bars, code), and is not searched again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from research.daily import daily_returns, session_closes
from research.engine import PreparedRun, replay
from research.errors import BarsError
from research.feed import SymbolBars
from research.fingerprint import code_version
from research.metrics import Scale
from research.run_output import RunOutput
from research.sensitivity import since
from research.study.trial import figures, with_params
from research.walkforward import files
from research.walkforward.drift import drift
from research.walkforward.fold import Fold, stitched, summary
from research.walkforward.warmup import closed, run_from
from research.walkforward.windows import Schedule, WalkForwardSettings, Window

_EPOCH = date(1970, 1, 1)
_STITCHED = (
    "Each test trades the experiment's own cash from flat; open positions are closed at its last close, which is"
    " charged; returns are compounded."
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to. `params` are complete; None where no trial had a value."""

    params: Mapping[str, Any] | None
    trials: int


Search = Callable[[PreparedRun, Window], Found]
"""Searches the parameters of a window on its train range."""
Objective = Callable[[PreparedRun, RunOutput], float | None]
"""What was searched for, of a run."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Told after every window. `kept`: it was done before, and was not searched again."""

    done: int
    total: int
    fold: Fold
    kept: bool


@dataclass(frozen=True, slots=True)
class WalkForward:
    """One walk-forward, ready to run.

    Attributes:
        name: where it is kept.
        prepared: the experiment on the whole range.
        schedule: its windows.
        settings: what the windows were made from.
        search: see `Search`.
        objective: see `Objective`.
        identity: everything that decides what the search finds, plain JSON types.
        higher: whether more of the objective is better.
        varied: parameters that are searched.
    """

    name: str
    prepared: PreparedRun
    schedule: Schedule
    settings: WalkForwardSettings
    search: Search
    objective: Objective
    identity: Mapping[str, Any]
    higher: bool = True
    varied: tuple[str, ...] = ()


def run_windows(
    walk: WalkForward,
    results: Path,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    now: datetime | None = None,
) -> files.WalkForwardRecord | None:
    """Do every window that is not done yet, then write the result.

    Args:
        walk: what to do.
        results: the folder of results.
        progress: told after every window.
        stop: asked before every window and, where the search does, during it.
        now: for the page, UTC; the clock's time when not given.

    Returns:
        The result; None when it was stopped before the last window. What is done is kept.
    """
    identity, done, windows = fingerprint(walk), [], walk.schedule.windows
    for window in windows:
        fold = files.kept_fold(results, walk.name, identity, window)
        kept = fold is not None
        if fold is None:
            if stop is not None and stop():
                return None
            fold = run_window(walk, window)
            if stop is not None and stop():  # a search that was stopped has not seen everything
                return None
            files.keep_fold(results, walk.name, identity, fold)
        done.append(fold)
        if progress is not None:
            progress(Progress(len(done), len(windows), fold, kept))
    return files.save(results, *_page(walk, identity, done, now))


def run_window(walk: WalkForward, window: Window) -> Fold:
    """Search one window and test what was found."""
    try:
        train = between(walk.prepared, window.train_start, window.train_end)
    except BarsError as error:
        return _nothing(walk, window, Found(None, 0), str(error))
    found = walk.search(train, window)
    if found.params is None:
        return _nothing(walk, window, found, "No trial of the search had a value.")
    train = with_params(train, found.params)
    searched = replay(train)
    in_sample = figures(train.experiment, searched)
    fold = _nothing(walk, window, found, "")
    fold = replace(fold, params=found.params, searched=walk.objective(train, searched), in_sample=in_sample)
    try:
        return _tested(walk, fold)
    except BarsError as error:
        return replace(fold, reason=str(error))


def _tested(walk: WalkForward, fold: Fold) -> Fold:
    window, settings = fold.window, walk.settings
    test = run_test(walk.prepared, fold.params or {}, window.test_start, window.test_end, warmup=settings.warmup)
    closes = session_closes(test.output.equity)
    returns = daily_returns(closes, test.output.starting_cash)
    return replace(
        fold,
        tested=walk.objective(test.prepared, test.output),
        out_of_sample=figures(test.prepared.experiment, test.output),
        closing_costs=test.closing_costs,
        sessions=tuple(moment.date() for moment in closes.index),
        returns=tuple(float(one) for one in returns),
        reason=None,
    )


@dataclass(frozen=True, slots=True)
class TestRun:
    """A run on unseen sessions, closed at its end; `prepared` holds the bars before them too."""

    __test__ = False  # not one of pytest's

    prepared: PreparedRun
    output: RunOutput
    closing_costs: float


def run_test(prepared: PreparedRun, params: Mapping[str, Any], first: date, last: date, *, warmup: int) -> TestRun:
    """Run parameters on the sessions from `first` to `last`, their indicators on up to `warmup` sessions before.

    Raises:
        BarsError: there are no bars to trade on.
    """
    test = with_params(between(prepared, _sessions_before(prepared, first, warmup), last), params)
    output, cost = closed(run_from(test, first), test)
    return TestRun(test, output, cost)


def _nothing(walk: WalkForward, window: Window, found: Found, reason: str) -> Fold:
    return Fold(window, None, found.trials, None, None, {}, {}, reason=reason, higher=walk.higher)


# ---------------------------------------------------------------- runs


def between(prepared: PreparedRun, start: date, end: date) -> PreparedRun:
    """The same run on the sessions from `start` to `end`, both included.

    Raises:
        BarsError: a symbol has no bars there.
    """
    first, last = (start - _EPOCH).days, (end - _EPOCH).days
    bars = {name: _until(since(one, first), last) for name, one in prepared.bars.items()}
    empty = next((name for name, one in bars.items() if not len(one)), None)
    if empty is not None:
        raise BarsError(f"symbols: {empty} has no bars from {start} to {end}.")
    experiment = prepared.experiment.model_copy(update={"start": start, "end": end})
    return replace(prepared, experiment=experiment, bars=bars)


def _until(bars: SymbolBars, day: int) -> SymbolBars:
    stop = int(np.searchsorted(bars.sessions, day, side="right"))
    return bars if stop == len(bars) else bars.head(int(bars.ts[stop]) - 1)


def _sessions_before(prepared: PreparedRun, first: date, count: int) -> date:
    """The session so many before another one, or the first there is."""
    days = np.unique(np.concatenate([bars.sessions for bars in prepared.bars.values()]))
    at = max(0, int(np.searchsorted(days, (first - _EPOCH).days)) - count)
    return day(days[min(at, len(days) - 1)])


def day(number: int) -> date:
    """The date of a day number (days since 1970-01-01)."""
    return date.fromordinal(int(number) + _EPOCH.toordinal())


# ---------------------------------------------------------------- identity and page


def fingerprint(walk: WalkForward) -> str:
    """A hash of everything that decides what a window comes to."""
    identity = {
        **walk.identity,
        "experiment": walk.prepared.experiment.specification(),
        "settings": {key: value for key, value in walk.settings.model_dump().items() if key != "keep_partial"},
        "bars": {name: _digest(bars) for name, bars in walk.prepared.bars.items()},
        "code": code_version(walk.prepared.strategy),
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _digest(bars: SymbolBars) -> str:
    digest = hashlib.sha256()
    for column in (bars.ts, bars.sessions, bars.open, bars.high, bars.low, bars.close, bars.volume):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:32]


def _page(
    walk: WalkForward, identity: str, folds: list[Fold], now: datetime | None
) -> tuple[dict[str, Any], list[Fold], Any]:
    experiment = walk.prepared.experiment
    curve = stitched(folds, experiment.cash, Scale(experiment.annualization, experiment.risk_free))
    page = {
        "name": walk.name,
        "fingerprint": identity,
        "created_at": (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
        "specification": dict(walk.identity),
        "settings": walk.settings.model_dump(mode="json"),
        "stitched": _STITCHED,
        "notes": [*walk.schedule.notes, *_remarks(folds)],
        "summary": summary(folds),
        "metrics": dict(curve.metrics),
        "drift": drift(folds, walk.varied),
        "windows": [files.fold_page(fold) for fold in folds],
    }
    return page, folds, curve


def _remarks(folds: list[Fold]) -> list[str]:
    idle = [fold for fold in folds if fold.sessions and not fold.out_of_sample.get("fills")]
    failed = [fold for fold in folds if fold.reason]
    said = []
    if idle:
        said.append(f"{len(idle)} of {len(folds)} tests did not trade at all.")
    if failed:
        first = failed[0]
        said.append(f"{len(failed)} of {len(folds)} windows were not tested; the first, from"
                    f" {first.window.test_start}: {first.reason}")  # fmt: skip
    return said
