"""One number for a symbol's bars.

Belongs here: the quality score. Does not belong here: the rules it draws on, what follows from it.
"""

import numpy as np

from warehouse.quality.completeness import GAP_SESSIONS, intraday_slots, session_absences
from warehouse.quality.evidence import Evidence
from warehouse.quality.integrity import quarantined_inconsistent, standing_inconsistent
from warehouse.quality.rule import Outcome, Rule, Severity, not_computed

_MISSING, _INCONSISTENT, _NO_VOLUME, _GAPS = 0.4, 0.3, 0.2, 0.1


def quality_score(evidence: Evidence) -> float | None:
    """1 for faultless bars, 0 at worst; None when there are no bars to score.

    1 - (0.4 x missing + 0.3 x inconsistent + 0.2 x without volume, each per bar, + 0.1 x gaps per 100 bars). A
    gap is an absence of more than 5 sessions. Bars of a vendor who gives no volume at all lose nothing by it.
    """
    count = len(evidence.bars)
    if count == 0:
        return None
    _, absences = session_absences(evidence)
    loss = (
        _MISSING * _missing_bars(evidence, int(absences.length.sum()))
        + _INCONSISTENT * (int(standing_inconsistent(evidence).sum()) + quarantined_inconsistent(evidence).num_rows)
        + _NO_VOLUME * _bars_without_volume(evidence)
        + _GAPS * 100 * int((absences.length > GAP_SESSIONS).sum())
    )
    return max(0.0, 1.0 - float(loss) / count)


def _missing_bars(evidence: Evidence, missing_sessions: int) -> int:
    """Bars that are not there; a session without any counts as many as a usual session has."""
    if not evidence.resolution.intraday:
        return missing_sessions
    _, bars_a_session = np.unique(evidence.bars.session, return_counts=True)
    return int((~intraday_slots(evidence).found).sum()) + missing_sessions * int(np.median(bars_a_session))


def _bars_without_volume(evidence: Evidence) -> int:
    silent = int((~(evidence.bars.volume > 0)).sum())
    return 0 if silent == len(evidence.bars) else silent


def _score(evidence: Evidence, _: float) -> Outcome:
    score = quality_score(evidence)
    if score is None:
        return not_computed("There are no bars to score.")
    return Outcome(score, f"Quality score {score:.3f} of 1.")


RULES = (
    Rule(
        "quality_score",
        "1 - (0.4 missing + 0.3 inconsistent + 0.2 without volume, a bar, + 0.1 gaps per 100 bars).",
        Severity.ERROR,
        0.9,
        _score,
        at_least=True,
    ),
)
