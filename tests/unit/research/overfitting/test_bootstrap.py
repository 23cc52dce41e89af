"""Resampling that keeps dependence."""

import numpy as np
import pytest

from research.overfitting import block_length, resampled_rows


def autoregressive(rho, count=4_000, seed=1):
    noise = np.random.default_rng(seed).normal(size=count)
    series = np.zeros(count)
    for at in range(1, count):
        series[at] = rho * series[at - 1] + noise[at]
    return series


def test_white_noise_needs_short_blocks():
    assert np.mean([block_length(autoregressive(0.0, seed=seed)) for seed in range(20)]) < 6


def test_blocks_grow_with_dependence_to_about_the_theoretical_length():
    """Politis and White (2004): for an AR(1) process (2 rho / (1 - rho^2))^(2/3) n^(1/3)."""
    rho, count = 0.7, 4_000
    optimum = ((2 * rho / (1 - rho**2)) ** 2 * count) ** (1 / 3)
    found = np.median([block_length(autoregressive(rho, count, seed)) for seed in range(20)])
    assert found == pytest.approx(optimum, rel=0.35)
    assert block_length(autoregressive(0.3)) < block_length(autoregressive(0.9))


def test_blocks_have_the_expected_length_and_wrap_around():
    rows = list(resampled_rows(500, 10.0, 400, np.random.default_rng(0)))
    breaks = np.mean([np.mean((row[1:] - row[:-1]) % 500 != 1) for row in rows])
    assert 1 / breaks == pytest.approx(10.0, rel=0.05)
    assert all((row >= 0).all() and (row < 500).all() and len(row) == 500 for row in rows)


def test_a_seed_draws_the_same_again():
    one, other = (list(resampled_rows(50, 5.0, 3, np.random.default_rng(7))) for _ in range(2))
    assert [row.tolist() for row in one] == [row.tolist() for row in other]


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 0.01, 1e6])
def test_the_scale_changes_nothing(scale):
    series = autoregressive(0.5)
    assert block_length(series * scale) == pytest.approx(block_length(series))
    assert block_length(series + 3.0) == pytest.approx(block_length(series))


def test_the_length_is_bounded():
    trend = np.arange(300.0)
    assert block_length(trend) <= np.ceil(3 * np.sqrt(300))
    assert block_length(np.arange(12.0)) <= 4.0


@pytest.mark.parametrize("series", [np.zeros(100), np.full(100, 0.01), np.arange(7.0), np.array([])])
def test_a_flat_or_tiny_series_needs_none(series):
    assert block_length(series) == 1.0


def test_swings_that_cancel_exactly_are_kept_whole():
    assert block_length(np.tile([1.0, -1.0], 200)) > 1.0


def test_blocks_keep_the_error_of_the_mean_that_single_days_lose():
    series = autoregressive(0.5, seed=6)
    truth = 1.0 / (1 - 0.5) / np.sqrt(len(series))
    drawn = {
        block: np.std([series[row].mean() for row in resampled_rows(len(series), block, 400, np.random.default_rng(7))])
        for block in (1.0, block_length(series))
    }
    apart, kept = drawn.values()
    assert kept == pytest.approx(truth, rel=0.15)
    assert apart < 0.7 * truth
