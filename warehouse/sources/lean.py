"""A QuantConnect LEAN data folder (equity/usa) as a source.

Belongs here: LEAN's zip and CSV layout, units, factor files and map files. Does not belong here: anything stored by us.

Layout: `equity/usa/{daily,hour}/{ticker}.zip` holds one CSV of the ticker's history,
`equity/usa/minute/{ticker}/{yyyymmdd}_trade.zip` one CSV a day. Prices are in deci-cents (1/10,000 of a dollar) and
unadjusted; times are New York wall-clock time and mark the bar's open: `yyyyMMdd HH:mm` in daily and hour files,
milliseconds since midnight in minute files.

A factor file gives, for each date up to and including its own, the price (dividend) and split factors. A map file
gives, for each ticker a company had, the last date on which it was used. Bars before a rename are read under the old
ticker only: under the new one, another company may have traded then.
"""

import difflib
import io
import re
import zipfile
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from warehouse.errors import SourceContractError, SourceError, UnknownSymbolError
from warehouse.resolution import Resolution
from warehouse.schema import VENDOR_SCHEMA
from warehouse.sources.protocol import BarRequest, VendorBars
from warehouse.sources.stamps import to_utc
from warehouse.stamping import DAY_US, Int64s, local_days
from warehouse.validation import Floats

NEW_YORK = "America/New_York"

_TICKER = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_DECI_CENTS = 10_000.0
_FOLDERS = {Resolution.DAILY: "daily", Resolution.HOURLY: "hour", Resolution.MINUTE: "minute"}
_NAMES = ("stamp", "open", "high", "low", "close", "volume")
_EPOCH = date(1970, 1, 1)
_EMPTY = pa.table({"stamp": pa.array([], pa.timestamp("us")), **{n: pa.array([], pa.float64()) for n in _NAMES[1:]}})


