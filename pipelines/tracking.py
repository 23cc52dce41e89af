"""Backtests into MLflow, with what the settings say.

Belongs here: which store a project folder uses, tracking a result, what is shown of it. Does not belong here: what is
tracked and how it is sent (`research.tracking`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from research.result import BacktestResult
    from research.tracking import Tracked, TrackingPlace

RUN_FACT, WAITS_FACT = "mlflow_run", "mlflow_waits"
_DAGSTER_UI = "http://127.0.0.1:3000"


def tracking_store(settings: Settings | None = None, results_dir: Path | None = None) -> "TrackingPlace":
    """The store of this folder.

    Raises:
        TrackingError: `BARLOOM_MLFLOW_URI` is not the address of one.
    """
    from research.tracking import tracking_place

    found = settings or load_settings()
    return tracking_place(results_dir or found.results_dir, found.mlflow_uri)


def track_backtest(
    result: "BacktestResult", results_dir: Path, place: "TrackingPlace", *, dagster_run_id: str
) -> "Tracked":
    """Keep a saved result in the outbox and send it; a store that is down or slow costs seconds and loses nothing."""
    from research.tracking import Outbox, track, tracked_backtest

    url = f"{_DAGSTER_UI}/runs/{dagster_run_id}"
    run = tracked_backtest(result, results_dir, dagster_run_id=dagster_run_id, dagster_run_url=url)
    return track(run, Outbox(results_dir), place)


def tracking_facts(tracked: "Tracked") -> dict[str, Any]:
    """Metadata of an asset: the link to the MLflow run, or why there is none yet."""
    import dagster as dg

    if tracked.sent is not None:
        return {RUN_FACT: dg.MetadataValue.url(tracked.sent.link)}
    return {WAITS_FACT: f"waits in the outbox, `barloom mlflow sync` sends it ({str(tracked.waits).rstrip('.')})."}
