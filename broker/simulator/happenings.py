"""What the exchange tells whoever listens.

Belongs here: the kinds of news, as values that do not change afterwards. Does not belong here: how a client hears of
them (see `desk`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from broker.simulator.market import Print
from broker.simulator.orders import Execution, Order


@dataclass(frozen=True, slots=True)
class OrderNews:
    """A copy of an order as it stood. `details` when more than its status may have changed."""

    order: Order
    details: bool = True


@dataclass(frozen=True, slots=True)
class Filled:
    """An execution, or a correction of one; its commission follows as `Charged`."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class Charged:
    """What an execution cost."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class PositionNews:
    """A position and with it the account has changed."""

    key: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An error that belongs to a client's request or order."""

    client_id: int
    order_id: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Estimated:
    """The answer to an order that only asks what it would do."""

    client_id: int
    order: Order
    figures: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Printed:
    """The price has moved."""

    move: Print


News = OrderNews | Filled | Charged | PositionNews | Refused | Estimated | Printed
