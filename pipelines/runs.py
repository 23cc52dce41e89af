"""Run the graph from a program: what the command line calls, and what then shows in the Dagster UI.

Belongs here: the project's persistent Dagster instance, materialising assets for chosen partitions in this process,
progress and outcome as plain values. Does not belong here: printing, domain work, definitions.

Every call makes ordinary Dagster runs of the implicit asset job in the instance that `dagster dev` uses in the same
folder, so they appear there with their logs, metadata and partitions. Dagster knows a run's partitions as one key or
one contiguous range of keys; a selection with holes becomes one run for each contiguous block of it.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import yaml
from dagster._core.instance.ref import InstanceRef
from dotenv import dotenv_values

from pipelines.errors import RunFailedError, SettingsError
from pipelines.keys import (
    BACKTESTS,
    ERROR_FACT,
    LEADERBOARD,
    STUDIES,
    SYMBOLS_FACT,
    UNCHANGED_FACT,
    WALK_FORWARD,
    symbol_asset_keys,
)
from pipelines.partitions import (
    add_keys,
    contiguous_blocks,
    experiment_key,
    experiment_partitions,
    study_key,
    study_partitions,
    symbol_keys,
    symbol_of,
    symbol_partitions,
)
from pipelines.resources import default_resources
from pipelines.settings import ENV_FILE, Settings, load_settings
from pipelines.stamps import version_of
from warehouse.files import write_bytes
from warehouse.resolution import Resolution

if TYPE_CHECKING:
    from research.experiment import Experiment
    from research.study import StudySpecification


class Outcome(StrEnum):
    """How one partition of one asset ended."""

    DONE = "done"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """One partition of one asset is through.

    `asset` is the asset key (`clean_bars`, `minute/clean_bars`, `backtest_results`, `leaderboard`); `name` the symbol
    or experiment, "" for an unpartitioned asset; `facts` the event's plain metadata (numbers and texts: row counts,
    first and last bar, paths, metrics); `error` one sentence when it failed.
    """

    asset: str
    name: str
    outcome: Outcome
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What one call did.

    `failures` maps a symbol or experiment to one sentence; `error` tells of a failure that belongs to none of them;
    `progress` holds everything that was reported on the way, in order; `interrupted` is true after a Ctrl-C.
    """

    run_ids: tuple[str, ...]
    success: bool
    failures: Mapping[str, str]
    progress: tuple[Progress, ...] = ()
    error: str | None = None
    interrupted: bool = False

    def raise_for_failure(self) -> "RunOutcome":
        """Return self, or raise what went wrong.

        Raises:
            RunFailedError: the run did not do its work.
        """
        if self.success:
            return self
        told = [f"{name}: {sentence}" for name, sentence in self.failures.items()]
        raise RunFailedError(" ".join([*told, *([self.error] if self.error else [])]) or "The run failed.")


OnProgress = Callable[[Progress], None]


def open_instance(project: Path = Path()) -> dg.DagsterInstance:
    """The persistent instance of a project folder; close it with `with`.

    DAGSTER_HOME (environment, or the folder's `.env`) wins, as it does for `dagster dev`. Otherwise the folder's
    `dagster.yaml` counts, its relative paths taken from the folder wherever this process stands; without a file the
    history lives in `.dagster/storage`. Standard output is not captured: it belongs to the terminal here.
    """
    project = project.resolve()
    home = os.environ.get("DAGSTER_HOME") or dotenv_values(project / ENV_FILE).get("DAGSTER_HOME")
    if home:
        base, overrides = Path(home), {}
    else:
        base, overrides = project / ".dagster", _absolute_paths(project)
        base.mkdir(exist_ok=True)
    config_dir = base if home else project
    ref = InstanceRef.from_dir(
        str(base), config_dir=str(config_dir), overrides={**overrides, "compute_logs": _NO_CAPTURE}
    )
    return dg.DagsterInstance.from_ref(ref)


_NO_CAPTURE = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
_WITHOUT_A_FILE: Mapping[str, Any] = {
    "storage": {
        "custom": {
            "module": "pipelines.history",
            "class": "OpenSqliteStorage",
            "config": {"base_dir": ".dagster/storage"},
        }
    },
    "telemetry": {"enabled": False},
}


