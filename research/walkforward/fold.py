"""What one window came to, and what all of them come to together.

Belongs here: folds, the stitched curve, ratios between test and search. Does not belong here: running (see `run`),
files (see `files`), judging (see `research.overfitting`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from research.daily import compound
from research.metrics import Scale, return_metrics
from research.walkforward.windows import Window


@dataclass(frozen=True, slots=True)
class Fold:
    """One window, searched and tested.

    `params` is None where no trial of the search had a value; then nothing was tested and `reason` says why.
    Figures are by the names of `research.metric_catalog`, None where unknown. Returns are of the test's sessions, with
    the closing of what was open at the end (`closing_costs`, money) in the last one.
    """

    window: Window
    params: Mapping[str, Any] | None
    trials: int
    searched: float | None  # the objective on the train range, of the best trial
    tested: float | None  # the objective on the test range
    in_sample: Mapping[str, float | None]
    out_of_sample: Mapping[str, float | None]
    closing_costs: float = 0.0
    sessions: tuple[date, ...] = ()
    returns: tuple[float, ...] = ()
    reason: str | None = None
    higher: bool = True  # whether more of the objective is better

    @property
    def efficiency(self) -> float | None:
        """What is left of the objective in the test, as a fraction.

        None where the search found nothing positive, or where less is better: there is no part of nothing.
        """
        if self.searched is None or self.tested is None or self.searched <= 0.0 or not self.higher:
            return None
        return self.tested / self.searched

    @property
    def degradation(self) -> float | None:
        """By how much the test is worse than the search, in the objective's unit; None where one is unknown."""
        if self.searched is None or self.tested is None:
            return None
        return self.searched - self.tested if self.higher else self.tested - self.searched


@dataclass(frozen=True, slots=True)
class Curve:
    """Out-of-sample equity of all folds, one entry a tested session; the first session's return is from the cash."""

    sessions: tuple[date, ...] = ()
    equity: tuple[float, ...] = ()
    returns: tuple[float, ...] = ()
    windows: tuple[int, ...] = ()
    metrics: Mapping[str, float | None] = field(default_factory=dict)


def stitched(folds: Sequence[Fold], cash: float, scale: Scale) -> Curve:
    """The folds' returns compounded one after the other."""
    tested = [fold for fold in folds if fold.sessions]
    if not tested:
        return Curve()
    sessions = tuple(session for fold in tested for session in fold.sessions)
    returns = np.array([one for fold in tested for one in fold.returns])
    equity = cash * np.cumprod(1.0 + returns)
    closes = pd.Series(equity, index=pd.DatetimeIndex(list(sessions)))
    measured = return_metrics(closes, cash, scale).values
    return Curve(
        sessions,
        tuple(equity.tolist()),
        tuple(returns.tolist()),
        tuple(fold.window.number for fold in tested for _ in fold.sessions),
        {name: value for name, value in measured.items() if not isinstance(value, str)},
    )


def summary(folds: Sequence[Fold]) -> dict[str, float | int | None]:
    """Figures over all folds.

    `efficiency` is the mean objective of the tests over the mean of the searches, of the folds that have both: a mean
    of ratios would be ruled by the fold whose search found almost nothing.
    """
    both = [fold for fold in folds if fold.searched is not None and fold.tested is not None]
    searched, tested = (
        _mean([value for fold in both if (value := getattr(fold, name)) is not None]) for name in ("searched", "tested")
    )
    lost = [fold.degradation for fold in both if fold.degradation is not None]
    higher = all(fold.higher for fold in folds)
    has_ratio = higher and tested is not None and searched is not None and searched > 0.0
    totals = [compound(pd.Series(fold.returns)) for fold in folds if fold.returns]
    return {
        "folds": len(folds),
        "tested": len(totals),
        "trials": sum(fold.trials for fold in folds),
        "searched": searched,
        "tested_objective": tested,
        "efficiency": (tested or 0.0) / (searched or 1.0) if has_ratio else None,
        "degradation": _mean(lost),
        "profitable_folds": sum(total > 0.0 for total in totals) / len(totals) if totals else None,
        "worst_fold": min(totals, default=None),
        "closing_costs": sum(fold.closing_costs for fold in folds),
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
