"""Fees that change over the years: dated rates, looked up by trade date.

Belongs here: reading `fees.yaml` and finding the rate of a day. Does not belong here: commissions of a broker.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files

import yaml


@dataclass(frozen=True, slots=True)
class DatedRates:
    """A rate by the first day it applies; a day before the first entry uses the first entry.

    >>> rates = DatedRates((date(2020, 1, 1), date(2021, 1, 1)), (Decimal("1"), Decimal("2")))
    >>> rates.on(date(2020, 12, 31)), rates.on(date(2021, 1, 1)), rates.on(date(1999, 1, 1))
    (Decimal('1'), Decimal('2'), Decimal('1'))
    """

    days: tuple[date, ...]
    rates: tuple[Decimal, ...]

    def on(self, day: date) -> Decimal:
        """The rate of a day."""
        return self.rates[max(0, bisect_right(self.days, day) - 1)]


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """US stock fees. SEC: per dollar sold; TAF: per share sold, capped a trade; pass-throughs: of the commission."""

    sec: DatedRates
    taf: DatedRates
    taf_cap: DatedRates
    exchange: DatedRates
    clearing: DatedRates
    nyse: DatedRates
    finra: DatedRates


@cache
def us_stock_fees() -> FeeSchedule:
    """The schedule that ships with barloom."""
    document = yaml.safe_load(files(__package__).joinpath("fees.yaml").read_text(encoding="utf-8"))
    taf = document["taf_per_share"]
    return FeeSchedule(
        sec=_rates(document["sec_per_million"], scale=Decimal(1_000_000)),
        taf=_rates({day: entry["rate"] for day, entry in taf.items()}),
        taf_cap=_rates({day: entry["cap"] for day, entry in taf.items()}),
        exchange=_rates(document["exchange_per_share"]),
        clearing=_rates(document["clearing_per_share"]),
        nyse=_rates(document["nyse_pass_through"]),
        finra=_rates(document["finra_pass_through"]),
    )


def _rates(entries: dict[date, str], scale: Decimal = Decimal(1)) -> DatedRates:
    days = sorted(entries)
    return DatedRates(tuple(days), tuple(Decimal(entries[day]) / scale for day in days))
