"""Tests of inspecting what a warehouse holds."""

from datetime import UTC, date, datetime

import pytest

from warehouse.actions import rebuild_actions
from warehouse.calendar import get_calendar
from warehouse.catalog import Catalog
from warehouse.cleaning import rebuild_clean
from warehouse.ingest import update_raw
from warehouse.quality import inspect
from warehouse.resolution import Resolution
from warehouse.schema import BARS_SCHEMA
from warehouse.sources.sample import SAMPLE_SYMBOLS, SampleSource
from warehouse.store import Warehouse

DAILY = Resolution.DAILY
TODAY = date(2024, 5, 1)


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Warehouse:
    warehouse, calendar = Warehouse(tmp_path_factory.mktemp("sample")), get_calendar("XNYS")
    now = datetime(2024, 5, 1, tzinfo=UTC)
    for symbol in SAMPLE_SYMBOLS:
        update_raw(
            warehouse, SampleSource(), symbol, DAILY, date(2000, 3, 1), date(2013, 3, 1), calendar=calendar, now=now
        )
        rebuild_actions(warehouse, symbol)
        rebuild_clean(warehouse, symbol, DAILY, calendar)
    return warehouse


@pytest.mark.parametrize("symbol", SAMPLE_SYMBOLS)
def test_the_sample_is_without_error_and_its_end_is_reported(sample, symbol):
    report = inspect(sample, symbol, DAILY, get_calendar("XNYS"), today=TODAY)
    assert report.errors == []
    assert report.score == 1.0
    assert all(year.ratio == 1.0 for year in report.coverage)
    measured = dict(zip(report.checks["rule"].to_pylist(), report.checks["measured"].to_pylist(), strict=True))
    for rule in (
        "missing_sessions",
        "outside_session",
        "zero_volume",
        "high_low_inconsistency",
        "duplicates",
        "quarantined",
    ):
        assert measured[rule] == 0
    assert measured["series_ended"] == 2810
    assert report.findings_of("series_ended")["session"].to_pylist() == [date(2013, 3, 1)]


def test_apples_crash_is_a_question_and_its_splits_are_not(sample):
    report = inspect(sample, "AAPL", DAILY, get_calendar("XNYS"), today=TODAY)
    assert report.warnings == ["gap_without_action"]
    assert report.findings_of("gap_without_action")["session"].to_pylist() == [date(2000, 9, 29)]
    assert report.findings_of("gap_without_action")["value"].to_pylist() == [pytest.approx(28.19 / 53.50 - 1)]


def test_facebook_misses_nothing_before_it_was_listed(sample):
    report = inspect(sample, "FB", DAILY, get_calendar("XNYS"), today=TODAY)
    assert [(year.year, year.expected, year.found) for year in report.coverage] == [(2012, 155, 155), (2013, 41, 41)]


def test_a_symbol_without_data_is_an_error_not_an_omission(tmp_path):
    report = inspect(Warehouse(tmp_path), "NONE", DAILY, get_calendar("XNYS"), today=TODAY)
    assert report.errors == ["no_data"]
    assert report.score is None
    assert "missing_sessions" in report.unknown


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(sample, tmp_path):
    warehouse = Warehouse(tmp_path)
    warehouse.write_clean("AAPL", DAILY, sample.read_clean("AAPL", DAILY))
    [broken] = tmp_path.glob("clean/*/*/year=2003/bars.parquet")
    broken.write_bytes(b"PAR1")
    report = inspect(warehouse, "AAPL", DAILY, get_calendar("XNYS"), today=TODAY)
    assert report.errors == ["no_data", "unreadable"]
    assert "year=2003" in report.findings_of("unreadable")["detail"][0].as_py()
    assert "missing_sessions" in report.unknown


def test_bars_in_sql_are_the_bars_a_backtest_reads(sample):
    catalog = Catalog(sample.root, sample.root / "results")
    for view, adjust in (("bars", "all"), ("bars_unadjusted", "none")):
        columns = ", ".join(BARS_SCHEMA.names)
        rows = catalog.query(f"SELECT {columns} FROM {view} WHERE symbol = 'AAPL' ORDER BY ts")  # noqa: S608
        assert rows.equals(sample.read_bars("AAPL", DAILY, adjust=adjust).combine_chunks())


def test_inspecting_twice_gives_the_same_report_and_changes_nothing(sample):
    before = {path: path.read_bytes() for path in sample.root.rglob("*.parquet")}
    one = inspect(sample, "MSFT", DAILY, get_calendar("XNYS"), today=TODAY)
    two = inspect(sample, "MSFT", DAILY, get_calendar("XNYS"), today=TODAY)
    assert one.checks.equals(two.checks)
    assert one.findings.equals(two.findings)
    assert {path: path.read_bytes() for path in sample.root.rglob("*.parquet")} == before
