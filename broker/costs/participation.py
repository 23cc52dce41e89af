"""How much of a bar's volume an order may take.

Belongs here: the share of a bar. Does not belong here: carrying the rest over, which is the broker's work.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Participation:
    """At most `fraction` of a bar's volume; None takes what it wants."""

    fraction: float | None = 0.10

    def shares(self, volume: float) -> float:
        """Whole shares of a bar that may be had.

        >>> Participation(0.1).shares(1_005.0), Participation(None).shares(10.0)
        (100.0, inf)
        """
        return math.inf if self.fraction is None else float(math.floor(self.fraction * volume + 1e-9))
