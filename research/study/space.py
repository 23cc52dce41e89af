"""The space that a study searches: what is varied, between what, and what may not go together.

Belongs here: dimensions, conditions, constraints, reading a space from a strategy, a document or a range string, the
points of a grid. Does not belong here: which points are tried (see `sampling`), running them.

A point that a constraint forbids is refused before it is run: never repaired, never swapped, so that what is recorded
is what ran.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import backtrader as bt

from research.errors import StudyError
from research.study.ranges import parse_ranges
from strategies.base_strategy import BaseStrategy
from strategies.errors import ParameterError, did_you_mean
from strategies.parameters import Choice, Constraint, Float, Int, Parameter
from strategies.registry import resolve_params

_KEYS: Mapping[str, frozenset[str]] = {
    "int": frozenset({"type", "low", "high", "step", "when"}),
    "float": frozenset({"type", "low", "high", "step", "log", "when"}),
    "categorical": frozenset({"type", "choices", "when"}),
}
_CONSTRAINTS = "constraints"
_MOST_POINTS = 1_000_000
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Dimension:
    """One parameter that is varied; `when` names the values of another one for which it matters."""

    name: str
    parameter: Parameter
    when: tuple[str, tuple[Any, ...]] | None = None

    def active(self, point: Mapping[str, Any]) -> bool:
        """Whether it matters beside what is chosen already."""
        return self.when is None or (self.when[0] in point and point[self.when[0]] in self.when[1])

    def values(self) -> tuple[Any, ...] | None:
        """Every value, ascending where they are numbers; None where any between two is one."""
        parameter = self.parameter
        if isinstance(parameter, Choice):
            return parameter.options
        if isinstance(parameter, Int):
            return tuple(range(parameter.low, parameter.high + 1, parameter.step))
        if parameter.low == parameter.high:
            return (parameter.low,)
        if parameter.step is None:
            return None
        count = math.floor((parameter.high - parameter.low) / parameter.step + _ROUNDING) + 1
        return tuple(round(parameter.low + at * parameter.step, 12) for at in range(count))


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What is varied, in its order, and what must hold.

    Attributes:
        strategy: whose parameters they are.
        fixed: values of the experiment for parameters that are not varied.
        dimensions: one that depends on another comes after it.
        constraints: the given ones; those of the strategy hold beside them.
    """

    strategy: type[bt.Strategy]
    fixed: Mapping[str, Any]
    dimensions: tuple[Dimension, ...]
    constraints: tuple[Constraint, ...] = ()

    @classmethod
    def of(
        cls, strategy: type[bt.Strategy], fixed: Mapping[str, Any], document: Mapping[str, Any] | str | None
    ) -> "SearchSpace":
        """The space that a study names: a document, a range string, or nothing for what the strategy declares.

        Raises:
            StudyError: a parameter is unknown, a value is impossible, or nothing is varied.
        """
        nothing: tuple[Constraint, ...] = ()
        dimensions, constraints = (_declared(strategy, fixed), nothing) if document is None else _read(document)
        space = cls(strategy, fixed, dimensions, constraints)
        space._check()
        return space

    @staticmethod
    def check_document(document: Mapping[str, Any] | str | None) -> None:
        """Refuse a document that no strategy could be searched with.

        Raises:
            StudyError: a key or a value is wrong.
        """
        if document is not None:
            _read(document)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that are varied."""
        return tuple(dimension.name for dimension in self.dimensions)

    @property
    def conditional(self) -> bool:
        """Whether some parameter matters only for some values of another."""
        return any(dimension.when is not None for dimension in self.dimensions)

    def size(self) -> int | None:
        """Points of the grid before constraints; None where a dimension is continuous."""
        if any(dimension.values() is None for dimension in self.dimensions):
            return None
        if not self.conditional:
            return math.prod(len(dimension.values() or ()) for dimension in self.dimensions)
        return sum(1 for _ in itertools.islice(self._all(), _MOST_POINTS + 1))

    def points(self) -> Iterator[dict[str, Any]]:
        """Every allowed point of the grid, the last dimension fastest.

        Raises:
            StudyError: a dimension is continuous.
        """
        return (point for point in self._all() if self.forbidden(point) is None)

    def all_points(self) -> Iterator[dict[str, Any]]:
        """Every point of the grid, forbidden ones included.

        Raises:
            StudyError: a dimension is continuous.
        """
        return self._all()

    def forbidden(self, point: Mapping[str, Any]) -> str | None:
        """The text of the first constraint that a point breaks, None when it may be run."""
        values = self._known(point)
        for constraint in (*self._own_constraints(), *self.constraints):
            if all(name in values for name in constraint.names) and not constraint.holds(values):
                return constraint.text
        return None

    def complete(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Every parameter of the strategy at a point, checked.

        Raises:
            StudyError: the strategy does not accept a value.
        """
        try:
            return dict(resolve_params(self.strategy, {**self.fixed, **point}))
        except ParameterError as error:
            raise StudyError(f"space: {error}") from None

    def _known(self, point: Mapping[str, Any]) -> dict[str, Any]:
        return {**dict(self.strategy.params._getitems()), **self.fixed, **point}

    def _own_constraints(self) -> tuple[Constraint, ...]:
        return self.strategy.space.constraints if issubclass(self.strategy, BaseStrategy) else ()

    def _all(self) -> Iterator[dict[str, Any]]:
        return _expanded(self.dimensions, {})

    def _check(self) -> None:
        if not self.dimensions:
            raise StudyError(f"space: {self.strategy.__name__} declares no parameter to vary; name some.")
        known = dict(self.strategy.params._getitems())
        for dimension in self.dimensions:
            if dimension.name not in known:
                near = did_you_mean(dimension.name, known) or f" It has {', '.join(known) or 'none'}."
                raise StudyError(f"space: {dimension.name} is not a parameter of {self.strategy.__name__}.{near}")
            self._check_ends(dimension)
        for constraint in self.constraints:
            for name in constraint.names:
                if name not in known:
                    near = did_you_mean(name, known)
                    raise StudyError(
                        f"space: constraints: {constraint.text!r} names {name}, which is not a parameter of"
                        f" {self.strategy.__name__}.{near}"
                    )

    def _check_ends(self, dimension: Dimension) -> None:
        """Values that the strategy would refuse are refused before anything runs."""
        if not issubclass(self.strategy, BaseStrategy) or dimension.name not in self.strategy.space.parameters:
            return
        declared, own = self.strategy.space.parameters[dimension.name], dimension.parameter
        values = own.options if isinstance(own, Choice) else (own.low, own.high)
        try:
            for value in values:
                declared.check(dimension.name, value)
        except ParameterError as error:
            raise StudyError(f"space: {error}") from None


