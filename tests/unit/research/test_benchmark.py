"""Buy-and-hold is the honest yardstick: real prices, no costs, nothing before the first bar."""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from research.benchmark import hold_equally, hold_symbol
from research.metrics import Scale
from warehouse.resolution import Resolution
from warehouse.sources.protocol import BarRequest
from warehouse.sources.sample import SampleSource


def bars(days, closes):
    return pa.table({"session": pa.array(days.date), "close": pa.array(closes, pa.float64())})


DAYS = pd.bdate_range("2001-01-01", periods=4)


def test_holding_apple_gives_the_closed_forms_of_the_sample():
    request = BarRequest("AAPL", Resolution.DAILY, date(2000, 1, 1), date(2013, 12, 31))
    table = SampleSource().fetch(request).table
    days = pd.DatetimeIndex(table["stamp"].to_pandas()).tz_localize(None)

    held = hold_symbol("AAPL", bars(days, table["adj_close"]), days)
    values = held.metrics(Scale()).values

    assert values["total_return"] == pytest.approx(12.408616, abs=5e-7)
    assert values["sharpe_ratio"] == pytest.approx(0.678402, abs=5e-7)
    assert values["max_drawdown_trough"] == "2003-04-17"
    assert held.warnings == ()


def test_equal_parts_are_bought_once_and_never_rebalanced():
    held = hold_equally({"A": bars(DAYS, [10, 20, 20, 20]), "B": bars(DAYS, [10, 10, 10, 5])}, DAYS)

    assert list(held.levels) == [1.0, 1.5, 1.5, 1.25]
    assert held.name == "equal weight of A, B"


def test_a_part_stays_cash_until_its_symbol_has_a_bar():
    held = hold_equally({"A": bars(DAYS, [10, 10, 10, 10]), "B": bars(DAYS[2:], [50, 100])}, DAYS)

    assert list(held.levels) == [1.0, 1.0, 1.0, 1.5]


def test_one_symbol_in_equal_parts_is_that_symbol():
    assert hold_equally({"A": bars(DAYS, [10, 20, 20, 20])}, DAYS).name == "A"


def test_sessions_before_the_benchmarks_first_bar_are_unknown_and_said():
    held = hold_symbol("SPY", bars(DAYS[2:], [50.0, 55.0]), DAYS)

    assert list(held.levels.isna()) == [True, True, False, False]
    assert list(held.returns.fillna(-9.0)) == pytest.approx([-9.0, -9.0, 0.0, 0.1])
    assert held.warnings == ("benchmark: SPY has no bar on 2 of the backtest's 4 sessions.",)


def test_a_session_without_a_bar_keeps_the_last_close():
    held = hold_symbol("SPY", bars(DAYS[[0, 3]], [50.0, 55.0]), DAYS)

    assert list(held.levels) == pytest.approx([1.0, 1.0, 1.0, 1.1])


def test_bars_before_the_backtest_serve_the_regimes_and_change_no_return():
    early = pd.bdate_range("2000-12-01", periods=25)

    held = hold_symbol("SPY", bars(early, np.linspace(100, 124, 25)), DAYS)

    assert held.levels.iloc[0] == 1.0
    assert len(held.history) == 25
    assert held.returns.iloc[0] == 0.0


def test_a_benchmark_without_any_bar_in_range_is_unknown_not_zero():
    later = pd.bdate_range("2005-01-03", periods=3)

    held = hold_symbol("SPY", bars(later, [1.0, 2.0, 3.0]), DAYS)

    assert held.levels.isna().all()
    assert held.metrics(Scale()).values["total_return"] is None
