"""Parameters that a strategy never reads.

Belongs here: telling from finished trials that they all came out the same, or that one parameter changed nothing. Does
not belong here: statistics of trials that differ (`research.overfitting`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from research.study.outcome import StudyTrial, TrialState
from research.study.sampling import point_key

_ENOUGH = 10
"""Trials that must all be the same; or pairs of trials that differ in one parameter alone and came out the same."""


def unread(trials: Sequence[StudyTrial]) -> str | None:
    """A sentence about parameters that change nothing, None where there is no such proof.

    Trials in which nothing was traded prove nothing.
    """
    known = [one for one in trials if one.state is TrialState.COMPLETE and one.metrics.get("fills")]
    names = list(dict.fromkeys(name for trial in known for name in trial.params))
    if len(known) >= _ENOUGH and len({_outcome(trial) for trial in known}) == 1:
        listed = ", ".join(names)
        return f"{len(known)} trials with other values of {listed} came out the same; does the strategy read them?"
    for name in names:
        pairs = _pairs(known, name)
        if pairs >= _ENOUGH:
            return f"{name} changes nothing in {pairs} pairs of trials that differ in it alone; is it ever read?"
    return None


def _pairs(trials: Sequence[StudyTrial], name: str) -> int:
    """Pairs that differ in one parameter alone and came out the same; 0 as soon as one did not."""
    groups: dict[str, list[StudyTrial]] = defaultdict(list)
    for trial in trials:
        if name in trial.params:
            groups[point_key(_without(trial.params, name))].append(trial)
    pairs = 0
    for group in groups.values():
        if len({_outcome(trial) for trial in group}) > 1:
            return 0
        pairs += len(group) - 1
    return pairs


def _without(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in params.items() if key != name}


def _outcome(trial: StudyTrial) -> tuple[tuple[str, float | None], ...]:
    return tuple(sorted(trial.metrics.items()))
