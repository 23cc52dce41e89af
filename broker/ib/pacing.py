"""When a question for history may be sent, so that IB never has to refuse it.

Belongs here: IB's published limits as one bucket for all symbols and threads, waiting, backing off. Does not belong
here: what is asked (see `history`).

IB allows 60 requests in ten minutes, never the same one within 15 seconds, and five for the same contract, exchange
and kind of data within two; BID_ASK counts twice. These limits are hard for bars of 30 seconds and less, and a soft
brake for longer ones.
"""

import threading
import time
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from broker.errors import GatewayError, PacingError
from broker.ib.requests import HistoryRequest

T = TypeVar("T")

_LEAST_BACK_OFF: Final = 15.0  # IB ignores an identical question for as long
_ROUNDING: Final = 1e-6  # seconds: a sum of times is not exact, and the clock counts from an arbitrary moment


@dataclass(frozen=True, slots=True)
class PacingLimits:
    """At most so many requests in so many seconds.

    Attributes:
        requests: in `window` seconds; a little below IB's 60, because other programs may ask too.
        identical: seconds between two equal requests.
        burst: requests for one contract, exchange and kind of data in `burst_window` seconds.
        margin: seconds by which every limit is kept longer: messages do not all travel equally fast.
        back_off: wait after a refusal, 15 seconds or more; doubles with every further one.
        attempts: tries in all for a request that is refused for pacing.
    """

    requests: int = 58
    window: float = 600.0
    identical: float = 15.0
    burst: int = 5
    burst_window: float = 2.0
    margin: float = 0.25
    back_off: float = 20.0
    attempts: int = 5

    def __post_init__(self) -> None:
        if self.requests < 2:
            raise GatewayError(f"requests: {self.requests} leaves no room for one request that counts twice.")
        if self.back_off < _LEAST_BACK_OFF:
            raise GatewayError(f"back_off: {self.back_off} is below IB's {_LEAST_BACK_OFF:g} seconds.")


@dataclass(frozen=True, slots=True, order=True)
class _Grant:
    at: float
    weight: int
    request: object
    kind: object


class Pacer:
    """Gives every request a time at which it may be sent, and makes its thread wait for it.

    One for all who ask one gateway. `clock` only rises (seconds); `sleep` waits, by itself until `stop`.
    """

    def __init__(
        self,
        limits: PacingLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.limits = limits or PacingLimits()
        self._stopped = threading.Event()
        self._clock, self._sleep = clock, sleep or self._stopped.wait
        self._lock = threading.Lock()
        self._grants: list[_Grant] = []  # ascending in time; those of the future are promised
        self._not_before = float("-inf")

    def reserve(self, request: HistoryRequest) -> float:
        """Reserve the earliest time at which a request keeps every limit; how many seconds from now that is."""
        with self._lock:
            now = self._clock()
            grant = self._earliest(max(now, self._not_before), request)
            self._forget_before(now)
            insort(self._grants, grant, key=lambda known: known.at)
            return max(grant.at - now, 0.0)

    def run(self, request: HistoryRequest, ask: Callable[[], T]) -> T:
        """Wait for the request's time, ask, and ask again after a pause where IB says that it was too early.

        Raises:
            PacingError: refused for pacing at every try.
            GatewayError: the pacer was stopped.
        """
        for attempt in range(1, self.limits.attempts):
            self._wait(request)
            try:
                return ask()
            except PacingError:
                self.back_off(attempt)
        self._wait(request)
        return ask()

    def _wait(self, request: HistoryRequest) -> None:
        """Until the request's time, and on while a refusal that came meanwhile keeps everybody waiting."""
        self._sleep(self.reserve(request))
        self._go_on()
        while (pause := self._not_before - self._clock()) > 0:
            self._sleep(pause)
            self._go_on()

    def stop(self) -> None:
        """Let no further request out: whoever waits ends with an error at once."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether nothing more may be asked."""
        return self._stopped.is_set()

    def _go_on(self) -> None:
        if self.stopped:
            raise GatewayError("history: no more is asked, the download was stopped.")

    def back_off(self, refusals: int = 1) -> None:
        """IB has refused a request: nothing is sent for a while, longer with every refusal of the same request."""
        with self._lock:
            pause = self.limits.back_off * 2.0 ** (refusals - 1)
            self._not_before = max(self._not_before, self._clock() + pause)

    def seconds_for(self, count: int) -> float:
        """How long from now the last of so many further requests, all different, must wait at least."""
        with self._lock:
            now = self._clock()
            start = max(now, self._not_before)
            times = [grant.at for grant in self._grants for _ in range(grant.weight) if grant.at > now - self._window]
            times.sort()
        for _ in range(count):
            full = times[-self.limits.requests] + self._window if len(times) >= self.limits.requests else start
            times.append(max(full, start, times[-1] if times else start))
        return max(times[-1] - now, 0.0) if count else 0.0

    @property
    def _window(self) -> float:
        return self.limits.window + self.limits.margin

    def _earliest(self, start: float, request: HistoryRequest) -> _Grant:
        """The first time from `start` on that keeps every limit; it lies where some earlier grant stops to count."""
        limits = self.limits
        kind = (request.contract, request.what_to_show)
        weight = 2 if request.what_to_show == "BID_ASK" else 1
        same = [g.at for g in self._grants if g.request == request]
        alike = [(g.at, 1) for g in self._grants if g.kind == kind]
        every = [(g.at, g.weight) for g in self._grants]
        identical, burst = limits.identical + limits.margin, limits.burst_window + limits.margin

        def fits(at: float) -> bool:
            return (
                all(abs(at - known) > identical - _ROUNDING for known in same)
                and _heaviest(alike, at, burst) < limits.burst
                and _heaviest(every, at, self._window) + weight <= limits.requests
            )

        lengths = ((identical, same), (burst, _moments(alike)), (self._window, _moments(every)))
        ends = (known + length for length, times in lengths for known in times)
        at = next(moment for moment in sorted({start, *(end for end in ends if end > start)}) if fits(moment))
        return _Grant(at, weight, request, kind)

    def _forget_before(self, now: float) -> None:
        oldest = now - max(self._window, self.limits.identical + self.limits.margin)
        self._grants = [grant for grant in self._grants if grant.at > oldest]


def _moments(grants: Iterable[tuple[float, int]]) -> list[float]:
    return [at for at, _ in grants]


def _heaviest(grants: Sequence[tuple[float, int]], at: float, window: float) -> int:
    """The greatest weight, without its own, of any span shorter than `window` that a moment may lie in."""
    window -= _ROUNDING
    near = [(known, weight) for known, weight in grants if abs(known - at) < window]
    starts = [*(known for known, _ in near if known <= at), at]
    return max(sum(weight for known, weight in near if start <= known < start + window) for start in starts)
