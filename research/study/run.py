"""A study that is kept: it writes down each finished trial, stops cleanly and goes on under its name.

Belongs here: what surrounds a search: hold-out, storage, resuming, the page and tables. Does not belong here: the
search itself (see `search`).
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from research.engine import PreparedRun, prepare_run
from research.engine.kernel.figures import FIGURES
from research.errors import StudyError
from research.experiment import Experiment
from research.fingerprint import code_version, environment
from research.study.bars_file import Parcel, parcelled
from research.study.coordinator import Coordinator
from research.study.folds import as_dates, session_days
from research.study.locks import coordinates
from research.study.outcome import Progress, StudyTrial, TrialState, ranked
from research.study.records import (
    COMPLETE,
    FAILED,
    RUNNING,
    STOPPED,
    StudyRecord,
    load_study,
    save_page,
    save_tables,
    study_folder,
    tables_of,
    trials_ever,
)
from research.study.specification import StudySpecification
from research.study.storage import JournalStore, PostgresStore, Store
from research.study.workers import Workers, cluster_workers, pool_workers

_PAGE_SECONDS = 2.0
_WORTH_PROCESSES = {True: 20_000, False: 40}
"""Trials that take as long as starting a second process: compiled ones, others."""


def run_study(
    specification: StudySpecification,
    bars: Mapping[str, pa.Table],
    *,
    results: Path,
    data_versions: Mapping[str, str] | None = None,
    storage: str | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> StudyRecord:
    """Run a study, or go on with the one of that name.

    Args:
        specification: what is searched, and how.
        bars: BARS_SCHEMA by symbol, adjusted as the experiment says.
        results: folder of results; the study is `studies/{name}` in it.
        data_versions: version of each symbol's bars; a study does not go on with others.
        storage: URL of a PostgreSQL database that holds the trials; a journal in the study's folder when not given.
        workers: processes of this machine; chosen by the work when not given.
        cluster: address of a Dask scheduler (`tcp://...`) whose workers run the trials instead.
        progress: told as trials finish.
        stop: asked between trials (`threading.Event().is_set` will do); when it says True the study is stopped.

    Returns:
        The study as it was written down; `state` is `complete` or `stopped`.

    Raises:
        StudyError: it does not fit the study of that name, another process runs it, or a parameter changes nothing.
        UnprovenError: a kernel trial is not Backtrader's result.
    """
    folder = study_folder(results, specification.name)
    with coordinates(folder, shared=storage is not None):
        study = _Study(specification, bars, results, data_versions)
        earlier = study.earlier()
        if earlier is not None and earlier.state == COMPLETE and earlier.specification == specification:
            return earlier
        coordinator = study.coordinator(earlier, progress, stop)
        study.write(RUNNING, [])
        store = study.store(storage, coordinator)
        try:
            with parcelled(study.prepared.bars) as parcel, _workers(coordinator, parcel, workers, cluster) as hands:
                result = coordinator.run(store, hands, parcel.digest)
        except (StudyError, KeyboardInterrupt) as error:
            study.ended(coordinator, FAILED if isinstance(error, StudyError) else STOPPED, error=str(error) or None)
            raise
        finally:
            store.close()
        study.forbidden, study.verified = dict(result.forbidden), result.verified
        return study.ended(coordinator, STOPPED if result.stopped else COMPLETE, error=result.stopped)


class _Study:
    """One run of a kept study: its page and tables."""

    def __init__(
        self,
        specification: StudySpecification,
        bars: Mapping[str, pa.Table],
        results: Path,
        data_versions: Mapping[str, str] | None,
    ) -> None:
        self.specification, self._results = specification, results
        whole = prepare_run(specification.experiment, bars)
        self.prepared, self._in_sample, self._hold_out = _without_hold_out(whole, bars, specification.hold_out)
        self._versions = dict(data_versions) if data_versions else _versions(whole)
        self._code = code_version(whole.strategy)
        self.forbidden: dict[str, int] = {}
        self.verified = 0
        self._began, self._seconds_before = time.monotonic(), 0.0
        self._created_at = datetime.now(UTC).isoformat()
        self._assessment: object = None
        self._sampler: str | None = None
        self._written = 0.0

    def earlier(self) -> StudyRecord | None:
        """The study of this name, if there is one; its circumstances become this one's.

        Raises:
            StudyError: it was begun otherwise.
        """
        if not (study_folder(self._results, self.specification.name) / "study.json").exists():
            return None
        record = load_study(self._results, self.specification.name)
        self.specification.require_same(record.specification)
        self._require(record, "data_versions", self._versions)
        self._require(record, "code_version", self._code)
        page = record.page
        self._seconds_before, self._created_at = float(page["seconds"]), str(page["created_at"])
        self._assessment, self._sampler = page["assessment"], str(page["sampler"])
        if self._hold_out is not None and page["hold_out"] is not None:
            self._hold_out = dict(page["hold_out"])
        return record

    def _require(self, record: StudyRecord, key: str, here: object) -> None:
        before = record.page[key]
        if before != here:
            raise StudyError(
                f"{self.specification.name}: {key} is {here!r}, but the study was begun with {before!r};"
                " give it another name."
            )

    def coordinator(
        self,
        earlier: StudyRecord | None,
        progress: Callable[[Progress], None] | None,
        stop: Callable[[], bool] | None,
    ) -> Coordinator:
        """Who searches; the page is kept up to date meanwhile."""

        def told(now: Progress) -> None:
            if time.monotonic() - self._written > _PAGE_SECONDS:
                self.write(RUNNING, coordinator.trials)
            if progress is not None:
                progress(now)

        coordinator = Coordinator(
            self.prepared, self.specification,
            sampler=None if earlier is None else self._sampler, progress=told, stop=stop,
        )  # fmt: skip
        self._sampler = coordinator.sampler
        self._coordinator = coordinator
        return coordinator

    def store(self, url: str | None, coordinator: Coordinator) -> Store:
        """Where trials are kept."""
        name, space, directions = self.specification.name, coordinator.space, coordinator.directions
        if url is not None:
            return PostgresStore(url, name, space, directions)
        return JournalStore(study_folder(self._results, name) / "journal.log", name, space, directions)

    def ended(self, coordinator: Coordinator, state: str, *, error: str | None = None) -> StudyRecord:
        """Write tables, then the page."""
        trials = coordinator.trials
        days = as_dates(session_days(self.prepared))
        save_tables(self._results, self.specification.name, tables_of(trials, days))
        return self.write(state, trials, error=error)

    def write(self, state: str, trials: list[StudyTrial], *, error: str | None = None) -> StudyRecord:
        """Write the page."""
        self._written = time.monotonic()
        page = self._page(state, trials, error)
        save_page(self._results, page)
        return StudyRecord(page, study_folder(self._results, self.specification.name))

    def _page(self, state: str, trials: list[StudyTrial], error: str | None) -> dict[str, Any]:
        experiment = self.specification.experiment
        prior = trials_ever(self._results, experiment.symbols, without=self.specification.name)
        counts = Counter(trial.state.value for trial in trials)
        return {
            "name": self.specification.name,
            "state": state,
            "error": error,
            "specification": self.specification.document(),
            "fingerprint": self.specification.fingerprint(),
            "created_at": self._created_at,
            "updated_at": datetime.now(UTC).isoformat(),
            "seconds": self._seconds_before + time.monotonic() - self._began,
            "sampler": self._sampler,
            "directions": [str(one) for one in self._coordinator.directions],
            "trials_run": len(trials),
            "trials_total": self._coordinator.total,
            "counts": {one.value: counts[one.value] for one in TrialState},
            "without_value": sum(1 for one in trials if one.state is TrialState.COMPLETE and one.value is None),
            "forbidden": self.forbidden,
            "engines": dict(Counter(trial.engine for trial in trials if trial.engine)),
            "engine_reason": self._coordinator.evaluator.engine_reason,
            "best": self._best(trials, whole=state != RUNNING),
            "in_sample": self._in_sample,
            "hold_out": self._hold_out,
            "data_versions": self._versions,
            "code_version": self._code,
            "environment": environment(),
            "prior_trials": {"total": prior.total, "by_study": dict(prior.by_study)},
            "verified": self.verified,
            "assessment": self._assessment,
        }

    def _best(self, trials: list[StudyTrial], *, whole: bool) -> dict[str, Any] | None:
        best = next(iter(ranked(trials, self._coordinator.directions[0])), None)
        if best is None:
            return None
        metrics = dict(best.metrics)
        if whole and not metrics.keys() >= FIGURES:  # the kernel's search leaves out what takes longer
            metrics = self._coordinator.evaluator.all_figures(best.params)
        return {
            "number": best.number, "value": best.value, "values": list(best.values),
            "params": dict(best.params), "metrics": metrics,
        }  # fmt: skip


@contextmanager
def _workers(
    coordinator: Coordinator, parcel: Parcel, workers: int | None, cluster: str | None
) -> Iterator[Workers | None]:
    if cluster is not None:
        with cluster_workers(cluster, parcel) as hands:
            yield hands
        return
    if workers is None:
        workers = _worthwhile(coordinator)
    if workers < 1:
        raise StudyError(f"workers: {workers} must be at least 1.")
    with nullcontext() if workers == 1 else pool_workers(workers, parcel) as pool:
        yield pool


def _worthwhile(coordinator: Coordinator) -> int:
    """Processes that earn more than their start costs; a batch of compiled trials is over before it has travelled."""
    compiled = coordinator.evaluator.compiled
    if coordinator.total < _WORTH_PROCESSES[compiled] or (compiled and coordinator.adaptive):
        return 1
    return os.cpu_count() or 1


def _without_hold_out(
    whole: PreparedRun, bars: Mapping[str, pa.Table], fraction: float
) -> tuple[PreparedRun, dict[str, Any], dict[str, Any] | None]:
    """The run without the last part of its sessions, and both ranges for the page."""
    days = session_days(whole)
    kept = len(days) - int(np.floor(fraction * len(days)))
    first, last = as_dates(days[[0, kept - 1]])
    in_sample = {"start": first.isoformat(), "end": last.isoformat(), "sessions": kept}
    if kept == len(days):
        return whole, in_sample, None
    begin, end = as_dates(days[[kept, -1]])
    hold_out = {
        "start": begin.isoformat(), "end": end.isoformat(), "sessions": len(days) - kept,
        "looked_at": None, "metrics": None,
    }  # fmt: skip
    return prepare_run(_until(whole, last), bars), in_sample, hold_out


def _until(whole: PreparedRun, last: date) -> Experiment:
    return whole.experiment.model_copy(update={"end": last})


def _versions(prepared: PreparedRun) -> dict[str, str]:
    """Digests of the bars where the caller knows no better."""
    found = {}
    for symbol, bars in prepared.bars.items():
        digest = hashlib.sha256()
        for name in ("ts", "sessions", "open", "high", "low", "close", "volume"):
            digest.update(np.ascontiguousarray(getattr(bars, name)).tobytes())
        found[symbol] = digest.hexdigest()[:16]
    return found
