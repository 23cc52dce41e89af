"""One series out of many raw batches: the later delivery wins, and there is never more than one price scale.

Belongs here: the merge of batches into unique, ascending bars on the newest scale, with what it found on the way.
Does not belong here: factors, files.

Works on arrays; the loop runs over batches, never over rows.
"""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.calendar import TradingCalendar
from warehouse.resolution import Resolution
from warehouse.scales import Run, agree, find_runs, levels_at, share_ratio
from warehouse.stamping import DAY_US, Bools, Int64s, Placed, place
from warehouse.validation import CODES, DUPLICATE, Codes, Floats, Values, duplicates_before, find_faults

PRICES = ("open", "high", "low", "close")
_VOLUME_ROUNDING = 1e-3  # relative, and one share, where volume was rescaled
_VOLUME_MATCH = 0.2  # a split vendor scales volume the other way; relative slack on the median


@dataclass(frozen=True, slots=True)
class ScaleChange:
    """A constant price ratio between two batches: `ratio` for every price before the session `ex_day` (days)."""

    ex_day: int
    ratio: float
    source: str
    fetched_at: int


@dataclass(frozen=True, slots=True)
class Revision:
    """Values of one field that a later batch changed; arrays of one length, old ones already on the new scale."""

    name: str
    ts: Int64s
    old: Floats
    new: Floats
    old_fetched_at: Int64s
    new_fetched_at: int


@dataclass(frozen=True, slots=True)
class RawRows:
    """All rows of all batches in one block, batches in the order in which they arrived."""

    table: pa.Table
    values: Values
    placed: Placed
    faults: Codes  # code of the quarantine reason or 0, a row
    batch: Int64s  # position of the row's batch
    fetched_at: Int64s  # microseconds, a batch
    sources: tuple[str, ...]  # a batch

    def sound_rows(self, number: int) -> Int64s:
        """Positions of a batch's sound rows, ascending in time."""
        low, high = np.searchsorted(self.batch, [number, number + 1])
        sound: Int64s = np.flatnonzero(self.faults[low:high] == 0).astype(np.int64) + low
        order = np.argsort(self.placed.ts[sound], kind="stable")
        return sound[order]


@dataclass(slots=True)
class _Series:
    """The merge so far, ascending in `ts`: which raw row holds each bar, and what to multiply it by."""

    ts: Int64s
    row: Int64s
    price_scale: Floats
    volume_scale: Floats


@dataclass(frozen=True, slots=True)
class Merged:
    """Result of `merge_batches`; `row` points into `rows`, scales multiply its prices and volume."""

    rows: RawRows
    ts: Int64s
    row: Int64s
    price_scale: Floats
    volume_scale: Floats
    changes: tuple[ScaleChange, ...]
    revisions: tuple[Revision, ...]

    @property
    def session(self) -> Int64s:
        """Session of each bar in days since 1970."""
        return self.rows.placed.session[self.row]

    @property
    def prices(self) -> Floats:
        """Bars x (open, high, low, close) on the newest scale."""
        scaled: Floats = self.rows.values.prices[self.row] * self.price_scale[:, None]
        return scaled

    @property
    def volume(self) -> Floats:
        """Volume on the newest scale, NaN where the vendor sent none."""
        scaled: Floats = self.rows.values.volume[self.row] * self.volume_scale
        return scaled


@dataclass(slots=True)
class _Findings:
    changes: list[ScaleChange] = field(default_factory=list)
    revisions: list[Revision] = field(default_factory=list)


def merge_batches(batches: list[pa.Table], resolution: Resolution, calendar: TradingCalendar) -> Merged:
    """Merge raw batches (RAW_SCHEMA, ascending in `fetched_at`, one batch a table) of one symbol into one series."""
    rows = collect_rows(batches, resolution, calendar)
    series = _Series(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))
    findings = _Findings()
    for number in range(len(batches)):
        series = _add_batch(series, rows, number, findings)
    return Merged(
        rows,
        series.ts,
        series.row,
        series.price_scale,
        series.volume_scale,
        tuple(findings.changes),
        tuple(findings.revisions),
    )


