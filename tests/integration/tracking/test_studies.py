"""A kept study goes into the store that the settings name."""

import importlib.util
from pathlib import Path

import pytest

from pipelines.tracking import track_study, tracking_facts
from research.study.records import load_study

pytestmark = pytest.mark.integration


@pytest.fixture
def record(tmp_path):
    path = Path(__file__).parents[2] / "unit" / "research" / "study" / "kept_study.py"
    specification = importlib.util.spec_from_file_location("kept_study", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.keep(tmp_path)
    return load_study(tmp_path, "demo")


def test_some_or_all_trials_become_runs_below_the_study(record, tmp_path, kit):
    some = track_study(record, tmp_path, {"A": "v1"}, every=False, dagster_run_id="run-1")
    seen = kit.seen(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    assert len(seen.runs()) == 11
    every = track_study(record, tmp_path, {"A": "v1"}, every=True, dagster_run_id="run-2")
    assert every.sent.run_id == some.sent.run_id
    found = seen.runs()
    assert len(found) == 32
    assert sum(run.info.status == "KILLED" for run in found) == 1
    assert tracking_facts(every)["mlflow_run"].value == every.sent.link
    parent = seen.client.get_run(every.sent.run_id)
    assert parent.data.tags["children"] == "31 of 31 trials"
    assert "(http://127.0.0.1:3000/runs/run-2)" in parent.data.tags["mlflow.note.content"]


def test_a_study_whose_store_is_down_waits(record, tmp_path, monkeypatch):
    monkeypatch.setenv("BARLOOM_MLFLOW_URI", "http://u:geheim@127.0.0.1:9")
    facts = tracking_facts(track_study(record, tmp_path, {"A": "v1"}, every=False, dagster_run_id=""))
    assert "waits in the outbox" in facts["mlflow_waits"]
    assert "geheim" not in facts["mlflow_waits"]
