"""When bars close: as the warehouse stamps them, breaks and early closes included."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.bar_grid import BarGrid, grid_like
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


ON_CLOCK = ("02 10:00", "02 11:00", "02 16:00", "03 10:00", "03 13:00", "05 10:00")
FROM_OPEN = ("02 10:30", "02 16:00", "03 12:30", "03 13:00", "05 10:30")


@pytest.mark.parametrize(("texts", "on_clock"), [(ON_CLOCK, True), (FROM_OPEN, False), ((), False)])
def test_hours_are_cut_as_the_stored_ones_are(texts, on_clock):
    stamps = [at(f"2024-07-{text}") for text in texts]
    assert grid_like(stamps, CALENDAR, Resolution.HOURLY).on_clock is on_clock


@pytest.mark.parametrize("resolution", [Resolution.HOURLY, Resolution.MINUTE])
def test_stored_bars_that_lie_on_no_grid_are_refused(resolution):
    stamps = [at("2024-07-02 10:00"), at("2024-07-02 11:30") + 7]
    with pytest.raises(LiveDataError, match="not all cut in the same way"):
        grid_like(stamps, CALENDAR, resolution)


def test_hours_on_the_clock_follow_each_other():
    grid = BarGrid(CALENDAR, Resolution.HOURLY, on_clock=True)
    closes, close = [], at("2024-07-03 00:00")
    for _ in range(5):
        close = grid.next_close(close)
        closes.append(close)
    wanted = ("03 10:00", "03 11:00", "03 12:00", "03 13:00", "05 10:00")
    assert closes == [at(f"2024-07-{text}") for text in wanted]
    assert grid.last_close(at("2024-07-03 10:59")) == at("2024-07-03 10:00")
    assert grid.last_close(at("2024-07-03 09:59")) == at("2024-07-02 16:00")


@given(st.integers(WEEK[0] // 3_600_000_000, WEEK[1] // 3_600_000_000), st.sampled_from(["XNYS", "XTKS", "XBOM"]))
def test_an_hour_on_the_clock_closes_when_the_warehouse_says(number, exchange):
    calendar = get_calendar(exchange)
    grid = BarGrid(calendar, Resolution.HOURLY, on_clock=True)
    slot = grid.slot(number * 3_600_000_000 + 1)
    if slot is not None:
        placed = place(np.array([slot.opens]), "clock_open", Resolution.HOURLY, calendar)
        assert slot.closes == placed.ts[0]


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
