"""Quality reports as one HTML page.

Belongs here: the page. Does not belong here: what it shows (`report`), where it is written.

The page needs no network, no script and no other file, and forbids itself all three. Whatever comes from data is
escaped: a symbol may be called `<script>`.
"""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.calendar import TradingCalendar
from warehouse.quality.completeness import YearCoverage
from warehouse.quality.inspection import RULES
from warehouse.quality.report import QualityReport

SHOWN_FINDINGS = 200
"""Offending rows a rule shows on the page; the Parquet file has them all."""

_RULES = {rule.id: rule for rule in RULES}
_LEVELS = ((0.9995, "full", "complete"), (0.98, "good", "98 % and more"), (0.9, "thin", "90 % and more"),
           (0.5, "poor", "50 % and more"), (0.0, "bad", "less than 50 %"))  # fmt: skip


def render_html(reports: Sequence[QualityReport], calendar: TradingCalendar) -> str:
    """A self-contained page on some reports: coverage by year, then what each symbol's rules say.

    Args:
        reports: shown in the order given.
        calendar: the exchange they were compared with; the page names it.
    """
    days = sorted({report.inspected_on.isoformat() for report in reports})
    facts = f"Calendar {escape(calendar.name)}, inspected on {escape(' and '.join(days) or 'no day')}. Times are UTC."
    body = "".join(
        [
            f"<header><h1>Data quality</h1><p>{facts}</p>{_totals(reports)}</header>",
            _coverage_table(reports),
            *(_symbol_section(report) for report in reports),
        ]
    )
    return f"{_head()}<body><main>{body}</main></body></html>\n"


def _totals(reports: Sequence[QualityReport]) -> str:
    errors = sum(len(report.errors) for report in reports)
    warnings = sum(len(report.warnings) for report in reports)
    blocked = sum(report.blocking for report in reports)
    chips = [
        _chip("", f"{_count(len(reports), 'symbol')}"),
        _chip("error" if errors else "pass", _count(errors, "error")),
        _chip("warn" if warnings else "pass", _count(warnings, "warning")),
        _chip("error" if blocked else "pass", f"{_count(blocked, 'symbol')} not to be used"),
    ]
    return f'<p class="chips">{"".join(chips)}</p>'


def _coverage_table(reports: Sequence[QualityReport]) -> str:
    """Symbol by year, each cell the share of the expected bars that are there."""
    years = sorted({year.year for report in reports for year in report.coverage})
    if not years:
        return '<section><h2>Coverage</h2><p class="quiet">There are no bars to show.</p></section>'
    span = range(years[0], years[-1] + 1)
    head = "".join(f'<th scope="col">{year}</th>' for year in span)
    rows = "".join(_coverage_row(report, span) for report in reports)
    legend = "".join(f'<li><span class="swatch {name}"></span>{text}</li>' for _, name, text in _LEVELS)
    return (
        "<section><h2>Coverage</h2><p>Share of the bars that the calendar expects between a symbol's first bar and its "
        'last, in per cent.</p><div class="scroll"><table class="coverage"><thead><tr><th scope="col">Symbol</th>'
        f'{head}</tr></thead><tbody>{rows}</tbody></table></div><ul class="legend">{legend}'
        '<li><span class="swatch"></span>before the first bar or after the last</li></ul></section>'
    )


def _coverage_row(report: QualityReport, years: Iterable[int]) -> str:
    known = {year.year: year for year in report.coverage}
    cells = "".join(_coverage_cell(known.get(year)) for year in years)
    name = (
        f'<a href="#{_anchor(report)}">{escape(report.symbol)}</a> <span class="quiet">{report.resolution.value}</span>'
    )
    return f'<tr><th scope="row">{name}</th>{cells}</tr>'


def _coverage_cell(year: YearCoverage | None) -> str:
    if year is None:
        return "<td></td>"
    level = next(name for bound, name, _ in _LEVELS if year.ratio >= bound)
    shown = "100" if level == "full" else f"{min(year.ratio * 100, 99.9):.1f}"
    return f'<td class="{level}" title="{year.year}: {year.found:,} of {year.expected:,} bars">{shown}</td>'


