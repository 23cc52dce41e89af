"""How much each parameter of a study decides about its value.

Belongs here: functional ANOVA over trials that are done. Does not belong here: drawing it (see `report_figures`).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from research.study.report_view import TrialView

FEWEST_TRIALS = 10
_MOST_TRIALS, _TREES, _DEPTH = 500, 32, 10
"""More of them change the third digit of a share, and cost seconds."""


def importances(trials: Sequence[TrialView], names: Sequence[str], *, seed: int = 0) -> dict[str, float] | None:
    """Share of the value's variance that each parameter explains, greatest first; they add up to 1.

    Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", 2014, by optuna.

    Args:
        trials: with a value; of very many an even sample is taken.
        names: parameters that vary. Those that not every trial has are left out.
        seed: of the trees.

    Returns:
        None where there are too few trials or parameters, or the value does not vary.
    """
    shared = [name for name in names if all(name in trial.params for trial in trials)]
    if len(trials) < FEWEST_TRIALS or not shared or len({trial.value for trial in trials}) < 2:
        return None
    if len(shared) == 1:
        return {shared[0]: 1.0}
    import optuna  # noqa: PLC0415 (a second)
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # noqa: PLC0415

    spaces = {name: _distribution([trial.params[name] for trial in trials]) for name in shared}
    with _quiet():
        study = optuna.create_study()
    study.add_trials(
        optuna.trial.create_trial(
            value=trial.value,
            params={name: _plain(trial.params[name], spaces[name]) for name in shared},
            distributions=dict(spaces),
        )
        for trial in trials[:: -(-len(trials) // _MOST_TRIALS)]
    )
    evaluator = FanovaImportanceEvaluator(n_trees=_TREES, max_depth=_DEPTH, seed=seed)
    found = get_param_importances(study, evaluator=evaluator, params=shared)
    return dict(sorted(((name, float(share)) for name, share in found.items()), key=lambda pair: -pair[1]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna announces a new study on stderr, which nobody here has started."""
    log = logging.getLogger("optuna")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def _distribution(values: Sequence[Any]) -> Any:  # noqa: ANN401
    from optuna import distributions  # noqa: PLC0415

    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return distributions.IntDistribution(min(values), max(values))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return distributions.FloatDistribution(float(min(values)), float(max(values)))
    return distributions.CategoricalDistribution(sorted({str(value) for value in values}))


def _plain(value: Any, space: Any) -> Any:  # noqa: ANN401
    return str(value) if type(space).__name__ == "CategoricalDistribution" else value


def two_most(shares: Mapping[str, float] | None) -> tuple[str, str] | None:
    """The two parameters that decide most; None where there are not two."""
    names = list(shares or ())
    return (names[0], names[1]) if len(names) > 1 else None
