"""Bringing raw bars in: what is missing is asked for, what is there is not.

Belongs here: deciding which ranges to fetch, and appending what came as raw batches. Does not belong here: cleaning.

What the store has is measured against the exchange calendar, session by session. Every request is widened by a few
sessions that are stored already, so that a change of price scale shows (see `scales`). Where the vendor answered
"none", that is remembered and not asked again, except for the newest sessions, which a vendor may publish late.
A vendor that answers in pages is asked page by page, and each is stored before the next is asked for: what ends an
update in the middle costs no page that was there.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from warehouse import layout
from warehouse.calendar import TradingCalendar, utc_microseconds
from warehouse.errors import CorruptFileError, InvalidRequestError
from warehouse.files import write_bytes
from warehouse.merging import collect_rows
from warehouse.resolution import Resolution
from warehouse.schema import RAW_SCHEMA, VENDOR_SCHEMA
from warehouse.sources.protocol import BarRequest, BarSource, VendorBars, overlap_of, pages_of
from warehouse.stamping import Int64s
from warehouse.store import Warehouse, content_hash
from warehouse.validation import Floats

Range = tuple[date, date]

_LATE = timedelta(days=10)  # a vendor may publish the newest sessions late: "none" is not believed this long
_JOIN = 20  # missing ranges with fewer stored sessions between them are one request


@dataclass(frozen=True, slots=True)
class RawUpdate:
    """What `update_raw` did. `requested` holds closed ranges of dates as asked, overlap included."""

    symbol: str
    resolution: Resolution
    requested: tuple[Range, ...]
    batches: tuple[str, ...]
    rows_added: int
    up_to_date: bool


@dataclass(frozen=True, slots=True)
class PageDone:
    """One page of an update is stored: `done` of `total`; `start` and `end` as asked, `rows` that were new.

    Before the first page it is told once with `done` 0, so that a watcher knows how many there will be.
    """

    symbol: str
    done: int
    total: int
    start: date
    end: date
    rows: int = 0


OnPage = Callable[[PageDone], None]


@dataclass(frozen=True, slots=True)
class _Job:
    """Everything one update needs to know."""

    warehouse: Warehouse
    source: BarSource
    symbol: str
    resolution: Resolution
    calendar: TradingCalendar
    now: datetime


def update_raw(  # noqa: PLR0917 (the six say what, and are always given)
    warehouse: Warehouse,
    source: BarSource,
    symbol: str,
    resolution: Resolution,
    start: date,
    end: date,
    *,
    calendar: TradingCalendar,
    now: datetime,
    overlap_sessions: int = 5,
    ask_again: bool = False,
    on_page: OnPage = lambda _: None,
) -> RawUpdate:
    """Fetch what the store lacks of the closed range of dates, up to the last session closed by `now`.

    Args:
        warehouse: where batches are kept.
        source: the vendor.
        symbol: whose bars.
        resolution: which bars.
        start: first date wanted.
        end: last date wanted.
        calendar: sessions of the symbol's exchange.
        now: the moment of the fetch (aware), stored as `fetched_at`.
        overlap_sessions: stored sessions to fetch again on either side of what is missing.
        ask_again: ask also for sessions that the vendor once said it has no bars for (a repair).
        on_page: told of every page that is stored, on the calling thread.

    Returns:
        The requests made and batches written; `up_to_date` when nothing had to be asked.

    Raises:
        InvalidRequestError: `end` before `start`, a negative overlap, or `now` without a time zone.
        SourceError: the vendor failed; pages fetched before that are kept.
    """
    utc_microseconds(now, "now")
    if end < start or overlap_sessions < 0:
        raise InvalidRequestError(f"range: {start} to {end} with overlap {overlap_sessions} cannot be asked for.")
    job = _Job(warehouse, source, symbol, resolution, calendar, now.astimezone(UTC))
    stored = warehouse.raw_batches(symbol, resolution)
    held = _sessions_held(stored, resolution, calendar)
    absences = _Absences.read(layout.absences_file(warehouse.root, symbol, resolution))
    last = min(end, calendar.last_closed_session(now))
    wanted = np.array([_number(d) for d in calendar.sessions(start, last)], np.int64)
    absent = np.empty(0, np.int64) if ask_again else absences.sessions(source.name, wanted)
    missing = np.setdiff1d(wanted, np.union1d(held, absent))
    ranges = _requests(missing, held, calendar, overlap_of(source, resolution, overlap_sessions))
    added = _fetch_all(job, ranges, stored, missing, absences, on_page)
    batches = [(name, rows) for name, rows in added if name]
    return RawUpdate(
        symbol, resolution, tuple(ranges), tuple(n for n, _ in batches), sum(r for _, r in batches), not ranges
    )


def _fetch_all(  # noqa: PLR0917 (one call of one function)
    job: _Job, ranges: list[Range], stored: list[pa.Table], missing: Int64s, absences: "_Absences", on_page: OnPage
) -> list[tuple[str, int]]:
    """Fetch every page of every range; batch id and count of rows of each, see `_fetch`."""
    planned = [pages_of(job.source, BarRequest(job.symbol, job.resolution, *ask)) for ask in ranges]
    total = sum(len(pages) for pages in planned)
    added: list[tuple[str, int]] = []
    if total:
        on_page(PageDone(job.symbol, 0, total, ranges[0][0], ranges[-1][1]))
    for pages in planned:
        for number, page in enumerate(pages):
            # pages of one range overlap: the order in which they came must show
            moment = job.now + timedelta(microseconds=number)
            added.append(_fetch(job, page, moment, stored, missing, absences))
            on_page(PageDone(job.symbol, len(added), total, page.start, page.end, added[-1][1]))
    return added


def _fetch(  # noqa: PLR0917 (one call of one function)
    job: _Job, page: BarRequest, moment: datetime, stored: list[pa.Table], missing: Int64s, absences: "_Absences"
) -> tuple[str, int]:
    """Ask for one page; the new batch's id and count of rows, or ("", 0) when it told nothing new."""
    answer = job.source.fetch(page)
    batch_id, rows = "", 0
    delivered = np.empty(0, np.int64)
    if answer.table.num_rows:
        batch = make_batch(answer, job.symbol, job.resolution, job.source.name, moment)
        delivered = _sessions_held([batch], job.resolution, job.calendar)
        rows = _count_new(batch, stored)
        if rows:
            job.warehouse.append_raw(batch)
            stored.append(batch)
            batch_id = batch["batch_id"][0].as_py()
    asked = missing[(missing >= _number(page.start)) & (missing <= _number(page.end))]
    believed = asked[asked < _number((job.now - _LATE).date())]
    absences.add(job.source.name, np.setdiff1d(believed, delivered), job.calendar, job.now)
    absences.write(layout.absences_file(job.warehouse.root, job.symbol, job.resolution))
    return batch_id, rows


