"""How much the parameters move from window to window.

Belongs here: the values of each parameter over the windows, and their drift. Does not belong here: the measure (see
`research.overfitting.surface`), whether that is bad (see `research.overfitting.verdict`).

Parameters that jump about fit noise; parameters that stay put have found something, or were never free to move.
"""

from collections.abc import Sequence
from typing import Any

from research.overfitting import drift as drift_of
from research.walkforward.fold import Fold


def drift(folds: Sequence[Fold], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of each parameter: its values by window, their mean and largest relative change, and their stability.

    Changes are None of fewer than two tested windows.

    Args:
        folds: the windows.
        names: parameters that were varied.
    """
    tested = [fold.params for fold in folds if fold.params is not None]
    moved = drift_of([{name: params.get(name) for name in names} for params in tested])
    found = {}
    for name in names:
        values = [params.get(name) for params in tested]
        one = moved.get(name)
        found[name] = {
            "values": values,
            "distinct": len(set(map(repr, values))),
            "change": None if one is None else one.mean,
            "largest": None if one is None else one.largest,
            "stability": None if one is None else one.stability,
        }
    return found
