import itertools
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.actions import derive_all_actions
from warehouse.calendar import TradingCalendar, get_calendar
from warehouse.cleaning import Cleaned, clean_bars
from warehouse.resolution import Resolution
from warehouse.schema import ACTIONS_SCHEMA, CLEAN_SCHEMA, QUARANTINE_SCHEMA, REVISIONS_SCHEMA
from warehouse.store import apply_factors, content_hash
from warehouse.validation import REASONS

Batch = Callable[..., pa.Table]
Rows = Callable[..., list[Any]]

DAY1, DAY2, DAY3 = (datetime(2024, 7, d, tzinfo=UTC) for d in (1, 2, 3))
EARLY, LATER = datetime(2024, 7, 10, tzinfo=UTC), datetime(2024, 7, 20, tzinfo=UTC)
GOOD = (10.0, 11.0, 9.0, 10.5, 100.0)


def clean(*batches: pa.Table, resolution: Resolution = Resolution.DAILY) -> Cleaned:
    calendar = get_calendar("XNYS")
    actions = derive_all_actions("XYZ", {resolution: list(batches)}, calendar)
    return clean_bars(list(batches), actions, calendar, resolution)


def shifted(rows: list[Any], factor: float, volume_factor: float = 1.0) -> list[Any]:
    return [(r[0], *(round(p * factor, 2) for p in r[1:5]), r[5] * volume_factor) for r in rows]


def test_tables_have_their_schemas(batch: Batch) -> None:
    cleaned = clean(batch([(DAY1, *GOOD)]))
    assert cleaned.bars.schema == CLEAN_SCHEMA
    assert cleaned.quarantine.schema == QUARANTINE_SCHEMA
    assert cleaned.revisions.schema == REVISIONS_SCHEMA
    assert cleaned.bars.to_pylist() == [
        {
            "symbol": "XYZ", "resolution": "1d",
            "ts": datetime(2024, 7, 1, 20, tzinfo=UTC), "session": date(2024, 7, 1), "regular": True,
            "open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 100.0,
            "split_factor": 1.0, "dividend_factor": 1.0,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((None, *GOOD), "null_stamp"),
        ((datetime(1960, 1, 4, tzinfo=UTC), *GOOD), "outside_calendar"),
        ((datetime(2024, 7, 4, tzinfo=UTC), *GOOD), "not_a_session"),
        ((datetime(2024, 7, 6, tzinfo=UTC), *GOOD), "not_a_session"),
        ((datetime(2024, 7, 10, tzinfo=UTC), *GOOD), "unfinished"),
        ((DAY2, None, 11.0, 9.0, 10.0, 1.0), "null_price"),
        ((DAY2, 10.0, 11.0, float("nan"), 10.0, 1.0), "null_price"),
        ((DAY2, 10.0, float("inf"), 9.0, 10.0, 1.0), "null_price"),
        ((DAY2, 10.0, 11.0, 0.0, 10.0, 1.0), "nonpositive_price"),
        ((DAY2, 10.0, 11.0, 9.0, -10.0, 1.0), "nonpositive_price"),
        ((DAY2, 10.0, 10.2, 9.0, 10.5, 1.0), "ohlc_inconsistent"),
        ((DAY2, 10.0, 11.0, 10.1, 10.5, 1.0), "ohlc_inconsistent"),
        ((DAY2, 10.0, 9.0, 11.0, 10.5, 1.0), "ohlc_inconsistent"),
        ((DAY2, 10.0, 11.0, 9.0, 10.5, -1.0), "negative_volume"),
    ],
)
def test_a_bad_bar_goes_to_the_quarantine_with_its_reason(batch: Batch, row: Any, reason: str) -> None:
    cleaned = clean(batch([(DAY1, *GOOD), row, (DAY3, *GOOD)], fetched=EARLY))
    assert cleaned.bars["session"].to_pylist() == [date(2024, 7, 1), date(2024, 7, 3)]
    assert cleaned.quarantine["reason"].to_pylist() == [reason]
    assert cleaned.quarantine["detail"][0].as_py().startswith(REASONS[reason])
    assert cleaned.quarantine["batch_id"][0].as_py()


def test_bar_without_volume_stays_and_none_is_invented(batch: Batch) -> None:
    cleaned = clean(batch([(DAY1, 10.0, 11.0, 9.0, 10.5, None)]))
    assert cleaned.bars["volume"].to_pylist() == [None]


