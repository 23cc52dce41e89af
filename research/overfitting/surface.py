"""Whether the best point stands on a plateau or on a needle.

Belongs here: the best point against its neighbours, how much parameters change from fold to fold. Does not belong here:
choosing a point.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from research.errors import StatisticsError
from research.measured import Missing
from research.overfitting.sharpe import Floats

_KEEPS = 0.7
FEWEST = 5
"""Trials that must have traded before it can be told which parameters change nothing."""


@dataclass(frozen=True, slots=True)
class Plateau:
    """The best point and those around it.

    Attributes:
        kept: median value of the neighbours over the best value; 1 is a plateau.
        holding: share of neighbours that keep at least 70 % of the best value.
        worst: lowest neighbour over the best value: the cliff.
        neighbours: how many were found.
    """

    kept: float
    holding: float
    worst: float
    neighbours: int


def plateau(
    points: Sequence[Mapping[str, Any]], values: Floats, best: int, *, higher: bool = True, most: int = 12
) -> Plateau | Missing:
    """The best point against its nearest neighbours.

    Distance is counted in steps: of numbers, the places between them in the sorted values that were tried, so that the
    axes of a grid weigh the same however fine they are; of anything else, and between being active and not, 0 or 1.
    Where nearly every trial has its own value (random search), a step is what an even grid of as many trials would
    have. The neighbours are the nearest points, at most `most` and those as far as the last of them, within two steps
    or, where none is, within twice the distance of the nearest one.

    Args:
        points: parameters of each trial; one that is absent was not active.
        values: of each trial, NaN where it has none.
        best: row of the best one.
        higher: whether more is better; where less is better the ratio is turned round.
        most: neighbours at most.
    """
    top = float(values[best])
    if not np.isfinite(top) or top <= 0.0:
        return Missing("the best value is not positive, so there is no part of it to keep")
    distance = _distances(points, best)
    distance[~np.isfinite(values)] = np.inf
    distance[best] = np.inf
    known = np.sort(distance[np.isfinite(distance)])
    if len(known) < 2:
        return Missing("fewer than 2 neighbours have a value")
    # those as far as the last of them too, so that the order of the trials does not matter
    farthest = min(2.0 * max(known[0], 1.0), known[:most][-1]) + 1e-9
    around = values[distance <= farthest]
    parts = around / top if higher else top / np.maximum(around, 1e-12)
    return Plateau(float(np.median(parts)), float(np.mean(parts >= _KEEPS)), float(parts.min()), len(around))


def _distances(points: Sequence[Mapping[str, Any]], best: int) -> Floats:
    names = list(dict.fromkeys(name for point in points for name in point))
    columns = [[point.get(name) for point in points] for name in names]
    varied = [column for column in columns if any(value != column[best] for value in column)]
    even = len(points) ** (1.0 / max(len(varied), 1))
    distances: Floats = np.sqrt(sum((_steps(column, best, even) ** 2 for column in varied), np.zeros(len(points))))
    return distances


def _steps(column: Sequence[Any], best: int, even: float) -> Floats:
    """Steps of one parameter between each trial and the best one; `even` values a parameter make an even grid."""
    present = [value for value in column if value is not None]
    if column[best] is None or not all(_is_number(value) for value in present):
        return np.array([float(value != column[best]) for value in column])
    levels = np.unique(np.array(present, dtype=float))
    step = 1.0 if 2 * len(levels) <= len(column) else min(1.0, even / len(levels))
    home = int(np.searchsorted(levels, float(column[best])))
    places = np.searchsorted(levels, [column[best] if value is None else float(value) for value in column])
    return np.where([value is None for value in column], 1.0, step * np.abs(places - home))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Drift:
    """How a parameter moved from fold to fold.

    Attributes:
        largest: greatest relative change between two consecutive folds.
        mean: mean relative change.
        stability: 1 less the mean change, at least 0: 1 never moved.
    """

    largest: float
    mean: float
    stability: float


def drift(folds: Sequence[Mapping[str, Any]]) -> dict[str, Drift]:
    """Drift of each parameter over consecutive folds.

    A number changes by its difference over the greater magnitude of the two; anything else by 0 or 1. A parameter that
    one of the folds does not have is left out of that pair.

    >>> drift([{"n": 10}, {"n": 20}, {"n": 20}])["n"]
    Drift(largest=0.5, mean=0.25, stability=0.75)
    """
    found: dict[str, list[float]] = {}
    for before, after in pairwise(folds):
        for name in before.keys() & after.keys():
            found.setdefault(name, []).append(_change(before[name], after[name]))
    return {
        name: Drift(max(changes), sum(changes) / len(changes), max(0.0, 1.0 - sum(changes) / len(changes)))
        for name, changes in sorted(found.items())
    }


def _change(before: object, after: object) -> float:
    if not (_is_number(before) and _is_number(after)):
        return float(before != after)
    one, other = float(before), float(after)  # type: ignore[arg-type]
    largest = max(abs(one), abs(other))
    return abs(other - one) / largest if largest else 0.0


def unread_parameters(
    points: Sequence[Mapping[str, Any]], outcomes: Sequence[Hashable], *, fewest: int = FEWEST, pairs: int = 2
) -> list[str]:
    """Parameters that were varied and demonstrably changed nothing.

    All of them where every trial came to the same. Otherwise a parameter is named when enough pairs of trials that
    differ in it alone all came to the same, and no such pair did not.

    Args:
        points: parameters of each trial; one that is absent was not active.
        outcomes: what each trial came to, comparable: figures, or a hash of its returns. None where that proves
            nothing, because it did not trade or has no value.
        fewest: trials that prove something before anything is said.
        pairs: pairs that it takes to name one parameter.

    Raises:
        StatisticsError: points and outcomes are not of the same trials.
    """
    if len(points) != len(outcomes):
        raise StatisticsError(f"outcomes: {len(outcomes)} are not those of {len(points)} points.")
    told = [row for row, outcome in enumerate(outcomes) if outcome is not None]
    points, outcomes = [points[row] for row in told], [outcomes[row] for row in told]
    if len(points) < fewest:
        return []
    names = dict.fromkeys(name for point in points for name in point)
    varied = [name for name in names if len({repr(point[name]) for point in points if name in point}) > 1]
    if len(set(outcomes)) == 1:
        return varied
    return [name for name in varied if _idle_pairs(name, points, outcomes) >= pairs]


def _idle_pairs(name: str, points: Sequence[Mapping[str, Any]], outcomes: Sequence[Hashable]) -> int:
    """Pairs that differ in one parameter alone and came to the same; 0 as soon as one did not."""
    groups: dict[Hashable, list[Hashable]] = {}
    for point, outcome in zip(points, outcomes, strict=True):
        if name in point:
            rest = tuple(sorted((key, repr(value)) for key, value in point.items() if key != name))
            groups.setdefault(rest, []).append(outcome)
    if any(len(set(group)) > 1 for group in groups.values()):
        return 0
    return sum(len(group) - 1 for group in groups.values())
