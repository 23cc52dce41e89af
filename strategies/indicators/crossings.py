"""One line crossing another.

Belongs here: crossings. Does not belong here: the lines.
"""

import numpy as np
from numba import njit

from strategies.indicators.averages import Floats


@njit(cache=True)
def crossover(first: Floats, second: Floats) -> Floats:
    """1 where `first` has crossed above `second`, -1 where below, else 0, as `bt.ind.CrossOver`.

    A crossing is from one side to the other; bars at which the lines are equal are neither. The first value is one bar
    after both lines have begun; NaN before.
    """
    count = len(first)
    result = np.full(count, np.nan)
    begin = 0
    while begin < count and (np.isnan(first[begin]) or np.isnan(second[begin])):
        begin += 1
    if begin >= count:
        return result
    side = first[begin] - second[begin]  # the last difference that was not zero
    for at in range(begin + 1, count):
        result[at] = 0.0
        if side < 0.0 and first[at] > second[at]:
            result[at] = 1.0
        elif side > 0.0 and first[at] < second[at]:
            result[at] = -1.0
        difference = first[at] - second[at]
        if difference != 0.0:
            side = difference
    return result
