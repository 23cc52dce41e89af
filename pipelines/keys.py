"""The names of the graph: asset keys, key prefixes, metadata that programs read back.

Belongs here: names only, as Dagster has them (as text: `prefixes`). Does not belong here: definitions, domain work.
"""

from collections.abc import Iterable

import dagster as dg

from pipelines.prefixes import asset_path
from warehouse.resolution import Resolution

SYMBOL_ASSETS = ("raw_bars", "corporate_actions", "clean_bars", "quality_report")
"""The assets of one symbol, in the order in which they are computed."""

BACKTESTS = dg.AssetKey("backtest_results")
STUDIES = dg.AssetKey("optimization_studies")
WALK_FORWARD = dg.AssetKey("walk_forward")
LEADERBOARD = dg.AssetKey("leaderboard")

ERROR_FACT = "error"
"""Metadata of the observation that reports a failed partition: one sentence."""
UNCHANGED_FACT = "unchanged"
"""Metadata of a materialisation that found its inputs unchanged and computed nothing."""
SYMBOLS_FACT = "symbols"
"""Metadata of a failed quality check: the symbols that fail it."""


def symbol_asset_key(name: str, resolution: Resolution) -> dg.AssetKey:
    """Key of `clean_bars` and its siblings at a resolution; corporate actions have one key for all of them."""
    return dg.AssetKey(asset_path(name, resolution))


def symbol_asset_keys(names: Iterable[str], resolution: Resolution) -> list[dg.AssetKey]:
    """Keys of several siblings, in the given order."""
    return [symbol_asset_key(name, resolution) for name in names]
