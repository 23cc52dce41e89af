"""The gate: closed by what failed or is not known, opened with a reason, never over a file of somebody else."""

import json

import pytest

from research.experiment import load_experiment
from research.promotion import RefusedError, promote
from research.study.records import load_study, save_assessment, save_page
from tests.unit.research.studies import finished, noise, specification

OK = {"check": "deflated_sharpe_ratio", "severity": "ok", "measured": 0.99, "threshold": 0.95, "sentence": "Good."}
WARN = {"check": "efficiency", "severity": "warn", "measured": 0.75, "threshold": 0.8, "sentence": "Thin."}
ERROR = {"check": "overfitting", "severity": "error", "measured": 0.6, "threshold": 0.5, "sentence": "Bad."}
DARK = {"check": "hold_out", "severity": "unknown", "measured": None, "threshold": 0.0, "sentence": "Not looked at."}


@pytest.fixture
def study(tmp_path):
    finished(tmp_path, specification(experiment={"params": {"target_fraction": 0.9}}), noise(count=300))

    def assessed(*findings):
        return save_assessment(
            tmp_path, "demo", {"findings": list(findings), "trials_run": 16, "made_at": "2024-05-06T00:00:00+00:00"}
        )

    return assessed


def test_a_sound_study_becomes_an_experiment(study, tmp_path):
    record = study(OK, WARN)
    path = promote(record, experiments_dir=tmp_path / "experiments")
    assert path == tmp_path / "experiments" / "demo.yaml"
    experiment = load_experiment(path)
    assert experiment.params == {"target_fraction": 0.9, **record.best["params"]}
    assert (experiment.name, experiment.tags.status) == ("demo", "testing")
    base = record.specification.experiment
    assert experiment.model_dump(exclude={"params", "tags"}) == base.model_dump(exclude={"params", "tags"})
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Promoted from the study demo, assessed at 2024-05-06")
    grounds = json.loads((tmp_path / "studies" / "demo" / "promotion.json").read_text(encoding="utf-8"))
    assert (grounds["study"], grounds["failing"], grounds["override_reason"]) == ("demo", [], None)
    assert grounds["findings"] == [OK, WARN]


@pytest.mark.parametrize(
    ("findings", "says"),
    [
        ((OK, ERROR), "demo is not promoted: overfitting failed; "),
        ((DARK, ERROR), "demo is not promoted: hold_out unknown, overfitting failed; "),
        ((DARK,), "demo is not promoted: hold_out unknown; "),
    ],
)
def test_what_failed_or_is_unknown_is_named_and_nothing_is_written(study, tmp_path, findings, says):
    record = study(*findings)
    with pytest.raises(RefusedError, match=says) as caught:
        promote(record, experiments_dir=tmp_path / "experiments")
    assert caught.value.failing == tuple(one["check"] for one in findings if one is not OK)
    assert not (tmp_path / "experiments").exists()
    assert not (record.folder / "promotion.json").exists()


def test_what_would_only_warn_may_stay_unknown(study, tmp_path):
    record = study(OK, {**DARK, "blocking": False})
    assert promote(record, experiments_dir=tmp_path / "experiments").exists()


def test_an_override_needs_a_reason_and_is_recorded(study, tmp_path):
    record = study(OK, ERROR, DARK)
    with pytest.raises(RefusedError, match="reason for promoting demo must be said in words"):
        promote(record, experiments_dir=tmp_path / "experiments", override_reason="  ")
    path = promote(record, experiments_dir=tmp_path / "experiments", override_reason="Paper only,\nfor a week.")
    assert "# Overridden: overfitting, hold_out. Reason: Paper only, for a week.\n" in path.read_text(encoding="utf-8")
    grounds = json.loads((record.folder / "promotion.json").read_text(encoding="utf-8"))
    assert grounds["failing"] == ["overfitting", "hold_out"]
    assert grounds["override_reason"] == "Paper only,\nfor a week."
    assert load_experiment(path).name == "demo"


def test_a_file_of_the_user_is_never_overwritten(study, tmp_path):
    experiments = tmp_path / "experiments"
    experiments.mkdir()
    mine = experiments / "demo.yaml"
    mine.write_text("strategy: mine.Own\nsymbols: [A]\n", encoding="utf-8")
    record = study(OK)
    with pytest.raises(RefusedError, match="exists and holds something else; it is left as it is"):
        promote(record, experiments_dir=experiments)
    assert mine.read_text(encoding="utf-8") == "strategy: mine.Own\nsymbols: [A]\n"
    assert not (record.folder / "promotion.json").exists()


def test_promoting_twice_changes_nothing(study, tmp_path):
    record = study(OK)
    path = promote(record, experiments_dir=tmp_path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert promote(record, experiments_dir=tmp_path) == path
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_study_that_was_not_assessed_as_it_is_now_is_refused(study, tmp_path):
    record = load_study(tmp_path, "demo")
    with pytest.raises(RefusedError, match="it has not been assessed"):
        promote(record, experiments_dir=tmp_path)
    record = study(OK)
    save_page(tmp_path, {**record.page, "trials_run": 20})
    with pytest.raises(RefusedError, match="assessed with 16 trials and has 20 now; assess it again"):
        promote(load_study(tmp_path, "demo"), experiments_dir=tmp_path)


def test_a_study_without_a_best_trial_is_refused(study, tmp_path):
    save_page(tmp_path, {**study(OK).page, "best": None})
    with pytest.raises(RefusedError, match="none of its trials has a value"):
        promote(load_study(tmp_path, "demo"), experiments_dir=tmp_path)
