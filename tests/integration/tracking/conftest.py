"""Real stores: a tracking server as a process of its own, a PostgreSQL, and studies to send."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from research.tracking import Children, TrackedDataset, TrackedRun, tracked_study

NOW = datetime(2024, 1, 2, tzinfo=UTC)
_SECONDS = 180


def make_study(trials: int = 30, *, name: str = "sma", children: Children | None = None, **fields: Any) -> TrackedRun:
    """A made-up study."""
    rows = [
        {"number": n, "params": {"fast": n, "slow": 2 * n}, "metrics": {"sharpe_ratio": n / 10, "trades": n},
         "value": n / 10, "state": "COMPLETE", "seconds": 0.25}
        for n in range(trials)
    ]  # fmt: skip
    specification = {"strategy": "strategies.sma_crossover.SMACrossover", "symbols": ["A"], "resolution": "1d"}
    basis = {
        "name": name, "specification": specification, "trials": rows, "best": list(range(trials))[::-1],
        "started": NOW, "ended": NOW + timedelta(minutes=1), "children": children or Children(all=True),
        "datasets": [TrackedDataset("A", "d" * 64, "A: 1d bars", 100, {"close": "double"})],
        "dagster_run_id": "run-1",
    }  # fmt: skip
    return tracked_study(**{**basis, **fields})


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`mlflow server` on a port and a folder that it keeps when it is killed and started again."""

    def __init__(self, folder: Path, backend: str | None = None) -> None:
        self.folder, self.port = folder, free_port()
        self._backend = backend or f"sqlite:///{folder}/server.db"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--artifacts-destination", str(self.folder / "files"),
        ]  # fmt: skip
        environment = {
            **os.environ, "MLFLOW_BACKEND_STORE_URI": self._backend, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }  # fmt: skip
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        until(self._answers, "the tracking server answers")

    def kill(self) -> None:
        """End it and its workers at once, whatever they are doing."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=20)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "server.log").read_text()
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as reply:  # noqa: S310
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def until(holds: Any, what: str, seconds: float = _SECONDS) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A tracking server with SQLite behind it."""
    folder = tmp_path / "server"
    folder.mkdir()
    with running(Server(folder)) as started:
        yield started


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server, ended at the end."""
    try:
        yield server
    finally:
        server.kill()


class Seen:
    """What MLflow's own client sees in a store."""

    def __init__(self, uri: str) -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(tracking_uri=uri)

    def runs(self) -> list[Any]:
        """Every run of every experiment."""
        ids = [experiment.experiment_id for experiment in self.client.search_experiments()]
        return list(self.client.search_runs(ids, max_results=5000))

    def check_whole(self, *tracked: TrackedRun) -> None:
        """Every run is there once, finished, with all it has, and nothing else is."""
        wanted = {run.key: run for study in tracked for run in study.family()}
        found = self.runs()
        assert sorted(run.data.tags["barloom.key"] for run in found) == sorted(wanted)
        by_key = {run.data.tags["barloom.key"]: run for run in found}
        for key, run in wanted.items():
            there = by_key[key]
            assert there.info.status == run.status
            assert there.info.run_name == run.run_name
            assert there.data.params == run.params
            assert run.tags.items() <= there.data.tags.items()
            assert run.metrics.items() <= there.data.metrics.items()
        for study in tracked:
            self._check_study(study, by_key)

    def _check_study(self, study: TrackedRun, by_key: dict[str, Any]) -> None:
        parent = by_key[study.key]
        children = [by_key[child.key] for child in study.children]
        assert all(child.data.tags["mlflow.parentRunId"] == parent.info.run_id for child in children)
        for name, course in study.series.items():
            history = self.client.get_metric_history(parent.info.run_id, name)
            assert [(point.step, point.value) for point in history] == list(course)
        for run in [parent, *children[:3]]:
            for name in list(run.data.metrics)[:3]:
                steps = [(p.step, p.value) for p in self.client.get_metric_history(run.info.run_id, name)]
                assert len(steps) == len(set(steps)), f"{name} was written twice"
        inputs = parent.inputs.dataset_inputs
        assert [entry.dataset.name for entry in inputs] == [dataset.name for dataset in study.datasets]
        names = sorted(file.path for file in self.client.list_artifacts(parent.info.run_id))
        assert names == sorted(path.name for path in study.artifacts if path.exists())


PASSWORD = "kept-out-of-pages"  # noqa: S105 (of a server that lives as long as one test)


@contextmanager
def postgres(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """(address with password, process) of a PostgreSQL of our own; it refuses to run as root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("PostgreSQL is not installed on this machine")
    user = "postgres" if os.geteuid() == 0 else None
    data, password, port = folder / "database", folder / "password", free_port()
    folder.chmod(0o755)
    data.mkdir()
    password.write_text(PASSWORD, encoding="utf-8")
    if user:
        for path in (data, password):
            shutil.chown(path, user)
    initdb = ["initdb", "--username=lab", "--auth=scram-sha-256", f"--pwfile={password}", str(data)]
    subprocess.run(
        [programs[-1] / initdb[0], *initdb[1:]], user=user, cwd="/", check=True, capture_output=True, timeout=120
    )
    words = [str(programs[-1] / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", ""]
    with (folder / "postgres.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, user=user, cwd="/")
    try:
        until(lambda: _listens(port), "PostgreSQL listens")
        yield f"postgresql://lab:{PASSWORD}@127.0.0.1:{port}/postgres", process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def kit() -> Any:
    """The builders of this file."""
    from types import SimpleNamespace

    return SimpleNamespace(
        study=make_study,
        seen=Seen,
        server=Server,
        running=running,
        postgres=postgres,
        until=until,
        password=PASSWORD,
        free_port=free_port,
    )