def test_rows_in_any_order_come_out_ascending(batch: Batch) -> None:
    cleaned = clean(batch([(DAY3, *GOOD), (DAY1, *GOOD), (DAY2, *GOOD)]))
    assert cleaned.bars["session"].to_pylist() == [date(2024, 7, d) for d in (1, 2, 3)]


def test_of_two_rows_in_one_batch_the_last_counts_and_the_other_is_kept_aside(batch: Batch) -> None:
    cleaned = clean(batch([(DAY1, *GOOD), (DAY1, 10.0, 12.0, 9.0, 11.5, 7.0)]))
    assert cleaned.bars["close"].to_pylist() == [11.5]
    assert cleaned.quarantine.select(["reason", "close"]).to_pylist() == [{"reason": "duplicate", "close": 10.5}]


def test_later_delivery_wins_and_the_change_is_a_revision(batch: Batch) -> None:
    old = batch([(DAY1, *GOOD), (DAY2, *GOOD)], fetched=EARLY)
    new = batch([(DAY1, 10.0, 11.0, 9.0, 10.6, 120.0)], fetched=LATER)
    cleaned = clean(old, new)
    assert cleaned.bars["close"].to_pylist() == [10.6, 10.5]
    assert cleaned.revisions.select(["field", "old", "new", "old_fetched_at", "new_fetched_at"]).to_pylist() == [
        {"field": "close", "old": 10.5, "new": 10.6, "old_fetched_at": EARLY, "new_fetched_at": LATER},
        {"field": "volume", "old": 100.0, "new": 120.0, "old_fetched_at": EARLY, "new_fetched_at": LATER},
    ]
    assert cleaned.quarantine.num_rows == 0


def test_a_broken_later_delivery_does_not_replace_a_sound_bar(batch: Batch) -> None:
    old = batch([(DAY1, *GOOD)], fetched=EARLY)
    new = batch([(DAY1, 10.0, 11.0, 9.0, float("nan"), 1.0)], fetched=LATER)
    cleaned = clean(old, new)
    assert cleaned.bars["close"].to_pylist() == [10.5]
    assert cleaned.quarantine["reason"].to_pylist() == ["null_price"]


def test_unfinished_bar_gives_way_to_the_finished_one(batch: Batch) -> None:
    during = batch([(DAY2, 10.0, 10.2, 9.9, 10.1, 5.0)], fetched=datetime(2024, 7, 2, 19, 0, tzinfo=UTC))
    after = batch([(DAY2, *GOOD)], fetched=datetime(2024, 7, 2, 20, 0, tzinfo=UTC))
    cleaned = clean(during, after)
    assert cleaned.bars["close"].to_pylist() == [10.5]
    assert cleaned.quarantine["reason"].to_pylist() == ["unfinished"]
    assert cleaned.revisions.num_rows == 0


def test_bar_that_a_later_delivery_lacks_stays(batch: Batch) -> None:
    cleaned = clean(
        batch([(DAY1, *GOOD), (DAY2, *GOOD), (DAY3, *GOOD)], fetched=EARLY),
        batch([(DAY1, *GOOD), (DAY3, *GOOD)], fetched=LATER),
    )
    assert cleaned.bars.num_rows == 3


def test_split_seen_in_the_overlap_leaves_one_scale_and_no_revision(batch: Batch, daily_rows: Rows) -> None:
    """Complaint 13: a store that appends after a split keeps old rows on the old scale."""
    rows = daily_rows(date(2024, 5, 1), date(2024, 7, 12))
    first = batch(rows[:40], fetched=EARLY)
    second = batch(shifted(rows[35:], 0.5, 2.0), fetched=LATER)
    cleaned = clean(first, second)
    closes = np.array([r[4] for r in rows]) * 0.5
    volumes = np.array([r[5] for r in rows]) * 2
    assert cleaned.bars["close"].to_numpy() == pytest.approx(closes, abs=0.0051)
    assert cleaned.bars["volume"].to_numpy() == pytest.approx(volumes)
    assert set(cleaned.bars["split_factor"].to_pylist()) == {1.0}
    assert cleaned.revisions.num_rows == 0
    actions = derive_all_actions("XYZ", {Resolution.DAILY: [first, second]}, get_calendar("XNYS"))
    assert actions.select(["ex_date", "kind", "ratio", "evidence"]).to_pylist() == [
        {"ex_date": rows[40][0].date(), "kind": "split", "ratio": 0.5, "evidence": "overlap"}
    ]


