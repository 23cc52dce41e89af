"""Every formula against published numbers, closed forms, laws and the predecessor's faults."""

import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.measured import Missing
from research.metrics import (
    Scale,
    activity_metrics,
    by_month,
    by_year,
    drawdown_periods,
    probabilistic_sharpe_ratio,
    relative_metrics,
    return_metrics,
    sharpe_ratio,
    sortino_ratio,
    trade_metrics,
    volatility,
    worst_drawdown,
)
from warehouse.resolution import Resolution
from warehouse.sources.protocol import BarRequest
from warehouse.sources.sample import SampleSource

YEAR = Scale()
STOCKS = ("AAPL", "MSFT", "IBM")
EMPYRICAL = np.array([1, 10, -4, 2, 3, 2, 1, -10]) / 100


def curve(returns, start=100.0, first="2001-01-02"):
    """Equity at session closes that has these returns."""
    days = pd.bdate_range(first, periods=len(returns), name="session")
    return pd.Series(start * np.cumprod(1.0 + np.asarray(returns)), index=days)


def trades(net, days=None, costs=1.0):
    begin = datetime(2001, 1, 2, tzinfo=UTC)
    held = days or [1] * len(net)
    return pa.table(
        {
            "entry_ts": pa.array([begin] * len(net), pa.timestamp("us", "UTC")),
            "exit_ts": pa.array([begin + timedelta(days=d) for d in held], pa.timestamp("us", "UTC")),
            "gross_profit": pa.array([n + costs for n in net], pa.float64()),
            "net_profit": pa.array(net, pa.float64()),
            "bars_held": pa.array(held, pa.int64()),
        }
    )


def test_empyricals_own_case_gives_its_published_sharpe_volatility_and_drawdown():
    closes = curve(EMPYRICAL)

    values = return_metrics(closes, 100.0, YEAR).values

    assert values["sharpe_ratio"] == pytest.approx(1.7238613961706866, rel=1e-12)
    assert values["volatility"] == pytest.approx(0.9136465399704637, rel=1e-12)
    assert values["max_drawdown"] == pytest.approx(-0.1, abs=1e-12)
    assert values["total_return"] == pytest.approx(0.03893109170048037, rel=1e-12)


def test_the_other_ratios_of_empyricals_case_are_empyricals():
    values = return_metrics(curve(EMPYRICAL), 100.0, YEAR).values

    assert values["sortino_ratio"] == pytest.approx(2.605531251673693, rel=1e-12)
    assert values["tail_ratio"] == pytest.approx(0.9556962025316452, rel=1e-9)
    assert values["conditional_value_at_risk_95"] == pytest.approx(-0.1, rel=1e-12)
    assert values["annual_return"] == pytest.approx(1.03893109170048037 ** (252 / 8) - 1, rel=1e-12)
    assert values["calmar_ratio"] == pytest.approx(values["annual_return"] / 0.1, rel=1e-9)


def test_value_at_risk_is_the_fifth_percentile_and_its_tail_the_mean_of_the_worst_five_in_a_hundred():
    returns = np.concatenate([[-0.10, -0.08, -0.06, -0.04, -0.02], np.full(96, 0.01)])

    values = return_metrics(curve(returns), 100.0, YEAR).values

    assert values["value_at_risk_95"] == pytest.approx(0.01)  # the 6th worst of 101
    assert values["conditional_value_at_risk_95"] == pytest.approx((-0.30 + 0.01) / 6)


