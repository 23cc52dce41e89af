"""Asking all rules about one symbol.

Belongs here: reading what the rules need, running them, putting the report together. Does not belong here: any
rule, writing reports.
"""

from collections.abc import Callable
from datetime import date

import pyarrow as pa

from warehouse.calendar import TradingCalendar
from warehouse.errors import CorruptFileError
from warehouse.quality import completeness, continuity, integrity, scoring
from warehouse.quality.completeness import coverage_by_year
from warehouse.quality.evidence import Evidence, Schedule, gather
from warehouse.quality.report import QualityReport
from warehouse.quality.rule import Outcome, Rule, Severity, not_computed
from warehouse.quality.scoring import quality_score
from warehouse.quality.settings import QualitySettings
from warehouse.resolution import Resolution
from warehouse.schema import CLEAN_SCHEMA, FINDINGS_SCHEMA, QUALITY_SCHEMA, QUARANTINE_SCHEMA, REVISIONS_SCHEMA
from warehouse.store import Warehouse

RULES: tuple[Rule, ...] = (
    *integrity.RULES[:3],
    *completeness.RULES,
    *integrity.RULES[3:],
    *continuity.RULES,
    *scoring.RULES,
)
"""Every rule, in the order of a report."""


def inspect(
    warehouse: Warehouse,
    symbol: str,
    resolution: Resolution,
    calendar: TradingCalendar,
    *,
    settings: QualitySettings | None = None,
    today: date,
) -> QualityReport:
    """Ask every rule about the stored bars of one symbol.

    Args:
        warehouse: where raw and clean bars lie; a symbol without any is reported as such, not refused.
        symbol: the symbol.
        resolution: length of the bars.
        calendar: the exchange's sessions.
        settings: thresholds and severities other than the defaults.
        today: sessions before this day are closed; bars after it are from the future.
    """
    return judge(read_evidence(warehouse, symbol, resolution, calendar, today), settings or QualitySettings(), today)


def read_evidence(
    warehouse: Warehouse, symbol: str, resolution: Resolution, calendar: TradingCalendar, today: date
) -> Evidence:
    """What the warehouse holds of a symbol, for the rules; a file that cannot be read is noted, not raised."""
    unreadable: list[str] = []

    def read(what: Callable[[str, Resolution], pa.Table], empty: pa.Schema) -> pa.Table:
        try:
            return what(symbol, resolution)
        except CorruptFileError as error:
            unreadable.append(str(error))
            return empty.empty_table()

    try:
        batches = warehouse.raw_batches(symbol, resolution)
    except CorruptFileError as error:
        unreadable.append(str(error))
        batches = []
    return gather(
        symbol,
        resolution,
        bars=read(warehouse.read_clean, CLEAN_SCHEMA),
        batches=batches,
        quarantine=read(warehouse.read_quarantine, QUARANTINE_SCHEMA),
        revisions=read(warehouse.read_revisions, REVISIONS_SCHEMA),
        schedule=Schedule.of(calendar),
        today=today,
        unreadable=tuple(unreadable),
    )


def judge(evidence: Evidence, settings: QualitySettings, today: date) -> QualityReport:
    """The report on some evidence."""
    rules = [rule for rule in RULES if rule.applies_to(evidence.resolution) and settings.of(rule).enabled]
    outcomes = [(rule, _ask(rule, evidence, settings)) for rule in rules]
    rows = [_check(rule, outcome, evidence, settings) for rule, outcome in outcomes]
    found = [_findings(row, outcome, evidence) for row, (_, outcome) in zip(rows, outcomes, strict=True)]
    return QualityReport(
        evidence.symbol,
        evidence.resolution,
        today,
        pa.Table.from_pylist(rows, schema=QUALITY_SCHEMA),
        pa.concat_tables([FINDINGS_SCHEMA.empty_table(), *found]).combine_chunks(),
        quality_score(evidence),
        coverage_by_year(evidence),
    )


def _ask(rule: Rule, evidence: Evidence, settings: QualitySettings) -> Outcome:
    if rule.needs_bars and not len(evidence.bars):
        why = "a stored file cannot be read" if evidence.unreadable else "there are no clean bars"
        return not_computed(f"Not computed: {why}.")
    return rule.check(evidence, settings.threshold(rule, evidence.resolution))


def _check(rule: Rule, outcome: Outcome, evidence: Evidence, settings: QualitySettings) -> dict[str, object]:
    threshold = settings.threshold(rule, evidence.resolution)
    severity = settings.severity(rule)
    if outcome.contained and severity is Severity.ERROR:
        severity = Severity.WARN
    return {
        "symbol": evidence.symbol,
        "resolution": evidence.resolution.value,
        "rule": rule.id,
        "severity": severity.value,
        "passed": None if outcome.measured is None else rule.passes(outcome.measured, threshold),
        "threshold": threshold,
        "measured": outcome.measured,
        "offending": len(outcome.offences),
        "message": outcome.message[:1].upper() + outcome.message[1:],
    }


def _findings(check: dict[str, object], outcome: Outcome, evidence: Evidence) -> pa.Table:
    count = len(outcome.offences)
    constant = [
        pa.repeat(pa.scalar(text, pa.string()), count)
        for text in (evidence.symbol, evidence.resolution.value, check["rule"], check["severity"])
    ]
    return pa.Table.from_arrays([*constant, *outcome.offences.columns()], schema=FINDINGS_SCHEMA)