@dataclass(frozen=True, slots=True)
class LeanSource:
    """Trade bars of US equities from a LEAN data folder; `folder` is the one that holds `equity/`."""

    folder: Path

    @property
    def name(self) -> str:
        """Stored with every batch."""
        return "lean"

    @property
    def _usa(self) -> Path:
        return self.folder / "equity" / "usa"

    def symbols(self) -> list[str]:
        """Tickers that have bars in any resolution, sorted."""
        files = [p.stem for name in ("daily", "hour") for p in (self._usa / name).glob("*.zip")]
        folders = [p.name for p in (self._usa / "minute").glob("*") if p.is_dir()]
        return sorted({name.upper() for name in files + folders})

    def fetch(self, request: BarRequest) -> VendorBars:
        """Bars of the request with LEAN's factors, across renames.

        Raises:
            UnknownSymbolError: the folder has no bars for the symbol in this resolution.
            SourceContractError: a file is not in LEAN's form.
            SourceError: 5-second bars, or no LEAN folder.
        """
        if request.resolution not in _FOLDERS:
            raise SourceError(f"resolution: a LEAN folder has no {request.resolution.value} bars.")
        if not _TICKER.fullmatch(request.symbol):
            raise UnknownSymbolError(f"symbol: {request.symbol!r} cannot be a LEAN ticker.")
        if not self._usa.is_dir():
            raise SourceError(f"folder: {self.folder} has no equity/usa folder of LEAN data.")
        segments = self._segments(request.symbol)
        found = [self._has_bars(ticker, request.resolution) for ticker, _, _ in segments]
        if not any(found):
            raise self._unknown(request)
        parts = [self._read(ticker, request.resolution, low, high) for ticker, low, high in _clip(segments, request)]
        rows = pa.concat_tables(parts) if parts else _EMPTY
        return VendorBars(self._to_vendor(rows, request.symbol), "open")

    def _segments(self, symbol: str) -> list[tuple[str, date, date]]:
        """(ticker, first date, last date) in order of time; one endless segment without a map file."""
        file = self._usa / "map_files" / f"{symbol.lower()}.csv"
        if not file.exists():
            return [(symbol.lower(), date.min, date.max)]
        rows = [line.split(",") for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        ends = [
            (_date(row[0], file, number), row[1].lower())
            for number, row in enumerate(rows, start=1)
            if _wide(row, 2, file, number)
        ]
        segments, first = [], ends[0][0] if ends else date.min
        for last, ticker in ends:
            segments.append((ticker, first, last))
            first = date.fromordinal(min(last.toordinal() + 1, date.max.toordinal()))
        return segments or [(symbol.lower(), date.min, date.max)]

    def _has_bars(self, ticker: str, resolution: Resolution) -> bool:
        return self._place(ticker, resolution).exists()

    def _place(self, ticker: str, resolution: Resolution) -> Path:
        folder = self._usa / _FOLDERS[resolution]
        return folder / ticker if resolution is Resolution.MINUTE else folder / f"{ticker}.zip"

    def _read(self, ticker: str, resolution: Resolution, low: date, high: date) -> pa.Table:
        place = self._place(ticker, resolution)
        if not place.exists():
            return _EMPTY
        if resolution is not Resolution.MINUTE:
            return _within(_read_dated(place), low, high)
        days = [(_date(p.name[:8], p, None), p) for p in sorted(place.glob("*_trade.zip"))]
        parts = [_read_day(file, day) for day, file in days if low <= day <= high]
        return pa.concat_tables(parts) if parts else _EMPTY

    def _to_vendor(self, rows: pa.Table, symbol: str) -> pa.Table:
        stamp = to_utc(rows["stamp"], NEW_YORK, lambda i: f"{symbol} row {i + 1}")
        prices = [pc.divide(rows[name], _DECI_CENTS) for name in _NAMES[1:5]]
        nothing = pa.nulls(rows.num_rows, pa.float64())
        split, dividend = nothing, nothing
        factors = self._factors(symbol)
        if factors is not None:
            ends, price_factor, split_factor = factors
            at = np.searchsorted(ends, local_days(stamp.cast(pa.int64()).to_numpy(), NEW_YORK))
            split, dividend = (pa.array(np.append(f, 1.0)[at]) for f in (split_factor, price_factor))
        return pa.table([stamp, *prices, rows["volume"], nothing, split, dividend], schema=VENDOR_SCHEMA)

    def _factors(self, symbol: str) -> tuple[Int64s, Floats, Floats] | None:
        """Last days (since 1970), price factors and split factors, ascending; None without a factor file."""
        file = self._usa / "factor_files" / f"{symbol.lower()}.csv"
        if not file.exists():
            return None
        rows = []
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            cells = line.split(",")
            if line.strip() and _wide(cells, 3, file, number) and not cells[1].startswith("inf"):
                values = [_factor(cell, file, number) for cell in cells[1:3]]
                rows.append(((_date(cells[0], file, number) - _EPOCH).days, *values))
        rows.sort()
        table = np.array(rows, np.float64).reshape(-1, 3)
        return table[:, 0].astype(np.int64), table[:, 1], table[:, 2]

    def _unknown(self, request: BarRequest) -> UnknownSymbolError:
        near = difflib.get_close_matches(request.symbol.upper(), self.symbols(), n=1)
        hint = f"; it has {near[0]}" if near and near[0] != request.symbol.upper() else ""
        return UnknownSymbolError(
            f"symbol: {request.symbol!r} has no {request.resolution.value} bars in the LEAN folder {self.folder}{hint}."
        )


def _clip(segments: list[tuple[str, date, date]], request: BarRequest) -> list[tuple[str, date, date]]:
    clipped = [(ticker, max(low, request.start), min(high, request.end)) for ticker, low, high in segments]
    return [segment for segment in clipped if segment[1] <= segment[2]]


def _read_dated(file: Path) -> pa.Table:
    """A daily or hour file: `yyyyMMdd HH:mm,open,high,low,close,volume`."""
    table = _read_zipped(file, pa.string())
    stamp = pc.strptime(table["stamp"], format="%Y%m%d %H:%M", unit="us", error_is_null=True)
    lost = pc.index(pc.is_null(stamp), value=True).as_py()
    if lost >= 0:
        raise SourceContractError(f"{file} line {lost + 1}: time {table['stamp'][lost]} is not yyyyMMdd HH:mm.")
    return table.set_column(0, "stamp", stamp)


def _read_day(file: Path, day: date) -> pa.Table:
    """A minute file of one day: `milliseconds since midnight,open,high,low,close,volume`."""
    table = _read_zipped(file, pa.int64())
    midnight = (day - _EPOCH).days * DAY_US  # of the wall clock
    stamp = pc.add(pc.multiply(table["stamp"], 1_000), midnight).cast(pa.timestamp("us"))
    return table.set_column(0, "stamp", stamp)


def _read_zipped(file: Path, stamp_type: pa.DataType) -> pa.Table:
    """The one CSV in a zip, all numbers as float64, prices still in deci-cents."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [n for n in archive.namelist() if n.endswith(".csv")]
            if len(names) != 1:
                raise SourceContractError(f"{file}: holds {len(names)} CSV files, not one.")
            content = archive.read(names[0])
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceContractError(f"{file}: not a readable zip file ({error}).") from error
    if not content.strip():
        return _EMPTY.set_column(0, "stamp", pa.array([], stamp_type))
    kinds = {"stamp": stamp_type, **dict.fromkeys(_NAMES[1:], pa.float64())}
    try:
        return pacsv.read_csv(
            io.BytesIO(content),
            read_options=pacsv.ReadOptions(column_names=list(_NAMES), use_threads=False),
            convert_options=pacsv.ConvertOptions(column_types=kinds),
        )
    except pa.ArrowException as error:
        raise SourceContractError(f"{file}: {' '.join(str(error).split())}.") from None


def _within(rows: pa.Table, low: date, high: date) -> pa.Table:
    days = rows["stamp"].cast(pa.date32(), safe=False)
    return rows.filter(pc.and_(pc.greater_equal(days, pa.scalar(low)), pc.less_equal(days, pa.scalar(high))))


def _date(text: str, file: Path, line: int | None) -> date:
    try:
        return datetime.strptime(text.strip(), "%Y%m%d").date()  # noqa: DTZ007 (a date has no zone)
    except ValueError:
        where = file if line is None else f"{file} line {line}"
        raise SourceContractError(f"{where}: date {text!r} is not yyyyMMdd.") from None


def _factor(text: str, file: Path, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise SourceContractError(f"{file} line {line}: factor {text!r} is not a positive number.")
    return value


def _wide(cells: list[str], needed: int, file: Path, line: int) -> bool:
    if len(cells) < needed:
        raise SourceContractError(f"{file} line {line}: has {len(cells)} fields, not {needed} or more.")
    return True
