"""One asset step that serves many partitions: every good one is reported, every bad one is told, the run fails last.

Belongs here: running one function for each partition of a step, its events, and when a failure ends the run.
Does not belong here: what is computed for a partition.

A Dagster step that raises loses all its partitions and everything downstream. So a step here reports each partition
itself: a materialisation with the partition's own metadata and data version, or an observation with the error. The
steps downstream leave out what failed before them, and the last step of the run raises, naming everything that
failed anywhere in it. Dagster then shows the failed partitions as failed: they were planned in a failed run and never
materialised. `docs/decisions/020-one-bad-symbol.md` has the alternatives.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from pipelines.errors import PipelineError
from pipelines.keys import ERROR_FACT, UNCHANGED_FACT
from pipelines.stamps import Stamp, read_stamp, write_stamp
from research.errors import ResearchError
from risk.errors import RiskError
from strategies.errors import StrategyError
from warehouse.errors import WarehouseError

_SAID_ON_PURPOSE = (WarehouseError, RiskError, StrategyError, ResearchError, PipelineError)
"""Errors whose text is a sentence for a person; others are named with their type and logged with their traceback."""

_NO_EVENT_OF_ITS_OWN = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
"""Dagster's own mark for "this step reports its asset's events itself"; without it the step would report every
partition of its range as materialised, the failed ones too, all with one data version."""

Events = Iterator[dg.AssetMaterialization | dg.AssetObservation | dg.MaterializeResult[Any]]


@dataclass(frozen=True, slots=True)
class Done:
    """What is reported for one partition: its content's version, what it was made from, and what a person sees."""

    version: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[dg.AssetKey, str] = field(default_factory=dict)
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """Why one partition has nothing to report, as one sentence."""

    reason: str
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one partition of a derived asset is made, and how to see that it need not be.

    Attributes:
        inputs: versions of what the partition is made from, by asset key.
        conditions: everything else that decides the outcome (calendar, settings, code).
        standing: version of the content that exists now; None when there is none.
        make: makes the content and returns its version.
        describe: metadata of the content that exists.
    """

    inputs: Callable[[str], Mapping[dg.AssetKey, str]]
    conditions: str
    standing: Callable[[str], str | None]
    make: Callable[[str], str]
    describe: Callable[[str], Mapping[str, Any]]

    def work(self, root: Path, asset: dg.AssetKey) -> "Work":
        """Work that leaves a partition alone when its stamp says that nothing it was made from has changed."""
        name = asset.to_user_string()

        def bring_up_to_date(key: str) -> Done:
            inputs = self.inputs(key)
            named = {upstream.to_user_string(): version for upstream, version in inputs.items()}
            standing, stamp = self.standing(key), read_stamp(root, name, key)
            unchanged = standing is not None and stamp == Stamp(standing, named, self.conditions)
            version = standing if standing is not None and unchanged else self.make(key)
            write_stamp(root, name, key, Stamp(version, named, self.conditions))
            return Done(version, self.describe(key), inputs, unchanged)

        return bring_up_to_date


Work = Callable[[str], Done]
Checks = Callable[[Sequence[str]], Sequence[dg.AssetCheckResult]]


def fan_out(
    context: dg.AssetExecutionContext,
    work: Work,
    *,
    workers: int = 1,
    checks: Checks | None = None,
    interrupted: Callable[[], None] = lambda: None,
) -> Events:
    """Run `work` for each partition key of the step and report it; the body of a partitioned asset.

    Args:
        context: of an asset whose output is `Nothing`.
        work: called in a thread with one partition key.
        workers: partitions worked on at the same time.
        checks: called after all work with the keys that are done; its results belong to this asset.
        interrupted: called when the run is terminated while work is under way, so that long work can end early: the
            step waits for it.

    Raises:
        dagster.Failure: something failed here or upstream in this run, and no step after this one could say so.
    """
    keys = list(context.partition_keys)
    failed = _failed_upstream(context)
    outcomes = _outcomes([key for key in keys if key not in failed], work, workers, interrupted)
    done: list[str] = []
    for key, outcome in outcomes:
        if isinstance(outcome, Done):
            done.append(key)
            yield _materialization(context, key, outcome)
        else:
            failed[key] = outcome.reason
            _log_failure(context, key, outcome)
            yield dg.AssetObservation(context.asset_key, partition=key, metadata={ERROR_FACT: outcome.reason})
    results = checks(done) if checks else ()
    yield dg.MaterializeResult(metadata=_NO_EVENT_OF_ITS_OWN, check_results=list(results))
    failed_here = {key: failed[key] for key in keys if key in failed}
    if failed_here and _is_last_step(context):
        raise _failure(failed_here, len(keys))


def _outcomes(
    keys: Sequence[str], work: Work, workers: int, interrupted: Callable[[], None]
) -> Iterator[tuple[str, Done | Failed]]:
    """Outcome of each key in the given order, as soon as it and those before it are known."""
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="partition")
    try:
        futures = [(key, pool.submit(work, key)) for key in keys]
        for key, future in futures:
            yield key, _outcome(future)
    except BaseException:  # Dagster's interrupt, or Ctrl-C: nothing raises in the threads that work
        interrupted()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _outcome(future: "Future[Done]") -> Done | Failed:
    error = future.exception()
    if error is None:
        return future.result()
    if not isinstance(error, Exception):
        raise error
    if isinstance(error, _SAID_ON_PURPOSE):
        return Failed(str(error))
    return Failed(f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))


def _materialization(context: dg.AssetExecutionContext, key: str, done: Done) -> dg.AssetMaterialization:
    unchanged = {UNCHANGED_FACT: True} if done.unchanged else {}
    return dg.AssetMaterialization(
        context.asset_key, partition=key, metadata={**done.metadata, **unchanged}, tags=_version_tags(context, done)
    )


def _version_tags(context: dg.AssetExecutionContext, done: Done) -> dict[str, str]:
    """The tags that Dagster would write for `DataVersion`, for one partition of a range.

    A partition counts as out of date when an input has another version than at the event that is pointed to here: the
    input's newest event when this step began.
    """
    step = context.get_step_execution_context()
    tags = {
        "dagster/data_version": done.version,
        "dagster/data_version_is_user_provided": "true",
        "dagster/code_version": context.assets_def.code_versions_by_key.get(context.asset_key) or context.run.run_id,
    }
    for key in context.job_def.asset_layer.get(context.asset_key).parent_keys:
        newest = step.maybe_fetch_and_get_input_asset_version_info(key)
        name = key.to_user_string()
        known = newest.data_version.value if newest and newest.data_version else "INITIAL"
        tags[f"dagster/input_data_version/{name}"] = done.inputs.get(key, known)
        tags[f"dagster/input_event_pointer/{name}"] = str(newest.storage_id) if newest else "NULL"
    return tags


def _log_failure(context: dg.AssetExecutionContext, key: str, failed: Failed) -> None:
    context.log.error(f"{key}: {failed.trace or failed.reason}")


def _failed_upstream(context: dg.AssetExecutionContext) -> dict[str, str]:
    """Partition key -> reason of everything that an earlier step of this run reported as failed above this asset."""
    graph = context.job_def.asset_layer.asset_graph
    above = graph.get_ancestor_asset_keys(context.asset_key)
    records = context.instance.all_logs(context.run.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    reasons: dict[str, str] = {}
    for record in records:
        event = record.dagster_event
        if event is None or event.asset_key not in above or event.partition is None:
            continue
        error = event.asset_observation_data.asset_observation.metadata.get(ERROR_FACT)
        if error is not None:
            reasons.setdefault(event.partition, f"{event.asset_key.path[-1]}: {error.value}")
    return reasons


def _is_last_step(context: dg.AssetExecutionContext) -> bool:
    """True when no other asset of this run reads this one, so that nothing later can report its failures."""
    layer = context.job_def.asset_layer
    return not (layer.asset_graph.get(context.asset_key).child_keys & layer.selected_asset_keys)


def _failure(failed: Mapping[str, str], total: int) -> dg.Failure:
    told = "\n".join(f"{key}: {reason}" for key, reason in failed.items())
    return dg.Failure(
        description=f"{len(failed)} of {total} failed; the others are done.\n{told}",
        metadata={"failed": dg.MetadataValue.json(dict(failed))},
        allow_retries=False,
    )
