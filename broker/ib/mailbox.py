"""Events on their way from a session's thread to whoever listens.

Belongs here: a queue with one reader. Does not belong here: events (see `messages`).
"""

import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue that any thread and any signal handler may fill, and one thread empties.

    Not `queue.SimpleQueue`: its wait with a time-out never ends where a signal's handler outlasts the time (CPython up
    to 3.12), and a trading run that is told to end by a signal would go on waiting for an event.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._news = threading.Lock()  # released when there may be an item
        self._news.acquire()

    def put(self, item: T) -> None:
        """Add an item; never waits."""
        self._items.append(item)
        with suppress(RuntimeError):  # it is released already
            self._news.release()

    def get(self, timeout: float) -> T:
        """The oldest item; waits for one up to some seconds.

        Raises:
            queue.Empty: there is none in time.
        """
        end = time.monotonic() + timeout
        while True:
            with suppress(Empty):
                return self.get_nowait()
            if not self._news.acquire(timeout=max(end - time.monotonic(), 0.0)):
                raise Empty

    def get_nowait(self) -> T:
        """The oldest item.

        Raises:
            queue.Empty: there is none.
        """
        try:
            return self._items.popleft()
        except IndexError:
            raise Empty from None
