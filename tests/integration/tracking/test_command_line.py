"""`barloom backtest --mlflow`, `barloom mlflow` and `barloom mlflow sync` as a user types them."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from research.tracking import Outbox

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


def command(*words):
    return [sys.executable, "-m", "pipelines.cli", *words]


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


@contextmanager
def ui(folder, port, **more):
    with (folder / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            command("mlflow", "--port", str(port)), cwd=folder, env=environment(**more), stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def ask(port, path, host=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=20) as reply:  # noqa: S310
        return reply.read()


def answers(port):
    try:
        return bool(ask(port, "/health"))
    except OSError:
        return False


def test_the_ui_of_a_folder_shows_what_a_sync_has_sent_and_to_this_machine_only(tmp_path, kit):
    study = kit.study(3)
    Outbox(tmp_path / "results").put(study)
    done = subprocess.run(
        command("mlflow", "sync"), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert (done.returncode, "1 sent, 0 left" in done.stdout) == (0, True), done.stderr
    port = kit.free_port()
    with ui(tmp_path, port) as process:
        kit.until(lambda: answers(port) or process.poll() is not None, "the UI answers")
        found = json.loads(
            ask(port, f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={study.experiment_name}")
        )
        assert found["experiment"]["name"] == study.experiment_name
        assert b"<title>MLflow</title>" in ask(port, "/")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(port, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=x", host="elsewhere.example")
    kit.until(lambda: not answers(port), "nothing is left behind", 20)
    assert f"MLflow: http://127.0.0.1:{port}" in (tmp_path / "ui.log").read_text()


def test_a_folder_with_a_server_is_told_its_address(server, tmp_path):
    done = subprocess.run(
        command("mlflow"), cwd=tmp_path, env=environment(BARLOOM_MLFLOW_URI=server.uri), capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout == f"MLflow: {server.uri}\n"
