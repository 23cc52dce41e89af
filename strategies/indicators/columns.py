"""Columns of numbers as the compiled loops want them.

Belongs here: what every formula does with its input before and after a loop. Does not belong here: formulas.

A loop is compiled once for each kind of array that it is given: all inputs go in read-only, contiguous and of doubles,
all results come out of arrays made here, so that there is one kind of each.
"""

import math

import numpy as np
import numpy.typing as npt

from strategies.errors import StrategyError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def read_only(values: Floats) -> Floats:
    """The same numbers as a contiguous array of doubles that nobody can write to; no copy where they are one."""
    column = np.ascontiguousarray(values, dtype=np.float64)
    if column.flags.writeable:
        column = column.view()
        column.flags.writeable = False
    return column


def not_ready(count: int) -> Floats:
    """A column of `count` NaN."""
    return np.full(count, np.nan)


def warm_up(*columns: Floats) -> int:
    """How many leading values some of these columns are NaN for: the warm-up of what made them."""
    return max(_leading(column) for column in columns)


def _leading(column: Floats) -> int:
    if len(column) == 0 or not math.isnan(column[0]):
        return 0
    missing = np.isnan(column)
    first = int(missing.argmin())
    return len(column) if missing[first] else first


def check_period(name: str, period: int) -> int:
    """A period as given.

    Raises:
        StrategyError: it is not a whole number of at least one bar.
    """
    if not isinstance(period, int | np.integer) or period < 1:
        raise StrategyError(f"{name}: {period!r} is not a whole number of bars, at least 1.")
    return int(period)


def check_lengths(*columns: Floats) -> None:
    """Columns of one symbol have one length.

    Raises:
        StrategyError: these do not.
    """
    if len({len(column) for column in columns}) > 1:
        raise StrategyError(f"columns: lengths differ, {', '.join(str(len(column)) for column in columns)}.")


def shifted(values: Floats, bars: int) -> Floats:
    """The values of `bars` bars before, as `line(-bars)`; the first value is at index `bars`.

    Raises:
        StrategyError: `bars` is negative; a value of the future is none.
    """
    if bars < 0:
        raise StrategyError(f"bars: {bars} looks into the future.")
    result = not_ready(len(values))
    result[bars:] = values[: max(len(values) - bars, 0)]
    return result
