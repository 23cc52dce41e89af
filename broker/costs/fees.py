"""The fee table that ships with the project, read once and looked up by date.

Belongs here: reading `us_fees.yaml` into exact numbers, and which rate holds on a day. Does not belong here: what a
trade costs (see `commission`).
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import yaml

from broker.errors import FeeTableError

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Tier:
    """A rate a share for the shares of a month up to a number; the last tier has no end."""

    up_to: Decimal | None
    rate: Decimal


@dataclass(frozen=True, slots=True)
class CommissionRates:
    """What the broker itself charges for an order."""

    tiers: tuple[Tier, ...]
    minimum: Decimal  # an order
    maximum_fraction: Decimal  # of the order's value; beats the minimum
    third_party: bool  # whether exchange, clearing and pass-through fees come on top


@dataclass(frozen=True, slots=True)
class ThirdPartyFees:
    """What exchanges and clearing take from both sides of a trade."""

    clearing: Decimal  # a share
    exchange: Decimal  # a share
    exchange_fraction_below_one_dollar: Decimal  # of the value
    pass_through: Decimal  # of the commission: NYSE and FINRA together


@dataclass(frozen=True, slots=True)
class SaleFees:
    """What regulators take from a sale on one day."""

    sec: Decimal  # fraction of the value sold
    activity: Decimal  # a share sold
    activity_cap: Decimal  # a trade


@dataclass(frozen=True, slots=True)
class FeeTable:
    """All fees; `days[i]` is the first day of `sale_fees[i]`."""

    commissions: dict[str, CommissionRates]
    third_party: ThirdPartyFees
    days: tuple[date, ...]
    sale_fees: tuple[SaleFees, ...]
    known_through: date

    def on_sale(self, day: date) -> SaleFees:
        """The fees on sales that hold on a day; before the first known day the first ones, after the last the last."""
        return self.sale_fees[max(0, bisect_right(self.days, day) - 1)]

    @property
    def first_day(self) -> date:
        """The first day whose rates are known."""
        return self.days[0]


@cache
def fee_table() -> FeeTable:
    """The table that ships with the project.

    Raises:
        FeeTableError: the file is damaged.
    """
    return read_fee_table(files("broker.costs").joinpath("us_fees.yaml").read_text(encoding="utf-8"))


def read_fee_table(text: str) -> FeeTable:
    """A fee table from YAML.

    Raises:
        FeeTableError: a key is absent, a value is no number, or the dates are out of order.
    """
    try:
        document = yaml.safe_load(text)
        commissions = {name: _commission(entry) for name, entry in document["commissions"].items()}
        third = document["third_party"]
        days, fees = _sale_fees(document["sec_per_million_sold"], document["finra_trading_activity"])
        return FeeTable(
            commissions,
            ThirdPartyFees(
                _number(third["clearing"]),
                _number(third["exchange"]),
                _number(third["exchange_fraction_below_one_dollar"]),
                _number(third["nyse_pass_through"]) + _number(third["finra_pass_through"]),
            ),
            days,
            fees,
            _day(document["known_through"]),
        )
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise FeeTableError(f"us_fees.yaml: {type(error).__name__} at {' '.join(str(error).split())}.") from None


def _commission(entry: dict[str, Any]) -> CommissionRates:
    tiers = tuple(
        Tier(None if tier["up_to"] is None else _number(tier["up_to"]), _number(tier["rate"]))
        for tier in entry["tiers"]
    )
    bounds = [tier.up_to for tier in tiers[:-1]]
    if (
        tiers[-1].up_to is not None
        or None in bounds
        or bounds != sorted(bound for bound in bounds if bound is not None)
    ):
        raise FeeTableError("us_fees.yaml: tiers must rise, and only the last has no end.")
    return CommissionRates(
        tiers, _number(entry["minimum"]), _number(entry["maximum_fraction"]), bool(entry["third_party"])
    )


def _sale_fees(
    sec: dict[date, str], activity: dict[date, dict[str, str]]
) -> tuple[tuple[date, ...], tuple[SaleFees, ...]]:
    """Both dated lists as one, so that a day is looked up once."""
    for name, dated in (("sec_per_million_sold", sec), ("finra_trading_activity", activity)):
        if not all(type(day) is date for day in dated) or list(dated) != sorted(dated):
            raise FeeTableError(f"us_fees.yaml: {name} must be ordered by date.")
    days = tuple(sorted({*sec, *activity}))
    return days, tuple(
        SaleFees(
            _number(_on(sec, day)) / 1_000_000, _number(_on(activity, day)["rate"]), _number(_on(activity, day)["cap"])
        )
        for day in days
    )


def _on(dated: dict[date, V], day: date) -> V:
    known = [start for start in dated if start <= day]
    return dated[known[-1] if known else next(iter(dated))]


def _day(value: object) -> date:
    if type(value) is not date:
        raise FeeTableError(f"us_fees.yaml: {value!r} is not a day.")
    return value


def _number(text: object) -> Decimal:
    if not isinstance(text, str):
        raise FeeTableError(f"us_fees.yaml: {text!r} must be quoted, to be read as an exact number.")
    return Decimal(text)
