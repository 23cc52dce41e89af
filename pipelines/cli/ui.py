"""`barloom ui`: the Dagster web UI of this folder.

Belongs here: starting `dagster dev` with this project's workspace. Does not belong here: the graph.
"""

import os
import sys
from pathlib import Path

from pipelines.errors import SettingsError


def ui(*, host: str = "127.0.0.1", port: int = 3000) -> None:
    """Open the Dagster UI with the daemon; its history survives a restart. Ctrl-C stops both.

    Args:
        host: Address to listen on; the default is reachable from this machine only.
        port: Port to listen on.
    """
    workspace = Path("workspace.yaml")
    if not workspace.exists():
        raise SettingsError(f"workspace: there is no workspace.yaml in {Path.cwd()}; run this in a barloom folder.")
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
    sys.stdout.flush()
    # this process becomes Dagster's: what stops the one stops the other
    os.execve(sys.executable, command, {"DAGSTER_HOME": str(Path.cwd()), **os.environ})  # noqa: S606
