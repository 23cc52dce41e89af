"""What the outside world tells the graph: which symbols, experiments and studies there are.

Belongs here: sensors that turn a folder or a universe into partition keys. Does not belong here: market hours (see
`schedules`), assets that follow assets (see `automation`), anything that computes.
"""

from pathlib import Path

import dagster as dg

from pipelines.errors import SettingsError
from pipelines.partitions import (
    PartitionChange,
    experiment_partitions,
    partition_change,
    study_partitions,
    symbol_keys,
    symbol_partitions,
)
from pipelines.prefixes import PREFIXES
from pipelines.resources import ResearchResource, SourceResource, WarehouseResource

_EVERY_SECONDS = 60


def read_universe(path: Path) -> list[str]:
    """Symbols of a text file: one a line, `#` begins a comment.

    Raises:
        SettingsError: the file cannot be read, or holds no symbol. A failed read is not an empty universe.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"BARLOOM_UNIVERSE_FILE: {path} cannot be read ({error.strerror}).") from None
    symbols = [symbol for line in lines if (symbol := line.partition("#")[0].strip())]
    if not symbols:
        raise SettingsError(f"BARLOOM_UNIVERSE_FILE: {path} holds no symbol.")
    return symbols


def universe_change(
    instance: dg.DagsterInstance, source: SourceResource, warehouse: WarehouseResource
) -> PartitionChange:
    """What turns the symbol partitions into the universe; symbols with bars on disk stay."""
    store = warehouse.open()
    wanted = read_universe(Path(source.universe_file)) if source.universe_file else list(source.symbols())
    held = [symbol for resolution in PREFIXES for symbol in store.symbols(resolution)]
    return partition_change(
        instance.get_dynamic_partitions(symbol_partitions.name or ""),
        symbol_keys([*wanted, *held]),
        in_flight=any_run_in_flight(instance),
    )


def experiments_change(instance: dg.DagsterInstance, research: ResearchResource) -> PartitionChange:
    """What turns the experiment partitions into the files of the experiment folders."""
    return partition_change(
        instance.get_dynamic_partitions(experiment_partitions.name or ""),
        list(research.experiments()),
        in_flight=any_run_in_flight(instance),
    )


def studies_change(instance: dg.DagsterInstance, research: ResearchResource) -> PartitionChange:
    """What turns the study partitions into the files of the study folders."""
    return partition_change(
        instance.get_dynamic_partitions(study_partitions.name or ""),
        list(research.studies()),
        in_flight=any_run_in_flight(instance),
    )


def any_run_in_flight(instance: dg.DagsterInstance) -> bool:
    """True while a run is queued, starting, running or being cancelled."""
    from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

    statuses = [*IN_PROGRESS_RUN_STATUSES, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
    return bool(instance.get_run_ids(dg.RunsFilter(statuses=statuses), limit=1))


def _result(partitions: dg.DynamicPartitionsDefinition, change: PartitionChange) -> dg.SensorResult | dg.SkipReason:
    if change.empty:
        return dg.SkipReason(f"The {partitions.name} are as they should be.")
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if change.add:
        requests.append(partitions.build_add_request(list(change.add)))
    if change.delete:
        requests.append(partitions.build_delete_request(list(change.delete)))
    return dg.SensorResult(dynamic_partitions_requests=requests)


@dg.sensor(
    minimum_interval_seconds=_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Symbols of the universe file (or those the source lists) become partitions.",
)
def universe(
    context: dg.SensorEvaluationContext,
    source: dg.ResourceParam[SourceResource],
    warehouse: dg.ResourceParam[WarehouseResource],
) -> dg.SensorResult | dg.SkipReason:
    """Keep the symbol partitions as the universe says."""
    return _result(symbol_partitions, universe_change(context.instance, source, warehouse))


@dg.sensor(
    minimum_interval_seconds=_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Files in the experiments folder become partitions.",
)
def experiments(
    context: dg.SensorEvaluationContext, research: dg.ResourceParam[ResearchResource]
) -> dg.SensorResult | dg.SkipReason:
    """Keep the experiment partitions as the folder says."""
    for path in research.misnamed():
        context.log.warning(f"{path} is left out: an experiment's name holds only letters, digits, '_' and '-'.")
    return _result(experiment_partitions, experiments_change(context.instance, research))


@dg.sensor(
    minimum_interval_seconds=_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Files in the studies folder become partitions.",
)
def studies(
    context: dg.SensorEvaluationContext, research: dg.ResourceParam[ResearchResource]
) -> dg.SensorResult | dg.SkipReason:
    """Keep the study partitions as the folder says."""
    return _result(study_partitions, studies_change(context.instance, research))


def build_sensors() -> list[dg.SensorDefinition]:
    """All of them."""
    return [universe, experiments, studies]
