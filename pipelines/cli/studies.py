"""`barloom optimize`, `study`, `walkforward` and `promote`.

Belongs here: studies from the terminal. Does not belong here: searching, judging (see `research`), how a table of a
study looks (see `study_tables`).
"""

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from pipelines.cli.backtests import download_missing
from pipelines.cli.data import publish_catalog
from pipelines.cli.runs import INTERRUPTED, report_failures
from pipelines.cli.study_options import StudyOptions
from pipelines.cli.study_tables import (
    print_batch,
    print_estimates,
    print_hold_out,
    print_studies,
    print_study,
    print_trials_csv,
    print_walk_forward,
    write_trials_csv,
)
from pipelines.cli.tables import print_json, say
from pipelines.cli.tracking import check_store, print_tracking
from pipelines.errors import SettingsError
from pipelines.settings import Settings, load_settings
from research.ahead import compiling_ahead

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from pipelines.runs import RunOutcome
    from research.study import StudyRecord, StudySpecification

_Flag = Parameter(negative="")

study_app = App(name="study", help="Show, resume or stop a study.")


def optimize(
    *,
    options: Annotated[StudyOptions | None, Parameter(name="*")] = None,
    batch: Path | None = None,
    workers: Annotated[int | None, Parameter(name=["--workers", "--n-jobs"])] = None,
    cluster: str | None = None,
    estimate: Annotated[bool, _Flag] = False,
    mlflow: Annotated[bool, _Flag] = False,
    mlflow_all: Annotated[bool, _Flag] = False,
    top: int = 10,
    csv: Annotated[bool, _Flag] = False,
    export_csv: Path | None = None,
) -> int:
    """Search a strategy's parameters; the same command goes on where it was stopped.

    The best trials and a random sample are run again on Backtrader; the command fails when one comes out otherwise.

    Args:
        options: What is searched.
        batch: YAML with strategies, symbols, settings and criteria: many studies in one run.
        workers: Processes that run trials; as many as the machine has processors where that is worth it.
        cluster: Address of a Dask scheduler, for example tcp://host:8786, whose workers run the trials.
        estimate: Only say what trading will cost: turnover, fees a year, the edge a trade needs.
        mlflow: Track the study in MLflow, with its best trials and a sample of the others.
        mlflow_all: Track every trial.
        top: How many of the best trials to print.
        csv: Print every trial as CSV instead of the best as a table.
        export_csv: Write every trial to this CSV file.
    """
    for name, number in (("top", top), ("workers", 1 if workers is None else workers)):
        if number < 1:
            raise SettingsError(f"{name}: {number} must be at least 1.")
    settings = load_settings()
    if batch is not None and options is not None and options.given:
        raise SettingsError(f"optimize: --batch excludes --{next(iter(options.given)).replace('_', '-')}.")
    config = _config(workers, cluster, mlflow=mlflow, mlflow_all=mlflow_all)
    if mlflow or mlflow_all:
        check_store(settings)
    if batch is not None:
        return _run_batch(batch, settings, config)
    with compiling_ahead(_compiled_code()):  # before anything is loaded that reads what was asked for
        specification = (options or StudyOptions()).specification("optimize")
        check_study(specification)
        if estimate:
            return _estimate(specification, settings)
        outcome, name = run_study_here(specification, settings, config)
    return report_study(outcome, name, settings, top=top, csv=csv, export_csv=export_csv)


def _compiled_code() -> Path | None:
    """Where numba was told to keep compiled code; None for beside the sources."""
    told = os.environ.get("NUMBA_CACHE_DIR")
    return Path(told) if told else None


def check_study(specification: "StudySpecification") -> None:
    """Refuse a study whose strategy, parameters or space cannot be, before anything is written or downloaded."""
    from research.engine import strategy_of
    from research.errors import StudyError
    from research.study import SearchSpace

    strategy, _ = strategy_of(specification.experiment)
    space = SearchSpace.of(strategy, specification.experiment.params, specification.space)
    if space.size() is not None and next(space.points(), None) is None:
        raise StudyError("space: every point is forbidden by a constraint.")


def run_study_here(
    specification: "StudySpecification", settings: Settings, config: dict[str, Any]
) -> "tuple[RunOutcome | None, str]":
    """Record a study, bring its bars and materialise it with a progress bar; None when the bars could not be had."""
    from pipelines.runs import materialize_studies, open_instance, record_study
    from research.study import study_folder

    name = record_study(specification, settings)
    with open_instance() as instance:
        if download_missing(instance, [specification.experiment], settings):
            return None, name
        with watching({name: study_folder(settings.results_dir, name)}):
            outcome = materialize_studies(instance, [name], config=config)
    publish_catalog(settings)
    return outcome, name