def _expanded(dimensions: Sequence[Dimension], point: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not dimensions:
        yield dict(point)
        return
    first, *others = dimensions
    if not first.active(point):
        yield from _expanded(others, point)
        return
    values = first.values()
    if values is None:
        raise StudyError(f"space: {first.name} has no step, so there is no grid of it.")
    for value in values:
        yield from _expanded(others, {**point, first.name: value})


def _declared(strategy: type[bt.Strategy], fixed: Mapping[str, Any]) -> tuple[Dimension, ...]:
    if not issubclass(strategy, BaseStrategy):
        return ()
    tuned = strategy.space.tuned.items()
    return tuple(Dimension(name, parameter) for name, parameter in tuned if name not in fixed)


def _read(document: Mapping[str, Any] | str) -> tuple[tuple[Dimension, ...], tuple[Constraint, ...]]:
    if isinstance(document, str):
        ranges = parse_ranges(document).items()
        return tuple(Dimension(name, _of_values(values)) for name, values in ranges), ()
    dimensions = [_dimension(name, given) for name, given in document.items() if name != _CONSTRAINTS]
    if not dimensions:
        raise StudyError("space: it names no parameter.")
    return _in_order(dimensions), _constraints(document.get(_CONSTRAINTS, []))


def _constraints(texts: object) -> tuple[Constraint, ...]:
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise StudyError(f"space: constraints: {texts!r} must be a list of texts such as 'a < b'.")
    try:
        return tuple(Constraint(text) for text in texts)
    except ParameterError as error:
        raise StudyError(f"space: {error}") from None


def _dimension(name: str, given: object) -> Dimension:
    if not isinstance(given, Mapping):
        raise StudyError(f"space: {name}: {given!r} must be like {{'type': 'int', 'low': 5, 'high': 30}}.")
    kind = "categorical" if given.get("type") == "choice" else str(given.get("type"))
    if kind not in _KEYS:
        raise StudyError(f"space: {name}: type: {given.get('type')!r} must be int, float or categorical.")
    for key in given:
        if key not in _KEYS[kind]:
            near = did_you_mean(str(key), _KEYS[kind]) or f" It knows {', '.join(sorted(_KEYS[kind]))}."
            raise StudyError(f"space: {name}: {key} is not a key of {kind}.{near}")
    try:
        return Dimension(name, _parameter(name, kind, given), _condition(name, given.get("when")))
    except ParameterError as error:
        raise StudyError(f"space: {name}: {error}") from None


def _parameter(name: str, kind: str, given: Mapping[str, Any]) -> Parameter:
    if kind == "categorical":
        choices = given.get("choices")
        if not isinstance(choices, list | tuple) or not choices:
            raise StudyError(f"space: {name}: choices: {choices!r} must be a list of values.")
        return Choice(*choices)
    numbers = {key: _number(name, key, given, kind) for key in ("low", "high")}
    step = _number(name, "step", given, kind) if given.get("step") is not None else None
    if kind == "int":
        return Int(int(numbers["low"]), int(numbers["high"]), int(step or 1), default=int(numbers["low"]))
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise StudyError(f"space: {name}: log: {log!r} must be true or false.")
    low = float(numbers["low"])
    return Float(low, float(numbers["high"]), None if step is None else float(step), log, default=low)


def _number(name: str, key: str, given: Mapping[str, Any], kind: str) -> float:
    if key not in given:
        raise StudyError(f"space: {name}: {key} is missing.")
    value = given[key]
    whole = kind == "int"
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not fits or not math.isfinite(value) or (key == "step" and value <= 0):
        what = "a whole number" if whole else "a finite number"
        raise StudyError(f"space: {name}: {key}: {value!r} must be {what}{' above 0' if key == 'step' else ''}.")
    return float(value) if not whole else int(value)


def _condition(name: str, when: object) -> tuple[str, tuple[Any, ...]] | None:
    if when is None:
        return None
    if not isinstance(when, Mapping) or len(when) != 1:
        raise StudyError(f"space: {name}: when: {when!r} must be like {{'other': [values]}}.")
    other, values = next(iter(when.items()))
    if not isinstance(values, list | tuple) or not values:
        raise StudyError(f"space: {name}: when: {values!r} must be a list of values of {other}.")
    return str(other), tuple(values)


def _in_order(dimensions: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """Each after the one it depends on, else as written."""
    names = {dimension.name for dimension in dimensions}
    for dimension in dimensions:
        if dimension.when is not None and dimension.when[0] not in names:
            near = did_you_mean(dimension.when[0], names)
            raise StudyError(f"space: {dimension.name}: when: {dimension.when[0]} is not varied.{near}")
    placed: list[Dimension] = []
    waiting = list(dimensions)
    while waiting:
        known = {dimension.name for dimension in placed}
        ready = [one for one in waiting if one.when is None or one.when[0] in known]
        if not ready:
            raise StudyError(f"space: {waiting[0].name}: when: it depends on itself.")
        placed += ready
        waiting = [one for one in waiting if one not in ready]
    return tuple(placed)


def _of_values(values: Sequence[Any]) -> Parameter:
    """The parameter of listed values: a number with a step where they are evenly spaced."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return Choice(*values)
    steps = {round(b - a, 12) for a, b in itertools.pairwise(numbers)}
    if len(steps) > 1 or min(steps, default=1) <= 0:
        return Choice(*values)
    if all(isinstance(value, int) for value in numbers):
        return Int(int(numbers[0]), int(numbers[-1]), int(min(steps, default=1)), default=int(numbers[0]))
    return Float(float(numbers[0]), float(numbers[-1]), min(steps, default=None), default=float(numbers[0]))
