"""What tracking adds to a study, a trial: embedded store and tracking server, the usual children and all of them.

Belongs here: writing to the outbox and sending, after MLflow is loaded and the store's tables are made. Does not belong
here: running trials.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from research.tracking import (
    Children,
    Outbox,
    StoreUnreachableError,
    TrackedRun,
    TrackingPlace,
    open_store,
    track,
    tracked_study,
    tracking_place,
)

ROUNDS = 3
TARGET = 5.0
ALL = Children(all=True)
_STARTED = datetime(2024, 1, 2, tzinfo=UTC)


def measure() -> Iterator[tuple[str, list[float], float]]:
    """Milliseconds a trial."""
    with TemporaryDirectory() as folder:
        place = tracking_place(Path(folder))
        yield "tracking a trial, ms", _each(place, Path(folder), 100, Children()), TARGET
        yield "tracking a trial, every trial a run, ms", _each(place, Path(folder), 500, ALL), TARGET
    with TemporaryDirectory() as folder, _server(Path(folder)) as place:
        yield "tracking a trial, server, 100 trials, ms", _each(place, Path(folder), 100, Children()), TARGET
        yield "tracking a trial, server, 1,000 trials, ms", _each(place, Path(folder), 1000, Children()), TARGET
        yield "tracking a trial, server, every trial a run, ms", _each(place, Path(folder), 100, ALL), TARGET


def _each(place: TrackingPlace, results: Path, trials: int, children: Children) -> list[float]:
    outbox = Outbox(results)
    track(_study(2, ALL, "warm-up"), outbox, place, patience=300)
    measured = []
    for at in range(ROUNDS):
        start = time.perf_counter()
        tracked = track(_study(trials, children, f"{trials}-{children.all}-{at}"), outbox, place, patience=300)
        measured.append((time.perf_counter() - start) / trials * 1000)
        if tracked.waits:
            raise RuntimeError(tracked.waits)
    return measured


def _study(trials: int, children: Children, identity: str) -> TrackedRun:
    """Four parameters and thirty figures a trial, as a backtest has them."""
    rows = [
        {
            "number": number,
            "params": {f"parameter_{at}": number * at for at in range(4)},
            "metrics": {f"figure_{at}": number / (at + 1) for at in range(30)},
            "value": float(number),
            "state": "COMPLETE",
            "seconds": 0.1,
        }
        for number in range(trials)
    ]
    return tracked_study(
        name="bench",
        specification={"strategy": "strategies.sma_crossover.SMACrossover", "symbols": ["A"], "resolution": "1d"},
        trials=rows,
        best=list(range(trials))[::-1],
        started=_STARTED,
        ended=_STARTED + timedelta(minutes=5),
        children=children,
        identity=identity,
    )


@contextmanager
def _server(folder: Path) -> Iterator[TrackingPlace]:
    """`mlflow server` with SQLite behind it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "files"),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        place = tracking_place(folder, f"http://127.0.0.1:{port}")
        _wait_for(place)
        yield place
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _wait_for(place: TrackingPlace) -> None:
    for _ in range(300):
        try:
            open_store(place).close()
        except StoreUnreachableError:
            time.sleep(0.5)
        else:
            return
    raise RuntimeError("the tracking server did not start")
