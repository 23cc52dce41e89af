"""What trading will cost, before a study is run.

Belongs here: turnover, fees and the edge a trade needs, from a few points of the space. Does not belong
here: searching.
"""

from dataclasses import dataclass
from typing import Any

from research.engine import PreparedRun
from research.study.specification import StudySpecification


@dataclass(frozen=True, slots=True)
class Estimate:
    """Costs of one point of the space; None where it did not trade.

    Attributes:
        params: the point.
        trades_per_year: closed round trips.
        turnover: half the traded value over mean equity, a year.
        fees_per_year: money.
        fees_to_equity: fees a year over the starting cash.
        break_even_edge: fees and slippage a round trip, as a fraction of the money traded in it: what a trade must
            earn before costs.
        fees_to_gross_profit: fees over the gross profit of closed trades.
        seconds: how long the point took.
    """

    params: dict[str, Any]
    trades_per_year: float | None
    turnover: float | None
    fees_per_year: float | None
    fees_to_equity: float | None
    break_even_edge: float | None
    fees_to_gross_profit: float | None
    seconds: float


def estimate(prepared: PreparedRun, specification: StudySpecification, *, points: int = 5) -> tuple[Estimate, ...]:
    """Costs of a few points, spread over the space by the study's seed.

    Raises:
        StudyError: the space does not fit the strategy.
    """
    raise NotImplementedError