def _absolute_paths(folder: Path) -> dict[str, Any]:
    """The parts of the folder's `dagster.yaml` that hold relative paths, with the folder in front of them."""
    path = folder / "dagster.yaml"
    config = (yaml.safe_load(path.read_text()) or {}) if path.exists() else _WITHOUT_A_FILE
    absolute = dict(config) if config is _WITHOUT_A_FILE else {}
    storage = config.get("storage", {})
    if "sqlite" in storage:
        absolute["storage"] = {"sqlite": _under(folder, storage["sqlite"])}
    elif "base_dir" in storage.get("custom", {}).get("config", {}):
        absolute["storage"] = {"custom": {**storage["custom"], "config": _under(folder, storage["custom"]["config"])}}
    artifacts = config.get("local_artifact_storage")
    if artifacts:
        absolute["local_artifact_storage"] = {**artifacts, "config": _under(folder, artifacts["config"])}
    return absolute


def _under(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, "base_dir": str(folder / config["base_dir"])}


def materialize_symbols(
    instance: dg.DagsterInstance,
    selection: Sequence[str],
    symbols: Iterable[str],
    resolution: Resolution | str = Resolution.DAILY,
    *,
    run_config: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    defs: dg.Definitions | None = None,
) -> RunOutcome:
    """Materialise symbol assets for some symbols; symbols that are new to the instance become partitions.

    Args:
        instance: from `open_instance`.
        selection: names among `SYMBOL_ASSETS`, e.g. `SYMBOL_ASSETS` itself for the whole way from source to report.
        symbols: as a user writes them, not encoded.
        resolution: of the bars.
        run_config: options of assets by name, e.g. `{"raw_bars": {"start": "2000-01-01", "end": "2012-12-31"}}`.
        on_progress: called after each symbol of each asset.
        defs: the graph; default is the project's.
    """
    keys = symbol_keys(symbols)
    new = add_keys(instance, symbol_partitions, keys)
    ordered = instance.get_dynamic_partitions("symbols")
    assets = symbol_asset_keys(selection, Resolution(resolution))
    outcomes = [
        _run(instance, assets, (first, last), config=run_config, on_progress=on_progress, defs=defs)
        for first, last in contiguous_blocks(ordered, keys)
    ]
    outcome = _joined(outcomes)
    _forget_unknown(instance, new, outcome)
    return outcome


def _forget_unknown(instance: dg.DagsterInstance, new: Iterable[str], outcome: RunOutcome) -> None:
    """A symbol that was new and delivered nothing (a slip of the pen, mostly) does not stay as a partition."""
    delivered = {step.name for step in outcome.progress if step.error is None}
    for key in new:
        if symbol_of(key) in outcome.failures and symbol_of(key) not in delivered:
            instance.delete_dynamic_partition(symbol_partitions.name or "", key)


def materialize_experiments(
    instance: dg.DagsterInstance,
    names: Iterable[str],
    *,
    config: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    defs: dg.Definitions | None = None,
) -> RunOutcome:
    """Materialise `backtest_results` for experiments by name (the stem of the YAML file).

    `config` holds options of `assets.BacktestConfig`, e.g. `{"rerun": True}`. `record_experiment` makes a name for an
    experiment that has no file.
    """
    keys = [experiment_key(name) for name in names]
    return _materialize_keys(
        instance, BACKTESTS, experiment_partitions, keys, config=config, on_progress=on_progress, defs=defs
    )


def materialize_studies(
    instance: dg.DagsterInstance,
    names: Iterable[str],
    *,
    config: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    defs: dg.Definitions | None = None,
) -> RunOutcome:
    """Materialise `optimization_studies` for studies by name; a study that was begun goes on.

    `config` holds options of `study_assets.StudyConfig`. `record_study` makes a name for a study that has no file.
    """
    keys = [study_key(name) for name in names]
    return _materialize_keys(
        instance, STUDIES, study_partitions, keys, config=config, on_progress=on_progress, defs=defs
    )


def materialize_walk_forward(
    instance: dg.DagsterInstance,
    name: str,
    *,
    config: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    defs: dg.Definitions | None = None,
) -> RunOutcome:
    """Materialise `walk_forward` for a study by name; `config` holds options of `study_assets.WalkForwardConfig`."""
    return _materialize_keys(
        instance, WALK_FORWARD, study_partitions, [study_key(name)], config=config, on_progress=on_progress, defs=defs
    )


def _materialize_keys(
    instance: dg.DagsterInstance,
    asset: dg.AssetKey,
    partitions: dg.DynamicPartitionsDefinition,
    keys: Sequence[str],
    *,
    config: Mapping[str, Any] | None,
    on_progress: OnProgress | None,
    defs: dg.Definitions | None,
) -> RunOutcome:
    """One run for each contiguous block of the keys, which become partitions if they are none."""
    add_keys(instance, partitions, keys)
    ordered = instance.get_dynamic_partitions(partitions.name or "")
    run_config = {asset.path[-1]: config} if config else None
    outcomes = [
        _run(instance, [asset], (first, last), config=run_config, on_progress=on_progress, defs=defs)
        for first, last in contiguous_blocks(ordered, keys)
    ]
    return _joined(outcomes)


