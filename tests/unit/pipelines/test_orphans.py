import contextlib
import json
import os
import subprocess
import sys
from contextlib import contextmanager

import psutil

from pipelines.orphans import end_orphans

SLEEP = "import time; time.sleep(60)"
PARENT = "import json, os, subprocess; subprocess.run(json.loads(os.environ['CHILD']))"
DAEMON = ("dagster._daemon", "run", "--shutdown-pipe", "7")


@contextmanager
def process(folder, *words, parent=("some", "shell")):
    """A process with these words on its command line, started in the folder by one with the words of `parent`."""
    child = json.dumps([sys.executable, "-c", SLEEP, *words])
    began = subprocess.Popen([sys.executable, "-c", PARENT, *parent], cwd=folder, env={**os.environ, "CHILD": child})
    family = [psutil.Process(began.pid)]
    try:
        while not (children := family[0].children()):
            pass
        family += children
        yield children[0]
    finally:
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        began.wait(10)


def test_a_daemon_and_a_web_server_left_behind_are_ended(tmp_path):
    with process(tmp_path, *DAEMON) as daemon, process(tmp_path, "dagster_webserver", "--shutdown-pipe", "9") as web:
        assert sorted(end_orphans(tmp_path)) == [f"daemon {daemon.pid}", f"web server {web.pid}"]
        assert not daemon.is_running()
        assert not web.is_running()


def test_what_a_ui_runs_that_lives_stays(tmp_path):
    with process(tmp_path, *DAEMON, parent=("dagster", "dev")) as daemon:
        assert end_orphans(tmp_path) == []
        assert daemon.is_running()


def test_what_belongs_to_another_folder_stays(tmp_path):
    (tmp_path / "other").mkdir()
    with process(tmp_path / "other", *DAEMON):
        assert end_orphans(tmp_path) == []


def test_a_daemon_that_runs_as_a_service_stays(tmp_path):
    with process(tmp_path, "dagster._daemon", "run"):
        assert end_orphans(tmp_path) == []
