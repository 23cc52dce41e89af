"""One set of parameters: run, and measured by one figure.

Belongs here: trials on the kernel where it can run them exactly, on the fast engine elsewhere. Does not belong here:
which parameters are tried (see `grid`).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from research.daily import session_closes
from research.engine import PreparedRun, limits_of, replay
from research.engine.choice import Engine
from research.engine.kernel import Kernel, ineligible
from research.engine.kernel.figures import FIGURES
from research.experiment import Experiment
from research.metric_catalog import METRICS
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
    return figures(experiment, output)[metric]


def figures(experiment: Experiment, output: RunOutput, since: int = 0) -> dict[str, float | None]:
    """Every figure of a finished run that is a number and needs no benchmark, as `evaluate` measures it.

    Sessions before number `since` are not measured; nothing may have filled in them.
    """
    closes, scale = session_closes(output.equity), Scale(experiment.annualization, experiment.risk_free)
    equity, start = output.equity, output.starting_cash
    if since:
        start = float(closes.iloc[since - 1])
        closes = closes.iloc[since:]
        equity = equity.filter(pc.greater_equal(equity["session"], pa.scalar(closes.index[0].date())))
    sessions = len(closes)
    trades = trade_metrics(output.trades, sessions, scale)
    measured = return_metrics(closes, start, scale) | activity_metrics(equity, output.fills, scale, sessions) | trades
    earned = trades.values["gross_profit"]
    money = {
        "final_equity": output.final_equity,
        "net_profit": output.final_equity - start,
        "open_profit": sum(output.open_trades["net_profit"].to_pylist()),
        "fees": output.commission,
        "slippage": output.slippage,
        "financing": sum(equity["financing"].to_pylist()) if since else output.financing,
        "fees_to_gross_profit": output.commission / earned if earned is not None and earned > 0.0 else None,
    }
    found = dict(measured.values) | money
    return {name: _number(found.get(name)) for name in METRICS if name in FIGURES}


def _number(value: object) -> float | None:
    number = float(value) if isinstance(value, int | float) else math.nan
    return number if math.isfinite(number) else None
