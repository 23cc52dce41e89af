"""The exhaustive study: every combination of the given values.

Belongs here: the grid, its trials side by side, the proof of the best of them. Does not belong here: one trial (see
`trial`), searching without trying everything, files.

The kernel does the search. That it gives Backtrader's own result is not taken on trust: the best trials and a random
sample of the others are run again on Backtrader's objects, the best of all on Backtrader's own loop, and every order,
fill and value must be the same, or the study fails and says what differed.
"""

import itertools
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass
from typing import Any

import backtrader as bt
import pyarrow as pa

from research.engine import PreparedRun, replay
from research.engine.choice import Engine
from research.engine.verify import first_difference
from research.errors import ExperimentError, StudyError, UnprovenError
from research.metric_catalog import METRICS, Better
from research.study.objective import check_metric
from research.study.trial import Trial, figure, run_trials, with_params
from strategies.base_strategy import BaseStrategy
from strategies.errors import ParameterError
from strategies.registry import resolve_params

_MOST = 1_000_000
_CLOSE = 1e-9  # the search and the full measurement add the same numbers, not always in the same order


@dataclass(frozen=True, slots=True)
class GridResult:
    """What a grid study found.

    Attributes:
        metric: the figure that was searched for.
        parameters: names of the parameters that were varied.
        trials: all of them in the grid's order; `params` are complete.
        left_out: combinations that a constraint of the strategy forbids.
        verified: trials that were run again on Backtrader and came out the same.
    """

    metric: str
    parameters: tuple[str, ...]
    trials: tuple[Trial, ...]
    left_out: int
    verified: int

    def ranked(self) -> list[Trial]:
        """Trials with a value, the best first; equal ones in the grid's order."""
        return _ranked(self.trials, self.metric)

    @property
    def table(self) -> pa.Table:
        """One row a trial in the grid's order: the varied parameters, the figure (null where unknown), the engine."""
        columns: dict[str, list[Any]] = {name: [one.params[name] for one in self.trials] for name in self.parameters}
        columns[self.metric] = [one.value for one in self.trials]
        columns["engine"] = [one.engine for one in self.trials]
        return pa.table(columns)


def run_grid(
    prepared: PreparedRun,
    space: Mapping[str, Sequence[Any]],
    *,
    metric: str,
    executor: Executor | None = None,
    chunks: int = 1,
    verify_best: int = 5,
    verify_sample: int = 5,
    seed: int = 0,
) -> GridResult:
    """Try every combination of the values in `space`; the experiment's own parameters hold for the others.

    Args:
        prepared: the experiment.
        space: values by parameter.
        metric: the figure to search for, a key of `research.metric_catalog.METRICS`.
        executor: what runs the trials, in `chunks` parts; here and now when not given. The result is the same.
        chunks: parts of the grid, each of which prepares the bars once.
        verify_best: how many of the best trials are run again on Backtrader.
        verify_sample: how many others, chosen by `seed`.
        seed: chooses the sample.

    Raises:
        StudyError: a parameter or the figure is unknown, nothing is left to try, or a worker was lost.
        UnprovenError: a trial is not Backtrader's result.
    """
    check_metric(metric)
    points, left_out = grid_points(prepared.strategy, prepared.experiment.params, space)
    trials = _searched(prepared, points, metric, executor, chunks)
    ranked = [trial for trial in _ranked(trials, metric) if trial.engine == Engine.KERNEL]
    chosen = _chosen(ranked, verify_best, verify_sample, random.Random(seed))  # noqa: S311 (a sample, not a secret)
    for place, trial in enumerate(chosen):
        _verify(prepared, trial, metric, Engine.FAST if place else Engine.VANILLA)
    return GridResult(metric, tuple(space), tuple(trials), left_out, len(chosen))