def record_experiment(experiment: "Experiment", settings: Settings | None = None) -> str:
    """Keep an experiment that a command line named in `results/experiments`, and return the name to materialise.

    A name that the user's own folder, or another recorded specification, has already is made unique with a hash of
    the specification: neither is ever changed by this.
    """
    research = default_resources(settings or load_settings())["research"]
    specification = experiment.specification()
    text = yaml.safe_dump({**specification, "name": experiment.name}, sort_keys=True)
    taken = research.experiments().get(experiment.name)
    name = experiment.name
    if taken is not None and research.load(name) != experiment:
        name = f"{experiment.name[:110]}-{version_of([text])[:8]}"
    if research.experiments().get(name) is None:
        write_bytes(research.recorded / f"{name}.yaml", text.encode())
    return experiment_key(name)


def record_study(specification: "StudySpecification", settings: Settings | None = None) -> str:
    """Keep a study that a command line named in `results/recorded_studies`, and return the name to materialise.

    Raises:
        StudyError: a study of that name was begun otherwise, or asked for more trials.
        SettingsError: the user's own folder has a study of that name which says something else.
    """
    research = default_resources(settings or load_settings())["research"]
    name = study_key(specification.name)
    known = research.studies().get(name)
    if known is not None and known.parent != research.recorded_studies:
        if research.load_study(name) != specification:
            raise SettingsError(f"study-name: {name!r} is another study in {known}; give this one another name.")
        return name
    if known is not None:
        specification.require_same(research.load_study(name))
    write_bytes(research.recorded_studies / f"{name}.yaml", specification.to_yaml().encode())
    return name


def materialize_leaderboard(
    instance: dg.DagsterInstance, *, on_progress: OnProgress | None = None, defs: dg.Definitions | None = None
) -> RunOutcome:
    """Materialise the unpartitioned `leaderboard`."""
    return _run(instance, [LEADERBOARD], None, config=None, on_progress=on_progress, defs=defs)


@dataclass(frozen=True, slots=True)
class ProofOutcome:
    """What a proof found: `found` is the report of its first step, None when it could not be made (see `error`)."""

    run_id: str
    found: Any
    error: str | None


def run_proof(instance: dg.DagsterInstance, job: str, op: str, config: Mapping[str, Any]) -> ProofOutcome:
    """Run one of the jobs of `pipelines.proofs`; `op` is the step that makes the report, `config` its options."""
    from dagster._core.utils import make_new_run_id

    from pipelines.definitions import defs

    run_id = make_new_run_id()
    listener = _Listener(None)
    instance.add_event_listener(run_id, listener)
    result = defs.resolve_job_def(job).execute_in_process(
        run_config={"ops": {op: {"config": dict(config)}}, "loggers": _QUIET},
        instance=instance,
        raise_on_error=False,
        run_id=run_id,
    )
    made = any(event.step_key == op for event in result.filter_events(lambda event: event.is_step_success))
    error = listener.outcome(run_id, success=result.success).error
    return ProofOutcome(run_id, result.output_for_node(op) if made else None, error)


def _run(
    instance: dg.DagsterInstance,
    assets: Sequence[dg.AssetKey],
    block: tuple[str, str] | None,
    *,
    config: Mapping[str, Any] | None,
    on_progress: OnProgress | None,
    defs: dg.Definitions | None,
) -> RunOutcome:
    """One run of the implicit asset job in this process."""
    from dagster._core.utils import make_new_run_id

    if defs is None:
        from pipelines.definitions import defs as project_defs

        defs = project_defs
    run_id = make_new_run_id()
    listener = _Listener(on_progress)
    instance.add_event_listener(run_id, listener)
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        run_config=_run_config(assets, config),
        instance=instance,
        asset_selection=list(assets),
        tags=_partition_tags(block),
        raise_on_error=False,
        run_id=run_id,
    )
    return listener.outcome(run_id, success=result.success)


def _partition_tags(block: tuple[str, str] | None) -> dict[str, str]:
    if block is None:
        return {}
    first, last = block
    if first == last:
        return {"dagster/partition": first}
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


_QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


