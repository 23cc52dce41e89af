"""The warehouse on disk: whole files in, whole tables out.

Belongs here: reading and writing the tables of one symbol, applying factors on read. Does not belong here: policy
(what to fetch, what is clean, what is good), SQL, settings.
"""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse import layout
from warehouse.calendar import TradingCalendar, get_calendar, utc_microseconds
from warehouse.cleaning import Cleaned, clean_as_of
from warehouse.errors import CorruptFileError, InvalidRequestError, NoDataError
from warehouse.files import parquet_bytes, read_parquet, replace_folder, write_parquet
from warehouse.resolution import Resolution
from warehouse.schema import (
    ACTIONS_SCHEMA,
    BARS_SCHEMA,
    CLEAN_SCHEMA,
    QUARANTINE_SCHEMA,
    RAW_SCHEMA,
    REVISIONS_SCHEMA,
)
from warehouse.symbols import decode_symbol

Adjust = Literal["all", "splits", "none"]

_READ_ATTEMPTS = 20
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Warehouse:
    """Bars under one data folder. Holds no state but the path; any number of processes may read."""

    root: Path

    def symbols(self, resolution: Resolution) -> list[str]:
        """Symbols that have raw or clean bars, sorted."""
        raw = self.root / "raw" / resolution.value
        clean = self.root / "clean" / f"resolution={resolution.value}"
        names = [p.name for p in raw.glob("[!.]*") if p.is_dir()] if raw.is_dir() else []
        names += [p.name.removeprefix("symbol=") for p in clean.glob("symbol=*")] if clean.is_dir() else []
        return sorted({decode_symbol(name) for name in names})

    def append_raw(self, table: pa.Table) -> Path:
        """Add one raw batch (RAW_SCHEMA; one symbol, resolution, source, `fetched_at` and `batch_id`, not empty).

        Appending the same batch again changes nothing.

        Raises:
            InvalidRequestError: the table is not one batch, or another batch has its id.
        """
        symbol, resolution, batch_id = _batch_identity(table)
        path = layout.raw_folder(self.root, symbol, resolution) / f"{batch_id}.parquet"
        if path.exists() and path.read_bytes() != parquet_bytes(table):
            raise InvalidRequestError(f"batch_id: {batch_id!r} of {symbol} is taken by a batch with other content.")
        write_parquet(path, table)
        return path

    def raw_batches(self, symbol: str, resolution: Resolution, *, as_of: datetime | None = None) -> list[pa.Table]:
        """Raw batches (RAW_SCHEMA) ascending in `fetched_at`, those fetched up to `as_of` (aware) when given.

        Raises:
            CorruptFileError: a batch cannot be read.
        """
        folder = layout.raw_folder(self.root, symbol, resolution)
        tables = [read_parquet(p, RAW_SCHEMA) for p in sorted(folder.glob("*.parquet"))]
        dated = [(t["fetched_at"][0].as_py(), t["batch_id"][0].as_py(), t) for t in tables if t.num_rows]
        if as_of is not None:
            utc_microseconds(as_of, "as_of")
            dated = [d for d in dated if d[0] <= as_of]
        return [table for _, _, table in sorted(dated, key=lambda d: d[:2])]

    def write_clean(self, symbol: str, resolution: Resolution, bars: pa.Table) -> bool:
        """Replace the clean bars (CLEAN_SCHEMA, ascending) of a symbol in one step; False when they are the same."""
        _check_schema(bars, CLEAN_SCHEMA)
        years = pc.year(bars["session"]).to_numpy()
        first = np.flatnonzero(np.diff(years, prepend=-1))
        contents = {
            f"year={years[low]}/bars.parquet": parquet_bytes(bars.slice(low, high - low))
            for low, high in zip(first, np.append(first[1:], len(years)), strict=True)
        }
        folder = layout.clean_folder(self.root, symbol, resolution)
        return replace_folder(folder, contents) if contents or folder.exists() else False

    def read_clean(self, symbol: str, resolution: Resolution) -> pa.Table:
        """Clean bars (CLEAN_SCHEMA), vendor prices with factors beside them; empty when there are none.

        Raises:
            CorruptFileError: a file cannot be read.
        """
        return self._read_years(symbol, resolution, None, None)

    def write_cleaned(self, symbol: str, resolution: Resolution, cleaned: Cleaned) -> None:
        """Store quarantine, revisions and then bars: a reader of new bars finds what explains them."""
        self.write_quarantine(symbol, resolution, cleaned.quarantine)
        self.write_revisions(symbol, resolution, cleaned.revisions)
        self.write_clean(symbol, resolution, cleaned.bars)

    def write_actions(self, symbol: str, actions: pa.Table) -> bool:
        """Replace the corporate actions (ACTIONS_SCHEMA); False when they are the same."""
        return _write(layout.actions_file(self.root, symbol), actions, ACTIONS_SCHEMA)

    def read_actions(self, symbol: str) -> pa.Table:
        """Corporate actions (ACTIONS_SCHEMA) ascending in `ex_date`; empty when none were derived."""
        return _read(layout.actions_file(self.root, symbol), ACTIONS_SCHEMA)

    def write_quarantine(self, symbol: str, resolution: Resolution, rows: pa.Table) -> bool:
        """Replace the quarantine (QUARANTINE_SCHEMA); False when it is the same."""
        return _write(layout.quarantine_file(self.root, symbol, resolution), rows, QUARANTINE_SCHEMA)

    def read_quarantine(self, symbol: str, resolution: Resolution) -> pa.Table:
        """Raw rows that are not in the clean series, with reasons (QUARANTINE_SCHEMA)."""
        return _read(layout.quarantine_file(self.root, symbol, resolution), QUARANTINE_SCHEMA)

    def write_revisions(self, symbol: str, resolution: Resolution, rows: pa.Table) -> bool:
        """Replace the revisions (REVISIONS_SCHEMA); False when they are the same."""
        return _write(layout.revisions_file(self.root, symbol, resolution), rows, REVISIONS_SCHEMA)

    def read_revisions(self, symbol: str, resolution: Resolution) -> pa.Table:
        """Values that a later batch changed (REVISIONS_SCHEMA)."""
        return _read(layout.revisions_file(self.root, symbol, resolution), REVISIONS_SCHEMA)

    def read_bars(
        self,
        symbol: str,
        resolution: Resolution,
        *,
        start: date | None = None,
        end: date | None = None,
        adjust: Adjust = "all",
        as_of: datetime | None = None,
        calendar: TradingCalendar | None = None,
    ) -> pa.Table:
        """Bars (BARS_SCHEMA) with factors applied, stamped at their close in UTC.

        Args:
            symbol: whose bars.
            resolution: which bars.
            start: first session wanted, first stored when left out.
            end: last session wanted (inclusive), last stored when left out.
            adjust: "all" for splits and dividends, "splits", or "none" for vendor prices. Factors are 1 at the last
                stored bar whatever `end` is. Volume is divided by the split factor.
            as_of: read the warehouse as it stood at this aware moment, from the raw batches that had arrived.
            calendar: needed with `as_of` only; XNYS when left out.

        Raises:
            NoDataError: the symbol has no bars at all in this resolution (a range without bars gives an empty table).
            InvalidRequestError: `adjust` is unknown or `as_of` has no time zone.
        """
        if as_of is None:
            bars = self._read_years(symbol, resolution, start, end)
            known = bars.num_rows or any(layout.clean_folder(self.root, symbol, resolution).glob("year=*"))
        else:
            batches = {r: self.raw_batches(symbol, r, as_of=as_of) for r in Resolution}
            bars = clean_as_of(symbol, batches, calendar or get_calendar("XNYS"), resolution)
            known = bars.num_rows
        if not known:
            raise NoDataError(f"symbol: {symbol!r} has no {resolution.value} bars in the warehouse.")
        return apply_factors(_between(bars, start, end), adjust)

    def data_version(self, symbol: str, resolution: Resolution) -> str:
        """Content hash (64 hex digits) of the clean bars; it changes when, and only when, a bar or factor does.

        Raises:
            NoDataError: there are no clean bars.
        """
        bars = self.read_clean(symbol, resolution)
        if not bars.num_rows:
            raise NoDataError(f"symbol: {symbol!r} has no {resolution.value} bars in the warehouse.")
        return content_hash(bars)

    def _read_years(self, symbol: str, resolution: Resolution, start: date | None, end: date | None) -> pa.Table:
        folder = layout.clean_folder(self.root, symbol, resolution)
        low, high = (start.year if start else 0), (end.year if end else 9999)
        for _ in range(_READ_ATTEMPTS):
            before = _identity(folder)
            try:
                paths = {int(p.name.removeprefix("year=")): p / "bars.parquet" for p in folder.glob("year=*")}
                tables = [read_parquet(paths[y], CLEAN_SCHEMA) for y in sorted(paths) if low <= y <= high]
            except FileNotFoundError:  # a writer has just replaced the folder
                continue
            if _identity(folder) == before:  # else years of two versions may have been read
                return pa.concat_tables(tables).combine_chunks() if tables else CLEAN_SCHEMA.empty_table()
        raise CorruptFileError(f"{folder}: changes, or lacks a file, each time it is read.")