def make_batch(answer: VendorBars, symbol: str, resolution: Resolution, source: str, now: datetime) -> pa.Table:
    """A vendor's answer as one raw batch (RAW_SCHEMA); its id is the moment and a hash of what came."""
    digest = hashlib.sha256(f"{source};{answer.what_to_show};{answer.stamped};{content_hash(answer.table)}".encode())
    batch_id = f"{now.astimezone(UTC):%Y%m%dT%H%M%S%fZ}-{digest.hexdigest()[:12]}"
    constants: dict[str, Any] = {
        "symbol": symbol,
        "resolution": resolution.value,
        "stamped": answer.stamped,
        "source": source,
        "what_to_show": answer.what_to_show,
        "fetched_at": now.astimezone(UTC),
        "batch_id": batch_id,
    }
    count = answer.table.num_rows
    columns = [
        pa.repeat(pa.scalar(constants[f.name], f.type), count) if f.name in constants else answer.table[f.name]
        for f in RAW_SCHEMA
    ]
    return pa.table(columns, schema=RAW_SCHEMA)


def _sessions_held(batches: list[pa.Table], resolution: Resolution, calendar: TradingCalendar) -> Int64s:
    """Sessions (days since 1970) for which the batches hold at least one closed bar, sound or not."""
    if not batches:
        return np.empty(0, np.int64)
    rows = collect_rows(batches, resolution, calendar)
    finished = rows.placed.known & rows.placed.trading & (rows.placed.ts <= rows.fetched_at[rows.batch])
    return np.unique(rows.placed.session[finished])


