"""When bars close: as the warehouse stamps them, breaks and early closes included."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.bar_grid import BarGrid
from broker.closed_bars import moment_of
from broker.errors import LiveDataError
from tests.unit.broker.live_market import CALENDAR, at
from warehouse.calendar import get_calendar
from warehouse.resolution import Resolution
from warehouse.stamping import place

TOKYO = get_calendar("XTKS")
WEEK = (at("2024-07-01 00:00"), at("2024-07-08 00:00"))


@given(st.integers(WEEK[0] // 5_000_000, WEEK[1] // 5_000_000), st.sampled_from(["XNYS", "XTKS", "XLON"]))
@pytest.mark.parametrize("resolution", [Resolution.SECONDS_5, Resolution.MINUTE])
def test_a_bar_closes_when_the_warehouse_says(resolution, number, exchange):
    calendar = get_calendar(exchange)
    opens = number * 5_000_000 // (resolution.length.seconds * 1_000_000) * resolution.length.seconds * 1_000_000
    placed = place(np.array([opens]), "open", resolution, calendar)
    slot = BarGrid(calendar, resolution).slot(opens)
    assert (slot is not None) == bool(placed.regular[0] and placed.trading[0])
    if slot is not None:
        assert slot.closes == placed.ts[0]


@pytest.mark.parametrize("resolution", list(Resolution))
@pytest.mark.parametrize("calendar", [CALENDAR, TOKYO], ids=lambda calendar: calendar.name)
def test_each_stamp_follows_the_one_before_and_is_found_from_both_sides(resolution, calendar):
    grid = BarGrid(calendar, resolution)
    last, close = -1, grid.next_close(WEEK[0])
    for _ in range(200):
        assert close > last
        assert grid.last_close(close) == close
        assert grid.last_close(grid.next_close(close) - 1) == close
        assert grid.slot_closing(close).closes == close
        last, close = close, grid.next_close(close)


def test_hours_are_counted_from_the_open_and_cut_at_an_early_close():
    grid = BarGrid(CALENDAR, Resolution.HOURLY)
    closes, close = [], at("2024-07-03 00:00")
    for _ in range(5):
        close = grid.next_close(close)
        closes.append(close)
    wanted = ("03 10:30", "03 11:30", "03 12:30", "03 13:00", "05 10:30")
    assert closes == [at(f"2024-07-{text}") for text in wanted]


def test_nothing_is_due_in_a_lunch_break():
    grid = BarGrid(TOKYO, Resolution.MINUTE)
    last_before = at("2024-07-02 22:30")  # 11:30 on Wednesday in Tokyo
    assert moment_of(grid.next_close(last_before)).isoformat() == "2024-07-03T03:31:00+00:00"
    assert grid.slot(last_before) is None


def test_an_hour_with_a_break_inside_trades_for_less():
    grid = BarGrid(TOKYO, Resolution.HOURLY)
    slot = grid.slot(at("2024-07-02 22:15"))
    assert (slot.closes - slot.opens) // 60_000_000 == 60
    assert slot.trades_for // 60_000_000 == 30


def test_overdue_bars_are_counted_over_closed_hours_and_up_to_a_bound():
    grid = BarGrid(CALENDAR, Resolution.MINUTE)
    evening = at("2024-07-03 12:58")
    assert grid.overdue(evening, at("2024-07-05 09:30"), 10) == 2
    assert grid.overdue(evening, at("2024-07-05 09:33"), 10) == 5
    assert grid.overdue(evening, at("2024-07-05 09:33"), 4) == 4


def test_a_session_is_one_daily_bar():
    grid = BarGrid(CALENDAR, Resolution.DAILY)
    assert grid.slot_of_session(date(2024, 7, 3)).closes == at("2024-07-03 13:00")
    assert grid.slot_of_session(date(2024, 7, 4)) is None


def test_beyond_the_calendar_is_an_error():
    grid = BarGrid(CALENDAR, Resolution.DAILY)
    with pytest.raises(LiveDataError, match="XNYS knows no session after"):
        grid.next_close(int(CALENDAR.closes[-1]))
    with pytest.raises(LiveDataError, match="XNYS knows no session before"):
        grid.last_close(int(CALENDAR.opens[0]))
