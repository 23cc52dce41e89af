"""What the report of a study needs to know, in plain values.

Belongs here: the shape, and telling what was measured from what was not. Does not belong here: reading files (see
`report`), drawing (see `report_figures`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from research.overfitting import GRAVITY, Severity

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class TrialView:
    """One trial; `value` is None where the objective is unknown."""

    number: int
    params: Mapping[str, Any]
    value: float | None
    state: str = COMPLETE
    metrics: Mapping[str, Any] = field(default_factory=dict)
    folds: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check of the study says; `severity` is `pass`, `warn`, `error` or anything else for "not judged"."""

    check: str
    severity: str
    measured: Any
    threshold: Any
    sentence: str


@dataclass(frozen=True, slots=True)
class Curve:
    """Daily returns that the search never saw; `starts` are the sessions at which a new window begins."""

    name: str
    returns: pd.Series
    starts: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class StudyView:
    """A study as its report shows it.

    Attributes:
        objective: what was searched for, for a person.
        maximise: whether more of it is better.
        facts: short texts under the title: strategy, symbols, range, sampler.
        best: number of the best trial; None when none has a value.
        findings: of the assessment; None when the study was not assessed.
        statistics: figures of the assessment by name; None where unknown.
        assessed_at: when.
        trials_since: trials that were run after that.
        curves: out-of-sample, as far as there are some.
        windows: rows of the walk-forward's windows.
        hold_out: `looked_at` (None: nobody has), `metrics` and the `trials` there were then; None when the study kept
            no hold-out.
        provenance: what was run, name and value.
    """

    name: str
    objective: str
    maximise: bool
    facts: Sequence[str]
    trials: Sequence[TrialView]
    best: int | None
    findings: Sequence[Finding] | None = None
    statistics: Mapping[str, Any] = field(default_factory=dict)
    assessed_at: str | None = None
    trials_since: int = 0
    curves: Sequence[Curve] = ()
    windows: Sequence[Mapping[str, Any]] = ()
    hold_out: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def known(self) -> list[TrialView]:
        """Complete trials with a value, in their order."""
        return [trial for trial in self.trials if trial.state == COMPLETE and trial.value is not None]

    @property
    def ranked(self) -> list[TrialView]:
        """Those, the best first; equal ones in their order."""
        sign = -1.0 if self.maximise else 1.0
        return sorted(self.known, key=lambda trial: sign * (trial.value or 0.0))

    @property
    def best_trial(self) -> TrialView | None:
        """The best one."""
        return next((trial for trial in self.trials if trial.number == self.best), None)

    def varied(self) -> list[str]:
        """Parameters that differ between trials, in the order of the first trial."""
        return list(self._varied())

    def _varied(self) -> Iterator[str]:
        trials = self.known
        for name in trials[0].params if trials else ():
            if len({repr(trial.params.get(name)) for trial in trials}) > 1:
                yield name


def read_findings(assessment: Mapping[str, Any] | None) -> list[Finding] | None:
    """The findings of an assessment, the gravest first; None where there is no assessment."""
    if assessment is None:
        return None
    found = [
        Finding(
            check=str(one.get("check") or one.get("name") or ""),
            severity=str(one.get("severity") or "").lower(),
            measured=one.get("measured", one.get("value")),
            threshold=one.get("threshold"),
            sentence=str(one.get("sentence") or ""),
        )
        for one in assessment.get("findings") or ()
    ]
    # a severity that is not known says as little as an unknown one
    return sorted(found, key=lambda one: GRAVITY.index(one.severity if one.severity in GRAVITY else Severity.UNKNOWN))
