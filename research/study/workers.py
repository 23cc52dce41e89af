"""What runs trials: this process, processes of this machine, or a cluster.

Belongs here: starting and ending workers, getting work to them, replacing those that are lost. Does not belong here:
what a trial is (see `evaluate`), which are run (see `sampling`).
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from research.engine import PreparedRun, limits_of, strategy_of
from research.errors import StudyError
from research.experiment import Experiment
from research.study.bars_file import Parcel
from research.study.evaluate import Bounds, Evaluator
from research.study.outcome import StudyTrial
from research.study.specification import StudySpecification
from warehouse.calendar import get_calendar

_ONE_AT_A_TIME = threading.Lock()
"""Runs share random seeds and working memory of their process: threads of one worker take turns."""

Points = Sequence[tuple[int, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker must know of a search; equal when the key is, which names everything in it."""

    key: str
    experiment: Experiment = field(compare=False)
    specification: StudySpecification = field(compare=False)


class Workers(Protocol):
    """What runs parts of a batch side by side."""

    count: int
    replaceable: bool  # whether lost workers can be replaced, and slow ones ended

    def submit(self, job: Job, points: Points, bounds: Bounds) -> "Future[list[StudyTrial]]":
        """Start on some points."""

    def replace(self) -> None:
        """End every worker and take new ones."""

    def abandon(self) -> None:
        """Leave what is being run undone."""


class GivenWorkers:
    """An executor that somebody else starts and ends."""

    replaceable = False

    def __init__(self, executor: Executor, count: int, parcel: Parcel) -> None:
        self.count = count
        self._executor, self._parcel = executor, parcel

    def submit(self, job: Job, points: Points, bounds: Bounds) -> "Future[list[StudyTrial]]":
        """Start on some points."""
        return self._executor.submit(run_points, job, self._parcel, points, bounds)

    def replace(self) -> None:
        """Not these."""
        raise StudyError("workers: one ended before its trials were done; was it killed or short of memory?")

    def abandon(self) -> None:
        """What runs, runs on for nothing; the executor is another's."""


class PoolWorkers:
    """Processes of this machine; new ones in place of a pool that broke."""

    replaceable = True

    def __init__(self, count: int, parcel: Parcel) -> None:
        self.count = count
        self._parcel = parcel
        self._pool = _new_pool(count)

    def submit(self, job: Job, points: Points, bounds: Bounds) -> "Future[list[StudyTrial]]":
        """Start on some points."""
        return self._pool.submit(run_points, job, self._parcel, points, bounds)

    def replace(self) -> None:
        """End every process and start others."""
        self.end(at_once=True)
        self._pool = _new_pool(self.count)

    def abandon(self) -> None:
        """End the processes at once."""
        self.end(at_once=True)

    def end(self, *, at_once: bool) -> None:
        """End the processes."""
        if at_once:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def pool_workers(count: int, parcel: Parcel) -> Iterator[PoolWorkers]:
    """Processes that are gone afterwards; at once when the block is left by an exception."""
    workers = PoolWorkers(count, parcel)
    try:
        yield workers
    except BaseException:
        workers.end(at_once=True)
        raise
    workers.end(at_once=False)


@contextmanager
def cluster_workers(address: str, parcel: Parcel) -> Iterator[Workers]:
    """The workers of the scheduler at an address such as `tcp://host:8786`.

    Raises:
        StudyError: there is no scheduler, or it has no worker.
    """
    try:
        from research.study import cluster  # noqa: PLC0415 (an optional package, and a slow one)
    except ImportError:
        raise StudyError(f"cluster: {address} needs the package distributed.") from None
    with cluster.workers_at(address, parcel) as workers:
        yield workers


def given_workers(executor: Executor, count: int, parcel: Parcel) -> Workers:
    """An executor that somebody else has started; one of Dask's gets the bars as bytes."""
    client = getattr(executor, "_client", None)
    if client is not None and type(executor).__module__.startswith("distributed"):
        from research.study.cluster import ClusterWorkers  # noqa: PLC0415 (see `cluster_workers`)

        return ClusterWorkers(client, parcel)
    return GivenWorkers(executor, count, parcel)


def run_points(job: Job, parcel: Parcel, points: Points, bounds: Bounds) -> list[StudyTrial]:
    """A worker's work: some points, one after the other."""
    with _ONE_AT_A_TIME:
        evaluator = _evaluator(job, parcel)
        return [evaluator.trial(number, point, bounds) for number, point in points]


@lru_cache(maxsize=2)
def _evaluator(job: Job, parcel: Parcel) -> Evaluator:
    """What does not depend on the point; made once a worker."""
    strategy, params = strategy_of(job.experiment)
    prepared = PreparedRun(
        experiment=job.experiment,
        strategy=strategy,
        params=params,
        limits=limits_of(job.experiment, strategy, params),
        costs=job.experiment.costs.build(),
        calendar=get_calendar(job.experiment.calendar),
        bars=parcel.open(),
    )
    return Evaluator(prepared, job.specification)


@contextmanager
def local_workers(count: int) -> Iterator[Executor]:
    """An executor of `count` processes, which are gone afterwards; at once when the block is left by an exception."""
    others = set(multiprocessing.active_children())
    pool = _new_pool(count)
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _new_pool(count: int) -> ProcessPoolExecutor:
    """New processes, not forks: a fork inherits locks that threads of Arrow or DuckDB hold.

    A Ctrl-C at the terminal reaches every process; workers leave it to the one that started them.
    """
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker)
    with _interrupts_ignored():
        for _ in range(count):  # each starts a process, since none is idle yet
            pool.submit(int)
    return pool


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's process waits for work for ever when the one that gave it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started in here ignore a Ctrl-C before they have run any code of ours."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
