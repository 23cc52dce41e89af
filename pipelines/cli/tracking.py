"""`barloom mlflow` and `barloom mlflow sync`, and what other commands say of tracking.

Belongs here: MLflow from the terminal. Does not belong here: what is tracked (see `research.tracking`).
"""

import os
import sys
from typing import TYPE_CHECKING

from cyclopts import App

from pipelines.cli.tables import print_rows, say
from pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from pipelines.runs import RunOutcome


mlflow = App(name="mlflow")


@mlflow.default
def ui(*, port: int = 5000) -> None:
    """Open the MLflow UI of this folder, or say where the configured server shows its own. Ctrl-C stops it.

    Args:
        port: Port of the UI; it can be reached from this machine only.
    """
    from pipelines.tracking import tracking_store
    from research.tracking import open_store, ui_command

    place = tracking_store()
    if place.kind == "server":
        open_store(place).close()  # an address where nothing answers is told, not shown
        say(f"MLflow: {place.shown}")
        return
    words, environment = ui_command(place, port)
    open_store(place).close()  # makes the embedded one
    say(f"MLflow: http://127.0.0.1:{port}")
    sys.stdout.flush()
    # this process becomes MLflow's: what stops the one stops the other
    os.execve(words[0], words, {**os.environ, **environment})  # noqa: S606


@mlflow.command
def sync() -> int:
    """Send what waits in the outbox, each run once; exit code 1 when something is left."""
    from pipelines.tracking import tracking_store
    from research.tracking import Outbox
    from research.tracking import sync as send_pending

    settings = load_settings()
    place = tracking_store(settings)
    report = send_pending(Outbox(settings.results_dir), place)
    if report.sent:
        print_rows(["sent", "MLflow run"], [(sent.key, sent.link) for sent in report.sent])
    for key, reason in report.refused.items():
        sys.stderr.write(f"{key}: {reason}\n")
    if report.unreachable:
        sys.stderr.write(f"{report.unreachable}\n")
    say(f"{len(report.sent)} sent, {len(report.left)} left")
    return int(not report.complete)


def check_store(settings: Settings) -> None:
    """Refuse an address that is none before any work is done for it; one that is down is not refused."""
    from pipelines.tracking import tracking_store

    tracking_store(settings)


def print_tracking(outcome: "RunOutcome") -> None:
    """One line for each backtest that was to be tracked: where it is, or why it waits."""
    from pipelines.tracking import RUN_FACT, WAITS_FACT

    for step in outcome.progress:
        if RUN_FACT in step.facts:
            say(f"MLflow: {step.facts[RUN_FACT]}")
        if WAITS_FACT in step.facts:
            say(f"MLflow: {step.facts[WAITS_FACT]}")
