"""A finished study made without a search: every point of a small grid, measured and written as studies are.

Belongs here: what tests of hold-out, assessment and promotion share. Does not belong here: tests.
"""

import datetime as dt

import numpy as np

from research.daily import daily_returns, session_closes
from research.engine import replay
from research.study.objective import Objective
from research.study.outcome import StudyTrial, TrialState, ranked
from research.study.records import load_study, save_page, save_tables, tables_of
from research.study.space import SearchSpace
from research.study.specification import StudySpecification
from research.study.trial import figures, with_params
from research.walkforward.study import searched_range
from tests.unit.research.scenarios import daily, walk

MOMENT = dt.datetime(2024, 5, 6, tzinfo=dt.UTC)
SPACE = {
    "sma_short": {"type": "int", "low": 3, "high": 9, "step": 2},
    "sma_long": {"type": "int", "low": 12, "high": 30, "step": 6},
}


def specification(name="demo", **fields):
    """A crossover on A, 2020-01-02 to the end of 2024 or of its bars."""
    experiment = {
        "strategy": "strategies.sma_crossover.SMACrossover", "symbols": ["A"], "costs": "ibkr_fixed",
        "start": "2020-01-01", "end": "2024-12-31",
    }  # fmt: skip
    experiment |= fields.pop("experiment", {})
    return StudySpecification.build(**{"name": name, "experiment": experiment, "space": SPACE, **fields})


def finished(results, spec, bars):
    """The study's record after every point of its grid was run."""
    prepared = searched_range(spec, bars)
    space = SearchSpace.of(prepared.strategy, prepared.experiment.params, spec.space)
    objective = Objective.parse(spec.objectives[0], spec.penalties)
    trials = [_trial(number, point, prepared, space, objective) for number, point in enumerate(space.points())]
    sessions = np.unique(np.concatenate([one.sessions for one in prepared.bars.values()]))
    save_tables(results, spec.name, tables_of(trials, [dt.date(1970, 1, 1) + dt.timedelta(int(d)) for d in sessions]))
    best = next(iter(ranked(trials, objective.better)), None)
    save_page(
        results,
        {
            "name": spec.name,
            "specification": spec.document(),
            "state": "complete",
            "trials_run": len(trials),
            "best": best
            and {
                "number": best.number,
                "value": best.value,
                "params": dict(best.params),
                "metrics": dict(best.metrics),
            },
            "hold_out": {"looked_at": None, "metrics": None} if spec.hold_out else None,
        },
    )
    return load_study(results, spec.name)


def _trial(number, point, prepared, space, objective):
    run = with_params(prepared, space.complete(point))
    output = replay(run)
    metrics = figures(run.experiment, output)
    score = objective.score(metrics)
    returns = daily_returns(session_closes(output.equity), output.starting_cash).to_numpy()
    return StudyTrial(
        number,
        point,
        TrialState.COMPLETE,
        value=score.value,
        plain_value=score.plain,
        metrics=metrics,
        returns=returns,
        engine=output.engine,
    )


def noise(seed=1, count=1_000):
    """A random walk without drift."""
    return {"A": walk("A", count, seed)}


def trending(seed=1, *, count=1_000, length=60, drift=0.004, risk=0.008, first="2020-01-02"):
    """Long runs up and down in turn: an average that follows them earns, whatever its length."""
    rng = np.random.default_rng(seed)
    direction = np.where((np.arange(count) // length) % 2 == 0, 1.0, -1.0)
    close = 50.0 * np.exp(np.cumsum(direction * drift + rng.normal(0, risk, count)))
    opens = np.concatenate([[50.0], close[:-1]])
    rows = zip(
        opens, np.maximum(opens, close) * 1.003, np.minimum(opens, close) * 0.997, close, [1e7] * count, strict=True
    )
    return {"A": daily("A", list(rows), first)}