def test_skew_and_kurtosis_are_bias_corrected_and_kurtosis_is_the_excess_over_a_normal():
    draws = np.random.default_rng(1).normal(0, 0.01, 20_000)

    values = return_metrics(curve(draws), 100.0, YEAR).values

    assert values["skew"] == pytest.approx(0.0, abs=0.05)
    assert values["kurtosis"] == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(
    ("symbol", "figures", "trough"),
    [
        ("AAPL", (12.408616, 0.678402, 0.459643, -0.818018), "2003-04-17"),
        ("MSFT", (-0.183333, 0.117599, 0.330319, -0.674645), "2009-03-09"),
        ("IBM", (1.379213, 0.378510, 0.279848, -0.583139), "2002-10-09"),
    ],
)
def test_holding_a_sample_stock_gives_the_closed_forms(sample_closes, symbol, figures, trough):
    closes = sample_closes[symbol]

    values = return_metrics(closes.iloc[1:], float(closes.iloc[0]), YEAR).values

    measured = [values[key] for key in ("total_return", "sharpe_ratio", "volatility", "max_drawdown")]
    assert measured == pytest.approx(figures, abs=5e-7)
    assert values["max_drawdown_trough"] == trough


def test_the_first_return_is_measured_from_the_starting_cash():
    closes = curve([0.0, 0.0], start=90.0)

    values = return_metrics(closes, 100.0, YEAR).values

    assert values["total_return"] == pytest.approx(-0.1)
    assert values["worst_day"] == pytest.approx(-0.1)
    assert values["max_drawdown"] == pytest.approx(-0.1)


def test_the_drawdown_is_the_deepest_percentage_not_the_deepest_money():
    days = pd.bdate_range("2001-01-02", periods=6, name="session")
    closes = pd.Series([100.0, 50.0, 1000.0, 800.0, 1000.0, 1100.0], days)

    worst = worst_drawdown(closes, 100.0)

    assert worst.depth == pytest.approx(-0.5)  # 50 of money; the 200 later is only 20 %
    assert (worst.peak, worst.trough, worst.recovery) == (date(2001, 1, 2), date(2001, 1, 3), date(2001, 1, 4))
    assert worst.days == 2


def test_a_drawdown_begins_at_the_last_session_on_the_peak_and_an_unfinished_one_has_no_recovery():
    days = pd.bdate_range("2001-01-01", periods=5, name="session")
    closes = pd.Series([100.0, 100.0, 100.0, 90.0, 95.0], days)

    measured = return_metrics(closes, 100.0, YEAR)

    assert measured.values["max_drawdown_peak"] == "2001-01-03"
    assert measured.values["max_drawdown_recovery"] is None
    assert measured.reasons["max_drawdown_recovery"] == "not recovered at the end"
    assert measured.values["max_drawdown_days"] == 2


def test_drawdown_periods_are_sorted_by_depth_and_do_not_overlap():
    days = pd.bdate_range("2001-01-01", periods=7, name="session")
    closes = pd.Series([99.0, 101.0, 80.0, 102.0, 90.0, 95.0, 103.0], days)

    found = drawdown_periods(closes, 100.0)

    assert [round(one.depth, 4) for one in found] == [-0.2079, -0.1176, -0.01]
    assert [one.recovery for one in found] == [date(2001, 1, 4), date(2001, 1, 9), date(2001, 1, 2)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=80))
def test_empyrical_finds_the_same_drawdown(returns):
    import empyrical as ep

    assert worst_drawdown(curve(returns), 100.0).depth == pytest.approx(ep.max_drawdown(np.array(returns)), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=300))
def test_monthly_and_yearly_returns_compound_to_the_total(returns):
    closes = curve(returns)
    total = closes.iloc[-1] / 100.0

    months = by_month(closes, 100.0, None)
    years = by_year(closes, 100.0, None, YEAR)

    assert math.prod(1 + row.values["total_return"] for row in months.values()) == pytest.approx(total, rel=1e-9)
    assert math.prod(1 + row.values["total_return"] for row in years.values()) == pytest.approx(total, rel=1e-9)
    assert sum(row.values["sessions"] for row in years.values()) == len(returns)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-0.1, 0.1), min_size=5, max_size=60), st.floats(0.1, 1000.0))
def test_figures_do_not_depend_on_the_size_of_the_account(returns, factor):
    small, large = curve(returns), curve(returns) * factor

    ours, theirs = return_metrics(small, 100.0, YEAR).values, return_metrics(large, 100.0 * factor, YEAR).values

    assert theirs["total_return"] == pytest.approx(ours["total_return"], abs=1e-9)
    assert theirs["max_drawdown"] == pytest.approx(ours["max_drawdown"], abs=1e-9)


