"""What the guard did, as records for results, pages and the ledger.

Belongs here: the shape of a risk event. Does not belong here: where events are stored.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from risk.states import HaltState


@dataclass(frozen=True, slots=True)
class RiskEvent:
    """One refusal, one shrunk order, or one change of the halt state.

    `limit` names a field of `Limits`, or "halt_state", "equity", "price", "quantity", "operator" for what is no limit,
    or a gate of the broker. `limit_value` and `measured` are in the limit's own unit (shares, money, fraction, count,
    minutes), None where the limit has no number. Quantities are signed shares; `state` is the halt state after it.
    """

    ts: datetime  # aware UTC
    kind: Literal["refused", "shrunk", "halt", "resume"]
    symbol: str | None
    limit: str
    limit_value: float | None
    measured: float | None
    quantity_requested: float | None
    quantity_allowed: float | None
    state: HaltState
    reason: str
