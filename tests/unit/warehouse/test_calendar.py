import pickle
from datetime import UTC, date, datetime

import pytest

from warehouse.calendar import TradingCalendar, get_calendar
from warehouse.errors import InvalidRequestError


def test_2024_has_252_sessions_and_closes_early_on_three_days(xnys: TradingCalendar) -> None:
    sessions = xnys.sessions(date(2024, 1, 1), date(2024, 12, 31))
    early = [d for d in sessions if xnys.minutes_in_session(d) == 210]
    assert len(sessions) == 252
    assert early == [date(2024, 7, 3), date(2024, 11, 29), date(2024, 12, 24)]
    assert xnys.close_utc(date(2024, 7, 3)) == datetime(2024, 7, 3, 17, tzinfo=UTC)


def test_juneteenth_is_no_session(xnys: TradingCalendar) -> None:
    assert not xnys.is_session(date(2024, 6, 19))
    with pytest.raises(InvalidRequestError, match="session: 2024-06-19 is not a session of calendar XNYS"):
        xnys.close_utc(date(2024, 6, 19))


def test_open_moves_with_daylight_saving(xnys: TradingCalendar) -> None:
    assert xnys.open_utc(date(2024, 3, 8)) == datetime(2024, 3, 8, 14, 30, tzinfo=UTC)
    assert xnys.open_utc(date(2024, 3, 11)) == datetime(2024, 3, 11, 13, 30, tzinfo=UTC)
    assert xnys.open_utc(date(2024, 11, 1)).hour == 13
    assert xnys.open_utc(date(2024, 11, 4)).hour == 14


def test_neighbours_are_strict(xnys: TradingCalendar) -> None:
    assert xnys.previous_session(date(2024, 7, 5)) == date(2024, 7, 3)
    assert xnys.next_session(date(2024, 7, 3)) == date(2024, 7, 5)
    assert xnys.next_session(date(2024, 7, 4)) == date(2024, 7, 5)
    with pytest.raises(InvalidRequestError, match="session before 1970-01-02"):
        xnys.previous_session(date(1970, 1, 2))


def test_a_session_is_closed_from_its_close_on(xnys: TradingCalendar) -> None:
    assert xnys.last_closed_session(datetime(2024, 7, 3, 17, 0, tzinfo=UTC)) == date(2024, 7, 3)
    assert xnys.last_closed_session(datetime(2024, 7, 3, 16, 59, 59, tzinfo=UTC)) == date(2024, 7, 2)
    assert xnys.last_closed_session(datetime(2024, 7, 7, 12, 0, tzinfo=UTC)) == date(2024, 7, 5)


def test_naive_or_unknown_moments_are_refused(xnys: TradingCalendar) -> None:
    with pytest.raises(InvalidRequestError, match="has no time zone"):
        xnys.last_closed_session(datetime(2024, 7, 3))  # noqa: DTZ001
    with pytest.raises(InvalidRequestError, match="lies after the last session"):
        xnys.last_closed_session(datetime(2100, 1, 1, tzinfo=UTC))


def test_schedule_agrees_with_single_lookups(xnys: TradingCalendar) -> None:
    table = xnys.schedule(date(2024, 11, 27), date(2024, 12, 2))
    assert table["session"].to_pylist() == [date(2024, 11, 27), date(2024, 11, 29), date(2024, 12, 2)]
    for row in table.to_pylist():
        assert row["open"] == xnys.open_utc(row["session"])
        assert row["close"] == xnys.close_utc(row["session"])


def test_ranges_outside_the_calendar_are_clipped(xnys: TradingCalendar) -> None:
    assert xnys.sessions(date(1900, 1, 1), date(1970, 1, 5)) == [date(1970, 1, 2), date(1970, 1, 5)]
    assert xnys.sessions(date(2024, 1, 2), date(2024, 1, 1)) == []


def test_lunch_break_is_not_trading_time() -> None:
    assert get_calendar("XHKG").minutes_in_session(date(2024, 7, 3)) == 330


def test_unknown_calendar_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="calendar: 'XNYSE' is not"):
        get_calendar("XNYSE")


def test_calendar_survives_pickling_for_worker_processes(xnys: TradingCalendar) -> None:
    assert pickle.loads(pickle.dumps(xnys)) is xnys  # noqa: S301 (our own bytes)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        (datetime(2024, 7, 3, 13, 29, 59, tzinfo=UTC), False),
        (datetime(2024, 7, 3, 13, 30, tzinfo=UTC), True),
        (datetime(2024, 7, 3, 16, 59, 59, tzinfo=UTC), True),
        (datetime(2024, 7, 3, 17, tzinfo=UTC), False),  # an early close
        (datetime(2024, 7, 4, 15, tzinfo=UTC), False),
    ],
)
def test_an_exchange_is_open_from_its_open_to_just_before_its_close(
    xnys: TradingCalendar, moment: datetime, is_open: bool
) -> None:
    assert xnys.is_open(moment) is is_open


def test_an_exchange_is_closed_over_lunch_where_it_takes_a_break() -> None:
    calendar = get_calendar("XHKG")
    assert [calendar.is_open(datetime(2024, 7, 3, hour, 30, tzinfo=UTC)) for hour in (3, 4, 5)] == [True, False, True]
