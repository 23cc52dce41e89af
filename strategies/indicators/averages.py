"""Averages of the last bars, equal to Backtrader's bit for bit.

Belongs here: averages. Does not belong here: what is made of them.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]

_RESEED = 1024  # windows after which the running sum is begun anew
_UNIT = 2.0**-53


@njit(cache=True)
def _exact_sum(values: Floats, start: int, stop: int) -> float:  # noqa: C901 (one algorithm)
    """The sum of `values[start:stop]`, rounded once, as `math.fsum` (Shewchuk 1997, grow-expansion)."""
    partials = np.empty(stop - start + 1)
    count = 0
    for at in range(start, stop):
        x = values[at]
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
        if x != 0.0:
            partials[kept] = x
            kept += 1
        count = kept
    if count == 0:
        return 0.0
    total: float = partials[count - 1]
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
    return total


@njit(cache=True)
def _window_by_window(values: Floats, period: int) -> Floats:
    """Means of windows that may hold infinities or NaN."""
    result = np.full(len(values), np.nan)
    for at in range(period - 1, len(values)):
        start = at - period + 1
        if np.isfinite(values[start : at + 1]).all():
            result[at] = _exact_sum(values, start, at + 1) / period
        else:
            result[at] = values[start : at + 1].sum() / period
    return result


@njit(cache=True)
def sma(values: Floats, period: int) -> Floats:
    """Simple moving average; the first value is at index `period - 1`, as `bt.ind.SMA`.

    Backtrader divides `math.fsum` of each window, the correctly rounded sum. Here the sum slides, kept as two doubles
    with a bound on its error; where the bound does not decide the rounding, the window is summed exactly.
    """
    count = len(values)
    result = np.full(count, np.nan)
    if period > count:
        return result
    high = low = largest = 0.0
    steps = 0
    for at in range(count):
        entering = values[at]
        if not np.isfinite(entering):
            result[:] = _window_by_window(values, period)
            return result
        total = high + entering
        part = total - high
        low += (high - (total - part)) + (entering - part)
        high = total
        if at >= period:
            leaving = -values[at - period]
            total = high + leaving
            part = total - high
            low += (high - (total - part)) + (leaving - part)
            high = total
        largest = max(largest, abs(high), abs(entering))
        steps += 2
        if at < period - 1:
            continue
        total = high + low
        part = total - high
        tail = (high - (total - part)) + (low - part)
        unit = abs(np.nextafter(total, np.inf) - total)
        bound = 4.0 * steps * _UNIT * _UNIT * largest
        near_power = abs(total - np.nextafter(total, 0.0)) != unit
        if abs(abs(tail) - 0.5 * unit) > bound and not near_power and np.isfinite(total):
            result[at] = total / period
        else:
            result[at] = _exact_sum(values, at - period + 1, at + 1) / period
        if steps > 2 * _RESEED and steps > period:
            high = low = largest = 0.0
            for index in range(at - period + 1, at + 1):
                total = high + values[index]
                part = total - high
                low += (high - (total - part)) + (values[index] - part)
                high = total
                largest = max(largest, abs(high), abs(values[index]))
            steps = period
    return result
