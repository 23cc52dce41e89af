"""Any CSV or Parquet file, or folder of them, described by a short YAML specification.

Belongs here: the specification, and reading by it. Does not belong here: vendors with a format of their own.

Either one file holds many symbols (`columns.symbol` names the column), or a folder holds one file a symbol (`pattern`).
"""

import difflib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from warehouse.errors import InvalidRequestError, SourceContractError, SourceError, UnknownSymbolError
from warehouse.resolution import Resolution
from warehouse.schema import VENDOR_SCHEMA
from warehouse.sources.protocol import BarRequest, Stamped, VendorBars
from warehouse.sources.stamps import parse_stamps
from warehouse.stamping import local_days
from warehouse.symbols import encode_symbol

Name = Annotated[str, Field(min_length=1)]

_NUMBERS = ("open", "high", "low", "close", "volume", "adj_close", "split_factor", "dividend_factor")
_SYMBOL = "{symbol}"
_EPOCH = date(1970, 1, 1)
_BAD_NUMBER = re.compile(r"In CSV column #(\d+): Row #(\d+): CSV conversion error to double: invalid value '(.*)'")
_BAD_ROW = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


class FileColumns(BaseModel):
    """Which column of the file holds what; leave out what the file does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stamp: Name = Field(description="date, or date and time, of the bar")
    time: Name | None = Field(None, description="time of day, where it stands in a column of its own")
    open: Name
    high: Name
    low: Name
    close: Name
    volume: Name | None = Field(None, description="shares")
    adj_close: Name | None = Field(None, description="close adjusted for splits and dividends")
    split_factor: Name | None = Field(None, description="cumulative factor from price to split-adjusted price")
    dividend_factor: Name | None = Field(None, description="cumulative factor for dividends, applied after splits")
    symbol: Name | None = Field(None, description="symbol, where one file holds many")

    def mapping(self) -> dict[str, str]:
        """Our name -> the file's name, for the columns that exist."""
        return {ours: theirs for ours, theirs in self.model_dump().items() if theirs is not None}


class FilesSpec(BaseModel):
    """How to read bars from a file or a folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")] = Field("files", description="stored with every batch")
    path: Path = Field(description="the file, or the folder of one file a symbol; relative to the specification")
    pattern: str | None = Field(None, description="file name in the folder, with {symbol} in it")
    format: Literal["csv", "parquet"] | None = Field(None, description="taken from the file's ending when left out")
    columns: FileColumns
    resolution: Resolution = Resolution.DAILY
    stamped: Stamped = Field("session", description="what a stamp marks: open, close, or (daily) the session's date")
    timezone: str | None = Field(None, description="IANA zone of stamps without offset; not used for session dates")
    date_format: str | None = Field(None, description="C strptime format, epoch_s or epoch_ms; ISO 8601 when left out")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."

    @field_validator("resolution", mode="before")
    @classmethod
    def _read_resolution(cls, value: object) -> object:
        try:
            return Resolution.parse(value) if isinstance(value, str) else value
        except InvalidRequestError as error:
            raise ValueError(str(error)) from None

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str | None) -> str | None:
        if value is not None and value not in available_timezones():
            raise ValueError("is not an IANA time zone")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.pattern is None) == (self.columns.symbol is None):
            raise ValueError("give either pattern (one file a symbol) or columns.symbol (one file, many symbols)")
        if self.pattern is not None and self.pattern.count(_SYMBOL) != 1:
            raise ValueError(f"pattern {self.pattern!r} must hold {_SYMBOL} once")
        if self.stamped == "session" and self.resolution.intraday:
            raise ValueError(f"stamped: session is for 1d bars, not {self.resolution.value}")
        if self.stamped != "session" and self.timezone is None:
            raise ValueError(f"timezone is needed for stamps that mark the {self.stamped}")
        if self.decimal == self.delimiter:
            raise ValueError(f"decimal and delimiter are both {self.decimal!r}")
        return self

    def format_of(self, file: Path) -> str:
        """Either "csv" or "parquet"."""
        if self.format is not None:
            return self.format
        return "parquet" if file.suffix.lower() in (".parquet", ".pq") else "csv"


def load_files_spec(file: Path) -> FilesSpec:
    """Read a specification; its `path` is relative to the folder of the specification.

    Raises:
        InvalidRequestError: the file is missing, is not YAML, or a field is unknown, missing or wrong.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequestError(f"{file}: not a readable YAML file ({' '.join(str(error).split())}).") from error
    if not isinstance(content, dict):
        raise InvalidRequestError(f"{file}: must hold fields, not {type(content).__name__}.")
    try:
        spec = FilesSpec.model_validate(content)
    except ValidationError as error:
        raise InvalidRequestError(f"{file}: {_explain(error)}") from None
    return spec.model_copy(update={"path": file.parent / spec.path})