def test_volume_stays_where_the_vendor_scales_prices_only(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(date(2024, 5, 1), date(2024, 7, 12))
    cleaned = clean(batch(rows[:40], fetched=EARLY), batch(shifted(rows[35:], 0.5), fetched=LATER))
    assert cleaned.bars["volume"].to_pylist() == [r[5] for r in rows]


def test_split_that_the_vendor_applied_late_is_found_inside_the_overlap(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(date(2024, 5, 1), date(2024, 7, 12))
    before = rows[:38] + shifted(rows[38:42], 0.5)  # the first days on the new scale, history not yet adjusted
    first, second = batch(before, fetched=EARLY), batch(shifted(rows[35:], 0.5), fetched=LATER)
    cleaned = clean(first, second)
    assert cleaned.bars["close"].to_numpy() == pytest.approx(np.array([r[4] for r in rows]) * 0.5, abs=0.0051)
    actions = derive_all_actions("XYZ", {Resolution.DAILY: [first, second]}, get_calendar("XNYS"))
    assert actions["ex_date"].to_pylist() == [rows[38][0].date()]


def test_two_splits_in_a_row_leave_one_scale(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(date(2024, 5, 1), date(2024, 7, 12), price=400.0)
    cleaned = clean(
        batch(rows[:20], fetched=EARLY),
        batch(shifted(rows[15:35], 0.5), fetched=EARLY + timedelta(days=1)),
        batch(shifted(rows[30:], 0.125), fetched=LATER),
    )
    assert cleaned.bars["close"].to_numpy() == pytest.approx(np.array([r[4] for r in rows]) * 0.125, abs=0.0051)


def test_older_history_fetched_later_puts_all_bars_on_its_scale(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(date(2024, 5, 1), date(2024, 7, 12))
    cleaned = clean(batch(rows[20:], fetched=LATER), batch(shifted(rows[:25], 0.1), fetched=LATER + timedelta(days=1)))
    assert cleaned.bars["close"].to_numpy() == pytest.approx(np.array([r[4] for r in rows]) * 0.1, abs=0.0051)


def test_revision_beside_a_split_is_given_on_the_new_scale(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(date(2024, 5, 1), date(2024, 7, 12))
    new = shifted(rows[35:], 0.5)
    new[2] = (*new[2][:2], round(new[2][2] + 0.75, 2), *new[2][3:])
    cleaned = clean(batch(rows[:40], fetched=EARLY), batch(new, fetched=LATER))
    (revision,) = cleaned.revisions.to_pylist()
    assert revision["field"] == "high"
    assert revision["new"] - revision["old"] == pytest.approx(0.75, abs=0.01)


def test_crash_between_batches_is_left_alone(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(date(2024, 5, 1), date(2024, 7, 12))
    crashed = rows[:40] + shifted(rows[40:], 0.48)
    cleaned = clean(batch(crashed[:40], fetched=EARLY), batch(crashed[35:], fetched=LATER))
    assert cleaned.bars["close"].to_pylist() == [r[4] for r in crashed]
    assert set(cleaned.bars["split_factor"].to_pylist()) == {1.0}


def test_extended_hours_are_kept_and_marked(batch: Batch) -> None:
    opening = datetime(2024, 7, 2, 13, 30, tzinfo=UTC)
    rows = [(opening + timedelta(minutes=m), *GOOD) for m in (-60, 0, 389, 390)]
    cleaned = clean(batch(rows, stamped="open", resolution=Resolution.MINUTE), resolution=Resolution.MINUTE)
    assert cleaned.bars["regular"].to_pylist() == [False, True, True, False]
    assert cleaned.bars["ts"][1].as_py() == opening + timedelta(minutes=1)


@given(order=st.permutations(range(30)), cuts=st.lists(st.integers(1, 29), max_size=4, unique=True))
@settings(max_examples=40, deadline=None)
def test_how_rows_are_shuffled_and_cut_into_batches_does_not_change_the_bars(
    batch: Batch, daily_rows: Rows, order: list[int], cuts: list[int]
) -> None:
    rows = daily_rows(date(2024, 5, 1), date(2024, 7, 12))[:30]
    shuffled = [rows[i] for i in order]
    edges = [0, *sorted(cuts), 30]
    parts = [
        batch(shuffled[low:high], fetched=EARLY + timedelta(minutes=k))
        for k, (low, high) in enumerate(itertools.pairwise(edges))
    ]
    assert content_hash(clean(*parts).bars) == content_hash(clean(batch(rows)).bars)


@given(st.lists(st.sampled_from(["good", "nan", "zero", "holiday", "again"]), min_size=1, max_size=25))
@settings(max_examples=60, deadline=None)
def test_every_raw_row_is_clean_or_in_the_quarantine(batch: Batch, kinds: list[str]) -> None:
    days = get_calendar("XNYS").sessions(date(2024, 1, 2), date(2024, 3, 1))
    rows: list[Any] = []
    for i, kind in enumerate(kinds):
        day = (
            datetime(2024, 7, 4, tzinfo=UTC)
            if kind == "holiday"
            else datetime.combine(days[i], datetime.min.time(), UTC)
        )
        close = {"nan": float("nan"), "zero": 0.0}.get(kind, 10.5)
        rows += [(day, 10.0, 11.0, 9.0, close, 1.0)] * (2 if kind == "again" else 1)
    cleaned = clean(batch(rows))
    assert cleaned.bars.num_rows + cleaned.quarantine.num_rows == len(rows)
    assert cleaned.bars.num_rows == sum(kind in ("good", "again") for kind in kinds)


def test_factors_apply_on_read_and_volume_follows_splits_only(batch: Batch) -> None:
    rows = [(DAY1, *GOOD, 2.0), (DAY2, 5.0, 5.5, 4.5, 5.25, 200.0, 2.0), (DAY3, 5.0, 5.5, 4.5, 5.25, 200.0, 2.05)]
    bars = clean(batch(rows)).bars
    assert bars["split_factor"].to_pylist() == [0.5, 1.0, 1.0]
    assert bars["dividend_factor"].to_numpy() == pytest.approx([2.0 / 2.05, 2.0 / 2.05, 1.0])
    everything, splits, none = (apply_factors(bars, a) for a in ("all", "splits", "none"))  # type: ignore[arg-type]
    assert everything["close"].to_numpy() == pytest.approx([5.25 * 2.0 / 2.05] * 2 + [5.25])
    assert splits["close"].to_pylist() == [5.25, 5.25, 5.25]
    assert none["close"].to_pylist() == [10.5, 5.25, 5.25]
    assert everything["volume"].to_pylist() == splits["volume"].to_pylist() == [200.0, 200.0, 200.0]
    assert none["volume"].to_pylist() == [100.0, 200.0, 200.0]


def test_actions_of_one_vendor_are_not_applied_to_the_prices_of_another(
    batch: Batch, xnys: TradingCalendar, daily_rows: Rows
) -> None:
    """A vendor of split-adjusted minute bars beside one of raw daily bars must not be adjusted twice."""
    days = daily_rows(date(2024, 5, 1), date(2024, 7, 12))
    adjusted = [(*r, r[4] * (0.5 if i < 20 else 1.0)) for i, r in enumerate(days)]
    daily = batch(adjusted, source="raw-vendor")
    minute_rows = [(r[0] + timedelta(hours=15), *GOOD) for r in days]
    minute = batch(minute_rows, source="adjusting-vendor", stamped="open", resolution=Resolution.MINUTE)
    actions = derive_all_actions("XYZ", {Resolution.DAILY: [daily], Resolution.MINUTE: [minute]}, xnys)
    assert actions["kind"].to_pylist() == ["split"]
    assert set(clean_bars([daily], actions, xnys, Resolution.DAILY).bars["split_factor"].to_pylist()) == {0.5, 1.0}
    assert set(clean_bars([minute], actions, xnys, Resolution.MINUTE).bars["split_factor"].to_pylist()) == {1.0}


def test_no_batches_give_empty_typed_tables(xnys: TradingCalendar) -> None:
    cleaned = clean_bars([], ACTIONS_SCHEMA.empty_table(), xnys, Resolution.DAILY)
    assert (cleaned.bars.schema, cleaned.bars.num_rows) == (CLEAN_SCHEMA, 0)
