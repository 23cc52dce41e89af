"""IBKR's US stock commissions, fixed and tiered, and no commission at all.

Belongs here: what one execution is charged. Does not belong here: prices (see `slippage`), interest (see `financing`).

Amounts are Decimal; each component is rounded half up to a millionth of a dollar, as the broker's statements show it.
Source: IBKR's pricing pages for US stocks.
"""

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Protocol

from broker.costs.fees import FeeSchedule

ZERO = Decimal(0)
_UNIT = Decimal("0.000001")
_CAP = Decimal("0.01")  # of the trade's value; it beats the minimum


@dataclass(frozen=True, slots=True)
class Charge:
    """What one execution costs, in USD, by who takes it."""

    commission: Decimal = ZERO
    exchange: Decimal = ZERO
    clearing: Decimal = ZERO
    regulatory: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """All of it."""
        return self.commission + self.exchange + self.clearing + self.regulatory


class Commissions(Protocol):
    """A schedule of commissions."""

    def charge(self, quantity: Decimal, price: Decimal, on: date, monthly_shares: Decimal) -> Charge:
        """What `quantity` shares (signed, + buys) at `price` cost on a day, after `monthly_shares` in its month."""
        ...


@dataclass(frozen=True, slots=True)
class NoCommissions:
    """Nothing is charged; a result that uses it says so."""

    def charge(self, quantity: Decimal, price: Decimal, on: date, monthly_shares: Decimal) -> Charge:
        """Nothing."""
        return Charge()


@dataclass(frozen=True, slots=True)
class FixedCommissions:
    """0.005 a share, at least 1.00, at most 1 % of the value; exchange and clearing included, fees on sales not."""

    fees: FeeSchedule
    per_share: Decimal = Decimal("0.005")
    minimum: Decimal = Decimal("1.00")

    def charge(self, quantity: Decimal, price: Decimal, on: date, monthly_shares: Decimal) -> Charge:
        """See the class."""
        shares = abs(quantity)
        commission = _bounded(shares * self.per_share, self.minimum, shares * price)
        return Charge(commission=_rounded(commission), regulatory=_rounded(_on_sale(self.fees, quantity, price, on)))


@dataclass(frozen=True, slots=True)
class TieredCommissions:
    """A rate a share that falls with the month's volume (marginal), at least 0.35, at most 1 % of the value.

    Exchange, clearing and the pass-throughs of NYSE and FINRA come on top; a trade is taken to remove liquidity.
    """

    fees: FeeSchedule
    minimum: Decimal = Decimal("0.35")
    tiers: tuple[tuple[Decimal | None, Decimal], ...] = (
        (Decimal(300_000), Decimal("0.0035")),
        (Decimal(3_000_000), Decimal("0.0020")),
        (Decimal(20_000_000), Decimal("0.0015")),
        (Decimal(100_000_000), Decimal("0.0010")),
        (None, Decimal("0.0005")),
    )

    def charge(self, quantity: Decimal, price: Decimal, on: date, monthly_shares: Decimal) -> Charge:
        """See the class."""
        shares = abs(quantity)
        commission = _bounded(self._by_tier(shares, monthly_shares), self.minimum, shares * price)
        passed_on = commission * (self.fees.nyse.on(on) + self.fees.finra.on(on))
        return Charge(
            commission=_rounded(commission),
            exchange=_rounded(shares * self.fees.exchange.on(on)),
            clearing=_rounded(shares * self.fees.clearing.on(on)),
            regulatory=_rounded(passed_on + _on_sale(self.fees, quantity, price, on)),
        )

    def _by_tier(self, shares: Decimal, before: Decimal) -> Decimal:
        """Each share at the rate of the tier it falls in."""
        amount, position, left = ZERO, before, shares
        for upper, rate in self.tiers:
            part = left if upper is None else min(left, max(ZERO, upper - position))
            amount, position, left = amount + part * rate, position + part, left - part
        return amount


def _bounded(amount: Decimal, minimum: Decimal, value: Decimal) -> Decimal:
    return min(max(amount, minimum), value * _CAP)


def _on_sale(fees: FeeSchedule, quantity: Decimal, price: Decimal, on: date) -> Decimal:
    """SEC fee and trading activity fee; sales only."""
    if quantity >= 0:
        return ZERO
    shares = -quantity
    return shares * price * fees.sec.on(on) + min(shares * fees.taf.on(on), fees.taf_cap.on(on))


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(_UNIT, rounding=ROUND_HALF_UP)
