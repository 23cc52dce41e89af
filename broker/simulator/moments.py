"""Times as the protocol writes and reads them.

Belongs here: UTC microseconds to and from IB's text forms. Does not belong here: sessions (see `warehouse.calendar`).
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from broker.simulator.errors import ProtocolError
from broker.simulator.tape import EPOCH, SECOND

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT: Final = re.compile(
    r"(\d{4})(\d\d)(\d\d)(?:(?P<mark>[ -]+)(\d\d):(\d\d)(?::(\d\d))?(?:\.\d+)?(?: +(?P<zone>\S+))?)?"
)
# clients and IB write old names; the canonical ones exist in every time zone database
_ZONES: Final = {"US/Eastern": "America/New_York", "EST": "America/New_York", "GMT": "UTC"}
_SHOWN: Final = {"America/New_York": "US/Eastern", "America/Chicago": "US/Central"}

ZONED_SINCE: Final = 174
"""Versions from here on write the zone behind a time."""


def moment_of(when: datetime) -> int:
    """An aware datetime as UTC microseconds."""
    return (when - _START) // timedelta(microseconds=1)


def datetime_of(moment: int) -> datetime:
    """UTC microseconds as an aware datetime."""
    return _START + timedelta(microseconds=moment)


def day_of(number: int) -> date:
    """A day from days since 1970."""
    return EPOCH + timedelta(days=number)


def shown_zone(zone: str) -> str:
    """A zone by the name that IB uses for it."""
    return _SHOWN.get(zone, zone)


def written(moment: int, zone: str, version: int = ZONED_SINCE) -> str:
    """A time in a zone: `20120103 09:30:00 US/Eastern`, or `20120103  09:30:00` for older versions."""
    local = datetime_of(moment).astimezone(ZoneInfo(zone))
    if version < ZONED_SINCE:
        return f"{local:%Y%m%d  %H:%M:%S}"
    return f"{local:%Y%m%d %H:%M:%S} {shown_zone(zone)}"


def written_utc(moment: int) -> str:
    """A time as `20120103 14:30:00 UTC`, which every client understands."""
    return f"{datetime_of(moment):%Y%m%d %H:%M:%S} UTC"


def read_moment(name: str, text: str, zone: str) -> int:
    """A time as a client writes it: with a zone, with a dash for UTC, else in `zone`; a bare day is its end.

    Raises:
        ProtocolError: it is no time, or its zone is not known.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ProtocolError(f"{name}: {text!r} is not a time like 20240131 16:00:00 US/Eastern.")
    year, month, day, mark, hour, minute, second, named = match.groups()
    if named:
        zone = _ZONES.get(named, named)
    elif mark == "-":
        zone = "UTC"
    clock = (int(hour), int(minute), int(second or 0)) if hour else (23, 59, 59)
    try:
        return moment_of(datetime(int(year), int(month), int(day), *clock, tzinfo=ZoneInfo(zone)))
    except (ValueError, OverflowError, ZoneInfoNotFoundError):
        raise ProtocolError(f"{name}: {text!r} is not a time that exists.") from None


def seconds(moment: int) -> int:
    """Whole seconds since 1970."""
    return moment // SECOND
