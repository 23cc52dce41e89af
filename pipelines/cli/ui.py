"""`barloom ui`: the Dagster web UI of this folder.

Belongs here: starting `dagster dev` with this project's workspace. Does not belong here: the graph.
"""

import os
import socket
import sys
from pathlib import Path

from pipelines.errors import SettingsError
from pipelines.orphans import end_orphans


def ui(*, host: str = "127.0.0.1", port: int = 3000) -> None:
    """Open the Dagster UI with the daemon; its history survives a restart. Ctrl-C stops both.

    Args:
        host: Address to listen on; the default is reachable from this machine only.
        port: Port to listen on.
    """
    workspace = Path("workspace.yaml")
    if not workspace.exists():
        raise SettingsError(f"workspace: there is no workspace.yaml in {Path.cwd()}; run this in a barloom folder.")
    for orphan in end_orphans(Path.cwd()):
        sys.stderr.write(f"Ended the {orphan}, left behind by a UI that was killed.\n")
    _refuse_taken(host, port)
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
    sys.stdout.flush()
    # this process becomes Dagster's: what stops the one stops the other
    os.execve(sys.executable, command, {"DAGSTER_HOME": str(Path.cwd()), **os.environ})  # noqa: S606


def _refuse_taken(host: str, port: int) -> None:
    """Say at once what Dagster would find out half a minute later, with the daemon of another one already at work."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return
    except OSError as error:
        known = error.errno is not None and error.errno > 0  # a name that is not known has a number of its own
        reason = os.strerror(error.errno or 0) if known else error.strerror
        raise SettingsError(
            f"port: {host}:{port} cannot be listened on ({reason}); is there another `barloom ui`?"
        ) from None
