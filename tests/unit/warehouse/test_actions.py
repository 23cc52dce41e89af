from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.actions import derive_all_actions, rebuild_actions
from warehouse.calendar import TradingCalendar, get_calendar
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

Batch = Callable[..., pa.Table]
Rows = Callable[..., list[Any]]
EARLY, LATER = datetime(2024, 8, 10, tzinfo=UTC), datetime(2024, 8, 20, tzinfo=UTC)
SPAN = (date(2024, 5, 1), date(2024, 7, 12))


def with_factor(rows: list[Any], factor: np.ndarray, decimals: int | None = None) -> list[Any]:
    adjusted = np.array([r[4] for r in rows]) * factor
    adjusted = adjusted if decimals is None else np.round(adjusted, decimals)
    return [(*r, a) for r, a in zip(rows, adjusted.tolist(), strict=True)]


def steps(count: int, **at: float) -> np.ndarray:
    factor = np.ones(count)
    for position, ratio in at.items():
        factor[: int(position[1:])] *= ratio
    return factor


def found(*batches: pa.Table) -> list[tuple[date, str, float]]:
    table = derive_all_actions("XYZ", {Resolution.DAILY: list(batches)}, get_calendar("XNYS"))
    return [(a["ex_date"], a["kind"], a["ratio"]) for a in table.to_pylist()]


def test_steps_of_an_adjusted_close_are_splits_and_dividends(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(*SPAN)
    actions = found(batch(with_factor(rows, 0.7 * steps(len(rows), _10=0.25, _30=0.996))))
    assert actions == [
        (rows[10][0].date(), "split", 0.25),
        (rows[30][0].date(), "dividend", pytest.approx(0.996, rel=1e-9)),
    ]


def test_split_and_dividend_on_one_day_are_two_actions(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(*SPAN)
    actions = found(batch(with_factor(rows, steps(len(rows), _10=0.5 * 0.99))))
    assert actions == [
        (rows[10][0].date(), "dividend", pytest.approx(0.99)),
        (rows[10][0].date(), "split", 0.5),
    ]


def test_adjusted_close_in_cents_shows_dividends_and_no_noise(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(*SPAN)
    actions = found(batch(with_factor(rows, steps(len(rows), _20=0.99), decimals=2)))
    assert actions == [(rows[20][0].date(), "dividend", pytest.approx(0.99, abs=2e-5))]


def test_reverse_split_is_a_split(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(*SPAN)
    assert found(batch(with_factor(rows, steps(len(rows), _5=10.0)))) == [(rows[5][0].date(), "split", 10.0)]


def test_crash_without_a_step_is_no_action(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(*SPAN)
    crashed = [(r[0], *(p * (0.5 if i >= 10 else 1.0) for p in r[1:5]), r[5]) for i, r in enumerate(rows)]
    assert found(batch(with_factor(crashed, np.ones(len(rows))))) == []
    assert found(batch(crashed)) == []


def test_factors_that_the_vendor_gives_apart_are_taken_as_they_are(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(*SPAN)
    split, dividend = steps(len(rows), _10=0.9), steps(len(rows), _10=0.5)
    both = [(*r, None, s, d) for r, s, d in zip(rows, split.tolist(), dividend.tolist(), strict=True)]
    assert found(batch(both)) == [(rows[10][0].date(), "dividend", 0.5), (rows[10][0].date(), "split", 0.9)]


def test_later_batch_corrects_an_action_inside_its_sessions(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(*SPAN)
    old = batch(with_factor(rows, steps(len(rows), _10=0.5, _30=0.98)), fetched=EARLY)
    new = batch(with_factor(rows, steps(len(rows), _10=0.5, _31=0.97))[25:], fetched=LATER)
    assert found(old, new) == [
        (rows[10][0].date(), "split", 0.5),
        (rows[31][0].date(), "dividend", pytest.approx(0.97)),
    ]


def test_a_new_dividend_does_not_shift_the_level_of_older_batches(batch: Batch, daily_rows: Rows) -> None:
    """The vendor's later snapshot lowers every adjusted close; steps, not levels, are compared."""
    rows = daily_rows(*SPAN)
    old = batch(with_factor(rows[:40], steps(40, _10=0.5)), fetched=EARLY)
    new = batch(with_factor(rows, steps(len(rows), _10=0.5, _44=0.98))[35:], fetched=LATER)
    assert found(old, new) == [
        (rows[10][0].date(), "split", 0.5),
        (rows[44][0].date(), "dividend", pytest.approx(0.98)),
    ]


def test_actions_known_after_the_last_bar_are_not_actions_of_the_series(batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(*SPAN)
    assert found(batch(with_factor(rows, np.full(len(rows), 0.13)))) == []


@given(
    st.lists(
        st.tuples(st.integers(2, 47), st.sampled_from([0.5, 1 / 3, 0.25, 2 / 3, 0.99, 0.995, 0.97])),
        max_size=4,
        unique_by=lambda s: s[0],
    )
)
@settings(max_examples=40, deadline=None)
def test_product_of_actions_is_the_vendors_factor(
    batch: Batch, daily_rows: Rows, changes: list[tuple[int, float]]
) -> None:
    rows = daily_rows(*SPAN)
    factor = steps(len(rows), **{f"_{i}": r for i, r in changes})
    assert np.prod([r for _, _, r in found(batch(with_factor(rows, factor)))]) == pytest.approx(factor[0], rel=1e-8)


def test_intraday_and_daily_bars_of_one_vendor_show_an_action_once(
    batch: Batch, daily_rows: Rows, xnys: TradingCalendar
) -> None:
    rows = daily_rows(*SPAN)
    factor = steps(len(rows), _10=0.5)
    hours = [(r[0] + timedelta(hours=15), *r[1:]) for r in rows]
    batches = {
        Resolution.DAILY: [batch(with_factor(rows, factor), fetched=EARLY)],
        Resolution.HOURLY: [
            batch(with_factor(hours, factor), fetched=LATER, stamped="open", resolution=Resolution.HOURLY)
        ],
    }
    table = derive_all_actions("XYZ", batches, xnys)
    assert table["ex_date"].to_pylist() == [rows[10][0].date()]
    assert table["fetched_at"].to_pylist() == [EARLY]


def test_rebuilding_twice_changes_nothing(store: Warehouse, batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(*SPAN)
    store.append_raw(batch(with_factor(rows, steps(len(rows), _10=0.5, _20=0.99))))
    first, second = rebuild_actions(store, "XYZ"), rebuild_actions(store, "XYZ")
    assert (first.splits, first.dividends, first.changed) == (1, 1, True)
    assert (second.splits, second.dividends, second.changed) == (1, 1, False)
