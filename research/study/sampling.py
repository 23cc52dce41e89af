"""Which points a study tries.

Belongs here: asking for points in batches, refusing forbidden and repeated ones, telling what came of them. Does not
belong here: running points (see `evaluate`), keeping them (see `storage`).

A batch is asked at once, seeded by the study's seed and the number of its first trial, and knows what earlier batches
came to; so the points do not depend on how fast who was, nor on whether the study was stopped in between.
"""

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np

from research.errors import StudyError
from research.metric_catalog import Better
from research.study.evaluate import running_means
from research.study.outcome import StudyTrial, TrialState
from research.study.space import Dimension, SearchSpace
from research.study.specification import StudySpecification
from strategies.parameters import Choice, Float, Int

if TYPE_CHECKING:
    import optuna

_REFUSALS = 1_000
"""Forbidden points in a row, after which nothing allowed is expected any more."""
_REPEATS = 3
"""Repeated points in a row, after which a point that was not tried is drawn by chance."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point to try.

    Attributes:
        params: what is varied.
        asked: its number among all that the sampler was asked for, refused ones included.
        attributes: what the sampler wants to find again beside it.
    """

    params: Mapping[str, Any]
    asked: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same text for the same point."""
        return point_key(self.params)


def point_key(params: Mapping[str, Any]) -> str:
    """The same text for the same values."""
    return json.dumps(dict(params), sort_keys=True, separators=(",", ":"), default=str)


class Source(Protocol):
    """Where points come from."""

    name: str
    adaptive: bool  # whether points depend on what earlier ones came to
    forbidden: Counter[str]

    def ask(self, first: int, count: int, known: set[str]) -> list[Point]:
        """Up to `count` points that are allowed and not `known`; fewer only where there are no more.

        Args:
            first: number of the batch's first trial, which seeds it.
            count: how many.
            known: keys of points that are not asked again.
        """

    def tell(self, point: Point, trial: StudyTrial) -> None:
        """What a point came to; in the order of the trials' numbers."""

    def pending(self, point: Point) -> None:
        """A point that somebody else is trying."""


def sampler_for(space: SearchSpace, specification: StudySpecification, *, compiled: bool) -> str:
    """The sampler that runs: `auto` is exhaustive where the grid is small, else tpe, or nsga2 of several objectives.

    Raises:
        StudyError: a grid is asked for where a parameter has no step, or cmaes where one is no number.
    """
    size, sampler = space.size(), specification.sampler
    if sampler == "grid" and size is None:
        names = [one.name for one in space.dimensions if one.values() is None]
        raise StudyError(f"sampler: grid needs a step for {names[0]}.")
    if sampler == "cmaes" and (space.conditional or any(isinstance(one.parameter, Choice) for one in space.dimensions)):
        raise StudyError("sampler: cmaes needs numbers only, without conditions.")
    if sampler != "auto":
        return sampler
    most = max(specification.n_trials, specification.exhaustive_up_to if compiled else 0)
    if size is not None and size <= most:
        return "grid"
    return "nsga2" if len(specification.objectives) > 1 else "tpe"


def source_for(
    space: SearchSpace, specification: StudySpecification, sampler: str, directions: Sequence[Better]
) -> "Source":
    """The source of a sampler by its name."""
    if sampler == "grid":
        return GridSource(space)
    return OptunaSource(space, specification, sampler, directions)


class GridSource:
    """Every allowed point, in the grid's order."""

    name, adaptive = "grid", False

    def __init__(self, space: SearchSpace) -> None:
        self.forbidden: Counter[str] = Counter()
        self._space = space
        self._points = self._allowed()
        self.total = sum(1 for _ in space.points())
        if not self.total:
            raise StudyError("space: every point is forbidden by a constraint.")

    def _allowed(self) -> Iterator[dict[str, Any]]:
        for point in self._space.all_points():
            broken = self._space.forbidden(point)
            if broken is None:
                yield point
            else:
                self.forbidden[broken] += 1

    def ask(self, first: int, count: int, known: set[str]) -> list[Point]:
        """The next points that are not known."""
        found: list[Point] = []
        while len(found) < count:
            params = next(self._points, None)
            if params is None:
                break
            point = Point(params)
            if point.key not in known:
                found.append(point)
        return found

    def tell(self, point: Point, trial: StudyTrial) -> None:
        """A grid learns nothing."""

    def pending(self, point: Point) -> None:
        """A grid minds nobody."""


