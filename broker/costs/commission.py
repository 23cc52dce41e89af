"""What a fill costs: the broker's commission, exchanges, clearing, regulators. Exact decimals.

Belongs here: the arithmetic of IBKR's US stock schedules. Does not belong here: the rates themselves (`us_fees.yaml`),
slippage, interest.
"""

import math
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from broker.costs.fees import CommissionRates, FeeTable
from broker.errors import InvalidFillError

_MILLIONTH = Decimal("0.000001")
_ZERO = Decimal(0)
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Charge:
    """What one order pays, USD, each part exact and unrounded; `total` is what leaves the account."""

    commission: Decimal
    exchange: Decimal = _ZERO
    clearing: Decimal = _ZERO
    regulatory: Decimal = _ZERO  # SEC and FINRA fees on sales, NYSE and FINRA pass-through

    @property
    def total(self) -> Decimal:
        """The sum, rounded once, half up, to a millionth of a dollar, as IBKR reports what an execution cost."""
        exact = self.commission + self.exchange + self.clearing + self.regulatory
        return exact.quantize(_MILLIONTH, rounding=ROUND_HALF_UP)

    def times(self, multiple: int) -> "Charge":
        """Every part so many times."""
        return Charge(
            self.commission * multiple, self.exchange * multiple, self.clearing * multiple, self.regulatory * multiple
        )


NO_CHARGE = Charge(_ZERO)


def charge(
    rates: CommissionRates, fees: FeeTable, quantity: Decimal, price: Decimal, *, on: date, monthly_shares: Decimal
) -> Charge:
    """The charge for one order.

    Args:
        rates: the broker's own rates.
        fees: everybody else's.
        quantity: signed shares, negative for a sale.
        price: average price a share, USD.
        on: session of the trade; regulatory rates are those of this day.
        monthly_shares: shares traded earlier in the same calendar month.
    """
    shares = abs(quantity)
    value = shares * price
    # the cap beats the minimum: ten shares of five dollars pay 0.50
    commission = min(max(_tiered(rates, shares, monthly_shares), rates.minimum), value * rates.maximum_fraction)
    exchange = clearing = regulatory = _ZERO
    if rates.third_party:
        third = fees.third_party
        exchange = value * third.exchange_fraction_below_one_dollar if price < _ONE else shares * third.exchange
        clearing = shares * third.clearing
        regulatory = commission * third.pass_through
    if quantity < 0:
        sale = fees.on_sale(on)
        regulatory += value * sale.sec + min(shares * sale.activity, sale.activity_cap)
    return Charge(commission, exchange, clearing, regulatory)


def _tiered(rates: CommissionRates, shares: Decimal, before: Decimal) -> Decimal:
    """Each share at the rate of the tier that the month's count has reached with it."""
    due, at, end = _ZERO, before, before + shares
    for tier in rates.tiers:
        upper = end if tier.up_to is None else min(end, tier.up_to)
        if upper > at:
            due += (upper - at) * tier.rate
            at = upper
    return due


def exact(name: str, number: Decimal | float) -> Decimal:
    """A number as the decimal that a person reads in it: 0.1 is one tenth.

    Raises:
        InvalidFillError: not a finite number.
    """
    if isinstance(number, Decimal):
        if not number.is_finite():
            raise InvalidFillError(f"{name}: {number} is not a number.")
        return number
    if not math.isfinite(number):
        raise InvalidFillError(f"{name}: {number!r} is not a number.")
    return Decimal(repr(float(number)))
