"""What the guard did, as plain records.

Belongs here: the event type. Does not belong here: storing or showing events.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RiskEvent:
    """One refusal, cut or change of state. `ts` is aware UTC; fractions and money as the limit counts them.

    `kind` is "refused", "shrunk", "halt", "resume" or "cooldown"; `state` is the halt state after the event.
    """

    ts: datetime
    kind: str
    limit: str
    state: str
    reason: str
    symbol: str | None = None
    limit_value: float | None = None
    measured: float | None = None
    quantity_requested: float | None = None
    quantity_allowed: float | None = None
