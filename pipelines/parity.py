"""A live session beside its backtest, for the command line and for Dagster.

Belongs here: from settings and the ledger to `research.parity`, and from its report to metadata and checks. Does not
belong here: comparing (see `research.parity`), definitions (see `live_definitions`).
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.deployments import experiment_of, open_ledger, traded_session
from pipelines.errors import SettingsError
from pipelines.metadata import file_link, records_table
from pipelines.settings import Settings
from warehouse.calendar import get_calendar
from warehouse.ledger.records import DeploymentSwitched, SessionStarted
from warehouse.ledger.store import Ledger

if TYPE_CHECKING:
    from research.parity.page import Written
    from research.parity.report import ParityReport
    from research.parity.tolerance import Verdict

PARITY_REPORT = "parity_report"


@dataclass(frozen=True, slots=True)
class Compared:
    """A report, judged, and where it lies."""

    report: "ParityReport"
    verdicts: "tuple[Verdict, ...]"
    written: "Written"


def compare_session(settings: Settings, deployment: str, session: date | None) -> Compared:
    """Hold a session against its backtest, judge the difference, write page and picture.

    Args:
        settings: folders, ledger, tolerances.
        deployment: whose session.
        session: the exchange date; the latest that was traded where None.

    Raises:
        SettingsError: no run of the deployment has begun such a session.
        ResearchError: there is nothing to compare, or the strategy or the tolerances cannot be used.
        WarehouseError: the ledger or the bars cannot be read.
    """
    from research.parity.page import write_parity
    from research.parity.report import parity_report
    from research.parity.tolerance import Tolerances, load_tolerances, verdicts
    from warehouse.store import Warehouse

    tolerances = load_tolerances(settings.parity_file) if settings.parity_file else Tolerances()
    with open_ledger(settings) as ledger:
        chosen = traded_session(ledger, deployment, session)
        experiment = experiment_of(_switched_for(ledger, deployment, chosen))
        report = parity_report(
            ledger, Warehouse(settings.data_dir), deployment, chosen,
            experiment=experiment, calendar=get_calendar(experiment.calendar),
        )  # fmt: skip
    judged = verdicts(report, tolerances)
    return Compared(report, judged, write_parity(report, judged, settings.results_dir))


def _switched_for(ledger: Ledger, deployment: str, session: date) -> DeploymentSwitched:
    """The switch that was in force when a session was begun: a later one may be of another experiment."""
    switched = None
    for one in ledger.events(deployment):
        if isinstance(one.record, SessionStarted) and one.scope.session == session:
            break
        if isinstance(one.record, DeploymentSwitched) and one.record.enabled:
            switched = one.record
    if switched is None:
        raise SettingsError(f"deployment: {deployment!r} was never switched on.")
    return switched


# -------------------------------------------------------------------- for Dagster


def parity_metadata(compared: Compared) -> dict[str, Any]:
    """What the asset shows."""
    from research.parity.page import COLUMNS, trade_rows

    report = compared.report
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in trade_rows(report)]
    picture = base64.b64encode(compared.written.picture.read_bytes()).decode()
    told = [sentence for sentence in (report.missing, *report.remarks) if sentence]
    return {
        "summary": report.sentence,
        "deployment": report.deployment,
        "session": report.session.isoformat(),
        "difference": float(report.total),
        **{name: float(amount) for name, amount in report.parts.named()},
        "signals that differ": report.signals,
        "compared with": "bars as seen" if report.stored_result is None else "bars of the warehouse",
        "remarks": dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in told) or "none"),
        "trades": records_table(rows, COLUMNS),
        "plot": dg.MetadataValue.md(f"![from backtest to live](data:image/png;base64,{picture})"),
        "page": file_link(compared.written.page),
    }


def parity_check_specs() -> list[dg.AssetCheckSpec]:
    """One check a tolerance."""
    from research.parity.checks import CHECKS

    return [dg.AssetCheckSpec(name, asset=PARITY_REPORT, description=text) for name, text in CHECKS.items()]


def parity_check_results(compared: Compared) -> Iterator[dg.AssetCheckResult]:
    """The judgements, for an asset that is materialised."""
    for one in compared.verdicts:
        yield dg.AssetCheckResult(
            check_name=one.name, asset_key=PARITY_REPORT, passed=one.passed, severity=dg.AssetCheckSeverity.WARN,
            description=one.sentence, metadata=_measured(one),
        )  # fmt: skip


def parity_evaluations(compared: Compared) -> Iterator[dg.AssetCheckEvaluation]:
    """The same, for an op that reports an asset."""
    for one in compared.verdicts:
        yield dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(PARITY_REPORT), check_name=one.name, passed=one.passed,
            severity=dg.AssetCheckSeverity.WARN, description=one.sentence, metadata=_measured(one),
        )  # fmt: skip


def _measured(verdict: "Verdict") -> dict[str, float]:
    return {"measured": float(verdict.measured), "most": float(verdict.most)}