def _searched(
    prepared: PreparedRun,
    points: Sequence[Mapping[str, Any]],
    metric: str,
    executor: Executor | None,
    chunks: int,
) -> list[Trial]:
    """A trial a point, in their order; neighbours go to different workers, since they take about as long."""
    if executor is None:
        return run_trials(prepared, points, metric)
    parts = [points[start::chunks] for start in range(chunks)]
    trials: list[Trial] = [Trial({}, None, "")] * len(points)
    try:
        for start, part in enumerate(executor.map(run_trials, [prepared] * chunks, parts, [metric] * chunks)):
            trials[start::chunks] = part
    except BrokenExecutor:
        raise StudyError(
            f"{prepared.experiment.name}: a worker ended before its trials were done; was it killed or short of memory?"
        ) from None
    return trials


def grid_points(
    strategy: type[bt.Strategy], given: Mapping[str, Any], space: Mapping[str, Sequence[Any]]
) -> tuple[list[dict[str, Any]], int]:
    """Complete, checked parameters of every combination, and how many combinations a constraint forbids.

    Args:
        strategy: whose parameters.
        given: values of parameters that are not varied.
        space: values by parameter.

    Raises:
        StudyError: a parameter is unknown, a value is impossible, or no combination is left.
    """
    count = 1
    for values in space.values():
        count *= len(values)
    if not space or count > _MOST:
        raise StudyError(f"param-ranges: {count if space else 'no'} combinations; a grid tries 1 to {_MOST:,}.")
    points, refused, last = [], 0, None
    for values in itertools.product(*space.values()):
        asked = dict(given) | dict(zip(space, values, strict=True))
        try:
            points.append(dict(resolve_params(strategy, asked)))
        except ParameterError as error:
            if not _is_forbidden(strategy, asked):
                raise StudyError(f"param-ranges: {error}") from None
            refused, last = refused + 1, error
    if not points:
        raise StudyError(f"param-ranges: every combination is forbidden: {last}")
    return points, refused


def _is_forbidden(strategy: type[bt.Strategy], asked: Mapping[str, Any]) -> bool:
    """Whether each value is fine by itself, so that only their combination is not."""
    if not issubclass(strategy, BaseStrategy):
        return False
    try:
        for name, value in asked.items():
            strategy.space.find(name, owner=strategy.__name__).check(name, value)
    except ParameterError:
        return False
    return True


def _ranked(trials: Sequence[Trial], metric: str) -> list[Trial]:
    sign = -1.0 if METRICS[metric].better is Better.LOWER else 1.0
    known = [trial for trial in trials if trial.value is not None]
    return sorted(known, key=lambda trial: -sign * (trial.value or 0.0))


def _chosen(ranked: Sequence[Trial], best: int, sample: int, generator: random.Random) -> list[Trial]:
    others = ranked[best:]
    return [*ranked[:best], *generator.sample(others, min(sample, len(others)))]


def _verify(prepared: PreparedRun, trial: Trial, metric: str, engine: Engine) -> None:
    """Run a trial again on Backtrader.

    Raises:
        UnprovenError: something is not the same.
    """
    prepared = with_params(prepared, trial.params)
    reference = replay(prepared, engine=engine)
    where = ", ".join(f"{name}={value}" for name, value in trial.params.items())
    try:
        here = replay(prepared, engine=Engine.KERNEL)
    except ExperimentError:  # a limit acted: the kernel keeps no record, its figure must still be the same
        here = reference
    found = first_difference(reference, here)
    if found is not None:
        raise UnprovenError(
            f"{prepared.experiment.name}: the kernel differs from Backtrader at {where}: {found.what} is {found.here},"
            f" not {found.vanilla}."
        )
    value = figure(prepared.experiment, reference, metric)
    same = value == trial.value or (
        value is not None and trial.value is not None and abs(value - trial.value) <= _CLOSE * max(1.0, abs(value))
    )
    if not same:
        raise UnprovenError(
            f"{prepared.experiment.name}: the kernel differs from Backtrader at {where}: {metric} is {trial.value!r},"
            f" not {value!r}."
        )