def collect_rows(batches: list[pa.Table], resolution: Resolution, calendar: TradingCalendar) -> RawRows:
    """Place and judge every raw row; duplicates inside a batch are marked too."""
    lengths = [b.num_rows for b in batches]
    table = pa.concat_tables(batches)
    batch = np.repeat(np.arange(len(batches)), lengths)
    fetched = np.array([_microseconds(b["fetched_at"].slice(0, 1))[0] for b in batches], np.int64)
    stamps = _microseconds(table["stamp"])
    placed = _place_batches(stamps, batches, resolution, calendar)
    values = Values(np.column_stack([_floats(table[name]) for name in PRICES]), _floats(table["volume"]))
    no_stamp = table["stamp"].is_null().to_numpy()
    faults = find_faults(values, placed, no_stamp, fetched[batch])
    _mark_duplicates(faults, placed.ts, batch)
    sources = tuple(b["source"][0].as_py() for b in batches)
    return RawRows(table, values, placed, faults, batch, fetched, sources)


def _place_batches(
    stamps: Int64s, batches: list[pa.Table], resolution: Resolution, calendar: TradingCalendar
) -> Placed:
    """Place all rows, in one call when every batch is stamped alike."""
    marks = [b["stamped"][0].as_py() for b in batches]
    if len(set(marks)) == 1:
        return place(stamps, marks[0], resolution, calendar)
    ends = np.cumsum([b.num_rows for b in batches])
    parts = [
        place(part, mark, resolution, calendar) for part, mark in zip(np.split(stamps, ends[:-1]), marks, strict=True)
    ]
    return Placed(*(np.concatenate([getattr(p, name) for p in parts]) for name in Placed.__slots__))


def _mark_duplicates(faults: Codes, ts: Int64s, batch: Int64s) -> None:
    sound = np.flatnonzero(faults == 0)
    for number in np.unique(batch[sound]):
        rows = sound[batch[sound] == number]
        faults[rows[duplicates_before(ts[rows])]] = CODES[DUPLICATE]


def _add_batch(series: _Series, rows: RawRows, number: int, findings: _Findings) -> _Series:
    new = rows.sound_rows(number)
    ts = rows.placed.ts[new]
    at = np.searchsorted(series.ts, ts)
    both = (at < len(series.ts)) & (np.append(series.ts, -1)[np.minimum(at, len(series.ts))] == ts)
    held = at[both]
    if len(held):
        _compare(_Overlap.of(series, held, new, both, rows, number), series, findings)
    keep = np.ones(len(series.ts), bool)
    keep[held] = False
    merged = _Series(
        np.concatenate([series.ts[keep], ts]),
        np.concatenate([series.row[keep], new]),
        np.concatenate([series.price_scale[keep], np.ones(len(new))]),
        np.concatenate([series.volume_scale[keep], np.ones(len(new))]),
    )
    order = np.argsort(merged.ts, kind="stable")
    return _Series(*(getattr(merged, name)[order] for name in _Series.__slots__))


@dataclass(slots=True)
class _Overlap:
    """Bars that the series so far and a new batch both hold, ascending; `held` points into the series."""

    held: Int64s
    ts: Int64s
    session: Int64s
    old_prices: Floats
    new_prices: Floats
    old_volume: Floats
    new_volume: Floats
    old_fetched_at: Int64s
    new_fetched_at: int
    source: str
    next_session: int | None  # session of the batch's first bar after a series that it continues

    @classmethod
    def of(cls, series: _Series, held: Int64s, new: Int64s, both: Bools, rows: RawRows, number: int) -> "_Overlap":  # noqa: PLR0917
        old_rows, new_rows = series.row[held], new[both]
        following = new[int(np.flatnonzero(both)[-1]) + 1 :]
        continues = int(held[-1]) == len(series.ts) - 1 and len(following) > 0
        return cls(
            held=held,
            ts=series.ts[held],
            session=rows.placed.session[new_rows],
            old_prices=rows.values.prices[old_rows] * series.price_scale[held, None],
            new_prices=rows.values.prices[new_rows],
            old_volume=rows.values.volume[old_rows] * series.volume_scale[held],
            new_volume=rows.values.volume[new_rows],
            old_fetched_at=rows.fetched_at[rows.batch[old_rows]],
            new_fetched_at=int(rows.fetched_at[number]),
            source=rows.sources[number],
            next_session=int(rows.placed.session[following[0]]) if continues else None,
        )