def apply_factors(bars: pa.Table, adjust: Adjust) -> pa.Table:
    """Turn clean bars (CLEAN_SCHEMA) into adjusted bars (BARS_SCHEMA).

    Raises:
        InvalidRequestError: `adjust` is none of "all", "splits", "none".
    """
    if adjust not in ("all", "splits", "none"):
        raise InvalidRequestError(f"adjust: {adjust!r} is not one of all, splits, none.")
    result = bars.select(BARS_SCHEMA.names)
    if adjust == "none":
        return result
    factor = bars["split_factor"]
    for_volume = factor
    if adjust == "all":
        factor = pc.multiply(factor, bars["dividend_factor"])
    for name in _PRICES:
        result = _with_column(result, name, pc.multiply(bars[name], factor))
    return _with_column(result, "volume", pc.divide(bars["volume"], for_volume))


def content_hash(table: pa.Table) -> str:
    """SHA-256 of a table's names, types and values, independent of chunks, file format and library version."""
    digest = hashlib.sha256()
    for column_field, column in zip(table.schema, table.columns, strict=True):
        digest.update(f"{column_field.name}:{column_field.type}:{table.num_rows};".encode())
        digest.update(_value_bytes(column))
    return digest.hexdigest()


def _value_bytes(column: pa.ChunkedArray) -> bytes:
    if pa.types.is_string(column.type):
        distinct = column.combine_chunks().dictionary_encode()
        distinct = distinct.combine_chunks() if isinstance(distinct, pa.ChunkedArray) else distinct
        codes = distinct.indices.to_numpy(zero_copy_only=False)
        return repr(distinct.dictionary.to_pylist()).encode() + bytes(codes.astype(np.int32).tobytes())
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    elif pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    content: bytes = column.to_numpy().tobytes()
    return content + (column.is_null().to_numpy().tobytes() if column.null_count else b"")


