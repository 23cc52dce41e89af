"""Points to workers and trials back, whatever happens to a worker.

Belongs here: parts of a batch side by side, retrying what a lost worker had, ending trials that take too long,
stopping. Does not belong here: which points, what is kept (see `coordinator`).
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from research.errors import StudyError
from research.study.evaluate import Bounds, Evaluator
from research.study.outcome import StudyTrial, TrialState
from research.study.workers import Job, Points, Workers

_ATTEMPTS = 3
_LOSSES = 20
_POLL_SECONDS = 0.2
_START_SECONDS = 30.0  # a new process imports for some seconds before its first trial begins
_LARGEST = 128
_LOST = frozenset({"KilledWorker", "FutureCancelledError", "CommClosedError"})  # Dask's names, which is not imported


@dataclass(frozen=True, slots=True)
class _Chunk:
    points: Points
    lost: int = 0  # how often its worker was lost


@dataclass(slots=True)
class _Flight:
    chunk: _Chunk
    began: float | None = None


def here(evaluator: Evaluator, points: Points, bounds: Bounds, stop: Callable[[], bool]) -> Iterator[list[StudyTrial]]:
    """Run points in this process, one after the other; each one's trial as it ends."""
    for number, point in points:
        if stop():
            return
        yield [evaluator.trial(number, point, bounds)]


class Dispatcher:
    """Runs points on workers.

    Args:
        workers: what runs them.
        job: what they must know.
        compiled: whether trials are so short that many go together.
        trial_timeout: seconds after which a trial has failed; None for never.
        stop: asked several times a second; when it says True, what is not done stays undone.
    """

    def __init__(
        self, workers: Workers, job: Job, *, compiled: bool, trial_timeout: float | None, stop: Callable[[], bool]
    ) -> None:
        self._workers, self._job, self._stop = workers, job, stop
        self._compiled, self._trial_timeout = compiled, trial_timeout
        self._queue: deque[_Chunk] = deque()
        self._flights: dict[Future[list[StudyTrial]], _Flight] = {}
        self._fresh = time.monotonic()
        self._broken, self._losses = False, 0

    def run(self, points: Points, bounds: Bounds) -> Iterator[list[StudyTrial]]:
        """Trials in the order in which they end.

        Raises:
            StudyError: workers were lost and cannot be replaced.
        """
        self._queue = deque(self._chunks(points))
        while self._queue or self._flights:
            if self._stop():
                self._abandon()
                return
            self._fill(bounds)
            if not self._flights:
                yield from self._recover()
                continue
            done, _ = wait(self._flights, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                flight = self._flights.pop(future, None)
                if flight is not None:
                    yield from self._landed(future, flight)
            if self._broken:
                yield from self._recover()
            yield from self._overdue()

    def _chunks(self, points: Points) -> list[_Chunk]:
        size = 1
        if self._compiled:
            size = max(1, min(_LARGEST, -(-len(points) // self._workers.count)))
        return [_Chunk(points[at : at + size]) for at in range(0, len(points), size)]

    def _fill(self, bounds: Bounds) -> None:
        """A chunk whose worker was lost runs alone, so that only what kills workers is blamed for it."""
        while self._queue:
            suspects = any(flight.chunk.lost for flight in self._flights.values()) or self._queue[0].lost
            if len(self._flights) >= (1 if suspects else self._room()):
                return
            chunk = self._queue.popleft()
            try:
                future = self._workers.submit(self._job, chunk.points, bounds)
            except BrokenExecutor:
                self._queue.appendleft(chunk)
                self._broken = True
                return
            self._flights[future] = _Flight(chunk)

    def _room(self) -> int:
        return self._workers.count * (2 if self._compiled else 1)

    def _landed(self, future: "Future[list[StudyTrial]]", flight: _Flight) -> Iterator[list[StudyTrial]]:
        error = None if future.cancelled() else future.exception()
        if error is None and not future.cancelled():
            self._losses = 0
            yield future.result()
        elif error is None or type(error).__name__ in _LOST:
            yield from self._again(flight.chunk)
        elif isinstance(error, BrokenExecutor):
            yield from self._again(flight.chunk)
            self._broken = True
        else:
            raise error

    def _recover(self) -> Iterator[list[StudyTrial]]:
        """Whatever was in flight on a broken pool is run again, on new workers.

        Raises:
            StudyError: workers cannot be replaced, or end as soon as they start.
        """
        flights, self._flights = self._flights, {}
        for future, flight in flights.items():
            if _has_result(future):
                yield future.result()
            else:
                yield from self._again(flight.chunk)
        self._broken = False
        self._losses += 1
        if self._losses > _LOSSES:
            raise StudyError(f"workers: they ended {self._losses} times in a row before a trial was done.")
        self._replace()

    def _again(self, chunk: _Chunk) -> Iterator[list[StudyTrial]]:
        """Put a chunk whose worker was lost back, alone; what is lost too often has failed."""
        for point in reversed(chunk.points):
            if chunk.lost + 1 >= _ATTEMPTS:
                yield [_failed(point, f"its worker was lost {_ATTEMPTS} times")]
            else:
                self._queue.appendleft(_Chunk([point], chunk.lost + 1))

    def _overdue(self) -> Iterator[list[StudyTrial]]:
        if self._trial_timeout is None:
            return
        now, slow = time.monotonic(), []
        for future, flight in self._flights.items():
            if flight.began is None and future.running():
                flight.began = now
            if flight.began is None or future.done():
                continue
            begins = max(flight.began, self._fresh + _START_SECONDS)  # nobody tells which worker is still starting
            if now - begins > self._trial_timeout * len(flight.chunk.points):
                slow.append(future)
        if not slow:
            return
        for future in slow:
            chunk = self._flights.pop(future).chunk
            future.cancel()
            if len(chunk.points) == 1:
                yield [_failed(chunk.points[0], f"it took longer than {self._trial_timeout:g} s")]
            else:
                self._queue.extendleft(_Chunk([point]) for point in reversed(chunk.points))
        if self._workers.replaceable:
            yield from self._restart()

    def _restart(self) -> Iterator[list[StudyTrial]]:
        """Only a process that is ended stops a trial; what its neighbours had is run again, at nobody's expense."""
        flights, self._flights = self._flights, {}
        for future, flight in flights.items():
            if _has_result(future):
                yield future.result()
            else:
                self._queue.appendleft(flight.chunk)
        self._replace()

    def _replace(self) -> None:
        self._workers.replace()
        self._fresh = time.monotonic()

    def _abandon(self) -> None:
        for future in self._flights:
            future.cancel()
        self._flights = {}
        self._queue.clear()
        self._workers.abandon()


def _has_result(future: "Future[list[StudyTrial]]") -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _failed(point: tuple[int, object], reason: str) -> StudyTrial:
    number, params = point
    now = datetime.now(UTC)
    blank = StudyTrial(number, dict(params), TrialState.FAILED)  # type: ignore[call-overload]
    return replace(blank, reason=reason, started_at=now, finished_at=now)


def in_order(trials: Sequence[StudyTrial]) -> list[StudyTrial]:
    """By number."""
    return sorted(trials, key=lambda trial: trial.number)
