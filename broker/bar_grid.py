"""When bars of regular hours close: the stamps that the warehouse gives, worked out ahead of time.

Belongs here: the bars that a session is divided into, and which of them are due. Does not belong here: prices.

An intraday bar is counted from the session's open and the last one is cut at the close, early closes included; a daily
bar is the session. Hours that came from IB are cut on the exchange's clock instead, so that the first may be shorter.
All times are UTC microseconds since 1970; the stamp of a bar is its close.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from broker.errors import LiveDataError
from warehouse.calendar import TradingCalendar
from warehouse.resolution import Resolution

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = date(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_LOOKED_AT = 50  # of the stored bars, to see how they are cut


@dataclass(frozen=True, slots=True)
class Slot:
    """One bar's span: it opens at `opens`, closes at `closes`, and trades but for a break in between."""

    opens: int
    closes: int
    trades_for: int


@dataclass(frozen=True, slots=True)
class BarGrid:
    """The bars of one resolution on one exchange; `length` is the nominal one in microseconds.

    `on_clock` says that bars are cut where the exchange's clock shows a full length, not counted from the open.
    """

    calendar: TradingCalendar
    resolution: Resolution
    on_clock: bool = False
    length: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", self.resolution.length // _MICROSECOND)

    def slot(self, moment: int) -> Slot | None:
        """The bar in which something that begins at a moment falls; None outside regular hours."""
        calendar = self.calendar
        i = int(np.searchsorted(calendar.closes, moment, side="right"))
        if i == len(calendar.days) or moment < int(calendar.opens[i]):
            return None
        if int(calendar.break_starts[i]) <= moment < int(calendar.break_ends[i]):
            return None
        return self._slot_from(i, moment)

    def slot_of_session(self, session: date) -> Slot | None:
        """The daily bar of an exchange date; None where that is no session."""
        i = int(np.searchsorted(self.calendar.days, (session - _EPOCH).days))
        if i == len(self.calendar.days) or int(self.calendar.days[i]) != (session - _EPOCH).days:
            return None
        return self._slot_from(i, int(self.calendar.opens[i]))

    def slot_closing(self, close: int) -> Slot:
        """The bar that closes at a stamp of the grid."""
        return self._slot_from(self._session_of(close), close - 1)

    def next_close(self, after: int) -> int:
        """The first stamp after a moment.

        Raises:
            LiveDataError: the calendar does not reach that far.
        """
        i = int(np.searchsorted(self.calendar.closes, after, side="right"))
        if i == len(self.calendar.days):
            raise LiveDataError(f"calendar: {self.calendar.name} knows no session after {after} microseconds.")
        slot = self._slot_from(i, max(after, int(self.calendar.opens[i])))
        while not slot.trades_for:  # the whole bar lies in the break
            slot = self._slot_from(i, slot.closes)
        return slot.closes

    def last_close(self, until: int) -> int:
        """The last stamp at or before a moment.

        Raises:
            LiveDataError: the calendar does not reach back that far.
        """
        i = int(np.searchsorted(self.calendar.opens, until, side="left")) - 1
        if i < 0:
            raise LiveDataError(f"calendar: {self.calendar.name} knows no session before {until} microseconds.")
        if until >= int(self.calendar.closes[i]):
            return int(self.calendar.closes[i])
        slot = self._slot_from(i, until)
        while slot.opens > int(self.calendar.opens[i]):
            slot = self._slot_from(i, slot.opens - 1)
            if slot.trades_for:
                return slot.closes
        if i == 0:
            raise LiveDataError(f"calendar: {self.calendar.name} knows no session before {until} microseconds.")
        return int(self.calendar.closes[i - 1])

    def overdue(self, after: int, until: int, most: int) -> int:
        """How many stamps lie after one moment and not after another, counted up to `most`."""
        count = 0
        while count < most and (after := self.next_close(after)) <= until:
            count += 1
        return count

    def session_bounds(self, close: int) -> tuple[int, int]:
        """Open and close of the session in which a bar closes."""
        i = self._session_of(close)
        return int(self.calendar.opens[i]), int(self.calendar.closes[i])

    def session_opening(self, day: date) -> int:
        """When the first session on or after a date opens.

        Raises:
            LiveDataError: the calendar knows none.
        """
        i = int(np.searchsorted(self.calendar.days, (day - _EPOCH).days))
        if i == len(self.calendar.days):
            raise LiveDataError(f"start: calendar {self.calendar.name} knows no session on or after {day}.")
        return int(self.calendar.opens[i])

    def sessions_between(self, first_close: int, last_close: int) -> int:
        """How many sessions the bars from one stamp to another lie in, both included."""
        return self._session_of(last_close) - self._session_of(first_close) + 1

    def close_after_sessions(self, close: int, sessions: int) -> int:
        """Close of the session that lies some sessions after that of a stamp, or of the last one known."""
        return int(self.calendar.closes[min(self._session_of(close) + sessions, len(self.calendar.days) - 1)])

    def _session_of(self, close: int) -> int:
        return int(np.searchsorted(self.calendar.closes, close, side="left"))

    def _slot_from(self, i: int, moment: int) -> Slot:
        opens, closes = int(self.calendar.opens[i]), int(self.calendar.closes[i])
        if not self.resolution.intraday:
            return self._without_break(i, opens, closes)
        origin = self._clock_before(opens) if self.on_clock else opens
        start = origin + (moment - origin) // self.length * self.length
        return self._without_break(i, max(start, opens), min(start + self.length, closes))

    def _clock_before(self, moment: int) -> int:
        """When the exchange's clock showed a full length last."""
        local = (_EPOCH_UTC + timedelta(microseconds=moment)).astimezone(ZoneInfo(self.calendar.timezone))
        offset = (local.utcoffset() or timedelta()) // _MICROSECOND
        return (moment + offset) // self.length * self.length - offset

    def _without_break(self, i: int, start: int, end: int) -> Slot:
        pause = min(end, int(self.calendar.break_ends[i])) - max(start, int(self.calendar.break_starts[i]))
        return Slot(start, end, end - start - max(pause, 0))


def grid_like(stamps: Sequence[int], calendar: TradingCalendar, resolution: Resolution) -> BarGrid:
    """The grid on which stored bars lie; that of the session's open where there are none.

    Raises:
        LiveDataError: the last of them lie on no grid, or on two.
    """
    looked_at = stamps[-_LOOKED_AT:]
    counted = BarGrid(calendar, resolution)
    for grid in (counted, replace(counted, on_clock=True)) if resolution is Resolution.HOURLY else (counted,):
        if all(grid.slot_closing(stamp).closes == stamp for stamp in looked_at):
            return grid
    raise LiveDataError(f"resolution: the stored {resolution.value} bars are not all cut in the same way.")
