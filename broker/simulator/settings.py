"""What a simulation is made of.

Belongs here: the settings of one simulation and their checks. Does not belong here: reading them from anywhere.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from broker.costs import COST_MODELS
from broker.simulator.errors import SimulatorSettingsError
from broker.simulator.ledger import MarginRules
from warehouse.resolution import Resolution
from warehouse.store import Adjust

HOST: Final = "127.0.0.1"
"""The only address a simulation listens on: what connects must be on this machine."""

_ACCOUNT: Final = re.compile(r"DU\d{3,12}")


class ClockMode(StrEnum):
    """Who makes the simulated time pass."""

    REPLAY = "replay"  # the recording, at a speed
    STEPPED = "stepped"  # only the control API
    LIVE = "live-clock"  # the wall clock, over recorded days


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """One simulation.

    Attributes:
        symbols: what trades; everything in the warehouse when empty.
        start: first session that is played; a year before the end of the bars unless given.
        speed: simulated seconds a second in replay, infinite for as fast as possible.
        closed_seconds: how long a closed market lasts in replay at a finite speed.
        fill_at_once: whether an order that can be filled at the standing price is, instead of at the next price;
            unless given, in every mode but `stepped`.
        adjust: which price adjustments of the warehouse the market trades.
        control_port: port of the control API, None for none.
        script: commands with the moment (`at`, ISO 8601) or the number of steps (`after_steps`) when they are given.
    """

    port: int = 4002
    control_port: int | None = None
    symbols: tuple[str, ...] = ()
    start: date | None = None
    clock: ClockMode = ClockMode.REPLAY
    speed: float = 60.0
    closed_seconds: float = 1.0
    fill_at_once: bool | None = None
    resolution: Resolution | None = None
    adjust: Adjust = "splits"
    calendar: str = "XNYS"
    account: str = "DU1234567"
    cash: Decimal = Decimal(1_000_000)
    margin: MarginRules = MarginRules()  # noqa: RUF009 (frozen)
    cost_model: str = "ibkr_fixed"
    participation: float | None = 0.10
    state: Path | None = None
    seed: int = 0
    script: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if not _ACCOUNT.fullmatch(self.account):
            raise SimulatorSettingsError(
                f"account: {self.account!r} is no simulated account; it must be DU and digits, as IB's paper accounts."
            )
        for name in ("port", "control_port"):
            port = getattr(self, name)
            if port is not None and not 0 <= port <= 65_535:
                raise SimulatorSettingsError(f"{name}: {port} is not a port.")
        if not self.speed > 0:
            raise SimulatorSettingsError(f"speed: {self.speed} is not above 0.")
        if self.closed_seconds < 0 or not math.isfinite(self.closed_seconds):
            raise SimulatorSettingsError(f"closed_seconds: {self.closed_seconds} cannot be.")
        if not self.cash.is_finite() or self.cash <= 0:
            raise SimulatorSettingsError(f"cash: {self.cash} is not above 0.")
        if self.cost_model not in COST_MODELS:
            raise SimulatorSettingsError(f"costs: {self.cost_model!r} is not one of {', '.join(COST_MODELS)}.")

    @property
    def at_once(self) -> bool:
        """`fill_at_once`, decided."""
        return self.clock is not ClockMode.STEPPED if self.fill_at_once is None else self.fill_at_once
