"""The hold-out: unseen by the search, looked at once."""

import datetime as dt

import pytest

from research.engine import prepare_run
from research.errors import StudyError
from research.hold_out import look_at_hold_out, untouched
from research.study.locks import coordinates
from research.study.records import load_study, save_page
from research.study.trial import figures
from research.walkforward.run import run_test
from tests.unit.research.studies import MOMENT, finished, noise, specification


def test_the_first_look_runs_the_best_trial_on_the_unseen_end(tmp_path):
    """900 sessions, a fifth held out: the last 180, from flat, on indicators that have seen the bars before."""
    bars, spec = noise(count=900), specification()
    record = finished(tmp_path, spec, bars)
    looked = look_at_hold_out(tmp_path, "demo", bars, now=MOMENT)
    sessions = bars["A"]["session"].to_pylist()
    assert record.sessions["session"].to_pylist() == sessions[:720]
    prepared = prepare_run(spec.experiment, bars)
    params = {**prepared.params, **record.best["params"]}
    test = run_test(prepared, params, sessions[720], sessions[-1], warmup=500)
    expected = figures(test.prepared.experiment, test.output)
    assert looked.metrics["sharpe_ratio"] == looked.metrics["objective"] == expected["sharpe_ratio"]
    assert looked.metrics["sessions"] == 180
    assert (looked.first, looked.looked_at) == (True, MOMENT)
    page = load_study(tmp_path, "demo").page["hold_out"]
    assert (page["looked_at"], page["metrics"]["objective"]) == (MOMENT.isoformat(), expected["sharpe_ratio"])


def test_a_second_look_is_a_memory_and_says_when_the_first_was(tmp_path):
    finished(tmp_path, specification(), noise())
    first = look_at_hold_out(tmp_path, "demo", noise(), now=MOMENT)
    second = look_at_hold_out(tmp_path, "demo", noise(seed=2), now=MOMENT + dt.timedelta(days=9))
    assert (second.first, second.looked_at, second.metrics) == (False, MOMENT, first.metrics)
    assert "was looked at on 2024-05-06, and is not looked at again" in second.sentence
    assert "sharpe_ratio is" in second.sentence


def test_trials_after_the_look_spend_it(tmp_path):
    finished(tmp_path, specification(), noise())
    look_at_hold_out(tmp_path, "demo", noise(), now=MOMENT)
    record = load_study(tmp_path, "demo")
    assert untouched(record) is None
    save_page(tmp_path, {**record.page, "trials_run": record.page["trials_run"] + 5})
    spent = "5 trials were run after the hold-out was looked at on 2024-05-06."
    assert untouched(load_study(tmp_path, "demo")) == spent
    assert spent in look_at_hold_out(tmp_path, "demo", noise()).sentence


def test_the_search_never_reads_it(tmp_path):
    """Other prices in the hold-out leave every trial as it is."""
    bars = noise(count=900)
    whole = finished(tmp_path / "whole", specification(), bars)
    cut = finished(tmp_path / "cut", specification(hold_out=0.0), {"A": bars["A"].slice(0, 720)})
    assert whole.trials["value"].to_pylist() == cut.trials["value"].to_pylist()


def test_a_study_without_one_has_none(tmp_path):
    finished(tmp_path, specification(hold_out=0.0), noise())
    with pytest.raises(StudyError, match="the study demo kept none"):
        look_at_hold_out(tmp_path, "demo", noise())


def test_bars_that_end_with_the_search_hold_nothing_out(tmp_path):
    finished(tmp_path, specification(), noise(count=900))
    with pytest.raises(StudyError, match="no bars of demo after its search ended on 2022-11-"):
        look_at_hold_out(tmp_path, "demo", {"A": noise(count=900)["A"].slice(0, 720)})


def test_a_study_without_a_best_trial_is_not_looked_at(tmp_path):
    record = finished(tmp_path, specification(), noise())
    save_page(tmp_path, {**record.page, "best": None})
    with pytest.raises(StudyError, match="no trial of demo has a value"):
        look_at_hold_out(tmp_path, "demo", noise())


def test_a_running_study_is_not_looked_at(tmp_path):
    record = finished(tmp_path, specification(), noise())
    save_page(tmp_path, {**record.page, "state": "running"})
    with coordinates(record.folder), pytest.raises(StudyError, match="demo is running; look when it is done"):
        look_at_hold_out(tmp_path, "demo", noise())


def test_a_kill_before_the_look_is_written_leaves_no_look(tmp_path, monkeypatch):
    finished(tmp_path, specification(), noise())
    monkeypatch.setattr("research.hold_out.record_hold_out", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        look_at_hold_out(tmp_path, "demo", noise())
    monkeypatch.undo()
    assert load_study(tmp_path, "demo").page["hold_out"]["looked_at"] is None
    assert look_at_hold_out(tmp_path, "demo", noise(), now=MOMENT).first
