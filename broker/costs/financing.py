"""Interest: borrowed shares, borrowed money, idle money.

Belongs here: what a number of nights costs or earns. Does not belong here: when it is booked.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

_YEAR = 360.0  # IBKR counts actual days over 360
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Financing:
    """Annual rates as fractions. Proceeds of short sales are collateral and earn nothing."""

    borrow_rate: float = 0.0
    margin_rate: float = 0.0
    cash_rate: float = 0.0

    def accrued(self, cash: float, short_value: float, days: int) -> float:
        """Money for `days` nights, + earned, - paid, rounded half up to cents.

        Args:
            cash: of the account, proceeds of short sales included; negative is borrowed.
            short_value: market value of all short positions, positive.
            days: calendar days.

        >>> Financing(borrow_rate=0.036).accrued(cash=0.0, short_value=100_000.0, days=1)
        -10.0
        >>> Financing(margin_rate=0.06).accrued(cash=-60_000.0, short_value=0.0, days=3)
        -30.0
        """
        free = max(0.0, cash - short_value)
        amount = free * self.cash_rate + min(0.0, cash) * self.margin_rate - short_value * self.borrow_rate
        if not amount or not days:
            return 0.0
        return float(Decimal(repr(amount * days / _YEAR)).quantize(_CENT, rounding=ROUND_HALF_UP))
