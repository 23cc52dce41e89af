"""The jobs: named selections of assets that people and schedules start.

Belongs here: selections. Does not belong here: when they run, what they compute.
"""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from pipelines.keys import (
    BACKTESTS,
    LEADERBOARD,
    STUDIES,
    SYMBOL_ASSETS,
    WALK_FORWARD,
    symbol_asset_keys,
)
from pipelines.prefixes import PREFIXES
from warehouse.resolution import Resolution


def update_jobs() -> dict[Resolution, UnresolvedAssetJobDefinition]:
    """`update_daily`, `update_hourly`, `update_minute`: from the source to the quality report, in one run."""
    return {resolution: _update_job(resolution) for resolution in PREFIXES}


def _update_job(resolution: Resolution) -> UnresolvedAssetJobDefinition:
    name = resolution.name.lower()
    return dg.define_asset_job(
        f"update_{name}",
        selection=dg.AssetSelection.assets(*symbol_asset_keys(SYMBOL_ASSETS, resolution)),
        description=f"Fetch, clean and judge {name} bars of the chosen symbols in one run.",
    )


def research_jobs() -> list[UnresolvedAssetJobDefinition]:
    """`run_backtests`, `run_studies`, `walk_studies_forward` and `rank`."""
    return [
        dg.define_asset_job(
            "run_backtests",
            selection=dg.AssetSelection.assets(BACKTESTS),
            description="Run the chosen experiments.",
        ),
        dg.define_asset_job(
            "run_studies",
            selection=dg.AssetSelection.assets(STUDIES),
            description="Run the chosen studies, or go on with them.",
        ),
        dg.define_asset_job(
            "walk_studies_forward",
            selection=dg.AssetSelection.assets(WALK_FORWARD),
            description="Repeat the search of the chosen studies window after window and test what it finds.",
        ),
        dg.define_asset_job(
            "rank", selection=dg.AssetSelection.assets(LEADERBOARD), description="Rank the latest results."
        ),
    ]
