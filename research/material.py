"""What the statistics of a study are computed from, read off its record.

Belongs here: the returns of all trials, how many there ever were, the best one from all sides, hold-out and
walk-forward where there are any. Does not belong here: statistics (see `research.overfitting`), judging and keeping
them (see `research.assessment`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from research.engine import PreparedRun, prepare_run
from research.errors import StudyError
from research.evidence import Evidence, gather
from research.hold_out import best_params, untouched
from research.metric_catalog import Better
from research.run_output import RunOutput
from research.study.objective import Objective
from research.study.records import StudyRecord, trials_ever
from research.study.trial import figures
from research.walkforward.files import WalkForwardRecord, load_walk_forward
from research.walkforward.run import between, day

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Everything that is known about a study.

    Attributes:
        name: the study.
        annualization: sessions a year.
        higher: whether more of the objective is better.
        numbers: trials that ran all sessions, in their order; a row of `returns` each.
        params: what was varied in each of them.
        values: the objective of each, NaN where it has none.
        returns: daily, trials x sessions.
        best: row of the best trial.
        tried: trials of this study, those that failed or were pruned included.
        tried_ever: trials of every study on these symbols, this one included.
        evidence: the best trial from all sides.
        hold_out: what the hold-out showed; None where nobody looked or the look is spent.
        hold_out_remark: why there is none, in a sentence.
        walk_forward: of the same specification, None where there is none.
    """

    name: str
    annualization: int
    higher: bool
    numbers: tuple[int, ...]
    params: tuple[Mapping[str, Any], ...]
    values: Floats
    returns: Floats
    best: int
    tried: int
    tried_ever: int
    evidence: Evidence
    hold_out: Mapping[str, Any] | None
    hold_out_remark: str | None
    walk_forward: WalkForwardRecord | None


def material_of(record: StudyRecord, bars: Mapping[str, pa.Table], *, seed: int = 0) -> Material:
    """Gather it.

    Args:
        record: a study with a best trial whose returns were kept.
        bars: BARS_SCHEMA by symbol, as the study had them.
        seed: chooses the other starts of the best trial.

    Raises:
        StudyError: no trial has a value, or daily returns were not kept.
    """
    results, specification = record.folder.parent.parent, record.specification
    prepared = _searched(record, bars)
    params = best_params(record, prepared)
    objective = Objective.parse(specification.objectives[0], specification.penalties)

    def measure(output: RunOutput) -> float | None:
        return objective.score(figures(prepared.experiment, output)).value

    numbers, returns = _whole(record)
    rows = {row["number"]: row for row in record.trials.select(["number", "value", "params"]).to_pylist()}
    values = [rows[number]["value"] for number in numbers]
    best = (record.best or {})["number"]
    if best not in numbers:
        raise StudyError(f"study: the daily returns of {record.name}'s best trial, {best}, were not kept.")
    others = trials_ever(results, specification.experiment.symbols, without=record.name)
    hold_out, remark = _hold_out(record)
    return Material(
        name=record.name,
        annualization=specification.experiment.annualization,
        higher=objective.better is not Better.LOWER,
        numbers=numbers,
        params=tuple(json.loads(rows[number]["params"]) for number in numbers),
        values=np.array([np.nan if value is None else value for value in values]),
        returns=returns,
        best=numbers.index(best),
        tried=int(record.page["trials_run"]),
        tried_ever=others.total + int(record.page["trials_run"]),
        evidence=gather(prepared, params, measure, seed=seed),
        hold_out=hold_out,
        hold_out_remark=remark,
        walk_forward=_walk_forward(results, record),
    )


def _searched(record: StudyRecord, bars: Mapping[str, pa.Table]) -> PreparedRun:
    """The experiment on the sessions that were searched."""
    prepared = prepare_run(record.specification.experiment, bars)
    sessions = record.sessions["session"].cast(pa.int32()).to_numpy()
    if not len(sessions):
        raise StudyError(f"study: {record.name} has not kept the sessions of its search.")
    return between(prepared, day(sessions[0]), day(sessions[-1]))


def _whole(record: StudyRecord) -> tuple[tuple[int, ...], Floats]:
    """Trials whose returns are known on every session: a pruned one has seen only some."""
    numbers, returns = record.returns_matrix()
    whole = np.flatnonzero(np.isfinite(returns).all(axis=1))
    return tuple(numbers[row] for row in whole), returns[whole]


def _hold_out(record: StudyRecord) -> tuple[Mapping[str, Any] | None, str | None]:
    hold_out = record.page.get("hold_out")
    if hold_out is None:
        return None, "The study kept no hold-out."
    if hold_out.get("looked_at") is None:
        return None, "Nobody has looked at the hold-out yet."
    spent = untouched(record)
    return (dict(hold_out["metrics"]), None) if spent is None else (None, spent)


def _walk_forward(results: Path, record: StudyRecord) -> WalkForwardRecord | None:
    """The walk-forward of the same specification; one of an earlier specification tells nothing about this."""
    try:
        found = load_walk_forward(results, record.name)
    except StudyError:
        return None
    asked = json.loads(json.dumps(record.specification.determining()))
    told = {key: found.page["specification"].get(key) for key in asked}
    return found if told == asked else None
