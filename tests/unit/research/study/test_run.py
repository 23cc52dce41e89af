"""A study that is kept: its files, and going on with it."""

import datetime as dt
import json

import numpy as np
import pytest

from research.errors import StudyError, UnprovenError
from research.study import coordinator as coordinator_module
from research.study import (
    list_studies,
    load_study,
    record_hold_out,
    run_study,
    save_assessment,
    study_folder,
    trials_ever,
)
from research.study import run as run_module
from research.study.locks import coordinates
from research.study.storage import packed, psycopg2_url, unpacked
from tests.unit.research.study.studies import bars, specification
from warehouse.catalog import Catalog


def kept(tmp_path, stop=None, progress=None, count=260, **fields):
    spec = specification(**fields)
    return run_study(
        spec, bars(spec.experiment.symbols, count), results=tmp_path, stop=stop, progress=progress, workers=1
    )


def rows(record):
    columns = ["number", "state", "value", "values", "plain_value", "penalty", "reason", "params", "metrics", "engine"]
    return record.trials.select(columns).to_pylist()


def test_what_is_written_is_what_was_found(tmp_path):
    record = kept(tmp_path)
    again = load_study(tmp_path, "study")
    assert dict(again.page) == json.loads(json.dumps(dict(record.page)))
    assert again.state == "complete"
    assert again.page["counts"] == {"complete": 158, "pruned": 0, "failed": 0}
    assert again.page["forbidden"] == {"sma_short < sma_long": 3}
    assert again.page["verified"] == 10
    assert again.page["engines"] == {"kernel": 158}
    best = max((row for row in rows(again) if row["value"] is not None), key=lambda row: row["value"])
    assert again.best["number"] == best["number"]
    assert again.best["params"] == json.loads(best["params"])
    assert again.best["metrics"]["probabilistic_sharpe_ratio"] is not None
    numbers, matrix = again.returns_matrix()
    assert matrix.shape == (158, again.sessions.num_rows)
    total = np.prod(1.0 + matrix[numbers.index(best["number"])]) - 1.0
    assert total == pytest.approx(json.loads(best["metrics"])["total_return"])


def test_the_hold_out_is_never_shown_to_the_search(tmp_path):
    record = kept(tmp_path, hold_out=0.25)
    hold_out, in_sample = record.page["hold_out"], record.page["in_sample"]
    assert (in_sample["sessions"], hold_out["sessions"]) == (195, 65)
    assert in_sample["end"] < hold_out["start"]
    assert record.sessions["session"].to_pylist()[-1].isoformat() == in_sample["end"]
    assert hold_out["looked_at"] is None


def test_the_hold_out_is_looked_at_once(tmp_path):
    kept(tmp_path)
    moment = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    record = record_hold_out(tmp_path, "study", {"sharpe_ratio": 0.1}, now=moment)
    assert record.page["hold_out"]["metrics"] == {"sharpe_ratio": 0.1}
    with pytest.raises(StudyError, match=r"was looked at on 2026-01-02.*a second look is none"):
        record_hold_out(tmp_path, "study", {"sharpe_ratio": 9.9})
    kept(tmp_path, hold_out=0.0, name="whole")
    with pytest.raises(StudyError, match="kept none"):
        record_hold_out(tmp_path, "whole", {})


def test_an_assessment_and_the_look_survive_more_trials(tmp_path):
    kept(tmp_path, sampler="tpe", n_trials=10)
    save_assessment(tmp_path, "study", {"passed": False})
    record_hold_out(tmp_path, "study", {"sharpe_ratio": 0.1})
    record = kept(tmp_path, sampler="tpe", n_trials=20)
    assert record.page["assessment"] == {"passed": False}
    assert record.page["hold_out"]["looked_at"] is not None
    assert record.page["trials_run"] == 20


@pytest.mark.thorough
@pytest.mark.parametrize("fields", [{"sampler": "tpe"}, {"sampler": "cmaes"}, {"sampler": "tpe", "folds": 3}, {}])
def test_a_stopped_study_goes_on_to_what_it_would_have_been(tmp_path, fields):
    fields = {"n_trials": 40, **fields}
    whole = kept(tmp_path / "whole", **fields)
    for stop_after in (3, 13, 21):
        seen = []

        def stop(seen=seen, stop_after=stop_after):
            seen.append(1)
            return len(seen) > stop_after

        stopped = kept(tmp_path / "parts", stop=stop, **fields)
        assert stopped.state == "stopped"
        assert stopped.page["error"] == "asked to stop"
    finished = kept(tmp_path / "parts", **fields)
    assert finished.state == "complete"
    assert rows(finished) == rows(whole)
    assert finished.returns_matrix()[0] == whole.returns_matrix()[0]
    assert np.array_equal(finished.returns_matrix()[1], whole.returns_matrix()[1], equal_nan=True)


def test_the_page_of_a_running_study_knows_the_trials_of_the_batch_that_is_under_way(tmp_path, monkeypatch):
    """Nothing else is left of them but the journal when the process is killed."""
    monkeypatch.setattr(run_module, "_PAGE_SECONDS", 0.0)
    monkeypatch.setattr(coordinator_module, "_TOLD_SECONDS", 0.0)
    seen = []
    kept(tmp_path, sampler="random", n_trials=20, progress=lambda _: seen.append(load_study(tmp_path, "study").page))
    assert [page["trials_run"] for page in seen[:20]] == list(range(1, 21))
    assert all(page["counts"]["complete"] == page["trials_run"] for page in seen)
    assert max(page["best"]["value"] for page in seen if page["best"]) == seen[-1]["best"]["value"]


def test_a_finished_study_is_not_run_again(tmp_path):
    first = kept(tmp_path)
    before = (study_folder(tmp_path, "study") / "journal.log").read_bytes()
    assert kept(tmp_path).page == first.page
    assert (study_folder(tmp_path, "study") / "journal.log").read_bytes() == before


