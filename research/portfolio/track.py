"""What a portfolio of backtests would have come to: when weights are set, from what, and what is held in between.

Belongs here: shared sessions, the plan of rebalances, held weights, combined returns. Does not belong here: the
arithmetic of weights (see `weights`), figures and pages.

A weight that is decided at a session's close is earned from the next session on. Between two rebalances the parts grow
apart as their returns do. Nothing is charged for moving money between them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from research.portfolio.options import PortfolioError, PortfolioOptions
from research.portfolio.weights import Vector, weights_for


@dataclass(frozen=True, slots=True)
class Rebalance:
    """Weights that are set at the close of a session.

    Attributes:
        position: of that session among the shared ones; -1 is the close before the first.
        note: why the weights are not what the method gives, where they are not.
    """

    position: int
    weights: Vector
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """A portfolio day by day.

    Attributes:
        returns: of the portfolio, by session.
        held: weight of each part at the session's beginning, a column a part.
    """

    returns: pd.Series
    held: pd.DataFrame


def shared_returns(returns: Mapping[str, pd.Series]) -> pd.DataFrame:
    """A column a part over the sessions that all of them have.

    A return on a session that another part lacks is not lost: it is part of the return to the next shared one.

    Raises:
        PortfolioError: fewer than two sessions are shared, or a part lost everything.
    """
    for name, one in returns.items():
        if (one <= -1.0).any():
            raise PortfolioError(f"portfolio: {name} lost everything, so that its returns are not defined.")
    levels = pd.concat({name: (1.0 + one).cumprod() for name, one in returns.items()}, axis=1, join="inner")
    if len(levels) < 2:
        raise PortfolioError(f"portfolio: {len(levels)} sessions are shared by all, at least 2 are needed.")
    shared = levels / levels.shift(1) - 1.0
    shared.iloc[0] = [one.loc[levels.index[0]] for one in returns.values()]
    return shared.sort_index()


def plan_rebalances(returns: pd.DataFrame, options: PortfolioOptions) -> list[Rebalance]:
    """Weights at the end of every month, estimated from the `window` sessions up to it.

    In-sample, weights are estimated once from all sessions and set again at every month's end. Where they cannot be
    estimated (a part that held nothing for the whole window does not vary), those before stay, at first equal ones.

    Raises:
        PortfolioError: there are not enough sessions, the bounds leave no room, or in-sample weights do not exist.
    """
    options.check_count(returns.shape[1])
    ends = _month_ends(pd.DatetimeIndex(returns.index))
    if options.in_sample:
        weights = weights_for(_covariance(returns.to_numpy()), options)
        return [Rebalance(at, weights) for at in [-1, *ends]]
    if len(returns) < options.window + 2:
        raise PortfolioError(
            f"portfolio: {len(returns)} shared sessions are too few for a window of {options.window}; "
            "take a shorter window, or weights estimated in-sample."
        )
    plan: list[Rebalance] = []
    for at in [options.window - 1, *(end for end in ends if end >= options.window)]:
        plan.append(_estimated(returns.to_numpy()[at + 1 - options.window : at + 1], at, plan, options))
    return plan


def _estimated(window: np.ndarray, position: int, earlier: Sequence[Rebalance], options: PortfolioOptions) -> Rebalance:
    count = window.shape[1]
    try:
        return Rebalance(position, weights_for(_covariance(window), options))
    except PortfolioError as error:
        before = earlier[-1].weights if earlier else np.full(count, 1.0 / count)
        return Rebalance(position, before, f"{str(error).removeprefix('portfolio: ').rstrip('.')}; the weights stay.")


def follow(returns: pd.DataFrame, plan: Sequence[Rebalance]) -> Track:
    """Hold what the plan says, from the session after its first decision to the end."""
    first = plan[0].position + 1
    decided = {one.position: one.weights for one in plan}
    values = returns.to_numpy(dtype=float)
    held = np.empty((len(values) - first, values.shape[1]))
    weights = plan[0].weights
    for row, at in enumerate(range(first, len(values))):
        held[row] = weights
        grown = weights * (1.0 + values[at])
        weights = decided.get(at, grown / grown.sum())
    index = returns.index[first:]
    combined = (held * values[first:]).sum(axis=1)
    return Track(pd.Series(combined, index, name="portfolio"), pd.DataFrame(held, index, returns.columns))


def _covariance(window: np.ndarray) -> np.ndarray:
    """Sample covariance (ddof 1)."""
    return np.atleast_2d(np.cov(window, rowvar=False, ddof=1))


def _month_ends(sessions: pd.DatetimeIndex) -> list[int]:
    """Positions of each month's last session; the last one of all has nothing after it and is left out."""
    months = sessions.to_period("M")
    return [int(at) for at in np.flatnonzero(months[1:] != months[:-1])]