def _compare(overlap: _Overlap, series: _Series, findings: _Findings) -> None:
    """Rescale the stored series in place where the price scale changed, and note what is then still different."""
    runs = find_runs(overlap.old_prices, overlap.new_prices)
    rescaled = np.zeros(len(overlap.held), bool)
    if runs:
        levels = levels_at(runs, np.arange(len(overlap.held)))
        volume_levels = _volume_levels(levels, overlap.old_volume, overlap.new_volume)
        rescaled = levels != 1.0
        overlap.old_prices *= levels[:, None]
        overlap.old_volume *= volume_levels
        nearest = np.maximum(np.searchsorted(overlap.held, np.arange(len(series.ts)), side="right") - 1, 0)
        series.price_scale *= levels[nearest]
        series.volume_scale *= volume_levels[nearest]
        findings.changes += _scale_changes(runs, overlap)
    findings.revisions += _find_revisions(overlap, rescaled)


def _volume_levels(levels: Floats, old: Floats, new: Floats) -> Floats:
    """What stored volume must be multiplied by: the inverse of a split where the vendor did so, else 1."""
    result = np.ones(len(levels))
    for level in np.unique(levels[levels != 1.0]):
        here = (levels == level) & (old > 0) & (new > 0)
        if share_ratio(float(level)) and here.any():
            ratio = float(np.median(new[here] / old[here])) * level
            result[levels == level] = 1 / level if abs(ratio - 1) <= _VOLUME_MATCH else 1.0
    return result


def _scale_changes(runs: list[Run], overlap: _Overlap) -> list[ScaleChange]:
    """One change where each run meets the next, and one after the last run if it is not on the newest scale."""
    edges = [
        (int(overlap.session[after.first]), before.level / after.level) for before, after in itertools.pairwise(runs)
    ]
    if runs[-1].level != 1.0:
        arrived = overlap.new_fetched_at // DAY_US
        edges.append((arrived if overlap.next_session is None else overlap.next_session, runs[-1].level))
    return [ScaleChange(day, ratio, overlap.source, overlap.new_fetched_at) for day, ratio in edges]


def _find_revisions(overlap: _Overlap, rescaled: Bools) -> list[Revision]:
    same = agree(overlap.old_prices, overlap.new_prices, rescaled=rescaled)
    columns = [(name, overlap.old_prices[:, i], overlap.new_prices[:, i], same[:, i]) for i, name in enumerate(PRICES)]
    columns.append(("volume", overlap.old_volume, overlap.new_volume, _same_volume(overlap, rescaled)))
    return [
        Revision(
            name, overlap.ts[~equal], old[~equal], new[~equal], overlap.old_fetched_at[~equal], overlap.new_fetched_at
        )
        for name, old, new, equal in columns
        if not equal.all()
    ]


def _same_volume(overlap: _Overlap, rescaled: Bools) -> Bools:
    old, new = overlap.old_volume, overlap.new_volume
    with np.errstate(invalid="ignore"):
        slack = np.where(rescaled, _VOLUME_ROUNDING * np.abs(new) + 1, 0.0)
        same: Bools = (np.abs(new - old) <= slack) | (np.isnan(old) & np.isnan(new))
    return same


def _microseconds(column: pa.ChunkedArray) -> Int64s:
    numbers: Int64s = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    return numbers


def _floats(column: pa.ChunkedArray) -> Floats:
    numbers: Floats = pc.fill_null(column, float("nan")).to_numpy()
    return numbers