def _run_config(assets: Sequence[dg.AssetKey], config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Run configuration by op name; the console stays quiet, the event log keeps everything."""
    ops = {
        "__".join(key.path): {"config": dict(config[key.path[-1]])}
        for key in assets
        if config and key.path[-1] in config
    }
    return {"ops": ops, "loggers": _QUIET}


class _Listener:
    """Turns the event log of one run into progress and failures."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._progress: list[Progress] = []
        self._failures: dict[str, str] = {}
        self._errors: list[str] = []
        self._interrupted = False

    def __call__(self, entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            return
        if event.event_type in _PARTITION_EVENTS:
            self._partition(event)
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._check(event.asset_check_evaluation_data)
        elif event.event_type in _FAILURES:
            self._errors.append(_failure_text(event))
            self._interrupted |= _was_interrupted(event)

    def _partition(self, event: dg.DagsterEvent) -> None:
        progress = _progress_of(event)
        self._progress.append(progress)
        if progress.error:
            self._failures.setdefault(progress.name, progress.error)
        if self._on_progress:
            self._on_progress(progress)

    def _check(self, evaluation: Any) -> None:  # noqa: ANN401 - Dagster exports no public name for it
        if evaluation.passed or evaluation.severity is not dg.AssetCheckSeverity.ERROR or not evaluation.blocking:
            return
        for symbol in _facts(evaluation.metadata).get(SYMBOLS_FACT, ()):
            told = self._failures.get(symbol)
            rules = f"{told.removesuffix('.')}, {evaluation.check_name}." if told else None
            self._failures[symbol] = rules or f"quality ERROR: {evaluation.check_name}."

    def outcome(self, run_id: str, *, success: bool) -> RunOutcome:
        unexplained = None if success or self._failures else (self._errors[0] if self._errors else "The run failed.")
        failures, progress = dict(self._failures), tuple(self._progress)
        return RunOutcome((run_id,), success, failures, progress, unexplained, self._interrupted)


_PARTITION_EVENTS = (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION)
_FAILURES = (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE)
_NAMED_PARTITIONS = frozenset(key.to_user_string() for key in (BACKTESTS, STUDIES, WALK_FORWARD))
"""Assets whose partitions are names as they are; those of the others are encoded symbols."""


def _progress_of(event: dg.DagsterEvent) -> Progress:
    asset = event.asset_key.to_user_string() if event.asset_key else ""
    observed = event.event_type is dg.DagsterEventType.ASSET_OBSERVATION
    data = event.asset_observation_data.asset_observation if observed else event.materialization
    facts = _facts(data.metadata)
    partition = event.partition
    named = asset in _NAMED_PARTITIONS
    name = "" if partition is None else partition if named else symbol_of(partition)
    error = facts.pop(ERROR_FACT, None)
    outcome = Outcome.FAILED if error else Outcome.UNCHANGED if facts.get(UNCHANGED_FACT) else Outcome.DONE
    return Progress(asset, name, outcome, facts, error)


def _facts(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, Any]:
    """Plain values only; tables, plots and schemas are for the UI."""
    return {_FACT_NAMES.get(name, name): value.value for name, value in metadata.items() if isinstance(value, _PLAIN)}


_PLAIN = (
    dg.IntMetadataValue, dg.FloatMetadataValue, dg.TextMetadataValue, dg.BoolMetadataValue, dg.PathMetadataValue,
    dg.JsonMetadataValue, dg.TimestampMetadataValue, dg.UrlMetadataValue,
)  # fmt: skip
_FACT_NAMES = {"dagster/partition_row_count": "rows", "dagster/row_count": "rows"}


def _failure_text(event: dg.DagsterEvent) -> str:
    if _was_interrupted(event):
        return "Interrupted; what was finished is kept."
    error = _first_cause(event)
    return _OURS.sub("", error.message.strip() if error else event.message or "") or "The run failed."


def _was_interrupted(event: dg.DagsterEvent) -> bool:
    error = _first_cause(event)
    return error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__


def _first_cause(event: dg.DagsterEvent) -> Any:  # noqa: ANN401 - Dagster exports no public name for it
    error = getattr(event.event_specific_data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    return error


_OURS = re.compile(r"^(?:pipelines|research|strategies|broker|warehouse|risk)\.errors\.\w+: ")
"""What Dagster puts before the sentence of one of our errors."""


def _joined(outcomes: Sequence[RunOutcome]) -> RunOutcome:
    errors = [outcome.error for outcome in outcomes if outcome.error]
    return RunOutcome(
        run_ids=tuple(run_id for outcome in outcomes for run_id in outcome.run_ids),
        success=bool(outcomes) and all(outcome.success for outcome in outcomes),
        failures={name: sentence for outcome in outcomes for name, sentence in outcome.failures.items()},
        progress=tuple(step for outcome in outcomes for step in outcome.progress),
        error=errors[0] if errors else None,
        interrupted=any(outcome.interrupted for outcome in outcomes),
    )
