"""The assets of the lab: studies and their walk-forward.

Belongs here: thin asset bodies, the checks on studies, what the UI shows. Does not belong here: searching and judging
(see `research.study`, `research.overfitting`), the order of the steps (see `studying`).
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field

from pipelines.assets import OWNERS
from pipelines.errors import PipelineError
from pipelines.fanout import Done, Events, fan_out
from pipelines.keys import COMPUTING, NO_VALUE, STUDIES, WALK_FORWARD
from pipelines.metadata import figures_table, file_link, records_table, sparkline
from pipelines.partitions import study_partitions
from pipelines.research_assets import EXPERIMENT_BARS
from pipelines.resources import ResearchResource, WarehouseResource
from pipelines.stamps import version_of

if TYPE_CHECKING:
    from pipelines.studying import CarriedStudy
    from research.study import StudyRecord
    from research.walkforward.files import WalkForwardRecord

_SHOWN = 50


class StudyConfig(dg.Config):
    """What one run of studies may change; the defaults run a study as its file says."""

    workers: int = Field(default=0, ge=0, description="Processes that run trials; 0 chooses by the work.")
    cluster: str = Field(default="", description="Address of a Dask scheduler, tcp://..., instead of processes here.")
    n_trials: int = Field(default=0, ge=0, description="Go on up to this many trials; 0 keeps the study's own number.")
    assess: bool = Field(default=True, description="Judge the study when it is complete and write its report.")
    mlflow: bool = Field(default=False, description="Track the study in MLflow.")
    mlflow_children: Literal["some", "all"] = Field(
        default="some", description="Trials that become runs of their own: the best and a sample, or all."
    )


class WalkForwardConfig(dg.Config):
    """How a range is divided into searches and tests."""

    train: int = Field(default=6, ge=1, description="Length of what is searched.")
    test: int = Field(default=2, ge=1, description="Length of what is tested.")
    step: int = Field(default=2, ge=1, description="From one window to the next.")
    unit: Literal["months", "sessions"] = Field(default="months", description="Of train, test and step.")
    anchored: bool = Field(default=False, description="Every search begins at the first session.")
    embargo: int = Field(default=0, ge=0, description="Sessions between search and test that belong to neither.")
    keep_partial: bool = Field(default=False, description="Keep a last test that the end of the range cuts short.")
    workers: int = Field(default=0, ge=0, description="Processes that run trials; 0 chooses by the work.")


def study_check_specs() -> list[dg.AssetCheckSpec]:
    """One check for each thing that a study is judged by; a failure is told, and stops a promotion, not the graph."""
    from research.overfitting import CHECKS

    return [dg.AssetCheckSpec(name, asset=STUDIES, description=described) for name, described in CHECKS.items()]


def study_check_results(results: Path, keys: Sequence[str]) -> list[dg.AssetCheckResult]:
    """Result of every check over the studies of one run; what could not be measured is no pass."""
    from research.overfitting import CHECKS
    from research.study import load_study

    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CHECKS}
    judged = 0
    for key in keys:
        assessment = load_study(results, key).page["assessment"]
        judged += assessment is not None
        for finding in assessment["findings"] if assessment else ():
            if finding["check"] in found:
                found[finding["check"]].append({"study": key, **finding})
    return [_check_result(name, rows, judged) for name, rows in found.items() if judged]


def _check_result(name: str, rows: Sequence[Mapping[str, Any]], judged: int) -> dg.AssetCheckResult:
    failed = [row for row in rows if row["severity"] != "pass"]
    error = any(row["severity"] == "error" for row in failed)
    return dg.AssetCheckResult(
        asset_key=STUDIES,
        check_name=name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
        description=f"{len(failed)} of {judged} studies of this run do not pass.",
        metadata={"studies": records_table(rows[:_SHOWN], ["study", "severity", "measured", "threshold", "sentence"])},
    )


def study_version(record: "StudyRecord") -> str:
    """Changes when a trial, the hold-out or the assessment changes."""
    page = record.page
    parts = [page["fingerprint"], page["trials_run"], page["best"], page["hold_out"], page["assessment"]]
    return version_of(json.dumps(part, sort_keys=True) for part in parts)


def study_facts(carried: "CarriedStudy") -> dict[str, Any]:
    """The best trial, how many there were, the course of values, and links."""
    from research.overfitting import GRAVITY

    record = carried.record
    page, best = record.page, record.best
    values = record.trials["value"].drop_null().to_numpy()
    facts: dict[str, Any] = {
        "values": sparkline(values, label="value of each trial", height=90),
        "state": record.state,
        "trials": int(page["trials_run"]),
        "trials_ever_on_these_symbols": int(page["prior_trials"]["total"]) + int(page["trials_run"]),
        "sampler": page["sampler"],
        "engines": ", ".join(sorted(page["engines"])),
        **({"engine_reason": page["engine_reason"]} if page["engine_reason"] else {}),
        "verified_on_backtrader": int(page["verified"]),
        "folder": file_link(record.folder),
    }
    if best is not None:
        facts |= {"best": best["value"], "best_parameters": dg.MetadataValue.json(dict(best["params"]))}
    if page["assessment"]:
        rows = sorted(page["assessment"]["findings"], key=lambda one: GRAVITY.index(one["severity"]))
        facts["findings"] = records_table(rows, ["severity", "check", "measured", "threshold", "sentence"])
    if (record.folder / "report.html").exists():
        facts["report"] = file_link(record.folder / "report.html")
    if carried.tracked is not None:
        from pipelines.tracking import tracking_facts

        facts |= tracking_facts(carried.tracked)
    return facts


@dg.asset(
    key=STUDIES,
    pool=COMPUTING,
    deps=EXPERIMENT_BARS,
    partitions_def=study_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    dagster_type=NO_VALUE,
    group_name="research",
    owners=OWNERS,
    kinds={"python", "optuna", "parquet"},
    code_version="1",
    check_specs=study_check_specs(),
    description="Each study: trials of a strategy's parameters, the best of them proven on Backtrader, what honest "
    "statistics say about it, a report. A study that was begun goes on; finished trials are never run again. Bars with "
    "a quality ERROR are refused.",
)
def optimization_studies(
    context: dg.AssetExecutionContext,
    config: StudyConfig,
    warehouse: dg.ResourceParam[WarehouseResource],
    research: dg.ResourceParam[ResearchResource],
) -> Events:
    """Run the studies of the run's partitions, one after the other; each has its own workers."""
    from pipelines.studying import StudyOrder, carry_out_study, request_stop, study_storage
    from research.study import study_folder

    def study(key: str) -> Done:
        order = StudyOrder(
            specification=research.load_study(key),
            warehouse=warehouse.open(),
            results=research.results,
            storage=study_storage(),
            workers=config.workers or None,
            cluster=config.cluster or None,
            n_trials=config.n_trials or None,
            thresholds=research.thresholds() if config.assess else None,
            children=config.mlflow_children if config.mlflow else None,
            dagster_run=context.run.run_id,
        )
        carried = carry_out_study(order, context.log.info)
        return Done(study_version(carried.record), study_facts(carried), unchanged=carried.unchanged)

    def stop() -> None:
        for key in context.partition_keys:
            request_stop(study_folder(research.results, key))

    checks = functools.partial(study_check_results, research.results)
    yield from fan_out(context, study, checks=checks, interrupted=stop)


