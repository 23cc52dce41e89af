"""What is tracked: one run with its figures, and how it is kept as JSON.

Belongs here: the shape of a tracked run, reading and writing it. Does not belong here: how backtests and studies
become one (`backtests`, `studies`), where it goes (`outbox`, `sending`).

A run is named by its `key`: the same work has the same key, and a store never holds a key twice in one experiment.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from research.tracking.errors import TrackingError

KEY_TAG = "barloom.key"
RUN_TAG = "dagster_run_id"
NOTE_TAG = "mlflow.note.content"
PARENT_TAG = "mlflow.parentRunId"

STATUSES = ("FINISHED", "FAILED", "KILLED")

_CIRCUMSTANCES = ("started", "ended")
_CIRCUMSTANCE_TAGS = (RUN_TAG, NOTE_TAG)


@dataclass(frozen=True, slots=True)
class TrackedDataset:
    """Data that a run read; `digest` is its content hash, `columns` its names and types where known."""

    name: str
    digest: str
    source: str
    rows: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """One run of a tracking store, whole.

    Attributes:
        key: names the work; only letters, digits, `-`, `_` and `.`, for it is a file name too.
        metrics: final figures.
        step: how far the work had come with these figures; a study that goes on has newer ones at a later step.
        series: figures that have a course: name -> (step, value) in the order of steps.
        artifacts: files to keep with the run; one that is gone when the run is sent is named in a tag.
        children: runs below this one; they have no children of their own.
    """

    key: str
    experiment_name: str
    run_name: str
    started: datetime
    ended: datetime
    status: str = "FINISHED"
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    step: int = 0
    series: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: tuple[Path, ...] = ()
    datasets: tuple[TrackedDataset, ...] = ()
    children: tuple["TrackedRun", ...] = ()

    def __post_init__(self) -> None:
        if not _fits_a_file(self.key):
            raise TrackingError(f"key: {self.key!r} must be 1 to 120 letters, digits, dots, - or _.")
        if self.status not in STATUSES:
            raise TrackingError(f"status: {self.status!r} is not one of {', '.join(STATUSES)}.")
        if any(child.children for child in self.children):
            raise TrackingError(f"children: one of {self.key} has children of its own.")

    @property
    def content(self) -> str:
        """Hash of what the run says, whenever and by whichever Dagster run it was computed."""
        text = json.dumps(_without_circumstances(run_to_json(self)), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def family(self) -> Iterator["TrackedRun"]:
        """The run, then its children."""
        yield self
        yield from self.children


def milliseconds(moment: datetime) -> int:
    """A moment as MLflow keeps it."""
    return round(moment.timestamp() * 1000)


def run_to_json(run: TrackedRun) -> dict[str, Any]:
    """Plain JSON types, artifacts as absolute paths: a later sync may be started anywhere."""
    return {
        **asdict(run),
        "started": run.started.isoformat(),
        "ended": run.ended.isoformat(),
        "artifacts": [str(path.resolve()) for path in run.artifacts],
        "children": [run_to_json(child) for child in run.children],
    }


def run_from_json(document: Mapping[str, Any]) -> TrackedRun:
    """The run that `run_to_json` wrote.

    Raises:
        TrackingError: it is something else.
    """
    try:
        return TrackedRun(
            **{
                **document,
                "started": datetime.fromisoformat(document["started"]).astimezone(UTC),
                "ended": datetime.fromisoformat(document["ended"]).astimezone(UTC),
                "series": {name: tuple((at, value) for at, value in row) for name, row in document["series"].items()},
                "artifacts": tuple(Path(path) for path in document["artifacts"]),
                "datasets": tuple(TrackedDataset(**dataset) for dataset in document["datasets"]),
                "children": tuple(run_from_json(child) for child in document["children"]),
            }
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrackingError(f"tracked run: the file does not hold one ({error}).") from None


def _without_circumstances(document: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in document.items() if name not in _CIRCUMSTANCES}
    kept["tags"] = {name: tag for name, tag in document["tags"].items() if name not in _CIRCUMSTANCE_TAGS}
    kept["children"] = [_without_circumstances(child) for child in document["children"]]
    return kept


def _fits_a_file(key: str) -> bool:
    return 0 < len(key) <= 120 and key[0].isalnum() and all(c.isascii() and (c.isalnum() or c in "-_.") for c in key)
