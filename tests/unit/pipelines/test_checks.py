"""Quality rules as asset checks."""

from datetime import date

import dagster as dg
import pyarrow as pa
import pytest

from pipelines.checks import STANDING_ERRORS, check_results, standing_errors
from warehouse.quality import QualityReport, write_report
from warehouse.resolution import Resolution
from warehouse.schema import FINDINGS_SCHEMA, QUALITY_SCHEMA
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


def test_a_check_names_the_symbols_of_the_run_that_fail_it():
    reports = [report("AAPL"), report("FB", ("missing_sessions", "ERROR")), report("IBM", ("missing_sessions", "WARN"))]
    passed, failed = check_results(["duplicates", "missing_sessions"], reports, DAILY)
    assert (passed.check_name, passed.passed, passed.metadata["symbols_failing"].value) == ("duplicates", True, 0)
    assert (failed.check_name, failed.passed, failed.severity) == (
        "missing_sessions",
        False,
        dg.AssetCheckSeverity.ERROR,
    )
    assert failed.metadata["symbols"].value == ["FB"]
    assert [row.data["symbol"] for row in failed.metadata["failing"].records] == ["FB", "IBM"]
    assert failed.description == "2 of 3 symbols of this run fail."


def test_a_rule_that_only_warns_does_not_stop_the_run():
    (result,) = check_results(["flat_run"], [report("AAPL", ("flat_run", "WARN"))], DAILY)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_a_rule_that_could_not_be_computed_has_not_failed():
    unknown = report("AAPL", ("flat_run", "ERROR"))
    checks = unknown.checks.set_column(4, QUALITY_SCHEMA.field("passed"), pa.array([None, True]))
    blank = QualityReport("AAPL", DAILY, unknown.inspected_on, checks, unknown.findings, None, ())
    (result,) = check_results(["flat_run"], [blank], DAILY)
    assert result.passed


def test_a_standing_error_is_seen_whichever_run_found_it(store):
    write_report(store, report("AAPL"))
    write_report(store, report("FB", ("missing_sessions", "ERROR")))
    result = standing_errors(store, ["AAPL", "FB", "NEVER"], DAILY)
    assert (result.check_name, result.passed) == (STANDING_ERRORS, False)
    assert result.metadata["standing"].records[0].data == {"symbol": "FB", "errors": "missing_sessions"}
