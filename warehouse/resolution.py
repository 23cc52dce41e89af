"""The lengths of bar that barloom stores.

Belongs here: the resolution enumeration and its spellings. Does not belong here: calendars, file layout.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Self

from warehouse.errors import InvalidRequestError


class Resolution(StrEnum):
    """Length of a bar; the value is the name on disk, in SQL and in partition metadata."""

    DAILY = "1d"
    HOURLY = "1h"
    MINUTE = "1m"
    SECONDS_5 = "5s"

    @property
    def length(self) -> timedelta:
        """Nominal length of one bar; a daily bar is one session whatever its hours, given here as 24 h."""
        return _LENGTHS[self]

    @property
    def intraday(self) -> bool:
        """True when several bars make one session."""
        return self is not Resolution.DAILY

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1d`, `Daily`, `day`, `hour`, `Minute` ... in any case.

        Raises:
            InvalidRequestError: the text names no stored resolution.
        """
        try:
            return cls(_SPELLINGS.get(text.strip().lower(), text.strip().lower()))
        except ValueError:
            allowed = ", ".join(f"{r.value} ({r.name.lower()})" for r in cls)
            raise InvalidRequestError(f"resolution: {text!r} is not one of {allowed}.") from None


_LENGTHS = {
    Resolution.DAILY: timedelta(days=1),
    Resolution.HOURLY: timedelta(hours=1),
    Resolution.MINUTE: timedelta(minutes=1),
    Resolution.SECONDS_5: timedelta(seconds=5),
}

_SPELLINGS = {
    "daily": "1d", "day": "1d", "d": "1d",
    "hourly": "1h", "hour": "1h", "h": "1h",
    "minute": "1m", "minutes": "1m", "min": "1m", "m": "1m",
    "second5": "5s", "seconds": "5s", "s": "5s",
}  # fmt: skip
