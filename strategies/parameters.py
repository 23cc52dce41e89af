"""Parameter spaces: what a strategy can be set to, what is worth searching, and what must hold between parameters.

Belongs here: parameter types, constraints, validation with sentences a person understands. Does not belong here:
choosing values (a study's business), Backtrader.

Two ranges are kept apart. `low`..`high` is where a search looks; `valid` is what the strategy accepts at all, and is
the searched range unless it is given. Values are checked, never moved: what was asked for is what runs, or nothing.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from numbers import Integral
from types import MappingProxyType
from typing import Any

from strategies.errors import ParameterError, did_you_mean


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number, searched from `low` to `high`, both included, in steps.

    >>> Int(5, 50, default=20).describe()
    '20 (int 5..50 step 1)'
    """

    low: int
    high: int
    step: int = 1
    default: int = field(kw_only=True)
    valid: tuple[int, int] | None = field(default=None, kw_only=True)
    tuned: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.step)
        self.check("default", self.default)

    def check(self, name: str, value: object) -> int:
        """The value itself.

        Raises:
            ParameterError: it is no whole number or out of the valid range.
        """
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ParameterError(f"{name} must be a whole number, not {value!r}.")
        whole = int(value)
        least, most = self.valid or (self.low, self.high)
        _check_between(name, whole, least, most)
        return whole

    def with_default(self, default: int) -> "Int":
        """The same parameter with another default."""
        return replace(self, default=default)

    def describe(self) -> str:
        """Default, type and searched range."""
        return f"{self.default} (int {self.low}..{self.high} step {self.step})"


@dataclass(frozen=True, slots=True)
class Float:
    """A number, searched from `low` to `high`; without a step any value between, with `log` evenly in the logarithm.

    With `optional` the value None is allowed and means "off".

    >>> Float(0.5, 4.0, 0.5, default=2.0).describe()
    '2.0 (float 0.5..4.0 step 0.5)'
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False
    default: float | None = field(kw_only=True)
    valid: tuple[float, float] | None = field(default=None, kw_only=True)
    optional: bool = field(default=False, kw_only=True)
    tuned: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.step)
        if self.log and (self.low <= 0 or self.step is not None):
            raise ParameterError(f"log needs low > 0 and no step, not low {self.low!r} and step {self.step!r}.")
        self.check("default", self.default)

    def check(self, name: str, value: object) -> float | None:
        """The value as a float, or None where None is allowed.

        Raises:
            ParameterError: it is no finite number or out of the valid range.
        """
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ParameterError(f"{name} must be a finite number, not {value!r}.")
        least, most = self.valid or (self.low, self.high)
        _check_between(name, value, least, most)
        return float(value)

    def with_default(self, default: float | None) -> "Float":
        """The same parameter with another default."""
        return replace(self, default=default)

    def describe(self) -> str:
        """Default, type and searched range."""
        step = f" step {self.step}" if self.step is not None else " log" if self.log else ""
        off = " or off" if self.optional else ""
        default = "off" if self.default is None else self.default
        return f"{default} (float {self.low}..{self.high}{step}{off})"


@dataclass(frozen=True, slots=True, init=False)
class Choice:
    """One of several values; the first one is the default unless said otherwise.

    >>> Choice("ema", "sma").describe()
    'ema (one of ema, sma)'
    """

    options: tuple[object, ...]
    default: object
    tuned: bool

    def __init__(self, *options: object, default: object = None, tuned: bool = True) -> None:
        if not options:
            raise ParameterError("options must not be empty.")
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "default", options[0] if default is None else default)
        object.__setattr__(self, "tuned", tuned)
        self.check("default", self.default)

    def check(self, name: str, value: object) -> object:
        """The value itself.

        Raises:
            ParameterError: it is none of the options; 1 is not True.
        """
        for option in self.options:
            if type(option) is type(value) and option == value:
                return option
        listed = ", ".join(map(str, self.options))
        hint = did_you_mean(value, map(str, self.options)) if isinstance(value, str) else ""
        raise ParameterError(f"{name} must be one of {listed}, not {value!r}.{hint}")

    def with_default(self, default: object) -> "Choice":
        """The same parameter with another default."""
        return Choice(*self.options, default=default, tuned=self.tuned)

    def describe(self) -> str:
        """Default and options."""
        return f"{self.default} (one of {', '.join(map(str, self.options))})"


Parameter = Int | Float | Choice

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A comparison that must hold between parameters and numbers: its text is also its check.

    >>> Constraint("sma_short < sma_long").holds({"sma_short": 50, "sma_long": 20})
    False
    >>> Constraint("0 < exit_z < entry_z").names
    ('exit_z', 'entry_z')
    """

    text: str

    def __post_init__(self) -> None:
        tokens = self.text.split()
        wrong = [token for token in tokens[1::2] if token not in _COMPARISONS]
        wrong += [token for token in tokens[::2] if not (token.isidentifier() or _is_number(token))]
        if len(tokens) < 3 or len(tokens) % 2 == 0 or wrong:
            raise ParameterError(f"constraint {self.text!r} must be like 'a < b', with spaces and one of < <= > >=.")

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters it speaks of, in the order of the text."""
        return tuple(token for token in self.text.split()[::2] if token.isidentifier())

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the values satisfy it; a parameter that is off (None) satisfies everything."""
        tokens = self.text.split()
        operands = [values[token] if token.isidentifier() else float(token) for token in tokens[::2]]
        pairs = zip(tokens[1::2], pairwise(operands), strict=True)
        return all(None in (a, b) or _COMPARISONS[compare](a, b) for compare, (a, b) in pairs)