def test_returns_that_do_not_vary_have_no_sharpe_and_say_why():
    measured = return_metrics(curve([0.0] * 10), 100.0, YEAR)

    assert measured.values["sharpe_ratio"] is None
    assert measured.reasons["sharpe_ratio"] == "daily returns do not vary"
    assert measured.values["volatility"] == 0.0
    assert measured.values["max_drawdown"] == 0.0
    assert measured.reasons["calmar_ratio"] == "equity never fell below a peak"


def test_a_curve_that_never_loses_has_no_sortino_and_no_infinite_one():
    measured = return_metrics(curve([0.01, 0.02, 0.0]), 100.0, YEAR)

    assert measured.values["sortino_ratio"] is None
    assert measured.reasons["sortino_ratio"] == "no session fell below the risk-free return"


def test_equity_below_zero_leaves_ratios_unknown_but_keeps_the_loss():
    days = pd.bdate_range("2001-01-02", periods=3, name="session")

    measured = return_metrics(pd.Series([100.0, -20.0, 30.0], days), 100.0, YEAR)

    assert measured.values["total_return"] == pytest.approx(-0.7)
    assert measured.values["max_drawdown"] == pytest.approx(-1.2)
    assert measured.values["sharpe_ratio"] is None
    assert "equity fell to -20.00 on 2001-01-03" in measured.reasons["sharpe_ratio"]


def test_one_session_has_no_spread_and_no_ratio():
    assert isinstance(sharpe_ratio(np.array([0.01]), YEAR), Missing)
    assert isinstance(sortino_ratio(np.array([0.01]), YEAR), Missing)
    assert isinstance(volatility(np.array([0.01]), YEAR), Missing)
    assert isinstance(probabilistic_sharpe_ratio(np.array([0.01])), Missing)


def test_the_risk_free_rate_is_yearly_and_lowers_the_sharpe_by_its_daily_part():
    with_rate = sharpe_ratio(EMPYRICAL, Scale(risk_free=0.05))
    spread = np.std(EMPYRICAL, ddof=1)

    assert sharpe_ratio(EMPYRICAL, YEAR) - with_rate == pytest.approx((1.05 ** (1 / 252) - 1) / spread * math.sqrt(252))


def test_annualization_scales_volatility_by_its_root():
    assert volatility(EMPYRICAL, Scale(annualization=365)) == pytest.approx(
        volatility(EMPYRICAL, YEAR) * math.sqrt(365 / 252)
    )


def test_the_probabilistic_sharpe_of_no_edge_is_one_half_and_grows_with_evidence():
    symmetric = np.array([0.01, -0.01] * 50)

    assert probabilistic_sharpe_ratio(symmetric) == pytest.approx(0.5)
    assert probabilistic_sharpe_ratio(symmetric + 0.001) == pytest.approx(0.8399, abs=1e-3)
    assert probabilistic_sharpe_ratio(np.tile(symmetric + 0.001, 9)) > 0.99


def test_beta_and_alpha_are_those_of_a_leveraged_benchmark():
    theirs = pd.Series(np.random.default_rng(2).normal(0, 0.01, 500), pd.bdate_range("2001-01-01", periods=500))

    values = relative_metrics(2.0 * theirs + 0.0001, theirs, YEAR).values

    assert values["beta"] == pytest.approx(2.0)
    assert values["alpha"] == pytest.approx(1.0001**252 - 1)
    assert values["correlation"] == pytest.approx(1.0)
    active = theirs + 0.0001
    assert values["information_ratio"] == pytest.approx(active.mean() / active.std() * math.sqrt(252))
    assert values["tracking_error"] == pytest.approx(active.std() * math.sqrt(252))


def test_without_a_benchmark_nothing_relative_is_invented():
    measured = relative_metrics(pd.Series([0.1, 0.2]), None, YEAR)

    assert set(measured.values.values()) == {None}
    assert set(measured.reasons.values()) == {"no benchmark"}


