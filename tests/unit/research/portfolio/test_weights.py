"""Laws of the weights: they add up to 1, stand within their bounds, do not depend on units, and share the risk."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from research.portfolio.options import Method, PortfolioError, PortfolioOptions
from research.portfolio.weights import contributions, equal_among_free, fill, risk_parity, weights_for


@st.composite
def covariances(draw, least=2, most=6):
    """Of returns with a common part, volatilities apart by a factor of up to 50."""
    count = draw(st.integers(least, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    common = draw(st.floats(-0.9, 3.0))
    rows = rng.normal(size=(count, 120)) + common * rng.normal(size=120)
    return np.cov(rows * rng.uniform(0.001, 0.05, (count, 1)))


def options(method, count, minimum=0.0, maximum=1.0):
    return PortfolioOptions.of(method=method, most=count, minimum=minimum, maximum=maximum)


@st.composite
def bounds(draw, count):
    """Bounds that leave room."""
    return draw(st.floats(0.0, 1.0 / count)), draw(st.floats(1.0 / count, 1.0))


@given(covariances(), st.sampled_from(Method), st.data())
def test_weights_add_up_to_one_within_their_bounds(covariance, method, data):
    lower, upper = data.draw(bounds(len(covariance)))
    weights = weights_for(covariance, options(method, len(covariance), lower, upper))
    assert abs(weights.sum() - 1.0) < 1e-12
    assert weights.min() >= lower
    assert weights.max() <= upper


@given(covariances(), st.sampled_from(Method), st.floats(1e-4, 1e4))
def test_weights_do_not_depend_on_the_unit_of_returns(covariance, method, unit):
    chosen = options(method, len(covariance))
    assert weights_for(covariance * unit, chosen) == pytest.approx(weights_for(covariance, chosen), abs=1e-9)


@given(covariances(), st.sampled_from(Method), st.randoms())
def test_weights_do_not_depend_on_the_order(covariance, method, shuffled):
    order = list(range(len(covariance)))
    shuffled.shuffle(order)
    chosen = options(method, len(covariance))
    turned = weights_for(covariance[np.ix_(order, order)], chosen)
    assert turned == pytest.approx(weights_for(covariance, chosen)[order], abs=1e-9)


@given(covariances())
def test_risk_parity_contributes_equally(covariance):
    weights = risk_parity(covariance)
    assert contributions(weights, covariance) == pytest.approx(np.full(len(weights), 1 / len(weights)), abs=1e-9)


@given(covariances(), st.data())
def test_where_bounds_hold_some_the_others_contribute_equally(covariance, data):
    lower, upper = data.draw(bounds(len(covariance)))
    weights = equal_among_free(covariance, lower, upper)
    assume(weights is not None)
    assert weights == pytest.approx(risk_parity(covariance, lower, upper), abs=1e-6)
    inside = contributions(weights, covariance)[(weights > lower + 1e-9) & (weights < upper - 1e-9)]
    assume(len(inside) > 1)
    assert inside == pytest.approx(np.full(len(inside), inside.mean()), rel=1e-6)


@given(covariances(2, 2))
def test_of_two_positions_risk_parity_is_inverse_volatility(covariance):
    deviations = np.sqrt(np.diag(covariance))
    assert risk_parity(covariance) == pytest.approx((1 / deviations) / (1 / deviations).sum(), abs=1e-9)


def test_risk_parity_of_a_known_case():
    # volatilities 10, 20, 30 %, correlations 0.8, 0.5, 0.3: the equation w_i (C w)_i = const solved to 6 digits
    volatility = np.array([0.1, 0.2, 0.3])
    correlation = np.array([[1.0, 0.8, 0.5], [0.8, 1.0, 0.3], [0.5, 0.3, 1.0]])
    covariance = correlation * np.outer(volatility, volatility)
    weights = risk_parity(covariance)
    marginal = weights * (covariance @ weights)
    assert marginal == pytest.approx(np.full(3, marginal.mean()), rel=1e-12)
    assert weights[0] > weights[1] > weights[2]


@pytest.mark.parametrize("method", [Method.INVERSE_VOLATILITY, Method.RISK_PARITY])
def test_a_cap_of_a_half_is_a_half(method):
    covariance = np.diag([0.01, 0.02, 0.05]) ** 2  # without a cap the first one would have 0.588
    free = weights_for(covariance, options(method, 3))
    capped = weights_for(covariance, options(method, 3, 0.1, 0.5))
    assert free[0] == pytest.approx(50 / 85)
    assert capped[0] == 0.5
    assert capped.sum() == pytest.approx(1.0, abs=1e-15)
    assert capped[1] / capped[2] == pytest.approx(0.05 / 0.02)


def test_a_floor_lifts_the_riskiest():
    weights = weights_for(np.diag([0.01, 0.01, 1.0]) ** 2, options(Method.RISK_PARITY, 3, 0.1, 0.5))
    assert weights == pytest.approx([0.45, 0.45, 0.1])


def test_floors_that_a_hedge_cannot_fill_leave_parity_in_proportion():
    deviations = np.array([0.035, 0.0026, 0.042])  # the second hedges the third a little
    correlation = np.array([[1.0, -0.04, 0.07], [-0.04, 1.0, -0.08], [0.07, -0.08, 1.0]])
    covariance = correlation * np.outer(deviations, deviations)
    assert equal_among_free(covariance, 0.3125, 1.0) is None
    assert risk_parity(covariance, 0.3125, 1.0) == pytest.approx([0.3125, 0.375, 0.3125])


def test_filling_keeps_proportions_between_the_bounds():
    assert fill(np.array([1.0, 2.0, 7.0]), 0.0, 1.0) == pytest.approx([0.1, 0.2, 0.7])
    assert fill(np.array([1.0, 2.0, 7.0]), 0.0, 0.4) == pytest.approx([0.2, 0.4, 0.4])
    assert fill(np.array([5.0, 5.0]), 0.5, 0.5) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("method", [Method.INVERSE_VOLATILITY, Method.RISK_PARITY])
def test_a_position_that_does_not_vary_has_no_weight(method):
    with pytest.raises(PortfolioError, match="needs returns that vary"):
        weights_for(np.diag([0.01, 0.0]), options(method, 2))


def test_a_position_and_its_opposite_have_no_risk_to_share():
    covariance = 0.01 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    with pytest.raises(PortfolioError, match="no risk to share"):
        contributions(np.array([0.5, 0.5]), covariance)
    with pytest.raises(PortfolioError, match="hedge each other"):
        risk_parity(covariance)


@pytest.mark.parametrize(
    ("count", "choices", "sentence"),
    [
        (4, {}, "portfolio: 4 positions are more than the 3 that are allowed."),
        (1, {}, "portfolio: 1 positions of at most 0.5 cannot add up to 1"),
        (3, {"maximum": 0.3}, "portfolio: 3 positions of at most 0.3 cannot add up to 1"),
        (3, {"minimum": 0.4}, "portfolio: 3 positions of at least 0.4 add up to more than 1"),
    ],
)
def test_bounds_without_room_are_refused_in_one_sentence(count, choices, sentence):
    with pytest.raises(PortfolioError) as fault:
        weights_for(np.eye(count), PortfolioOptions.of(**choices))
    assert str(fault.value).startswith(sentence)


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"method": "parity"}, "portfolio: method: 'parity' is wrong"),
        ({"maximum": 1.5}, "portfolio: maximum: 1.5 is wrong: input should be less than or equal to 1."),
        ({"window": 3}, "portfolio: window: 3 is wrong"),
        ({"windw": 3}, "portfolio: windw is not a known key; did you mean window."),
    ],
)
def test_a_wrong_choice_is_one_sentence(choices, sentence):
    with pytest.raises(PortfolioError) as fault:
        PortfolioOptions.of(**choices)
    assert str(fault.value).startswith(sentence)
