"""Backtrader's day numbers as datetimes, many at once.

Belongs here: the conversion that `num2date` makes for lines without a time zone. Does not belong here: day numbers of
datetimes (see `research.feed`), clocks of a run.

`num2date` takes as long as everything else at a quiet bar, and analyzers and strategies ask for the same times again
and again. Whoever asks at bar after bar gets the next times computed in one go, in the same arithmetic.
"""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
from backtrader.utils import num2date

_BLOCK: Final = 256
_KEPT: Final = 4096  # more would only fill memory: nobody asks for times long gone
_EPOCH_ORDINAL: Final = datetime(1970, 1, 1).toordinal()  # noqa: DTZ001 (Backtrader's lines are naive UTC)
_DAY_US: Final = 86_400_000_000


class NaiveTimes:
    """The datetimes of a run's bars, remembered.

    Args:
        stamps: day numbers of all bars, ascending.
    """

    def __init__(self, stamps: Sequence[float]) -> None:
        self._stamps = stamps
        self._known: dict[float, datetime] = {}
        self._last_missed = -2

    def at(self, number: float) -> datetime:
        """What `num2date` gives for a day number, and the errors that it raises."""
        return self._known.get(number) or self._learn(number)

    def _learn(self, number: float) -> datetime:
        if len(self._known) > _KEPT:
            self._known.clear()
        moment: datetime = num2date(number)
        index = bisect_left(self._stamps, number)
        if 0 <= index - self._last_missed <= 1:
            block = self._stamps[index : index + _BLOCK]
            self._known.update(zip(block, datetimes(block), strict=True))
            index += len(block) - 1
        self._last_missed = index
        self._known[number] = moment
        return moment


def datetimes(numbers: Sequence[float]) -> list[datetime]:
    """`num2date` of each day number without a time zone; they must lie in the years 1 to 9999."""
    x = np.asarray(numbers, dtype=np.float64)
    day = np.trunc(x)
    hour, rest = np.divmod(24.0 * (x - day), 1.0)
    minute, rest = np.divmod(60.0 * rest, 1.0)
    second, rest = np.divmod(60.0 * rest, 1.0)
    us = np.trunc(1e6 * rest)
    us = np.where(us < 10, 0.0, np.where(us > 999_990, 1e6, us))
    days = day.astype(np.int64) - _EPOCH_ORDINAL
    seconds = ((hour * 60.0 + minute) * 60.0 + second).astype(np.int64)
    moments: list[datetime] = (
        (days * _DAY_US + seconds * 1_000_000 + us.astype(np.int64)).astype("datetime64[us]").tolist()
    )
    return moments
