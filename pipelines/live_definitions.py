"""The code location of live trading: one job, one sensor.

Belongs here: what Dagster has to know. Does not belong here: deciding (see `broker.deployment.supervision`), trading.
It is a code location of its own, so that reloading research code cannot touch a session that is traded.
"""

import dataclasses
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from pipelines.deployments import RunSeen, open_ledger, raise_alarm, run_session, watched
from pipelines.errors import PipelineError
from pipelines.keys import COMPUTING
from pipelines.metadata import records_table, sparkline
from pipelines.parity import (
    PARITY_REPORT,
    compare_session,
    parity_check_results,
    parity_check_specs,
    parity_evaluations,
    parity_metadata,
)
from pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from broker.deployment.supervision import Rules
    from warehouse.ledger.records import Scope
    from warehouse.ledger.store import Ledger

JOB = "live_trading"
SESSION_REPORT = "session_report"
DEPLOYMENT_TAG, SESSION_TAG, ACCOUNT_TAG = "barloom/deployment", "barloom/session", "barloom/account"

_EVERY_SECONDS = 5
_GOING = frozenset({*IN_PROGRESS_RUN_STATUSES, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED})
_MOST_RUNS = 50


class SessionConfig(dg.Config):
    """Which session of which deployment."""

    deployment: str
    session: str
    attempt: int


