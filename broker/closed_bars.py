"""Closed bars from every place they come from, stamped alike.

Belongs here: the warehouse's rows, IB's history and five-second bars as bars stamped at their close. Does not belong
here: which of them are wanted (see `bar_series`), asking for them.

IB stamps opens and counts hours from the full hour; here every bar is stamped at its close and an hour is counted from
the session's open, as in the warehouse.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from broker.bar_grid import BarGrid, Slot
from broker.ib.messages import Bar

SECOND: Final = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ClosedBar:
    """A bar that has closed. `ts` is its close in UTC microseconds since 1970; volume in shares, NaN where unknown.

    `whole` is False where a part of it was never heard.
    """

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    whole: bool = True

    def scaled(self, ratio: float) -> "ClosedBar":
        """The same bar after a split that multiplies prices by a ratio."""
        return ClosedBar(
            self.ts, self.open * ratio, self.high * ratio, self.low * ratio, self.close * ratio,
            self.volume / ratio, self.whole,
        )  # fmt: skip


def microseconds(moment: datetime) -> int:
    """UTC microseconds since 1970 of an aware moment."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(ts: int) -> datetime:
    """Aware UTC."""
    return _EPOCH + timedelta(microseconds=ts)


def from_warehouse(table: pa.Table) -> list[ClosedBar]:
    """Rows of BARS_SCHEMA, those of regular hours."""
    regular = table.filter(table["regular"])
    names = ("open", "high", "low", "close")
    prices = (regular[name].to_pylist() for name in names)
    volumes = regular["volume"].fill_null(math.nan).to_pylist()
    stamps = pc.cast(regular["ts"], pa.int64()).to_pylist()
    return [ClosedBar(*row) for row in zip(stamps, *prices, volumes, strict=True)]


def from_ib(bars: Iterable[Bar], grid: BarGrid) -> list[ClosedBar]:
    """IB's bars as bars of a grid, ascending; the parts of one bar are put together, what is outside is left out."""
    parts: dict[int, list[Bar]] = {}
    for bar in bars:
        slot = slot_of(bar, grid)
        if slot is not None:
            parts.setdefault(slot.closes, []).append(bar)
    return [put_together(close, parts[close]) for close in sorted(parts)]


def slot_of(bar: Bar, grid: BarGrid) -> Slot | None:
    """The bar of a grid that one of IB's bars is, or is a part of."""
    if isinstance(bar.stamp, datetime):
        return grid.slot(microseconds(bar.stamp))
    return grid.slot_of_session(bar.stamp)


def put_together(close: int, parts: Sequence[Bar], *, whole: bool = True) -> ClosedBar:
    """One bar out of its parts, given in any order."""
    ordered = sorted(parts, key=_stamp)
    volume = sum(math.nan if bar.volume < 0 else bar.volume for bar in ordered)
    return ClosedBar(
        close,
        ordered[0].open,
        max(bar.high for bar in ordered),
        min(bar.low for bar in ordered),
        ordered[-1].close,
        volume,
        whole,
    )


def _stamp(bar: Bar) -> datetime | date:
    return bar.stamp
