"""Day numbers turned into datetimes by the block are what Backtrader makes of them one by one."""

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from backtrader.utils import date2num, num2date
from hypothesis import given
from hypothesis import strategies as st

from research.engine.times import NaiveTimes, datetimes

numbers = st.floats(1.0, 3_652_059.0) | st.datetimes(datetime(1, 1, 2)).map(date2num)  # noqa: DTZ001


@given(st.lists(numbers, max_size=50))
def test_a_block_gives_what_num2date_gives(values: list[float]) -> None:
    assert datetimes(values) == [num2date(value) for value in values]


@given(st.lists(numbers, min_size=1, max_size=40, unique=True), st.data())
def test_any_order_of_questions_is_answered_alike(values: list[float], data: Any) -> None:
    times = NaiveTimes(sorted(values))
    for value in data.draw(st.lists(st.sampled_from(values) | numbers, max_size=60)):
        assert times.at(value) == num2date(value)


def test_every_minute_of_many_days_is_right() -> None:
    stamps = [date2num(datetime(2001, 1, 1 + m // 1440, m // 60 % 24, m % 60)) for m in range(20_000)]  # noqa: DTZ001
    times = NaiveTimes(stamps)
    assert [times.at(stamp) for stamp in stamps] == [num2date(stamp) for stamp in stamps]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -3.0, 0.5, 4e6])
def test_what_is_no_time_raises_what_num2date_raises(number: float) -> None:
    with pytest.raises((ValueError, OverflowError)) as expected:
        num2date(number)
    with pytest.raises(expected.type, match=str(expected.value)[:12]):
        NaiveTimes([730_000.0, 730_001.0]).at(number)


def test_a_long_run_is_not_remembered_whole() -> None:
    stamps = (np.arange(50_000) / 1440.0 + 730_000.0).tolist()
    times = NaiveTimes(stamps)
    for stamp in stamps:
        times.at(stamp)
    assert len(times._known) < 5_000
