"""Answers that are overdue.

Belongs here: deadlines with repetition. Does not belong here: what is asked (see `book`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

_LONGEST_PAUSE = timedelta(minutes=5)

Kind = Literal["order", "commission", "orphan", "position"]
Concern = tuple[Kind, str]
"""What is waited for: an order (by reference), the commission of an execution, the execution of a commission (by
execId), a position (by con_id)."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a book waits before it asks.

    Attributes:
        acknowledgement: for the first sign of an order that was sent, or of other terms.
        cancellation: for the end of an order whose cancellation was asked for.
        executions: for executions that a status or a later execution says there are.
        commission: for the commission of an execution.
        position: for the broker's position to agree with the book's.
        absence: after which an order that was sent and is nowhere to be found was not received; longer than the whole
            account takes to be told, because parts of a snapshot are older than its end.
        again: before a question is asked a second time; doubles with each time, at most five minutes.
        tries: how often a missing commission is asked for.
    """

    acknowledgement: timedelta = timedelta(seconds=10)
    cancellation: timedelta = timedelta(seconds=10)
    executions: timedelta = timedelta(seconds=2)
    commission: timedelta = timedelta(seconds=15)
    position: timedelta = timedelta(seconds=5)
    absence: timedelta = timedelta(seconds=15)
    again: timedelta = timedelta(seconds=15)
    tries: int = 4


@dataclass(slots=True)
class _Deadline:
    due: datetime
    asked: int = 0


class Concerns:
    """Deadlines by key; each comes back, at growing intervals, until it is dropped."""

    def __init__(self, again: timedelta) -> None:
        self._again = again
        self._open: dict[Concern, _Deadline] = {}

    def raise_at(self, key: Concern, due: datetime) -> None:
        """Expect something until `due`, or until an earlier moment that was set; what was overdue keeps its own."""
        concern = self._open.setdefault(key, _Deadline(due))
        if not concern.asked:
            concern.due = min(concern.due, due)

    def drop(self, key: Concern) -> None:
        """Expect it no longer."""
        self._open.pop(key, None)

    def asked(self, key: Concern) -> int:
        """How often it has been overdue."""
        concern = self._open.get(key)
        return 0 if concern is None else concern.asked

    def overdue(self, now: datetime) -> list[Concern]:
        """What should have come by now; each is put off, so that it is named once a time."""
        late = [key for key, concern in self._open.items() if concern.due <= now]
        for key in late:
            concern = self._open[key]
            concern.due = now + min(self._again * 2.0**concern.asked, _LONGEST_PAUSE)
            concern.asked += 1
        return late
