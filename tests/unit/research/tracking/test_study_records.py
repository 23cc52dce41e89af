"""A study as `research.study` keeps it becomes a tracked run."""

import importlib.util
from pathlib import Path

import pytest

from research.study.records import load_study
from research.tracking import Children, tracked_study_record
from research.tracking.run import run_from_json, run_to_json


@pytest.fixture(scope="module")
def kept():
    """The made-up study of the tests of studies."""
    path = Path(__file__).parents[1] / "study" / "kept_study.py"
    specification = importlib.util.spec_from_file_location("kept_study", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_what_is_kept_is_what_is_tracked(kept, tmp_path):
    made = kept.keep(tmp_path)
    record = load_study(tmp_path, "demo")
    run = tracked_study_record(record, {"A": "v1"}, dagster_run_id="run-1", dagster_run_url="http://d/runs/run-1")

    best = max((trial for trial in made if trial.value is not None), key=lambda trial: trial.value)
    assert (run.run_name, run.experiment_name) == ("demo", "Barloom.Unclassified.Trend.SMACrossover")
    assert run.tags["best_trial"] == str(best.number)
    assert run.metrics["best.value"] == best.value
    assert run.metrics["trials"] == len(made)
    assert run.metrics["trials.pruned"] == 1
    assert len(run.children) == 10
    assert {
        "study": "demo",
        "symbols": "A",
        "data_version.A": "v1",
        "dagster_run_id": "run-1",
    }.items() <= run.tags.items()
    assert [path.name for path in run.artifacts] == ["study.json", "trials.parquet"]
    assert run.params["strategy"] == "strategies.sma_crossover.SMACrossover"
    assert run.params["sampler"] == "auto"
    assert run_from_json(run_to_json(run)) == run


def test_the_best_are_the_smallest_where_smaller_is_better(kept, tmp_path):
    made = kept.keep(tmp_path, objective="volatility")
    run = tracked_study_record(load_study(tmp_path, "demo"), {}, children=Children(best=1, sample=0))
    smallest = min((trial for trial in made if trial.value is not None), key=lambda trial: trial.value)
    assert [child.tags["trial"] for child in run.children] == [str(smallest.number)]


def test_a_study_that_goes_on_is_the_same_run_and_other_bars_make_another(kept, tmp_path):
    kept.keep(tmp_path, made=kept.trials(10))
    first = tracked_study_record(load_study(tmp_path, "demo"), {"A": "v1"})
    kept.keep(tmp_path, made=kept.trials(20))
    later = tracked_study_record(load_study(tmp_path, "demo"), {"A": "v1"})
    assert later.key == first.key
    assert later.params == first.params
    assert later.step > first.step
    assert tracked_study_record(load_study(tmp_path, "demo"), {"A": "v2"}).key != first.key


def test_a_study_without_a_trial_is_tracked_too(kept, tmp_path):
    kept.keep(tmp_path, made=[], trials_run=0)
    run = tracked_study_record(load_study(tmp_path, "demo"), {})
    assert (run.children, run.metrics) == ((), {"trials": 0.0})
