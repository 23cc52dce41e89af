"""Deployments: experiments that are switched on for an account.

Belongs here: from settings and files to `broker.deployment`: the gates before a deployment is switched on, what the
supervisor has to know, one session's run with its lock. Does not belong here: Dagster (see `live_definitions`),
printing, trading itself.
"""

import dataclasses
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from broker.deployment.supervision import Watched
from pipelines.clock import market_clock
from pipelines.errors import PipelineError, QualityGateError, SettingsError
from pipelines.gateways import Purpose, session_settings
from pipelines.settings import Settings
from warehouse.calendar import TradingCalendar, get_calendar
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.records import AlarmRaised, Command, DeploymentSwitched, Scope, SessionRun
from warehouse.ledger.references import check_deployment
from warehouse.ledger.store import Ledger
from warehouse.resolution import Resolution

if TYPE_CHECKING:
    from broker.alerts import Alerts
    from broker.deployment.trading import Plan, SessionOutcome
    from research.experiment import Experiment

RUN_FAILED = "run_failed"
"""The alarm of a run that ended otherwise than by trading its session; raised once for a run."""

_WARM_UP_SESSIONS = {Resolution.DAILY: 500, Resolution.HOURLY: 120, Resolution.MINUTE: 20, Resolution.SECONDS_5: 2}
_OPEN_SECONDS = 120.0


