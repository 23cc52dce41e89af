"""One line crossing another.

Belongs here: crossings. Does not belong here: the lines.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from strategies.indicators.columns import Floats, check_lengths, read_only

Bools = npt.NDArray[np.bool_]


class Crossings(NamedTuple):
    """Where a line crosses another, one truth value a bar."""

    above: Bools
    below: Bools


def crossings(first: Floats, second: Floats | float) -> Crossings:
    """Where `first` has crossed above `second` and where below: the signs of `crossover`, as decisions.

    Args:
        first: the line that crosses.
        second: the line, or the level, that is crossed.

    Raises:
        StrategyError: the lines differ in length.
    """
    return _found(first, second)[1]


def crossover(first: Floats, second: Floats | float) -> Floats:
    """1 where `first` has crossed above `second`, -1 where below, else 0, as `bt.ind.CrossOver`.

    A crossing is from one side to the other; bars at which the lines are equal are neither. The first value is one bar
    after both lines have begun; NaN before.

    Args:
        first: the line that crosses.
        second: the line, or the level, that is crossed.

    Raises:
        StrategyError: the lines differ in length.
    """
    begin, (above, below) = _found(first, second)
    result = above.astype(np.float64)
    result -= below
    result[: begin + 1] = np.nan
    return result


def _found(first: Floats, second: Floats | float) -> tuple[int, Crossings]:
    """The index of the first bar that both lines have, and the crossings."""
    one = read_only(first)
    other = read_only(second) if isinstance(second, np.ndarray) else read_only(np.full(len(one), second))
    check_lengths(one, other)
    found = Crossings(np.empty(len(one), np.bool_), np.empty(len(one), np.bool_))
    return _fill_crossings(one, other, *found), found


@njit(cache=True)
def _fill_crossings(first: Floats, second: Floats, above: Bools, below: Bools) -> int:
    count = len(first)
    begin = other = 0
    while begin < count and np.isnan(first[begin]):
        begin += 1
    while other < count and np.isnan(second[other]):
        other += 1
    begin = max(begin, other)
    above[: begin + 1] = False
    below[: begin + 1] = False
    # slices, because indices that cannot be negative let several bars go at once
    one, two, rises, falls = first[begin:], second[begin:], above[begin:], below[begin:]
    equal = 0
    for at in range(1, len(one)):
        before = one[at - 1] - two[at - 1]
        rises[at] = (before < 0.0) & (one[at] > two[at])
        falls[at] = (before > 0.0) & (one[at] < two[at])
        equal |= before == 0.0
    if equal:
        side = 0.0  # the last difference that was not zero
        for at in range(1, len(one)):
            if one[at - 1] - two[at - 1] == 0.0:
                if at > 1 and one[at - 2] - two[at - 2] != 0.0:
                    side = one[at - 2] - two[at - 2]
                rises[at] = (side < 0.0) & (one[at] > two[at])
                falls[at] = (side > 0.0) & (one[at] < two[at])
    return begin
