"""One trial of a study: run on each of its sub-periods, measured, and scored.

Belongs here: what a worker does with a point. Does not belong here: which points (see `sampling`), how they get to a
worker (see `workers`).
"""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from research.daily import session_closes
from research.engine import PreparedRun, replay
from research.engine.choice import Engine
from research.engine.kernel import Kernel, KernelRun, ineligible
from research.engine.kernel.figures import FIGURES, QUICK
from research.errors import IneligibleError, StudyError
from research.metric_catalog import METRICS, Better
from research.run_output import RunOutput
from research.study.folds import Part, parts_of, session_days
from research.study.objective import Objective
from research.study.outcome import Floats, FoldOutcome, StudyTrial, TrialState
from research.study.specification import StudySpecification
from research.study.trial import figures, with_params
from strategies.registry import resolve_params

Bounds = tuple[float | None, ...]
"""What a trial's mean must not be worse than after each fold; None where nothing is asked."""

_SUMMED = frozenset(
    {"sessions", "fills", "trades", "gross_profit", "net_profit", "fees", "slippage", "financing"}
)  # fmt: skip
_LOWEST = frozenset({"max_drawdown", "worst_day"})


@dataclass(frozen=True, slots=True)
class PartRun:
    """One backtest of a trial, measured."""

    metrics: Mapping[str, float | None]
    closes: Floats  # equity at the close before the first measured session, then at each measured one
    days: np.ndarray  # of the measured sessions
    engine: str


