"""Loops over windows that slide along a column: sums, extremes.

Belongs here: compiled loops that give, bit for bit, what Python's `math.fsum`, `max` and `min` give for each window.
Does not belong here: named indicators.

Every loop fills `out[first:]` from the windows of `period` values that end there, and leaves the rest alone.
"""

import numpy as np
from numba import njit

from strategies.indicators.columns import Floats, Integers

_EXPONENT = 52  # bits of a double below its exponent
_BIAS = 1023
_MAGNITUDE = 2**63 - 1  # all of a double but its sign
_MODERATE = 900  # exponents of numbers that are halved and doubled without a thought
_SURE = 2.0**-51  # of a tail: more than adding the margin to it can lose
_LARGE = 2.0**1000
_RENEW = 4096  # steps after which the running sum is made anew: a loss is carried along until then


@njit(cache=True)
def exact_sum(values: Floats, start: int, stop: int, partials: Floats) -> tuple[float, bool]:  # noqa: C901, PLR0912
    """The sum of `values[start:stop]` as `math.fsum`: rounded once (Shewchuk 1997, grow-expansion).

    Args:
        values: what to sum.
        start: index of the first.
        stop: index behind the last.
        partials: scratch, longer than the window.

    Returns:
        The sum, and whether there is one: `math.fsum` raises where partial sums overflow and where infinities of both
        signs meet.
    """
    count = 0
    special = infinite = 0.0
    for at in range(start, stop):
        value = x = values[at]
        kept = 0
        for index in range(count):
            y = partials[index]
            if abs(x) < abs(y):
                x, y = y, x
            high = x + y
            low = y - (high - x)
            if low != 0.0:
                partials[kept] = low
                kept += 1
            x = high
        count = kept
        if np.isfinite(x):
            if x != 0.0:
                partials[count] = x
                count += 1
        elif np.isfinite(value):
            return x, False
        else:
            if np.isinf(value):
                infinite += value
            special += value
            count = 0
    if special != 0.0:
        return special, not np.isnan(infinite)
    if count == 0:
        return 0.0, True
    total = partials[count - 1]
    rest = count - 1
    low = 0.0
    while rest > 0:
        x = total
        rest -= 1
        y = partials[rest]
        total = x + y
        low = y - (total - x)
        if low != 0.0:
            break
    # a tail of exactly half a unit is rounded by the sign of what lies below it
    if rest > 0 and ((low < 0.0 and partials[rest - 1] < 0.0) or (low > 0.0 and partials[rest - 1] > 0.0)):
        doubled = low * 2.0
        corrected = total + doubled
        if doubled == corrected - total:
            total = corrected
    return total, True


def fill_sums(values: Floats, first: int, period: int, divisor: float, out: Floats) -> int:
    """`math.fsum(window) / divisor` of every window.

    Returns:
        -1, or the index of the first window that `math.fsum` refuses.
    """
    if first >= len(values):
        return -1
    unit = common_unit(values.view(np.int64), first - period + 1, period)
    if unit > 0.0:
        fill_close_sums(values, first, period, divisor, unit, out)
        return -1
    return int(fill_wide_sums(values, first, period, divisor, out))  # rare, and compiled only where it is needed


@njit(cache=True, error_model="numpy")
def fill_close_sums(values: Floats, first: int, period: int, divisor: float, unit: float, out: Floats) -> None:  # noqa: PLR0917
    """`fill_sums` of numbers that a `common_unit` parts."""
    begin = first - period + 1
    # adding and taking away what has no room for fractions of `unit` leaves the nearest multiple of it
    rounder = unit * 1.5 * 2.0**52
    coarse = fine = 0.0
    for value in values[begin:first]:
        part = (value + rounder) - rounder
        coarse += part
        fine += value - part
    gone_coarse = gone_fine = 0.0
    entering, leaving, result = values[first:], values[begin:], out[first:]
    for at in range(len(entering)):
        part = (entering[at] + rounder) - rounder
        coarse += part - gone_coarse
        fine += (entering[at] - part) - gone_fine
        result[at] = (coarse + fine) / divisor
        gone_coarse = (leaving[at] + rounder) - rounder
        gone_fine = leaving[at] - gone_coarse


