"""The shipped sample, cleaned into a folder of its own.

Belongs here: preparing input for the bench. Does not belong here: measuring.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from warehouse.actions import rebuild_actions
from warehouse.calendar import get_calendar
from warehouse.cleaning import rebuild_clean
from warehouse.ingest import update_raw
from warehouse.resolution import Resolution
from warehouse.sources import BarSource
from warehouse.sources.sample import SampleSource
from warehouse.store import Warehouse


def clean_sample(root: Path, symbols: Sequence[str]) -> Warehouse:
    """A warehouse under `root` with the sample's daily bars of `symbols`, raw to clean."""
    return fill(
        Warehouse(root), SampleSource(), symbols, Resolution.DAILY, start=date(2000, 3, 1), end=date(2013, 3, 1)
    )


def fill(
    warehouse: Warehouse, source: BarSource, symbols: Sequence[str], resolution: Resolution, *, start: date, end: date
) -> Warehouse:
    """Fetch, derive actions and clean `symbols` one after the other."""
    calendar = get_calendar("XNYS")
    now = datetime.now(UTC)
    for symbol in symbols:
        update_raw(warehouse, source, symbol, resolution, start, end, calendar=calendar, now=now)
        rebuild_actions(warehouse, symbol)
        rebuild_clean(warehouse, symbol, resolution, calendar)
    return warehouse
