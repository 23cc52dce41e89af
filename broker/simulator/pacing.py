"""IB's limits on how often a client may ask.

Belongs here: counting requests. Does not belong here: answering them.

The limits are those that IB publishes for historical data, and 50 messages a second for everything.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

_IDENTICAL_SECONDS: Final = 15.0
_BURST_SECONDS, _BURST = 2.0, 6
_WINDOW_SECONDS, _WINDOW = 600.0, 60
_MESSAGES_A_SECOND: Final = 50

VIOLATION: Final = "Historical Market Data Service error message:Historical data request pacing violation"


@dataclass(slots=True)
class Pacing:
    """What one client has asked lately; times are seconds of any clock that only rises."""

    _history: deque[tuple[float, tuple[str, ...], tuple[str, ...], int]] = field(default_factory=deque)
    _messages: deque[float] = field(default_factory=deque)

    def history_allowed(self, now: float, request: tuple[str, ...], contract: tuple[str, ...], *, double: bool) -> bool:
        """Count a request for history; BID_ASK counts `double`. `contract` includes the kind of data."""
        while self._history and now - self._history[0][0] > _WINDOW_SECONDS:
            self._history.popleft()
        identical = any(r == request and now - at < _IDENTICAL_SECONDS for at, r, _, _ in self._history)
        burst = sum(c == contract and now - at < _BURST_SECONDS for at, _, c, _ in self._history)
        whole = sum(weight for _, _, _, weight in self._history) + (2 if double else 1)
        if identical or burst >= _BURST - 1 or whole > _WINDOW:
            return False
        self._history.append((now, request, contract, 2 if double else 1))
        return True

    def message_allowed(self, now: float) -> bool:
        """Count a message; False when there were too many within a second."""
        while self._messages and now - self._messages[0] > 1.0:
            self._messages.popleft()
        self._messages.append(now)
        return len(self._messages) <= _MESSAGES_A_SECOND