def report_study(
    outcome: "RunOutcome | None", name: str, settings: Settings, *, top: int, csv: bool, export_csv: Path | None
) -> int:
    """Print what a study came to; the exit code."""
    from research.study import load_study

    if outcome is None:
        return 1
    if outcome.failures:
        return report_failures(outcome)
    record = load_study(settings.results_dir, name)
    if export_csv is not None:
        write_trials_csv(record, export_csv)
    if csv:
        print_trials_csv(record)
    else:
        print_study(record, top=top)
    print_tracking(outcome)
    return _stopped_or_failed(outcome, record)


def _stopped_or_failed(outcome: "RunOutcome", record: "StudyRecord") -> int:
    if record.state == "stopped":
        sys.stderr.write(f"{record.name}: stopped; `barloom study resume {record.name}` goes on.\n")
        return INTERRUPTED
    return report_failures(outcome)


def _config(workers: int | None, cluster: str | None, *, mlflow: bool, mlflow_all: bool) -> dict[str, Any]:
    config: dict[str, Any] = {"workers": workers or 0, "cluster": cluster or ""}
    if mlflow or mlflow_all:
        config |= {"mlflow": True, "mlflow_children": "all" if mlflow_all else "some"}
    return config


def _estimate(specification: "StudySpecification", settings: Settings) -> int:
    from pipelines.backtesting import read_inputs
    from pipelines.runs import open_instance
    from research.engine import prepare_run
    from research.study import estimate
    from warehouse.store import Warehouse

    experiment = specification.experiment
    with open_instance() as instance:
        code = download_missing(instance, [experiment], settings)
    if code:
        return code
    prepared = prepare_run(experiment, read_inputs(Warehouse(settings.data_dir), experiment).bars)
    print_estimates(estimate(prepared, specification))
    return 0


def _run_batch(path: Path, settings: Settings, config: dict[str, Any]) -> int:
    """All studies of a batch file as one run of their partitions, and one table of winners and reasons."""
    from pipelines.runs import materialize_studies, open_instance, record_study
    from research.study import batch_table, load_batch, load_study, studies_folder, study_folder
    from warehouse.files import write_parquet

    batch = load_batch(path)
    specifications = batch.studies()
    for specification in specifications:
        check_study(specification)
    with open_instance() as instance:
        code = download_missing(instance, [one.experiment for one in specifications], settings)
        if code:
            return code
        names = [record_study(one, settings) for one in specifications]
        with watching({name: study_folder(settings.results_dir, name) for name in names}):
            outcome = materialize_studies(instance, names, config=config)
    publish_catalog(settings)
    done = [name for name in names if name not in outcome.failures]
    records = [load_study(settings.results_dir, name) for name in done]
    table = batch_table(records, batch.criteria)
    write_parquet(studies_folder(settings.results_dir) / f"batch-{batch.name}.parquet", table)
    print_batch(table)
    return report_failures(outcome)


# ---------------------------------------------------------------- one study by its name


