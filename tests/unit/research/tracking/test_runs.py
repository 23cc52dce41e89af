"""What of a backtest and of a study is tracked."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from research.result import save_result
from research.tracking import Children, TrackedDataset, TrackingError, tracked_backtest, tracked_study
from research.tracking.run import run_from_json, run_to_json

NOW = datetime(2024, 1, 2, tzinfo=UTC)
TRIALS = [
    {"number": n, "params": {"fast": n, "slow": 2 * n}, "metrics": {"sharpe_ratio": n / 10, "trades": None},
     "value": n / 10, "state": "COMPLETE", "seconds": 0.5}
    for n in range(40)
]  # fmt: skip
TRIALS[3] |= {"value": None, "state": "FAIL", "metrics": {}}
BEST = [n for n in range(39, -1, -1) if n != 3]
SPECIFICATION = {
    "strategy": "strategies.sma_crossover.SMACrossover", "symbols": ["A", "B"], "resolution": "1d",
    "ranges": {"fast": "0-39"},
}  # fmt: skip


def study(**changes):
    basis = {
        "name": "sma", "specification": SPECIFICATION, "trials": TRIALS, "best": BEST, "started": NOW,
        "ended": NOW + timedelta(minutes=1), "tags": {"project": "Lab", "asset_class": "Equities"},
        "dagster_run_id": "run-1",
    }  # fmt: skip
    return tracked_study(**{**basis, **changes})


def test_a_backtest_is_tracked_with_all_it_found(lab, tmp_path):
    result = lab.result(tags={"project": "Lab", "team": "quant", "status": "testing"})
    save_result(result, tmp_path)
    run = tracked_backtest(result, tmp_path, dagster_run_id="run-1", dagster_run_url="http://127.0.0.1:3000/runs/run-1")

    assert run.key == f"backtest-{result.id}"
    assert run.experiment_name == "Lab.Unclassified.Trend.SMACrossover"
    figures = {key for key, value in result.metrics.items() if isinstance(value, int | float)}
    assert figures <= set(run.metrics)
    assert run.metrics["total_return"] == result.metrics["total_return"]
    assert run.metrics["buy_and_hold.total_return"] == result.page["buy_and_hold"]["total_return"]
    assert (run.params["cash"], run.params["costs.model"], run.params["start"]) == (
        "10000.0",
        "ibkr_fixed",
        "2001-01-02",
    )
    expected = {
        "backtest_id": result.id, "symbols": "A", "resolution": "1d", "code_version": "code", "team": "quant",
        "status": "testing", "dagster_run_id": "run-1", "data_version.A": "v1", "experiment": "demo",
    }  # fmt: skip
    assert expected.items() <= run.tags.items()
    assert "(http://127.0.0.1:3000/runs/run-1)" in run.tags["mlflow.note.content"]
    assert [(dataset.name, dataset.digest) for dataset in run.datasets] == [("A", "v1")]
    assert {path.name for path in run.artifacts} == {"equity.parquet", "trades.parquet", f"{result.id}.json"}


def test_the_course_of_a_long_backtest_is_thinned_and_ends_with_its_end(lab, tmp_path):
    result = lab.result(sessions=1800)
    course = tracked_backtest(result, tmp_path).series["equity"]
    assert len(course) <= 501
    assert course[-1] == (1799, result.tables["daily"]["equity"][-1].as_py())


def test_pages_that_are_drawn_are_artifacts_too(lab, tmp_path):
    result = lab.result()
    save_result(result, tmp_path)
    for name in ("tearsheet.html", "chart.html"):
        (tmp_path / "backtests" / result.id / name).write_text("x")
    assert {"tearsheet.html", "chart.html"} <= {path.name for path in tracked_backtest(result, tmp_path).artifacts}


def test_the_content_of_a_backtest_does_not_depend_on_when_and_by_which_run_it_was_computed(lab, tmp_path):
    result = lab.result()
    one = tracked_backtest(result, tmp_path, dagster_run_id="run-1")
    other = replace(tracked_backtest(result, tmp_path, dagster_run_id="run-2"), started=NOW, ended=NOW)
    assert one.content == other.content
    assert one.content != tracked_backtest(result, tmp_path, filing={"status": "production"}).content


def test_a_study_has_the_best_and_a_sample_as_children_and_every_value_as_a_course():
    run = study()
    numbers = [int(child.tags["trial"]) for child in run.children]
    assert len(numbers) == 10
    assert numbers == sorted(numbers)
    assert set(BEST[:5]) <= set(numbers)
    assert run.tags["children"] == "10 of 40 trials"
    assert len(run.series["value"]) == 39
    assert run.metrics["trials"] == 40
    assert run.metrics["trials.fail"] == 1
    assert run.metrics["best.sharpe_ratio"] == 3.9
    assert run.experiment_name == "Lab.Equities.Trend.SMACrossover"
    assert run.tags["best_trial"] == "39"
    assert (run.step, run.children[0].step) == (40, 0)


def test_the_sample_is_the_same_for_the_same_seed_and_another_for_another():
    assert study() == study()
    assert study(children=Children(seed=1)).children != study().children


def test_all_trials_may_be_children_and_a_failed_one_is_failed():
    children = study(children=Children(all=True)).children
    assert [child.run_name for child in children] == [f"trial {n}" for n in range(40)]
    assert [n for n, child in enumerate(children) if child.status == "FAILED"] == [3]
    assert children[7].params == {"fast": "7", "slow": "14"}
    assert children[7].metrics == {"sharpe_ratio": 0.7, "value": 0.7, "seconds": 0.5}


def test_a_study_without_a_finished_trial_is_tracked_too():
    failed = [{"number": 0, "params": {}, "metrics": {}, "value": None, "state": "FAIL", "seconds": None}]
    run = study(trials=failed, best=[])
    assert run.series == {}
    assert [child.status for child in run.children] == ["FAILED"]


def test_a_best_trial_that_is_none_is_told():
    with pytest.raises(TrackingError, match="best: 77 is not the number of a trial of sma"):
        study(best=[77])
    with pytest.raises(TrackingError, match="sample: -1 must not be negative"):
        Children(sample=-1)


def test_a_run_survives_json(tmp_path):
    run = study(artifacts=[tmp_path / "a.csv"], datasets=[TrackedDataset("A", "v1", "A: bars", 7, {"close": "double"})])
    assert run_from_json(json.loads(json.dumps(run_to_json(run)))) == run


@pytest.mark.parametrize("document", [{}, {"started": "x", "ended": "y"}, {"started": 1, "ended": 2}])
def test_a_file_that_holds_something_else_is_told(document):
    with pytest.raises(TrackingError, match="the file does not hold one"):
        run_from_json(document)


@pytest.mark.parametrize("key", ["", "../x", "a b", ".hidden", "x" * 121])
def test_a_key_is_a_file_name(key):
    with pytest.raises(TrackingError, match="key:"):
        replace(study(), key=key)