@pytest.mark.parametrize(
    ("fields", "count", "said"),
    [({"seed": 1}, 260, "seed is 1"), ({}, 261, "data_versions is")],
)
def test_another_study_of_that_name_is_refused(tmp_path, fields, count, said):
    kept(tmp_path)
    page = (study_folder(tmp_path, "study") / "study.json").read_bytes()
    with pytest.raises(StudyError, match=said):
        kept(tmp_path, count=count, n_trials=200, **fields)
    assert (study_folder(tmp_path, "study") / "study.json").read_bytes() == page


def test_a_half_written_line_of_a_killed_process_is_no_trial(tmp_path):
    whole = kept(tmp_path / "whole", sampler="tpe", n_trials=20)
    kept(tmp_path / "torn", sampler="tpe", n_trials=20, stop=_after(9))
    journal = study_folder(tmp_path / "torn", "study") / "journal.log"
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) - 40])
    (journal.parent / "journal.log.lock").symlink_to(journal)  # as Optuna's own lock would be left behind
    assert rows(kept(tmp_path / "torn", sampler="tpe", n_trials=20)) == rows(whole)


def _after(calls):
    seen = []

    def stop():
        seen.append(1)
        return len(seen) > calls

    return stop


def test_an_unproven_study_is_kept_as_failed(tmp_path, monkeypatch):
    def unproven(*_):
        raise UnprovenError("study: the kernel differs.")

    monkeypatch.setattr("research.study.coordinator.prove", unproven)
    with pytest.raises(UnprovenError):
        kept(tmp_path)
    record = load_study(tmp_path, "study")
    assert (record.state, record.page["error"]) == ("failed", "study: the kernel differs.")


def test_a_study_whose_process_is_gone_is_not_running(tmp_path):
    states = []
    record = kept(tmp_path, progress=lambda _: states.append(load_study(tmp_path, "study").state))
    assert set(states) == {"running"}
    page = {**record.page, "state": "running"}
    (record.folder / "study.json").write_text(json.dumps(page))
    assert load_study(tmp_path, "study").state == "stopped"


def test_one_process_at_a_time(tmp_path):
    with (
        coordinates(study_folder(tmp_path, "study")),
        pytest.raises(StudyError, match="another process is running this study"),
    ):
        kept(tmp_path)


def test_all_trials_ever_run_on_a_symbol_are_counted(tmp_path):
    kept(tmp_path, name="one", sampler="tpe", n_trials=10)
    kept(tmp_path, name="two", sampler="tpe", n_trials=12, symbols=("A", "B"))
    record = kept(tmp_path, name="three", sampler="tpe", n_trials=14)
    assert record.page["prior_trials"] == {"total": 22, "by_study": {"one": 10, "two": 12}}
    assert trials_ever(tmp_path, ["B"]).total == 12
    assert trials_ever(tmp_path, ["A"]).total == 36
    assert trials_ever(tmp_path, ["C"]).total == 0
    assert [one.name for one in list_studies(tmp_path)] == ["one", "three", "two"]


def test_a_study_that_is_not_there_is_told(tmp_path):
    kept(tmp_path, name="one", sampler="tpe", n_trials=4)
    with pytest.raises(StudyError, match=r"no study 'two' in .*; it holds one"):
        load_study(tmp_path, "two")


def test_optuna_reads_the_journal(tmp_path):
    import optuna

    record = kept(tmp_path, sampler="tpe", n_trials=20)
    backend = optuna.storages.journal.JournalFileBackend(str(record.folder / "journal.log"))
    study = optuna.load_study(study_name="study", storage=optuna.storages.JournalStorage(backend))
    assert study.best_value == record.best["value"]
    assert study.best_params == record.best["params"]
    assert len(study.trials) == 20


def test_the_catalog_shows_studies_and_trials(tmp_path):
    catalog = Catalog(tmp_path / "data", tmp_path)
    assert catalog.query("FROM studies").num_rows == 0
    empty = catalog.query("FROM trials").schema
    record = kept(tmp_path)
    (study,) = catalog.query("FROM studies").to_pylist()
    assert study["study"] == "study"
    assert (study["state"], study["sampler"], study["trials"]) == ("complete", "grid", 158)
    assert study["best_value"] == record.best["value"]
    assert json.loads(study["best_params"]) == record.best["params"]
    trials = catalog.query("FROM trials ORDER BY trial")
    assert trials.schema == empty
    assert trials["value"].to_pylist() == record.trials["value"].to_pylist()
    best = catalog.query("SELECT trial FROM trials ORDER BY value DESC NULLS LAST LIMIT 1")["trial"].to_pylist()
    assert best == [record.best["number"]]


def test_returns_survive_as_text_bit_for_bit():
    returns = np.array([0.1, -0.0, np.nan, 1e-300])
    assert unpacked(packed(returns)).tobytes() == returns.tobytes()


def test_the_driver_of_a_url_is_the_one_that_is_installed():
    assert psycopg2_url("postgresql://u@h/d") == "postgresql+psycopg2://u@h/d"
    assert psycopg2_url("postgresql+psycopg://u@h/d") == "postgresql+psycopg2://u@h/d"
    with pytest.raises(StudyError, match="must be a URL such as postgresql://"):
        psycopg2_url("sqlite:///x.db")


def test_a_trial_is_finished_once(tmp_path):
    record = kept(tmp_path, sampler="tpe", n_trials=10)
    lines = [json.loads(line) for line in (record.folder / "journal.log").read_text().splitlines()]
    finished = [line["trial_id"] for line in lines if line["op_code"] == 6]
    assert sorted(finished) == list(range(10))
