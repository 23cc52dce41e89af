"""One symbol's bars in order, each exactly once, whatever they come from and whatever is interrupted.

Belongs here: which bar is next, when history has to be asked for it, what an answer settles. Does not belong here:
asking, threads, Backtrader (see `feed`), clocks (times are passed in).

There is one rule: everything stamped at or before `settled` is decided. The next bar of the grid is taken from the
five-second bars if all of them arrived; if it is overdue, history is asked for everything from `settled` to the last
bar that is due. So the first back-fill, a gap after an interruption and a bar with a hole are one and the same. What
history lacks is missing when history has a later bar, or when it lacks it still after `Patience.settle_after`.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from broker.bar_builder import BarBuilder
from broker.bar_grid import BarGrid
from broker.closed_bars import ClosedBar, moment_of
from broker.ib.messages import Bar, Contract
from broker.ib.requests import HistoryRequest
from warehouse.resolution import Resolution
from warehouse.scales import share_ratio

_MICROSECOND = timedelta(microseconds=1)
_HALF_HOUR: Final = timedelta(minutes=30) // _MICROSECOND
_AFTER_CLOSE: Final = timedelta(hours=1)
_DOUBTS: Final = 3  # times that history is asked again when it says that there are no bars at all
_OVERLAP: Final = 5  # bars of the warehouse that the first question asks for again, to compare their scale


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one waits for bars; seconds.

    Attributes:
        grace: after a bar's close, before history is asked for it.
        settle_after: after a bar's close; what history still lacks then does not exist.
        believe_after: after a bar's close; from then on history's bar is final even if no later one follows it. A
            bar that history shows earlier may be half of it.
        pause: between two questions for the same bars; IB refuses the same question within 15 seconds.
        tries: questions in vain after which the feed rests until something changes.
        fresh_bars: bars that may be overdue while the session is open before the data count as stale.
        silence: without any five-second bar while the session is open, after which a stream counts as dead.
    """

    grace: float
    settle_after: float
    believe_after: float
    pause: float = 15.0
    tries: int = 8
    fresh_bars: int = 1
    silence: float = 180.0

    @classmethod
    def of(cls, resolution: Resolution) -> "Patience":
        """What suits a length of bar: a daily bar is the exchange's own, which comes some time after the close."""
        return _PATIENCE[resolution]


_PATIENCE: Final = {
    Resolution.SECONDS_5: Patience(grace=5, settle_after=60, believe_after=60, fresh_bars=12),
    Resolution.MINUTE: Patience(grace=5, settle_after=60, believe_after=60, fresh_bars=3),
    Resolution.HOURLY: Patience(grace=5, settle_after=120, believe_after=60),
    Resolution.DAILY: Patience(grace=300, settle_after=7200, believe_after=300, pause=60, tries=120),
}

DELAYED_BY: Final = 1200.0
"""Seconds by which delayed data may be late."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Bars to ask history for: those stamped after `after` and at or before `until`.

    `since` is where the answer begins: at `after`, or before it where bars are asked for again to compare them.
    `open_ended` asks for what came after `until` too, which shows that the last bar is complete.
    """

    after: int
    until: int
    since: int
    open_ended: bool


