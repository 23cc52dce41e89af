"""The gate before bars are used to decide."""

import subprocess
import sys
from datetime import date

import pyarrow as pa
import pytest

from pipelines.errors import QualityGateError
from pipelines.gate import refuse_bad_bars
from pipelines.stamps import Stamp, write_stamp
from warehouse.errors import NoDataError
from warehouse.quality import QualityReport, write_report
from warehouse.resolution import Resolution
from warehouse.schema import CLEAN_SCHEMA, FINDINGS_SCHEMA, QUALITY_SCHEMA
from warehouse.store import Warehouse

DAILY = Resolution.DAILY


def report(symbol: str, *failed: tuple[str, str]) -> QualityReport:
    """A report in which the given (rule, severity) pairs failed and one other rule passed."""
    rows = [_row(symbol, rule, severity, passed=False) for rule, severity in failed]
    rows.append(_row(symbol, "duplicates", "ERROR", passed=True))
    checks = pa.Table.from_pylist(rows, schema=QUALITY_SCHEMA)
    return QualityReport(symbol, DAILY, date(2013, 3, 1), checks, FINDINGS_SCHEMA.empty_table(), 1.0, ())


def _row(symbol, rule, severity, *, passed):
    return {
        "symbol": symbol, "resolution": "1d", "rule": rule, "severity": severity, "passed": passed,
        "threshold": 0.0, "measured": 0.0 if passed else 1.0, "offending": int(not passed), "message": "m",
    }  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return Warehouse(tmp_path)


def keep(store: Warehouse, judged: QualityReport, *, judged_version: str | None = None) -> None:
    """One clean bar of the symbol, and the report with its stamp as the graph would leave them."""
    bar = {
        "symbol": judged.symbol, "resolution": "1d", "ts": 1_362_171_600_000_000, "session": date(2013, 3, 1),
        "regular": True, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0, "split_factor": 1.0,
        "dividend_factor": 1.0,
    }  # fmt: skip
    store.write_clean(judged.symbol, DAILY, pa.Table.from_pylist([bar], schema=CLEAN_SCHEMA))
    write_report(store, judged)
    version = judged_version or store.data_version(judged.symbol, DAILY)
    write_stamp(store.root, "quality_report", judged.symbol, Stamp("r", {"clean_bars": version}, "c"))


def test_judged_bars_without_an_error_go_through(store):
    keep(store, report("AAPL", ("flat_run", "WARN")))
    assert refuse_bad_bars(store, ["AAPL"], DAILY, override=None) == {}


def test_an_error_stops_who_would_use_the_bars(store):
    keep(store, report("FB", ("missing_sessions", "ERROR")))
    with pytest.raises(QualityGateError, match=r"FB: quality ERROR stands \(missing_sessions\)"):
        refuse_bad_bars(store, ["FB"], DAILY, override=None)


def test_an_override_with_a_reason_lets_them_through_and_says_what_was_overridden(store):
    keep(store, report("FB", ("missing_sessions", "ERROR")))
    assert refuse_bad_bars(store, ["FB"], DAILY, override="holiday data") == {"FB": ["missing_sessions"]}


def test_bars_that_nobody_judged_are_refused(store):
    keep(store, report("AAPL"))
    (store.root / "stamps" / "quality_report" / "AAPL.json").unlink()
    with pytest.raises(QualityGateError, match="have not been judged"):
        refuse_bad_bars(store, ["AAPL"], DAILY, override="anything")


def test_a_report_about_other_bars_does_not_count(store):
    keep(store, report("AAPL"), judged_version="older")
    with pytest.raises(QualityGateError, match="is of other 1d bars"):
        refuse_bad_bars(store, ["AAPL"], DAILY, override=None)


def test_a_symbol_without_bars_is_no_data_and_no_pass(store):
    with pytest.raises(NoDataError, match="NEVER"):
        refuse_bad_bars(store, ["NEVER"], DAILY, override=None)


def test_a_process_that_only_runs_backtests_does_without_dagster():
    code = (
        "import sys, pipelines.backtesting as b, research.engine, research.evaluation; print('dagster' in sys.modules)"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert told.stdout == "False\n"
