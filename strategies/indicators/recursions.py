"""Loops in which a value depends on the value before.

Belongs here: compiled loops of smoothing, of remembered differences and of powers, Backtrader's operations in its
order.
Does not belong here: loops over windows (see `windows`), named indicators.

Every loop fills `out[first:]` and leaves the rest alone.
"""

import math

import numpy as np
from numba import njit

from strategies.indicators.columns import Floats
from strategies.indicators.windows import exact_sum


@njit(cache=True)
def fill_smoothed(values: Floats, first: int, period: int, keep: float, take: float, out: Floats) -> int:  # noqa: PLR0917
    """The mean of the first window, then `before * keep + value * take`.

    Returns:
        -1, or the index of the first window where `math.fsum` refuses it.
    """
    if first >= len(values):
        return -1
    total, known = exact_sum(values, first - period + 1, first + 1, np.empty(period + 1))
    if not known:
        return first
    now = total / period
    out[first] = now
    for at in range(first + 1, len(values)):
        now = now * keep + values[at] * take
        out[at] = now
    return -1


@njit(cache=True)
def fill_adaptive(values: Floats, first: int, period: int, keep: Floats, take: Floats, out: Floats) -> int:  # noqa: PLR0917
    """As `fill_smoothed`, with other weights at each bar."""
    if first >= len(values):
        return -1
    total, known = exact_sum(values, first - period + 1, first + 1, np.empty(period + 1))
    if not known:
        return first
    now = total / period
    out[first] = now
    for at in range(first + 1, len(values)):
        now = now * keep[at] + values[at] * take[at]
        out[at] = now
    return -1


@njit(cache=True)
def fill_differences(minuend: Floats, subtrahend: Floats, first: int, out: Floats) -> None:
    """The difference at each bar, or the last one that was not zero where it is zero."""
    if first >= len(minuend):
        return
    last = minuend[first] - subtrahend[first]
    out[first] = last
    for at in range(first + 1, len(minuend)):
        difference = minuend[at] - subtrahend[at]
        if difference != 0.0:
            last = difference
        out[at] = last


@njit(cache=True)
def fill_powers(values: Floats, exponent: float, first: int, out: Floats) -> int:
    """`value ** exponent` by the C library, as Python's.

    Returns:
        -1, or the index of the first value where Python raises or gives a complex number.
    """
    whole = math.floor(exponent) == exponent
    finite = np.isfinite(exponent)
    for at in range(first, len(values)):
        value = values[at]
        power = math.pow(value, exponent)
        impossible = (value == 0.0 and exponent < 0.0) or (value < 0.0 and not whole) or not np.isfinite(power)
        if impossible and finite and np.isfinite(value):
            return at
        out[at] = power
    return -1
