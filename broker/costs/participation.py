"""How much of a bar's volume one order may take.

Belongs here: the share of the volume. Does not belong here: what becomes of the remainder (the broker carries it over).
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Participation:
    """At most `fraction` of each bar's volume; None for any quantity on any bar."""

    fraction: float | None = 0.10

    def shares(self, volume: float) -> float:
        """Whole shares that may fill on a bar of this volume; none on an empty bar, any where volume is unknown (NaN).

        >>> Participation(0.10).shares(1_234)
        123.0
        """
        if self.fraction is None or math.isnan(volume):
            return math.inf
        # 0.1 of 30 must be 3 shares, whatever floats make of it
        return float(math.floor(max(0.0, volume) * self.fraction * (1 + 1e-12)))

    @property
    def notice(self) -> str | None:
        """What a result must say aloud, or None."""
        return "Fills are not limited by volume." if self.fraction is None else None