class LiveSettings(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The settings of the project folder, read when a run or a tick begins."""

    def load(self) -> Settings:
        """As the environment and `.env` say now."""
        return load_settings()


@dg.op(
    description="Trade one session of a deployment: connect, reconcile, run the strategy, end with the exchange's day."
)
def trade_session(context: dg.OpExecutionContext, config: SessionConfig, live: dg.ResourceParam[LiveSettings]) -> None:
    """One session; fails where it did not end as it should."""
    outcome = run_session(
        live.load(), config.deployment, date.fromisoformat(config.session), run_id=context.run_id,
        attempt=config.attempt, stop=threading.Event(),
    )  # fmt: skip
    context.log.info(f"{config.deployment}: {outcome.ending}: {outcome.reason}")
    context.log_event(_reported(live.load(), config))
    _report_parity(context, live.load(), config)
    if outcome.ending not in {"done", "stopped"}:
        raise dg.Failure(f"{config.deployment}: {outcome.ending}: {outcome.reason}", allow_retries=False)


def _reported(settings: Settings, config: SessionConfig) -> dg.AssetMaterialization:
    """The session's report, as the asset that Dagster shows."""
    from broker.deployment.report import session_report

    with open_ledger(settings) as ledger:
        report = session_report(ledger, config.deployment, date.fromisoformat(config.session))
    lines = "\n".join(f"- {ts:%H:%M:%S} {text}" for ts, text in report.timeline)
    metadata: dict[str, Any] = {
        "summary": report.sentence,
        "fills": sum(one.fills for one in report.traded),
        "commission": float(report.commission),
        "slippage": records_table(
            [
                {"symbol": symbol, "money": one.money, "basis points": one.basis_points, "fills unknown": one.unknown}
                for symbol, one in [*((one.symbol, one.slippage) for one in report.traded), ("all", report.slippage)]
            ],
            ["symbol", "money", "basis points", "fills unknown"],
        ),
        "equity": sparkline([float(equity) for _, equity in report.equity], label="equity"),
        "positions": ", ".join(f"{quantity:f} {symbol}" for symbol, quantity in report.positions) or "none",
        "timeline": dg.MetadataValue.md(lines or "nothing happened"),
    }
    if report.profit is not None:
        metadata["profit"] = float(report.profit)
    return dg.AssetMaterialization(
        SESSION_REPORT, description=report.sentence, metadata=metadata,
        tags={DEPLOYMENT_TAG: config.deployment, SESSION_TAG: config.session},
    )  # fmt: skip


def _report_parity(context: dg.OpExecutionContext, settings: Settings, config: SessionConfig) -> None:
    """Hold the session against its backtest over the bars that it saw; the session stands whatever comes of it."""
    from research.errors import ResearchError
    from warehouse.errors import WarehouseError

    try:
        compared = compare_session(settings, config.deployment, date.fromisoformat(config.session))
    except (PipelineError, ResearchError, WarehouseError) as failure:
        context.log.warning(f"{config.deployment}: there is no parity report: {failure}")
        return
    materialization = dg.AssetMaterialization(
        PARITY_REPORT, description=compared.report.sentence, metadata=parity_metadata(compared),
        tags={DEPLOYMENT_TAG: config.deployment, SESSION_TAG: config.session},
    )  # fmt: skip
    context.log_event(materialization)
    for evaluation in parity_evaluations(compared):
        context.log_event(evaluation)  # type: ignore[arg-type]  # it takes them


class ParityConfig(dg.Config):
    """Which session of which deployment; the latest that was traded where no session is named."""

    deployment: str
    session: str | None = None


@dg.asset(
    name=PARITY_REPORT,
    pool=COMPUTING,
    group_name="live",
    kinds={"python"},
    deps=[SESSION_REPORT],
    check_specs=parity_check_specs(),
    description="A live session held against the backtest of its day, over the bars that it saw and those that the"
    " warehouse holds now: the difference in money, trade by trade, split into its causes. The job reports it at the"
    " end of a session; materialise it again when the day's bars have been fetched.",
)
def parity_report(config: ParityConfig, live: dg.ResourceParam[LiveSettings]) -> Iterator[dg.MaterializeResult[Any]]:
    """Compare one session."""
    compared = compare_session(
        live.load(), config.deployment, None if config.session is None else date.fromisoformat(config.session)
    )
    yield dg.MaterializeResult(
        metadata=parity_metadata(compared),
        check_results=list(parity_check_results(compared)),
        tags={DEPLOYMENT_TAG: config.deployment, SESSION_TAG: compared.report.session.isoformat()},
    )


@dg.job(
    name=JOB,
    executor_def=dg.in_process_executor,
    tags={"dagster/max_retries": "0"},
    description="Trades one session of one deployment; started by the sensor `live_supervisor`.",
)
def live_trading() -> None:
    """Run one session."""
    trade_session()


@dg.sensor(
    job=live_trading,
    minimum_interval_seconds=_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Starts a run for every deployment whose session begins, and again when a run was lost.",
)
def live_supervisor(
    context: dg.SensorEvaluationContext, live: dg.ResourceParam[LiveSettings]
) -> dg.SensorResult | dg.SkipReason:
    """Compare what is wanted with what runs."""
    requests, reasons = supervise_all(context.instance, live.load())
    if not requests:
        return dg.SkipReason("; ".join(reasons) or "There is no deployment.")
    return dg.SensorResult(run_requests=requests)


def supervise_all(
    instance: dg.DagsterInstance, settings: Settings, *, now: datetime | None = None
) -> tuple[list[dg.RunRequest], list[str]]:
    """Runs to request, and for every other deployment why there is none; `now` is the wall clock unless given."""
    from broker.deployment.supervision import SUPERVISOR, Rules, Start, session_at, supervise
    from pipelines.clock import market_clock
    from pipelines.lost_runs import give_up, tell_of_lost
    from warehouse.calendar import get_calendar
    from warehouse.ledger.records import Heartbeat

    rules, calendar, now = Rules(), get_calendar(settings.calendar), now or datetime.now(UTC)
    requests: list[dg.RunRequest] = []
    reasons: list[str] = []
    with open_ledger(settings) as ledger:
        known = ledger.deployments()
        if not known:
            return [], []
        market = market_clock(settings)()
        session = session_at(market, calendar, rules.lead)
        for name, (scope, _) in sorted(known.items()):
            ledger.beat(name, Heartbeat(now, SUPERVISOR, os.getpid(), socket.gethostname()))
            mine = dataclasses.replace(scope, session=session)
            before = dataclasses.replace(scope, session=calendar.last_closed_session(market))
            _look_back(instance, settings, ledger, before, rules)
            runs = _runs(instance, name, session)
            tell_of_lost(settings, ledger, mine, runs)
            seen = watched(ledger, name, session, runs, busy=_busy(instance, scope.account, name))
            found = supervise(seen, market, now, calendar, rules)
            if isinstance(found, Start):
                if found.lost:
                    give_up(instance, settings, ledger, mine, runs)
                requests.append(_request(found, name, scope.account))
                continue
            reasons.append(f"{name}: {found.reason}")
            if found.alarm is not None:
                raise_alarm(settings, ledger, mine, found.alarm, f"{found.reason}.")
    return requests, reasons


def _look_back(
    instance: dg.DagsterInstance, settings: Settings, ledger: "Ledger", scope: "Scope", rules: "Rules"
) -> None:
    """Find out about runs that were lost towards the end of the session before."""
    from broker.deployment.supervision import silent_since
    from pipelines.lost_runs import give_up, tell_of_lost

    runs = _runs(instance, scope.deployment, scope.session)
    tell_of_lost(settings, ledger, scope, runs)
    seen = watched(ledger, scope.deployment, scope.session, runs, busy=None)
    if seen.running and seen.lock_free and silent_since(seen, datetime.now(UTC), rules) is not None:
        give_up(instance, settings, ledger, scope, runs)


def _request(start: Any, deployment: str, account: str) -> dg.RunRequest:  # noqa: ANN401 (a Start)
    config = SessionConfig(deployment=deployment, session=start.session.isoformat(), attempt=start.attempt)
    return dg.RunRequest(
        run_key=start.run_key,
        run_config=dg.RunConfig(ops={"trade_session": config}),
        tags={DEPLOYMENT_TAG: deployment, SESSION_TAG: start.session.isoformat(), ACCOUNT_TAG: account},
    )


def _runs(instance: dg.DagsterInstance, deployment: str, session: date | None) -> list[RunSeen]:
    if session is None:
        return []
    tags = {DEPLOYMENT_TAG: deployment, SESSION_TAG: session.isoformat()}
    records = instance.get_run_records(dg.RunsFilter(job_name=JOB, tags=tags), limit=_MOST_RUNS)
    return [
        RunSeen(
            run_id=record.dagster_run.run_id,
            going=record.dagster_run.status in _GOING,
            lost=record.dagster_run.status in {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED},
            status=record.dagster_run.status.value,
            launched=_aware(record.create_timestamp),
            ended=None if record.end_time is None else datetime.fromtimestamp(record.end_time, UTC),
        )
        for record in records
    ]


def _busy(instance: dg.DagsterInstance, account: str, deployment: str) -> str | None:
    """Another deployment that has a run on the account."""
    wanted = dg.RunsFilter(job_name=JOB, tags={ACCOUNT_TAG: account}, statuses=list(_GOING))
    names = {run.tags.get(DEPLOYMENT_TAG, "") for run in instance.get_runs(wanted, limit=_MOST_RUNS)}
    return next(iter(sorted(names - {deployment})), None)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


defs = dg.Definitions(
    assets=[
        dg.AssetSpec(
            SESSION_REPORT,
            group_name="live",
            kinds={"python"},
            description="What a deployment did in one session; one materialization a session, by tags.",
        ),
        parity_report,
    ],
    jobs=[live_trading],
    sensors=[live_supervisor],
    resources={"live": LiveSettings()},
    executor=dg.in_process_executor,
)
