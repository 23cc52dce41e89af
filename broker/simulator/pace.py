"""Making the simulated time pass.

Belongs here: waiting, speed, pause, scripted commands. Does not belong here: what happens when time passes (see
`exchange`).
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from broker.simulator.exchange import Exchange
from broker.simulator.settings import ClockMode
from broker.simulator.tape import SECOND

log = logging.getLogger(__name__)

_LONGEST_WAIT: Final = 0.2  # seconds; how long a change of speed may take to be seen
_MOST_BEHIND: Final = 2.0  # seconds; a machine that was asleep does not catch up
_STEPS_AT_ONCE: Final = 16  # before clients get their turn, at full speed

Published = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Pace:
    """Moves an exchange's market. `published` sends out what has happened and lets clients read."""

    exchange: Exchange
    mode: ClockMode
    speed: float
    closed_seconds: float
    published: Published
    script: list[tuple[int | None, int | None, dict[str, Any]]] = field(default_factory=list)
    command: Callable[[dict[str, Any]], object] | None = None
    paused: bool = False
    steps: int = 0
    ended: bool = False
    _anchor: tuple[float, int, float] | None = None  # wall seconds, market time and speed that replay counts from

    def resync(self) -> None:
        """Count from now on: time was sought, stopped, or made to pass at another speed."""
        self._anchor = None

    async def run(self) -> None:
        """Play until the tape ends; in stepped mode, nothing."""
        if self.mode is ClockMode.STEPPED:
            return
        while True:
            if self.paused:
                self.resync()
                await asyncio.sleep(_LONGEST_WAIT / 4)
            elif self.mode is ClockMode.LIVE:
                await self._live()
            elif math.isinf(self.speed):
                await self._full_speed()
            else:
                await self._replay()

    async def step_bars(self, bars: int) -> int:
        """Play whole bars at once; how many there were."""
        done = 0
        while done < bars and self._step():
            if not self.exchange.market.mid_bar:
                done += 1
                await self.published()
        await self.published()
        return done

    async def step_knots(self, knots: int) -> int:
        """Play single prices at once; how many there were."""
        done = 0
        while done < knots and self._step():
            done += 1
        await self.published()
        return done

    def _step(self) -> bool:
        moved = self.exchange.step()
        if moved:
            self.steps += 1
            self._run_script()
        elif not self.ended:
            self.ended = True
            log.info("the recording has ended")
        return moved

    async def _full_speed(self) -> None:
        for _ in range(_STEPS_AT_ONCE):
            if not self._step():
                break
        await self.published()
        await asyncio.sleep(_LONGEST_WAIT if self.ended else 0)

    async def _replay(self) -> None:
        market = self.exchange.market
        upcoming = market.upcoming()
        if upcoming is None:
            self._step()
            await asyncio.sleep(_LONGEST_WAIT)
            return
        if market.session_now() < 0 and not market.mid_bar:
            self.resync()
            await asyncio.sleep(min(self.closed_seconds, (upcoming - market.now) / SECOND / self.speed))
            self._step()
            await self.published()
            return
        await self._replay_to(upcoming)
        await self.published()

    async def _replay_to(self, upcoming: int) -> None:
        """Wait for the next price, or some of the way to it; what a step costs does not slow the clock."""
        wall, begun, speed = self._anchored()
        wait = wall + (upcoming - begun) / SECOND / speed - time.monotonic()
        if wait <= _LONGEST_WAIT:
            await asyncio.sleep(max(0.0, wait))
            if not self.paused:
                self._step()
            return
        await asyncio.sleep(_LONGEST_WAIT)
        # the speed may have been changed meanwhile, and time sought
        if not self.paused and self._anchor == (wall, begun, speed) and self.speed == speed:
            self.exchange.drift(begun + int((time.monotonic() - wall) * speed * SECOND))

    def _anchored(self) -> tuple[float, int, float]:
        now, market = time.monotonic(), self.exchange.market
        if self._anchor is not None:
            wall, begun, speed = self._anchor
            behind = now - wall - (market.now - begun) / SECOND / speed
            if speed != self.speed or behind > _MOST_BEHIND:
                self._anchor = None
        if self._anchor is None:
            self._anchor = now, market.now, self.speed
        return self._anchor

    async def _live(self) -> None:
        wall, market = int(time.time() * SECOND), self.exchange.market
        upcoming = market.upcoming()
        if upcoming is not None and upcoming <= wall:
            self._step()
            await self.published()
            await asyncio.sleep(0)
            return
        self.exchange.drift(wall)
        await self.published()
        wait = _LONGEST_WAIT if upcoming is None else min(_LONGEST_WAIT, (upcoming - wall) / SECOND)
        await asyncio.sleep(max(0.001, wait))

    def _run_script(self) -> None:
        """Give the commands whose moment has come."""
        due = [
            entry
            for entry in self.script
            if (entry[0] is not None and self.exchange.market.now >= entry[0])
            or (entry[1] is not None and self.steps >= entry[1])
        ]
        for entry in due:
            self.script.remove(entry)
            if self.command is not None:
                self.command(entry[2])
