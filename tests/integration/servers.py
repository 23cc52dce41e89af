"""Servers that tests start for themselves.

Belongs here: a real PostgreSQL on a free port. Does not belong here: tests.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest


@dataclass
class Postgres:
    """A server of our own; `url` names its user and database."""

    programs: Path
    data: Path
    port: int
    user: str | None
    name: str
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"postgresql://{self.name}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        words = [self.programs / "postgres", "-D", self.data, "-p", str(self.port), "-h", "127.0.0.1", "-k", ""]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(words, user=self.user, cwd="/", stdout=quiet, stderr=quiet)
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            try:
                psycopg2.connect(self.url).close()
            except psycopg2.OperationalError:  # it does not listen yet, or recovers from a crash
                time.sleep(0.1)
            else:
                return
        raise AssertionError("PostgreSQL does not answer")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # does not wait for its clients
            self.process.wait(timeout=30)
            self.process = None


@contextmanager
def postgres(name: str) -> Iterator[Postgres]:
    """A running server with a user of that name; PostgreSQL refuses to run as root, so it then runs as its own user."""
    on_path = shutil.which("createdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or ([Path(on_path).resolve().parent] if on_path else [])
    if not found:
        pytest.skip("PostgreSQL is not installed on this machine")
    user = "postgres" if os.geteuid() == 0 and pwd.getpwnam("postgres") else None
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    data = folder / "database"
    data.mkdir()
    if user:
        shutil.chown(data, user)
    words = [found[-1] / "initdb", f"--username={name}", "--auth=trust", str(data)]
    subprocess.run(words, user=user, cwd="/", check=True, capture_output=True, timeout=120)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Postgres(found[-1], data, port, user, name)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
