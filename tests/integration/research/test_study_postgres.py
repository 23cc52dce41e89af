"""Studies in a real PostgreSQL: many processes, no trial twice."""

import os
import signal

import pytest

from research.errors import StudyError
from research.study import run_study
from tests.integration.research.studies import bars, slow, specification, started, told, wait_for
from tests.integration.servers import postgres

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def url():
    with postgres("study") as server:
        yield server.url


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BARLOOM_TEST_FOLDER", str(tmp_path / "runs"))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "runs").mkdir()
    return tmp_path


def test_a_database_gives_what_a_journal_gives(tmp_path, url):
    for fields in ({}, {"sampler": "tpe", "folds": 3}, {"sampler": "cmaes"}):
        spec = specification(name=f"same-{fields.get('sampler', 'grid')}", n_trials=40, **fields)
        journal = run_study(spec, bars(), results=tmp_path / "journal")
        database = run_study(spec, bars(), results=tmp_path / "database", storage=url)
        assert told(database) == told(journal)


def test_a_stopped_study_goes_on_from_the_database(tmp_path, url):
    spec = specification(name="stopped", n_trials=40, sampler="tpe")
    whole = run_study(spec, bars(), results=tmp_path / "whole")
    calls = []
    stopped = run_study(
        spec, bars(), results=tmp_path / "parts", storage=url, stop=lambda: len(calls) > 20 or calls.append(1)
    )
    assert stopped.state == "stopped"
    assert 0 < stopped.page["trials_run"] < 40
    assert told(run_study(spec, bars(), results=tmp_path / "parts", storage=url)) == told(whole)


def test_two_coordinators_do_not_repeat_each_others_trials(folder, url):
    spec = slow(folder, 0.05, name="shared", n_trials=40)
    processes = [started(folder, spec, folder / f"results-{at}", storage=url) for at in range(2)]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert all("end complete" in text for text in said), said
    periods = [int(path.name.split("-")[0]) for path in (folder / "runs").iterdir()]
    assert len(periods) == len(set(periods)) == 40
    owners = {path.name.split("-")[1] for path in (folder / "runs").iterdir()}
    assert len(owners) == 2  # both did some of it
    from research.study import load_study

    first, second = (load_study(folder / f"results-{at}", "shared") for at in range(2))
    assert told(first) == told(second)
    assert len(told(first)) == 40


def test_what_a_killed_coordinator_had_begun_is_done_by_another(folder, url):
    spec = slow(folder, 0.1, name="killed", n_trials=30)
    process = started(folder, spec, folder / "results", storage=url)
    wait_for(process, 5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=20)
    record = run_study(spec, bars(), results=folder / "results", storage=url)
    assert record.page["counts"] == {"complete": 30, "pruned": 0, "failed": 0}
    periods = [path.name.split("-")[0] for path in (folder / "runs").iterdir()]
    assert len(periods) <= 30 + 4


def test_optuna_reads_the_tables(tmp_path, url):
    import optuna

    spec = specification(name="theirs", n_trials=20, sampler="tpe")
    record = run_study(spec, bars(), results=tmp_path, storage=url)
    study = optuna.load_study(study_name="theirs", storage=url.replace("postgresql:", "postgresql+psycopg2:"))
    assert study.best_value == record.best["value"]
    assert study.best_params == record.best["params"]
    assert len(study.trials) == 20


def test_a_database_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StudyError, match="storage: the database cannot be reached"):
        run_study(specification(), bars(), results=tmp_path, storage="postgresql://study@127.0.0.1:1/postgres")
