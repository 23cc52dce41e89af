import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from warehouse.scales import find_runs, levels_at, share_ratio


def bars(count: int, price: float = 100.0, seed: int = 3) -> np.ndarray:
    close = price * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, count)))
    return np.round(np.column_stack([close * 0.99, close * 1.02, close * 0.97, close]), 2)


@pytest.mark.parametrize(
    ("ratio", "simple"), [(0.5, 0.5), (2 / 3, 2 / 3), (1 / 7, 1 / 7), (8.0, 8.0), (1 / 20, 0.05), (10 / 11, 10 / 11)]
)
def test_share_ratios_are_recognised(ratio: float, simple: float) -> None:
    assert share_ratio(ratio) == pytest.approx(simple, rel=1e-12)


@pytest.mark.parametrize("ratio", [1 / 1.1124, 0.9967, 0.981, 0.48, 1.0])
def test_dividends_are_not_taken_for_splits(ratio: float) -> None:
    assert share_ratio(ratio) is None


def test_equal_bars_have_no_run() -> None:
    assert find_runs(bars(5), bars(5)) == []


def test_crash_inside_the_overlap_is_not_a_change_of_scale() -> None:
    old = bars(5)
    old[3:] *= 0.48
    assert find_runs(old, old.copy()) == []


def test_half_of_every_price_is_one_run_of_one_half() -> None:
    runs = find_runs(bars(5), np.round(bars(5) * 0.5, 2))
    assert [(r.first, r.last, r.level, r.count) for r in runs] == [(0, 4, 0.5, 5)]


def test_one_revised_close_is_a_revision_and_not_a_run() -> None:
    new = bars(5)
    new[2, 3] += 0.3
    assert find_runs(bars(5), new) == []


def test_one_bar_that_moves_as_a_whole_between_others_is_a_revision() -> None:
    new = bars(5)
    new[2] *= 0.5
    assert find_runs(bars(5), new) == []


def test_split_inside_the_overlap_gives_two_runs() -> None:
    new = bars(6)
    new[:4] *= 0.5
    runs = find_runs(bars(6), new)
    assert [(r.first, r.last, r.level) for r in runs] == [(0, 3, 0.5), (4, 5, 1.0)]
    assert levels_at(runs, np.arange(6)).tolist() == [0.5] * 4 + [1.0] * 2


def test_split_before_the_second_overlapping_bar_is_seen() -> None:
    new = bars(5)
    new[:1] *= 0.5
    assert [r.level for r in find_runs(bars(5), new)] == [0.5, 1.0]


def test_revision_beside_a_split_does_not_hide_it() -> None:
    new = np.round(bars(5) * 0.25, 2)
    new[1, 1] += 0.4
    assert [r.level for r in find_runs(bars(5), new)] == [0.25]


def test_prices_without_a_common_ratio_give_nothing() -> None:
    assert find_runs(bars(5), bars(5, seed=9)) == []


@given(
    st.sampled_from([1 / 2, 1 / 3, 2 / 3, 1 / 4, 1 / 10, 3 / 2, 10.0]),
    st.integers(2, 30),
    st.floats(20, 900),
    st.integers(0, 1000),
)
@example(ratio=0.5, count=2, price=74.75, seed=372)  # the median is off by more than the spread shows
@settings(max_examples=100, deadline=None)
def test_any_split_rounded_to_cents_is_found_exactly(ratio: float, count: int, price: float, seed: int) -> None:
    old = bars(count, price, seed)
    runs = find_runs(old, np.round(old * ratio, 2))
    assert [r.level for r in runs] == [pytest.approx(ratio, rel=1e-12)]


@given(st.floats(0.95, 0.998), st.integers(5, 30), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_dividend_rounded_to_cents_is_found_closely(ratio: float, count: int, seed: int) -> None:
    old = bars(count, 200.0, seed)
    assert [r.level for r in find_runs(old, np.round(old * ratio, 2))] == [pytest.approx(ratio, rel=1e-4)]
