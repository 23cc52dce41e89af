"""Raw batches to clean bars: unique, ascending, stamped at the close in UTC, on one price scale, with factors.

Belongs here: assembling the clean, quarantine and revisions tables, and storing them for one symbol.
Does not belong here: how stamps, faults, scales and actions are found (see their modules); quality rules.

Nothing is dropped silently: every raw row is in the clean series, in the quarantine with its reason, or was replaced
by a later delivery of the same bar (and, when it differed, stands among the revisions). Nothing is invented.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import pyarrow as pa

from warehouse.actions import derive_all_actions, factors_for
from warehouse.calendar import TradingCalendar
from warehouse.errors import NoDataError
from warehouse.merging import PRICES, Merged, Revision, merge_batches
from warehouse.resolution import Resolution
from warehouse.rollup import roll_up
from warehouse.schema import CLEAN_SCHEMA, QUARANTINE_SCHEMA, REVISIONS_SCHEMA
from warehouse.stamping import to_dates, to_timestamps
from warehouse.validation import REASONS


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Tables of CLEAN_SCHEMA, QUARANTINE_SCHEMA and REVISIONS_SCHEMA."""

    bars: pa.Table
    quarantine: pa.Table
    revisions: pa.Table


@dataclass(frozen=True, slots=True)
class CleanSummary:
    """What `rebuild_clean` stored.

    `first` and `last` are closes in UTC, None without bars; `version` is the content hash, "" without bars.
    """

    symbol: str
    resolution: Resolution
    rows: int
    first: datetime | None
    last: datetime | None
    quarantined: int
    revisions: int
    version: str


class CleaningStore(Protocol):
    """What `rebuild_clean` needs of a warehouse."""

    def raw_batches(self, symbol: str, resolution: Resolution) -> list[pa.Table]:
        """Raw batches, ascending in `fetched_at`."""
        ...

    def read_actions(self, symbol: str) -> pa.Table:
        """Corporate actions."""
        ...

    def write_cleaned(self, symbol: str, resolution: Resolution, cleaned: Cleaned) -> None:
        """Store the three tables, bars last."""
        ...

    def data_version(self, symbol: str, resolution: Resolution) -> str:
        """Content hash of the stored bars."""
        ...


def rebuild_clean(
    warehouse: CleaningStore, symbol: str, resolution: Resolution, calendar: TradingCalendar
) -> CleanSummary:
    """Clean all raw batches of a symbol and store bars, quarantine and revisions.

    The same raw batches and actions give the same bytes. Files that would not change are not touched.

    Raises:
        NoDataError: the symbol has no raw batch in this resolution.
    """
    batches = warehouse.raw_batches(symbol, resolution)
    if not batches:
        raise NoDataError(f"symbol: {symbol!r} has no raw {resolution.value} bars to clean.")
    cleaned = clean_bars(batches, warehouse.read_actions(symbol), calendar, resolution)
    warehouse.write_cleaned(symbol, resolution, cleaned)
    bars = cleaned.bars
    return CleanSummary(
        symbol=symbol,
        resolution=resolution,
        rows=bars.num_rows,
        first=bars["ts"][0].as_py() if bars.num_rows else None,
        last=bars["ts"][-1].as_py() if bars.num_rows else None,
        quarantined=cleaned.quarantine.num_rows,
        revisions=cleaned.revisions.num_rows,
        version=warehouse.data_version(symbol, resolution) if bars.num_rows else "",
    )


def clean_bars(
    batches: list[pa.Table], actions: pa.Table, calendar: TradingCalendar, resolution: Resolution
) -> Cleaned:
    """Clean the raw batches (RAW_SCHEMA, one symbol, ascending in `fetched_at`) with its actions (ACTIONS_SCHEMA)."""
    batches = [b for b in batches if b.num_rows]
    if not batches:
        return Cleaned(CLEAN_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table(), REVISIONS_SCHEMA.empty_table())
    merged = merge_batches(batches, resolution, calendar)
    symbol = batches[0]["symbol"][0].as_py()
    return Cleaned(
        bars=_bars(merged, actions, symbol, resolution),
        quarantine=_quarantine(merged),
        revisions=_revisions(merged.revisions, symbol, resolution),
    )


def clean_as_of(
    symbol: str,
    batches: dict[Resolution, list[pa.Table]],
    calendar: TradingCalendar,
    resolution: Resolution,
) -> pa.Table:
    """Clean bars from just these batches, actions derived anew: the past as it was known when they had arrived.

    A resolution without batches is rolled up from the next finer one that has some.
    """
    actions = derive_all_actions(symbol, batches, calendar)
    finer = [r for r in Resolution if r.length <= resolution.length and batches.get(r)]
    if not finer:
        return CLEAN_SCHEMA.empty_table()
    nearest = max(finer, key=lambda r: r.length)
    bars = clean_bars(batches[nearest], actions, calendar, nearest).bars
    return bars if nearest is resolution else roll_up(bars, resolution, calendar)


def _bars(merged: Merged, actions: pa.Table, symbol: str, resolution: Resolution) -> pa.Table:
    count = len(merged.ts)
    batch_of_bar = merged.rows.batch[merged.row]
    sources = np.array(merged.rows.sources, dtype=object)[batch_of_bar]
    split, dividend = factors_for(merged.session, list(sources), actions)
    prices = merged.prices
    volume = merged.volume
    columns = [
        _constant(symbol, count),
        _constant(resolution.value, count),
        to_timestamps(merged.ts),
        to_dates(merged.session),
        pa.array(merged.rows.placed.regular[merged.row]),
        *(pa.array(np.ascontiguousarray(prices[:, i])) for i in range(len(PRICES))),
        pa.array(volume, mask=np.isnan(volume)),
        pa.array(split),
        pa.array(dividend),
    ]
    return pa.table(columns, schema=CLEAN_SCHEMA)


def _quarantine(merged: Merged) -> pa.Table:
    rows = np.flatnonzero(merged.rows.faults)
    names = list(REASONS)
    reasons = [names[code - 1] for code in merged.rows.faults[rows]]
    kept_out = merged.rows.table.take(pa.array(rows, pa.int64()))
    prices, volume = merged.rows.values.prices[rows], merged.rows.values.volume[rows]
    details = [
        f"{REASONS[reason]}: open {p[0]:g}, high {p[1]:g}, low {p[2]:g}, close {p[3]:g}, volume {v:g}."
        for reason, p, v in zip(reasons, prices, volume, strict=True)
    ]
    extra = [pa.array(reasons, pa.string()), pa.array(details, pa.string())]
    return pa.table([*kept_out.columns, *extra], schema=QUARANTINE_SCHEMA)


def _revisions(revisions: tuple[Revision, ...], symbol: str, resolution: Resolution) -> pa.Table:
    tables = [REVISIONS_SCHEMA.empty_table()]
    for r in revisions:
        count = len(r.ts)
        columns = [
            _constant(symbol, count),
            _constant(resolution.value, count),
            to_timestamps(r.ts),
            _constant(r.name, count),
            pa.array(r.old, mask=np.isnan(r.old)),
            pa.array(r.new, mask=np.isnan(r.new)),
            to_timestamps(r.old_fetched_at),
            to_timestamps(np.full(count, r.new_fetched_at, np.int64)),
        ]
        tables.append(pa.table(columns, schema=REVISIONS_SCHEMA))
    return pa.concat_tables(tables).sort_by(
        [("ts", "ascending"), ("new_fetched_at", "ascending"), ("field", "ascending")]
    )


def _constant(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), count)
