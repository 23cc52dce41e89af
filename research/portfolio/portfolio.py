"""A portfolio of backtests with everything that is shown of it.

Belongs here: putting returns, weights and figures together, and what a reader must know of them. Does not belong here:
the page (see `page`), files (see `store`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from research.candidates import returns_by_session
from research.measured import Measured
from research.metrics import Scale, return_metrics
from research.portfolio.options import PortfolioError, PortfolioOptions
from research.portfolio.track import Rebalance, Track, follow, plan_rebalances, shared_returns
from research.portfolio.weights import contributions
from research.result import BacktestResult

_FLAT = 1e-12


@dataclass(frozen=True, slots=True)
class Part:
    """One backtest in the portfolio.

    Attributes:
        label: for a person: the experiment's name and the beginning of the id.
        weight: set at the last rebalance.
        expected_risk: share in the portfolio's variance as estimated with that weight; None where nothing varies.
        realised_risk: share in the variance that the portfolio had, with the weights that were held.
        figures: of this backtest alone on the measured sessions.
        reasons: why a figure is unknown.
    """

    id: str
    label: str
    weight: float
    expected_risk: float | None
    realised_risk: float | None
    figures: Mapping[str, Any]
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Portfolio:
    """What several backtests would have come to together.

    Attributes:
        key: hash of the parts and the options.
        parts: in the order in which they were named.
        correlation: of daily returns on the shared sessions, parts in their order; NaN where one does not vary.
        figures: of the combined curve on the measured sessions, by the keys of `research.metric_catalog.METRICS`.
        reasons: why a figure is unknown.
        rebalances: every decision; weights in the order of the parts.
        returns: a column a part, by shared session.
        notes: sentences that a reader must know before trusting the figures.
    """

    key: str
    options: PortfolioOptions
    parts: tuple[Part, ...]
    correlation: np.ndarray
    figures: Mapping[str, Any]
    reasons: Mapping[str, str]
    rebalances: tuple[Rebalance, ...]
    returns: pd.DataFrame
    track: Track
    notes: tuple[str, ...]

    def decided_on(self, rebalance: Rebalance) -> date | None:
        """Session at whose close the weights were set; None: before the first."""
        return None if rebalance.position < 0 else self.returns.index[rebalance.position].date()


def build_portfolio(results: Sequence[BacktestResult], options: PortfolioOptions) -> Portfolio:
    """Divide money among the results and follow it.

    Raises:
        PortfolioError: a result is named twice, they cannot be combined, or no weights fit.
    """
    _check(results)
    options.check_count(len(results))
    daily = {result.id: returns_by_session(result.tables["daily"]) for result in results}
    returns = shared_returns(daily)
    plan = plan_rebalances(returns, options)
    track = follow(returns, plan)
    combined = _figures(track.returns, _scale(results))
    return Portfolio(
        key=portfolio_key(list(daily), options),
        options=options,
        parts=_parts(results, returns, track, _expected(returns, plan[-1], options), plan[-1]),
        correlation=_correlation(returns),
        figures=combined.values,
        reasons=combined.reasons,
        rebalances=tuple(plan),
        returns=returns,
        track=track,
        notes=tuple(_notes(daily, returns, plan, track, options)),
    )


def portfolio_key(ids: Sequence[str], options: PortfolioOptions) -> str:
    """Twelve digits that the same parts with the same options always have, in whatever order they are named."""
    text = json.dumps([sorted(ids), options.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _check(results: Sequence[BacktestResult]) -> None:
    ids = [result.id for result in results]
    for at, backtest_id in enumerate(ids):
        if backtest_id in ids[:at]:
            raise PortfolioError(f"portfolio: backtest {backtest_id[:13]} is named twice.")
    if len(ids) < 2:
        raise PortfolioError(f"portfolio: needs two backtests or more, got {len(ids)}.")
    for key in ("annualization", "risk_free"):
        values = {result.specification[key] for result in results}
        if len(values) > 1:
            told = " and ".join(str(value) for value in sorted(values))
            raise PortfolioError(f"portfolio: {key}: the backtests have {told}; the combined figures need one.")


def _scale(results: Sequence[BacktestResult]) -> Scale:
    specification = results[0].specification
    return Scale(int(specification["annualization"]), float(specification["risk_free"]))


def _figures(returns: pd.Series, scale: Scale) -> Measured:
    return return_metrics((1.0 + returns).cumprod(), 1.0, scale)


def _parts(
    results: Sequence[BacktestResult],
    returns: pd.DataFrame,
    track: Track,
    expected: Sequence[float | None],
    last: Rebalance,
) -> tuple[Part, ...]:
    scale, realised = _scale(results), _realised(returns, track)
    alone = [_figures(returns[result.id].loc[track.returns.index], scale) for result in results]
    return tuple(
        Part(
            id=result.id,
            label=f"{result.name} {result.id[:8]}",
            weight=float(last.weights[at]),
            expected_risk=expected[at],
            realised_risk=realised[at],
            figures=alone[at].values,
            reasons=alone[at].reasons,
        )
        for at, result in enumerate(results)
    )


def _expected(returns: pd.DataFrame, last: Rebalance, options: PortfolioOptions) -> list[float | None]:
    """Shares of the risk with the last weights and the covariance that they came from."""
    end = last.position + 1
    window = returns if options.in_sample else returns.iloc[end - options.window : end]
    return _shares(last.weights, np.cov(window.to_numpy(), rowvar=False, ddof=1))


def _shares(weights: np.ndarray, covariance: np.ndarray) -> list[float | None]:
    try:
        return [float(share) for share in contributions(weights, covariance)]
    except PortfolioError:
        return [None] * len(weights)


def _realised(returns: pd.DataFrame, track: Track) -> list[float | None]:
    """Covariance of each part's contribution (held weight x return) with the portfolio, over its variance."""
    earned = track.held.to_numpy() * returns.loc[track.held.index].to_numpy()
    total = earned.sum(axis=1)
    if len(total) < 2 or total.std() < _FLAT:
        return [None] * earned.shape[1]
    centred = total - total.mean()
    shares = (earned - earned.mean(axis=0)).T @ centred / (centred @ centred)
    return [float(share) for share in shares]


def _correlation(returns: pd.DataFrame) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.corrcoef(returns.to_numpy(), rowvar=False))


def _notes(
    daily: Mapping[str, pd.Series],
    returns: pd.DataFrame,
    plan: Sequence[Rebalance],
    track: Track,
    options: PortfolioOptions,
) -> list[str]:
    notes = [_IN_SAMPLE if options.in_sample else _ROLLING.format(window=options.window), _CHOSEN, _FREE]
    lost = len(set().union(*(one.index for one in daily.values()))) - len(returns)
    if lost:
        notes.append(f"{lost} sessions that not all backtests have are left out.")
    if not options.in_sample:
        began = track.returns.index[0].date()
        notes.append(f"Measured from {began}; the {plan[0].position + 1} sessions before only gave the first weights.")
    kept = [one for one in plan if one.note]
    if kept:
        notes.append(f"At {len(kept)} of {len(plan)} rebalances weights could not be estimated: {kept[0].note}")
    return notes


_ROLLING = (
    "Weights are set at each month's end from the {window} sessions up to it, and earned from the next session on."
)
_IN_SAMPLE = (
    "IN-SAMPLE: the weights are estimated from the very sessions they are measured on, so nobody could have had these "
    "figures."
)
_CHOSEN = "The backtests themselves were chosen with all these sessions known."
_FREE = "Moving money at a rebalance costs nothing here; a cap holds at each rebalance and may be passed in between."
