from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse import layout
from warehouse.actions import rebuild_actions
from warehouse.calendar import TradingCalendar, get_calendar
from warehouse.cleaning import rebuild_clean
from warehouse.errors import CorruptFileError, InvalidRequestError, SourceError
from warehouse.ingest import PageDone, RawUpdate, update_raw
from warehouse.resolution import Resolution
from warehouse.sources.protocol import BarRequest, VendorBars
from warehouse.store import Warehouse

Rows = Callable[..., list[Any]]
DAILY = Resolution.DAILY
JANUARY = (date(2024, 1, 2), date(2024, 1, 31))
NOW = datetime(2024, 6, 1, tzinfo=UTC)


def update(store: Warehouse, source: Any, start: date, end: date, *, now: datetime = NOW, **options: Any) -> RawUpdate:
    return update_raw(store, source, "XYZ", DAILY, start, end, calendar=get_calendar("XNYS"), now=now, **options)


def test_first_update_asks_once_for_everything(store: Warehouse, list_source: Any, daily_rows: Rows) -> None:
    source = list_source(daily_rows(*JANUARY))
    done = update(store, source, *JANUARY)
    assert source.asked == [JANUARY]
    assert (done.rows_added, len(done.batches), done.up_to_date) == (21, 1, False)
    assert done.requested == (JANUARY,)


def test_second_update_asks_nothing(store: Warehouse, list_source: Any, daily_rows: Rows) -> None:
    source = list_source(daily_rows(*JANUARY))
    update(store, source, *JANUARY)
    again = update(store, source, date(2024, 1, 1), date(2024, 1, 31), now=NOW + timedelta(days=1))
    assert len(source.asked) == 1
    assert again == RawUpdate("XYZ", DAILY, (), (), 0, up_to_date=True)


def test_only_what_is_missing_is_asked_with_an_overlap(store: Warehouse, list_source: Any, daily_rows: Rows) -> None:
    source = list_source(daily_rows(date(2024, 1, 2), date(2024, 3, 1)))
    update(store, source, *JANUARY)
    done = update(store, source, date(2024, 1, 2), date(2024, 2, 9), now=NOW + timedelta(days=1))
    assert source.asked[1:] == [(date(2024, 1, 25), date(2024, 2, 9))]
    assert done.rows_added == 7  # the five overlapping rows are old news


def test_history_before_the_first_bar_is_fetched_with_an_overlap_after_it(
    store: Warehouse, list_source: Any, daily_rows: Rows
) -> None:
    source = list_source(daily_rows(date(2023, 11, 1), date(2024, 1, 31)))
    update(store, source, *JANUARY)
    update(store, source, date(2023, 11, 1), date(2024, 1, 31), now=NOW + timedelta(days=1))
    assert source.asked[1:] == [(date(2023, 11, 1), date(2024, 1, 8))]


def test_hole_is_filled_and_the_rest_left_alone(store: Warehouse, list_source: Any, daily_rows: Rows) -> None:
    rows = daily_rows(date(2024, 1, 2), date(2024, 5, 31))
    source = list_source(rows[:30])
    update(store, source, rows[0][0].date(), rows[29][0].date())
    source.rows = rows
    update(store, source, rows[60][0].date(), rows[-1][0].date())
    update(store, source, rows[0][0].date(), rows[-1][0].date())
    assert source.asked[2] == (rows[25][0].date(), rows[64][0].date())
    assert update(store, source, rows[0][0].date(), rows[-1][0].date()).up_to_date


def test_sessions_that_have_not_closed_are_not_asked(store: Warehouse, list_source: Any, daily_rows: Rows) -> None:
    source = list_source(daily_rows(*JANUARY))
    update(store, source, *JANUARY, now=datetime(2024, 1, 10, 20, 59, tzinfo=UTC))
    assert source.asked == [(date(2024, 1, 2), date(2024, 1, 9))]
    update(store, source, *JANUARY, now=datetime(2024, 1, 10, 21, 0, tzinfo=UTC))
    assert source.asked[1] == (date(2024, 1, 3), date(2024, 1, 10))


def test_weekend_and_holiday_are_not_missing(store: Warehouse, list_source: Any, daily_rows: Rows) -> None:
    source = list_source(daily_rows(*JANUARY))
    update(store, source, date(2024, 1, 12), date(2024, 1, 16), now=datetime(2024, 1, 14, tzinfo=UTC))
    update(store, source, date(2024, 1, 12), date(2024, 1, 15), now=datetime(2024, 1, 16, 20, 59, tzinfo=UTC))
    assert source.asked == [(date(2024, 1, 12), date(2024, 1, 12))]


def test_range_for_which_the_vendor_has_none_is_not_asked_again(
    store: Warehouse, list_source: Any, daily_rows: Rows
) -> None:
    """As FB before its listing in 2012."""
    source = list_source(daily_rows(*JANUARY))
    update(store, source, date(2023, 1, 3), date(2024, 1, 31))
    assert update(store, source, date(2023, 1, 3), date(2024, 1, 31)).up_to_date
    assert len(source.asked) == 1