@dg.asset(
    key=WALK_FORWARD,
    pool=COMPUTING,
    deps=[STUDIES],
    partitions_def=study_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    dagster_type=NO_VALUE,
    group_name="research",
    owners=OWNERS,
    kinds={"python", "parquet"},
    code_version="1",
    description="The search of a study repeated on window after window, and what it found run on the sessions after "
    "each: the stitched curve of the tests. Windows that are done are not searched again.",
)
def walk_forward(
    context: dg.AssetExecutionContext,
    config: WalkForwardConfig,
    warehouse: dg.ResourceParam[WarehouseResource],
    research: dg.ResourceParam[ResearchResource],
) -> Events:
    """Walk forward through the studies of the run's partitions, one after the other."""
    from pipelines.studying import WalkForwardOrder, carry_out_walk_forward, request_stop
    from research.walkforward.files import walk_forward_folder
    from research.walkforward.windows import WalkForwardSettings

    fields = config.model_dump(exclude={"workers"})
    settings = WalkForwardSettings.build(**fields)

    def walk(key: str) -> Done:
        order = WalkForwardOrder(
            research.load_study(key), settings, warehouse.open(), research.results, config.workers or None
        )
        record = carry_out_walk_forward(order, context.log.info)
        if record is None:
            raise PipelineError(f"{key}: stopped before the last window; what is done is kept.")
        return Done(version_of([json.dumps(dict(record.page), sort_keys=True)]), walk_forward_facts(record, research))

    def stop() -> None:
        for key in context.partition_keys:
            request_stop(walk_forward_folder(research.results, key))

    yield from fan_out(context, walk, interrupted=stop)


def walk_forward_facts(record: "WalkForwardRecord", research: ResearchResource) -> dict[str, Any]:
    """The stitched curve, its figures, the windows, and a link."""
    from research.metric_catalog import METRICS, format_metric
    from research.walkforward.files import walk_forward_folder

    figures = {
        METRICS[name].label: format_metric(name, value) for name, value in record.metrics.items() if name in METRICS
    }
    columns = ["window", "test_start", "test_end", "params", "searched", "tested", "efficiency", "reason"]
    return {
        "equity": sparkline(record.equity["equity"].to_numpy(), label="stitched equity", height=90),
        "windows": records_table([_window(row, record) for row in record.windows.to_pylist()[:_SHOWN]], columns),
        "summary": figures_table(record.summary),
        "figures": figures_table(figures),
        "folder": file_link(walk_forward_folder(research.results, record.name)),
    }


def _window(row: Mapping[str, Any], record: "WalkForwardRecord") -> dict[str, Any]:
    """Of its parameters those that were searched; the others are the same in each window."""
    found = json.loads(row["params"]) if row["params"] else {}
    return {**row, "params": " ".join(f"{name}={found[name]}" for name in record.page["drift"] if name in found)}


def study_assets() -> list[dg.AssetsDefinition]:
    """Both."""
    return [optimization_studies, walk_forward]
