"""How far a download is: pages stored and to come, and when it can be over.

Belongs here: counting pages of all symbols, the time that is left. Does not belong here: drawing (see `runs`).
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from warehouse.sources.protocol import PagedSource

if TYPE_CHECKING:
    from pipelines.resources import RetryingSource
    from warehouse.ingest import PageDone

_SOON = 90.0  # seconds


class PageCount:
    """Watches the pages of one run (see `pipelines.resources.Watcher`) and tells `show` what it sees.

    `show` is called with the pages stored, the pages known of, and a text, from whichever thread stored a page.
    """

    def __init__(
        self,
        symbols: int,
        show: Callable[[int, int, str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._symbols, self._show, self._clock, self._now = symbols, show, clock, now
        self._lock = threading.Lock()
        self._pages: dict[str, tuple[int, int]] = {}
        self._began = clock()
        self._limits: Callable[[int], float] = lambda _: 0.0

    def begin(self, source: "RetryingSource") -> None:
        """Pages are counted from the first source on; what the limits of this one make them take is known."""
        with self._lock:
            if not self._pages:
                self._began = self._clock()
            if isinstance(source, PagedSource):
                self._limits = source.seconds_for

    def on_page(self, page: "PageDone") -> None:
        """A symbol's pages are planned, or one of them is stored."""
        with self._lock:
            self._pages[page.symbol] = page.done, page.total
            done = sum(stored for stored, _ in self._pages.values())
            total = sum(planned for _, planned in self._pages.values())
            self._show(done, total, f"{page.symbol} {self._left(done, total)}")

    def _left(self, done: int, total: int) -> str:
        """The time that is left at the pace so far, or that the source's limits make it, whichever is longer."""
        left = total - done
        known = len(self._pages) == self._symbols
        if not left:
            return "" if known else "the other symbols follow"
        pace = (self._clock() - self._began) / done * left if done else 0.0
        seconds = max(pace, self._limits(left))
        if not done and not seconds:
            return ""
        text = f"{'about' if known and done else 'at least'} {_duration(seconds)} left"
        if seconds < _SOON:
            return text
        return f"{text}, until {self._now() + timedelta(seconds=seconds):%H:%M}"  # stays true while nothing moves


def _duration(seconds: float) -> str:
    """A time to wait, no more exact than it can be known.

    >>> _duration(42), _duration(600), _duration(13_000)
    ('42 s', '10 min', '3 h 37 min')
    """
    if seconds < _SOON:
        return f"{max(round(seconds), 1)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