class BarSeries:
    """The bars of one symbol.

    Attributes:
        ready: bars that wait to be delivered, ascending.
        settled: the stamp up to which everything is decided; `next_close` is the first stamp after it.
        late_by: seconds by which the data are delayed.

    Args:
        grid: which bars there can be.
        patience: how long to wait for them.
        settled: everything stamped at or before is not wanted.
        stored: bars of the warehouse, ascending; they wait until history has shown that they are on its scale.
    """

    def __init__(self, grid: BarGrid, patience: Patience, settled: int, stored: Sequence[ClosedBar] = ()) -> None:
        self.grid, self.patience = grid, patience
        self.ready: deque[ClosedBar] = deque()
        self.builder = BarBuilder(grid)
        self.settled = stored[-1].ts if stored else settled
        self.next_close = grid.next_close(self.settled)
        self.late_by = 0.0
        self._stored = list(stored)
        self._asked: Gap | None = None
        self._tries = 0
        self._ask_from = 0.0
        self._rests_until = 0  # a stamp; until one after it is due, nothing is asked any more

    @property
    def first_possible(self) -> int:
        """The earliest stamp that the next bar can have which is not ready yet."""
        return self._stored[0].ts if self._stored else self.next_close

    @property
    def resting(self) -> bool:
        """Whether history was asked in vain so often that it is not asked now."""
        return self._rests_until > 0

    def hear(self, bar: Bar) -> None:
        """Take a five-second bar."""
        self.builder.add(bar)

    def due(self, now: int) -> int:
        """The last stamp whose bar should be known at a moment."""
        return self.grid.last_close(now - round((self.patience.grace + self.late_by) * 1e6))

    def behind(self, now: int) -> bool:
        """Whether a bar is overdue, or those of the warehouse wait."""
        return bool(self._stored) or self.next_close <= self.due(now)

    def advance(self) -> None:
        """Take the bars that are complete from what was heard."""
        while not self._stored and (bar := self.builder.whole(self.next_close)) is not None:
            self._settle([bar], bar.ts)

    def wanted(self, now: int, monotonic: float) -> Gap | None:
        """What history has to be asked for now; None while an answer is awaited or nothing is due."""
        due = self.due(now)
        if due > self._rests_until > 0:
            self.stir()
        waits = self._asked is not None or self._rests_until or monotonic < self._ask_from
        if waits or not self.behind(now):
            return None
        since = self._stored[-_OVERLAP:][0].ts - 1 if self._stored else self.settled
        until = max(min(due, farthest(self.grid, self.grid.next_close(since))), self.settled)
        self._asked = Gap(self.settled, until, since, open_ended=until >= due and not self._ends_session(until))
        return self._asked

    def stir(self) -> None:
        """Something changed: ask again at once."""
        self._tries, self._ask_from, self._rests_until = 0, 0.0, 0

    def answered(self, bars: Sequence[ClosedBar], now: int, monotonic: float) -> float | None:
        """Take history's answer to the gap that was wanted, ascending; an empty one says that there are no bars.

        Returns:
            The ratio by which a split has rescaled the warehouse's bars, None where there was none.
        """
        gap, self._asked = self._asked, None
        assert gap is not None  # noqa: S101 (there is no answer without a question)
        if not bars and gap.until > self.settled and self._tries < _DOUBTS:
            self._count_try(now, monotonic)
            return None
        ratio = self._release_stored(bars)
        final = max(max((bar.ts for bar in bars), default=0) - 1, now - round(self.patience.believe_after * 1e6))
        found = {bar.ts: bar for bar in bars if self.settled < bar.ts <= min(gap.until, final)}
        last = max(found, default=self.settled)
        patient = round((self.patience.settle_after + self.late_by) * 1e6)
        decided = max(last, min(gap.until, self.grid.last_close(now - patient)))
        close = self.settled
        while (close := self.grid.next_close(close)) <= decided:
            bar = found.get(close) or self.builder.whole(close)
            if bar is None and close > last:  # history lacks the end, of which something was heard
                bar = self.builder.built(close)
            if bar is not None:
                found[close] = bar
        before = self.settled
        self._settle([found[ts] for ts in sorted(found) if ts <= decided], decided)
        if self.settled > before or self.settled >= gap.until:
            self._tries, self._ask_from = 0, 0.0
        else:
            self._count_try(now, monotonic)
        return ratio

    def failed(self, now: int, monotonic: float) -> ClosedBar | None:
        """Note that history did not answer; after the last try a bar with a hole is taken as it is, and returned."""
        self._asked = None
        self._count_try(now, monotonic)
        bar = None if self._stored or not self.resting else self.builder.built(self.next_close)
        if bar is not None:
            self._settle([bar], bar.ts)
            self.stir()
        return bar

    def forget_question(self) -> None:
        """The question that waits will not be answered."""
        self._asked = None

    def _ends_session(self, close: int) -> bool:
        """Whether what follows is another day, which would have to be asked for beside."""
        return self.grid.resolution.intraday and close == self.grid.session_bounds(close)[1]

    def _count_try(self, now: int, monotonic: float) -> None:
        self._tries += 1
        self._ask_from = monotonic + self.patience.pause
        if self._tries >= self.patience.tries:
            self._rests_until = max(self.due(now), 1)

    def _settle(self, bars: Sequence[ClosedBar], until: int) -> None:
        self.ready.extend(bars)
        self.settled = max(self.settled, until)
        self.next_close = self.grid.next_close(self.settled)
        self.builder.drop(self.settled)

    def _release_stored(self, bars: Sequence[ClosedBar]) -> float | None:
        """Deliver the warehouse's bars, on the scale that history has now."""
        ratio = _split_between(self._stored[-_OVERLAP:], bars)
        self.ready.extend(self._stored if ratio is None else [bar.scaled(ratio) for bar in self._stored])
        self._stored.clear()
        return ratio


def farthest(grid: BarGrid, first: int) -> int:
    """Up to which stamp one question can ask, beginning with another."""
    if grid.resolution is Resolution.SECONDS_5:
        return min(first - grid.length + _HALF_HOUR, grid.session_bounds(first)[1])
    return grid.close_after_sessions(first, _parts(grid, first).sessions - 1)


def history_request(contract: Contract, what_to_show: str, grid: BarGrid, gap: Gap) -> HistoryRequest:
    """The question to IB whose answer covers a gap."""
    parts = _parts(grid, gap.until)
    sessions = grid.sessions_between(grid.next_close(gap.since), gap.until)
    end = None if gap.open_ended else moment_of(gap.until)
    if not grid.resolution.intraday:
        sessions += 1  # of which the last may have begun only
        end = None if end is None else end + _AFTER_CLOSE
    return HistoryRequest(contract, end, parts.duration.format(sessions=sessions), parts.size, what_to_show)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Of which bars IB is asked for, and over how many sessions at most."""

    size: str
    duration: str
    sessions: int


_MINUTES: Final = _Parts("1 min", "{sessions} D", 1)
_HOURS: Final = _Parts("1 hour", "{sessions} D", 15)
_PARTS: Final = {
    Resolution.SECONDS_5: _Parts("5 secs", "3600 S", 1),
    Resolution.MINUTE: _MINUTES,
    Resolution.HOURLY: _Parts("30 mins", "{sessions} D", 15),
    Resolution.DAILY: _Parts("1 day", "{sessions} D", 250),
}


def _parts(grid: BarGrid, close: int) -> _Parts:
    """IB cuts hours on the clock: half hours make those from the open, or minutes where a session begins in between."""
    if grid.on_clock:
        return _HOURS
    if grid.resolution is Resolution.HOURLY and any(bound % _HALF_HOUR for bound in grid.session_bounds(close)):
        return _MINUTES
    return _PARTS[grid.resolution]


def _split_between(stored: Sequence[ClosedBar], told: Sequence[ClosedBar]) -> float | None:
    """The ratio of a split that lies between two deliveries of the same bars; None where their scale is the same."""
    now = {bar.ts: bar for bar in told}
    ratios = sorted(now[bar.ts].close / bar.close for bar in stored if bar.ts in now and bar.close)
    if not ratios:
        return None
    ratio = ratios[len(ratios) // 2]
    return share_ratio(ratio, 0.01) if not 0.8 < ratio < 1.25 else None
