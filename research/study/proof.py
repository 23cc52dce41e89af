"""Kernel trials run again on Backtrader.

Belongs here: which trials are run again, and the comparison. Does not belong here: the engines.

That the kernel gives Backtrader's own result is not taken on trust: the best trials and a random sample of the others
are run again on Backtrader's objects, the best of all on Backtrader's own loop.
"""

import random
from collections.abc import Sequence

from research.engine import PreparedRun, replay
from research.engine.choice import Engine
from research.engine.verify import first_difference
from research.errors import ExperimentError, UnprovenError
from research.metric_catalog import Better
from research.study.evaluate import Evaluator, combined, part_of_output
from research.study.outcome import StudyTrial, TrialState, ranked
from research.study.specification import StudySpecification
from research.study.trial import with_params

_CLOSE = 1e-9  # the search and the full measurement add the same numbers, not always in the same order


def prove(
    prepared: PreparedRun, specification: StudySpecification, trials: Sequence[StudyTrial], better: Better
) -> int:
    """Run the best kernel trials and a sample of the others again.

    Returns:
        How many there were.

    Raises:
        UnprovenError: one is not Backtrader's result; the sentence says where.
    """
    ran = [one for one in trials if one.engine == Engine.KERNEL and one.state is TrialState.COMPLETE]
    best = ranked(ran, better)[: specification.verify_best]
    others = [one for one in ran if one not in best]
    generator = random.Random(specification.seed)  # noqa: S311 (a sample, not a secret)
    sample = generator.sample(others, min(specification.verify_sample, len(others)))
    evaluator = Evaluator(prepared, specification)
    for place, trial in enumerate([*best, *sample]):
        _prove(evaluator, specification, trial, Engine.FAST if place else Engine.VANILLA)
    return len(best) + len(sample)


def _prove(evaluator: Evaluator, specification: StudySpecification, trial: StudyTrial, engine: Engine) -> None:
    params = evaluator.complete(trial.params)
    where = ", ".join(f"{name}={value}" for name, value in trial.params.items())
    measured = []
    for part in evaluator.parts:
        run = with_params(part.prepared, params)
        reference = replay(run, engine=engine)
        measured.append(part_of_output(reference, part).metrics)
        try:
            here = replay(run, engine=Engine.KERNEL)
        except ExperimentError:  # a limit acted: the kernel keeps no record, its figures must still be the same
            continue
        found = first_difference(reference, here)
        if found is not None:
            raise UnprovenError(
                f"{specification.name}: the kernel differs from Backtrader at {where}: {found.what} is {found.here},"
                f" not {found.vanilla}."
            )
    again = combined(measured)
    for name, value in trial.metrics.items():
        if not _same(value, again.get(name)):
            raise UnprovenError(
                f"{specification.name}: the kernel differs from Backtrader at {where}: {name} is {value!r}, not"
                f" {again.get(name)!r}."
            )


def _same(here: float | None, there: float | None) -> bool:
    if here is None or there is None:
        return here is there
    return abs(here - there) <= _CLOSE * max(1.0, abs(there))