@study_app.command
def show(
    name: str | None = None,
    /,
    *,
    top: int = 10,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show a study: its best trials, what the checks say, its hold-out; without a name all studies.

    Args:
        name: Name of the study.
        top: How many of the best trials to print.
        as_json: Print the stored page.
    """
    from research.study import list_studies, load_study

    results = load_settings().results_dir
    if name is None:
        print_studies(list_studies(results))
        return 0
    record = load_study(results, name)
    if as_json:
        print_json({**record.page, "state": record.state})
    else:
        print_study(record, top=top)
    return 0


@study_app.command
def resume(
    name: str,
    /,
    *,
    n_trials: int | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    mlflow: Annotated[bool, _Flag] = False,
) -> int:
    """Go on with a study; finished trials are not run again.

    Args:
        name: Name of the study.
        n_trials: Go on up to this many trials in all.
        workers: Processes that run trials.
        cluster: Address of a Dask scheduler whose workers run the trials.
        mlflow: Track the study in MLflow.
    """
    from pipelines.resources import default_resources

    settings = load_settings()
    specification = default_resources(settings)["research"].load_study(name)
    if n_trials is not None:
        specification = specification.parse({**specification.document(), "n_trials": n_trials})
    config = _config(workers, cluster, mlflow=mlflow, mlflow_all=False)
    outcome, _ = run_study_here(specification, settings, config)
    return report_study(outcome, name, settings, top=10, csv=False, export_csv=None)


@study_app.command
def stop(name: str, /, *, wait: float = 30.0) -> int:
    """Ask a running study to end between two trials; what is finished is kept.

    Args:
        name: Name of the study.
        wait: Seconds to wait until it has ended; exit code 1 when it has not.
    """
    import time

    from pipelines.studying import request_stop
    from research.study import load_study

    results = load_settings().results_dir
    record = load_study(results, name)
    if record.state != "running":
        say(f"{name}: is not running")
        return 0
    request_stop(record.folder)
    end = time.monotonic() + wait
    while (record := load_study(results, name)).state == "running":
        if time.monotonic() > end:
            sys.stderr.write(f"{name}: has not ended after {wait:g} s; it is still asked to.\n")
            return 1
        time.sleep(0.1)
    say(f"{name}: {record.state}, {record.page['trials_run']} trials are kept")
    return 0


@study_app.command(name="hold-out")
def hold_out(name: str, /) -> int:
    """Look at the hold-out of a study: its best trial on the sessions that the search never saw. The first look counts.

    Args:
        name: Name of the study.
    """
    from pipelines.studying import look_at_hold_out_of
    from warehouse.store import Warehouse

    settings = load_settings()
    print_hold_out(look_at_hold_out_of(name, Warehouse(settings.data_dir), settings.results_dir))
    return 0


# ---------------------------------------------------------------- after the search


def walkforward(
    *,
    options: Annotated[StudyOptions | None, Parameter(name="*")] = None,
    study: str | None = None,
    train: int = 6,
    test: int = 2,
    step: int = 2,
    unit: Literal["months", "sessions"] = "months",
    anchored: Annotated[bool, _Flag] = False,
    embargo: int = 0,
    keep_partial: Annotated[bool, _Flag] = False,
    workers: Annotated[int | None, Parameter(name=["--workers", "--n-jobs"])] = None,
) -> int:
    """Search on one range, test on the next, again and again; the same command goes on where it was stopped.

    Args:
        options: What is searched, unless --study names it.
        study: Name of a study whose search is repeated in each window.
        train: Length of what is searched.
        test: Length of what is tested.
        step: From one window to the next.
        unit: Of train, test and step.
        anchored: Begin every search at the first session.
        embargo: Sessions between search and test that belong to neither.
        keep_partial: Keep a last test that the end of the range cuts short.
        workers: Processes that run trials.
    """
    from pipelines.resources import default_resources
    from pipelines.runs import materialize_walk_forward, open_instance, record_study
    from research.walkforward.files import load_walk_forward, walk_forward_folder
    from research.walkforward.windows import WalkForwardSettings

    given = {
        "train": train, "test": test, "step": step, "unit": unit, "anchored": anchored, "embargo": embargo,
        "keep_partial": keep_partial,
    }  # fmt: skip
    WalkForwardSettings.build(**given)
    settings = load_settings()
    if study is not None:
        if options is not None and options.given:
            raise SettingsError(f"walkforward: --study excludes --{next(iter(options.given)).replace('_', '-')}.")
        specification = default_resources(settings)["research"].load_study(study)
    else:
        specification = (options or StudyOptions()).specification("walkforward")
        check_study(specification)
    name = record_study(specification, settings)
    with open_instance() as instance:
        code = download_missing(instance, [specification.experiment], settings)
        if code:
            return code
        with watching({name: walk_forward_folder(settings.results_dir, name)}):
            outcome = materialize_walk_forward(instance, name, config={**given, "workers": workers or 0})
    if outcome.interrupted:
        sys.stderr.write(f"{name}: stopped; the same command goes on.\n")
    if not outcome.success:
        return report_failures(outcome)
    print_walk_forward(load_walk_forward(settings.results_dir, name))
    return 0


def promote(study: str, /, *, override: str | None = None) -> int:
    """Make the best trial of a study an experiment, when the checks pass; exit code 1 when they do not.

    The hold-out is looked at first, and the study is judged again with what it shows.

    Args:
        study: Name of the study.
        override: Reason for promoting in spite of failed checks; recorded with them.
    """
    from pipelines.resources import default_resources
    from pipelines.studying import promote_study
    from research.promotion import RefusedError
    from warehouse.store import Warehouse

    settings = load_settings()
    thresholds = default_resources(settings)["research"].thresholds()
    try:
        path = promote_study(
            study, Warehouse(settings.data_dir), settings.results_dir, experiments_dir=settings.experiments_dir,
            thresholds=thresholds, override_reason=override,
        )  # fmt: skip
    except RefusedError as error:
        sys.stderr.write(f"barloom: {error}\n")
        return 1
    say(f"{study}: promoted, {path}")
    return 0


# ---------------------------------------------------------------- watching


@contextmanager
def watching(folders: Mapping[str, Path]) -> Iterator[None]:
    """Draw a bar for each study or walk-forward on stderr while a run works: how many are done, best, time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[told]}"),
    )  # fmt: skip
    ended = threading.Event()
    with Progress(*columns, console=Console(file=sys.stderr), refresh_per_second=4) as bars:
        tasks = {name: bars.add_task(name, total=None, told="") for name in folders}
        watcher = threading.Thread(target=_watch, args=(bars, tasks, folders, ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join(5)


def _watch(bars: "Bars", tasks: Mapping[str, Any], folders: Mapping[str, Path], ended: threading.Event) -> None:
    from pipelines.studying import seen_progress

    over = False
    while not over:
        over = ended.wait(0.25)
        for name, task in tasks.items():
            seen = seen_progress(folders[name])
            if seen is not None:
                bars.update(task, completed=seen.done, total=seen.total, told=_told(seen.best, seen.left))


def _told(best: float | None, left: float | None) -> str:
    from research.metric_catalog import format_number

    value = "" if best is None else f"best {format_number(best)}"
    return f"{value}  {left:.0f} s left" if left else value
