"""The market's time: the wall clock, or that of a simulated gateway while it replays recorded days.

Belongs here: asking for it. Does not belong here: sessions (see `warehouse.calendar`).
"""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from http.client import HTTPException

from pipelines.errors import SettingsError
from pipelines.settings import Settings

Clock = Callable[[], datetime]

_ASK_SECONDS = 5.0
_KEEP_SECONDS = 0.02  # how long an answer is good for: many parts of a run look at the clock at once


def market_clock(settings: Settings) -> Clock:
    """A clock for trading (aware UTC).

    Raises:
        SettingsError: a simulator's clock is set in live mode, or its address is none of this machine.
    """
    if not settings.simulator_url:
        return lambda: datetime.now(UTC)
    if settings.trading_mode == "live":
        raise SettingsError("BARLOOM_SIMULATOR_URL: live trading has no simulated clock; unset it.")
    place = urllib.parse.urlsplit(settings.simulator_url)
    if place.scheme != "http" or place.hostname not in {"127.0.0.1", "localhost"}:
        raise SettingsError(f"BARLOOM_SIMULATOR_URL: {settings.simulator_url!r} is not like http://127.0.0.1:4003.")
    return SimulatorClock(settings.simulator_url.rstrip("/") + "/status")


class SimulatorClock:
    """The time of a simulated market. While a simulator that has told it is gone, its market stands still."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._asked = -1.0
        self._told: datetime | None = None

    def __call__(self) -> datetime:
        """The simulated market's time (aware UTC); never runs backwards.

        Raises:
            SettingsError: the simulator tells something else, or has not told it yet and is not there.
        """
        told = self._told
        if told is None or time.monotonic() - self._asked > _KEEP_SECONDS:
            answer = self._ask()
            told = self._told = answer if told is None else max(told, answer)
            self._asked = time.monotonic()
        return told

    def _ask(self) -> datetime:
        try:
            with urllib.request.urlopen(self._url, timeout=_ASK_SECONDS) as answer:  # noqa: S310 (loopback, checked)
                return datetime.fromisoformat(json.load(answer)["now"])
        except (OSError, HTTPException) as error:
            if self._told is not None:
                return self._told
            reason: object = error
        except (ValueError, KeyError, TypeError) as error:
            reason = error
        raise SettingsError(f"BARLOOM_SIMULATOR_URL: {self._url} does not tell the time: {reason}.")