def test_none_is_remembered_a_vendor_each(store: Warehouse, list_source: Any, daily_rows: Rows) -> None:
    update(store, list_source([]), *JANUARY)
    other = list_source(daily_rows(*JANUARY), name="other")
    assert update(store, other, *JANUARY).rows_added == 21


def test_repair_asks_again_for_what_was_absent(store: Warehouse, list_source: Any, daily_rows: Rows) -> None:
    rows = daily_rows(*JANUARY)
    source = list_source(rows[:10] + rows[11:])
    update(store, source, *JANUARY)
    source.rows = rows
    assert update(store, source, *JANUARY).up_to_date
    assert update(store, source, *JANUARY, ask_again=True).rows_added == 1


def test_newest_session_that_the_vendor_publishes_late_is_asked_again(
    store: Warehouse, list_source: Any, daily_rows: Rows
) -> None:
    rows = daily_rows(*JANUARY)
    source = list_source(rows[:-1])
    update(store, source, *JANUARY, now=datetime(2024, 1, 31, 21, 0, tzinfo=UTC))
    source.rows = rows
    late = update(store, source, *JANUARY, now=datetime(2024, 2, 1, 6, 0, tzinfo=UTC))
    assert late.rows_added == 1


def test_bar_fetched_before_its_session_closed_is_fetched_again(
    store: Warehouse, list_source: Any, daily_rows: Rows, batch: Callable[..., pa.Table]
) -> None:
    rows = daily_rows(*JANUARY)
    unfinished = (rows[5][0], 1.0, 1.0, 1.0, 1.0, 1.0)
    store.append_raw(batch([*rows[:5], unfinished], fetched=rows[5][0] + timedelta(hours=18)))
    done = update(store, list_source(rows), rows[0][0].date(), rows[5][0].date())
    assert done.rows_added == 1


def test_overlap_that_tells_nothing_new_makes_no_batch(store: Warehouse, list_source: Any, daily_rows: Rows) -> None:
    source = list_source(daily_rows(*JANUARY))
    update(store, source, *JANUARY)
    later = update(store, source, date(2024, 1, 2), date(2024, 2, 2), now=datetime(2024, 2, 3, tzinfo=UTC))
    assert (later.rows_added, later.batches, later.up_to_date) == (0, (), False)
    assert len(store.raw_batches("XYZ", DAILY)) == 1


def test_raw_batches_are_never_touched_by_an_update(store: Warehouse, list_source: Any, daily_rows: Rows) -> None:
    source = list_source(daily_rows(*JANUARY))
    update(store, source, *JANUARY)
    (first,) = layout.raw_folder(store.root, "XYZ", DAILY).glob("*.parquet")
    before = (first.read_bytes(), first.stat().st_mtime_ns)
    source.rows = [(r[0], *(p + 1 for p in r[1:5]), r[5]) for r in daily_rows(date(2024, 1, 2), date(2024, 2, 29))]
    update(store, source, date(2024, 1, 2), date(2024, 2, 29), now=NOW + timedelta(days=1))
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    assert len(store.raw_batches("XYZ", DAILY)) == 2


@pytest.fixture
def paged(list_source: Any) -> Callable[..., Any]:
    """A vendor that wants to be asked for ten days at a time, newest first; it fails after `lives` pages."""

    class Paged(list_source):  # type: ignore[misc]
        lives = 1_000_000

        def pages(self, request: BarRequest) -> list[BarRequest]:
            edges = range(0, (request.end - request.start).days + 1, 10)
            starts = [request.start + timedelta(days=edge) for edge in edges]
            made = [
                BarRequest(request.symbol, request.resolution, day, min(day + timedelta(days=9), request.end))
                for day in starts
            ]
            return made[::-1]

        def most_overlap(self, resolution: Resolution) -> int:
            return 1

        def seconds_for(self, pages: int) -> float:
            return 0.0

        def stop(self) -> None:
            self.lives = 0

        def fetch(self, request: BarRequest) -> VendorBars:
            if self.lives == 0:
                raise SourceError("vendor: gone.")
            self.lives -= 1
            return super().fetch(request)

    return Paged


def test_a_vendor_that_answers_in_pages_is_asked_for_them_in_its_order(
    store: Warehouse, paged: Any, daily_rows: Rows
) -> None:
    source = paged(daily_rows(*JANUARY))
    done = update(store, source, *JANUARY)
    assert source.asked == [
        (date(2024, 1, 22), date(2024, 1, 31)),
        (date(2024, 1, 12), date(2024, 1, 21)),
        (date(2024, 1, 2), date(2024, 1, 11)),
    ]
    assert (done.requested, done.rows_added, len(done.batches)) == ((JANUARY,), 21, 3)


