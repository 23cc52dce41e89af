"""A study as a tracked run whose children are trials.

Belongs here: what of a study is tracked and which of its trials get a run of their own. Does not belong here: running
studies (`research.study`), sending.

Every trial's value is on the parent, as the course of `value` over trial numbers; only some trials are runs, because a
run costs a store milliseconds and a person cannot read ten thousand of them. Where all are wanted, all are written.
"""

import hashlib
import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from research.tracking.backtests import family_of, note
from research.tracking.errors import TrackingError
from research.tracking.naming import experiment_name, filing_tags, flattened, numbers, texts
from research.tracking.run import NOTE_TAG, RUN_TAG, TrackedDataset, TrackedRun

_STATUS = {"COMPLETE": "FINISHED", "FAIL": "FAILED", "FAILED": "FAILED", "PRUNED": "KILLED"}


@dataclass(frozen=True, slots=True)
class Children:
    """Which trials get a run of their own: the best ones and a sample of the others, or all."""

    best: int = 5
    sample: int = 5
    seed: int = 0
    all: bool = False

    def __post_init__(self) -> None:
        for name in ("best", "sample"):
            if getattr(self, name) < 0:
                raise TrackingError(f"{name}: {getattr(self, name)} must not be negative.")

    def chosen(self, numbers_of_all: Sequence[int], best_first: Sequence[int]) -> list[int]:
        """Trial numbers in their order; the same choice whenever the trials and the seed are the same."""
        if self.all:
            return sorted(numbers_of_all)
        best = list(best_first[: self.best])
        others = sorted(set(numbers_of_all) - set(best))
        # reproducible, not secret
        sampled = random.Random(self.seed).sample(others, min(self.sample, len(others)))  # noqa: S311
        return sorted([*best, *sampled])


def tracked_study(
    *,
    name: str,
    specification: Mapping[str, Any],
    trials: Sequence[Mapping[str, Any]],
    best: Sequence[int],
    started: datetime,
    ended: datetime,
    metrics: Mapping[str, Any] | None = None,
    artifacts: Iterable[Path] = (),
    tags: Mapping[str, Any] | None = None,
    datasets: Iterable[TrackedDataset] = (),
    children: Children | None = None,
    identity: str | None = None,
    dagster_run_id: str | None = None,
    dagster_run_url: str | None = None,
) -> TrackedRun:
    """A study as a parent run and trials as its children.

    Args:
        name: the study's name.
        specification: what was searched and how; its `strategy` (dotted), `symbols` and `resolution` become tags.
        trials: mappings with `number`, `params`, `metrics`, `value`, `state` (COMPLETE, FAIL, PRUNED) and `seconds`.
        best: numbers of the trials, best first; at least as many as are to be children.
        started: when the study began.
        ended: when it was finished.
        metrics: figures of the whole study.
        artifacts: files of the study.
        tags: filing (project, asset_class, strategy_family, strategy, team, status) and whatever else is to be found.
        datasets: what was read.
        children: which trials become runs; the best five and a sample of five unless given.
        identity: names this study's content, a hash or an id; a hash of name and specification unless given.
        dagster_run_id: the run that computed it.
        dagster_run_url: where that run is shown.
    """
    strategy = str(specification.get("strategy", name))
    filed = filing_tags(tags or {}, strategy, family_of(strategy))
    key = f"study-{identity or _hash(name, specification)}"
    by_number = {int(trial["number"]): trial for trial in trials}
    if unknown := [number for number in best if number not in by_number]:
        raise TrackingError(f"best: {unknown[0]} is not the number of a trial of {name}.")
    shared = {
        **(tags or {}), **filed, "study": name, "symbols": ",".join(specification.get("symbols", ())),
        "resolution": specification.get("resolution"), RUN_TAG: dagster_run_id,
    }  # fmt: skip
    experiment = experiment_name(filed)
    chosen = (children or Children()).chosen(sorted(by_number), best)
    return TrackedRun(
        key=key,
        experiment_name=experiment,
        run_name=name,
        started=started,
        ended=ended,
        params=flattened(specification),
        metrics={**numbers(metrics or {}), **_counts(trials, best, by_number)},
        step=len(by_number),
        series=_courses(by_number),
        tags=texts(
            {
                **shared,
                "kind": "study",
                "children": f"{len(chosen)} of {len(by_number)} trials",
                "best_trial": best[0] if best else None,
                NOTE_TAG: note(f"Study `{name}`", dagster_run_id, dagster_run_url),
            }
        ),
        artifacts=tuple(artifacts),
        datasets=tuple(datasets),
        children=tuple(_trial(by_number[number], key, experiment, shared, (started, ended)) for number in chosen),
    )


def _trial(
    trial: Mapping[str, Any],
    study: str,
    experiment: str,
    shared: Mapping[str, Any],
    span: tuple[datetime, datetime],
) -> TrackedRun:
    number, started = int(trial["number"]), span[0]
    state = str(trial.get("state", "COMPLETE")).upper()
    lasted = timedelta(seconds=float(trial.get("seconds") or 0.0))
    return TrackedRun(
        key=f"{study}-{number}",
        experiment_name=experiment,
        run_name=f"trial {number}",
        # when within the study a trial ran is not known, only for how long
        started=started,
        ended=min(started + lasted, max(span)),
        status=_STATUS.get(state, "FINISHED"),
        params=flattened(trial.get("params") or {}),
        metrics=numbers({**(trial.get("metrics") or {}), "value": trial.get("value"), "seconds": trial.get("seconds")}),
        tags=texts({**shared, "kind": "trial", "trial": number, "state": state}),
    )


def _courses(by_number: Mapping[int, Mapping[str, Any]]) -> dict[str, tuple[tuple[int, float], ...]]:
    """The value of every trial; the best so far depends on the direction, which the study's own charts show."""
    values = tuple(
        (number, float(trial["value"]))
        for number, trial in sorted(by_number.items())
        if trial.get("value") is not None and math.isfinite(trial["value"])
    )
    return {"value": values} if values else {}


def _counts(
    trials: Sequence[Mapping[str, Any]], best: Sequence[int], by_number: Mapping[int, Mapping[str, Any]]
) -> dict[str, float]:
    states = [str(trial.get("state", "COMPLETE")).upper() for trial in trials]
    counts = {f"trials.{state.lower()}": float(states.count(state)) for state in set(states)}
    winner = numbers(
        {"value": by_number[best[0]].get("value"), **(by_number[best[0]].get("metrics") or {})} if best else {}
    )
    return {"trials": float(len(trials)), **counts, **{f"best.{name}": value for name, value in winner.items()}}


def _hash(name: str, specification: Mapping[str, Any]) -> str:
    text = json.dumps([name, specification], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
