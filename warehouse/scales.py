"""Telling a change of price scale from a revision where two batches overlap.

Belongs here: ratios between two deliveries of the same bars, simple share ratios. Does not belong here: storage.

A vendor that adjusts its history for a split or a dividend multiplies every earlier price by one number. So where
two batches hold the same bars, a constant ratio on open, high, low and close alike is a corporate action;
anything else that differs is a revision. The size of a move between two bars says nothing and is never used.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_SAME = 1e-9  # relative; below it two prices are the same number
_ROUNDING = 0.0105  # vendors round adjusted prices to cents: half a cent on either of two prices, and a little
_LEAST_CHANGE = 1e-4  # no dividend worth adjusting for is smaller
_NEEDED_SHARE = 0.6  # of the overlapping bars must move together


@dataclass(frozen=True, slots=True)
class Run:
    """Overlapping bars, `count` of those at positions `first` to `last`, whose new prices are old prices x `level`."""

    first: int
    last: int
    level: float
    count: int


def share_ratio(ratio: float, tolerance: float = 1e-5) -> float | None:
    """The simple share ratio (1/2, 2/3, 1/7, 10 ...) that a price ratio stands for, or None.

    Ratios between 0.8 and 1.25 are splits only when they are exactly n/(n+1) stock dividends of 5, 10, 20 or 25 %.
    """
    best = _SHARE_RATIOS[np.argmin(np.abs(_SHARE_RATIOS / ratio - 1))]
    small = 0.8 < best < 1.25
    near = abs(best / ratio - 1) <= (min(tolerance, 1e-5) if small else tolerance)
    return float(best) if near else None


def find_runs(old: Floats, new: Floats) -> list[Run]:
    """Runs of constant ratio between two deliveries of the same bars, ascending in time.

    Args:
        old: rows x (open, high, low, close) as stored, all positive.
        new: the same bars as delivered later.

    Returns:
        Runs that together explain at least 60 % of the bars; an empty list when nothing does, or all is equal.
    """
    ratios = new / old
    row_ratio = np.median(ratios, axis=1)
    tolerance = _tolerance(old, new)
    together = np.abs(ratios / row_ratio[:, None] - 1).max(axis=1) <= tolerance
    rows = np.flatnonzero(together)
    if not len(rows):
        return []
    runs = _without_lonely(
        [_run(ratios, tolerance, part) for part in _split_where_level_changes(row_ratio, tolerance, rows)]
    )
    explained = sum(run.count for run in runs) >= _NEEDED_SHARE * len(old)
    return runs if explained and any(run.level != 1.0 for run in runs) else []


def levels_at(runs: list[Run], positions: Ints) -> Floats:
    """Level at each overlap position: that of the run at or before it, else of the first."""
    starts = np.array([run.first for run in runs])
    levels = np.array([run.level for run in runs])
    found: Floats = levels[np.maximum(np.searchsorted(starts, positions, side="right") - 1, 0)]
    return found


def agree(old: Floats, new: Floats, *, rescaled: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """True where two deliveries of prices say the same, allowing for rounding on rescaled rows."""
    allowed = np.where(rescaled, _tolerance(old, new), _SAME)
    return np.abs(new / old - 1) <= allowed[:, None]


def _tolerance(old: Floats, new: Floats) -> Floats:
    smallest: Floats = np.minimum(old.min(axis=1), new.min(axis=1))
    result: Floats = 1e-5 + _ROUNDING / smallest
    return result


def _split_where_level_changes(row_ratio: Floats, tolerance: Floats, rows: Ints) -> list[Ints]:
    here, before = rows[1:], rows[:-1]
    moved = np.abs(row_ratio[here] / row_ratio[before] - 1) > tolerance[here] + tolerance[before]
    return np.split(rows, np.flatnonzero(moved) + 1)


def _run(ratios: Floats, tolerance: Floats, rows: Ints) -> Run:
    part = ratios[rows].ravel()
    level = float(np.median(part))
    noise = 3 * float(np.median(np.abs(part / level - 1)))
    if abs(level - 1) <= max(_LEAST_CHANGE, noise):
        level = 1.0
    else:
        rounding = max(noise, float(tolerance[rows].max())) + _LEAST_CHANGE
        level = (share_ratio(level, rounding) if not 0.8 < level < 1.25 else None) or level
    return Run(int(rows[0]), int(rows[-1]), level, len(rows))


def _without_lonely(runs: list[Run]) -> list[Run]:
    """Drop single bars inside the overlap that moved alone (revisions) and join what they parted."""
    inner = [run for i, run in enumerate(runs) if i in (0, len(runs) - 1) or run.last > run.first or run.level == 1.0]
    joined = inner[:1]
    for run in inner[1:]:
        if abs(run.level / joined[-1].level - 1) <= _LEAST_CHANGE:
            joined[-1] = Run(joined[-1].first, run.last, joined[-1].level, joined[-1].count + run.count)
        else:
            joined.append(run)
    return joined


_SHARE_RATIOS = np.array(
    sorted(
        {new / old for new in range(1, 8) for old in range(1, 8) if new != old and not 0.8 < new / old < 1.25}
        | {1 / n for n in range(2, 101)}
        | {float(n) for n in range(2, 1001)}
        | {20 / 21, 10 / 11, 5 / 6, 4 / 5}
    )
)
