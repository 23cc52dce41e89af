"""Fees and interest of the kernel: the arithmetic of `broker.costs`, compiled.

Belongs here: amounts of money as whole units, or the answer that floats cannot decide the rounding. Does not belong
here: rates (see `market`), when anything is charged (see `rules`).
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from strategies.declaration import Floats

UNCERTAIN = -1.0
"""Instead of an amount: the sum lies too near the middle of two units for floats to say which one it rounds to."""

CHARGED, MINIMUM, MAXIMUM_FRACTION, THIRD_PARTY, EXCHANGE, CLEARING, EXCHANGE_BELOW_ONE, PASSED_ON = range(8)
"""Places in the vector of rates."""
SEC, ACTIVITY, ACTIVITY_CAP = range(3)
"""Places in a row of fees on sales."""

_OF_THE_SUM = 1e-14  # error of the sum, as in `broker.costs.millionths`
_OF_THE_MONTH = 1e-11


@njit(cache=True)
def millionths(
    quantity: float, price: float, rates: Floats, tiers: npt.NDArray[np.float64], sale: Floats, before: float
) -> float:
    """What an order of `quantity` shares (negative for a sale) pays, in whole millionths of a dollar.

    Args:
        quantity: signed shares.
        price: average price.
        rates: see `CHARGED` and the places behind it.
        tiers: rows of (shares of the month up to which it holds, rate a share).
        sale: see `SEC` and the places behind it.
        before: shares traded earlier in the month.
    """
    if rates[CHARGED] == 0.0 or quantity == 0.0:
        return 0.0
    shares = abs(quantity)
    value = shares * price
    if not (price >= 0.0 and before >= 0.0 and value < math.inf):
        return UNCERTAIN
    due, at, end = 0.0, before, before + shares
    for tier in range(len(tiers)):
        upper = min(end, tiers[tier, 0])
        if upper > at:
            due += (upper - at) * tiers[tier, 1]
            at = upper
    due = min(max(due, rates[MINIMUM]), value * rates[MAXIMUM_FRACTION])
    if rates[THIRD_PARTY] != 0.0:
        exchange = value * rates[EXCHANGE_BELOW_ONE] if price < 1.0 else shares * rates[EXCHANGE]
        due += exchange + shares * rates[CLEARING] + due * rates[PASSED_ON]
    if quantity < 0.0:
        due += value * sale[SEC] + min(shares * sale[ACTIVITY], sale[ACTIVITY_CAP])
    due *= 1_000_000.0
    whole = math.floor(due)
    error = due * _OF_THE_SUM + (shares + before) * _OF_THE_MONTH
    if abs(due - whole - 0.5) <= error or due > 2.0**52:
        return UNCERTAIN
    if due - whole > 0.5:
        return whole + 1.0
    return whole + 0.0


@njit(cache=True)
def cents(cash: float, short_value: float, days: float, borrow: float, margin: float, credit: float) -> float:
    """Interest in whole cents, signed, or NaN where floats cannot decide it; see `Financing.accrued`."""
    own = cash - short_value
    rate = credit if own >= 0.0 else margin
    if days == 0.0 or (own * rate == 0.0 and short_value == 0.0):
        return 0.0
    due = (own * rate - short_value * borrow) * days / 360.0 * 100.0
    size = abs(due)
    whole = math.floor(size)
    error = (abs(own) * rate + short_value * borrow + 1.0) * days * 1e-14
    if not size < 2.0**52 or abs(size - whole - 0.5) <= error:
        return math.nan
    rounded = whole + 1.0 if size - whole > 0.5 else whole
    return math.copysign(rounded, due)
