"""The workers of a Dask cluster.

Belongs here: everything that knows Dask: a scheduler's workers, how the bars get to them. Does not belong here: what a
worker does with a point (see `workers`). Imported only where a cluster is named; `distributed` is an optional package.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import distributed

from research.errors import StudyError
from research.study.bars_file import Parcel
from research.study.evaluate import Bounds
from research.study.outcome import StudyTrial
from research.study.workers import Job, Points, run_points

_CONNECT_SECONDS = 30


class BarsPlugin(distributed.WorkerPlugin):
    """Keeps the bars of a search on every worker, once; the scheduler gives it to workers that come later as well.

    Data that is only scattered is gone with the worker that held it, and so is everything that depends on it.
    """

    def __init__(self, parcel: Parcel) -> None:
        self.parcel = parcel
        self.name = plugin_name(parcel.digest)


class ClusterWorkers:
    """The workers of a Dask scheduler, which replaces lost ones by itself."""

    replaceable = False

    def __init__(self, client: Any, parcel: Parcel) -> None:  # noqa: ANN401 (Dask has no types)
        self.count = max(1, sum(client.nthreads().values()))
        self._executor = client.get_executor(pure=False, retries=2)
        self._digest = parcel.digest
        client.register_plugin(BarsPlugin(parcel.with_content()))

    def submit(self, job: Job, points: Points, bounds: Bounds) -> "Future[list[StudyTrial]]":
        """Start on some points."""
        future: Future[list[StudyTrial]] = self._executor.submit(run_points_there, job, self._digest, points, bounds)
        return future

    def replace(self) -> None:
        """Dask has tried other workers already."""
        raise StudyError("cluster: the workers that took a trial were lost; are they short of memory?")

    def abandon(self) -> None:
        """What runs, runs on for nothing; what waits is cancelled with its future."""


@contextmanager
def workers_at(address: str, parcel: Parcel) -> Iterator[ClusterWorkers]:
    """The workers of the scheduler at an address; the bars are taken off them afterwards.

    Raises:
        StudyError: there is no scheduler, or it has no worker.
    """
    try:
        client: Any = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise StudyError(f"cluster: there is no scheduler at {address!r} ({error}).") from None
    with client:
        if not client.nthreads():
            raise StudyError(f"cluster: the scheduler at {address} has no worker.")
        try:
            yield ClusterWorkers(client, parcel)
        finally:
            client.unregister_worker_plugin(plugin_name(parcel.digest))


def plugin_name(digest: str) -> str:
    """The name under which a worker knows the bars of a digest."""
    return f"barloom-bars-{digest}"


def run_points_there(job: Job, digest: str, points: Points, bounds: Bounds) -> list[StudyTrial]:
    """`run_points` with the bars that the worker keeps."""
    plugin: Any = distributed.get_worker().plugins[plugin_name(digest)]
    return run_points(job, plugin.parcel, points, bounds)
