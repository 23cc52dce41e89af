"""Names for orders that are the same again after a crash.

Belongs here: the reference that an order carries at the broker. Does not belong here: keeping them apart (see
`broker.orders`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

Reference = Callable[[datetime, int], str]
"""Makes an order's reference from the time of the bar it was decided on (aware UTC) and its number among those."""


@dataclass(frozen=True, slots=True)
class DeploymentReferences:
    """`deployment/session/bar/number`: unique for ever, and the same for the same decision.

    A strategy that is started again and decides again on a bar makes the same references; what was sent before is
    recognised by them and is not sent twice.
    """

    deployment: str
    session_of: Callable[[datetime], date]

    def __call__(self, bar: datetime, number: int) -> str:
        """The reference of the order with a number among those decided on a bar."""
        return f"{self.deployment}/{self.session_of(bar):%Y%m%d}/{bar:%H%M%S}/{number}"
