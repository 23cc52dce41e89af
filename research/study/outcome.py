"""What one trial of a study came to.

Belongs here: the shapes that the search, the files and the statistics share. Does not belong here: running a trial
(see `evaluate`), files (see `records`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from research.metric_catalog import Better

Floats = npt.NDArray[np.float64]


class TrialState(StrEnum):
    """How a trial ended. `COMPLETE` ones may still be without a value; the reason says why."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FoldOutcome:
    """One sub-period of a trial. `value` is None where the objective cannot be computed there."""

    fold: int
    start: date
    end: date
    value: float | None
    metrics: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, eq=False)
class StudyTrial:
    """One set of parameters and what it came to.

    Attributes:
        number: place in the study, from 0.
        params: what was varied, by name; those of the experiment and the defaults hold for the others.
        state: how it ended.
        value: the penalised objective (the first of several), None where there is none to give.
        values: all objectives, empty where there is no value.
        plain_value: the objective before penalties.
        penalty: what the penalties took off, at least 0.
        reason: why there is no value, what was penalised, where it was pruned or how it failed; else None.
        metrics: every numeric figure by its name in `research.metric_catalog`; of the whole range, or of the folds run
            (mean) where there are several.
        folds: the sub-periods that were run; empty in a study of one.
        returns: daily returns of the search's sessions, NaN for sessions that were not run; None where not kept.
        engine: what ran it.
        seconds: how long that took.
        batch: the batch in which it was asked.
    """

    number: int
    params: Mapping[str, Any]
    state: TrialState
    value: float | None = None
    values: tuple[float, ...] = ()
    plain_value: float | None = None
    penalty: float = 0.0
    reason: str | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    folds: tuple[FoldOutcome, ...] = ()
    returns: Floats | None = None
    engine: str = ""
    seconds: float = 0.0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    batch: int = 0


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        trials: in their order.
        directions: which way is better, one an objective.
        sampler: the one that ran: `tpe`, `grid`, `random`, `cmaes` or `nsga2`.
        sessions: the days that the returns of a trial are aligned to.
        forbidden: points that a constraint refused, by its text.
        stopped: why it ended early (`asked to stop`, `out of time`), None where it did all it was to do.
        verified: kernel trials that were run again on Backtrader and came out the same.
        seconds: how long it took.
    """

    trials: tuple[StudyTrial, ...]
    directions: tuple[Better, ...]
    sampler: str
    sessions: tuple[date, ...]
    forbidden: Mapping[str, int]
    stopped: str | None
    verified: int
    seconds: float

    def ranked(self) -> list[StudyTrial]:
        """Complete trials with a value, the best first; equal ones in their order."""
        return ranked(self.trials, self.directions[0])

    @property
    def best(self) -> StudyTrial | None:
        """The best trial by the first objective, None where none has a value."""
        return next(iter(self.ranked()), None)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a study is.

    Attributes:
        done: trials that ended, those of earlier runs included.
        total: trials that there will be.
        best: the best so far, None where none has a value.
        seconds: since this run of the study began.
        left: seconds it will probably take, None before anything is known.
    """

    done: int
    total: int
    best: StudyTrial | None
    seconds: float
    left: float | None


def ranked(trials: "list[StudyTrial] | tuple[StudyTrial, ...]", better: Better) -> list[StudyTrial]:
    """Complete trials with a value, the best first; equal ones in their order."""
    sign = 1.0 if better is Better.LOWER else -1.0
    known = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.value is not None]
    return sorted(known, key=lambda trial: sign * (trial.value or 0.0))