def _symbol_section(report: QualityReport) -> str:
    checks = report.checks.to_pylist()
    failed = sorted((c for c in checks if c["passed"] is False), key=lambda c: _ORDER.index(c["severity"]))
    unknown = [c for c in checks if c["passed"] is None]
    passed = [c for c in checks if c["passed"]]
    score = "unknown" if report.score is None else f"{report.score:.3f}"
    verdict = _chip("error", "not to be used") if report.blocking else _chip("pass", "usable")
    title = f'{escape(report.symbol)} <span class="quiet">{report.resolution.value}</span>'
    return (
        f'<section id="{_anchor(report)}"><h2>{title} {verdict}{_chip("", f"score {score}")}</h2>'
        f"{_check_table(failed, report) if failed else ''}"
        f"{_folded(_count(len(unknown), 'rule') + ' not computed', _check_table(unknown, report), unknown)}"
        f"{_folded(_count(len(passed), 'rule') + ' passed', _check_table(passed, report), passed)}</section>"
    )


_ORDER = ("ERROR", "WARN", "INFO")


def _folded(summary: str, content: str, shown: Sequence[object]) -> str:
    return f"<details><summary>{summary}</summary>{content}</details>" if shown else ""


def _check_table(checks: Sequence[dict[str, Any]], report: QualityReport) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", "Rule", "Measured", "Threshold", "What was found"))
    rows = "".join(_check_row(check, report) for check in checks)
    table = f"<colgroup>{'<col>' * 5}</colgroup><thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    return f'<div class="scroll"><table class="checks">{table}</table></div>'


def _check_row(check: dict[str, Any], report: QualityReport) -> str:
    rule = _RULES.get(check["rule"])
    bound = "at least" if rule and rule.at_least else "at most"
    share = bool(rule and rule.share)
    description = f'<div class="quiet">{escape(rule.description)}</div>' if rule else ""
    return (
        f"<tr><td>{_status(check)}</td><td><code>{escape(check['rule'])}</code>{description}</td>"
        f'<td class="number">{_figure(check["measured"], share=share)}</td>'
        f'<td class="number">{bound} {_figure(check["threshold"], share=share)}</td>'
        f"<td>{escape(check['message'])}{_findings(report, check)}</td></tr>"
    )


def _status(check: dict[str, Any]) -> str:
    if check["passed"] is None:
        return _chip("unknown", "unknown")
    severity = str(check["severity"])
    return _chip("pass", "passed") if check["passed"] else _chip(severity.lower(), severity)


def _findings(report: QualityReport, check: dict[str, Any]) -> str:
    rows = report.findings_of(check["rule"])
    if not rows.num_rows:
        return ""
    shown = rows.slice(0, SHOWN_FINDINGS)
    more = rows.num_rows - shown.num_rows
    rest = f'<p class="quiet">{more:,} more in findings.parquet.</p>' if more else ""
    items = "".join(
        f"<tr><td>{escape(when)}</td><td>{escape(detail or '')}</td></tr>"
        for when, detail in zip(_moments(shown), shown["detail"].to_pylist(), strict=True)
    )
    table = f'<div class="scroll"><table class="findings"><tbody>{items}</tbody></table></div>{rest}'
    return _folded(_count(rows.num_rows, "finding"), table, [rows])


def _moments(findings: pa.Table) -> list[str]:
    """When each finding was: its session, or its time where it has no session."""
    times = pc.strftime(findings["ts"].cast(pa.timestamp("us")), "%Y-%m-%d %H:%M")
    sessions = findings["session"].cast(pa.string())
    moments: list[str] = pc.fill_null(pc.coalesce(sessions, times), "").to_pylist()
    return moments


def _figure(value: float | None, *, share: bool) -> str:
    if value is None:
        return '<span class="quiet">unknown</span>'
    return f"{value * 100:,.4g} %" if share else f"{value:,.6g}"


def _chip(kind: str, text: str) -> str:
    return f'<span class="chip {kind}">{escape(text)}</span>'


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun if count == 1 else f'{noun}s'}"


def _anchor(report: QualityReport) -> str:
    return escape(f"{report.symbol}-{report.resolution.value}".encode().hex())


def _head() -> str:
    style = files("warehouse.quality").joinpath("page.css").read_text()
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Data quality</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
{style}</style></head>"""
