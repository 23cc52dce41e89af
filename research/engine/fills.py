"""What Backtrader's indicators and operations on lines compute bar by bar in `once`, done for whole lines.

Belongs here: for each `once` of Backtrader's that is known, a function that leaves the same numbers in the same array.
Does not belong here: which objects are computed in which order (see `once`), formulas (see `strategies.indicators`).

A fill computes `first` to the end of `count` bars of one object. It gives False where it does not know the answer to
the last bit, or where Backtrader would raise, having written nothing that Backtrader's own `once` does not write again.
"""

import array
import builtins
import functools
import math
import operator
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from backtrader import functions
from backtrader.indicators.basicops import (
    Accum,
    Average,
    ExponentialSmoothing,
    ExponentialSmoothingDynamic,
    FindFirstIndex,
    FindLastIndex,
    OperationN,
    WeightedAverage,
)
from backtrader.indicators.crossover import NonZeroDifference
from backtrader.linebuffer import LineOwnOperation, LinesOperation, PseudoArray, _LineDelay, _LineForward
from backtrader.lineiterator import LineIterator
from backtrader.lineroot import LineRoot

from strategies.indicators.columns import Floats
from strategies.indicators.recursions import fill_adaptive, fill_differences, fill_powers, fill_smoothed
from strategies.indicators.windows import fill_ages, fill_extremes, fill_sums, fill_weighted

Fill = Callable[[Any, int, int], bool]
Operand = Floats | float

_NUMBERS: Final = (float, int, bool)
_WHOLE: Final = 2**53  # whole numbers up to here are doubles


class _UnknownError(Exception):
    """A fill that meets something out of the ordinary."""


@lru_cache(maxsize=1024)
def fill_of(cls: type) -> Fill | None:
    """How the lines of a class are filled; None where only its own methods know."""
    fill = _FILLS.get(_methods(cls))
    if fill is _operation and any(getattr(cls, name) is not getattr(LinesOperation, name) for name in _OF_OPERATION):
        return None
    if fill in (_smoothed, _smoothed_adaptively) and super(ExponentialSmoothing, cls).once is not Average.once:
        return None  # whatever stands between the two would make the first value
    return fill


def _methods(cls: type) -> tuple[object, object, object]:
    return (getattr(cls, "preonce", None), getattr(cls, "oncestart", None), getattr(cls, "once", None))


def filled(fill: Fill, thing: LineRoot, first: int, count: int) -> bool:
    """Whether `fill` has computed the lines of `thing`."""
    try:
        return fill(thing, first, count)
    except _UnknownError:
        return False


# ---------------------------------------------------------------- what a fill reads and writes


def _column(owner: Any, count: int) -> Floats:  # noqa: ANN401 (whatever Backtrader takes an array from)
    """The values of a line, of the first line of many, to read."""
    view = _target(owner, count)
    view.flags.writeable = False
    return view


def _target(owner: Any, count: int) -> Floats:  # noqa: ANN401
    values = getattr(owner, "array", None)
    if type(values) is not array.array or values.typecode != "d" or len(values) < count:
        raise _UnknownError
    return np.frombuffer(values, np.float64, count)


def _operand(owner: Any, first: int, count: int) -> Operand:  # noqa: ANN401
    """The values of a line from `first` on, or the number that stands for one."""
    return _number(owner.wrapped) if type(owner) is PseudoArray else _column(owner, count)[first:]


def _number(value: object) -> float:
    """A plain number as a double: other kinds calculate in ways of their own."""
    if type(value) not in _NUMBERS or (type(value) is int and abs(value) > _WHOLE):
        raise _UnknownError
    return float(value)  # type: ignore[arg-type]


def _span(thing: Any, first: int) -> int:  # noqa: ANN401
    """The period of an indicator whose first window is whole."""
    period = thing.p.period
    if type(period) is not int or not 1 <= period <= first + 1:
        raise _UnknownError
    return period


# ---------------------------------------------------------------- operations on lines


