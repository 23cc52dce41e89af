"""The dated fee table: real rates on real days, and damage that is found."""

from datetime import date, timedelta
from decimal import Decimal
from importlib.resources import files

import pytest

from broker.costs.fees import fee_table, read_fee_table
from broker.errors import BrokerError, FeeTableError

TEXT = files("broker.costs").joinpath("us_fees.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("day", "rate"),
    [
        # days and rates as SEC, NASD and FINRA announced them
        (date(2001, 12, 28), "15.00"),
        (date(2003, 3, 21), "30.10"),
        (date(2003, 3, 22), "25.20"),
        (date(2003, 4, 1), "46.80"),
        (date(2004, 2, 22), "39.00"),
        (date(2005, 1, 7), "32.90"),
        (date(2006, 11, 17), "30.70"),
        (date(2008, 3, 31), "11.00"),
        (date(2008, 4, 1), "5.60"),
        (date(2010, 1, 14), "25.70"),
        (date(2010, 1, 15), "12.70"),
        (date(2010, 4, 1), "16.90"),
        (date(2011, 1, 21), "19.20"),
        (date(2012, 11, 15), "22.40"),
        (date(2014, 3, 17), "17.40"),
        (date(2014, 3, 18), "22.10"),
        (date(2016, 3, 15), "21.80"),
        (date(2018, 5, 21), "23.10"),
        (date(2018, 5, 22), "13.00"),
        (date(2019, 4, 16), "20.70"),
        (date(2020, 2, 18), "22.10"),
        (date(2021, 2, 25), "5.10"),
        (date(2025, 5, 13), "27.80"),
        (date(2025, 5, 14), "0.00"),
    ],
)
def test_the_sec_fee_of_a_day(day, rate):
    assert fee_table().on_sale(day).sec == Decimal(rate) / 1_000_000


@pytest.mark.parametrize(
    ("day", "rate", "cap"),
    [
        (date(2002, 9, 30), "0", "0"),
        (date(2002, 10, 1), "0.0001", "10"),
        (date(2011, 6, 30), "0.000075", "3.75"),
        (date(2011, 7, 1), "0.000090", "4.50"),
        (date(2012, 3, 1), "0.000095", "4.75"),
        (date(2021, 12, 31), "0.000119", "5.95"),
        (date(2022, 1, 1), "0.000130", "6.49"),
        (date(2023, 1, 1), "0.000145", "7.27"),
        (date(2024, 1, 1), "0.000166", "8.30"),
    ],
)
def test_the_trading_activity_fee_of_a_day(day, rate, cap):
    fees = fee_table().on_sale(day)

    assert (fees.activity, fees.activity_cap) == (Decimal(rate), Decimal(cap))


def test_a_day_before_the_first_has_the_first_rate_and_a_day_after_the_last_the_last():
    table = fee_table()

    assert table.on_sale(table.first_day - timedelta(days=3_000)) == table.on_sale(table.first_day)
    assert table.on_sale(date(2090, 1, 1)) == table.sale_fees[-1]


def test_the_table_says_how_far_it_was_checked():
    assert fee_table().known_through >= fee_table().days[-1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('minimum: "1.00"', "minimum: 1.00"),  # a binary float would not be exact
        ('minimum: "1.00"', 'minimum: "one"'),
        ("third_party:\n", "other_party:\n"),
        ('1996-10-01: "33.33"', '2002-01-01: "33.33"'),  # out of order
        ('1996-10-01: "33.33"', 'today: "33.33"'),
        ('up_to: "300000"', 'up_to: "99000000"'),  # tiers must rise
        ('{up_to: null, rate: "0.0005"}', '{up_to: "500000000", rate: "0.0005"}'),
        ("known_through: 2026-02-27", "known_through: soon"),
        ("commissions:", "commissions: ["),
    ],
)
def test_a_damaged_table_is_one_error_of_the_broker(old, new):
    assert old in TEXT
    with pytest.raises(FeeTableError, match=r"us_fees\.yaml: .*\.$"):
        read_fee_table(TEXT.replace(old, new))
    assert issubclass(FeeTableError, BrokerError)
