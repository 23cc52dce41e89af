"""What an order pays as a whole number of millionths of a dollar, the unit to which a charge is rounded.

Belongs here: the arithmetic of `commission` in floats where that provably rounds to the same millionth. Does not belong
here: rates, what is charged and when.

A backtest asks for thousands of charges. Floats are several times quicker than decimals, and their error is known: only
where the sum lies so close to the middle of two millionths that the error could decide are decimals asked.
"""

import math
from datetime import date
from typing import Final

from broker.costs.fees import CommissionRates, ThirdPartyFees, fee_table
from broker.costs.model import CostModel

MILLION: Final = 1_000_000

# Fewer than twenty roundings, each of at most 2^-53 of a part of the sum, and what the reading of a float as the
# decimal that a person reads in it adds: less than 3e-15 of the sum. Shares of a month are a difference of two large
# numbers, whose rounding does not shrink with the sum.
_OF_THE_SUM: Final = 1e-14
_OF_THE_MONTH: Final = 1e-11


class Millionths:
    """`CostModel.commission(...).total` in millionths of a dollar, for one cost model."""

    def __init__(self, costs: CostModel) -> None:
        self._costs = costs
        self._rates = None if costs.rates is None else _Rates(costs.rates, fee_table().third_party)
        self._sales: dict[date, tuple[float, float, float]] = {}
        self._unit = float(MILLION * costs.multiple)  # of a charge without multiple

    def charge(self, quantity: float, price: float, on: date, *, monthly_shares: float = 0.0) -> int:
        """The total charge of one order; arguments and errors as of `CostModel.commission`."""
        rates = self._rates
        plain = price >= 0.0 and monthly_shares >= 0.0 and math.isfinite(quantity * price) and monthly_shares < math.inf
        if not plain:
            return self._exactly(quantity, price, on, monthly_shares)
        if rates is None or not quantity:
            return 0
        shares = abs(quantity)
        due = rates.of(shares, price, monthly_shares)
        if quantity < 0:
            sec, activity, cap = self._sales.get(on) or self._learn(on)
            due += shares * price * sec + min(shares * activity, cap)
        due *= self._unit
        whole = math.floor(due)
        error = due * _OF_THE_SUM + (shares + monthly_shares) * _OF_THE_MONTH * self._costs.multiple
        if abs(due - whole - 0.5) <= error or due > 2**52:
            return self._exactly(quantity, price, on, monthly_shares)
        return whole + (due - whole > 0.5)

    def at_most(self, shares: float, price: float) -> float:
        """USD that no order of so many shares (positive) at that price pays more than."""
        rates = self._rates
        if rates is None:
            return 0.0
        once = rates.minimum + shares * rates.most_a_share + shares * price * rates.most_of_value
        return 1.01 * once * self._costs.multiple

    def _exactly(self, quantity: float, price: float, on: date, monthly_shares: float) -> int:
        return int(self._costs.commission(quantity, price, on, monthly_shares=monthly_shares).total * MILLION)

    def _learn(self, on: date) -> tuple[float, float, float]:
        sale = fee_table().on_sale(on)
        self._sales[on] = learnt = float(sale.sec), float(sale.activity), float(sale.activity_cap)
        return learnt


class _Rates:
    """What both sides of a trade pay, as floats."""

    def __init__(self, rates: CommissionRates, third: ThirdPartyFees) -> None:
        self._tiers = [
            (math.inf if tier.up_to is None else float(tier.up_to), float(tier.rate)) for tier in rates.tiers
        ]
        self.minimum = float(rates.minimum)
        self._maximum_fraction = float(rates.maximum_fraction)
        self._third_party = rates.third_party
        self._exchange, self._clearing = float(third.exchange), float(third.clearing)
        self._exchange_below_one = float(third.exchange_fraction_below_one_dollar)
        self._passed_on = float(third.pass_through)
        sales = fee_table().sale_fees
        self.most_a_share = (
            2 * max(rate for _, rate in self._tiers)
            + self._exchange
            + self._clearing
            + float(max(sale.activity for sale in sales))
        )
        self.most_of_value = self._exchange_below_one + float(max(sale.sec for sale in sales))

    def of(self, shares: float, price: float, before: float) -> float:
        """USD of an order but for the fees on sales; `before` are the month's earlier shares."""
        value = shares * price
        due = min(max(self._by_tier(shares, before), self.minimum), value * self._maximum_fraction)
        if not self._third_party:
            return due
        exchange = value * self._exchange_below_one if price < 1.0 else shares * self._exchange
        return due + exchange + shares * self._clearing + due * self._passed_on

    def _by_tier(self, shares: float, before: float) -> float:
        if len(self._tiers) == 1:
            return shares * self._tiers[0][1]
        due, at, end = 0.0, before, before + shares
        for up_to, rate in self._tiers:
            upper = min(end, up_to)
            if upper > at:
                due += (upper - at) * rate
                at = upper
        return due


def dollars(millionths: int) -> float:
    """The float nearest to that many millionths: what `float` makes of the decimal.

    >>> dollars(1_005_000)
    1.005
    """
    return millionths / MILLION
