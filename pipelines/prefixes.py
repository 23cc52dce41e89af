"""The names of the assets of a symbol as text, for those who need no Dagster.

Belongs here: key prefixes and paths. Does not belong here: Dagster's keys of them (see `keys`).
"""

from collections.abc import Mapping

from warehouse.resolution import Resolution

PREFIXES: Mapping[Resolution, tuple[str, ...]] = {
    Resolution.DAILY: (),
    Resolution.HOURLY: ("hourly",),
    Resolution.MINUTE: ("minute",),
}
"""Key prefix of each resolution's assets; daily assets have none, so `--select clean_bars` means daily bars."""


def asset_path(name: str, resolution: Resolution) -> list[str]:
    """Parts of the key of `clean_bars` or a sibling at a resolution; corporate actions have one key for all of them."""
    return [name] if name == "corporate_actions" else [*PREFIXES[resolution], name]


def asset_name(name: str, resolution: Resolution) -> str:
    """The same as Dagster writes it, e.g. `minute/clean_bars`."""
    return "/".join(asset_path(name, resolution))
