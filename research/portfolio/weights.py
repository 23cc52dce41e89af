"""Weights of a portfolio from a covariance of returns: equal, inverse volatility, risk parity, within bounds.

Belongs here: the arithmetic. Does not belong here: where the covariance comes from (see `track`).

Weights are all positive and add up to 1. Risk parity means that every position contributes the same share of the
portfolio's variance: w_i (C w)_i is equal for all i. Without bounds in the way it is the minimum of a convex function
and found by Newton's method to the last bits (Spinu, "An Algorithm for Computing Risk Parity Weights", 2013). Where a
bound holds a position, the others share equally among themselves: coordinate descent with the bounds in each step
(Richard and Roncalli, "Constrained Risk Budgeting Portfolios", 2019), and the level at which the sum is 1. An optimiser
that divides by the sum after cutting off breaks its own cap: weights of 0.5 and 0.2 come out as 0.714 and 0.286.
"""

import numpy as np
import numpy.typing as npt

from research.portfolio.options import Method, PortfolioError, PortfolioOptions

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

_FLAT = 1e-12
_NO_ROOM = 1e-12  # bounds that only equal weights fit
_STEPS = 500
_SWEEPS = 5_000


def weights_for(covariance: Matrix, options: PortfolioOptions) -> Vector:
    """Weights by the method of the options, each within its bounds, with a sum of 1.

    Raises:
        PortfolioError: the bounds leave no room, a position does not vary, or the risk cannot be shared.
    """
    count = len(covariance)
    options.check_count(count)
    if options.method is Method.EQUAL:
        return np.full(count, 1.0 / count)
    deviations = np.sqrt(np.diag(covariance))
    if (deviations < _FLAT).any():
        raise PortfolioError(f"portfolio: {options.method} needs returns that vary, and a position's do not.")
    if options.method is Method.INVERSE_VOLATILITY:
        return fill(1.0 / deviations, options.minimum, options.maximum)
    return risk_parity(covariance, options.minimum, options.maximum)


def fill(shares: Vector, lower: float, upper: float) -> Vector:
    """Weights in proportion to the shares, each cut off at its bounds, with a sum of 1.

    The sum grows with the factor on the shares, in straight pieces between the factors at which a bound is met: the
    piece that holds 1 gives the factor exactly.
    """
    corners = np.unique(np.concatenate([lower / shares, upper / shares]))
    sums = np.array([np.clip(corner * shares, lower, upper).sum() for corner in corners])
    after = int(np.clip(np.searchsorted(sums, 1.0), 1, len(corners) - 1)) if len(corners) > 1 else 0
    if after == 0:
        return np.asarray(np.clip(corners[0] * shares, lower, upper))
    below, above = sums[after - 1], sums[after]
    part = (1.0 - below) / (above - below) if above > below else 1.0
    factor = corners[after - 1] + min(max(part, 0.0), 1.0) * (corners[after] - corners[after - 1])
    return np.asarray(np.clip(factor * shares, lower, upper))


def risk_parity(covariance: Matrix, lower: float = 0.0, upper: float = 1.0) -> Vector:
    """Weights with equal contributions to the variance; with a bound in the way, equal among those it does not hold.

    Where the bounds leave no such weights, those without bounds are cut off and filled up in proportion.

    Raises:
        PortfolioError: the positions hedge each other so fully that their risk has no share.
    """
    count = len(covariance)
    for bound in (lower, upper):
        if abs(count * bound - 1.0) < _NO_ROOM:
            return np.full(count, bound)
    free = _unbounded(covariance)
    if (free >= lower).all() and (free <= upper).all():
        return free
    shared = equal_among_free(covariance, lower, upper)
    return fill(free, lower, upper) if shared is None else shared


def contributions(weights: Vector, covariance: Matrix) -> Vector:
    """Share of each position in the portfolio's variance; they add up to 1.

    Raises:
        PortfolioError: the portfolio does not vary.
    """
    parts = weights * (covariance @ weights)
    total = float(parts.sum())
    if total <= 0.0 or not np.isfinite(total):
        raise PortfolioError("portfolio: it does not vary, so there is no risk to share.")
    return np.asarray(parts / total)


def _unbounded(covariance: Matrix) -> Vector:
    """Minimise y'Ry/2 - sum(ln y) over the correlations R; the weights are y over the deviations, scaled to 1.

    The function is self-concordant, so the damped step never leaves y > 0 and the full one converges quadratically.
    """
    deviations = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviations, deviations)
    level = np.full(len(covariance), 1.0 / np.sqrt(max(correlation.sum() / len(covariance), 0.1)))
    for _ in range(_STEPS):
        gradient = correlation @ level - 1.0 / level
        try:
            step = np.linalg.solve(correlation + np.diag(1.0 / level**2), gradient)
        except np.linalg.LinAlgError:  # the level runs away: less and less risk, never none
            raise PortfolioError(_HEDGED) from None
        decrement = float(np.sqrt(max(gradient @ step, 0.0)))
        level = level - step / (1.0 + decrement if decrement > 0.25 else 1.0)
        if decrement < 1e-13:
            break
    share = level * (correlation @ level)
    if not np.allclose(share, 1.0, rtol=1e-6, atol=0.0):
        raise PortfolioError(_HEDGED)
    weights = level / deviations
    return np.asarray(weights / weights.sum())


_HEDGED = (
    "portfolio: risk_parity finds no weights, the positions hedge each other almost fully and leave no risk to share."
)


def equal_among_free(covariance: Matrix, lower: float, upper: float) -> Vector | None:
    """Weights of which each contributes the same or stands at a bound; None when no such weights add up to 1.

    Their sum grows with the level of the contribution, so the level is found by halving. There is none where the floors
    force so much risk in that a position which hedges it would take more than is left, for nothing.
    """
    scaled = covariance / float(np.mean(np.diag(covariance)))

    below, above = -40.0, 10.0  # logarithms of the level
    least, weights = (_descend(scaled, float(np.exp(level)), lower, upper) for level in (below, above))
    if least.sum() > 1.0 or weights.sum() < 1.0:
        return None
    while above - below > 1e-14 * abs(above) and abs(weights.sum() - 1.0) > 1e-15:
        middle = 0.5 * (below + above)
        if middle in (below, above):
            break
        weights = _descend(scaled, float(np.exp(middle)), lower, upper)
        below, above = (middle, above) if weights.sum() < 1.0 else (below, middle)
    return _summed_to_one(weights, lower, upper)


def _descend(covariance: Matrix, level: float, lower: float, upper: float) -> Vector:
    """Weights whose contribution w_i (C w)_i is `level`, or that stand at a bound; one coordinate at a time."""
    variances = np.diag(covariance)
    weights = np.full(len(covariance), np.clip(1.0 / len(covariance), lower, upper))
    for _ in range(_SWEEPS):
        before = weights.copy()
        for at, variance in enumerate(variances):
            others = covariance[at] @ weights - variance * weights[at]
            root = (-others + np.sqrt(others * others + 4.0 * variance * level)) / (2.0 * variance)
            weights[at] = min(max(root, lower), upper)
        if np.abs(weights - before).max() < 1e-15:
            break
    return weights


def _summed_to_one(weights: Vector, lower: float, upper: float) -> Vector:
    """Take the last bits of the sum from the weights that no bound holds."""
    inside = (weights > lower) & (weights < upper)
    if inside.any():
        weights[inside] *= (1.0 - weights[~inside].sum()) / weights[inside].sum()
    return np.asarray(np.clip(weights, lower, upper))
