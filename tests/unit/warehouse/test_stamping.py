from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.calendar import TradingCalendar, get_calendar
from warehouse.errors import SourceContractError
from warehouse.resolution import Resolution
from warehouse.stamping import Placed, place


def us(*moments: datetime) -> np.ndarray:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return np.array([(m - epoch) // timedelta(microseconds=1) for m in moments], np.int64)


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def closes(placed: Placed) -> list[datetime]:
    return [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(t)) for t in placed.ts]


def sessions(placed: Placed) -> list[date]:
    return [date(1970, 1, 1) + timedelta(days=int(d)) for d in placed.session]


def test_minute_bars_stamped_at_the_open_close_a_minute_later(xnys: TradingCalendar) -> None:
    placed = place(us(at(2024, 7, 2, 13, 30), at(2024, 7, 2, 19, 59)), "open", Resolution.MINUTE, xnys)
    assert closes(placed) == [at(2024, 7, 2, 13, 31), at(2024, 7, 2, 20, 0)]
    assert placed.regular.all()


def test_minute_bars_stamped_at_the_close_keep_their_stamp(xnys: TradingCalendar) -> None:
    placed = place(us(at(2024, 7, 2, 13, 31), at(2024, 7, 2, 20, 0)), "close", Resolution.MINUTE, xnys)
    assert closes(placed) == [at(2024, 7, 2, 13, 31), at(2024, 7, 2, 20, 0)]
    assert placed.regular.all()


def test_last_hour_ends_at_the_close_and_not_after_it(xnys: TradingCalendar) -> None:
    placed = place(us(at(2024, 7, 2, 18, 30), at(2024, 7, 2, 19, 30)), "open", Resolution.HOURLY, xnys)
    assert closes(placed) == [at(2024, 7, 2, 19, 30), at(2024, 7, 2, 20, 0)]


def test_hours_cut_on_the_clock_end_on_the_clock(xnys: TradingCalendar) -> None:
    """As IB cuts them: 09:30 to 10:00, then whole hours, the last one cut at an early close."""
    full = us(at(2024, 7, 2, 13, 30), at(2024, 7, 2, 14, 0), at(2024, 7, 2, 19, 0))
    assert closes(place(full, "clock_open", Resolution.HOURLY, xnys)) == [
        at(2024, 7, 2, 14, 0), at(2024, 7, 2, 15, 0), at(2024, 7, 2, 20, 0),
    ]  # fmt: skip
    assert closes(place(us(at(2024, 7, 3, 16, 30)), "clock_open", Resolution.HOURLY, xnys)) == [at(2024, 7, 3, 17, 0)]


def test_the_clock_is_the_exchanges_own() -> None:
    """Mumbai opens at 09:15, which is 03:45 UTC; its hours begin at half past in UTC."""
    placed = place(us(at(2024, 7, 2, 3, 45)), "clock_open", Resolution.HOURLY, get_calendar("XBOM"))
    assert closes(placed) == [at(2024, 7, 2, 4, 30)]


def test_last_hour_ends_at_an_early_close(xnys: TradingCalendar) -> None:
    placed = place(us(at(2024, 7, 3, 16, 30)), "open", Resolution.HOURLY, xnys)
    assert closes(placed) == [at(2024, 7, 3, 17, 0)]


def test_bars_after_an_early_close_are_extended_hours(xnys: TradingCalendar) -> None:
    placed = place(us(at(2024, 7, 3, 16, 59), at(2024, 7, 3, 17, 0)), "open", Resolution.MINUTE, xnys)
    assert placed.regular.tolist() == [True, False]
    assert sessions(placed) == [date(2024, 7, 3)] * 2


def test_pre_market_and_evening_belong_to_the_session_of_their_new_york_date(xnys: TradingCalendar) -> None:
    pre, post = at(2024, 1, 3, 9, 0), at(2024, 1, 4, 0, 59)  # 04:00 and 19:59 in New York
    placed = place(us(pre, post), "open", Resolution.MINUTE, xnys)
    assert sessions(placed) == [date(2024, 1, 3)] * 2
    assert placed.regular.tolist() == [False, False]
    assert placed.trading.all()
    assert closes(placed) == [at(2024, 1, 3, 9, 1), at(2024, 1, 4, 1, 0)]


@pytest.mark.parametrize("resolution", [Resolution.MINUTE, Resolution.HOURLY])
def test_bars_on_a_holiday_are_not_trading(xnys: TradingCalendar, resolution: Resolution) -> None:
    assert not place(us(at(2024, 6, 19, 15, 0)), "open", resolution, xnys).trading.any()


def test_opening_minute_follows_both_clock_changes(xnys: TradingCalendar) -> None:
    stamps = [at(2024, 3, 8, 14, 30), at(2024, 3, 11, 13, 30), at(2024, 11, 1, 13, 30), at(2024, 11, 4, 14, 30)]
    placed = place(us(*stamps), "open", Resolution.MINUTE, xnys)
    before = place(us(*(s - timedelta(minutes=1) for s in stamps)), "open", Resolution.MINUTE, xnys)
    assert placed.regular.all()
    assert not before.regular.any()


@pytest.mark.parametrize(
    ("stamped", "stamp"),
    [
        ("session", at(2024, 7, 3)),
        ("open", at(2024, 7, 3, 4, 0)),  # midnight in New York, as LEAN
        ("open", at(2024, 7, 3, 13, 30)),
        ("close", at(2024, 7, 3, 17, 0)),
        ("close", at(2024, 7, 4, 4, 0)),  # the midnight that ends the day
    ],
)
def test_daily_bars_close_with_their_session_however_they_are_stamped(
    xnys: TradingCalendar, stamped: str, stamp: datetime
) -> None:
    placed = place(us(stamp), stamped, Resolution.DAILY, xnys)
    assert closes(placed) == [at(2024, 7, 3, 17, 0)]
    assert sessions(placed) == [date(2024, 7, 3)]
    assert placed.trading.all()


def test_daily_bar_on_a_holiday_is_not_moved_to_the_next_session(xnys: TradingCalendar) -> None:
    for stamped, stamp in [
        ("session", at(2024, 7, 4)),
        ("open", at(2024, 7, 4, 4, 0)),
        ("close", at(2024, 7, 4, 20, 0)),
    ]:
        placed = place(us(stamp), stamped, Resolution.DAILY, xnys)
        assert not placed.trading.any(), stamped


def test_session_that_opens_the_evening_before_is_named_by_its_close() -> None:
    placed = place(us(at(2024, 7, 1, 22, 0)), "open", Resolution.DAILY, get_calendar("CMES"))
    assert sessions(placed) == [date(2024, 7, 2)]


def test_lunch_break_is_not_regular() -> None:
    placed = place(us(at(2024, 7, 3, 3, 59), at(2024, 7, 3, 4, 0)), "open", Resolution.MINUTE, get_calendar("XHKG"))
    assert placed.regular.tolist() == [True, False]


def test_days_outside_the_calendar_are_unknown(xnys: TradingCalendar) -> None:
    placed = place(us(at(1950, 1, 3), at(2190, 1, 3)), "session", Resolution.DAILY, xnys)
    assert not placed.known.any()


def test_unknown_marks_are_refused(xnys: TradingCalendar) -> None:
    with pytest.raises(SourceContractError, match="stamped: 'middle' is not valid"):
        place(us(at(2024, 7, 3)), "middle", Resolution.DAILY, xnys)
    with pytest.raises(SourceContractError, match="stamped: 'session' is not valid for 1m bars"):
        place(us(at(2024, 7, 3)), "session", Resolution.MINUTE, xnys)


@given(st.integers(0, 260), st.integers(0, 389), st.sampled_from([Resolution.MINUTE, Resolution.HOURLY]))
@settings(max_examples=100, deadline=None)
def test_no_regular_bar_is_known_before_it_opened_or_stamped_after_the_close(
    day: int, minute: int, resolution: Resolution
) -> None:
    calendar = get_calendar("XNYS")
    session = calendar.sessions(date(2024, 1, 1), date(2025, 2, 1))[day]
    start = calendar.open_utc(session) + timedelta(minutes=minute)
    placed = place(us(start), "open", resolution, calendar)
    if start < calendar.close_utc(session):
        assert placed.regular.all()
        assert start < closes(placed)[0] <= calendar.close_utc(session)
        assert sessions(placed) == [session]
    else:
        assert not placed.regular.any()
