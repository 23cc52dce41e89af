"""What trading will cost, before a study."""

import pytest

from research.engine import replay
from research.study import estimate
from research.study.trial import with_params
from tests.unit.research.study.studies import prepared, specification


def test_the_costs_of_a_point_are_those_of_its_run():
    spec = specification()
    ready = prepared(spec, 400)
    found = estimate(ready, spec, points=4)
    assert len(found) == 4
    for one in found:
        output = replay(with_params(ready, {**ready.params, **one.params}))
        years = 400 / 252
        assert one.fees_per_year == pytest.approx(output.commission / years)
        traded = sum(
            q * p for q, p in zip(output.fills["quantity"].to_pylist(), output.fills["price"].to_pylist(), strict=True)
        )
        assert one.break_even_edge == pytest.approx((output.commission + output.slippage) / (traded / 2), rel=1e-6)
        assert 0 < one.fees_to_cash < 1


def test_small_money_pays_more_than_it_can_earn():
    spec = specification()
    small = spec.model_copy(update={"experiment": spec.experiment.model_copy(update={"cash": 1_000.0})})
    rich, poor = (estimate(prepared(one, 400), one, points=3) for one in (spec, small))
    for much, little in zip(rich, poor, strict=True):
        assert much.params == little.params
        assert little.break_even_edge > much.break_even_edge


def test_a_point_without_a_trade_has_no_costs():
    spec = specification(space={"sma_short": {"type": "int", "low": 3, "high": 5}}, params={"sma_long": 1000})
    (one, *_) = estimate(prepared(spec), spec, points=1)
    assert one.fees_per_year is None
    assert one.break_even_edge is None