@dataclass(frozen=True, slots=True)
class ParameterSpace:
    """All parameters of a strategy by name, with the constraints between them."""

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    def __reduce__(self) -> tuple[Any, ...]:
        """A read-only mapping does not travel to another process; its content does."""
        return type(self), (dict(self.parameters), self.constraints)

    @property
    def defaults(self) -> dict[str, Any]:
        """Every parameter's default."""
        return {name: parameter.default for name, parameter in self.parameters.items()}

    @property
    def tuned(self) -> dict[str, Parameter]:
        """The parameters that are worth searching: signals, not safety."""
        return {name: parameter for name, parameter in self.parameters.items() if parameter.tuned}

    def with_defaults(self, values: Mapping[str, Any]) -> "ParameterSpace":
        """This space with other defaults; names it does not have are left alone.

        Raises:
            ParameterError: a default is out of its valid range.
        """
        changed = {
            name: parameter.with_default(values[name]) if name in values else parameter
            for name, parameter in self.parameters.items()
        }
        return ParameterSpace(changed, self.constraints)

    def extended(self, more: "ParameterSpace") -> "ParameterSpace":
        """This space with the parameters of another added; the other's win where both have one.

        Raises:
            ParameterError: a constraint names a parameter that neither has, or the defaults break one.
        """
        space = ParameterSpace({**self.parameters, **more.parameters}, self.constraints + more.constraints)
        for constraint in space.constraints:
            for name in constraint.names:
                space.find(name)
        space.check_constraints(space.defaults)
        return space

    def validate(self, values: Mapping[str, Any], *, owner: str = "the strategy") -> dict[str, Any]:
        """Every parameter's value: those given, checked, and the defaults of the others.

        Args:
            values: some parameters by name.
            owner: who has these parameters, for the sentence.

        Raises:
            ParameterError: a name is unknown, a value is of the wrong type or out of range, a constraint is broken.
        """
        checked = {name: self.find(name, owner=owner).check(name, value) for name, value in values.items()}
        complete = self.defaults | checked
        self.check_constraints(complete)
        return complete

    def find(self, name: str, *, owner: str = "the strategy") -> Parameter:
        """A parameter by name.

        Raises:
            ParameterError: there is none of that name.
        """
        if name not in self.parameters:
            known = did_you_mean(name, self.parameters) or f" It has {', '.join(self.parameters) or 'none'}."
            raise ParameterError(f"{name} is not a parameter of {owner}.{known}")
        return self.parameters[name]

    def check_constraints(self, values: Mapping[str, Any]) -> None:
        """Refuse values that break a constraint.

        Raises:
            ParameterError: a constraint does not hold; the sentence names it and the values.
        """
        for constraint in self.constraints:
            if not constraint.holds(values):
                found = ", ".join(f"{name} = {values[name]!r}" for name in constraint.names)
                raise ParameterError(f"{constraint.text} must hold, but {found}.")

    def describe(self) -> tuple[str, ...]:
        """One line for each parameter, such as `sma_short = 20 (int 5..50 step 1)`."""
        return tuple(f"{name} = {parameter.describe()}" for name, parameter in self.parameters.items())


def _check_range(low: float, high: float, step: float | None) -> None:
    if not low <= high:
        raise ParameterError(f"low must not be above high, but low = {low!r} and high = {high!r}.")
    if step is not None and step <= 0:
        raise ParameterError(f"step must be above 0, not {step!r}.")


def _check_between(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ParameterError(f"{name} must be between {least} and {most}, not {value!r}.")


_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def _is_number(token: str) -> bool:
    return _NUMBER.fullmatch(token) is not None