def _identity(folder: Path) -> tuple[int, int]:
    try:
        state = folder.stat()
    except FileNotFoundError:
        return 0, 0
    return state.st_ino, state.st_ctime_ns  # numbers of removed folders are used again


def _with_column(table: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    i = table.schema.get_field_index(name)
    return table.set_column(i, BARS_SCHEMA.field(name), values)


def _between(bars: pa.Table, start: date | None, end: date | None) -> pa.Table:
    sessions = bars["session"].cast(pa.int32()).to_numpy()
    epoch = date(1970, 1, 1)
    low = int(np.searchsorted(sessions, (start - epoch).days)) if start else 0
    high = int(np.searchsorted(sessions, (end - epoch).days, side="right")) if end else len(sessions)
    return bars.slice(low, max(high - low, 0))


def _batch_identity(table: pa.Table) -> tuple[str, Resolution, str]:
    _check_schema(table, RAW_SCHEMA)
    values = []
    for name in ("symbol", "resolution", "batch_id", "source", "fetched_at", "stamped"):
        distinct = table[name].unique()
        if len(distinct) != 1 or distinct.null_count:
            raise InvalidRequestError(f"raw batch: {name} must have one value, not {len(distinct)}.")
        values.append(distinct[0].as_py())
    batch_id = values[2]
    if not batch_id or not set(batch_id) <= _BATCH_ID_CHARACTERS:
        raise InvalidRequestError(f"batch_id: {batch_id!r} may hold letters, digits, - and _ only.")
    return values[0], Resolution.parse(values[1]), batch_id


def _check_schema(table: pa.Table, schema: pa.Schema) -> None:
    if not table.schema.equals(schema):
        raise InvalidRequestError(f"table: columns {table.schema.names} are not {schema.names} with their types.")


def _write(path: Path, table: pa.Table, schema: pa.Schema) -> bool:
    _check_schema(table, schema)
    return write_parquet(path, table)


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    return read_parquet(path, schema) if path.exists() else schema.empty_table()


_BATCH_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
