"""What is left of an edge when trading is dearer, later, or began on another day.

Belongs here: reading values that were measured under other circumstances. Does not belong here: running them
(`research.sensitivity`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True, slots=True)
class Endurance:
    """Each is None where it cannot be told.

    Attributes:
        break_even: multiple of the costs at which the value is 0, between the measured ones; `beyond` where the
            greatest multiple still leaves something.
        beyond: the greatest multiple that was measured and still positive, where there is no break-even below it.
        at_double: value at twice the costs over the value.
        delayed: value with every order a bar later over the value.
        starts: lowest over median value of other starts.
    """

    break_even: float | None
    beyond: float | None
    at_double: float | None
    delayed: float | None
    starts: float | None


def endurance(
    value: float | None,
    *,
    costs: Mapping[float, float | None],
    delayed: float | None,
    starts: Sequence[float | None],
) -> Endurance:
    """What values under other circumstances say of a positive value.

    Args:
        value: as it was searched; more is better.
        costs: value by multiple of commission, fees and slippage.
        delayed: value with every order one bar later.
        starts: values with the start moved.
    """
    positive = value is not None and value > 0.0
    known = sorted((multiple, found) for multiple, found in costs.items() if found is not None)
    crossing = next((_crossing(low, high) for low, high in pairwise(known) if low[1] > 0.0 >= high[1]), None)
    beyond = known[-1][0] if crossing is None and known and known[-1][1] > 0.0 else None
    double = costs.get(2.0)
    moved = [found for found in starts if found is not None]
    middle = float(np.median(moved)) if moved else 0.0
    return Endurance(
        crossing,
        beyond,
        double / value if positive and value and double is not None else None,
        delayed / value if positive and value and delayed is not None else None,
        min(moved) / middle if len(moved) > 2 and middle > 0.0 else None,
    )


def _crossing(low: tuple[float, float], high: tuple[float, float]) -> float:
    (a, above), (b, below) = low, high
    return a + (b - a) * above / (above - below)
