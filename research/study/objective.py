"""What a study searches for: a metric or a weighted sum of metrics, less penalties.

Belongs here: reading the text of an objective, which way is better, a trial's value from its metrics. Does not belong
here: measuring (see `evaluate`), what a metric means (see `research.metric_catalog`).
"""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from research.errors import StudyError
from research.metric_catalog import METRICS, Better

if TYPE_CHECKING:
    from research.study.specification import Penalties

_OF_BENCHMARK = ("alpha", "beta", "correlation", "tracking_error", "information_ratio")
_TERM = re.compile(r"\s*([+-]?)\s*(?:(\d+(?:\.\d*)?|\.\d+)\s*\*\s*)?([A-Za-z_]\w*)\s*")


@dataclass(frozen=True, slots=True)
class Score:
    """What a trial's metrics come to. `value` is None where a metric cannot be computed; `reason` then says which."""

    value: float | None
    plain: float | None
    penalty: float
    reason: str | None


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective.

    Attributes:
        text: as it was written.
        terms: weight by metric.
        better: which way is an improvement.
        penalties: what a trial is marked down for.
    """

    text: str
    terms: Mapping[str, float]
    better: Better
    penalties: "Penalties"

    @classmethod
    def parse(cls, text: str, penalties: "Penalties") -> "Objective":
        """The objective that a person wrote: `sharpe_ratio` or `0.6*sharpe_ratio + 0.4*calmar_ratio`.

        A sum is better when it is higher; a weight must not reward what its metric calls worse.

        Raises:
            StudyError: a metric is unknown or cannot be searched for, or the text is no sum.
        """
        terms = _terms(text)
        for name in terms:
            check_metric(name, "objective")
        if len(terms) == 1 and text.strip() in terms:
            better = METRICS[text.strip()].better
            return cls(text, terms, Better.LOWER if better is Better.LOWER else Better.HIGHER, penalties)
        for name, weight in terms.items():
            _check_weight(text, name, weight)
        return cls(text, terms, Better.HIGHER, penalties)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that a score needs."""
        limits = {"trades": self.penalties.min_trades, "max_drawdown": self.penalties.max_drawdown}
        limits |= {"turnover": self.penalties.max_turnover}
        return tuple(dict.fromkeys([*self.terms, *(name for name, limit in limits.items() if limit is not None)]))

    def plain(self, metrics: Mapping[str, float | None]) -> tuple[float | None, str | None]:
        """The value before penalties, or None and why there is none."""
        total: list[float] = []
        for name, weight in self.terms.items():
            value = metrics.get(name)
            if value is None or not math.isfinite(value):
                return None, f"{name} cannot be computed"
            total.append(weight * value)
        return math.fsum(total), None

    def penalised(self, plain: float | None, metrics: Mapping[str, float | None], reason: str | None = None) -> Score:
        """The value after penalties; `reason` says why there is no plain one."""
        if plain is None:
            return Score(None, None, 0.0, reason)
        missed = list(self._missed(metrics))
        if not missed:
            return Score(plain, plain, 0.0, None)
        penalty = self.penalties.weight * math.fsum(part for part, _ in missed) * max(1.0, abs(plain))
        value = plain + penalty if self.better is Better.LOWER else plain - penalty
        return Score(value, plain, penalty, "; ".join(why for _, why in missed))

    def score(self, metrics: Mapping[str, float | None]) -> Score:
        """The value of a trial, or why it has none."""
        plain, reason = self.plain(metrics)
        return self.penalised(plain, metrics, reason)

    def _missed(self, metrics: Mapping[str, float | None]) -> Iterator[tuple[float, str]]:
        """By what part of itself each limit is missed, and a few words for it; wholly where nobody can tell."""
        limits = self.penalties
        if limits.min_trades is not None:
            trades = metrics.get("trades") or 0.0
            if trades < limits.min_trades:
                yield 1.0 - trades / limits.min_trades, f"{trades:.0f} trades, fewer than {limits.min_trades}"
        if limits.max_drawdown is not None:
            depth = metrics.get("max_drawdown")
            if depth is None or -depth > limits.max_drawdown:
                found = "an unknown drawdown" if depth is None else f"a drawdown of {-depth:.4f}"
                part = 1.0 if depth is None else -depth / limits.max_drawdown - 1.0
                yield part, f"{found}, more than {limits.max_drawdown}"
        if limits.max_turnover is not None:
            turnover = metrics.get("turnover")
            if turnover is None or turnover > limits.max_turnover:
                found = "an unknown turnover" if turnover is None else f"a turnover of {turnover:.2f} a year"
                part = 1.0 if turnover is None else turnover / limits.max_turnover - 1.0
                yield part, f"{found}, more than {limits.max_turnover}"


def check_metric(metric: str, where: str = "metric") -> None:
    """Refuse a figure that a trial has not.

    Raises:
        StudyError: there is no such figure, it is no number, or it needs a benchmark.
    """
    if metric not in METRICS:
        near = difflib.get_close_matches(metric, METRICS, n=1)
        raise StudyError(f"{where}: {metric!r} is not known{f'; did you mean {near[0]}' if near else ''}.")
    if metric in _OF_BENCHMARK or METRICS[metric].unit == "date":
        raise StudyError(f"{where}: {metric} cannot be searched for; it is a date or compares with a benchmark.")


def _terms(text: str) -> dict[str, float]:
    terms: dict[str, float] = {}
    at = 0
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None or (at > 0 and not found[1]):
            raise StudyError(f"objective: {text!r} is no sum such as 0.6*sharpe_ratio + 0.4*calmar_ratio.")
        if found[3] in terms:
            raise StudyError(f"objective: {text!r} names {found[3]} twice.")
        terms[found[3]] = float(found[2] or 1.0) * (-1.0 if found[1] == "-" else 1.0)
        at = found.end()
    if not terms:
        raise StudyError("objective: '' names no metric.")
    return terms


def _check_weight(text: str, name: str, weight: float) -> None:
    better = METRICS[name].better
    if not math.isfinite(weight) or weight == 0.0:
        raise StudyError(f"objective: {text!r}: the weight of {name} must be finite and not 0.")
    if (better is Better.HIGHER and weight < 0.0) or (better is Better.LOWER and weight > 0.0):
        sign = "positive" if better is Better.HIGHER else "negative"
        note = " (it is a negative fraction)" if name == "max_drawdown" else ""
        raise StudyError(f"objective: {text!r}: {name} is better when {better}{note}; give it a {sign} weight.")
