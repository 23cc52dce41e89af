"""Studies on a Dask scheduler: the same result as on this machine, with and without a killed worker."""

import os
import signal

import pytest

from research.errors import StudyError
from research.study import run_study, search
from tests.integration.research.studies import bars, slow, specification, told

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.setenv("BARLOOM_TEST_FOLDER", str(tmp_path / "runs"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])]))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "runs").mkdir()
    return tmp_path


@pytest.fixture
def cluster(folder):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as started:
        yield started


def test_a_cluster_gives_what_this_machine_gives(folder, cluster):
    for name, fields in (("grid", {}), ("tpe", {"sampler": "tpe", "n_trials": 40}), ("slow", None)):
        spec = slow(folder, name=name) if fields is None else specification(name=name, **fields)
        alone = run_study(spec, bars(), results=folder / "one", workers=2)
        shared = run_study(spec, bars(), results=folder / "two", cluster=cluster.scheduler_address)
        assert told(shared) == told(alone)
        assert shared.best == alone.best


def test_an_executor_of_a_cluster_can_be_given(folder, cluster):
    from distributed import Client

    from research.engine import prepare_run

    spec = specification(sampler="tpe", n_trials=20)
    prepared = prepare_run(spec.experiment, bars())
    alone = search(prepared, spec)
    with Client(cluster.scheduler_address) as client:
        shared = search(prepared, spec, executor=client.get_executor(), workers=2)
    assert [(one.params, one.value) for one in shared.trials] == [(one.params, one.value) for one in alone.trials]


def test_a_worker_that_is_killed_loses_nothing(folder, cluster):
    spec = slow(folder, 0.2, n_trials=24)
    alone = run_study(spec, bars(), results=folder / "one", workers=2)
    alive = [worker.pid for worker in cluster.workers.values()][:1]

    def kill_one(progress):
        if progress.done >= 3 and alive:
            os.kill(alive.pop(), signal.SIGKILL)

    shared = run_study(spec, bars(), results=folder / "two", cluster=cluster.scheduler_address, progress=kill_one)
    assert not alive
    assert told(shared) == told(alone)


def test_a_scheduler_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("research.study.cluster._CONNECT_SECONDS", 2)
    with pytest.raises(StudyError, match="cluster: there is no scheduler at"):
        run_study(specification(), bars(), results=tmp_path, cluster="tcp://127.0.0.1:1")
