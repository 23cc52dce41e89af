"""Which ranked results are worth putting together: good enough, few, and not the same bet twice.

Belongs here: the choice and its reasons, correlation of daily returns on shared sessions. Does not belong here:
scores (`research.leaderboard`), what a portfolio of them comes to (`research.portfolio`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from research.ranking import ShortlistRules

FEWEST_SESSIONS = 30
"""With fewer shared sessions than this a correlation is not worth a decision."""

_FLAT = 1e-12


@dataclass(frozen=True, slots=True)
class Ranked:
    """What the choice needs to know of one result."""

    id: str
    name: str
    score: float
    returns: pd.Series | None


def shortlist(ranked: Iterable[Ranked], rules: ShortlistRules) -> dict[str, str | None]:
    """Why each result is left out, by id; None for one that is on the list.

    Args:
        ranked: the best first.
        rules: how many, how good, how different.
    """
    chosen: list[Ranked] = []
    verdicts: dict[str, str | None] = {}
    for one in ranked:
        verdicts[one.id] = _objection(one, chosen, rules)
        if verdicts[one.id] is None:
            chosen.append(one)
    return verdicts


def _objection(one: Ranked, chosen: list[Ranked], rules: ShortlistRules) -> str | None:
    if one.score < rules.minimum_score:
        return f"score {one.score:.1f} is below {rules.minimum_score:g}"
    if len(chosen) == rules.most:
        return f"the list holds {rules.most} better ones"
    for better in chosen:
        together = correlation_of(one.returns, better.returns)
        if together is None:
            return f"correlation with {better.name} is unknown"
        if together > rules.correlation:
            return f"correlates {together:.2f} with {better.name}, more than {rules.correlation:g}"
    return None


def correlation_of(
    one: pd.Series | None, other: pd.Series | None, *, fewest_sessions: int = FEWEST_SESSIONS
) -> float | None:
    """Correlation of daily returns on shared sessions; None with too few of them or when one does not vary."""
    if one is None or other is None:
        return None
    shared = pd.concat([one, other], axis=1, join="inner").to_numpy(dtype=float)
    if len(shared) < fewest_sessions or (shared.std(axis=0) < _FLAT).any():
        return None
    return float(np.corrcoef(shared.T)[0, 1])
