"""How much the parameters move from window to window.

Belongs here: the change of each parameter, and whether one is at an end of what was searched. Does not belong here:
whether that is bad (see `research.verdict`).

Parameters that jump about fit noise; parameters that stay put have found something, or were never free to move.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from research.walkforward.fold import Fold


def drift(folds: Sequence[Fold], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of each parameter: its values by window, and `change`, the mean step between neighbouring windows.

    A number's step is a fraction of its mean size; of anything else it is 1 where the value differs and 0 where not.
    `change` is None of fewer than two tested windows.

    Args:
        folds: the windows.
        names: parameters that were varied.
    """
    tested = [fold.params for fold in folds if fold.params is not None]
    return {name: _of([params.get(name) for params in tested]) for name in names}


def _of(values: Sequence[Any]) -> dict[str, Any]:
    pairs = list(itertools.pairwise(values))
    if not pairs:
        return {"values": list(values), "change": None, "distinct": len(set(map(repr, values)))}
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    size = float(np.mean(np.abs(values))) if numeric else 0.0
    steps = [abs(after - before) / size if size else float(after != before) for before, after in pairs]
    return {"values": list(values), "change": float(np.mean(steps)), "distinct": len(set(map(repr, values)))}
