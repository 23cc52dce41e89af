"""Bars out of five-second bars as they arrive.

Belongs here: collecting the parts of bars and knowing which are complete. Does not belong here: what to do about an
incomplete one (see `bar_series`).
"""

from dataclasses import dataclass, field
from datetime import datetime

from broker.bar_grid import BarGrid
from broker.closed_bars import SECOND, ClosedBar, microseconds, put_together, slot_of
from broker.ib.messages import Bar

PART = 5 * SECOND


@dataclass(slots=True)
class BarBuilder:
    """Collects five-second bars of one symbol; `heard_until` is the close of the latest one, 0 before the first."""

    grid: BarGrid
    heard_until: int = 0
    _parts: dict[int, dict[int, Bar]] = field(default_factory=dict)

    def add(self, bar: Bar) -> None:
        """Take a part; one that was told before, or that lies outside regular hours, changes nothing."""
        slot = slot_of(bar, self.grid)
        if slot is None or not isinstance(bar.stamp, datetime):
            return
        stamp = microseconds(bar.stamp)
        self.heard_until = max(self.heard_until, stamp + PART)
        self._parts.setdefault(slot.closes, {}).setdefault(stamp, bar)

    def built(self, close: int) -> ClosedBar | None:
        """The bar that closes then, from the parts that arrived; None where none did."""
        parts = self._parts.get(close)
        if not parts:
            return None
        needed = self.grid.slot_closing(close).trades_for // PART
        return put_together(close, list(parts.values()), whole=len(parts) >= needed)

    def whole(self, close: int) -> ClosedBar | None:
        """The bar that closes then, if every part of it arrived."""
        bar = self.built(close)
        return bar if bar is not None and bar.whole else None

    def drop(self, until: int) -> None:
        """Forget the parts of bars that close at or before a stamp."""
        for close in [close for close in self._parts if close <= until]:
            del self._parts[close]