@njit(cache=True)
def common_unit(patterns: Integers, begin: int, period: int) -> float:
    """A power of two such that sums of multiples of it and sums of the remainders are exact; 0 where there is none.

    Every number is a whole multiple of the last place of the smallest. As the sum of a multiple of the unit and of a
    remainder of at most half the unit, it takes part in two sums that need no rounding while neither passes 2**53 of
    its steps, over a window and one value more. Adding the two then rounds once, as `math.fsum` does.

    Args:
        patterns: the numbers' bits.
        begin: index of the first that counts.
        period: numbers in a window.
    """
    those = patterns[begin:]
    smallest, largest = _MAGNITUDE, 0
    for at in range(len(those)):
        size = those[at] & _MAGNITUDE
        largest = max(largest, size)
        smallest = min(smallest, size if size != 0 else _MAGNITUDE)
    if largest == 0:
        return 1.0
    low, high = (smallest >> _EXPONENT) - _BIAS, (largest >> _EXPONENT) - _BIAS
    if low < -_MODERATE or high > _MODERATE:
        return 0.0
    room = 1  # windows of one value more than they have are sums of fewer than 2**room
    while period + 1 >= 2**room:
        room += 1
    # remainders are multiples of 2**(low - 52), the sum of as many halves of the unit has to stay below 2**(low + 1)
    unit = low + 1 - room
    # the multiples are below 2**(high + 2), their sum has to stay below 2**53 units
    if high + 2 + room > unit + 52:
        return 0.0
    return 2.0**unit


@njit(cache=True, error_model="numpy")
def fill_wide_sums(values: Floats, first: int, period: int, divisor: float, out: Floats) -> int:  # noqa: C901, PLR0912, PLR0915
    """`fill_sums` of numbers that are too large, too small or too different for sums without rounding.

    The sum slides as two doubles, with a bound on what their additions have lost. Where nothing was lost, or every
    number within the bound rounds to the same double, that is the correctly rounded sum. Where not, the two are made
    anew from the window, and where that does not decide either, the window is summed exactly.

    Returns:
        -1, or the index of the first window that `math.fsum` refuses.
    """
    largest = 0.0
    for at in range(first - period + 1, len(values)):
        size = abs(values[at])
        if size > largest and size < np.inf:
            largest = size
    large = largest > _LARGE / period  # partial sums may overflow: only the exact way knows
    partials = np.empty(period + 1)
    odd = nans = 0  # values in the window that are not finite
    for at in range(first - period + 1, min(first, len(values))):
        if not np.isfinite(values[at]):
            odd += 1
            nans += np.isnan(values[at])
    high = low = lost = 0.0
    fresh = False  # whether `high + low` is the sum of the window before
    since = 0
    for at in range(first, len(values)):
        entering = values[at]
        if not np.isfinite(entering):
            odd += 1
            nans += np.isnan(entering)
        leaving = 0.0
        if at > first:
            leaving = values[at - period]
            if not np.isfinite(leaving):
                odd -= 1
                nans -= np.isnan(leaving)
        if odd or large:
            fresh = False
            total, known = np.nan, True
            if large or nans < odd:
                total, known = exact_sum(values, at - period + 1, at + 1, partials)
            if not known:
                return at
            out[at] = total / divisor
            continue
        if fresh:
            change = entering - leaving
            part = change - entering
            rest = (entering - (change - part)) + (-leaving - part)
            total = high + change
            part = total - high
            error = (high - (total - part)) + (change - part)
            high = total
            total = error + rest
            part = total - error
            lost += abs((error - (total - part)) + (rest - part))
            error = total
            total = low + error
            part = total - low
            lost += abs((low - (total - part)) + (error - part))
            low = total
            since += 1
        if not fresh or since > _RENEW:
            high = low = lost = 0.0
            for index in range(at - period + 1, at + 1):
                value = values[index]
                total = high + value
                part = total - high
                error = (high - (total - part)) + (value - part)
                high = total
                total = low + error
                part = total - low
                lost += abs((low - (total - part)) + (error - part))
                low = total
            fresh, since = True, 0
        total = high + low
        if lost != 0.0:
            part = total - high
            tail = (high - (total - part)) + (low - part)
            margin = 2.0 * lost + _SURE * abs(tail)
            if total + (tail - margin) != total or total + (tail + margin) != total:
                total, _ = exact_sum(values, at - period + 1, at + 1, partials)
                fresh = False
        out[at] = total / divisor
    return -1


