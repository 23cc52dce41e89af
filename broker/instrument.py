"""What can be traded as the broker counts it: smallest sizes and prices of one contract.

Belongs here: rounding to what an exchange takes. Does not belong here: which contract a text names.

Prices of buys are rounded down and prices of sales up, of limits and of stops alike. So a limit never pays more or
takes less than was decided, and a stop never triggers later than was decided: it protects at least as early, and what
it buys or sells is, at the trigger, not worse.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Self

from broker.errors import ContractError, RequestRefusedError
from broker.ib.messages import Action, Contract, ContractDetails, PriceIncrement
from broker.ib.requests import Gateway

_NOISE = 8  # decimals that a price of a strategy can mean; what is beyond comes from binary fractions


@dataclass(frozen=True, slots=True)
class Instrument:
    """A resolved contract and its increments, lowest edge first; `increments` may be empty."""

    details: ContractDetails
    increments: tuple[PriceIncrement, ...] = ()

    @property
    def contract(self) -> Contract:
        """The contract to send with orders."""
        return self.details.contract

    @property
    def con_id(self) -> int:
        """IB's number of the contract."""
        return self.details.contract.con_id

    @property
    def multiplier(self) -> Decimal:
        """Units a share or contract stands for."""
        return Decimal(self.contract.multiplier or 1)

    def increment(self, price: Decimal) -> Decimal:
        """The smallest difference between two prices at a price."""
        at = self.details.min_tick
        for step in self.increments:
            if abs(price) >= step.low_edge:
                at = step.increment
        return at

    def price(self, price: float, action: Action) -> Decimal:
        """A price of an order as the exchange takes it: of a buy never above, of a sale never below the one given."""
        exact = decimal_of(price)
        return _multiple(exact, self.increment(exact), ROUND_FLOOR if action == "BUY" else ROUND_CEILING)

    def distance(self, distance: float, price: float) -> Decimal:
        """A distance of a trailing order near a price: never longer than the one given, at least one increment."""
        increment = self.increment(decimal_of(price))
        return max(_multiple(decimal_of(distance), increment, ROUND_FLOOR), increment)

    def size(self, size: float) -> Decimal:
        """A quantity without sign, never more than the one given; 0 where that is below the smallest."""
        return _multiple(decimal_of(abs(size)), self.details.size_increment, ROUND_FLOOR)

    @classmethod
    def resolved(cls, gateway: Gateway, contract: Contract) -> Self:
        """Ask the gateway about a contract.

        Raises:
            ContractError: no contract fits, or more than one.
        """
        try:
            found = gateway.contract_details(contract)
        except RequestRefusedError as refused:
            if refused.code != 200:
                raise
            raise ContractError(f"contract: IB knows no {contract.symbol} {contract.sec_type}.") from None
        if len(found) != 1:
            raise ContractError(f"contract: {contract.symbol} {contract.sec_type} fits {len(found)} contracts.")
        (details,) = found
        rule = _rule(details)
        return cls(details, () if rule is None else gateway.market_rule(rule))


def decimal_of(number: float) -> Decimal:
    """A float as the decimal number it was meant to be."""
    return _plain(Decimal(repr(round(float(number), _NOISE))))


def _rule(details: ContractDetails) -> int | None:
    """The market rule of the exchange that orders are sent to."""
    rules = dict(zip(details.valid_exchanges, details.market_rules, strict=False))
    return rules.get(details.contract.exchange, next(iter(rules.values()), None))


def _multiple(number: Decimal, increment: Decimal, rounding: str) -> Decimal:
    rounded = (number / increment).to_integral_value(rounding) * increment if increment else number
    return _plain(rounded)


def _plain(number: Decimal) -> Decimal:
    """The same number without zeros at its end and without an exponent."""
    short = number.normalize()
    return short.quantize(Decimal(1)) if short == short.to_integral_value() else short
