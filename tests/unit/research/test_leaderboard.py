"""Ranking reads the fields that backtests write, scales drawdown as a fraction, and fails what it cannot compute."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from research.candidates import BACKTEST, STUDY, Candidate
from research.leaderboard import (
    LEADERBOARD_SCHEMA,
    Gates,
    Weights,
    build_leaderboard,
    failed_gates,
    rank,
    rolling_share,
    write_leaderboard,
)
from research.ranking import FullMarks, Ranking, ShortlistRules
from research.result import BacktestResult, save_result
from warehouse.files import read_parquet

GOOD = {
    "total_return": 0.5, "annual_return": 0.2, "sharpe_ratio": 1.5, "sortino_ratio": 2.0, "max_drawdown": -0.1,
    "trades": 120, "trades_per_year": 25.0, "win_rate": 0.5, "fees": 10.0, "fees_to_gross_profit": 0.1,
    "probabilistic_sharpe_ratio": 0.9, "gross_exposure": 0.5,
}  # fmt: skip


def series(values):
    return pd.Series(list(values), pd.bdate_range("2001-01-01", periods=len(values)), dtype=float)


def one(name="good", returns=(0.01,) * 60, kind=BACKTEST, **changes):
    """A candidate."""
    statistics = changes.pop("statistics", {})
    return Candidate(
        kind, name, name, "strategies.a.B", ("A",), {**GOOD, **changes}, series(returns),
        datetime(2024, 1, 1, tzinfo=UTC), 0.3, statistics,
    )  # fmt: skip


def board(*candidates, **ranking):
    return rank(candidates, Ranking(**ranking)).to_pylist()


def test_the_score_is_the_sum_of_its_documented_parts():
    row = board(one(returns=[0.01] * 15 + [-0.01] * 15 + [0.01] * 30))[0]

    parts = [row[f"score_{part}"] for part in Weights.model_fields]
    assert parts == pytest.approx([20.0, 20 * row["rolling_above_zero"], 18.0, 5.0, 4.0])
    assert row["score"] == pytest.approx(sum(parts))
    assert row["passed"] is True
    assert row["failed"] == []


def test_consistency_is_the_share_of_30_session_rolling_returns_above_zero():
    # windows that begin at 0..30: those that hold the gain alone (0), gain and loss (1..29), the loss alone (30)
    row = board(one(returns=[0.01] + [0.0] * 28 + [0.0] + [-0.005] + [0.0] * 29))[0]
    assert row["rolling_above_zero"] == pytest.approx(1 / 31)
    assert row["score_consistency"] == pytest.approx(20 / 31)


def test_rolling_returns_are_compound_and_a_month_without_anything_held_is_no_gain():
    assert rolling_share(series([0.10, -0.10] * 15)) == 0.0  # the sum is 0, the compound return a loss
    assert rolling_share(series([0.0] * 90)) == 0.0
    assert rolling_share(series([0.001] * 30)) == 1.0


def test_fewer_sessions_than_a_window_leave_the_consistency_unknown():
    row = board(one(returns=[0.01] * 29))[0]
    assert row["rolling_above_zero"] is None
    assert row["unknown"] == ["consistency"]


def test_parts_stay_between_nothing_and_their_marks():
    best = board(one(sharpe_ratio=9.0, returns=[0.1] * 40, max_drawdown=0.0, trades_per_year=900.0, annual_return=5.0))[
        0
    ]
    worst = board(
        one(sharpe_ratio=-9.0, returns=[-0.1] * 40, max_drawdown=-1.5, trades_per_year=0.0, annual_return=-1.0)
    )[0]

    assert best["score"] == pytest.approx(100.0)
    assert worst["score"] == 0.0


def test_the_drawdown_counts_as_a_fraction_of_the_peak_whatever_the_money():
    rows = board(one("shallow", max_drawdown=-0.05), one("deep", max_drawdown=-0.60))

    assert [row["name"] for row in rows] == ["shallow", "deep"]
    assert rows[0]["score_drawdown"] - rows[1]["score_drawdown"] == pytest.approx(20 * 0.55)


def test_a_drawdown_of_5_and_one_of_29419_do_not_score_the_same():
    five, many = board(one("five", max_drawdown=-5 / 100_000), one("many", max_drawdown=-29_419 / 100_000))

    assert five["name"] == "five"
    assert five["score_drawdown"] == pytest.approx(20 * 0.99995)
    assert many["score_drawdown"] == pytest.approx(20 * 0.70581)


def test_never_having_held_anything_is_no_control_of_drawdowns():
    row = board(one(max_drawdown=0.0, gross_exposure=0.0, sharpe_ratio=None, trades_per_year=0.0, returns=[0.0] * 60))[
        0
    ]
    assert row["score"] == 0.0
    assert row["unknown"] == ["sharpe", "drawdown", "efficiency"]


def test_two_symbols_of_one_strategy_are_two_lines():
    rows = board(one("X-AAPL"), one("X-MSFT", sharpe_ratio=0.5))

    assert [(row["id"], row["sharpe_ratio"]) for row in rows] == [("X-AAPL", 1.5), ("X-MSFT", 0.5)]


def test_weights_have_an_effect_and_the_score_always_ends_at_100():
    only = Weights(sharpe=0, consistency=0, drawdown=0, frequency=0, efficiency=7)

    assert board(one(), weights=only)[0]["score"] == pytest.approx(40.0)
    assert board(one(annual_return=2.0), weights=only)[0]["score"] == pytest.approx(100.0)


def test_full_marks_have_an_effect():
    full = FullMarks(sharpe_ratio=1.5, trades_per_year=25.0, return_on_exposure=0.4)
    row = board(one(), full_marks=full)[0]
    assert [row[f"score_{part}"] for part in ("sharpe", "frequency", "efficiency")] == pytest.approx([40, 10, 10])


def test_an_unknown_figure_earns_nothing_and_is_named():
    row = board(one(sharpe_ratio=None, returns=(), gross_exposure=0.0))[0]

    assert row["unknown"] == ["sharpe", "consistency", "drawdown", "efficiency"]
    assert row["score_sharpe"] == 0.0
    assert row["passed"] is False


def test_what_only_a_study_knows_is_null_in_the_line_of_a_backtest():
    statistics = {"deflated_sharpe_ratio": 0.4, "trials": 100, "trials_on_symbols": 300}
    rows = {row["name"]: row for row in board(one("plain"), one("study", kind=STUDY, statistics=statistics))}

    assert (rows["plain"]["kind"], rows["study"]["kind"]) == (BACKTEST, STUDY)
    assert rows["plain"]["deflated_sharpe_ratio"] is None
    assert rows["plain"]["trials_on_symbols"] is None
    assert rows["study"]["deflated_sharpe_ratio"] == 0.4
    assert rows["study"]["trials_on_symbols"] == 300
    assert rows["study"]["probability_of_backtest_overfitting"] is None


def test_the_shortlist_leaves_out_what_is_weak_and_what_is_the_same_bet():
    rng = np.random.default_rng(3)
    returns, other = rng.normal(0.002, 0.01, (2, 200))
    rows = board(
        one("best", returns=returns, sharpe_ratio=3.0),
        one("twin", returns=returns + rng.normal(0, 0.001, 200), sharpe_ratio=2.9),
        one("other", returns=other, sharpe_ratio=2.8),
        one("weak", returns=rng.normal(0, 0.01, 200), sharpe_ratio=0.0),
        shortlist=ShortlistRules(minimum_score=45.0),
    )
    why = {row["name"]: row["left_out"] for row in rows}

    assert why["best"] is None
    assert why["other"] is None
    assert why["twin"].endswith("with best, more than 0.7")
    assert "is below 45" in why["weak"]


@pytest.mark.parametrize("key", list(Gates.model_fields))
def test_a_gate_whose_figure_is_unknown_is_failed(key):
    assert len(failed_gates({**GOOD, key: None}, Gates())) == 1
    assert failed_gates({**GOOD, key: None}, Gates())[0].endswith("is unknown")


@pytest.mark.parametrize(
    ("key", "edge", "beyond", "sentence"),
    [
        ("trades", 100, 99, "Trades 99 is below 100"),
        ("sharpe_ratio", 1.0, 0.99, "Sharpe ratio 0.99 is below 1.00"),
        ("max_drawdown", -0.15, -0.16, "Max drawdown -16.00 % is deeper than -15.00 %"),
        ("win_rate", 0.45, 0.44, "Win rate 44.00 % is below 45.00 %"),
        ("fees_to_gross_profit", 0.30, 0.31, "Fees / gross profit 31.00 % is above 30.00 %"),
        ("probabilistic_sharpe_ratio", 0.70, 0.69, "Probabilistic Sharpe 69.00 % is below 70.00 %"),
    ],
)
def test_a_gate_passes_at_its_value_and_fails_beyond_it(key, edge, beyond, sentence):
    assert failed_gates({**GOOD, key: edge}, Gates()) == []
    assert failed_gates({**GOOD, key: beyond}, Gates()) == [sentence]


def test_a_gate_can_be_switched_off():
    assert failed_gates({**GOOD, "trades": 0}, Gates(trades=None)) == []


def test_equal_scores_are_ordered_by_name():
    assert [row["name"] for row in board(one("b"), one("a"))] == ["a", "b"]
    assert [row["rank"] for row in board(one("b"), one("a"))] == [1, 2]


def test_results_as_backtests_write_them_are_ranked_with_their_figures(lab, tmp_path):
    results = [lab.result(benchmark="B"), lab.result(sessions=300, name="other")]
    for result in results:
        save_result(result, tmp_path)

    rows = build_leaderboard(tmp_path).to_pylist()

    assert {row["name"] for row in rows} == {"demo", "other"}
    assert all(row["score"] > 0 and row["unknown"] == [] for row in rows)
    by_name = {row["name"]: row for row in rows}
    assert by_name["demo"]["total_return"] == results[0].metrics["total_return"]
    assert by_name["demo"]["buy_and_hold"] == results[0].page["buy_and_hold"]["total_return"]


def test_only_the_latest_result_of_an_experiment_takes_part(lab, tmp_path):
    old, new = lab.result(), lab.result(cash=20_000.0)
    new = BacktestResult({**new.page, "created_at": "2030-01-01T00:00:00+00:00"}, new.tables)
    save_result(new, tmp_path)
    save_result(old, tmp_path)
    (tmp_path / "latest" / "demo.txt").unlink()

    assert [row["id"] for row in build_leaderboard(tmp_path).to_pylist()] == [new.id]


def test_no_result_makes_an_empty_typed_board(tmp_path):
    table = build_leaderboard(tmp_path)

    assert table.num_rows == 0
    assert read_parquet(write_leaderboard(table, tmp_path), LEADERBOARD_SCHEMA).num_rows == 0
