"""What trading will cost, before a study is run.

Belongs here: turnover, fees and the edge a trade needs, from a few points of the space. Does not belong
here: searching.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from research.engine import PreparedRun
from research.metric_catalog import Better
from research.study.evaluate import Evaluator
from research.study.outcome import StudyTrial
from research.study.sampling import OptunaSource
from research.study.space import SearchSpace
from research.study.specification import StudySpecification


@dataclass(frozen=True, slots=True)
class Estimate:
    """Costs of one point of the space; None where it did not trade.

    Attributes:
        params: the point.
        trades_per_year: closed round trips.
        turnover: half the traded value over mean equity, a year.
        fees_per_year: money.
        fees_to_cash: fees a year over the starting cash.
        break_even_edge: fees and slippage over the money that was bought or sold once, as a fraction: what a round
            trip must earn before costs.
        fees_to_gross_profit: fees over the gross profit of closed trades.
        seconds: how long the point took.
        reason: why there is nothing, where the point failed.
    """

    params: Mapping[str, Any]
    trades_per_year: float | None
    turnover: float | None
    fees_per_year: float | None
    fees_to_cash: float | None
    break_even_edge: float | None
    fees_to_gross_profit: float | None
    seconds: float
    reason: str | None = None


def estimate(prepared: PreparedRun, specification: StudySpecification, *, points: int = 5) -> tuple[Estimate, ...]:
    """Costs of a few points, spread over the space by the study's seed; the whole range of the bars is one run.

    Raises:
        StudyError: the space does not fit the strategy.
    """
    whole = specification.model_copy(update={"folds": 1, "keep_returns": True})
    space = SearchSpace.of(prepared.strategy, prepared.experiment.params, specification.space)
    evaluator = Evaluator(prepared, whole)
    drawn = OptunaSource(space, whole, "random", (Better.HIGHER,)).ask(0, points, set())
    return tuple(_estimated(prepared, evaluator.trial(number, point.params)) for number, point in enumerate(drawn))


def _estimated(prepared: PreparedRun, trial: StudyTrial) -> Estimate:
    metrics, experiment = trial.metrics, prepared.experiment
    sessions, fees, slippage = (metrics.get(name) or 0.0 for name in ("sessions", "fees", "slippage"))
    years = sessions / experiment.annualization
    traded = _traded(trial, prepared, years)
    yearly = fees / years if years and metrics.get("fills") else None
    return Estimate(
        params=trial.params,
        trades_per_year=metrics.get("trades_per_year"),
        turnover=metrics.get("turnover"),
        fees_per_year=yearly,
        fees_to_cash=None if yearly is None else yearly / experiment.cash,
        break_even_edge=(fees + slippage) / traded if traded else None,
        fees_to_gross_profit=metrics.get("fees_to_gross_profit"),
        seconds=trial.seconds,
        reason=trial.reason,
    )


def _traded(trial: StudyTrial, prepared: PreparedRun, years: float) -> float | None:
    """Half the money that was bought and sold: turnover is that over the mean equity, a year."""
    turnover, returns = trial.metrics.get("turnover"), trial.returns
    if turnover is None or returns is None or not len(returns):
        return None
    mean = float(prepared.experiment.cash * (1.0 + returns).cumprod().mean())
    return turnover * mean * years
