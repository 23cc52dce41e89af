from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from warehouse.calendar import TradingCalendar
from warehouse.cleaning import clean_bars
from warehouse.errors import InvalidRequestError
from warehouse.resolution import Resolution
from warehouse.rollup import roll_up
from warehouse.schema import ACTIONS_SCHEMA, CLEAN_SCHEMA

Batch = Callable[..., pa.Table]
DAYS = (date(2024, 7, 2), date(2024, 7, 5))  # 2024-07-03 closes early, 2024-07-04 is a holiday


def minute_rows(calendar: TradingCalendar) -> list[Any]:
    """Every regular minute of the days, and one bar before and after each session."""
    rows: list[Any] = []
    rng = np.random.default_rng(5)
    for session in calendar.sessions(*DAYS):
        opening, count = calendar.open_utc(session), calendar.minutes_in_session(session)
        for minute in range(-1, count + 1):
            o, c = (round(float(x), 2) for x in rng.uniform(90, 110, 2))
            extreme = 50.0 if minute in (-1, count) else 0.0  # outside regular hours, to be left out
            rows.append(
                (opening + timedelta(minutes=minute), o, max(o, c) + 1 + extreme, min(o, c) - 1, c, 10.0 + minute)
            )
    return rows


def clean(rows: list[Any], batch: Batch, calendar: TradingCalendar, resolution: Resolution) -> pa.Table:
    raw = batch(rows, stamped="open", resolution=resolution)
    return clean_bars([raw], ACTIONS_SCHEMA.empty_table(), calendar, resolution).bars


def by_hand(bars: pa.Table) -> dict[date, tuple[float, ...]]:
    days: dict[date, list[dict[str, Any]]] = {}
    for row in bars.to_pylist():
        if row["regular"]:
            days.setdefault(row["session"], []).append(row)
    return {
        d: (
            r[0]["open"],
            max(x["high"] for x in r),
            min(x["low"] for x in r),
            r[-1]["close"],
            sum(x["volume"] for x in r),
        )
        for d, r in days.items()
    }


def values(bars: pa.Table) -> dict[date, tuple[float, ...]]:
    return {r["session"]: (r["open"], r["high"], r["low"], r["close"], r["volume"]) for r in bars.to_pylist()}


def test_derived_day_equals_the_vendors_day(batch: Batch, xnys: TradingCalendar) -> None:
    minutes = clean(minute_rows(xnys), batch, xnys, Resolution.MINUTE)
    derived = roll_up(minutes, Resolution.DAILY, xnys)
    vendor_rows = [(datetime.combine(d, datetime.min.time(), UTC), *v) for d, v in by_hand(minutes).items()]
    vendor = clean_bars([batch(vendor_rows)], ACTIONS_SCHEMA.empty_table(), xnys, Resolution.DAILY).bars
    assert derived.schema == CLEAN_SCHEMA
    assert derived == vendor


def test_day_out_of_hours_equals_day_out_of_minutes(batch: Batch, xnys: TradingCalendar) -> None:
    minutes = clean(minute_rows(xnys), batch, xnys, Resolution.MINUTE)
    hours = roll_up(minutes, Resolution.HOURLY, xnys)
    assert roll_up(hours, Resolution.DAILY, xnys) == roll_up(minutes, Resolution.DAILY, xnys)


def test_hours_count_from_the_open_and_end_at_the_close(batch: Batch, xnys: TradingCalendar) -> None:
    hours = roll_up(clean(minute_rows(xnys), batch, xnys, Resolution.MINUTE), Resolution.HOURLY, xnys)
    closes = [t.strftime("%m-%d %H:%M") for t in hours["ts"].to_pylist()]
    full = ["14:30", "15:30", "16:30", "17:30", "18:30", "19:30", "20:00"]
    early = ["14:30", "15:30", "16:30", "17:00"]
    assert closes == [f"07-02 {t}" for t in full] + [f"07-03 {t}" for t in early] + [f"07-05 {t}" for t in full]
    assert hours["regular"].to_pylist() == [True] * len(closes)


def test_missing_minutes_are_not_invented(batch: Batch, xnys: TradingCalendar) -> None:
    rows = [r for r in minute_rows(xnys) if r[0].date() != date(2024, 7, 3)]
    derived = roll_up(clean(rows, batch, xnys, Resolution.MINUTE), Resolution.DAILY, xnys)
    assert derived["session"].to_pylist() == [date(2024, 7, 2), date(2024, 7, 5)]


def test_order_of_rows_does_not_matter(batch: Batch, xnys: TradingCalendar) -> None:
    minutes = clean(minute_rows(xnys), batch, xnys, Resolution.MINUTE)
    shuffled = minutes.take(pa.array(np.random.default_rng(1).permutation(minutes.num_rows)))
    assert roll_up(shuffled, Resolution.HOURLY, xnys) == roll_up(minutes, Resolution.HOURLY, xnys)


def test_bars_cannot_be_rolled_up_to_finer_ones(batch: Batch, xnys: TradingCalendar) -> None:
    minutes = clean(minute_rows(xnys), batch, xnys, Resolution.MINUTE)
    with pytest.raises(InvalidRequestError, match="resolution: 1m bars cannot be rolled up to 1m"):
        roll_up(minutes, Resolution.MINUTE, xnys)
    mixed = pa.concat_tables([minutes, roll_up(minutes, Resolution.HOURLY, xnys)])
    with pytest.raises(InvalidRequestError, match="cannot be rolled up together"):
        roll_up(mixed, Resolution.DAILY, xnys)
    assert roll_up(minutes.slice(0, 0), Resolution.DAILY, xnys).num_rows == 0
