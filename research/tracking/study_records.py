"""A kept study as a tracked run.

Belongs here: from the files of `research.study` to the plain values of `studies`. Does not belong here: which of them
are tracked.

The run's name leaves out how many trials were asked for: a study that goes on completes the run that it has.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from research.metric_catalog import Better
from research.study.objective import Objective
from research.study.records import StudyRecord
from research.study.specification import StudySpecification
from research.tracking.run import TrackedDataset, TrackedRun
from research.tracking.studies import Children, tracked_study

_FILES = ("study.json", "trials.parquet", "report.html")
_HOW_LONG = ("n_trials", "timeout", "trial_timeout")


def tracked_study_record(
    record: StudyRecord,
    data_versions: Mapping[str, str],
    *,
    children: Children | None = None,
    dagster_run_id: str | None = None,
    dagster_run_url: str | None = None,
) -> TrackedRun:
    """The study as it is kept, with its page, its table of trials and its report.

    Args:
        record: the study.
        data_versions: content hash of the bars by symbol.
        children: which trials become runs; the best five and a sample of five unless given.
        dagster_run_id: the run that computed it.
        dagster_run_url: where that run is shown.
    """
    specification = record.specification
    document = {name: value for name, value in specification.document().items() if name not in _HOW_LONG}
    experiment = specification.experiment
    rows = record.trials.to_pylist()
    moments = [row[name] for row in rows for name in ("started_at", "finished_at") if row[name] is not None]
    now = datetime.now(UTC)
    what = f"{experiment.resolution.value} bars, {experiment.start} to {experiment.end}, adjusted: {experiment.adjust}"
    return tracked_study(
        name=record.name,
        specification={
            **document,
            "strategy": experiment.strategy,
            "symbols": list(experiment.symbols),
            "resolution": experiment.resolution.value,
        },
        trials=[{**row, "params": json.loads(row["params"]), "metrics": json.loads(row["metrics"])} for row in rows],
        best=_best_first(rows, specification),
        started=min(moments, default=now),
        ended=max(moments, default=now),
        artifacts=[record.folder / name for name in _FILES if (record.folder / name).exists()],
        tags={
            **experiment.tags.model_dump(exclude_none=True),
            "state": record.state,
            "seed": specification.seed,
            "code_version": record.page.get("code_version"),
            **{f"data_version.{symbol}": digest for symbol, digest in data_versions.items()},
        },
        datasets=[TrackedDataset(symbol, digest, f"{symbol}: {what}") for symbol, digest in data_versions.items()],
        children=children,
        identity=_identity(document, data_versions),
        dagster_run_id=dagster_run_id,
        dagster_run_url=dagster_run_url,
    )


def _best_first(rows: Sequence[Mapping[str, Any]], specification: StudySpecification) -> list[int]:
    """Numbers of the complete trials with a value; of several objectives the first decides."""
    wanted = specification.objective
    first = Objective.parse(wanted if isinstance(wanted, str) else wanted[0], specification.penalties)
    sign = 1.0 if first.better is Better.LOWER else -1.0
    known = [row for row in rows if row["state"] == "complete" and row["value"] is not None]
    return [int(row["number"]) for row in sorted(known, key=lambda row: sign * row["value"])]


def _identity(document: Mapping[str, Any], data_versions: Mapping[str, str]) -> str:
    text = json.dumps([document, dict(data_versions)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
