"""Backtests and studies come to the ranking in one shape, each with its own figures."""

import pytest

from research.candidates import BACKTEST, STUDY, gather_candidates
from research.leaderboard import build_leaderboard
from research.result import save_result
from research.study.records import save_assessment
from tests.unit.research.study.kept_study import SESSIONS, keep, trials


def test_a_study_takes_part_with_its_best_trial_and_that_trials_returns(tmp_path):
    made = keep(tmp_path, symbols=("A", "B"))
    (one,) = gather_candidates(tmp_path)
    best = max((trial for trial in made if trial.value is not None), key=lambda trial: trial.value)
    assert (one.kind, one.name, one.id) == (STUDY, "demo", f"demo#{best.number}")
    assert (one.strategy, one.symbols) == ("strategies.sma_crossover.SMACrossover", ("A", "B"))
    assert one.metrics == best.metrics
    assert one.returns.to_numpy() == pytest.approx(best.returns)
    assert [day.date() for day in one.returns.index] == SESSIONS
    assert one.created_at == max(trial.finished_at for trial in made)


def test_what_the_assessment_measured_stands_in_the_line(tmp_path):
    keep(tmp_path)
    keep(tmp_path, "other", made=trials(4))
    findings = [
        {"check": "overfitting", "severity": "error", "sentence": "Luck."},
        {"check": "trades", "severity": "pass", "sentence": "Enough."},
    ]
    save_assessment(tmp_path, "demo", {"findings": findings, "statistics": {"deflated_sharpe_ratio": 0.4}})
    rows = {row["name"]: row for row in build_leaderboard(tmp_path).to_pylist()}
    assert rows["demo"]["remarks"] == ["overfitting: Luck."]
    assert rows["demo"]["deflated_sharpe_ratio"] == 0.4
    assert rows["demo"]["probability_of_backtest_overfitting"] is None
    assert (rows["demo"]["trials"], rows["demo"]["trials_on_symbols"]) == (31, 36)
    assert rows["other"]["deflated_sharpe_ratio"] is None
    assert rows["demo"]["score"] > 0


def test_a_mean_over_folds_need_not_be_a_whole_number_of_trades(tmp_path):
    best = {"number": 0, "value": 1.0, "params": {}, "metrics": {"trades": 12.5, "max_drawdown": None}}
    keep(tmp_path, best=best)
    (row,) = build_leaderboard(tmp_path).to_pylist()
    assert row["trades"] == 12.5
    assert "Trades 12 is below 100" in row["failed"]
    assert row["unknown"] == ["sharpe", "drawdown", "frequency", "efficiency"]


def test_backtests_and_studies_are_ranked_together(lab, tmp_path):
    save_result(lab.result(), tmp_path)
    keep(tmp_path)
    kinds = {row["kind"]: row for row in build_leaderboard(tmp_path).to_pylist()}
    assert set(kinds) == {BACKTEST, STUDY}
    assert kinds[BACKTEST]["trials"] is None


def test_a_study_without_a_value_and_one_with_a_damaged_file_lose_no_other(tmp_path):
    keep(tmp_path)
    keep(tmp_path, "empty", made=[trials(1)[1]])
    keep(tmp_path, "damaged")
    (tmp_path / "studies" / "damaged" / "trials.parquet").write_bytes(b"PAR1")
    assert [one.name for one in gather_candidates(tmp_path)] == ["demo"]


def test_a_backtest_without_its_daily_table_has_an_unknown_consistency(lab, tmp_path):
    result = lab.result()
    save_result(result, tmp_path)
    (tmp_path / "backtests" / result.id / "daily.parquet").unlink()
    (row,) = build_leaderboard(tmp_path).to_pylist()
    assert row["unknown"] == ["consistency"]
    assert row["rolling_above_zero"] is None