def _requests(missing: Int64s, held: Int64s, calendar: TradingCalendar, overlap: int) -> list[Range]:
    """Closed ranges that cover the missing sessions, widened by stored sessions next to them."""
    if not len(missing):
        return []
    at = np.searchsorted(calendar.days, missing)
    breaks = np.flatnonzero(np.diff(at) > _JOIN) + 1
    ranges = []
    for part in np.split(at, breaks):
        low, high = int(part[0]), int(part[-1])
        before = calendar.days[max(low - overlap, 0) : low]
        after = calendar.days[high + 1 : high + 1 + overlap]
        days = np.concatenate([before[np.isin(before, held)], calendar.days[[low, high]], after[np.isin(after, held)]])
        ranges.append((_date(days.min()), _date(days.max())))
    return ranges


def _count_new(batch: pa.Table, stored: Sequence[pa.Table]) -> int:
    """Rows of a batch that differ from the source's latest stored word on the same stamp."""
    alike = [b for b in stored if b["source"][0].as_py() == batch["source"][0].as_py()]
    if not alike:
        return int(batch.num_rows)
    old_stamps, old_values = _stamped_values(pa.concat_tables(alike))
    stamps, values = _stamped_values(batch)
    order = np.argsort(old_stamps, kind="stable")
    at = np.searchsorted(old_stamps[order], stamps, side="right") - 1
    latest = order[np.maximum(at, 0)]
    known = (at >= 0) & (old_stamps[latest] == stamps)
    equal = (values == old_values[latest]) | (np.isnan(values) & np.isnan(old_values[latest]))
    return int(np.count_nonzero(~(known & equal.all(axis=1))))


def _stamped_values(table: pa.Table) -> tuple[Int64s, Floats]:
    stamps = table["stamp"].cast(pa.int64()).fill_null(-1).to_numpy()
    names = VENDOR_SCHEMA.names[1:]
    return stamps, np.column_stack([table[name].fill_null(float("nan")).to_numpy() for name in names])


@dataclass(slots=True)
class _Absences:
    """Closed ranges for which a vendor answered "none", as stored beside the raw batches."""

    entries: list[dict[str, str]]

    @classmethod
    def read(cls, path: Path) -> "_Absences":
        if not path.exists():
            return cls([])
        try:
            return cls(json.loads(path.read_text(encoding="utf-8"))["absences"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(f"{path}: not a list of absences ({error}).") from error

    def write(self, path: Path) -> None:
        if self.entries or path.exists():
            write_bytes(path, json.dumps({"absences": self.entries}, indent=1).encode())

    def sessions(self, source: str, wanted: Int64s) -> Int64s:
        inside = np.zeros(len(wanted), bool)
        for entry in self.entries:
            if entry["source"] == source:
                low, high = (_number(date.fromisoformat(entry[key])) for key in ("start", "end"))
                inside |= (wanted >= low) & (wanted <= high)
        return wanted[inside]

    def add(self, source: str, absent: Int64s, calendar: TradingCalendar, now: datetime) -> None:
        unknown = np.setdiff1d(absent, self.sessions(source, absent))
        for low, high in _consecutive(unknown, calendar):
            entry = {"source": source, "start": low.isoformat(), "end": high.isoformat(), "asked_at": now.isoformat()}
            self.entries.append(entry)


def _consecutive(days: Int64s, calendar: TradingCalendar) -> Iterable[Range]:
    if len(days):
        at = np.searchsorted(calendar.days, days)
        for part in np.split(days, np.flatnonzero(np.diff(at) > 1) + 1):
            yield _date(part[0]), _date(part[-1])


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _date(number: int | np.int64) -> date:
    return date(1970, 1, 1) + timedelta(days=int(number))
