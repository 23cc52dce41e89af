"""Bars of every origin, stamped alike."""

import math
from datetime import date

from broker.bar_grid import BarGrid
from broker.closed_bars import ClosedBar, from_ib, from_warehouse, moment_of
from broker.ib.messages import Bar
from tests.unit.broker.live_market import CALENDAR, at
from tests.unit.broker.simulator.recordings import table
from warehouse.resolution import Resolution
from warehouse.rollup import roll_up
from warehouse.store import apply_factors

MINUTE = 60_000_000


def bar(stamp, price, volume=10.0):
    return Bar(
        stamp if isinstance(stamp, date) else moment_of(stamp), price, price + 2, price - 2, price + 1, volume, 0, 1
    )


def minutes(first, last):
    return [bar(opens, 100.0 + i % 7, 10.0 + i) for i, opens in enumerate(range(first, last, MINUTE))]


def test_a_minute_is_stamped_at_its_close():
    (closed,) = from_ib([bar(at("2024-07-03 12:59"), 100.0)], BarGrid(CALENDAR, Resolution.MINUTE))
    assert closed == ClosedBar(at("2024-07-03 13:00"), 100.0, 102.0, 98.0, 101.0, 10.0)


def test_a_day_is_stamped_at_its_early_close():
    (closed,) = from_ib([bar(date(2024, 7, 3), 100.0)], BarGrid(CALENDAR, Resolution.DAILY))
    assert closed.ts == at("2024-07-03 13:00")


def test_hours_out_of_minutes_are_those_that_the_warehouse_rolls_up():
    made = minutes(at("2024-07-03 09:30"), at("2024-07-03 13:00"))
    grid = BarGrid(CALENDAR, Resolution.MINUTE)
    rows = [(b.ts, date(2024, 7, 3), b.open, b.high, b.low, b.close, b.volume) for b in from_ib(made, grid)]
    rolled = roll_up(table("AAPL", Resolution.MINUTE, rows), Resolution.HOURLY, CALENDAR)
    hours = from_ib(made, BarGrid(CALENDAR, Resolution.HOURLY))
    assert hours == from_warehouse(apply_factors(rolled, "splits"))


def test_parts_outside_regular_hours_and_days_without_a_session_are_left_out():
    grid = BarGrid(CALENDAR, Resolution.MINUTE)
    assert from_ib([bar(at("2024-07-03 09:29"), 1.0), bar(at("2024-07-03 13:00"), 1.0)], grid) == []
    assert from_ib([bar(date(2024, 7, 4), 1.0)], BarGrid(CALENDAR, Resolution.DAILY)) == []


def test_a_volume_that_is_not_told_is_unknown():
    (closed,) = from_ib([bar(at("2024-07-03 12:59"), 1.0, -1.0)], BarGrid(CALENDAR, Resolution.MINUTE))
    assert math.isnan(closed.volume)


def test_bars_outside_regular_hours_are_not_taken_from_the_warehouse():
    day = date(2024, 7, 3)
    rows = [
        (at("2024-07-03 09:00"), day, 1.0, 1.0, 1.0, 1.0, 1.0, False),
        (at("2024-07-03 09:31"), day, 2.0, 2.0, 2.0, 2.0, 2.0, True),
    ]
    stored = apply_factors(table("AAPL", Resolution.MINUTE, rows), "splits")
    assert [bar.close for bar in from_warehouse(stored)] == [2.0]


def test_a_split_scales_prices_and_volume():
    assert ClosedBar(1, 4.0, 8.0, 2.0, 6.0, 10.0).scaled(0.5) == ClosedBar(1, 2.0, 4.0, 1.0, 3.0, 20.0)
