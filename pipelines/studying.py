"""From a study's specification to its kept trials, walk-forward, checks, report and tracked run.

Belongs here: the order of these steps for the asset and the command line alike, how a study is asked to stop, how far
it is. Does not belong here: Dagster, searching or judging (see `research.study`, `research.assessment`).

A study may run in another process than the one that watches it or wants it to end, so both go by files in its folder:
`progress.json`, written a few times a second, and `stop`, which the study looks for between trials.
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.backtesting import BacktestInputs, read_inputs
from pipelines.settings import load_settings
from warehouse.files import write_bytes
from warehouse.store import Warehouse

if TYPE_CHECKING:
    from research.hold_out import HoldOut
    from research.overfitting import Thresholds
    from research.study import Progress, StudyRecord, StudySpecification
    from research.tracking import Tracked
    from research.walkforward.files import WalkForwardRecord
    from research.walkforward.run import Progress as WindowProgress
    from research.walkforward.windows import WalkForwardSettings

_PROGRESS, _STOP = "progress.json", "stop"
_WRITTEN_EVERY = 0.25  # seconds


@dataclass(frozen=True, slots=True)
class StudyOrder:
    """One study to be run, or to go on.

    Attributes:
        specification: as it runs.
        warehouse: the bars.
        results: folder of results.
        storage: PostgreSQL URL of the trials, which may hold a password; a journal file when None.
        workers: processes; chosen by the work when None.
        cluster: address of a Dask scheduler, None for this machine.
        n_trials: go on up to this many trials; the specification's number when None.
        thresholds: what the study is judged by when it is complete; None leaves it unjudged.
        children: `some` or `all` trials become runs in MLflow; None does not track.
        dagster_run: id of the run that carries it out.
    """

    specification: "StudySpecification"
    warehouse: Warehouse
    results: Path
    storage: str | None = field(default=None, repr=False)
    workers: int | None = None
    cluster: str | None = None
    n_trials: int | None = None
    thresholds: "Thresholds | None" = None
    children: Literal["some", "all"] | None = None
    dagster_run: str | None = None


@dataclass(frozen=True, slots=True)
class CarriedStudy:
    """A study that was carried out; `unchanged` when there was nothing left to do, `tracked` when it is in MLflow."""

    record: "StudyRecord"
    unchanged: bool
    tracked: "Tracked | None" = None


@dataclass(frozen=True, slots=True)
class SeenProgress:
    """How far a running study is, as another process sees it; `best` is its value so far."""

    done: int
    total: int
    best: float | None
    seconds: float
    left: float | None


def study_storage() -> str | None:
    """The storage that the settings name. It is read here and not handed through Dagster, which shows configuration."""
    storage = load_settings().study_storage
    return storage.get_secret_value() if storage else None


def carry_out_study(order: StudyOrder, log: Callable[[str], None]) -> CarriedStudy:
    """Run a study on judged bars or go on with it; judge it, report and track it when it is complete.

    Raises:
        QualityGateError: bars were not judged, or an ERROR stands without the experiment's override.
        NoDataError: a symbol has no bars in the range.
        StudyError: the study cannot be run as asked.
    """
    from research.study import run_study, study_folder

    specification = order.specification
    if order.n_trials:
        specification = specification.model_copy(update={"n_trials": order.n_trials})
    inputs = read_inputs(order.warehouse, specification.experiment)
    folder = study_folder(order.results, specification.name)
    (folder / _STOP).unlink(missing_ok=True)
    before = _finished(order.results, specification.name)
    record = run_study(
        specification,
        inputs.bars,
        results=order.results,
        data_versions=inputs.data_versions,
        storage=order.storage,
        workers=order.workers,
        cluster=order.cluster,
        progress=_ProgressWriter(folder, log),
        stop=(folder / _STOP).exists,
    )
    unchanged = before == _finished(order.results, specification.name)
    if record.state == "complete":
        record = _judged(order, record, inputs, unchanged=unchanged)
    tracked = _track(order, record, inputs) if order.children else None
    return CarriedStudy(record, unchanged, tracked)


def _finished(results: Path, name: str) -> tuple[str, int] | None:
    """State and number of trials of a study, None where there is none."""
    from research.errors import StudyError
    from research.study import load_study

    try:
        record = load_study(results, name)
    except StudyError:
        return None
    return record.state, int(record.page["trials_run"])


def _judged(order: StudyOrder, record: "StudyRecord", inputs: BacktestInputs, *, unchanged: bool) -> "StudyRecord":
    """The study with its assessment and report; what was judged already is judged again only when it went on."""
    from research.assessment import assess
    from research.study import load_study
    from research.study.report_data import write_study_report

    if order.thresholds is not None and not (unchanged and record.page["assessment"]):
        assess(record, inputs.bars, thresholds=order.thresholds)
        record = load_study(order.results, record.name)
    write_study_report(order.results, record.name)
    return record


def _track(order: StudyOrder, record: "StudyRecord", inputs: BacktestInputs) -> "Tracked":
    from pipelines.tracking import track_study

    every = order.children == "all"
    return track_study(record, order.results, inputs.data_versions, every=every, dagster_run_id=order.dagster_run or "")


def look_at_hold_out_of(name: str, warehouse: Warehouse, results: Path) -> "HoldOut":
    """What the hold-out of a study shows, looked at now unless it was before.

    Raises:
        StudyError: there is no such study, it held nothing out, or has no best trial.
    """
    from research.hold_out import look_at_hold_out
    from research.study import load_study

    inputs = read_inputs(warehouse, load_study(results, name).specification.experiment)
    return look_at_hold_out(results, name, inputs.bars)


def promote_study(
    name: str,
    warehouse: Warehouse,
    results: Path,
    *,
    experiments_dir: Path,
    thresholds: "Thresholds",
    override_reason: str | None,
) -> Path:
    """Look at the hold-out, judge the study with it, and write its winner as an experiment when the checks pass.

    Raises:
        RefusedError: a check stands in the way and no reason was given to go on.
        StudyError: there is no such study, or it is not complete.
    """
    from research.assessment import assess
    from research.promotion import promote
    from research.study import load_study
    from research.study.report_data import write_study_report

    record = load_study(results, name)
    inputs = read_inputs(warehouse, record.specification.experiment)
    if record.page["hold_out"] is not None and record.best is not None:
        look_at_hold_out_of(name, warehouse, results)
    assess(load_study(results, name), inputs.bars, thresholds=thresholds)
    write_study_report(results, name)
    return promote(load_study(results, name), experiments_dir=experiments_dir, override_reason=override_reason)


@dataclass(frozen=True, slots=True)
class WalkForwardOrder:
    """One walk-forward to be run, or to go on; fields as of `StudyOrder`."""

    specification: "StudySpecification"
    settings: "WalkForwardSettings"
    warehouse: Warehouse
    results: Path
    workers: int | None = None


def carry_out_walk_forward(order: WalkForwardOrder, log: Callable[[str], None]) -> "WalkForwardRecord | None":
    """Walk forward on judged bars; windows that are done are not searched again. None when it was asked to stop.

    Raises:
        QualityGateError: bars were not judged, or an ERROR stands without the experiment's override.
        NoDataError: a symbol has no bars in the range.
        StudyError: the range is too short, or the study does not fit its strategy.
    """
    from research.study import local_workers
    from research.walkforward.files import walk_forward_folder
    from research.walkforward.study import walk_forward

    specification = order.specification
    inputs = read_inputs(order.warehouse, specification.experiment)
    folder = walk_forward_folder(order.results, specification.name)
    (folder / _STOP).unlink(missing_ok=True)
    workers = order.workers or _workers_for(specification, inputs)
    with local_workers(workers) if workers > 1 else nullcontext() as executor:
        return walk_forward(
            specification,
            inputs.bars,
            order.settings,
            results=order.results,
            executor=executor,
            workers=workers,
            progress=_WindowsWriter(folder, log),
            stop=(folder / _STOP).exists,
        )


def _workers_for(specification: "StudySpecification", inputs: BacktestInputs) -> int:
    """Compiled trials are done before a process has started."""
    from research.engine import prepare_run
    from research.study import is_compiled

    compiled = is_compiled(prepare_run(specification.experiment, inputs.bars))
    return 1 if compiled else os.cpu_count() or 1


def request_stop(folder: Path) -> None:
    """Ask the study or walk-forward of a folder to end with what it has; it does so between two trials."""
    if folder.is_dir():
        write_bytes(folder / _STOP, b"")


def seen_progress(folder: Path) -> SeenProgress | None:
    """How far the study or walk-forward of a folder is, None before it has said so."""
    try:
        return SeenProgress(**json.loads((folder / _PROGRESS).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


class _ProgressWriter:
    """Writes how far a study is a few times a second, and a line for the run's log every ten seconds."""

    def __init__(self, folder: Path, log: Callable[[str], None]) -> None:
        self._path, self._log = folder / _PROGRESS, log
        self._written = self._logged = time.monotonic()
        self._path.unlink(missing_ok=True)

    def __call__(self, progress: "Progress") -> None:
        now = time.monotonic()
        last = progress.done >= progress.total
        if now - self._written >= _WRITTEN_EVERY or last:
            self._written = now
            self._write(progress)
        if now - self._logged >= 10 or last:
            self._logged = now
            best = "none yet" if progress.best is None else f"{progress.best.value:.6g}"
            self._log(f"{progress.done} of {progress.total} trials, best {best}, {progress.seconds:.0f} s")

    def _write(self, progress: "Progress") -> None:
        value = None if progress.best is None else progress.best.value
        seen = SeenProgress(progress.done, progress.total, value, progress.seconds, progress.left)
        write_bytes(self._path, json.dumps(asdict(seen)).encode())


class _WindowsWriter:
    """Writes how many windows of a walk-forward are done."""

    def __init__(self, folder: Path, log: Callable[[str], None]) -> None:
        self._path, self._log, self._began = folder / _PROGRESS, log, time.monotonic()
        self._path.unlink(missing_ok=True)

    def __call__(self, progress: "WindowProgress") -> None:
        seconds, done = time.monotonic() - self._began, progress.done
        left = seconds / done * (progress.total - done)
        seen = SeenProgress(done, progress.total, None, seconds, left)
        write_bytes(self._path, json.dumps(asdict(seen)).encode())
        kept = " (kept)" if progress.kept else ""
        self._log(f"window {done} of {progress.total}{kept}, {seconds:.0f} s")