def test_pages_that_arrived_before_an_error_are_kept_and_not_asked_for_again(
    store: Warehouse, paged: Any, daily_rows: Rows
) -> None:
    source = paged(daily_rows(*JANUARY))
    source.lives = 1
    with pytest.raises(SourceError, match="gone"):
        update(store, source, *JANUARY)
    assert [b.num_rows for b in store.raw_batches("XYZ", DAILY)] == [8]
    source.lives, source.asked = 99, []
    done = update(store, source, *JANUARY)
    assert done.requested == ((date(2024, 1, 2), date(2024, 1, 22)),)  # one stored session again
    assert source.asked == [
        (date(2024, 1, 22), date(2024, 1, 22)), (date(2024, 1, 12), date(2024, 1, 21)),
        (date(2024, 1, 2), date(2024, 1, 11)),
    ]  # fmt: skip
    assert done.rows_added == 13


def test_a_page_without_bars_is_remembered_before_the_next_one_fails(
    store: Warehouse, paged: Any, daily_rows: Rows
) -> None:
    source = paged(daily_rows(date(2024, 1, 2), date(2024, 1, 11)))
    source.lives = 1
    with pytest.raises(SourceError):
        update(store, source, *JANUARY)
    source.lives, source.asked = 99, []
    update(store, source, *JANUARY)
    assert max(end for _, end in source.asked) == date(2024, 1, 19)


def test_a_watcher_is_told_how_many_pages_there_are_and_of_each(store: Warehouse, paged: Any, daily_rows: Rows) -> None:
    told: list[PageDone] = []
    update(store, paged(daily_rows(*JANUARY)), *JANUARY, on_page=told.append)
    assert [(page.done, page.total, page.rows) for page in told] == [(0, 3, 0), (1, 3, 8), (2, 3, 5), (3, 3, 8)]


def test_pages_keep_the_order_in_which_they_came(store: Warehouse, paged: Any, daily_rows: Rows) -> None:
    update(store, paged(daily_rows(*JANUARY)), *JANUARY)
    firsts = [b["stamp"][0].as_py().day for b in store.raw_batches("XYZ", DAILY)]
    assert firsts == [22, 12, 2]


class FailingSource:
    name = "vendor"

    def symbols(self) -> list[str]:
        return []

    def fetch(self, request: BarRequest) -> VendorBars:
        raise SourceError(f"vendor: no answer for {request.symbol}.")


def test_failure_is_not_taken_for_an_empty_answer(store: Warehouse, list_source: Any, daily_rows: Rows) -> None:
    with pytest.raises(SourceError, match="no answer for XYZ"):
        update(store, FailingSource(), *JANUARY)
    assert not store.root.exists()
    assert update(store, list_source(daily_rows(*JANUARY)), *JANUARY).rows_added == 21


@pytest.mark.parametrize(
    ("start", "end", "options", "message"),
    [
        (date(2024, 2, 1), date(2024, 1, 1), {}, "range: 2024-02-01 to 2024-01-01"),
        (*JANUARY, {"overlap_sessions": -1}, "overlap -1"),
        (*JANUARY, {"now": datetime(2024, 6, 1)}, "now: .* has no time zone"),  # noqa: DTZ001
    ],
)
def test_impossible_requests_are_refused(  # noqa: PLR0917
    store: Warehouse, list_source: Any, start: date, end: date, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        update(store, list_source([]), start, end, **options)


def test_broken_memory_of_absences_is_named(store: Warehouse, list_source: Any) -> None:
    update(store, list_source([]), *JANUARY)
    path = layout.absences_file(store.root, "XYZ", DAILY)
    path.write_text("{")
    with pytest.raises(CorruptFileError, match=r"absences\.json: not a list of absences"):
        update(store, list_source([]), *JANUARY)


@given(cuts=st.lists(st.integers(1, 80), min_size=1, max_size=4, unique=True), split=st.integers(2, 80))
@settings(max_examples=15, deadline=None)
def test_however_updates_are_spread_around_a_split_there_is_one_scale(
    tmp_path_factory: pytest.TempPathFactory, list_source: Any, daily_rows: Rows, cuts: list[int], split: int
) -> None:
    """The vendor restates its history after a 2:1 split; whenever we fetched, the closes equal one full download."""
    calendar: TradingCalendar = get_calendar("XNYS")
    store = Warehouse(tmp_path_factory.mktemp("spread"))
    true = daily_rows(date(2024, 1, 2), date(2024, 5, 1))
    days = [r[0] for r in true]
    for cut in [*sorted(cuts), len(true)]:
        now = days[cut - 1] + timedelta(hours=22)
        restated = [
            (
                r[0],
                *(p * (0.5 if i < split <= cut - 1 else 1.0) for p in r[1:5]),
                r[5] * (2.0 if i < split <= cut - 1 else 1.0),
            )
            for i, r in enumerate(true[:cut])
        ]
        update(store, list_source(restated), days[0].date(), days[cut - 1].date(), now=now)
    rebuild_actions(store, "XYZ", calendar)
    rebuild_clean(store, "XYZ", DAILY, calendar)
    got = store.read_bars("XYZ", DAILY)["close"].to_numpy()
    whole = np.array([r[4] * (0.5 if i < split else 1.0) for i, r in enumerate(true)])
    assert got == pytest.approx(whole if split <= len(true) - 1 else np.array([r[4] for r in true]))
