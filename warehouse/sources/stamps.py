"""Times as vendors print them, turned into UTC.

Belongs here: parsing a column of dates and times, and naming the first value that cannot be read.
Does not belong here: what a stamp marks (open or close), which is kept beside it and used in cleaning.
"""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.errors import SourceContractError
from warehouse.schema import UTC_US

NAIVE_US = pa.timestamp("us")
_EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000}

Place = Callable[[int], str]
"""Tells where row number i (from 0) stands, for an error: `bars.csv line 7`."""


def parse_stamps(column: pa.ChunkedArray, *, date_format: str | None, timezone: str, place: Place) -> pa.ChunkedArray:
    """Stamps in UTC microseconds from text, dates, timestamps or epoch numbers; nulls stay nulls.

    Args:
        column: what the vendor sent.
        date_format: C `strptime` format of text, "epoch_s" or "epoch_ms"; ISO 8601 when None.
        timezone: IANA zone of times that carry no offset.
        place: tells where a row stands, for errors.

    Raises:
        SourceContractError: a value cannot be read, or does not exist or is ambiguous in the zone.
    """
    if date_format in _EPOCHS:
        return _from_epoch(column, _EPOCHS[date_format], place)
    if pa.types.is_date(column.type):
        return to_utc(column.cast(NAIVE_US), timezone, place)
    if pa.types.is_timestamp(column.type):
        cast = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
        return cast.cast(UTC_US) if column.type.tz else to_utc(cast, timezone, place)
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        raise SourceContractError(f"{place(0)}: a time of type {column.type} cannot be read without a date_format.")
    if date_format is None:
        return _from_iso(column, timezone, place)
    parsed = pc.strptime(column, format=date_format, unit="us", error_is_null=True)
    _refuse_lost_values(column, parsed, f"format {date_format}", place)
    return parsed.cast(UTC_US) if "%z" in date_format else to_utc(parsed, timezone, place)


def to_utc(naive: pa.ChunkedArray, timezone: str, place: Place) -> pa.ChunkedArray:
    """Local times in a zone as UTC.

    Raises:
        SourceContractError: a time is skipped or repeated where clocks change.
    """
    early = pc.assume_timezone(naive, timezone, ambiguous="earliest", nonexistent="earliest")
    late = pc.assume_timezone(naive, timezone, ambiguous="latest", nonexistent="latest")
    i = pc.index(pc.fill_null(pc.equal(early, late), fill_value=True), value=False).as_py()
    if i >= 0:
        raise SourceContractError(f"{place(i)}: time {naive[i]} is skipped or repeated in zone {timezone}.")
    return early.cast(UTC_US)


def _from_epoch(column: pa.ChunkedArray, microseconds: int, place: Place) -> pa.ChunkedArray:
    try:
        return pc.multiply(column.cast(pa.int64()), microseconds).cast(UTC_US)
    except pa.ArrowInvalid:
        i = _first_that_fails(column, lambda value: value.cast(pa.int64()))
        raise SourceContractError(f"{place(i)}: {column[i]} is not a count since 1970.") from None


def _from_iso(column: pa.ChunkedArray, timezone: str, place: Place) -> pa.ChunkedArray:
    try:
        return to_utc(column.cast(NAIVE_US), timezone, place)
    except pa.ArrowInvalid:
        pass
    try:
        return column.cast(UTC_US)  # every value carries its offset
    except pa.ArrowInvalid:
        kind = UTC_US if _fits(column, UTC_US, 0) else NAIVE_US
        i = _first_that_fails(column, lambda value: value.cast(kind))
        raise SourceContractError(f"{place(i)}: time {column[i].as_py()!r} is not ISO 8601.") from None


def _fits(column: pa.ChunkedArray, kind: pa.DataType, row: int) -> bool:
    try:
        column[row].cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _first_that_fails(column: pa.ChunkedArray, convert: Callable[[pa.Scalar], object]) -> int:
    """First row that `convert` refuses; called only when one does."""
    for i, value in enumerate(column):
        try:
            convert(value)
        except pa.ArrowInvalid:
            return i
    return 0


def _refuse_lost_values(before: pa.ChunkedArray, after: pa.ChunkedArray, wanted: str, place: Place) -> None:
    lost = pc.and_(pc.is_null(after), pc.is_valid(before))
    i = pc.index(lost, value=True).as_py()
    if i >= 0:
        raise SourceContractError(f"{place(i)}: time {before[i].as_py()!r} does not fit {wanted}.")
