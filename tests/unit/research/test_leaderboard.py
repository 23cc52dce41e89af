"""Ranking reads the fields that backtests write, scales drawdown as a fraction, and fails what it cannot compute."""

import pytest

from research.leaderboard import (
    LEADERBOARD_SCHEMA,
    Gates,
    Weights,
    build_leaderboard,
    failed_gates,
    rank,
    write_leaderboard,
)
from research.result import BacktestResult, save_result
from warehouse.files import read_parquet

GOOD = {
    "total_return": 0.5, "annual_return": 0.2, "sharpe_ratio": 1.5, "sortino_ratio": 2.0, "max_drawdown": -0.1,
    "trades": 120, "trades_per_year": 25.0, "win_rate": 0.5, "fees": 10.0, "fees_to_gross_profit": 0.1,
    "probabilistic_sharpe_ratio": 0.9, "gross_exposure": 0.5,
}  # fmt: skip


def page(name="good", months=(0.1, -0.1), **changes):
    return {
        "id": name,
        "name": name,
        "metrics": {**GOOD, **changes},
        "by_month": [{"total_return": value} for value in months],
        "buy_and_hold": {"name": "A", "total_return": 0.3},
        "created_at": "2024-01-01T00:00:00+00:00",
    }


def board(*pages, weights=None):
    return rank(pages, weights=weights or Weights(), gates=Gates()).to_pylist()


def test_the_score_is_the_sum_of_its_documented_parts():
    row = board(page())[0]

    parts = [row[f"score_{part}"] for part in Weights.model_fields]
    assert parts == pytest.approx([20.0, 10.0, 18.0, 5.0, 4.0])
    assert row["score"] == pytest.approx(57.0)
    assert row["passed"] is True
    assert row["failed"] == []


def test_parts_stay_between_nothing_and_their_weight():
    best = board(page(sharpe_ratio=9.0, months=(1.0,), max_drawdown=0.0, trades_per_year=900.0, annual_return=5.0))[0]
    worst = board(page(sharpe_ratio=-9.0, months=(-1.0,), max_drawdown=-1.5, trades_per_year=0.0, annual_return=-1.0))[
        0
    ]

    assert best["score"] == pytest.approx(100.0)
    assert worst["score"] == 0.0


def test_the_drawdown_counts_as_a_fraction_of_the_peak_whatever_the_money():
    rows = board(page("shallow", max_drawdown=-0.05), page("deep", max_drawdown=-0.60))

    assert [row["name"] for row in rows] == ["shallow", "deep"]
    assert rows[0]["score_drawdown"] - rows[1]["score_drawdown"] == pytest.approx(20 * 0.55)


def test_weights_have_an_effect():
    weights = Weights(sharpe=0, consistency=0, drawdown=0, frequency=0, efficiency=100)

    assert board(page(), weights=weights)[0]["score"] == pytest.approx(40.0)


def test_an_unknown_figure_earns_nothing_and_is_named():
    row = board(page(sharpe_ratio=None, months=(), gross_exposure=0.0))[0]

    assert row["unknown"] == ["sharpe", "consistency", "efficiency"]
    assert row["score_sharpe"] == 0.0
    assert row["passed"] is False


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
    assert [row["name"] for row in board(page("b"), page("a"))] == ["a", "b"]
    assert [row["rank"] for row in board(page("b"), page("a"))] == [1, 2]


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
