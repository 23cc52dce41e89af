"""How many shares a wanted weight means.

Belongs here: arithmetic from equity, cash and price to whole shares. Does not belong here: limits (see `risk`), orders.
"""

import math


def target_shares(
    weight: float, *, equity: float, price: float, held: float, free_cash: float, cash_reserve: float
) -> float:
    """The position to aim at, in whole shares, signed.

    A buy never asks for more than the free cash pays for after the reserve, which is the room for commission and for
    an open above the close the decision was made at. Covering a short is never held back by cash.

    Args:
        weight: wanted value of the position as a signed fraction of equity; 0 means flat.
        equity: account value, money.
        price: last close.
        held: shares held now, signed; may be fractional.
        free_cash: cash that no working order has claimed.
        cash_reserve: fraction of the free cash that stays unspent.

    >>> target_shares(0.95, equity=10_000, price=100.0, held=0, free_cash=10_000, cash_reserve=0.05)
    95.0
    >>> target_shares(0.95, equity=10_000, price=100.0, held=0, free_cash=2_000, cash_reserve=0.05)
    19.0
    >>> target_shares(-0.5, equity=10_000, price=30.0, held=95, free_cash=0, cash_reserve=0.05)
    -166.0
    """
    if not (math.isfinite(price) and price > 0 and equity > 0):
        return held if weight else 0.0
    wanted = math.copysign(_whole(abs(weight) * equity / price), weight)
    if weight <= 0:
        return wanted
    affordable = held + max(0.0, _whole(free_cash * (1.0 - cash_reserve) / price))
    return max(min(wanted, affordable), min(held, wanted), 0.0)


def _whole(shares: float) -> float:
    """Whole shares, forgiving the last bit: 94.99999999999999 shares were meant to be 95."""
    return float(math.floor(shares * (1.0 + 1e-12)))
