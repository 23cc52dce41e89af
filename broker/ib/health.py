"""Whether a session can be traded on, from what its gateway says and does not say.

Belongs here: the facts that open and close the gate, which notices change them, when an outage is an alarm. Does not
belong here: sockets, tasks, clocks (times are passed in).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from broker.ib.messages import Notice, SessionState
from broker.ib.settings import ResetWindow

_FARM: Final = re.compile(r"(?::|is )\s*([\w.]+)\s*$")
_BROKEN_FARM: Final = frozenset({2103, 2105, 2157})
_SOUND_FARM: Final = frozenset({2104, 2106, 2158})
_LINK_LOST: Final = frozenset({1100, 2110})

WARNINGS: Final = frozenset({165, 399, 404, 434, 492, 10167, 10311, 10349}) | frozenset(range(2100, 2170))
"""Codes that refuse nothing: what was asked for goes on."""


class Remedy(StrEnum):
    """What a notice asks the session to do."""

    RESUBSCRIBE = "resubscribe"  # streams may be dead although nobody says so
    SYNCHRONIZE = "synchronize"  # the account may have changed unseen; includes RESUBSCRIBE


@dataclass(slots=True)
class Health:
    """Facts about one session; `state` and `reason` follow from them.

    Attributes:
        phase: where the connection stands; READY means connected and told everything.
        faults: what is wrong while connected: short name -> one sentence.
    """

    reset: ResetWindow | None
    outage_seconds: float
    phase: SessionState = SessionState.DISCONNECTED
    phase_reason: str = "not opened yet"
    faults: dict[str, str] = field(default_factory=dict)
    _out_since: float | None = None
    _alarmed: bool = False

    @property
    def state(self) -> SessionState:
        """The state that the facts make."""
        if self.phase is SessionState.READY and self.faults:
            return SessionState.DEGRADED
        return self.phase

    @property
    def reason(self) -> str:
        """Why the state is what it is."""
        if self.state is SessionState.DEGRADED:
            return " ".join(self.faults.values())
        return self.phase_reason

    def enter(self, phase: SessionState, reason: str) -> None:
        """The connection moved on; a new one begins without faults."""
        self.phase, self.phase_reason = phase, reason
        if phase in {SessionState.DISCONNECTED, SessionState.CONNECTING}:
            self.faults.clear()

    def hear(self, notice: Notice) -> Remedy | None:
        """Take a notice about the connection; says what has to be done about it."""
        code = notice.code
        if code in _LINK_LOST:
            self.faults["link"] = f"The gateway has lost IB's servers ({code})."
        elif code in {1101, 1102}:
            self.faults.pop("link", None)
            return Remedy.SYNCHRONIZE
        elif code in _BROKEN_FARM:
            farm = _farm(notice.text)
            self.faults[f"farm {farm}"] = f"IB's data farm {farm} is broken ({code})."
        elif code in _SOUND_FARM and (name := f"farm {_farm(notice.text)}") in self.faults:
            del self.faults[name]
            return Remedy.RESUBSCRIBE
        elif code == 10197:
            self.faults["competing"] = "Another session of this user takes the market data (10197)."
        return None

    def outage(self, now: datetime, monotonic: float) -> str | None:
        """One sentence when an outage has become an alarm, once an outage; to be asked about every second.

        Seconds inside the reset window do not count.
        """
        if self.state is SessionState.READY:
            self._out_since, self._alarmed = None, False
            return None
        if self._out_since is None or (self.reset is not None and self.reset.ends(now) is not None):
            self._out_since = monotonic
        if self._alarmed or monotonic - self._out_since < self.outage_seconds:
            return None
        self._alarmed = True
        return f"The session is {self.state} for more than {self.outage_seconds:g} seconds: {self.reason}"


def _farm(text: str) -> str:
    """The farm that a notice names: `Market data farm connection is broken:usfarm`."""
    found = _FARM.search(text)
    return found.group(1) if found else "unnamed"


FINAL_FOR_STREAMS: Final[Mapping[int, str]] = {
    200: "unknown contract",
    354: "no subscription to this market data",
    10089: "market data needs another subscription",
    10090: "part of the market data is not subscribed to",
    10168: "no subscription to this market data, and delayed data is off",
}
"""Refusals of a stream that asking again does not change."""

DEAD_STREAM: Final = frozenset({366, 420, 10182, 10225})
"""Codes after which a stream is silent for ever and has to be asked for again."""
