"""One set of parameters: run, and measured by one figure.

Belongs here: trials on the kernel where it can run them exactly, on the fast engine elsewhere. Does not belong here:
which parameters are tried (see `grid`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from research.daily import session_closes
from research.engine import PreparedRun, limits_of, replay
from research.engine.choice import Engine
from research.engine.kernel import Kernel, ineligible
from research.experiment import Experiment
from research.metrics import Scale, activity_metrics, return_metrics, trade_metrics
from research.run_output import RunOutput


@dataclass(frozen=True, slots=True)
class Trial:
    """What one set of parameters came to. `value` is None where the figure is not measurable."""

    params: Mapping[str, Any]
    value: float | None
    engine: str


def with_params(prepared: PreparedRun, params: Mapping[str, Any]) -> PreparedRun:
    """The same run with other (checked, complete) parameters, and the limits that they mean."""
    limits = limits_of(prepared.experiment, prepared.strategy, params)
    return replace(prepared, params=params, limits=limits)


def is_compiled(prepared: PreparedRun) -> bool:
    """Whether trials run on the kernel, some ten thousand a second; on the fast engine they are some fifty."""
    return ineligible(prepared) is None


def run_trials(prepared: PreparedRun, points: Sequence[Mapping[str, Any]], metric: str) -> list[Trial]:
    """A trial of each set of (checked, complete) parameters, in their order."""
    return list(_trials(prepared, points, metric))


def _trials(prepared: PreparedRun, points: Iterable[Mapping[str, Any]], metric: str) -> Iterator[Trial]:
    kernel = Kernel.prepare(prepared) if is_compiled(prepared) else None
    for params in points:
        run = None if kernel is None else kernel.run(params)
        if run is None or run.uncertain is not None:
            yield Trial(params, _measured(with_params(prepared, params), metric), Engine.FAST.value)
        else:
            yield Trial(params, run.metrics([metric])[metric], Engine.KERNEL.value)


def _measured(prepared: PreparedRun, metric: str) -> float | None:
    return figure(prepared.experiment, replay(prepared, engine=Engine.FAST), metric)


def figure(experiment: Experiment, output: RunOutput, metric: str) -> float | None:
    """One figure of a finished run, as `evaluate` measures it."""
    closes, scale = session_closes(output.equity), Scale(experiment.annualization, experiment.risk_free)
    sessions = len(closes)
    measured = (
        return_metrics(closes, output.starting_cash, scale)
        | activity_metrics(output.equity, output.fills, scale, sessions)
        | trade_metrics(output.trades, sessions, scale)
    )
    money = {"final_equity": output.final_equity, "net_profit": output.final_equity - output.starting_cash}
    value = (dict(measured.values) | money).get(metric)
    return None if value is None else float(value)