def open_ledger(settings: Settings) -> Ledger:
    """The ledger of a project; made where there is none."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return Ledger.open(settings.ledger)


# -------------------------------------------------------------------- switching on and off


@dataclasses.dataclass(frozen=True, slots=True)
class Switched:
    """A deployment that was switched on, with what its user should know about it."""

    deployment: str
    account: str
    remarks: tuple[str, ...]


def switch_on(
    settings: Settings, experiment: "Experiment", text: str, *, name: str | None, confirm_live: str | None, by: str
) -> Switched:
    """Switch an experiment on; its deployment trades from the next session on, or from now where one is open.

    Args:
        settings: gateway, mode, ledger.
        experiment: what is to be traded.
        text: its YAML, kept with the deployment.
        name: of the deployment; the experiment's unless given.
        confirm_live: the account, where real money is traded.
        by: who does it.

    Raises:
        SettingsError: a gate is shut; the sentence says which and why.
        QualityGateError: bars that would warm the strategy up are bad or not judged.
        GatewayError: the gateway does not answer for an account that fits.
    """
    deployment = check_deployment(name or experiment.name)
    for reason in distrusted_warm_up(settings, experiment).values():
        raise QualityGateError(reason)
    account = _account(settings)
    remarks = _remarks(settings, experiment)
    if settings.trading_mode == "live":
        if confirm_live != account:
            raise SettingsError(f"confirm-live: live trading needs --confirm-live {account}, the account to trade.")
        if remarks:
            raise SettingsError(f"{experiment.name}: it is not switched on for real money: {' '.join(remarks)}")
    switched = DeploymentSwitched(
        ts=datetime.now(UTC), enabled=True, experiment=experiment.name, mode=settings.trading_mode,
        experiment_yaml=text, fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16], by=by,
    )  # fmt: skip
    with open_ledger(settings) as ledger:
        _refuse_second(ledger, deployment, account)
        ledger.append(Scope(deployment, account), switched)
        if ledger.desired_state(deployment).stop is not None:
            give_command(ledger, deployment, "resume", "switched on again", by)
    return Switched(deployment, account, remarks)


def _account(settings: Settings) -> str:
    """The account that would be traded, as the gateway says."""
    from broker.ib.session import Session

    with Session(session_settings(settings, Purpose.CHECK)) as session:
        return session.open().account


def _refuse_second(ledger: Ledger, deployment: str, account: str) -> None:
    for other, (scope, _) in ledger.deployments().items():
        if other != deployment and scope.account == account and ledger.desired_state(other).may_run:
            raise SettingsError(f"account: {account} is traded by {other} already; stop that first.")


def _remarks(settings: Settings, experiment: "Experiment") -> tuple[str, ...]:
    """Why one should think twice."""
    from research.ranking import Ranking, load_ranking
    from research.readiness import reasons_against

    ranking = load_ranking(settings.ranking_file) if settings.ranking_file else Ranking()
    return reasons_against(experiment, settings.results_dir, ranking.gates, datetime.now(UTC))


def distrusted_warm_up(settings: Settings, experiment: "Experiment") -> dict[str, str]:
    """Symbols whose bars in the warehouse must not be decided on, and why; what it does not hold comes from IB.

    They were not judged, or a quality ERROR stands without the experiment's override.
    """
    from pipelines.gate import refuse_bad_bars
    from warehouse.store import Warehouse

    warehouse = Warehouse(settings.data_dir)
    found: dict[str, str] = {}
    for symbol in set(experiment.symbols) & set(warehouse.symbols(experiment.resolution)):
        try:
            refuse_bad_bars(warehouse, [symbol], experiment.resolution, override=experiment.allow_quality_errors)
        except QualityGateError as refused:
            found[symbol] = str(refused)
    return found


def give_command(ledger: Ledger, deployment: str, action: str, reason: str, by: str) -> int:
    """Record what an operator wants of a deployment, for its run to take up; the command's number.

    Raises:
        SettingsError: there is no such deployment.
    """
    known = ledger.deployments()
    if deployment not in known:
        names = ", ".join(sorted(known)) or "none"
        raise SettingsError(f"deployment: {deployment!r} is not one of {names}.")
    scope, _ = known[deployment]
    command = Command(datetime.now(UTC), action, reason, by)  # type: ignore[arg-type]
    (number,) = ledger.append(scope, command)
    return number


# -------------------------------------------------------------------- supervising


@dataclasses.dataclass(frozen=True, slots=True)
class RunSeen:
    """A run of a deployment's session as the orchestrator knows it; times are aware UTC.

    `lost` says that it is over and did not succeed, `status` is the orchestrator's word for it.
    """

    run_id: str
    going: bool
    lost: bool
    status: str
    launched: datetime | None
    ended: datetime | None


def watched(
    ledger: Ledger, deployment: str, session: date | None, runs: Sequence[RunSeen], *, busy: str | None
) -> Watched:
    """What is known about a deployment; `runs` are those of the session that is looked at, newest first."""
    from broker.deployment.trading import COMPONENT

    scope, _ = ledger.deployments()[deployment]
    mine = [run for run in ledger.sessions(deployment) if run.scope.session == session]
    heartbeat = ledger.last_heartbeat(deployment, COMPONENT)
    return Watched(
        name=deployment,
        on=ledger.desired_state(deployment).may_run or _has_to_be_flat(ledger, deployment),
        attempts=len(runs),
        done=any(_is_done(run) for run in mine),
        launched=runs[0].launched if runs else None,
        ended=runs[0].ended if runs else None,
        running=any(run.going for run in runs),
        heartbeat=None if heartbeat is None else heartbeat.ts,
        lock_free=AccountLock(ledger, scope.account).is_free(),
        account_busy=busy,
    )


def _has_to_be_flat(ledger: Ledger, deployment: str) -> bool:
    """Whether a command to close everything waits for a run to carry it out, or for the next where that one died."""
    return any(command.action == "stop_flatten" for _, command in ledger.pending_commands(deployment))


def _is_done(run: SessionRun) -> bool:
    return run.ended is not None and run.ended.outcome == "done"


def traded_session(ledger: Ledger, deployment: str, session: date | None) -> date:
    """The session asked for, or the latest, if a run of the deployment has begun it.

    Raises:
        SettingsError: none has.
    """
    known = [run.scope.session for run in ledger.sessions(deployment) if run.scope.session is not None]
    if not known or (session is not None and session not in known):
        asked = "none" if session is None else f"no session {session}"
        raise SettingsError(f"session: {deployment} has traded {asked}.")
    return session or known[-1]


# -------------------------------------------------------------------- one session


def run_session(
    settings: Settings, deployment: str, session: date, *, run_id: str, attempt: int, stop: threading.Event
) -> "SessionOutcome":
    """Take the account's lock, connect, and trade one session to its end.

    Raises:
        AccountLockedError: somebody else trades the account; nothing was sent.
        GatewayError: the gateway did not answer, or did not tell everything.
    """
    from broker.errors import BrokerError
    from warehouse.errors import WarehouseError

    with open_ledger(settings) as ledger:
        try:
            return _trade(settings, ledger, deployment, session, run_id=run_id, attempt=attempt, stop=stop)
        except (BrokerError, WarehouseError, PipelineError) as failure:
            if run_id not in {run.started.run_id for run in ledger.sessions(deployment)}:  # else it is told already
                scope, _ = ledger.deployments()[deployment]
                text = f"{run_name(run_id, attempt)} of session {session} did not begin: {failure}"
                raise_alarm(settings, ledger, dataclasses.replace(scope, session=session), RUN_FAILED, text)
            raise


def _trade(
    settings: Settings, ledger: Ledger, deployment: str, session: date, *, run_id: str, attempt: int,
    stop: threading.Event,
) -> "SessionOutcome":  # fmt: skip
    from broker.deployment.report import session_report
    from broker.deployment.trading import Surroundings, trade
    from broker.ib.session import Session
    from pipelines.resources import load_quality_settings
    from warehouse.store import Warehouse

    scope, switched = ledger.deployments()[deployment]
    experiment = experiment_of(switched)
    calendar = get_calendar(experiment.calendar)
    plan = dataclasses.replace(
        _plan(deployment, experiment, session, calendar, run_id=run_id, attempt=attempt),
        distrusted=distrusted_warm_up(settings, experiment),
        quality=load_quality_settings(settings.quality_file),
    )
    wanted = dataclasses.replace(session_settings(settings, Purpose.TRADE), account=scope.account)
    if wanted.mode.value != switched.mode:
        raise SettingsError(f"IB_TRADING_MODE: {deployment} was switched on for {switched.mode}, not {wanted.mode}.")
    lock = AccountLock(ledger, scope.account)
    with lock, Session(wanted) as gateway, alerts_of(settings, deployment) as alerts:
        gateway.open(_OPEN_SECONDS)
        own = Warehouse(settings.data_dir)
        around = Surroundings(gateway, ledger, own, calendar, alerts, market_clock(settings), stop, lock.keep)
        outcome = trade(plan, around)
        alerts.tell("session_report", session_report(ledger, deployment, session).sentence)
        return outcome


def experiment_of(switched: DeploymentSwitched) -> "Experiment":
    """The experiment that was switched on, as its file was then.

    Raises:
        ExperimentError: this version cannot read it.
    """
    import yaml

    from research.experiment import Experiment, StrictLoader

    document = yaml.load(switched.experiment_yaml, Loader=StrictLoader)  # noqa: S506 (a SafeLoader)
    return Experiment.parse({"name": switched.experiment, **document}, origin=switched.experiment)


def _plan(
    deployment: str, experiment: "Experiment", session: date, calendar: TradingCalendar, *, run_id: str, attempt: int
) -> "Plan":
    from broker.deployment.trading import Plan
    from strategies.registry import load_strategy

    known = calendar.sessions(calendar.first_session, session)
    back = _WARM_UP_SESSIONS[experiment.resolution]
    return Plan(
        deployment=deployment, session=session, run_id=run_id, attempt=attempt,
        strategy=load_strategy(experiment.strategy), params=experiment.params, symbols=experiment.symbols,
        resolution=experiment.resolution, limits=experiment.limits, costs=experiment.costs.build(),
        warm_up=known[max(len(known) - 1 - back, 0)], quality_override=experiment.allow_quality_errors,
    )  # fmt: skip


@contextmanager
def alerts_of(settings: Settings, subject: str) -> "Iterator[Alerts]":
    """Alerts by the settings; silent where none are set."""
    from broker.alerts import Alerts, notifier

    urls = settings.alert_urls.get_secret_value().split() if settings.alert_urls else []
    switch = settings.switch_url.get_secret_value() if settings.switch_url else None
    with Alerts(subject, notifier(urls) if urls else None, switch) as alerts:
        yield alerts


def run_name(run_id: str, attempt: int) -> str:
    """How alarms name a run; one alarm `run_failed` of a run at most begins with it."""
    return f"run {attempt} ({run_id[:8]})"


def raise_alarm(settings: Settings, ledger: Ledger, scope: Scope, code: str, text: str) -> None:
    """Record an alarm outside of trading and tell people; nothing happens where the session has it already.

    Raises:
        LedgerError: it was not recorded.
    """
    if ledger.raise_once(scope, AlarmRaised(datetime.now(UTC), code, text)):
        with alerts_of(settings, scope.deployment) as alerts:
            alerts.tell(code, text)


def operator() -> str:
    """Who gives a command: the system's user."""
    return os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"


def experiment_text(path: Path) -> str:
    """The YAML of an experiment, as it is kept with a deployment."""
    return path.read_text(encoding="utf-8")
