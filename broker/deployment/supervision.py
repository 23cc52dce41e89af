"""When a deployment has to be started, and when somebody has to be told that it does not run.

Belongs here: the decision, a pure function of what is wanted, what runs and the exchange's calendar. Does not belong
here: finding these out, starting anything (see `pipelines`).

At most one run trades a deployment, and at most one deployment an account. A run whose heartbeat is stale is not dead
until its lock is free: two traders on one account are worse than none.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final

from warehouse.calendar import TradingCalendar

SUPERVISOR: Final = "supervisor"
"""Under which name the supervisor beats in the ledger, for each deployment that it looks after."""

SUPERVISOR_SILENT: Final = timedelta(seconds=60)
"""Age at which its heartbeat says that no run would be started again."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a deployment is supervised.

    Attributes:
        lead: how long before the open the run starts: connecting, reconciling and warming up take their time.
        attempts: most runs a session; after them somebody has to look.
        backoff: wait before the second run of a session; doubles from run to run.
        stale: age at which a heartbeat says that nothing beats.
        gone: the same where the account's lock is free, which a run that beats holds until it ends.
        start: how long a run may take from its launch to its first heartbeat.
    """

    lead: timedelta = timedelta(minutes=15)
    attempts: int = 6
    backoff: timedelta = timedelta(seconds=10)
    stale: timedelta = timedelta(seconds=60)
    gone: timedelta = timedelta(seconds=15)
    start: timedelta = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known about one deployment; times are aware UTC.

    Attributes:
        on: whether it is wanted to trade, or to be closed.
        attempts: runs begun for the session that is looked at.
        done: whether its session has ended as it should, so that nothing is left to do.
        launched: when the latest run was launched.
        ended: when the latest run ended, as far as anybody said so.
        running: whether a run is queued, starting or going on, as far as anybody knows.
        heartbeat: the latest one.
        lock_free: whether nobody holds the account's lock.
        account_busy: name of another deployment whose run is on the same account.
    """

    name: str
    on: bool
    attempts: int = 0
    done: bool = False
    launched: datetime | None = None
    ended: datetime | None = None
    running: bool = False
    heartbeat: datetime | None = None
    lock_free: bool = True
    account_busy: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Launch a run; `run_key` is unique for every attempt of every session.

    `lost` says that the run before it is called running still, and is dead.
    """

    run_key: str
    session: date
    attempt: int
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to start; `alarm` names what somebody has to know, None where all is as it should be.

    The reason of an alarm stays the same for as long as nothing changes, so that it is told once.
    """

    reason: str
    alarm: str | None = None


def session_at(now: datetime, calendar: TradingCalendar, lead: timedelta) -> date | None:
    """The session that is open at a moment, or opens within `lead`; None outside."""
    session = calendar.next_session(calendar.last_closed_session(now))
    return session if now >= calendar.open_utc(session) - lead else None


def supervise(
    watched: Watched, market: datetime, now: datetime, calendar: TradingCalendar, rules: Rules
) -> Start | Wait:
    """What has to be done about a deployment.

    Args:
        watched: what is known about it.
        market: the market's time; the wall clock unless recorded days are replayed.
        now: the wall clock, by which heartbeats and runs are measured.
        calendar: of the exchange.
        rules: how it is supervised.
    """
    session = session_at(market, calendar, rules.lead)
    if not watched.on:
        return Wait("it is switched off")
    if session is None:
        opens = calendar.open_utc(calendar.next_session(calendar.last_closed_session(market)))
        return Wait(f"the market opens at {opens:%Y-%m-%d %H:%M} UTC")
    if watched.done:
        return Wait(f"session {session} is done")
    if watched.account_busy is not None:
        return Wait(f"{watched.account_busy} trades the same account", "account_busy")
    if watched.running:
        return _watch_run(watched, session, now, rules)
    return _try(watched, session, now, rules)


def silent_since(watched: Watched, now: datetime, rules: Rules) -> datetime | None:
    """Since when nothing is heard of a run that is called running; None while that may be as it should."""
    launched = watched.launched or now
    beaten = watched.heartbeat if watched.heartbeat is not None and watched.heartbeat >= launched else None
    last, patience = beaten or launched, rules.start
    if beaten:
        patience = rules.gone if watched.lock_free else rules.stale
    return None if now - last <= patience else last


def _watch_run(watched: Watched, session: date, now: datetime, rules: Rules) -> Start | Wait:
    since = silent_since(watched, now, rules)
    if since is None:
        return Wait("it runs")
    silence = f"nothing was heard of its run since {since:%Y-%m-%d %H:%M:%S} UTC"
    if not watched.lock_free:
        return Wait(f"{silence}, but the account's lock is still held", "stale_heartbeat")
    begun = _try(watched, session, now, rules)
    if isinstance(begun, Start):
        return replace(begun, lost=True)
    return Wait(f"{silence}; {begun.reason}", begun.alarm or "stale_heartbeat")


def _try(watched: Watched, session: date, now: datetime, rules: Rules) -> Start | Wait:
    if watched.attempts >= rules.attempts:
        return Wait(f"{watched.attempts} runs of session {session} have failed", "attempts_exhausted")
    latest = max((moment for moment in (watched.ended, watched.launched) if moment is not None), default=None)
    if not watched.lock_free:
        if latest is not None and now - latest <= rules.gone:
            return Wait("the run that has ended lets go of the account")
        return Wait("the account's lock is held by something that no run is known for", "lock_held")
    if watched.attempts and latest is not None:
        pause = rules.backoff * 2 ** (watched.attempts - 1)
        if now < latest + pause:
            return Wait(f"the next attempt is due at {latest + pause:%H:%M:%S} UTC")
    attempt = watched.attempts + 1
    return Start(f"{watched.name}:{session}:{attempt}", session, attempt)
