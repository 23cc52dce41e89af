"""The untouched end of a study's range: looked at once, and it is recorded when.

Belongs here: running the best trial on the hold-out, remembering the look. Does not belong here: choosing trials (see
`research.study`), judging what was found (see `research.overfitting`).

A second look would be a choice among looks, so there is none: whoever asks again is told what was found the first
time, and when. Trials that are run after the look may have been steered by it; from then on the hold-out proves
nothing, and `untouched` says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from research.engine import PreparedRun, prepare_run
from research.errors import StudyError
from research.metric_catalog import format_number
from research.study.objective import Objective
from research.study.records import RUNNING, StudyRecord, load_study, record_hold_out, save_page
from research.study.space import SearchSpace
from research.study.trial import figures
from research.walkforward.run import day, run_test

_WARMUP = 500  # sessions


@dataclass(frozen=True, slots=True)
class HoldOut:
    """What the hold-out showed.

    Attributes:
        looked_at: when, UTC.
        metrics: figures of the best trial on it, by the names of `research.metric_catalog`; `objective` is the value.
        first: whether this was the look, and not a memory of it.
        sentence: the same for a person.
    """

    looked_at: datetime
    metrics: Mapping[str, float | None]
    first: bool
    sentence: str


def look_at_hold_out(results: Path, name: str, bars: Mapping[str, pa.Table], *, now: datetime | None = None) -> HoldOut:
    """Run the best trial of a study on its hold-out, once; afterwards tell what was found then.

    Raises:
        StudyError: there is no such study, it is running, it kept no hold-out, or none of its trials has a value.
        BarsError: there are no bars in the hold-out.
    """
    record = load_study(results, name)
    kept = record.page.get("hold_out")
    if kept is None:
        raise StudyError(f"hold_out: the study {name} kept none.")
    if kept.get("looked_at") is not None:
        return _told(record, first=False)
    if record.state == RUNNING:
        raise StudyError(f"hold_out: the study {name} is running; look when it is done.")
    metrics = _measured(record, bars)
    # the number of trials first: without a look it means nothing, and a look without it would never be spent
    save_page(results, {**record.page, "hold_out": {**kept, "trials": record.page["trials_run"]}})
    return _told(record_hold_out(results, name, metrics, now=now), first=True)


def untouched(record: StudyRecord) -> str | None:
    """Why what the hold-out showed proves nothing, in a sentence; None where it does, or nobody looked yet."""
    hold_out = record.page.get("hold_out")
    if hold_out is None or hold_out.get("looked_at") is None or "trials" not in hold_out:
        return None
    more = int(record.page["trials_run"]) - int(hold_out["trials"])
    if more <= 0:
        return None
    return f"{more} trials were run after the hold-out was looked at on {_day(hold_out['looked_at'])}."


def _measured(record: StudyRecord, bars: Mapping[str, pa.Table]) -> dict[str, float | None]:
    specification = record.specification
    prepared = prepare_run(specification.experiment, bars)
    sessions = np.unique(np.concatenate([one.sessions for one in prepared.bars.values()]))
    last = record.sessions["session"].cast(pa.int32()).to_numpy()[-1]
    unseen = sessions[sessions > last]
    if not len(unseen):
        raise StudyError(f"hold_out: there are no bars of {record.name} after its search ended on {day(last)}.")
    params = best_params(record, prepared)
    test = run_test(prepared, params, day(unseen[0]), day(unseen[-1]), warmup=_WARMUP)
    metrics = figures(test.prepared.experiment, test.output)
    objective = Objective.parse(specification.objectives[0], specification.penalties)
    return {"objective": objective.score(metrics).value, **metrics, "closing_costs": test.closing_costs}


def best_params(record: StudyRecord, prepared: PreparedRun) -> dict[str, Any]:
    """Every parameter of a study's best trial.

    Raises:
        StudyError: none of its trials has a value.
    """
    best = record.best
    if best is None:
        raise StudyError(f"study: no trial of {record.name} has a value, so there is no best one.")
    space = SearchSpace.of(prepared.strategy, prepared.experiment.params, record.specification.space)
    return space.complete(best["params"])


def _told(record: StudyRecord, *, first: bool) -> HoldOut:
    hold_out = record.page["hold_out"]
    looked = datetime.fromisoformat(hold_out["looked_at"])
    metrics = dict(hold_out["metrics"])
    value, objective = metrics.get("objective"), record.specification.objectives[0]
    shown = "has no value" if value is None else f"is {format_number(value)}"
    when = "now, for the only time" if first else f"on {_day(hold_out['looked_at'])}, and is not looked at again"
    spent = untouched(record)
    sentence = f"The hold-out of {record.name} was looked at {when}: {objective} {shown} on it."
    return HoldOut(looked, metrics, first, sentence if spent is None else f"{sentence} {spent}")


def _day(stamp: str) -> str:
    return datetime.fromisoformat(stamp).date().isoformat()
