"""Tests of the report's files, JSON and page."""

import dataclasses
import json
import re
from datetime import date
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from warehouse.calendar import get_calendar
from warehouse.catalog import Catalog
from warehouse.errors import CorruptFileError
from warehouse.quality import QualityReport, read_report, render_html, render_json, write_report
from warehouse.resolution import Resolution
from warehouse.store import Warehouse


@pytest.fixture
def report(daily) -> QualityReport:
    series = daily()
    kept = np.ones(len(series), bool)
    kept[10:13] = False
    series.columns["volume"][[3, 4]] = np.nan
    return series.keep(kept).judge().report


def renamed(report: QualityReport, symbol: str) -> QualityReport:
    return dataclasses.replace(report, symbol=symbol)


class _Page(HTMLParser):
    """Tags, links and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "col"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_report_comes_back_as_it_was_written(tmp_path, report):
    warehouse = Warehouse(tmp_path)
    folder = write_report(warehouse, report)
    assert sorted(path.name for path in folder.iterdir()) == ["checks.parquet", "findings.parquet", "report.json"]
    again = read_report(warehouse, "XYZ", Resolution.DAILY)
    assert again is not None
    assert again.checks.equals(report.checks)
    assert again.findings.equals(report.findings)
    assert (again.score, again.coverage, again.inspected_on) == (report.score, report.coverage, report.inspected_on)
    assert again.warnings == report.warnings == ["missing_sessions", "zero_volume"]


def test_the_same_report_is_the_same_bytes(tmp_path, report):
    first = {p.name: p.read_bytes() for p in write_report(Warehouse(tmp_path / "a"), report).iterdir()}
    second = {p.name: p.read_bytes() for p in write_report(Warehouse(tmp_path / "b"), report).iterdir()}
    assert first == second


def test_there_is_no_report_before_one_is_written(tmp_path):
    assert read_report(Warehouse(tmp_path), "XYZ", Resolution.DAILY) is None


@pytest.mark.parametrize("name", ["checks.parquet", "findings.parquet", "report.json"])
def test_a_damaged_report_is_an_error_not_an_absence(tmp_path, report, name):
    folder = write_report(Warehouse(tmp_path), report)
    (folder / name).write_bytes(b"{")
    with pytest.raises(CorruptFileError, match=re.escape(str(folder))):
        read_report(Warehouse(tmp_path), "XYZ", Resolution.DAILY)


def test_a_report_without_one_of_its_files_is_an_error(tmp_path, report):
    folder = write_report(Warehouse(tmp_path), report)
    (folder / "findings.parquet").unlink()
    with pytest.raises(CorruptFileError):
        read_report(Warehouse(tmp_path), "XYZ", Resolution.DAILY)


def test_reports_can_be_asked_in_sql(tmp_path, report):
    write_report(Warehouse(tmp_path / "data"), report)
    catalog = Catalog(tmp_path / "data", tmp_path / "results")
    failed = catalog.query("SELECT rule, offending FROM quality WHERE NOT passed ORDER BY rule").to_pylist()
    assert failed == [{"rule": "missing_sessions", "offending": 1}, {"rule": "zero_volume", "offending": 2}]
    unknown = catalog.query("SELECT count(*) AS n FROM quality WHERE passed IS NULL")["n"].to_pylist()
    assert unknown == [len(report.unknown)]
    assert (
        catalog.query("SELECT sum(value) AS n FROM quality_findings WHERE rule = 'missing_sessions'")["n"][0].as_py()
        == 3
    )


def test_json_is_strict_and_says_null_for_what_is_unknown(report):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    [parsed] = json.loads(render_json([report]), parse_constant=refuse)
    assert parsed["symbol"] == "XYZ"
    assert parsed["coverage"][0] == {"year": 2023, "expected": 250, "found": 247}
    revisions = next(check for check in parsed["checks"] if check["rule"] == "vendor_revisions")
    assert (revisions["passed"], revisions["measured"]) == (None, None)
    missing, *silent = parsed["findings"]
    assert (missing["session"], missing["ts"], missing["value"]) == ("2023-01-18", None, 3.0)
    assert silent[0] == {
        "rule": "zero_volume", "severity": "WARN", "ts": "2023-01-06T21:00:00+00:00", "session": "2023-01-06",
        "value": None, "detail": "No volume was traded, or none was given.",
    }  # fmt: skip


def test_json_says_null_for_what_is_not_finite(daily, tmp_path):
    series = daily()
    series.columns["close"][7] = np.inf
    report = series.judge().report
    [parsed] = json.loads(render_json([report]))
    bad = [row for row in parsed["findings"] if row["rule"] == "non_positive_or_nan_price"]
    assert bad[0]["value"] is None
    assert "Infinity" not in render_json([report])
    assert "Infinity" not in (write_report(Warehouse(tmp_path), report) / "report.json").read_text()


def test_the_page_is_well_formed_and_says_what_was_found(report):
    page = _Page(render_html([report], get_calendar("XNYS")))
    assert page.open == []
    for said in (
        "XYZ",
        "XNYS",
        "missing_sessions",
        "3 sessions of 502 without a bar.",
        "2023-01-18 to 2023-01-20",
        "98.8",
    ):
        assert said in page.text


def test_the_page_says_what_could_not_be_computed(report):
    text = _Page(render_html([report], get_calendar("XNYS"))).text
    assert f"{len(report.unknown)} rules not computed" in text


def test_the_page_reaches_for_nothing_outside_itself(report):
    html = render_html([report], get_calendar("XNYS"))
    page = _Page(html)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    assert all(value.startswith("#") for name, value in page.attributes if name in {"href", "src"})
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


@pytest.mark.parametrize(
    "symbol", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "A&B", "O'X", "</style>"]
)
def test_a_symbol_is_shown_as_text_whatever_it_is_called(report, symbol):
    page = _Page(render_html([renamed(report, symbol)], get_calendar("XNYS")))
    assert symbol in page.text
    assert not {"script", "img"} & set(page.tags)
    assert "onerror" not in [name for name, _ in page.attributes]


def test_text_from_files_is_shown_as_text(daily):
    series = daily()
    fault = "<script>alert('x')</script>"
    series.quarantine = [
        {"stamp": None, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "reason": fault, "detail": fault}
    ]
    page = _Page(render_html([series.judge().report], get_calendar("XNYS")))
    assert fault in page.text
    assert "script" not in page.tags


def test_messages_are_shown_as_text(report):
    fault = "<script>alert('x')</script>"
    i = report.checks.schema.get_field_index("message")
    checks = report.checks.set_column(i, "message", pa.array([fault] * report.checks.num_rows))
    changed = dataclasses.replace(report, checks=checks)
    page = _Page(render_html([changed], get_calendar("XNYS")))
    assert page.text.count(fault) == checks.num_rows
    assert "script" not in page.tags


def test_the_page_shows_the_first_findings_and_says_how_many_there_are(daily):
    series = daily()
    series.columns["volume"][:300] = 0.0
    html = render_html([series.judge().report], get_calendar("XNYS"))
    assert html.count("No volume was traded") == 200
    assert "100 more in findings.parquet" in html


def test_the_heat_map_leaves_years_before_a_listing_blank(daily):
    early, late = daily(date(2022, 1, 3), date(2024, 12, 31)).judge().report, daily(date(2024, 6, 3)).judge().report
    html = render_html([early, renamed(late, "LATE")], get_calendar("XNYS"))
    rows = re.findall(r'<tr><th scope="row">.*?</tr>', html)
    assert rows[0].count('class="full"') == 3
    assert rows[1].count("<td></td>") == 2
    assert 'title="2024: 147 of 147 bars"' in rows[1]


def test_a_page_of_no_reports_is_a_page():
    assert "no bars to show" in _Page(render_html([], get_calendar("XNYS"))).text