def test_sessions_unknown_to_the_benchmark_are_left_out():
    days = pd.bdate_range("2001-01-01", periods=300)
    theirs = pd.Series(np.random.default_rng(3).normal(0, 0.01, 300), days)
    ours = theirs * 0.5
    ours.iloc[:50] = 9.0
    theirs.iloc[:50] = np.nan

    assert relative_metrics(ours, theirs, YEAR).values["beta"] == pytest.approx(0.5)


def test_the_benchmark_against_itself_has_no_information_ratio():
    theirs = pd.Series(np.random.default_rng(4).normal(0, 0.01, 60))

    measured = relative_metrics(theirs, theirs, YEAR)

    assert measured.values["information_ratio"] is None
    assert measured.reasons["information_ratio"] == "equal to the benchmark"


def test_trade_figures_come_from_net_profit():
    values = trade_metrics(trades([30.0, -10.0, 20.0, -20.0], [1, 2, 3, 4]), 126, YEAR).values

    assert values["trades"] == 4
    assert values["trades_per_year"] == pytest.approx(8.0)
    assert values["win_rate"] == 0.5
    assert values["profit_factor"] == pytest.approx(50 / 30)
    assert values["expectancy"] == pytest.approx(5.0)
    assert values["average_win"] == pytest.approx(25.0)
    assert values["average_loss"] == pytest.approx(-15.0)
    assert values["average_holding_days"] == pytest.approx(2.5)
    assert values["gross_profit"] == pytest.approx(24.0)


def test_a_trade_that_only_paid_its_fees_is_not_a_win():
    assert trade_metrics(trades([0.0]), 10, YEAR).values["win_rate"] == 0.0


def test_no_trade_means_unknown_win_rate_not_zero():
    measured = trade_metrics(trades([]), 10, YEAR)

    assert measured.values["trades"] == 0
    assert measured.values["win_rate"] is None
    assert measured.reasons["win_rate"] == "no closed trade"


def test_no_losing_trade_means_unknown_profit_factor_not_infinity():
    measured = trade_metrics(trades([5.0]), 10, YEAR)

    assert measured.values["profit_factor"] is None
    assert measured.reasons["profit_factor"] == "no losing trade"


def test_benchmark_returns_of_the_months_compound_to_its_total_and_are_unknown_before_its_first_bar():
    closes = curve([0.01] * 300)
    levels = pd.Series(np.linspace(1.0, 2.0, 300), closes.index)
    levels.iloc[:30] = np.nan

    rows = by_month(closes, 100.0, levels)

    known = [row.values["benchmark_return"] for month, row in rows.items() if month > "2001-02"]
    before = levels[:"2001-02-28"].iloc[-1]
    assert math.prod(1 + value for value in known) == pytest.approx(2.0 / before)
    assert rows["2001-01"].values["benchmark_return"] is None
    assert rows["2001-01"].reasons["benchmark_return"] == "the benchmark has no bar before it"


def test_exposure_counts_bars_with_a_position_and_turnover_is_half_the_traded_value_over_mean_equity():
    equity = pa.table({"equity": [100.0, 100.0, 100.0, 100.0], "gross_value": [0.0, 50.0, 100.0, 0.0]})
    fills = pa.table({"quantity": [10.0, 10.0], "price": [10.0, 10.0]})

    values = activity_metrics(equity, fills, YEAR, sessions=126).values

    assert values == {"exposure": 0.5, "gross_exposure": 0.375, "turnover": pytest.approx(2.0), "fills": 2}


@pytest.fixture(scope="module")
def sample_closes():
    """Adjusted closes of the sample that ships with the project, by symbol."""
    return {symbol: _closes(symbol) for symbol in STOCKS}


def _closes(symbol):
    request = BarRequest(symbol, Resolution.DAILY, date(2000, 1, 1), date(2013, 12, 31))
    table = SampleSource().fetch(request).table
    return pd.Series(table["adj_close"].to_numpy(), pd.DatetimeIndex(table["stamp"].to_pandas()))
