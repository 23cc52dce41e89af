"""One history for a folder: whoever runs something, from a shell, a program or the UI, it is there after a restart."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager

from pipelines.keys import SYMBOL_ASSETS
from pipelines.runs import materialize_symbols, open_instance

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]
DAGSTER = Path(sys.executable).with_name("dagster")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project folder as a user has it, and this process standing in it."""
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "experiments", tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return tmp_path


def dagster(folder, *arguments):
    """Output of one `dagster` command in the folder, with no variable of ours or Dagster's set."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER", "BARLOOM"))}
    command = [DAGSTER, *arguments]
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def statuses(folder):
    with open_instance(folder) as instance:
        return [run.status.value for run in instance.get_runs()]


def test_the_history_is_there_for_the_next_process(folder):
    with open_instance(folder) as instance:
        outcome = materialize_symbols(instance, SYMBOL_ASSETS, ["FB"])
    assert outcome.success
    program = (
        "from pipelines.runs import open_instance\n"
        "with open_instance() as instance: print([run.run_id for run in instance.get_runs()])"
    )
    command = [sys.executable, "-c", program]
    seen = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == str(list(outcome.run_ids))
    assert not list(folder.glob(".tmp_dagster_home*"))


def test_the_log_of_a_run_is_kept_with_it(folder):
    with open_instance(folder) as instance:
        failed = materialize_symbols(instance, SYMBOL_ASSETS, ["FB", "NOPE"])
    with open_instance(folder) as instance:
        lines = [entry.user_message for entry in instance.all_logs(failed.run_ids[0])]
    assert any("'NOPE' is not in the sample data" in line for line in lines)


def test_dagsters_own_commands_work_in_the_folder_and_share_its_history(folder):
    code, output = dagster(folder, "definitions", "validate", "-w", "workspace.yaml")
    assert code == 0, output
    with open_instance(folder) as instance:
        assert materialize_symbols(instance, SYMBOL_ASSETS, ["AAPL", "FB"]).success
    selection = ("asset", "materialize", "-m", "pipelines.definitions", "--select", "clean_bars")
    code, output = dagster(folder, *selection, "--partition", "AAPL")
    assert code == 0, output
    code, output = dagster(folder, *selection, "--partition-range", "AAPL...FB")
    assert code == 0, output
    assert statuses(folder) == ["SUCCESS", "SUCCESS", "SUCCESS"]


def test_the_instance_is_the_folders_wherever_the_process_stands(folder, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with open_instance(folder) as instance:
        instance.add_dynamic_partitions("symbols", ["HERE"])
    assert (folder / ".dagster" / "storage").is_dir()
    assert list(Path.cwd().iterdir()) == []


def test_a_folder_without_a_dagster_yaml_has_a_history_too(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for _ in range(2):
        with open_instance(tmp_path) as instance:
            instance.add_dynamic_partitions("symbols", [f"S{len(instance.get_dynamic_partitions('symbols'))}"])
            assert not instance.telemetry_enabled
    with open_instance(tmp_path) as instance:
        assert list(instance.get_dynamic_partitions("symbols")) == ["S0", "S1"]


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_dagster_home_wins_as_it_does_for_dagster(folder, tmp_path_factory, monkeypatch, where):
    home = tmp_path_factory.mktemp("home")
    if where == "environment":
        monkeypatch.setenv("DAGSTER_HOME", str(home))
    else:
        (folder / ".env").write_text(f"DAGSTER_HOME={home}\n")
    with open_instance(folder) as instance:
        instance.add_dynamic_partitions("symbols", ["HOME"])
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert list(instance.get_dynamic_partitions("symbols")) == ["HOME"]


def test_the_terminal_belongs_to_the_command_line(folder):
    with open_instance(folder) as instance:
        assert isinstance(instance.compute_log_manager, NoOpComputeLogManager)


def test_the_settings_of_dagster_yaml_are_in_force(folder):
    with open_instance(folder) as instance:
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] == 60
        assert instance.run_retries_max_retries == 0
        assert not instance.run_retries_retry_on_asset_or_op_failure
        concurrency = instance.get_concurrency_config()
        assert concurrency.run_queue_config.max_concurrent_runs == 50
        assert concurrency.pool_config.default_pool_limit == 2


@contextmanager
def user_interface(folder):
    """`dagster dev` in the folder, answering on the port that is yielded; ended as a person ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER", "BARLOOM"))}
    log = (folder / "dev.log").open("a")
    process = subprocess.Popen(
        [DAGSTER, "dev", "-h", "127.0.0.1", "-p", str(port)], cwd=folder, env=clean, stdout=log, stderr=log
    )
    try:
        _wait(lambda: ask(port, "{version}"), folder)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        log.close()


def ask(port, query):
    """Answer of the UI's own interface; None while it does not answer."""
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own process
            return json.load(answer)["data"]
    except OSError:
        return None


def _wait(condition, folder, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.5)
    raise AssertionError((folder / "dev.log").read_text()[-3000:])


RUNS = "{runsOrError {... on Runs {results {runId status}}}}"


def test_the_ui_shows_what_the_command_line_did_and_what_the_ui_does_outlives_it(folder):
    with open_instance(folder) as instance:
        first = materialize_symbols(instance, SYMBOL_ASSETS, ["FB"])

    def symbols():
        with open_instance(folder) as instance:
            return len(instance.get_dynamic_partitions("symbols")) == 5

    with user_interface(folder) as port:
        shown = ask(port, RUNS)["runsOrError"]["results"]
        assert [run["runId"] for run in shown] == list(first.run_ids)
        _wait(symbols, folder)  # the daemon's universe sensor wrote into the history that we read
    with open_instance(folder) as instance:
        second = materialize_symbols(instance, SYMBOL_ASSETS, ["AAPL"])
        kept = {run.run_id: run.status.value for run in instance.get_runs()}
    assert kept == dict.fromkeys([*first.run_ids, *second.run_ids], "SUCCESS")
    assert not list(folder.glob(".tmp_dagster_home*"))
