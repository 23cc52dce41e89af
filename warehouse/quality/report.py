"""A quality report: what it holds, and how it is kept on disk.

Belongs here: the report, its files, its JSON. Does not belong here: how it comes about (`inspection`), how a page
shows it (`page`).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.errors import CorruptFileError
from warehouse.files import parquet_bytes, read_parquet, replace_folder
from warehouse.layout import quality_folder
from warehouse.quality.completeness import YearCoverage
from warehouse.quality.rule import Severity
from warehouse.resolution import Resolution
from warehouse.schema import FINDINGS_SCHEMA, QUALITY_SCHEMA
from warehouse.store import Warehouse


@dataclass(frozen=True, slots=True, eq=False)
class QualityReport:
    """What the rules found in one symbol's bars at one resolution.

    `checks` (QUALITY_SCHEMA) has a row a rule: `passed` is null, as is `measured`, where the rule could not be
    computed. `findings` (FINDINGS_SCHEMA) has the offending bars, sessions and absences. `score` is None without
    bars.
    """

    symbol: str
    resolution: Resolution
    inspected_on: date
    checks: pa.Table
    findings: pa.Table
    score: float | None
    coverage: tuple[YearCoverage, ...]

    @property
    def errors(self) -> list[str]:
        """Ids of failed rules of severity ERROR."""
        return self.failed(Severity.ERROR)

    @property
    def warnings(self) -> list[str]:
        """Ids of failed rules of severity WARN."""
        return self.failed(Severity.WARN)

    @property
    def unknown(self) -> list[str]:
        """Ids of rules that could not be computed."""
        ids: list[str] = self.checks.filter(pc.is_null(self.checks["passed"]))["rule"].to_pylist()
        return ids

    @property
    def blocking(self) -> bool:
        """True when the bars must not be used without a recorded override."""
        return bool(self.errors)

    def failed(self, severity: Severity) -> list[str]:
        """Ids of failed rules of one severity, in the order of the report."""
        hit = pc.and_kleene(pc.equal(self.checks["passed"], False), pc.equal(self.checks["severity"], severity.value))
        ids: list[str] = self.checks.filter(hit)["rule"].to_pylist()
        return ids

    def findings_of(self, rule_id: str) -> pa.Table:
        """Offending rows of one rule."""
        return self.findings.filter(pc.equal(self.findings["rule"], rule_id))


def write_report(warehouse: Warehouse, report: QualityReport) -> Path:
    """Keep a report as `checks.parquet`, `findings.parquet` and `report.json`, all three in one step.

    Returns:
        The folder.
    """
    folder = quality_folder(warehouse.root, report.symbol, report.resolution)
    text = json.dumps(_summary(report), indent=2, allow_nan=False)
    replace_folder(
        folder,
        {
            "checks.parquet": parquet_bytes(report.checks),
            "findings.parquet": parquet_bytes(report.findings),
            "report.json": f"{text}\n".encode(),
        },
    )
    return folder


def read_report(warehouse: Warehouse, symbol: str, resolution: Resolution) -> QualityReport | None:
    """The report kept last, or None.

    Raises:
        CorruptFileError: a file of the report cannot be read.
    """
    folder = quality_folder(warehouse.root, symbol, resolution)
    if not folder.exists():
        return None
    try:
        summary = json.loads((folder / "report.json").read_text())
        return QualityReport(
            symbol,
            resolution,
            date.fromisoformat(summary["inspected_on"]),
            read_parquet(folder / "checks.parquet", QUALITY_SCHEMA),
            read_parquet(folder / "findings.parquet", FINDINGS_SCHEMA),
            summary["score"],
            tuple(YearCoverage(year["year"], year["expected"], year["found"]) for year in summary["coverage"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{folder}: not a readable quality report ({error}).") from error


def render_json(reports: Sequence[QualityReport]) -> str:
    """The reports with all findings, as a JSON list; times in ISO 8601 UTC, what is unknown as null."""
    return json.dumps([_summary(report) | {"findings": _rows(report.findings)} for report in reports], indent=2)


def _summary(report: QualityReport) -> dict[str, Any]:
    return {
        "symbol": report.symbol,
        "resolution": report.resolution.value,
        "inspected_on": report.inspected_on.isoformat(),
        "score": report.score,
        "blocking": report.blocking,
        "errors": report.errors,
        "warnings": report.warnings,
        "unknown": report.unknown,
        "coverage": [asdict(year) for year in report.coverage],
        "checks": _rows(report.checks),
    }


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows without symbol and resolution, which the report names once."""
    return [
        {key: _json_value(value) for key, value in row.items()}
        for row in table.drop(["symbol", "resolution"]).to_pylist()
    ]


def _json_value(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, date) else value
