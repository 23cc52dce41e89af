"""The command line of MLflow's UI for a store without a server.

Belongs here: the words of the command. Does not belong here: starting it (`pipelines.cli.tracking`).
"""

import sys

from research.tracking.errors import TrackingError
from research.tracking.place import TrackingPlace

PORT = 5000
_LOOPBACK = "127.0.0.1"
BACKEND_VARIABLE = "MLFLOW_BACKEND_STORE_URI"


def ui_command(place: TrackingPlace, port: int = PORT) -> tuple[list[str], dict[str, str]]:
    """Words that start the UI, and environment variables to add; it can be reached from this machine only.

    The store's address goes by the environment: a command line, with the password in it, is for everybody to read.

    Raises:
        TrackingError: the store is a server, which has a UI of its own, or the port is none.
    """
    if place.kind == "server":
        raise TrackingError(f"tracking store: {place.shown} is a server and shows its own pages.")
    if not 0 < port < 65536:
        raise TrackingError(f"port: {port} must be between 1 and 65535.")
    words = [
        sys.executable, "-m", "mlflow", "server",
        "--host", _LOOPBACK, "--port", str(port), "--workers", "1",
        # a page of another origin may neither ask this server nor reach it under a name of its own
        "--allowed-hosts", f"{_LOOPBACK}:{port},localhost:{port}",
        "--cors-allowed-origins", f"http://{_LOOPBACK}:{port},http://localhost:{port}",
        "--default-artifact-root", str(place.artifacts), "--artifacts-destination", str(place.artifacts),
    ]  # fmt: skip
    return words, {BACKEND_VARIABLE: place.uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
