"""Quality rules as Dagster asset checks.

Belongs here: check definitions from rules, their results. Does not belong here: the rules (see `warehouse.quality`),
the refusal to use bars that failed them (see `gate`).

A check speaks of the symbols of its run: an ERROR fails the run and stops what would follow in it, but other symbols'
standing errors do not. `standing_errors` speaks of the whole store, so that a run for one good symbol cannot make
another symbol's error look solved.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from pipelines.keys import SYMBOLS_FACT, symbol_asset_key
from pipelines.metadata import records_table
from pipelines.partitions import symbol_of
from warehouse.resolution import Resolution

if TYPE_CHECKING:
    from warehouse.quality import QualityReport, QualitySettings
    from warehouse.store import Warehouse

STANDING_ERRORS = "standing_errors"

_SHOWN = 50


def rules_in_force(settings: "QualitySettings", resolution: Resolution) -> list[tuple[str, str, bool]]:
    """(id, description, blocking) of every rule that is asked at a resolution."""
    from warehouse.quality import RULES, Severity

    asked = [rule for rule in RULES if rule.applies_to(resolution) and settings.of(rule).enabled]
    return [(rule.id, rule.description, settings.severity(rule) is Severity.ERROR) for rule in asked]


def quality_check_specs(settings: "QualitySettings", resolution: Resolution) -> list[dg.AssetCheckSpec]:
    """One check a rule, blocking where its failure is an ERROR, and `standing_errors`."""
    asset = symbol_asset_key("quality_report", resolution)
    specs = [
        dg.AssetCheckSpec(name, asset=asset, description=description, blocking=blocking)
        for name, description, blocking in rules_in_force(settings, resolution)
    ]
    standing = "No symbol of the whole warehouse has a quality ERROR, whichever run found it."
    return [*specs, dg.AssetCheckSpec(STANDING_ERRORS, asset=asset, description=standing)]


def check_results(
    names: Iterable[str], reports: Sequence["QualityReport"], resolution: Resolution
) -> list[dg.AssetCheckResult]:
    """Result of every rule over the reports of one run."""
    failed: dict[str, list[dict[str, object]]] = {name: [] for name in names}
    for report in reports:
        for row in report.checks.to_pylist():
            if row["passed"] is False and row["rule"] in failed:
                failed[row["rule"]].append(row)
    return [_check_result(name, rows, len(reports), resolution) for name, rows in failed.items()]


def _check_result(
    name: str, rows: Sequence[dict[str, object]], total: int, resolution: Resolution
) -> dg.AssetCheckResult:
    is_error = any(row["severity"] == "ERROR" for row in rows)
    errors = [row["symbol"] for row in rows if row["severity"] == "ERROR"]
    shown = records_table(rows[:_SHOWN], ["symbol", "severity", "measured", "threshold", "offending", "message"])
    return dg.AssetCheckResult(
        asset_key=symbol_asset_key("quality_report", resolution),
        check_name=name,
        passed=not rows,
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        description=f"{len(rows)} of {total} symbols of this run fail.",
        metadata={"symbols_failing": len(rows), SYMBOLS_FACT: dg.MetadataValue.json(errors), "failing": shown},
    )


def standing_errors(warehouse: "Warehouse", keys: Iterable[str], resolution: Resolution) -> dg.AssetCheckResult:
    """Every symbol whose latest report has an ERROR, whichever run wrote it."""
    from warehouse.quality import read_report

    rows: list[dict[str, object]] = []
    for key in keys:
        report = read_report(warehouse, symbol_of(key), resolution)
        if report is not None and report.blocking:
            rows.append({"symbol": report.symbol, "errors": ", ".join(report.errors)})
    return dg.AssetCheckResult(
        asset_key=symbol_asset_key("quality_report", resolution),
        check_name=STANDING_ERRORS,
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(rows)} symbols stand with a quality ERROR.",
        metadata={"symbols_standing": len(rows), "standing": records_table(rows[:_SHOWN], ["symbol", "errors"])},
    )
