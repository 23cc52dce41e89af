"""Interest: what borrowing shares and money costs, and what idle cash earns.

Belongs here: the accrual for some calendar days, a pure function. Does not belong here: when it is booked.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from broker.costs.commission import exact
from broker.errors import InvalidFillError

_CENT = Decimal("0.01")
_YEAR = 360  # money market convention of USD: actual days over 360


@dataclass(frozen=True, slots=True)
class Financing:
    """Annual rates as fractions; simple interest, actual/360.

    The defaults are plain assumptions, the same for all years: 0.25 % to borrow shares that are easy to borrow, 6 % on
    margin loans, nothing on idle cash.
    """

    borrow_rate: float = 0.0025
    margin_rate: float = 0.06
    cash_rate: float = 0.0

    def accrued(self, cash: float, short_value: float, days: int) -> float:
        """Interest for `days` calendar days, money: + received, - paid; rounded half up to cents.

        The proceeds of short sales lie with the lender as collateral: they earn nothing, and they repay no loan. What
        is left of `cash` without them earns `cash_rate` when positive and pays `margin_rate` when negative.

        Args:
            cash: cash balance, proceeds of short sales included.
            short_value: market value of all short positions, positive.
            days: calendar days since the last accrual; three over a weekend.

        Raises:
            InvalidFillError: an argument is not a number, or negative where it cannot be.
        """
        if not math.isfinite(cash) or not 0 <= short_value < math.inf or days < 0:
            raise InvalidFillError(f"interest: cash {cash!r}, short value {short_value!r}, days {days!r} cannot be.")
        own = cash - short_value
        rate = self.cash_rate if own >= 0 else self.margin_rate
        if not days or (not own * rate and not short_value):
            return 0.0  # the usual day of a long-only account
        yearly = exact("cash", own) * exact("rate", rate) - exact("short", short_value) * exact(
            "rate", self.borrow_rate
        )
        return float((yearly * days / _YEAR).quantize(_CENT, rounding=ROUND_HALF_UP))

    @property
    def notice(self) -> str | None:
        """What a result must say aloud, or None."""
        free = [
            name
            for name, rate in (("short positions", self.borrow_rate), ("margin loans", self.margin_rate))
            if not rate
        ]
        return f"No interest on {' and '.join(free)}." if free else None
