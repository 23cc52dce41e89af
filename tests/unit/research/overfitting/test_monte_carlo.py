"""What else could have happened."""

import numpy as np
import pytest

from research.measured import Missing
from research.overfitting import of_returns, of_trades

TRADES = np.random.default_rng(1).normal(0.004, 0.03, 120)
DAILY = np.random.default_rng(2).normal(0.0006, 0.01, 1_000)


def test_shuffling_trades_keeps_where_they_end():
    found = of_trades(TRADES, replace=False)
    total = np.prod(1 + TRADES) - 1
    assert (found.growth.low, found.growth.middle, found.growth.high) == pytest.approx((total,) * 3)
    assert found.drawdown.low < found.drawdown.high < 0.0


def test_bands_are_in_order_and_about_what_happened():
    found = of_returns(DAILY)
    assert found.growth.low < found.growth.middle < found.growth.high
    assert found.sharpe.low < DAILY.mean() / DAILY.std(ddof=1) * 252**0.5 < found.sharpe.high
    assert -1.0 <= found.drawdown.low <= found.drawdown.middle <= found.drawdown.high <= 0.0


def test_the_error_of_a_sharpe_ratio_is_lo_s():
    """Independent returns: a standard error of about sqrt(1 / years), Lo (2002)."""
    found = of_returns(DAILY)
    years = len(DAILY) / 252
    assert (found.sharpe.high - found.sharpe.low) / (2 * 1.645) == pytest.approx(1 / years**0.5, rel=0.15)


def test_half_gone_is_ruin():
    assert of_trades(np.tile([-0.2, 0.05], 20)).ruin == 1.0
    assert of_trades(np.tile([0.01, 0.02], 20)).ruin == 0.0


def test_a_loss_of_everything_ends_at_nothing():
    assert of_trades(np.full(12, -1.5)).growth.high == -1.0


def test_a_seed_gives_the_same_again():
    assert of_returns(DAILY, seed=4) == of_returns(DAILY, seed=4) != of_returns(DAILY, seed=5)


@pytest.mark.parametrize("found", [of_trades(TRADES[:9]), of_returns(DAILY[:59]), of_returns(np.zeros(100))])
def test_too_little_is_told(found):
    assert isinstance(found, Missing)