class Evaluator:
    """Runs trials of one study, one at a time; it keeps what does not depend on their parameters.

    Args:
        prepared: the experiment on the bars of the search.
        specification: objective, folds and penalties.
        engine: instead of the specification's, to prove what another one gives.

    Attributes:
        engine_reason: why trials do not run on the fastest engine, in a sentence; None where they do.

    Raises:
        StudyError: the kernel was asked for by name and cannot run the strategy.
    """

    def __init__(self, prepared: PreparedRun, specification: StudySpecification, engine: Engine | None = None) -> None:
        self._prepared = prepared
        self._specification = specification
        self._engine = engine = engine or Engine(specification.engine)
        reason = ineligible(prepared)
        if engine is Engine.KERNEL and reason is not None:
            raise StudyError(f"engine: kernel cannot run {specification.name}: {reason}")
        slower = engine in (Engine.FAST, Engine.VANILLA)
        self.engine_reason = f"The engine {engine} was asked for." if slower else reason
        self._objectives = tuple(Objective.parse(text, specification.penalties) for text in specification.objectives)
        self._parts = parts_of(prepared, specification.folds, specification.warmup_bars)
        self._days = session_days(prepared)
        needed = {name for objective in self._objectives for name in objective.metrics}
        self._names = [name for name in METRICS if name in QUICK | needed]
        self._compiled = reason is None and not slower
        self._kernels: dict[int, Kernel] = {}

    @property
    def compiled(self) -> bool:
        """Whether trials run on the kernel."""
        return self._compiled

    def trial(self, number: int, point: Mapping[str, Any], bounds: Bounds = ()) -> StudyTrial:
        """Run one point; whatever its strategy raises makes it a failed trial with a reason."""
        started, began = datetime.now(UTC), time.perf_counter()
        blank = StudyTrial(number, dict(point), TrialState.FAILED, started_at=started)
        try:
            ended = self._run(blank, bounds)
        except Exception as error:  # noqa: BLE001 (a strategy's own code may raise anything; the trial says what)
            ended = replace(blank, reason=f"{type(error).__name__}: {error}")
        return replace(ended, seconds=time.perf_counter() - began, finished_at=datetime.now(UTC))

    def all_figures(self, point: Mapping[str, Any]) -> dict[str, float | None]:
        """Every figure at a point, the ones that take longer included; the mean over folds where there are several."""
        params, names = self.complete(point), [name for name in METRICS if name in FIGURES]
        return combined([self.run_part(part, params, names).metrics for part in self._parts])

    def complete(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Every parameter of the strategy at a point."""
        return dict(resolve_params(self._prepared.strategy, {**self._prepared.experiment.params, **point}))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The backtests of a trial."""
        return self._parts

    def run_part(self, part: Part, params: Mapping[str, Any], names: Sequence[str]) -> PartRun:
        """One backtest with complete parameters."""
        if self._compiled:
            kernel = self._kernels.get(part.fold)
            if kernel is None:
                kernel = self._kernels[part.fold] = Kernel.prepare(part.prepared)
            run = kernel.run(params)
            if run.uncertain is None:
                return _of_kernel(run, part, names)
        output = self._replay(with_params(part.prepared, params))
        return part_of_output(output, part)

    def _replay(self, prepared: PreparedRun) -> RunOutput:
        if self._engine is Engine.VANILLA:
            return replay(prepared, engine=Engine.VANILLA)
        try:
            return replay(prepared, engine=Engine.FAST)
        except IneligibleError:
            return replay(prepared, engine=Engine.VANILLA)

    def _run(self, blank: StudyTrial, bounds: Bounds) -> StudyTrial:
        params = self.complete(blank.params)
        runs: list[PartRun] = []
        folds: list[FoldOutcome] = []
        for part in self._parts:
            run = self.run_part(part, params, self._names)
            runs.append(run)
            value, _ = self._objectives[0].plain(run.metrics)
            folds.append(FoldOutcome(part.fold, part.start, part.end, value, run.metrics))
            if _hopeless(folds, bounds, self._objectives[0].better):
                break
        several = len(self._parts) > 1
        ran = replace(
            blank,
            metrics=combined([run.metrics for run in runs]),
            folds=tuple(folds) if several else (),
            returns=self._returns(runs) if self._specification.keep_returns else None,
            engine=runs[-1].engine,
        )
        if len(folds) < len(self._parts):
            return replace(ran, state=TrialState.PRUNED, reason=f"worse than the median after fold {len(folds)}")
        return self._scored(ran, folds)

    def _scored(self, ran: StudyTrial, folds: Sequence[FoldOutcome]) -> StudyTrial:
        scores = []
        for objective in self._objectives:
            plain, reason = objective.plain(ran.metrics)
            if len(folds) > 1:
                plain, reason = _of_folds(folds, self._specification.fold_value, objective)
            scores.append(objective.penalised(plain, ran.metrics, reason))
        first = scores[0]
        complete = replace(ran, state=TrialState.COMPLETE)
        values = [score.value for score in scores if score.value is not None]
        reasons = "; ".join(dict.fromkeys(score.reason for score in scores if score.reason))
        if len(values) < len(scores):
            return replace(complete, reason=reasons)
        return replace(
            complete, value=values[0], values=tuple(values), plain_value=first.plain, penalty=first.penalty,
            reason=reasons or None,
        )  # fmt: skip

    def _returns(self, runs: Sequence[PartRun]) -> Floats:
        """Daily returns on the days of the search."""
        returns = np.full(len(self._days), np.nan)
        for run in runs:
            with np.errstate(divide="ignore", invalid="ignore"):
                found = run.closes[1:] / run.closes[:-1] - 1.0
            returns[np.searchsorted(self._days, run.days)] = np.where(np.isfinite(found), found, np.nan)
        return returns


def _of_kernel(run: KernelRun, part: Part, names: Sequence[str]) -> PartRun:
    closes = run.closes()
    before = closes[part.since - 1] if part.since else run.session.cash
    measured = np.concatenate([[before], closes[part.since :]])
    return PartRun(run.metrics(names, part.since), measured, run.session.days[part.since :], Engine.KERNEL.value)


def part_of_output(output: RunOutput, part: Part) -> PartRun:
    """What one of Backtrader's runs of a part comes to."""
    closes = session_closes(output.equity)
    before = float(closes.iloc[part.since - 1]) if part.since else output.starting_cash
    measured = np.concatenate([[before], closes.to_numpy()[part.since :]])
    days = closes.index.to_numpy().astype("datetime64[D]").astype(np.int64)[part.since :]
    return PartRun(figures(part.prepared.experiment, output, part.since), measured, days, output.engine)


def running_means(folds: Sequence[FoldOutcome]) -> list[float | None]:
    """The mean of the folds so far after each fold; None from the first without a value on."""
    means: list[float | None] = []
    total = 0.0
    for count, fold in enumerate(folds, start=1):
        if fold.value is None or (means and means[-1] is None):
            means.append(None)
            continue
        total += fold.value
        means.append(total / count)
    return means


def _hopeless(folds: Sequence[FoldOutcome], bounds: Bounds, better: Better) -> bool:
    at = len(folds) - 1
    bound = bounds[at] if at < len(bounds) else None
    if bound is None:
        return False
    mean = running_means(folds)[-1]
    if mean is None:
        return False
    return mean > bound if better is Better.LOWER else mean < bound


def _of_folds(folds: Sequence[FoldOutcome], how: str, objective: Objective) -> tuple[float | None, str | None]:
    values = []
    for fold in folds:
        value, reason = objective.plain(fold.metrics)
        if value is None:
            return None, f"fold {fold.fold + 1}: {reason}"
        values.append(value)
    if how == "worst":
        return (max(values) if objective.better is Better.LOWER else min(values)), None
    return (statistics.median(values) if how == "median" else math.fsum(values) / len(values)), None


def combined(metrics: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Figures of all folds together: sums of counts and money, the lowest of lowest points, else the mean."""
    if len(metrics) == 1:
        return dict(metrics[0])
    found: dict[str, float | None] = {}
    for name in metrics[0]:
        known = [one[name] for one in metrics if one[name] is not None]
        values = [value for value in known if value is not None]
        if not values:
            found[name] = None
        elif name in _SUMMED:
            found[name] = math.fsum(values)
        else:
            found[name] = min(values) if name in _LOWEST else math.fsum(values) / len(values)
    gross, fees = found.get("gross_profit"), found.get("fees")
    if "fees_to_gross_profit" in found:
        found["fees_to_gross_profit"] = fees / gross if fees is not None and gross is not None and gross > 0 else None
    return found
