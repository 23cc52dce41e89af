"""A range becomes pages that IB answers; every session is in one, and none is longer than IB allows."""

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.ib.contracts import ContractBook
from broker.ib.history import PAGE_SIZES, IBSource, duration_text, plan_pages
from broker.ib.messages import Bar
from broker.ib.pacing import Pacer
from tests.unit.broker.ib.test_contracts import Gateway, details
from warehouse.calendar import get_calendar
from warehouse.errors import SourceRefusedError
from warehouse.resolution import Resolution
from warehouse.sources.protocol import BarRequest, PagedSource

CALENDAR = get_calendar("XNYS")
DAILY, HOURLY, MINUTE = Resolution.DAILY, Resolution.HOURLY, Resolution.MINUTE
LONGEST = {DAILY: timedelta(days=366), HOURLY: timedelta(days=31), MINUTE: timedelta(days=1)}
DAYS = st.dates(date(1995, 1, 1), date(2025, 12, 31))


@given(start=DAYS, length=st.integers(0, 3000), resolution=st.sampled_from([DAILY, HOURLY, MINUTE]))
@settings(max_examples=60, deadline=None)
def test_pages_cover_every_session_newest_first_and_none_is_too_long(start, length, resolution):
    end = start + timedelta(days=length if resolution is DAILY else length // 20)
    pages = plan_pages(start, end, resolution, CALENDAR)
    covered = [set(CALENDAR.sessions(*page)) for page in pages]
    assert set().union(*covered) == set(CALENDAR.sessions(start, end))
    assert pages == sorted(pages, reverse=True)
    assert all(high - low < LONGEST[resolution] for low, high in pages)
    shared = 1 if resolution is DAILY else 0  # a dividend on the first session of a page must show in it
    assert all(len(a & b) == shared for a, b in itertools.pairwise(covered))


@pytest.mark.parametrize("resolution", LONGEST)
def test_no_page_is_too_long_wherever_the_exchange_was_closed(resolution):
    sessions, size = CALENDAR.sessions(date(1990, 1, 1), date(2025, 12, 31)), PAGE_SIZES[resolution].sessions
    pages = zip(sessions, sessions[size - 1 :], strict=False)
    assert max(high - low for low, high in pages) < LONGEST[resolution]


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        (date(2024, 1, 3), date(2024, 1, 3), "1 D"),
        (date(2024, 1, 8), date(2024, 1, 12), "5 D"),
        (date(2024, 1, 12), date(2024, 1, 16), "3 D"),  # a currency pair trades on the holiday between
        (date(2024, 1, 6), date(2024, 1, 7), "1 D"),
        (date(2022, 8, 15), date(2024, 1, 5), "365 D"),
        (date(2022, 8, 12), date(2024, 1, 5), "3 Y"),
        (date(2004, 12, 31), date(2024, 1, 2), "21 Y"),
    ],
)
def test_a_duration_is_in_trading_days_or_in_years(first, last, text):
    assert duration_text(first, last, CALENDAR) == text


class Historical(Gateway):
    """Daily and minute bars of one stock from a day on."""

    def __init__(self, begins):
        super().__init__(SPY=(details(1),))
        self.begins, self.requests, self.heads = begins, [], 0

    def wait_for(self, state, seconds):
        return True

    def first_moment(self, contract, what_to_show, seconds=15.0):
        self.heads += 1
        return datetime(self.begins.year, self.begins.month, self.begins.day, 14, 30, tzinfo=UTC)

    def history(self, request, seconds=60.0):
        self.requests.append(request)
        return tuple(Bar(day, 10.0, 12.0, 9.0, 11.0, -1.0, 10.5, 1) for day in CALENDAR.sessions(*self.answered))

    answered = (date(2024, 1, 2), date(2024, 1, 31))


def source(gateway):
    return IBSource(
        gateway, ContractBook(gateway), Pacer(sleep=lambda _: None), CALENDAR,
        now=lambda: datetime(2024, 6, 1, tzinfo=UTC),
    )  # fmt: skip


def test_all_before_the_beginning_is_one_page_that_is_not_asked_for():
    gateway = Historical(date(2024, 1, 3))
    made = source(gateway)
    pages = made.pages(BarRequest("SPY", MINUTE, date(1990, 1, 2), date(2024, 1, 4)))
    assert [(p.start, p.end) for p in pages] == [
        (date(2024, 1, 4), date(2024, 1, 4)), (date(2024, 1, 3), date(2024, 1, 3)),
        (date(1990, 1, 2), date(2024, 1, 2)),
    ]  # fmt: skip
    assert made.fetch(pages[-1]).table.num_rows == 0
    assert gateway.requests == []


def test_a_range_of_one_page_is_planned_without_asking_when_history_begins():
    gateway = Historical(date(2024, 1, 3))
    source(gateway).pages(BarRequest("SPY", DAILY, date(2024, 1, 2), date(2024, 1, 31)))
    assert gateway.heads == 0


def test_bars_outside_the_range_are_left_out():
    """IB counts back from an end and gives what it finds there."""
    answer = source(Historical(date(2000, 1, 3))).fetch(BarRequest("SPY", DAILY, date(2024, 1, 4), date(2024, 1, 8)))
    assert [stamp.day for stamp in answer.table["stamp"].to_pylist()] == [4, 5, 8]


def test_a_volume_that_is_not_told_is_missing_and_not_minus_one():
    answer = source(Historical(date(2000, 1, 3))).fetch(BarRequest("SPY", DAILY, date(2024, 1, 4), date(2024, 1, 4)))
    assert answer.table["volume"].to_pylist() == [None]


def test_a_request_up_to_today_ends_now():
    gateway = Historical(date(2000, 1, 3))
    source(gateway).fetch(BarRequest("SPY", DAILY, date(2024, 5, 30), date(2024, 6, 1)))
    source(gateway).fetch(BarRequest("SPY", DAILY, date(2024, 5, 30), date(2024, 5, 30)))
    ends = [request.end for request in gateway.requests if request.what_to_show == "TRADES"]
    assert ends == [None, datetime(2024, 5, 31, 4, tzinfo=UTC)]


def test_adjusted_closes_are_asked_for_once_over_all_pages():
    gateway = Historical(date(2000, 1, 3))
    made = source(gateway)
    for page in made.pages(BarRequest("SPY", DAILY, date(2021, 1, 4), date(2024, 1, 31))):
        gateway.answered = (page.start, page.end)
        made.fetch(page)
    assert [r.duration for r in gateway.requests if r.what_to_show == "ADJUSTED_LAST"] == ["4 Y"]
    assert [r.end for r in gateway.requests if r.what_to_show == "ADJUSTED_LAST"] == [None]


def test_a_source_that_was_stopped_asks_nothing_and_is_not_worth_another_try():
    gateway = Historical(date(2000, 1, 3))
    made = source(gateway)
    made.stop()
    with pytest.raises(SourceRefusedError, match="the download was stopped"):
        made.fetch(BarRequest("SPY", DAILY, date(2024, 1, 4), date(2024, 1, 8)))
    assert gateway.requests == []


def test_it_keeps_the_contract_of_a_source_with_pages():
    assert isinstance(source(Historical(date(2000, 1, 3))), PagedSource)
