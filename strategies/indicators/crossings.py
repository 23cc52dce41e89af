"""One line crossing another.

Belongs here: crossings. Does not belong here: the lines.
"""

import numpy as np
from numba import njit

from strategies.indicators.columns import Floats, check_lengths, read_only


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
    one = read_only(first)
    other = read_only(second) if isinstance(second, np.ndarray) else read_only(np.full(len(one), second))
    check_lengths(one, other)
    result = np.empty(len(one))
    begin = _fill_crossings(one, other, result)
    if begin >= 0:
        _fill_touching(one, other, begin, result)
    return result


@njit(cache=True)
def _fill_crossings(first: Floats, second: Floats, out: Floats) -> int:
    """Crossings of lines that differ at every bar; -1, or the index of their first bar where they do not."""
    count = len(first)
    begin = other = 0
    while begin < count and np.isnan(first[begin]):
        begin += 1
    while other < count and np.isnan(second[other]):
        other += 1
    begin = max(begin, other)
    out[: begin + 1] = np.nan
    # slices, because indices that cannot be negative let several bars go at once
    one, two, crossing = first[begin:], second[begin:], out[begin:]
    equal = 0
    for at in range(1, len(one)):
        before, now = one[at - 1] - two[at - 1], one[at] - two[at]
        rises = (before < 0.0) & (one[at] > two[at])
        falls = (before > 0.0) & (one[at] < two[at])
        crossing[at] = np.float64(rises) - np.float64(falls)
        equal |= (before == 0.0) | (now == 0.0)
    return begin if equal else -1


@njit(cache=True)
def _fill_touching(first: Floats, second: Floats, begin: int, out: Floats) -> None:
    side = first[begin] - second[begin]  # the last difference that was not zero
    for at in range(begin + 1, len(first)):
        out[at] = 0.0
        if side < 0.0 and first[at] > second[at]:
            out[at] = 1.0
        elif side > 0.0 and first[at] < second[at]:
            out[at] = -1.0
        difference = first[at] - second[at]
        if difference != 0.0:
            side = difference