def _nothing(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    return True


@np.errstate(all="ignore")
def _operation(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    one, other = _operands(thing, first, count)
    if thing.operation is operator.pow:
        return _power(thing, one, other, first, count)
    ufunc = _OPERATIONS.get(thing.operation) if isinstance(thing.operation, BuiltinFunctionType) else None
    if ufunc is None or (ufunc is np.divide and np.equal(other, 0.0).any()):
        return False
    ufunc(one, other, out=_target(thing, count)[first:])
    return True


def _operands(thing: Any, first: int, count: int) -> tuple[Operand, Operand]:  # noqa: ANN401
    if thing.bline:
        return _column(thing.a, count)[first:], _column(thing.b, count)[first:]
    if thing.btime:
        raise _UnknownError
    if thing.r:
        return _number(thing.a), _column(thing.b, count)[first:]
    return _column(thing.a, count)[first:], _number(thing.b)


def _power(thing: Any, base: Operand, exponent: Operand, first: int, count: int) -> bool:  # noqa: ANN401
    if not isinstance(base, np.ndarray) or not isinstance(exponent, float):
        return False
    return bool(fill_powers(base, exponent, 0, _target(thing, count)[first:]) < 0)


def _own_operation(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    ufunc = next((ufunc for known, ufunc in _OWN_OPERATIONS if thing.operation is known), None)
    if ufunc is None:
        return False
    ufunc(_column(thing.a, count)[first:], out=_target(thing, count)[first:])
    return True


def _is_true(values: Floats, out: Floats) -> None:
    np.not_equal(values, 0.0, out=out)


def _delay(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    ago, target = thing.ago, _target(thing, count)
    if type(thing.a) is PseudoArray:
        target[first:] = _number(thing.a.wrapped)
        return True
    if type(ago) is not int or ago > 0 or first + ago < 0:
        return False
    target[first:] = _column(thing.a, count)[first + ago : count + ago]
    return True


def _forward(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    ago, source, target = thing.ago, _column(thing.a, count), _target(thing, count)
    if type(ago) is not int or not 0 < ago <= count:
        return False
    for at in range(first, min(ago, count)):
        target[at - ago] = source[at]  # Backtrader writes what has no place of its own at the end
    first = max(first, ago)
    target[first - ago : count - ago] = source[first:]
    return True


# ---------------------------------------------------------------- logic


def _arguments(things: Iterable[Any], first: int, count: int) -> list[Operand]:
    return [_operand(thing, first, count) for thing in things]


@np.errstate(all="ignore")
def _quotient(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    one, other = (_column(part, count)[first:] for part in (thing.a, thing.b))
    target = _target(thing, count)[first:]
    target[:] = _number(thing.zero)
    np.divide(one, other, out=target, where=other != 0.0)
    return True


@np.errstate(all="ignore")
def _quotient_of_zeros(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    one, other = (_column(part, count)[first:] for part in (thing.a, thing.b))
    target = _target(thing, count)[first:]
    target[:] = _number(thing.single)
    np.copyto(target, _number(thing.dual), where=one == 0.0)
    np.divide(one, other, out=target, where=other != 0.0)
    return True


def _compared(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    one, other = _arguments((thing.a, thing.b), first, count)
    target = _target(thing, count)[first:]
    np.greater(one, other, out=target)
    target -= np.less(one, other)
    return True


def _chosen_by_comparison(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    one, other, less, equal, more = _arguments((thing.a, thing.b, thing.r1, thing.r2, thing.r3), first, count)
    target = _target(thing, count)[first:]
    target[:] = equal
    np.copyto(target, less, where=np.less(one, other))
    np.copyto(target, more, where=np.greater(one, other))
    return True


def _chosen(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    condition, one, other = _arguments((thing.cond, thing.a, thing.b), first, count)
    target = _target(thing, count)[first:]
    target[:] = other
    np.copyto(target, one, where=np.not_equal(condition, 0.0))
    return True


def _logic(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    kind = _logic_of(thing.flogic)
    if kind is None or not thing.args:
        return False
    values = _arguments(thing.args, first, count)
    target = _target(thing, count)[first:]
    target[:] = values[0]
    return kind(values, target)


def _logic_of(flogic: object) -> Callable[[list[Operand], Floats], bool] | None:
    """What a function of the values of several lines at a bar is for whole lines."""
    if isinstance(flogic, partial):
        reduces = flogic.func is functools.reduce and len(flogic.args) == 1 and not flogic.keywords
        return _REDUCED.get(flogic.args[0]) if reduces and isinstance(flogic.args[0], FunctionType) else None
    return _LOGIC.get(flogic) if isinstance(flogic, BuiltinFunctionType) else None


def _largest(values: list[Operand], target: Floats) -> bool:
    for value in values[1:]:
        np.copyto(target, value, where=np.greater(value, target))
    return True


def _smallest(values: list[Operand], target: Floats) -> bool:
    for value in values[1:]:
        np.copyto(target, value, where=np.less(value, target))
    return True


@np.errstate(all="ignore")
def _sum_of_two(values: list[Operand], target: Floats) -> bool:
    if len(values) != 2:
        return False
    np.add(values[0], values[1], out=target)
    target += 0.0  # `math.fsum` has no negative zero
    return bool(np.isfinite(target).all())


def _all_true(values: list[Operand], target: Floats) -> bool:
    truth = np.not_equal(target, 0.0)
    for value in values[1:]:
        truth &= np.not_equal(value, 0.0)
    target[:] = truth
    return True


def _any_true(values: list[Operand], target: Floats) -> bool:
    truth = np.not_equal(target, 0.0)
    for value in values[1:]:
        truth |= np.not_equal(value, 0.0)
    target[:] = truth
    return True


def _reduced_and(values: list[Operand], target: Floats) -> bool:
    return len(values) == 1 or _all_true(values, target)  # one value alone is not made a truth value


def _reduced_or(values: list[Operand], target: Floats) -> bool:
    return len(values) == 1 or _any_true(values, target)


# ---------------------------------------------------------------- indicators with loops of their own


def _window(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    fill = _of_window(thing.func, thing)
    return fill is not None and fill(_column(thing.data, count), first, _span(thing, first), _target(thing.line, count))


def _of_window(func: object, thing: Any) -> Callable[[Floats, int, int, Floats], bool] | None:  # noqa: ANN401
    """What a function of one window is for all windows of a line."""
    if isinstance(func, MethodType):
        sign = next((sign for known, sign in _SIGNS if thing.p._evalfunc is known), None)
        latest = _AGES.get(func.__func__)
        return None if sign is None or latest is None or func.__self__ is not thing else partial(_age, latest, sign)
    return _WINDOWS.get(func) if isinstance(func, BuiltinFunctionType) else None


def _highest(values: Floats, first: int, period: int, out: Floats) -> bool:
    fill_extremes(values, first, period, 1.0, out)
    return True


def _lowest(values: Floats, first: int, period: int, out: Floats) -> bool:
    fill_extremes(values, first, period, -1.0, out)
    return True


def _sum(values: Floats, first: int, period: int, out: Floats) -> bool:
    return bool(fill_sums(values, first, period, 1.0, out) < 0)


def _any(values: Floats, first: int, period: int, out: Floats) -> bool:
    out[first:] = _true_ones(values, first, period) > 0
    return True


def _all(values: Floats, first: int, period: int, out: Floats) -> bool:
    out[first:] = _true_ones(values, first, period) == period
    return True


def _true_ones(values: Floats, first: int, period: int) -> npt.NDArray[np.int64]:
    counts = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values != 0.0, out=counts[1:])
    ones: npt.NDArray[np.int64] = counts[first + 1 :] - counts[first + 1 - period : len(counts) - period]
    return ones


def _age(latest: bool, sign: float, values: Floats, first: int, period: int, out: Floats) -> bool:  # noqa: PLR0917
    return bool(fill_ages(values, first, period, sign, latest, out) < 0)


def _average(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    period = _span(thing, first)
    return bool(fill_sums(_column(thing.data, count), first, period, float(period), _target(thing.line, count)) < 0)


def _smoothed(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    keep, take = _number(thing.alpha1), _number(thing.alpha)
    values, out = _column(thing.data, count), _target(thing.line, count)
    return bool(fill_smoothed(values, first, _span(thing, first), keep, take, out) < 0)


def _smoothed_adaptively(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    keep, take = _column(thing.alpha1, count), _column(thing.alpha, count)
    values, out = _column(thing.data, count), _target(thing.line, count)
    return bool(fill_adaptive(values, first, _span(thing, first), keep, take, out) < 0)


def _weighted(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    weights = np.array([_number(weight) for weight in thing.p.weights])
    if len(weights) != _span(thing, first):
        return False
    weights.flags.writeable = False
    values, out = _column(thing.data, count), _target(thing.line, count)
    return bool(fill_weighted(values, first, weights, _number(thing.p.coef), out) < 0)


def _accumulated(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    seed, values, out = _number(thing.p.seed), _column(thing.data, count), _target(thing.line, count)
    with np.errstate(all="ignore"):
        out[first:] = np.add.accumulate(np.concatenate(([seed], values[first:])))[1:]
    return True


def _difference(thing: Any, first: int, count: int) -> bool:  # noqa: ANN401
    one, other = _column(thing.data0, count), _column(thing.data1, count)
    fill_differences(one, other, first, _target(thing.line, count))
    return True


# ---------------------------------------------------------------- which `once` is filled how

_OPERATIONS: Final[dict[object, np.ufunc]] = {
    operator.add: np.add,
    operator.sub: np.subtract,
    operator.mul: np.multiply,
    operator.truediv: np.divide,
    operator.lt: np.less,
    operator.le: np.less_equal,
    operator.gt: np.greater,
    operator.ge: np.greater_equal,
    operator.eq: np.equal,
    operator.ne: np.not_equal,
}
_OWN_OPERATIONS: Final[tuple[tuple[object, Callable[..., object]], ...]] = (
    (operator.abs, np.absolute),
    (operator.neg, np.negative),
    (bool, _is_true),
)
_LOGIC: Final[dict[object, Callable[[list[Operand], Floats], bool]]] = {
    builtins.max: _largest,
    builtins.min: _smallest,
    builtins.all: _all_true,
    builtins.any: _any_true,
    math.fsum: _sum_of_two,
}
_REDUCED: Final[dict[object, Callable[[list[Operand], Floats], bool]]] = {
    functions._andlogic: _reduced_and,
    functions._orlogic: _reduced_or,
}
_WINDOWS: Final[dict[object, Callable[[Floats, int, int, Floats], bool]]] = {
    builtins.max: _highest,
    builtins.min: _lowest,
    builtins.all: _all,
    builtins.any: _any,
    math.fsum: _sum,
}
_SIGNS: Final = ((builtins.max, 1.0), (builtins.min, -1.0))
_AGES: Final[dict[object, bool]] = {FindFirstIndex.func: True, FindLastIndex.func: False}

_OF_OPERATION: Final = ("_once_op", "_once_val_op", "_once_val_op_r")


def _of_operation(cls: type, fill: Fill) -> tuple[object, Fill]:
    """An operation on lines: its `once` computes all of it."""
    return (LineRoot.preonce, LineRoot.oncestart, _methods(cls)[2]), fill


def _of_indicator(cls: type, fill: Fill) -> tuple[object, Fill]:
    """An indicator with the `oncestart` and the `once` of a class of Backtrader's."""
    return (LineIterator.preonce, *_methods(cls)[1:]), fill


_FILLS: Final[dict[object, Fill]] = dict(
    (
        _of_operation(LineRoot, _nothing),
        _of_operation(LinesOperation, _operation),
        _of_operation(LineOwnOperation, _own_operation),
        _of_operation(_LineDelay, _delay),
        _of_operation(_LineForward, _forward),
        _of_operation(functions.DivByZero, _quotient),
        _of_operation(functions.DivZeroByZero, _quotient_of_zeros),
        _of_operation(functions.Cmp, _compared),
        _of_operation(functions.CmpEx, _chosen_by_comparison),
        _of_operation(functions.If, _chosen),
        _of_operation(functions.MultiLogic, _logic),
        _of_indicator(LineIterator, _nothing),
        _of_indicator(OperationN, _window),
        _of_indicator(Average, _average),
        _of_indicator(ExponentialSmoothing, _smoothed),
        _of_indicator(ExponentialSmoothingDynamic, _smoothed_adaptively),
        _of_indicator(WeightedAverage, _weighted),
        _of_indicator(Accum, _accumulated),
        _of_indicator(NonZeroDifference, _difference),
    )
)
