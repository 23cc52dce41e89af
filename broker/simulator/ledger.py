"""The account: cash and positions in exact decimals, and the figures that follow from them.

Belongs here: what a fill, interest or a transfer does to the account, margin. Does not belong here: orders, prices.

Three equations hold after every booking, to the last digit:

- cash = cash at the start - signed value of all fills - fees + interest;
- net liquidation = cash + quantity x price of every position;
- net liquidation = cash at the start + realised + unrealised profit + interest + value of transfers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from broker.costs.commission import exact

ZERO: Final = Decimal(0)
_STEP: Final = Decimal("0.00000001")
"""Prices and shares of a cost are rounded to this, so that sums of products stay within 28 digits and are exact."""


def stepped(amount: Decimal) -> Decimal:
    """An amount on the grid of `_STEP`."""
    return amount.quantize(_STEP, rounding=ROUND_HALF_EVEN)


def price_of(price: float) -> Decimal:
    """A market price as the account counts it."""
    return stepped(exact("price", price))


@dataclass(slots=True)
class Position:
    """Shares held; `cost` is what they cost, fees included, negative for a short position's proceeds."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO

    @property
    def average(self) -> Decimal:
        """Cost a share, zero when flat."""
        return stepped(self.cost / self.quantity) if self.quantity else ZERO


@dataclass(frozen=True, slots=True)
class MarginRules:
    """What the account may do; the rates are fractions of a position's value."""

    margin_account: bool = True
    initial: Decimal = Decimal("0.5")
    maintenance: Decimal = Decimal("0.25")


@dataclass(frozen=True, slots=True)
class Figures:
    """The account's figures at one set of prices."""

    cash: Decimal
    stock_value: Decimal
    gross_value: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    unrealised: Decimal
    realised: Decimal
    initial_rate: Decimal

    @property
    def net_liquidation(self) -> Decimal:
        """Cash and the value of all positions."""
        return self.cash + self.stock_value

    @property
    def available(self) -> Decimal:
        """What is free for new positions."""
        return self.net_liquidation - self.initial_margin

    @property
    def excess(self) -> Decimal:
        """What is left above maintenance margin."""
        return self.net_liquidation - self.maintenance_margin

    @property
    def buying_power(self) -> Decimal:
        """The value of what can be bought."""
        return stepped(max(ZERO, self.available) / self.initial_rate)


@dataclass(slots=True)
class Ledger:
    """Cash and positions of one account, by instrument key."""

    opening_cash: Decimal
    cash: Decimal
    rules: MarginRules = field(default_factory=MarginRules)
    fees: Decimal = ZERO
    interest: Decimal = ZERO
    transferred: Decimal = ZERO
    positions: dict[str, Position] = field(default_factory=dict)

    def quantity(self, key: str) -> Decimal:
        """Shares held, negative when short."""
        held = self.positions.get(key)
        return held.quantity if held else ZERO

    def book(self, key: str, quantity: Decimal, price: Decimal, fee: Decimal) -> Decimal | None:
        """Book a fill of signed `quantity`; its realised profit after fees, None when it closes nothing."""
        position = self.positions.setdefault(key, Position())
        self.cash -= quantity * price + fee
        self.fees += fee
        closing = _closing(position.quantity, quantity)
        opening = quantity - closing
        fee_of_closing = fee if not opening else stepped(fee * closing / quantity)
        realised = None
        if closing:
            cost = position.cost if -closing == position.quantity else _share(position, closing)
            # what the closed shares bring, minus what they cost
            realised = -closing * price - fee_of_closing - cost
            position.cost -= cost
            position.realised += realised
        position.cost += opening * price + (fee - fee_of_closing)
        position.quantity += quantity
        return realised

    def accrue(self, amount: Decimal) -> None:
        """Book interest, + received."""
        self.cash += amount
        self.interest += amount

    def transfer(self, key: str, quantity: Decimal, price: Decimal) -> None:
        """Move signed shares into the account without a trade, at a price."""
        position = self.positions.setdefault(key, Position())
        closing = _closing(position.quantity, quantity)
        if closing:
            cost = position.cost if -closing == position.quantity else _share(position, closing)
            position.realised += -closing * price - cost
            position.cost -= cost
        position.cost += (quantity - closing) * price
        position.quantity += quantity
        self.transferred += quantity * price

    def figures(self, prices: Mapping[str, Decimal]) -> Figures:
        """The account's figures; a position without a price counts at its average cost."""
        value = gross = unrealised = realised = ZERO
        for key, position in self.positions.items():
            worth = position.quantity * prices[key] if key in prices else position.cost
            value += worth
            gross += abs(worth)
            unrealised += worth - position.cost
            realised += position.realised
        initial = self.rules.initial if self.rules.margin_account else Decimal(1)
        maintenance = self.rules.maintenance if self.rules.margin_account else Decimal(1)
        return Figures(self.cash, value, gross, gross * initial, gross * maintenance, unrealised, realised, initial)


def _closing(held: Decimal, traded: Decimal) -> Decimal:
    """The part of a trade that reduces a position, signed as the trade."""
    if not held or held * traded > 0:
        return ZERO
    return traded if abs(traded) <= abs(held) else -held


def _share(position: Position, closing: Decimal) -> Decimal:
    return stepped(position.cost * -closing / position.quantity)
