"""Positions whose mark is found when somebody reads it.

Belongs here: how a position moves with an execution, and the mark. Does not belong here: cash, values.
"""

import datetime as dt
from functools import lru_cache
from types import ModuleType
from typing import Final, Protocol

from backtrader.feed import AbstractDataBase
from backtrader.position import Position
from backtrader.utils import num2date

Movement = tuple[float, float, float, float]  # a position's new size and price, what of an execution opened and closed

_NEVER: Final = None


def moved(held: float, average: float, size: float, price: float) -> Movement:
    """What `Position.update` makes of an execution, in its arithmetic."""
    after = held + size
    if not after:
        return after, 0.0, 0, size
    if not held:
        return after, price, size, 0
    if (held > 0) == (size > 0):
        return after, (average * held + size * price) / after, size, 0
    if (held > 0) == (after > 0):
        return after, average, 0, size
    return after, price, after, -held


class Keeper(Protocol):
    """Whoever keeps a position up to date: its broker."""

    def mark(self) -> None:
        """Mark the open positions to the present bar."""

    def value_now(self) -> None:
        """Work out the values that the present bar began with."""


class MarkedPosition(Position):  # type: ignore[misc]
    """A position of a broker that need not see every bar.

    Backtrader's broker marks each open position to the close and the time of each bar. Here that is done when somebody
    looks.
    """

    price: float

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._price: float | None = None
        self._moment: dt.datetime | float | None = _NEVER  # a day number is turned into a datetime when it is read
        super().__init__()

    def __bool__(self) -> bool:
        return not not self.size  # noqa: SIM208 (asked at every bar; `bool()` is a call)

    def __reduce__(self) -> tuple[object, ...]:
        return object.__new__, (MarkedPosition,), vars(self)  # the class that is made for a run has no name to find

    def mark(self, data: AbstractDataBase) -> None:
        """Mark to the present bar of the position's feed."""
        self._price = data.close[0]
        self._moment = _moment(data)

    def move(self, movement: Movement, data: AbstractDataBase, price: float) -> None:
        """Take an execution at the present bar, as `update` does, and its price for a mark where it opened."""
        self.price_orig = self.price
        self.size, self.price, self.upopened, self.upclosed = movement
        if self.upopened:
            self._price = price
        self._moment = _moment(data)

    def fix(self, size: float, price: float) -> bool:
        """As Backtrader's; it does not change the value that the bar began with."""
        self._keeper.value_now()
        same: bool = super().fix(size, price)
        return same

    @property
    def adjbase(self) -> float | None:
        """The price to which the position was last marked."""
        self._keeper.mark()
        return self._price

    @adjbase.setter
    def adjbase(self, price: float | None) -> None:
        self._price = price

    @property
    def datetime(self) -> dt.datetime:
        """The time at which the position was last marked or changed.

        Raises:
            AttributeError: it never was; a plain position has no such attribute then.
        """
        self._keeper.mark()
        moment = self._moment
        if moment is _NEVER:
            raise AttributeError("'Position' object has no attribute 'datetime'", name="datetime", obj=self)
        if not isinstance(moment, dt.datetime):
            self._moment = moment = num2date(moment)
        return moment

    @datetime.setter
    def datetime(self, moment: dt.datetime) -> None:
        self._moment = moment


@lru_cache(maxsize=2)
def marked_position(native: ModuleType | None) -> type[MarkedPosition]:
    """The class of a run's positions: the one above, whose truth is compiled where that can be."""
    if native is None:
        return MarkedPosition
    truth = native.HeldTruth
    named = {"__module__": __name__, "__qualname__": "MarkedPosition", "__doc__": MarkedPosition.__doc__}
    return type("MarkedPosition", (MarkedPosition, truth), {**named, "__bool__": vars(truth)["__bool__"]})


def _moment(data: AbstractDataBase) -> dt.datetime | float:
    line = data.lines.datetime
    moment: dt.datetime | float = line.datetime() if line._tz else line[0]
    return moment
