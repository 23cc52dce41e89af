"""Many studies from one file, and why their winners do not pass."""

import pytest

from research.errors import StudyError
from research.study import Criterion, batch_table, load_batch, rejections, run_study
from research.study.batch import BATCH_SCHEMA, DEFAULT_CRITERIA, Batch
from tests.unit.research.study.studies import CROSSOVER, ROTATION, bars

TEXT = f"""
strategies:
  - strategy: {CROSSOVER}
    space: {{sma_short: {{type: int, low: 3, high: 5}}, sma_long: {{type: int, low: 20, high: 22}}}}
  - strategy: {ROTATION}
    space: "lookback:20-40:20"
    params: {{}}
symbols:
  - A
  - [A, B]
experiment: {{start: 2020-01-01, end: 2024-12-31, costs: none}}
settings: {{seed: 7, hold_out: 0.1}}
criteria: {{trades: {{at_least: 100}}, max_drawdown: {{at_most: 0.15}}}}
"""


def test_a_file_is_a_study_for_each_strategy_and_symbol(tmp_path):
    (tmp_path / "quarter.yaml").write_text(TEXT)
    batch = load_batch(tmp_path / "quarter.yaml")
    studies = batch.studies()
    assert [one.name for one in studies] == [
        "quarter-SMACrossover-A", "quarter-SMACrossover-A-B", "quarter-DualMomentum-A", "quarter-DualMomentum-A-B",
    ]  # fmt: skip
    assert [one.experiment.symbols for one in studies] == [("A",), ("A", "B")] * 2
    assert {one.seed for one in studies} == {7}
    assert batch.criteria["trades"].at_least == 100


def test_the_table_says_why_a_winner_does_not_pass(tmp_path):
    (tmp_path / "quarter.yaml").write_text(TEXT)
    batch = load_batch(tmp_path / "quarter.yaml")
    records = [run_study(one, bars(one.experiment.symbols), results=tmp_path, workers=1) for one in batch.studies()[:2]]
    table = batch_table(records, batch.criteria)
    assert table.schema == BATCH_SCHEMA
    for row in table.to_pylist():
        assert not row["passed"]
        assert any("Trades is" in reason and "below 100" in reason for reason in row["reasons"])


def test_what_cannot_be_computed_does_not_pass():
    criteria = {"sharpe_ratio": Criterion(at_least=1.0), "max_drawdown": Criterion(at_most=0.15)}
    assert rejections({"sharpe_ratio": None, "max_drawdown": -0.1}, criteria) == ["Sharpe ratio cannot be computed."]
    assert rejections({"sharpe_ratio": 1.0, "max_drawdown": -0.2}, criteria) == [
        "Max drawdown is 20.00 %, above 15.00 %."
    ]
    assert rejections({"sharpe_ratio": 1.0, "max_drawdown": -0.15}, criteria) == []


def test_a_negative_sharpe_passes_nowhere():
    criteria = {name: Criterion(**limits) for name, limits in DEFAULT_CRITERIA.items()}
    best = {"trades": 500, "sharpe_ratio": -1.22, "max_drawdown": -0.1, "win_rate": 0.5}
    reasons = rejections(best, criteria)
    assert "Sharpe ratio is -1.22, below 1.00." in reasons
    assert "Fees / gross profit cannot be computed." in reasons


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"criteria": {"sharpe": {"at_least": 1}}}, "'sharpe' is not known"),
        ({"criteria": {"sharpe_ratio": {}}}, "sharpe_ratio must have at_least or at_most"),
        ({"strategy": []}, "strategy is not a known key; did you mean strategies"),
        ({"symbols": []}, "symbols: [] is wrong"),
        ({"strategies": [{"strategy": CROSSOVER, "spaces": {}}]}, "strategies: spaces is not a known key"),
        ({"symbols": ["SPY,AAPL"]}, "holds 'SPY,AAPL' with a comma in it"),
    ],
)
def test_what_is_wrong_is_told(change, said):
    document = {
        "name": "b", "strategies": [CROSSOVER], "symbols": ["A"],
        "experiment": {"start": "2020-01-01", "end": "2024-12-31"},
    }  # fmt: skip
    with pytest.raises(StudyError) as caught:
        Batch.parse({**document, **change}).studies()
    assert said in str(caught.value)
