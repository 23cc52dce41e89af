"""Telling people what they have to know, without ever being in the way of trading.

Belongs here: folding, sending, the dead man's switch. Does not belong here: what is an alarm (the session, the order
book and the risk guard say so), where alarms are kept.

`Alerts.tell` returns at once: a thread of its own sends. A service that hangs, fails or refuses costs alerts, never a
bar; what could not be sent is counted and shown. The first alarm of a kind goes out at once, its repetitions are
counted and go out as one message when the fold is over.
"""

import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol, Self

from broker.errors import BrokerError

_WAITING_MOST: Final = 1000  # alarms that wait for a slow service; older ones are dropped and counted
_PING_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 20.0


class AlertSettingsError(BrokerError):
    """An alert address that cannot be used."""


class Notifier(Protocol):
    """Who delivers: apprise, or a test's own."""

    def notify(self, *, title: str, body: str) -> bool | None:
        """Deliver to every address; True when each took it."""
        ...


def notifier(urls: Sequence[str]) -> Notifier:
    """Apprise with these addresses (`mailto://`, `slack://`, `json://` ...).

    Raises:
        AlertSettingsError: apprise does not understand one; its text is not repeated, it may hold a password.
    """
    from apprise import Apprise  # noqa: PLC0415 (half a second, and only where alerts are on)

    made = Apprise()
    for place, url in enumerate(urls, 1):
        if not made.add(url):
            raise AlertSettingsError(f"alert_urls: address {place} of {len(urls)} is not one that apprise understands.")
    delivering: Notifier = made
    return delivering


@dataclass(slots=True)
class _Fold:
    """Alarms of one kind since the last message about it."""

    until: float
    repeated: int = 0
    latest: str = ""


@dataclass(frozen=True, slots=True)
class AlertCounts:
    """What became of alarms: messages sent, messages that failed, alarms folded into others, alarms dropped."""

    sent: int
    failed: int
    folded: int
    dropped: int


@dataclass(slots=True)
class _Counters:
    sent: int = 0
    failed: int = 0
    folded: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Alerts:
    """Alerts of one program. Use it in a `with` block: what waits at its end is still sent, within bounds.

    Args:
        subject: begins every title: which deployment speaks.
        service: who delivers; None keeps silent.
        switch: URL of a dead man's switch, fetched with `beat`; None for none.
        fold_seconds: within which repetitions of an alarm are one message.
        beat_seconds: shortest time between two fetches of the switch.
        monotonic: clock of both.
    """

    subject: str
    service: Notifier | None
    switch: str | None = None
    fold_seconds: float = 300.0
    beat_seconds: float = 30.0
    monotonic: Callable[[], float] = time.monotonic
    _waiting: deque[tuple[str, str]] = field(default_factory=deque)
    _folds: dict[str, _Fold] = field(default_factory=dict)
    _counts: _Counters = field(default_factory=_Counters)
    _wake: threading.Condition = field(default_factory=threading.Condition)
    _beat_due: bool = False
    _beaten: float = -1e18
    _stopping: bool = False
    _thread: threading.Thread | None = None

    def tell(self, code: str, text: str) -> None:
        """Queue an alarm; `code` is its kind, for folding. Returns at once."""
        with self._wake:
            now = self.monotonic()
            fold = self._folds.get(code)
            if fold is not None and now < fold.until:
                fold.repeated += 1
                fold.latest = text
                self._counts.folded += 1
                return
            self._fold_over(code, fold)
            self._folds[code] = _Fold(now + self.fold_seconds)
            self._queue(code, text)

    def beat(self) -> None:
        """All is well: fetch the dead man's switch, if it is time. Returns at once."""
        with self._wake:
            if self.switch is not None and self.monotonic() - self._beaten >= self.beat_seconds:
                self._beaten = self.monotonic()
                self._beat_due = True
                self._wake.notify()

    @property
    def counts(self) -> AlertCounts:
        """What became of alarms so far."""
        with self._wake:
            told = self._counts
            return AlertCounts(told.sent, told.failed, told.folded, told.dropped)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._wake:
            for code, fold in self._folds.items():
                self._fold_over(code, fold)
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def _fold_over(self, code: str, fold: _Fold | None) -> None:
        if fold is not None and fold.repeated:
            times = "once more" if fold.repeated == 1 else f"{fold.repeated} times more"
            self._queue(code, f"{fold.latest} (and {times} since the last message)")
            fold.repeated = 0

    def _queue(self, code: str, text: str) -> None:
        if len(self._waiting) >= _WAITING_MOST:
            self._waiting.popleft()
            self._counts.dropped += 1
        self._waiting.append((code, text))
        self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._beat_due or self._stopping):
                    self._wake.wait(self._next_fold())
                    self._end_folds()
                message = self._waiting.popleft() if self._waiting else None
                beat, self._beat_due = self._beat_due, False
                if message is None and not beat:
                    return
            if beat:
                self._ping()
            if message is not None:
                self._send(*message)

    def _next_fold(self) -> float | None:
        """Seconds until a fold with repetitions is over; None while there is none."""
        ends = [fold.until for fold in self._folds.values() if fold.repeated]
        return max(min(ends) - self.monotonic(), 0.0) if ends else None

    def _end_folds(self) -> None:
        now = self.monotonic()
        for code, fold in self._folds.items():
            if fold.repeated and now >= fold.until:
                self._fold_over(code, fold)
                fold.until = now + self.fold_seconds

    def _send(self, code: str, text: str) -> None:
        if self.service is None:
            return
        try:
            done = self.service.notify(title=f"{self.subject}: {code}", body=text)
        except Exception:  # noqa: BLE001 (a service's plug-in may raise anything; trading must not hear of it)
            done = False
        with self._wake:
            if done:
                self._counts.sent += 1
            else:
                self._counts.failed += 1

    def _ping(self) -> None:
        assert self.switch is not None  # noqa: S101 (else no beat is due)
        try:
            with urllib.request.urlopen(self.switch, timeout=_PING_SECONDS):  # noqa: S310 (the user's own address)
                return
        except (OSError, ValueError, urllib.error.URLError):
            with self._wake:
                self._counts.failed += 1