@njit(cache=True)
def fill_extremes(values: Floats, first: int, period: int, sign: float, out: Floats) -> None:
    """`max(window)` of every window for a `sign` of 1, `min(window)` for -1.

    As Python's: of equal values (0 and -0) the oldest, NaN where the oldest value is NaN, other NaN passed over.
    """
    waiting = np.empty(len(values), np.int64)  # the candidates from `head` to `tail`, the best first, each newer
    head = tail = 0
    for at in range(first - period + 1, len(values)):
        if head < tail and waiting[head] <= at - period:
            head += 1
        value = sign * values[at]
        if not np.isnan(value):
            while head < tail and sign * values[waiting[tail - 1]] < value:
                tail -= 1
            waiting[tail] = at
            tail += 1
        if at >= first:
            oldest = values[at - period + 1]
            out[at] = oldest if np.isnan(oldest) else values[waiting[head]]


@njit(cache=True)
def fill_ages(values: Floats, first: int, period: int, sign: float, latest: bool, out: Floats) -> int:  # noqa: PLR0917
    """How many bars ago the extreme of every window was; of equal ones the latest or the earliest counts.

    Returns:
        -1, or the index of the first window that has no extreme because its oldest value is NaN.
    """
    waiting = np.empty(len(values), np.int64)
    head = tail = 0
    for at in range(first - period + 1, len(values)):
        if head < tail and waiting[head] <= at - period:
            head += 1
        value = sign * values[at]
        if not np.isnan(value):
            while head < tail:
                newest = sign * values[waiting[tail - 1]]
                if newest > value or (newest == value and not latest):
                    break
                tail -= 1
            waiting[tail] = at
            tail += 1
        if at >= first:
            oldest = values[at - period + 1]
            if np.isnan(oldest):
                return at
            out[at] = float(at - waiting[head])
    return -1


@njit(cache=True)
def fill_weighted(values: Floats, first: int, weights: Floats, coefficient: float, out: Floats) -> int:
    """`coefficient * math.fsum(value * weight ...)` of every window of as many values as there are weights.

    Returns:
        -1, or the index of the first window that `math.fsum` refuses.
    """
    period = len(weights)
    products = np.empty(period)
    partials = np.empty(period + 1)
    for at in range(first, len(values)):
        high = low = lost = largest = 0.0
        for index in range(period):
            product = values[at - period + 1 + index] * weights[index]
            products[index] = product
            total = high + product
            part = total - high
            error = (high - (total - part)) + (product - part)
            high = total
            total = low + error
            part = total - low
            lost += abs((low - (total - part)) + (error - part))
            low = total
            largest = max(largest, abs(high))
        total = high + low
        part = total - high
        tail = (high - (total - part)) + (low - part)
        margin = 2.0 * lost + _SURE * abs(tail)
        # nothing is certain where a value is not finite: then the comparisons are false
        if not (largest < _LARGE and total + (tail - margin) == total and total + (tail + margin) == total):
            total, known = exact_sum(products, 0, period, partials)
            if not known:
                return at
        out[at] = coefficient * total
    return -1
