"""The statistics on noise and on a planted edge, over many seeds; `make soak` measures the rates with more."""

import pytest

from tests.unit.research.overfitting.calibration import rates, worthless

SEEDS = range(12)


@pytest.mark.thorough
@pytest.mark.parametrize("calm", [True, False])
def test_on_noise_they_warn(calm):
    """The best of 50 worthless trials looks sure by itself; what knows of the others is not taken in."""
    found = rates(SEEDS, calm=calm, samples=200)
    assert found.psr > 0.8
    assert found.dsr <= 0.15
    assert 0.35 < found.overfitting < 0.65
    assert found.pbo <= 0.25
    assert found.spa <= 0.15
    assert found.white <= 0.15
    assert found.all_pass <= 0.1


@pytest.mark.thorough
@pytest.mark.parametrize("calm", [True, False])
def test_a_planted_edge_passes(calm):
    """One trial of 50 with a true Sharpe ratio of 2 over ten years."""
    found = rates(SEEDS, edge=2.0, calm=calm, samples=200)
    assert found.dsr >= 0.8
    assert found.overfitting < 0.1
    assert found.pbo >= 0.85
    assert found.spa >= 0.85
    assert found.all_pass >= 0.85


@pytest.mark.thorough
@pytest.mark.parametrize(("bets", "copies"), [(10, 1), (400, 1), (10, 20)])
def test_worthless_trials_are_refused_however_many_and_however_alike(bets, copies):
    """Rates of 200 seeds are in docs/statistics.md; these are 20, of which one in ten may pass by chance."""
    found = worthless(range(20), bets=bets, copies=copies, periods=750, samples=200)
    assert found.effective == pytest.approx(bets, rel=0.15)
    assert found.dsr <= 0.1
    assert found.dsr_effective <= 0.1
    assert found.spa <= 0.2
    assert found.white <= 0.2
