"""The steps that bring one run into a store, each of which may be repeated.

Belongs here: their order. Does not belong here: how a store does them (`server`, `database`), what happens when one
fails (`outbox`).

The run is looked for by its key before it is created, its figures are stamped with its start as the store has it, and
it gets its final status last: whatever was interrupted, doing all of it again completes the one run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from research.tracking.run import TrackedRun
from research.tracking.store import Store

MISSING_TAG = "barloom.missing_artifacts"


@dataclass(frozen=True, slots=True)
class SentRun:
    """Where a run is in a store; `children` are run ids by key, `store` is the address without its password."""

    key: str
    content: str
    store: str
    experiment_id: str
    run_id: str
    link: str
    children: Mapping[str, str] = field(default_factory=dict)


def send(run: TrackedRun, store: Store) -> tuple[str, str, Mapping[str, str]]:
    """Bring a run into a store, or complete it there.

    Returns:
        Experiment id, run id, and the children's run ids by key.

    Raises:
        StoreUnreachableError: the store went away; what is there so far can be completed.
        TrackingError: the store refuses something of the run.
    """
    experiment_id = store.experiment(run.experiment_name)
    found = store.find(experiment_id, run.key) or store.create(experiment_id, run)
    store.log(found, _honest(run))
    store.add_inputs(found, run.datasets)
    for path in run.artifacts:
        if path.exists():
            store.upload(found, path)
    children = store.add_children(experiment_id, found, run.children) if run.children else {}
    store.finish(found, run)
    return experiment_id, found.run_id, children


def _honest(run: TrackedRun) -> TrackedRun:
    """The run with a tag that names the files that were gone before they could be sent."""
    missing = [path.name for path in run.artifacts if not path.exists()]
    return replace(run, tags={**run.tags, MISSING_TAG: ", ".join(missing)}) if missing else run
