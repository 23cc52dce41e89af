"""When updates run: after the exchange has closed, and at night for what is missing.

Belongs here: the ticks and the decision whether one is due. Does not belong here: jobs, domain work, sensors.

Cron knows weekdays, not exchanges. So a schedule ticks a little after every time of day at which the calendar has
closed (for New York 16:00 and 13:00), in the exchange's time zone, and its evaluation asks the calendar: no session,
no run; a session that closed early runs at the early tick, any other at the late one. A closing time that the
calendar has not used before has no tick; the nightly repair then fetches that session.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from pipelines.partitions import contiguous_blocks, symbol_of
from pipelines.prefixes import PREFIXES
from pipelines.resources import CalendarResource, WarehouseResource
from warehouse.calendar import TradingCalendar
from warehouse.resolution import Resolution

DELAY = timedelta(minutes=20)
"""Wait after the close: vendors need minutes to settle the closing auction."""

_YEARS_OF_CLOSES = 10
_REPAIR_CRON = "30 2 * * *"


def close_crons(calendar: TradingCalendar, today: date) -> list[str]:
    """Cron lines, in the exchange's time zone, `DELAY` after every closing time of the last years and the next.

    >>> from warehouse.calendar import get_calendar
    >>> close_crons(get_calendar("XNYS"), date(2026, 11, 23))
    ['20 13 * * *', '20 16 * * *']
    """
    sessions = calendar.sessions(today - timedelta(days=366 * _YEARS_OF_CLOSES), today + timedelta(days=366))
    zone = ZoneInfo(calendar.timezone)
    ticks = {(calendar.close_utc(session).astimezone(zone) + DELAY).time() for session in sessions}
    return [f"{tick.minute} {tick.hour} * * *" for tick in sorted(ticks)]


def due_session(calendar: TradingCalendar, tick: datetime) -> date | dg.SkipReason:
    """The session that a tick (aware) is for, or why it is for none."""
    local = tick.astimezone(ZoneInfo(calendar.timezone))
    if not calendar.is_session(local.date()):
        return dg.SkipReason(f"{local:%A %Y-%m-%d} is no session of {calendar.name}.")
    due = (calendar.close_utc(local.date()) + DELAY).astimezone(local.tzinfo)
    if (due.hour, due.minute) == (local.hour, local.minute):
        return local.date()
    return dg.SkipReason(f"{local.date()} is updated at {due:%H:%M}, after its close; this tick is for other days.")


def update_request(keys: Sequence[str], session: date) -> dg.RunRequest | dg.SkipReason:
    """One run for all symbols of the universe, once a session."""
    if not keys:
        return dg.SkipReason("There are no symbols yet.")
    return dg.RunRequest(
        run_key=session.isoformat(), tags={**_range(keys[0], keys[-1]), "barloom/session": f"{session}"}
    )


def repair_requests(keys: Sequence[str], wanting: Iterable[str], night: date) -> list[dg.RunRequest] | dg.SkipReason:
    """One run for each contiguous block of symbols that lack sessions."""
    blocks = contiguous_blocks(keys, wanting)
    if not blocks:
        return dg.SkipReason("No symbol lacks a session.")
    return [dg.RunRequest(run_key=f"{night}/{first}", tags=_range(first, last)) for first, last in blocks]


def _range(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def lacks_sessions(resource: WarehouseResource, key: str, resolution: Resolution) -> bool:
    """True when the latest quality report of a symbol found sessions without bars; False when nobody has looked."""
    from warehouse.quality import read_report

    report = read_report(resource.open(), symbol_of(key), resolution)
    if report is None:
        return False
    failed = {row["rule"] for row in report.checks.to_pylist() if row["passed"] is False}
    return MISSING_SESSIONS in failed


MISSING_SESSIONS = "missing_sessions"
"""Id of the quality rule that compares the bars with the calendar."""


def after_close_schedule(
    resolution: Resolution, job: UnresolvedAssetJobDefinition, crons: Sequence[str], zone: str
) -> dg.ScheduleDefinition:
    """Update all symbols after the close of every session."""

    @dg.schedule(
        job=job,
        name=f"{resolution.name.lower()}_after_close",
        cron_schedule=list(crons),
        execution_timezone=zone,
        description=f"Update all {resolution.name.lower()} bars {DELAY.seconds // 60} minutes after each close.",
    )
    def after_close(
        context: dg.ScheduleEvaluationContext, calendar: dg.ResourceParam[CalendarResource]
    ) -> dg.RunRequest | dg.SkipReason:
        session = due_session(calendar.open(), context.scheduled_execution_time)
        if isinstance(session, dg.SkipReason):
            return session
        return update_request(context.instance.get_dynamic_partitions("symbols"), session)

    return after_close


def repair_schedule(resolution: Resolution, job: UnresolvedAssetJobDefinition, zone: str) -> dg.ScheduleDefinition:
    """Update again, at night, the symbols whose quality report misses sessions."""

    @dg.schedule(
        job=job,
        name=f"{resolution.name.lower()}_repair",
        cron_schedule=_REPAIR_CRON,
        execution_timezone=zone,
        description=f"Fetch, at night, {resolution.name.lower()} bars of sessions that the quality report misses.",
    )
    def repair(
        context: dg.ScheduleEvaluationContext, warehouse: dg.ResourceParam[WarehouseResource]
    ) -> list[dg.RunRequest] | dg.SkipReason:
        keys = context.instance.get_dynamic_partitions("symbols")
        wanting = [key for key in keys if lacks_sessions(warehouse, key, resolution)]
        return repair_requests(keys, wanting, context.scheduled_execution_time.date())

    return repair


def build_schedules(
    jobs: dict[Resolution, UnresolvedAssetJobDefinition], calendar: TradingCalendar, today: date
) -> list[dg.ScheduleDefinition]:
    """Both schedules of every resolution; all are off until somebody turns them on."""
    crons, zone = close_crons(calendar, today), calendar.timezone
    updates = [after_close_schedule(resolution, jobs[resolution], crons, zone) for resolution in PREFIXES]
    return [*updates, *(repair_schedule(resolution, jobs[resolution], zone) for resolution in PREFIXES)]
