"""The whole graph of a project: what `dagster dev`, `dagster definitions validate` and the command line load.

Belongs here: putting the parts together. Does not belong here: any part.
"""

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from pipelines.settings import Settings, load_settings


def build_defs(
    settings: Settings | None = None, *, resource_overrides: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """The production graph, for the settings of the working directory unless others are given.

    Args:
        settings: where data and results lie, which source and calendar count.
        resource_overrides: resources by key instead of those that the settings describe, for tests and programs.

    Raises:
        SettingsError: a `BARLOOM_` variable is unknown, or names what cannot be used.
    """
    settings = settings or load_settings()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=dg.BetaWarning)  # backfill policies; pinned and tested
        return _assemble(settings, resource_overrides or {})


def _assemble(settings: Settings, overrides: Mapping[str, Any]) -> dg.Definitions:
    from pipelines.assets import symbol_assets
    from pipelines.automation import build_automation_sensors
    from pipelines.jobs import research_jobs, update_jobs
    from pipelines.proofs import proof_jobs
    from pipelines.research_assets import research_assets
    from pipelines.resources import default_resources, load_quality_settings
    from pipelines.schedules import build_schedules
    from pipelines.sensors import build_sensors
    from pipelines.study_assets import study_assets
    from warehouse.calendar import get_calendar

    updates = update_jobs()
    return dg.Definitions(
        assets=[*symbol_assets(load_quality_settings(settings.quality_file)), *research_assets(), *study_assets()],
        jobs=[*updates.values(), *research_jobs(), *proof_jobs()],
        schedules=build_schedules(updates, get_calendar(settings.calendar), datetime.now(UTC).date()),
        sensors=[*build_sensors(), *build_automation_sensors()],
        resources={**default_resources(settings), **overrides},
        executor=dg.in_process_executor,
    )


defs = build_defs()
