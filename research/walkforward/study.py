"""The walk-forward of a study: in each window the search that the study runs.

Belongs here: turning a study's specification into windows, searches and an objective. Does not belong here: running
them (see `run`), the study itself (see `research.study`).

The hold-out of the study is no part of it: who looks at the walk-forward and changes the strategy has not seen it.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from research.engine import PreparedRun, prepare_run
from research.errors import StudyError
from research.metric_catalog import Better
from research.run_output import RunOutput
from research.study.objective import Objective
from research.study.outcome import Progress as SearchProgress
from research.study.outcome import SearchResult
from research.study.search import search
from research.study.space import SearchSpace
from research.study.specification import StudySpecification
from research.study.trial import figures
from research.walkforward.files import WalkForwardRecord
from research.walkforward.run import Found, Progress, WalkForward, between, day, run_windows
from research.walkforward.windows import Schedule, WalkForwardSettings, Window, schedule

_STRIDE = 1_000_003  # a prime: seeds of windows meet those of no other small seed


def walk_forward(
    specification: StudySpecification,
    bars: Mapping[str, pa.Table],
    settings: WalkForwardSettings,
    *,
    results: Path,
    executor: Executor | None = None,
    workers: int = 1,
    progress: Callable[[Progress], None] | None = None,
    searching: Callable[[Window, SearchProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> WalkForwardRecord | None:
    """Walk forward over the range that a study searches; windows that are done already are not searched again.

    Args:
        specification: what is searched in each window, and how; `timeout` holds for each.
        bars: BARS_SCHEMA by symbol, adjusted as the experiment says.
        settings: how the range is divided.
        results: folder of results; the walk-forward is `walkforward/{name}` in it.
        executor: what runs trials, here and now when not given. The result is the same.
        workers: how many trials the executor runs at once.
        progress: told after every window.
        searching: told as the trials of a window finish.
        stop: asked between trials and windows.

    Returns:
        The result; None when it was stopped. What is done is kept.

    Raises:
        StudyError: the range is too short, or the specification does not fit the strategy.
        BarsError: a symbol has no usable bars.
    """
    prepared = searched_range(specification, bars)

    def find(train: PreparedRun, window: Window) -> Found:
        told = None if searching is None else partial(searching, window)
        run = partial(search, executor=executor, workers=workers, progress=told, stop=stop)
        return _searched(specification, train, window, run)

    made = of_study(specification, prepared, settings, find)
    return run_windows(made, results, progress=progress, stop=stop)


def planned(specification: StudySpecification, bars: Mapping[str, pa.Table], settings: WalkForwardSettings) -> Schedule:
    """The windows that `walk_forward` would do.

    Raises:
        StudyError: the range is too short.
        BarsError: a symbol has no usable bars.
    """
    return _schedule(searched_range(specification, bars), settings)


def of_study(
    specification: StudySpecification,
    prepared: PreparedRun,
    settings: WalkForwardSettings,
    find: Callable[[PreparedRun, Window], Found],
) -> WalkForward:
    """A study's walk-forward, ready to run, with any search."""
    objective = Objective.parse(specification.objectives[0], specification.penalties)
    return WalkForward(
        name=specification.name,
        prepared=prepared,
        schedule=_schedule(prepared, settings),
        settings=settings,
        search=find,
        objective=scored(objective),
        identity=specification.determining() | {"n_trials": specification.n_trials},
        higher=objective.better is not Better.LOWER,
        varied=SearchSpace.of(prepared.strategy, prepared.experiment.params, specification.space).names,
    )


def scored(objective: Objective) -> Callable[[PreparedRun, RunOutput], float | None]:
    """The value of an objective, penalties included, of a run."""
    return lambda prepared, output: objective.score(figures(prepared.experiment, output)).value


def _searched(
    specification: StudySpecification,
    train: PreparedRun,
    window: Window,
    run: Callable[..., SearchResult],
) -> Found:
    """The best of a search on one train range; each window has a seed of its own."""
    seed = (specification.seed + _STRIDE * window.number) % 2**32
    own = specification.model_copy(update={"seed": seed, "hold_out": 0.0, "keep_returns": False})
    # in a few months a parameter may well change nothing; the study has looked at it on the whole range
    found = run(train, own, check_unread=False)
    if found.best is None:
        return Found(None, len(found.trials))
    space = SearchSpace.of(train.strategy, train.experiment.params, specification.space)
    return Found(space.complete(found.best.params), len(found.trials))


def _schedule(prepared: PreparedRun, settings: WalkForwardSettings) -> Schedule:
    experiment = prepared.experiment
    return schedule(prepared.calendar, experiment.start, experiment.end, settings)


def searched_range(specification: StudySpecification, bars: Mapping[str, pa.Table]) -> PreparedRun:
    """The experiment on the sessions that the study searches, without its hold-out.

    Raises:
        BarsError: a symbol has no usable bars.
        StudyError: the hold-out leaves nothing.
    """
    prepared = prepare_run(specification.experiment, bars)
    sessions = np.unique(np.concatenate([one.sessions for one in prepared.bars.values()]))
    searched = len(sessions) - int(np.floor(specification.hold_out * len(sessions)))  # as the study counts
    if searched < 1:
        raise StudyError(f"hold_out: {specification.hold_out} of {len(sessions)} sessions leaves none to search.")
    experiment = prepared.experiment
    # where the bars begin at the experiment's first session, months are counted from the day that a person wrote
    begins = prepared.calendar.sessions(experiment.start, day(sessions[0]))
    start = experiment.start if len(begins) <= 1 else day(sessions[0])
    end = experiment.end if searched == len(sessions) else day(sessions[searched - 1])
    return between(prepared, start, min(end, day(sessions[-1])))
