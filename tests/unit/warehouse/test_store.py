from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from warehouse import layout
from warehouse.actions import rebuild_actions
from warehouse.calendar import TradingCalendar
from warehouse.cleaning import rebuild_clean
from warehouse.errors import CorruptFileError, InvalidRequestError, NoDataError
from warehouse.files import read_parquet
from warehouse.resolution import Resolution
from warehouse.schema import ACTIONS_SCHEMA, BARS_SCHEMA, CLEAN_SCHEMA
from warehouse.store import Warehouse, content_hash

Batch = Callable[..., pa.Table]
Rows = Callable[..., list[Any]]
DAILY = Resolution.DAILY
EARLY, LATER = datetime(2024, 7, 15, tzinfo=UTC), datetime(2024, 7, 20, tzinfo=UTC)


def rebuild(store: Warehouse, calendar: TradingCalendar, symbol: str = "XYZ") -> str:
    rebuild_actions(store, symbol, calendar)
    return rebuild_clean(store, symbol, DAILY, calendar).version


def test_files_lie_where_the_layout_says(
    store: Warehouse, batch: Batch, daily_rows: Rows, xnys: TradingCalendar
) -> None:
    raw = store.append_raw(batch(daily_rows(date(2023, 12, 1), date(2024, 1, 31)), symbol="BRK B"))
    rebuild(store, xnys, "BRK B")
    files = {p.relative_to(store.root).as_posix() for p in store.root.rglob("*") if p.is_file()}
    assert files == {
        f"raw/1d/BRK%20B/{raw.stem}.parquet",
        "clean/resolution=1d/symbol=BRK%20B/year=2023/bars.parquet",
        "clean/resolution=1d/symbol=BRK%20B/year=2024/bars.parquet",
        "actions/BRK%20B.parquet",
        "quarantine/1d/BRK%20B.parquet",
        "revisions/1d/BRK%20B.parquet",
    }
    assert store.symbols(DAILY) == ["BRK B"]
    assert store.symbols(Resolution.MINUTE) == []


def test_ranges_are_closed_and_by_session(
    store: Warehouse, batch: Batch, daily_rows: Rows, xnys: TradingCalendar
) -> None:
    store.append_raw(batch(daily_rows(date(2023, 12, 1), date(2024, 1, 31))))
    rebuild(store, xnys)
    bars = store.read_bars("XYZ", DAILY, start=date(2023, 12, 29), end=date(2024, 1, 3))
    assert bars.schema == BARS_SCHEMA
    assert bars["session"].to_pylist() == [date(2023, 12, 29), date(2024, 1, 2), date(2024, 1, 3)]
    assert store.read_bars("XYZ", DAILY, start=date(2030, 1, 1)).num_rows == 0
    assert store.read_bars("XYZ", DAILY).num_rows == len(xnys.sessions(date(2023, 12, 1), date(2024, 1, 31)))


def test_symbol_without_bars_is_named(store: Warehouse) -> None:
    with pytest.raises(NoDataError, match="symbol: 'NOPE' has no 1d bars in the warehouse"):
        store.read_bars("NOPE", DAILY)
    with pytest.raises(NoDataError):
        store.data_version("NOPE", DAILY)
    assert store.read_clean("NOPE", DAILY).schema == CLEAN_SCHEMA
    assert store.read_actions("NOPE").schema == ACTIONS_SCHEMA


def test_cleaning_nothing_is_an_error_that_names_the_symbol(store: Warehouse, xnys: TradingCalendar) -> None:
    with pytest.raises(NoDataError, match="symbol: 'NOPE' has no raw 1d bars to clean"):
        rebuild_clean(store, "NOPE", DAILY, xnys)


def test_unknown_adjustment_is_refused(store: Warehouse, batch: Batch, daily_rows: Rows, xnys: TradingCalendar) -> None:
    store.append_raw(batch(daily_rows(date(2024, 1, 2), date(2024, 1, 31))))
    rebuild(store, xnys)
    with pytest.raises(InvalidRequestError, match="adjust: 'both' is not one of all, splits, none"):
        store.read_bars("XYZ", DAILY, adjust="both")  # type: ignore[arg-type]


