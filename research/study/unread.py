"""Parameters that a strategy never reads.

Belongs here: which trials can tell, and the sentence. Does not belong here: the proof itself (see
`research.overfitting.surface`).
"""

from collections.abc import Sequence

from research.overfitting import unread_parameters
from research.study.outcome import StudyTrial, TrialState

_ENOUGH = 10
"""Trials that must all be the same; or pairs of trials that differ in one parameter alone and came out the same."""


def unread(trials: Sequence[StudyTrial]) -> str | None:
    """A sentence about parameters that change nothing, None where there is no such proof.

    Trials in which nothing was traded prove nothing.
    """
    known = [one for one in trials if one.state is TrialState.COMPLETE and one.metrics.get("fills")]
    outcomes = [tuple(sorted(one.metrics.items())) for one in known]
    names = unread_parameters([one.params for one in known], outcomes, fewest=_ENOUGH, pairs=_ENOUGH)
    if not names:
        return None
    if len(set(outcomes)) == 1:
        listed = ", ".join(names)
        return f"{len(known)} trials with other values of {listed} came out the same; does the strategy read them?"
    return f"{names[0]} changes nothing in at least {_ENOUGH} pairs of trials that differ in it alone; is it ever read?"
