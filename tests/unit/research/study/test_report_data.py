"""The report shows what is kept of a study, whatever of it is there."""

import re

import pyarrow as pa
import pytest

from research.errors import StudyError
from research.study.records import record_hold_out, save_assessment
from research.study.report_data import study_view, write_study_report
from tests.unit.research.study.kept_study import SESSIONS, keep, keep_walk_forward, metrics, trials
from warehouse.files import write_parquet

ASSESSMENT = {
    "findings": [
        {"check": "deflated_sharpe_ratio", "severity": "warn", "measured": 0.8, "threshold": 0.95, "sentence": "Luck."}
    ],
    "statistics": {"deflated_sharpe_ratio": 0.8},
    "made_at": "2024-01-03T00:00:00+00:00",
}


def shown(results, name="demo"):
    html = write_study_report(results, name).read_text()
    return re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


def test_what_is_kept_is_what_is_shown(tmp_path):
    made = keep(tmp_path)
    view = study_view(tmp_path, "demo")
    assert [(one.number, one.params, one.value) for one in view.trials] == [
        (one.number, one.params, one.value) for one in made
    ]
    assert (view.objective, view.maximise, len(view.known)) == ("Sharpe ratio", True, 30)
    assert view.best_trial.value == max(one.value for one in view.known)
    assert [fold["fold"] for fold in view.best_trial.folds] == [0, 1]
    assert view.statistics == {"trials": 31, "trials_on_symbols": 31}
    assert view.findings is None


def test_trials_of_other_studies_on_the_symbol_are_counted(tmp_path):
    keep(tmp_path)
    keep(tmp_path, "second", symbols=("A", "B"), made=trials(5))
    keep(tmp_path, "elsewhere", symbols=("C",))
    assert study_view(tmp_path, "demo").statistics["trials_on_symbols"] == 31 + 6


@pytest.mark.parametrize(
    ("objective", "label", "maximise"),
    [
        ("volatility", "Volatility", False),
        ("sharpe_ratio + 0.5*calmar_ratio", "sharpe_ratio + 0.5*calmar_ratio", True),
        (["sharpe_ratio", "max_drawdown"], "Sharpe ratio", True),
    ],
)
def test_the_direction_is_the_objectives(tmp_path, objective, label, maximise):
    keep(tmp_path, objective=objective)
    view = study_view(tmp_path, "demo")
    assert (view.objective, view.maximise) == (label, maximise)


def test_the_report_is_beside_the_study(tmp_path):
    keep(tmp_path)
    outside = shown(tmp_path)
    assert (tmp_path / "studies" / "demo" / "report.html").exists()
    assert "The study was not assessed" in outside
    assert "nobody has looked at it yet" in outside
    assert "no walk-forward was made" in outside
    assert "1 stopped early" in outside


def test_the_assessment_is_shown(tmp_path):
    keep(tmp_path)
    save_assessment(tmp_path, "demo", ASSESSMENT)
    outside = shown(tmp_path)
    assert "No check failed, Deflated Sharpe ratio warned." in outside
    assert "<td>Luck.</td>" in outside
    assert "Assessed at 2024-01-03T00:00:00+00:00." in outside


def test_trials_after_the_assessment_are_told(tmp_path):
    keep(tmp_path, assessment={**ASSESSMENT, "trials_run": 31})
    assert "after the assessment" not in shown(tmp_path)
    keep(tmp_path, assessment={**ASSESSMENT, "trials_run": 25})
    assert "6 trials were run after the assessment, which does not count them." in shown(tmp_path)


def test_the_hold_out_stands_beside_the_search(tmp_path):
    keep(tmp_path)
    record_hold_out(tmp_path, "demo", {**metrics(0.25), "calmar_ratio": None})
    outside = shown(tmp_path)
    best = study_view(tmp_path, "demo").best_trial
    assert f"<td>Sharpe ratio</td><td>{best.metrics['sharpe_ratio']:.2f}</td><td>0.25</td>" in outside
    assert "Looked at once, at 20" in outside


def test_the_best_trial_shows_figures_that_the_search_left_out(tmp_path):
    made = keep(tmp_path)
    best = max((one for one in made if one.value is not None), key=lambda one: one.value)
    whole = {**best.metrics, "probabilistic_sharpe_ratio": 0.93}
    keep(tmp_path, best={"number": best.number, "value": best.value, "params": dict(best.params), "metrics": whole})
    record_hold_out(tmp_path, "demo", {**metrics(0.25), "probabilistic_sharpe_ratio": 0.6})
    assert "<td>Probabilistic Sharpe</td><td>93.00 %</td><td>60.00 %</td>" in shown(tmp_path)


def test_trials_after_the_look_spoil_the_hold_out(tmp_path):
    looked = {"looked_at": "2024-01-02T00:00:00+00:00", "metrics": metrics(0.25), "trials": 31}
    keep(tmp_path, hold_out=looked)
    assert "it proves nothing any more" not in shown(tmp_path)
    keep(tmp_path, hold_out={**looked, "trials": 20})
    assert "11 trials were run after that" in shown(tmp_path)


def test_curves_that_the_search_never_saw(tmp_path):
    keep(tmp_path)
    keep_walk_forward(tmp_path)
    held = pa.table({"session": pa.array(SESSIONS[:3], pa.date32()), "return": [0.1, 0.0, -0.1]})
    write_parquet(tmp_path / "studies" / "demo" / "hold_out.parquet", held)
    view = study_view(tmp_path, "demo")
    assert [curve.name.split(",")[0] for curve in view.curves] == ["walk-forward", "hold-out"]
    assert [start.date() for start in view.curves[0].starts] == [SESSIONS[40], SESSIONS[60]]
    outside = shown(tmp_path)
    assert "sma_short 9" in outside
    assert "<span>Kept out of sample</span><b>0.4</b>" in outside


def test_a_study_without_any_value_has_a_report(tmp_path):
    keep(tmp_path, made=[trials(1)[1]], hold_out=None)
    outside = shown(tmp_path)
    assert "None of 1 trials has a value" in outside
    assert "the study kept none" in outside


def test_an_unknown_study_and_a_damaged_walk_forward_are_named(tmp_path):
    with pytest.raises(StudyError, match="there is no study 'none'"):
        write_study_report(tmp_path, "none")
    keep(tmp_path)
    keep_walk_forward(tmp_path)
    (tmp_path / "walkforward" / "demo" / "equity.parquet").write_bytes(b"PAR1")
    with pytest.raises(StudyError, match=r"equity\.parquet"):
        write_study_report(tmp_path, "demo")