def test_appending_a_batch_twice_changes_nothing_and_another_content_is_refused(
    store: Warehouse, batch: Batch, daily_rows: Rows
) -> None:
    rows = daily_rows(date(2024, 1, 2), date(2024, 1, 31))
    delivered = batch(rows)
    assert store.append_raw(delivered) == store.append_raw(delivered)
    other = batch(rows[:3])
    i = other.schema.get_field_index("batch_id")
    forged = other.set_column(i, other.schema.field(i), pa.repeat(delivered["batch_id"][0], 3))
    with pytest.raises(InvalidRequestError, match="is taken by a batch with other content"):
        store.append_raw(forged)
    assert store.raw_batches("XYZ", DAILY)[0].num_rows == len(rows)


def test_table_of_two_batches_is_no_batch(store: Warehouse, batch: Batch, daily_rows: Rows) -> None:
    rows = daily_rows(date(2024, 1, 2), date(2024, 1, 31))
    two = pa.concat_tables([batch(rows, symbol="A"), batch(rows, symbol="B")])
    with pytest.raises(InvalidRequestError, match="raw batch: symbol must have one value, not 2"):
        store.append_raw(two)
    with pytest.raises(InvalidRequestError, match="table: columns"):
        store.append_raw(two.select(["symbol"]))
    with pytest.raises(InvalidRequestError, match="raw batch: symbol must have one value, not 0"):
        store.append_raw(two.slice(0, 0))


def test_past_can_be_read_as_it_was_known(
    store: Warehouse, batch: Batch, daily_rows: Rows, xnys: TradingCalendar
) -> None:
    rows = daily_rows(date(2024, 5, 1), date(2024, 7, 12))
    halved = [(r[0], *(p * 0.5 for p in r[1:5]), r[5] * 2) for r in rows]
    store.append_raw(batch(rows[:45], fetched=EARLY))
    store.append_raw(batch(halved[40:], fetched=LATER))
    rebuild(store, xnys)
    then = store.read_bars("XYZ", DAILY, as_of=EARLY, calendar=xnys)
    now = store.read_bars("XYZ", DAILY)
    assert then["close"].to_pylist() == [r[4] for r in rows[:45]]
    assert now["close"].to_numpy() == pytest.approx(np.array([r[4] for r in rows]) * 0.5)
    assert store.read_bars("XYZ", DAILY, as_of=LATER) == now
    with pytest.raises(NoDataError):
        store.read_bars("XYZ", DAILY, as_of=EARLY - timedelta(seconds=1))
    with pytest.raises(InvalidRequestError, match=r"as_of: .* has no time zone"):
        store.read_bars("XYZ", DAILY, as_of=datetime(2024, 7, 15))  # noqa: DTZ001


def test_version_changes_with_content_and_only_with_content(
    store: Warehouse, batch: Batch, daily_rows: Rows, xnys: TradingCalendar
) -> None:
    rows = daily_rows(date(2024, 5, 1), date(2024, 7, 12))
    store.append_raw(batch(rows, fetched=EARLY))
    first = rebuild(store, xnys)
    store.append_raw(batch(rows[-5:], fetched=LATER))  # tells nothing new
    assert rebuild(store, xnys) == first
    changed = (*rows[-1][:4], rows[-1][4] + 0.01, rows[-1][5])
    store.append_raw(batch([changed], fetched=LATER + timedelta(days=1)))
    second = rebuild(store, xnys)
    assert second != first
    assert second == store.data_version("XYZ", DAILY)