class OptunaSource:
    """Points of one of Optuna's samplers, on a study in memory."""

    def __init__(
        self, space: SearchSpace, specification: StudySpecification, sampler: str, directions: Sequence[Better]
    ) -> None:
        import optuna  # noqa: PLC0415 (it takes a second to import)

        self.name, self.adaptive = sampler, sampler != "random"
        self.forbidden: Counter[str] = Counter()
        self._space, self._specification = space, specification
        self._size = space.size()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(directions=ways(directions))
        self._open: dict[int, int] = {}  # place in the study by `asked`
        self._chance = np.random.default_rng()

    def ask(self, first: int, count: int, known: set[str]) -> list[Point]:
        """Points of one batch."""
        self._study.sampler = self._sampler(first)
        self._chance = np.random.default_rng([self._specification.seed, first])
        known, found = set(known), list[Point]()
        while len(found) < count:
            point = self._allowed(known)
            if point is None:
                break
            known.add(point.key)
            found.append(point)
        return found

    def tell(self, point: Point, trial: StudyTrial) -> None:
        """Finish an asked trial, or add one that another run asked for."""
        import optuna  # noqa: PLC0415

        told = _told(trial, several=len(self._study.directions) > 1)
        place = self._open.pop(point.asked, None)
        if place is None:
            self._pad(point.asked)
            self._study.add_trial(self._frozen(point, told))
            return
        storage, trial_id = self._study._storage, place
        for step, value in told.steps.items():
            storage.set_trial_intermediate_value(trial_id, step, value)
        state = getattr(optuna.trial.TrialState, told.state)
        storage.set_trial_state_values(trial_id, state, list(told.values) if told.values else None)

    def pending(self, point: Point) -> None:
        """Add a running trial, so that the sampler keeps away from it."""
        import optuna  # noqa: PLC0415

        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params=dict(point.params),
                distributions=self._distributions(point.params),
            )
        )
        self._open[point.asked] = self._study.get_trials(deepcopy=False)[-1]._trial_id

    def _allowed(self, known: set[str]) -> Point | None:
        """A point that may be run and was not; None where there is none left."""
        refused = repeated = 0
        while refused < _REFUSALS and repeated < _REPEATS:
            trial = self._study.ask()
            params = self._suggested(trial)
            broken = self._space.forbidden(params)
            if broken is None and point_key(params) not in known:
                self._open[trial.number] = trial._trial_id
                attributes = dict(self._study._storage.get_trial(trial._trial_id).system_attrs)
                return Point(params, trial.number, attributes)
            self._refuse(trial)
            if broken is None:
                repeated += 1
                if self._size is not None and len(known) >= self._size:
                    return None
            else:
                self.forbidden[broken] += 1
                refused += 1
        if repeated >= _REPEATS:
            return self._untried(known)
        worst = self.forbidden.most_common(1)[0][0]
        raise StudyError(f"space: {refused} points in a row break {worst!r}; narrow the space so that it holds.")

    def _refuse(self, trial: "optuna.Trial") -> None:
        import optuna  # noqa: PLC0415

        self._study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def _untried(self, known: set[str]) -> Point | None:
        """A point that was not tried, where the sampler only repeats itself; None where all were."""
        drawn = (self._drawn() for _ in range(_REFUSALS))
        params = next((one for one in drawn if self._is_new(one, known)), None)
        if params is None and self._size is not None:
            params = next((one for one in self._space.points() if point_key(one) not in known), None)
        if params is None:
            return None
        point = Point(params, len(self._study.get_trials(deepcopy=False)))
        self.pending(point)
        return point

    def _is_new(self, params: Mapping[str, Any], known: set[str]) -> bool:
        return self._space.forbidden(params) is None and point_key(params) not in known

    def _drawn(self) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for dimension in self._space.dimensions:
            if dimension.active(params):
                params[dimension.name] = _by_chance(dimension, self._chance)
        return params

    def _suggested(self, trial: "optuna.Trial") -> dict[str, Any]:
        params: dict[str, Any] = {}
        for dimension in self._space.dimensions:
            if dimension.active(params):
                params[dimension.name] = _suggest(trial, dimension)
        return params

    def _sampler(self, first: int) -> "optuna.samplers.BaseSampler":
        import optuna  # noqa: PLC0415

        settings = self._specification
        seed = int(np.random.SeedSequence([settings.seed, first]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self.name == "tpe":
                return optuna.samplers.TPESampler(
                    n_startup_trials=settings.startup_trials, n_ei_candidates=settings.candidates, seed=seed,
                    multivariate=True, group=self._space.conditional, constant_liar=True,
                )  # fmt: skip
            if self.name == "cmaes":
                return optuna.samplers.CmaEsSampler(n_startup_trials=settings.startup_trials, seed=seed)
            if self.name == "nsga2":
                return optuna.samplers.NSGAIISampler(population_size=_population(settings), seed=seed)
            return optuna.samplers.RandomSampler(seed=seed)

    def _distributions(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {one.name: distribution(one) for one in self._space.dimensions if one.name in params}

    def _pad(self, asked: int) -> None:
        """Refused points are not kept; empty ones in their places keep every number what it was."""
        import optuna  # noqa: PLC0415

        count = len(self._study.get_trials(deepcopy=False))
        empty = optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL)
        for _ in range(asked - count):
            self._study.add_trial(empty)

    def _frozen(self, point: Point, told: "_Told") -> "optuna.trial.FrozenTrial":
        import optuna  # noqa: PLC0415

        return optuna.trial.create_trial(
            state=getattr(optuna.trial.TrialState, told.state),
            values=list(told.values) or None,
            params=dict(point.params),
            distributions=self._distributions(point.params),
            intermediate_values=dict(told.steps),
            system_attrs=dict(point.attributes),
        )


@dataclass(frozen=True, slots=True)
class _Told:
    state: str
    values: tuple[float, ...]
    steps: Mapping[int, float]


def _told(trial: StudyTrial, *, several: bool) -> _Told:
    """What a sampler learns: of a trial without a value, that it is worse than any with one, never a made-up number."""
    means = running_means(trial.folds)
    steps = {at: mean for at, mean in enumerate(means) if mean is not None}
    if trial.state is TrialState.COMPLETE and trial.values:
        return _Told("COMPLETE", trial.values, steps)
    if trial.state is TrialState.FAILED or several:
        return _Told("FAIL", (), {})
    return _Told("PRUNED", (), steps if trial.state is TrialState.PRUNED else {})


def ways(directions: Sequence[Better]) -> "list[optuna.study.StudyDirection | Literal['minimize', 'maximize']]":
    """Which way is better, as Optuna says it."""
    return ["minimize" if one is Better.LOWER else "maximize" for one in directions]


def distribution(dimension: Dimension) -> Any:  # noqa: ANN401 (Optuna is imported where it is needed)
    """A dimension as Optuna knows it."""
    from optuna.distributions import (  # noqa: PLC0415
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    parameter = dimension.parameter
    if isinstance(parameter, Choice):
        return CategoricalDistribution(cast("Any", parameter.options))
    values = dimension.values()
    if isinstance(parameter, Int):
        return IntDistribution(parameter.low, (values or (parameter.high,))[-1], step=parameter.step)
    high = parameter.high if values is None else values[-1]
    return FloatDistribution(parameter.low, high, log=parameter.log, step=parameter.step)


def _suggest(trial: "optuna.Trial", dimension: Dimension) -> Any:  # noqa: ANN401
    value = trial._suggest(dimension.name, distribution(dimension))
    if isinstance(dimension.parameter, Float) and dimension.parameter.step is not None:
        return round(float(value), 12)  # the grid's number, which a step of Optuna's misses by rounding
    return value


def _by_chance(dimension: Dimension, chance: np.random.Generator) -> Any:  # noqa: ANN401
    values, parameter = dimension.values(), dimension.parameter
    if values is not None:
        return values[int(chance.integers(len(values)))]
    if not isinstance(parameter, Float):
        raise StudyError(f"space: {dimension.name} has no values.")
    if parameter.log:
        return float(np.exp(chance.uniform(np.log(parameter.low), np.log(parameter.high))))
    return float(chance.uniform(parameter.low, parameter.high))


def _population(settings: StudySpecification) -> int:
    """Some ten generations, and never more than Optuna's own fifty."""
    return max(4, min(50, settings.n_trials // 10))
