"""Asking a gateway for the account's whole state without holding up the caller.

Belongs here: one question at a time, asked again while it fails. Does not belong here: what the answer means; it
reaches every listener of the session as a snapshot.
"""

import threading
import time
from typing import Self

from broker.errors import GatewayError
from broker.ib.messages import SessionState
from broker.ib.requests import Gateway

_PAUSE = 1.0


class Resync:
    """Asks on a thread of its own, from `start` to `stop`; questions that come while one runs become one more."""

    def __init__(self, gateway: Gateway, seconds: float = 10.0) -> None:
        self._gateway = gateway
        self._seconds = seconds
        self._wanted = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ib-resync", daemon=True)

    def start(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End; a question under way is waited for."""
        self._over.set()
        self._wanted.set()
        self._thread.join(self._seconds + 10.0)

    def ask(self) -> None:
        """Want the account's state."""
        self._wanted.set()

    def _work(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._over.is_set():  # looked at last: a wish that `stop` made since would be cleared unseen
                return
            began = time.monotonic()
            if not self._asked():
                self._wanted.set()
            # neither a flood of questions nor a gateway that is away may keep this thread busy
            self._over.wait(max(_PAUSE - (time.monotonic() - began), 0.0))

    def _asked(self) -> bool:
        if self._gateway.state not in (SessionState.READY, SessionState.DEGRADED):
            return True  # the state is told anyway before the session is READY again
        try:
            self._gateway.synchronize(self._seconds)
        except GatewayError:
            return False
        return True