@dataclass(frozen=True, slots=True)
class FilesSource:
    """Bars from the file or folder of a specification. One file of many symbols is parsed once, until it changes."""

    spec: FilesSpec
    _parsed: dict[Path, tuple[tuple[int, int], pa.Table]] = field(default_factory=dict, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Stored with every batch."""
        return self.spec.name

    def symbols(self) -> list[str]:
        """Symbols in the file, or with a file in the folder; sorted.

        Raises:
            SourceError: the path is not there, or cannot be read.
        """
        if self.spec.pattern is None:
            found = self._table(self.spec.path)["symbol"].unique().to_pylist()
            return sorted(s for s in found if s)
        before, after = self.spec.pattern.split(_SYMBOL)
        if not self.spec.path.is_dir():
            raise SourceError(f"path: {self.spec.path} is not a folder.")
        files = [p.relative_to(self.spec.path).as_posix() for p in self.spec.path.glob(before + "*" + after)]
        return sorted(name[len(before) : len(name) - len(after)] for name in files)

    def fetch(self, request: BarRequest) -> VendorBars:
        """Bars of the request, rows in the order of the file.

        Raises:
            UnknownSymbolError: no file or no row for the symbol.
            SourceContractError: a value cannot be read; the sentence names file, line, column and value.
            SourceError: another resolution than the specification's, or a path that is not there.
        """
        if request.resolution is not self.spec.resolution:
            raise SourceError(
                f"resolution: the files of {self.name} hold {self.spec.resolution.value} bars, "
                f"not {request.resolution.value}."
            )
        table = self._symbol_table(request.symbol)
        stamps = table["stamp"].cast(pa.int64()).fill_null(0).to_numpy()
        stamps = stamps - (1 if self.spec.stamped == "close" else 0)
        days = local_days(stamps, "UTC" if self.spec.stamped == "session" else str(self.spec.timezone))
        low, high = ((d - _EPOCH).days for d in (request.start, request.end))
        undated = table["stamp"].is_null().to_numpy()
        inside = pa.array(((days >= low) & (days <= high)) | undated)
        return VendorBars(table.filter(inside).select(VENDOR_SCHEMA.names), self.spec.stamped)

    def _symbol_table(self, symbol: str) -> pa.Table:
        if self.spec.pattern is None:
            table = self._table(self.spec.path)
            table = table.filter(pc.equal(table["symbol"], symbol))
            if table.num_rows:
                return table
        else:
            safe = symbol if re.fullmatch(r"[^/\\\0]+", symbol) and symbol not in (".", "..") else encode_symbol(symbol)
            file = self.spec.path / self.spec.pattern.replace(_SYMBOL, safe)
            if file.is_file():
                return self._table(file)
        raise UnknownSymbolError(f"symbol: {symbol!r} is not in {self.spec.path}{_near(symbol, self.symbols())}.")

    def _table(self, file: Path) -> pa.Table:
        """The file in vendor form, with a column `symbol` where it has one."""
        try:
            state = file.stat()
        except OSError as error:
            raise SourceError(f"path: {file} cannot be read ({error.strerror}).") from error
        if self.spec.pattern is not None:
            return _parse(file, self.spec)
        key = (state.st_mtime_ns, state.st_size)
        with self._lock:  # several threads fetch symbols of the one file
            if file not in self._parsed or self._parsed[file][0] != key:
                self._parsed[file] = (key, _parse(file, self.spec))
            return self._parsed[file][1]


def _parse(file: Path, spec: FilesSpec) -> pa.Table:
    mapping = spec.columns.mapping()
    read = _read_parquet if spec.format_of(file) == "parquet" else _read_csv
    table = read(file, spec, mapping)
    place = (lambda i: f"{file.name} row {i + 1}") if read is _read_parquet else (lambda i: f"{file.name} line {i + 2}")
    stamp = table["stamp"]
    if "time" in mapping:
        stamp = pc.binary_join_element_wise(stamp.cast(pa.string()), table["time"].cast(pa.string()), " ")
    zone = "UTC" if spec.stamped == "session" or spec.timezone is None else spec.timezone
    columns = {
        "stamp": parse_stamps(stamp, date_format=spec.date_format, timezone=zone, place=place),
        **{n: table[n] if n in mapping else pa.nulls(table.num_rows, pa.float64()) for n in _NUMBERS},
    }
    result = pa.table([columns[n] for n in VENDOR_SCHEMA.names], schema=VENDOR_SCHEMA)
    return result.append_column("symbol", table["symbol"].cast(pa.string())) if "symbol" in mapping else result


def _read_csv(file: Path, spec: FilesSpec, mapping: Mapping[str, str]) -> pa.Table:
    kinds = {theirs: pa.float64() if ours in _NUMBERS else pa.string() for ours, theirs in mapping.items()}

    def read(*, use_threads: bool) -> pa.Table:
        return pacsv.read_csv(
            file,
            read_options=pacsv.ReadOptions(use_threads=use_threads),
            parse_options=pacsv.ParseOptions(delimiter=spec.delimiter),
            convert_options=pacsv.ConvertOptions(
                include_columns=list(mapping.values()),
                column_types=kinds,
                decimal_point=spec.decimal,
                strings_can_be_null=True,
                null_values=["", "NaN", "nan", "NA", "null"],
            ),
        )

    try:
        table = read(use_threads=True)
    except (pa.ArrowException, KeyError):
        try:
            table = read(use_threads=False)  # slower, but its errors name the line
        except (pa.ArrowException, KeyError) as error:
            raise SourceContractError(_csv_sentence(file, spec, mapping, error)) from None
    return table.rename_columns(list(mapping))


def _csv_sentence(file: Path, spec: FilesSpec, mapping: Mapping[str, str], error: Exception) -> str:
    text = str(error)
    with file.open(encoding="utf-8", errors="replace") as lines:
        header = [h.strip().strip('"') for h in lines.readline().lstrip("\ufeff").split(spec.delimiter)]
    if number := _BAD_NUMBER.search(text):
        column, line, value = int(number[1]), number[2], number[3]
        name = header[column] if column < len(header) else f"#{column}"
        return f"{file.name} line {line}: column {name!r} holds {value!r}, which is not a number."
    if row := _BAD_ROW.search(text):
        return f"{file.name} line {row[1]}: has {row[3]} fields, not {row[2]}."
    missing = [theirs for theirs in mapping.values() if theirs not in header]
    if missing:
        return f"{file.name}: column {missing[0]!r} is not in the file{_near(missing[0], header)}."
    return f"{file.name}: cannot be read as CSV ({' '.join(text.split())})."


def _read_parquet(file: Path, spec: FilesSpec, mapping: Mapping[str, str]) -> pa.Table:
    del spec  # a Parquet file says itself what CSV has to be told
    try:
        with pq.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            missing = [theirs for theirs in mapping.values() if theirs not in names]
            if missing:
                raise SourceContractError(
                    f"{file.name}: column {missing[0]!r} is not in the file{_near(missing[0], names)}."
                )
            table = parquet.read(columns=list(dict.fromkeys(mapping.values())))
    except (pa.ArrowException, OSError) as error:
        raise SourceContractError(
            f"{file.name}: cannot be read as Parquet ({' '.join(str(error).split())})."
        ) from error
    return pa.table({ours: _number_column(file, ours, table[theirs]) for ours, theirs in mapping.items()})


def _number_column(file: Path, ours: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if ours not in _NUMBERS:
        return column
    try:
        return column.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        text = " ".join(str(error).split())
        raise SourceContractError(f"{file.name}: column for {ours} is not a number ({text}).") from None


def _explain(error: ValidationError) -> str:
    """First complaint as one sentence, with the near match of an unknown field."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "specification"
    if first["type"] == "extra_forbidden":
        fields = FileColumns.model_fields if len(first["loc"]) > 1 else FilesSpec.model_fields
        return f"field {name!r} is unknown{_near(str(first['loc'][-1]), list(fields))}."
    if first["type"] == "missing":
        return f"field {name!r} is missing."
    value: Any = first["input"]
    said = "" if isinstance(value, dict | BaseModel) else f" {value!r}"
    return f"{name}{said}: {first['msg'].removeprefix('Value error, ').rstrip('.')}."


def _near(word: str, known: list[str]) -> str:
    match = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {match[0]!r}?"[:-1] if match else ""
