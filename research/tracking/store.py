"""What a tracking store can do for us.

Belongs here: the protocol, what is found in a store, opening the right kind. Does not belong here: the kinds
(`server`, `database`).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from research.tracking.errors import StoreUnreachableError
from research.tracking.place import TrackingPlace
from research.tracking.run import TrackedDataset, TrackedRun

MOST_AT_ONCE = {"metrics": 1000, "params": 100, "tags": 100}
"""What MLflow takes in one batch; a thousand things in all, so each kind goes on its own where it is large."""
LONGEST_DIGEST = 36
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow open an experiment at its table of runs, not at the pages for language models."""


@dataclass(frozen=True, slots=True)
class Found:
    """A run in a store. `started` (ms) stamps its figures, so that sending them twice leaves one of each."""

    run_id: str
    started: int
    artifact_uri: str
    finished: bool


class Store(Protocol):
    """One connection to a store, for one thread. Every method raises TrackingError or StoreUnreachableError."""

    def experiment(self, name: str) -> str:
        """Id of the experiment, made where it is not there."""

    def find(self, experiment_id: str, key: str) -> Found | None:
        """The run with a key."""

    def create(self, experiment_id: str, run: TrackedRun) -> Found:
        """A new run that carries its key from its first moment."""

    def log(self, found: Found, run: TrackedRun) -> None:
        """Its parameters, figures and tags."""

    def add_inputs(self, found: Found, datasets: Sequence[TrackedDataset]) -> None:
        """The data it read."""

    def upload(self, found: Found, path: Path) -> None:
        """One file."""

    def add_children(self, experiment_id: str, parent: Found, runs: Sequence[TrackedRun]) -> Mapping[str, str]:
        """Run ids by key; children that are there are completed, not repeated."""

    def finish(self, found: Found, run: TrackedRun) -> None:
        """Give it its status; the last step, so that a finished run is a whole one."""

    def close(self) -> None:
        """Let go of connections."""


class Deadline:
    """How long a caller waits for a store in all; None waits as long as each single answer may take."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self, at_most: float) -> float:
        """Seconds for the next step.

        Raises:
            StoreUnreachableError: there are none left.
        """
        if self._end is None:
            return at_most
        left = self._end - time.monotonic()
        if left <= 0:
            raise StoreUnreachableError("tracking store: it does not answer in time.")
        return min(left, at_most)


def open_store(place: TrackingPlace, *, patience: float | None = None) -> Store:
    """A connection to the store of a place.

    Args:
        place: which store.
        patience: seconds for all that is done with it; None sets no end to the whole, only to each step.

    Raises:
        StoreUnreachableError: nothing answers there.
    """
    # the embedded store is a file of this machine: there is nobody to wait for but MLflow's own start
    deadline = Deadline(None if place.kind == "embedded" else patience)
    if place.kind == "server":
        from research.tracking.server import ServerStore

        return ServerStore(place, deadline)
    from research.tracking.database import DatabaseStore

    return DatabaseStore(place, deadline)
