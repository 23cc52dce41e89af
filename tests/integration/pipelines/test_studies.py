"""Studies through the production graph: partitions, checks, going on, walk-forward, SQL."""

import json
import re

import dagster as dg
import pytest
import yaml

from pipelines.keys import STUDIES, SYMBOL_ASSETS
from pipelines.runs import (
    Outcome,
    materialize_leaderboard,
    materialize_studies,
    materialize_symbols,
    materialize_walk_forward,
    record_study,
)
from pipelines.settings import Settings
from research.errors import StudyError
from research.overfitting import CHECKS, GRAVITY
from research.study import StudySpecification, load_study, study_folder
from warehouse.catalog import Catalog

pytestmark = pytest.mark.integration

SEARCHED = {
    "experiment": {
        "strategy": "strategies.sma_crossover.SMACrossover", "symbols": ["AAPL"], "start": "2004-01-02",
        "end": "2009-12-31",
    },
    "space": "sma_short:5-9:2,sma_long:20-40:10",
}  # fmt: skip


@pytest.fixture
def lab(project, monkeypatch):
    """A project with judged bars of AAPL and one quick study in a file."""
    monkeypatch.chdir(project.folder)
    project.settings = project.settings.model_copy(update={"studies_dir": project.folder / "studies"})
    project.resources["research"] = type(project.resources["research"])(
        experiments_dir=str(project.settings.experiments_dir), studies_dir=str(project.settings.studies_dir),
        results_dir=str(project.settings.results_dir),
    )  # fmt: skip
    project.rebuild()
    write(project, "quick", SEARCHED)
    assert materialize_symbols(project.instance, SYMBOL_ASSETS, ["AAPL"], defs=project.defs).success
    return project


def write(project, name, document):
    project.settings.studies_dir.mkdir(exist_ok=True)
    (project.settings.studies_dir / f"{name}.yaml").write_text(yaml.safe_dump(document))


def study(project, *names, **config):
    return materialize_studies(project.instance, names or ["quick"], config=config or None, defs=project.defs)


def test_a_study_is_kept_and_shown(lab):
    outcome = study(lab)
    assert outcome.success, outcome
    (step,) = outcome.progress
    record = load_study(lab.settings.results_dir, "quick")
    assert (record.state, step.facts["trials"], step.facts["state"]) == ("complete", 9, "complete")
    assert step.facts["best"] == record.best["value"]
    assert (record.folder / "report.html").exists()
    severities = [
        row.data["severity"] for row in lab.latest("optimization_studies", "quick").metadata["findings"].records
    ]
    assert set(severities) == {one["severity"] for one in record.page["assessment"]["findings"]}
    assert severities == sorted(severities, key=GRAVITY.index)


def test_its_checks_are_asset_checks_that_do_not_stop_the_graph(lab):
    study(lab)
    found = {
        key.name: lab.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        for key in lab.defs.resolve_asset_graph().asset_check_keys
        if key.asset_key == STUDIES
    }
    assert found.keys() == CHECKS.keys()
    evaluation = found["trades"].event.dagster_event.asset_check_evaluation_data
    judged = {one["check"]: one for one in load_study(lab.settings.results_dir, "quick").page["assessment"]["findings"]}
    assert evaluation.passed == (judged["trades"]["severity"] == "pass")
    unknown = found["hold_out"].event.dagster_event.asset_check_evaluation_data
    assert (unknown.passed, unknown.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_a_study_that_is_complete_is_left_alone(lab):
    first, second = study(lab).progress[0], study(lab).progress[0]
    assert (first.outcome, second.outcome) == (Outcome.DONE, Outcome.UNCHANGED)


def test_more_trials_go_on_with_it(lab):
    write(lab, "random", {**SEARCHED, "sampler": "random", "n_trials": 4})
    study(lab, "random")
    assert study(lab, "random", n_trials=6).progress[0].outcome is Outcome.DONE
    assert load_study(lab.settings.results_dir, "random").page["trials_run"] == 6


def test_one_bad_study_of_a_run_does_not_lose_the_other(lab):
    write(lab, "bad", {**SEARCHED, "space": "sma_shrt:5-9"})
    outcome = study(lab, "bad", "quick")
    assert not outcome.success
    assert list(outcome.failures) == ["bad"]
    assert "Did you mean sma_short?" in outcome.failures["bad"]
    assert load_study(lab.settings.results_dir, "quick").state == "complete"


def test_bars_that_were_never_judged_are_refused(lab):
    unjudged = {**SEARCHED, "experiment": {**SEARCHED["experiment"], "symbols": ["MSFT"]}}
    write(lab, "unjudged", unjudged)
    outcome = study(lab, "unjudged")
    assert "MSFT" in outcome.failures["unjudged"]
    assert not study_folder(lab.settings.results_dir, "unjudged").exists()


def test_a_walk_forward_is_kept_and_its_windows_are_not_searched_again(lab):
    study(lab)
    config = {"train": 12, "test": 6, "step": 6}
    first = materialize_walk_forward(lab.instance, "quick", config=config, defs=lab.defs)
    assert first.success, first
    folds = lab.settings.results_dir / "walkforward" / "quick" / "folds"
    before = {path: path.stat().st_mtime_ns for path in folds.iterdir()}
    assert len(before) > 3
    windows = [row.data["params"] for row in lab.latest("walk_forward", "quick").metadata["windows"].records]
    assert windows
    assert all(re.fullmatch(r"sma_short=\d+ sma_long=\d+", params) for params in windows)
    assert materialize_walk_forward(lab.instance, "quick", config=config, defs=lab.defs).success
    assert {path: path.stat().st_mtime_ns for path in folds.iterdir()} == before


def test_the_leaderboard_and_sql_know_the_study(lab):
    study(lab)
    assert materialize_leaderboard(lab.instance, defs=lab.defs).success
    catalog = Catalog(lab.settings.data_dir, lab.settings.results_dir)
    ranked = catalog.query("SELECT count(*) AS n FROM trials WHERE state = 'complete'")
    assert ranked["n"][0].as_py() == 9
    assert catalog.query("SELECT state FROM studies")["state"].to_pylist() == ["complete"]


def test_a_study_of_the_command_line_is_recorded_and_another_one_of_its_name_refused(lab):
    settings = Settings(**{**lab.settings.model_dump(), "studies_dir": lab.folder / "none"})
    spec = StudySpecification.parse({"name": "mine", **SEARCHED})
    assert record_study(spec, settings) == "mine"
    kept = yaml.safe_load((settings.results_dir / "recorded_studies" / "mine.yaml").read_text())
    assert json.loads(json.dumps(kept)) == json.loads(json.dumps(spec.document()))
    with pytest.raises(StudyError, match="seed is 1, but the study was begun with 0"):
        record_study(StudySpecification.parse({"name": "mine", **SEARCHED, "seed": 1}), settings)
