"""Backtests and studies into MLflow, with what the settings say.

Belongs here: which store a project folder uses, tracking a result, what is shown of it. Does not belong here: what is
tracked and how it is sent (`research.tracking`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from research.result import BacktestResult
    from research.study import StudyRecord
    from research.tracking import Tracked, TrackingPlace

RUN_FACT, WAITS_FACT = "mlflow_run", "mlflow_waits"
PATIENCE_WITH_A_STUDY = 10.0
"""Seconds for a study with few children; each ten more may take as long again."""

_DAGSTER_UI = "http://127.0.0.1:3000"


def tracking_store(settings: Settings | None = None, results_dir: Path | None = None) -> "TrackingPlace":
    """The store of this folder.

    Raises:
        TrackingError: `BARLOOM_MLFLOW_URI` is not the address of one.
    """
    from research.tracking import tracking_place

    found = settings or load_settings()
    return tracking_place(results_dir or found.results_dir, found.mlflow_uri)


def backtest_tracker(results_dir: Path, dagster_run_id: str) -> "BacktestTracker":
    """What tracks the backtests of one run of the graph.

    Raises:
        TrackingError: `BARLOOM_MLFLOW_URI` is not the address of a store.
    """
    return BacktestTracker(results_dir, tracking_store(results_dir=results_dir), dagster_run_id)


class BacktestTracker:
    """Tracks the backtests of one run of the graph; a store that failed one of them is not waited for again."""

    def __init__(self, results_dir: Path, place: "TrackingPlace", dagster_run_id: str) -> None:
        self._results, self._place, self._dagster_run_id = results_dir, place, dagster_run_id
        self._away: str | None = None

    def facts(self, result: "BacktestResult") -> dict[str, Any]:
        """Track a saved result; what its asset shows of that."""
        return tracking_facts(self._track(result))

    def _track(self, result: "BacktestResult") -> "Tracked":
        from research.tracking import Outbox, Tracked, track, tracked_backtest

        run = tracked_backtest(result, self._results, **_dagster_run(self._dagster_run_id))
        outbox = Outbox(self._results)
        if self._away is None:
            tracked = track(run, outbox, self._place)
            self._away = tracked.waits if tracked.unreachable else None
            return tracked
        outbox.put(run)
        return Tracked(run.key, waits=self._away, unreachable=True)


def track_study(
    record: "StudyRecord", results_dir: Path, data_versions: Mapping[str, str], *, every: bool, dagster_run_id: str
) -> "Tracked":
    """Track a kept study, its best trials and a sample of the others, or every trial, as runs below it."""
    from research.tracking import Children, Outbox, track, tracked_study_record

    run = tracked_study_record(record, data_versions, children=Children(all=every), **_dagster_run(dagster_run_id))
    # every trial takes a server three requests, and whoever asks for that wants it done
    patience = PATIENCE_WITH_A_STUDY * (1 + len(run.children) / 10)
    return track(run, Outbox(results_dir), tracking_store(results_dir=results_dir), patience=patience)


def tracking_facts(tracked: "Tracked") -> dict[str, Any]:
    """Metadata of an asset: the link to the MLflow run, or why there is none yet."""
    import dagster as dg

    if tracked.sent is not None:
        return {RUN_FACT: dg.MetadataValue.url(tracked.sent.link)}
    reason = str(tracked.waits).rstrip(".")
    return {WAITS_FACT: f"waits in the outbox, `barloom mlflow sync` sends it ({reason})."}


class _DagsterRun(TypedDict):
    dagster_run_id: str | None
    dagster_run_url: str | None


def _dagster_run(run_id: str) -> _DagsterRun:
    return {"dagster_run_id": run_id or None, "dagster_run_url": f"{_DAGSTER_UI}/runs/{run_id}" if run_id else None}