def test_every_column_of_a_clean_bar_counts_in_the_version(
    batch: Batch, daily_rows: Rows, store: Warehouse, xnys: TradingCalendar
) -> None:
    store.append_raw(batch(daily_rows(date(2024, 1, 2), date(2024, 1, 31))))
    rebuild(store, xnys)
    bars = store.read_clean("XYZ", DAILY)
    hashes = {content_hash(bars)}
    for i, name in enumerate(bars.schema.names):
        column = bars[name].combine_chunks()
        changed = pa.concat_arrays([column.slice(1, 1), column.slice(1)])
        if name in ("symbol", "resolution"):
            changed = pa.array(["other", *column.to_pylist()[1:]])
        elif name == "regular":
            changed = pa.array([False, *column.to_pylist()[1:]])
        elif name.endswith("factor"):
            changed = pa.array([0.5, *column.to_pylist()[1:]])
        hashes.add(content_hash(bars.set_column(i, bars.schema.field(i), changed)))
    assert len(hashes) == 1 + len(bars.schema)
    assert content_hash(pa.concat_tables([bars.slice(0, 7), bars.slice(7)])) == content_hash(bars)


def test_year_without_bars_any_more_disappears(
    store: Warehouse, batch: Batch, daily_rows: Rows, xnys: TradingCalendar
) -> None:
    store.append_raw(batch(daily_rows(date(2023, 12, 1), date(2024, 1, 31))))
    rebuild(store, xnys)
    bars = store.read_clean("XYZ", DAILY)
    store.write_clean("XYZ", DAILY, bars.slice(25))
    assert [p.name for p in layout.clean_folder(store.root, "XYZ", DAILY).iterdir()] == ["year=2024"]
    assert store.read_clean("XYZ", DAILY) == bars.slice(25)


def test_broken_clean_file_is_an_error_and_not_an_empty_year(
    store: Warehouse, batch: Batch, daily_rows: Rows, xnys: TradingCalendar
) -> None:
    store.append_raw(batch(daily_rows(date(2023, 12, 1), date(2024, 1, 31))))
    rebuild(store, xnys)
    (layout.clean_folder(store.root, "XYZ", DAILY) / "year=2023" / "bars.parquet").write_bytes(b"gone")
    with pytest.raises(CorruptFileError, match="year=2023"):
        store.read_bars("XYZ", DAILY)


def test_past_of_a_derived_resolution_is_rolled_up(store: Warehouse, batch: Batch, xnys: TradingCalendar) -> None:
    opening = datetime(2024, 7, 2, 13, 30, tzinfo=UTC)
    rows = [(opening + timedelta(minutes=m), 10.0 + m, 11.0 + m, 9.0 + m, 10.5 + m, 1.0) for m in range(90)]
    store.append_raw(batch(rows, stamped="open", resolution=Resolution.MINUTE, fetched=EARLY))
    (day,) = store.read_bars("XYZ", DAILY, as_of=EARLY, calendar=xnys).to_pylist()
    assert (day["open"], day["high"], day["low"], day["close"], day["volume"]) == (10.0, 100.0, 9.0, 99.5, 90.0)
    assert store.read_bars("XYZ", Resolution.HOURLY, as_of=EARLY).num_rows == 2


def test_reader_that_met_a_writer_does_not_see_years_of_two_versions(
    store: Warehouse, batch: Batch, daily_rows: Rows, xnys: TradingCalendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append_raw(batch(daily_rows(date(2020, 1, 2), date(2024, 1, 31))))
    rebuild(store, xnys)
    one = store.read_clean("XYZ", DAILY)
    halved = one.set_column(11, one.schema.field(11), pa.repeat(pa.scalar(0.5), one.num_rows))
    shorter = halved.slice(0, 600)
    versions = [shorter, halved]  # one that takes years away, one that changes them

    def read_while_another_writes(path: Path, schema: pa.Schema) -> pa.Table:
        table = read_parquet(path, schema)
        if versions and "2021" in path.parent.name:
            store.write_clean("XYZ", DAILY, versions.pop(0))
        return table

    monkeypatch.setattr("warehouse.store.read_parquet", read_while_another_writes)
    assert store.read_clean("XYZ", DAILY) == halved
