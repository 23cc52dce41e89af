"""Studies on a Dask scheduler: the same result as on this machine, with and without a killed worker."""

import json
import os
import signal
import threading
import time

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
    pids = [worker.pid for worker in cluster.workers.values()]
    killer = threading.Thread(target=kill_after, args=(pids[0], folder / "two", 3))
    killer.start()
    shared = run_study(spec, bars(), results=folder / "two", cluster=cluster.scheduler_address)
    killer.join()
    assert told(shared) == told(alone)


def kill_after(pid, results, trials):
    """Kill a process once some trials of the study are done."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if any(json.loads(path.read_bytes())["done"] >= trials for path in results.rglob("progress.json")):
            break
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)


def test_a_scheduler_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("research.study.cluster._CONNECT_SECONDS", 2)
    with pytest.raises(StudyError, match="cluster: there is no scheduler at"):
        run_study(specification(), bars(), results=tmp_path, cluster="tcp://127.0.0.1:1")
