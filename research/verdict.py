"""What the statistics of a study mean: a finding a check, each with a sentence.

Belongs here: thresholds, comparing, sentences. Does not belong here: measuring (see `honesty`), reading a study (see
`material`), what follows from a finding (see `promotion`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from research.errors import StudyError


class Severity(StrEnum):
    """How a check ended. UNKNOWN: what it looks at was not measured."""

    OK = "ok"
    WARN = "warn"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `threshold` is what it would have taken to be OK; `blocking`: whether failing would be an ERROR."""

    check: str
    severity: Severity
    measured: float | None
    threshold: float
    sentence: str
    blocking: bool

    def page(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {"severity": self.severity.value}


class Limit(BaseModel):
    """Two values of a figure: where it becomes a warning, and where an error. Without `error` it only warns."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    warn: float
    error: float | None = None


class Thresholds(BaseModel):
    """The limits of all checks. Build it with `build`, which turns a fault into one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trades: Limit = Field(default=Limit(warn=100, error=30), description="Closed trades of the best trial, at least")
    deflated_sharpe_ratio: Limit = Field(default=Limit(warn=0.95, error=0.9), description="Chance of an edge, at least")
    overfitting_probability: Limit = Field(default=Limit(warn=0.2, error=0.5), description="PBO by CSCV, at most")
    superior_ability: Limit = Field(default=Limit(warn=0.05, error=0.1), description="p-value of Hansen's SPA, at most")
    track_record: Limit = Field(default=Limit(warn=1.0), description="Sessions over the minimum track record, at least")
    neighbours: Limit = Field(default=Limit(warn=0.5, error=0.0), description="Neighbours' share of the best, at least")
    double_costs: Limit = Field(default=Limit(warn=0.5, error=0.0), description="What twice the costs leave, at least")
    delay: Limit = Field(default=Limit(warn=0.5, error=0.0), description="What a bar of delay leaves, at least")
    other_starts: Limit = Field(default=Limit(warn=0.5, error=0.0), description="What the worst start leaves, at least")
    fees: Limit = Field(default=Limit(warn=0.3, error=1.0), description="Fees over gross profit, at most")
    chance_of_loss: Limit = Field(default=Limit(warn=0.05, error=0.2), description="Of reordered trades, at most")
    hold_out: Limit = Field(default=Limit(warn=0.5, error=0.0), description="What the hold-out leaves, at least")
    efficiency: Limit = Field(default=Limit(warn=0.8, error=0.7), description="Walk-forward tests over searches")
    drift: Limit = Field(default=Limit(warn=0.3), description="Change of a parameter from window to window, at most")

    @classmethod
    def build(cls, **fields: Any) -> Self:  # noqa: ANN401 (as a file gives them)
        """Thresholds from plain values.

        Raises:
            StudyError: a check is unknown or a value is wrong; the sentence names both.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise StudyError(f"checks: {where}: {fault['input']!r} is wrong: {fault['msg'].rstrip('.')}.") from None


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    least: bool  # whether more is better
    says: Callable[[float], str]
    unknown: str


_CHECKS = (
    _Check("trades", True, lambda v: f"The best trial closed {v:.0f} trades.", "No trade was counted."),
    _Check(
        "deflated_sharpe_ratio", True,
        lambda v: f"The chance that its Sharpe ratio beats the luck of all trials ever run here is {v:.1%}.",
        "The daily returns tell no Sharpe ratio.",
    ),
    _Check(
        "overfitting_probability", False,
        lambda v: f"In {v:.1%} of the splits the best half-time trial ends below the median in the other half.",
        "Fewer than two different trials, or too few sessions, can be split.",
    ),
    _Check(
        "superior_ability", False,
        lambda v: f"If no trial had an edge, one as good as the best would turn up with probability {v:.1%}.",
        "No trial traded.",
    ),
    _Check(
        "track_record", True,
        lambda v: f"The range is {v:.2f} times as long as it takes to tell its Sharpe ratio from zero.",
        "Its Sharpe ratio is not above zero, so no length would do.",
    ),
    _Check(
        "neighbours", True,
        lambda v: f"Trials beside the best one reach {v:.0%} of it in the median.",
        "There are no trials beside the best one, or it is not above zero.",
    ),
    _Check("double_costs", True, lambda v: f"Twice the costs leave {v:.0%} of the objective.",
           "The objective at twice the costs, or at its own, is not above zero or not known."),
    _Check("delay", True, lambda v: f"Execution one bar later leaves {v:.0%} of the objective.",
           "The objective one bar later is not known."),
    _Check("other_starts", True, lambda v: f"The worst of the other starts leaves {v:.0%} of the objective.",
           "The objective from other starts is not known."),
    _Check("fees", False, lambda v: f"Fees take {v:.0%} of the gross profit of closed trades.",
           "Closed trades made no gross profit that could pay fees."),
    _Check("chance_of_loss", False, lambda v: f"Of its trades drawn again, {v:.1%} of the series end with a loss.",
           "There are too few trades to draw from."),
    _Check("hold_out", True, lambda v: f"The hold-out leaves {v:.0%} of the objective.",
           "There is no untouched hold-out that was looked at."),
    _Check("efficiency", True, lambda v: f"Walk-forward tests reach {v:.0%} of what their searches found.",
           "There is no walk-forward of this study with a positive search."),
    _Check("drift", False, lambda v: f"The most restless parameter changes by {v:.0%} from window to window.",
           "There is no walk-forward of this study with two tested windows."),
)  # fmt: skip
_MAY_BE_UNKNOWN = frozenset({"hold_out", "efficiency"})
"""Checks of what a person may leave undone: unknown they only warn, measured they count like the others."""


def judge(
    measured: Mapping[str, float | None], thresholds: Thresholds, remarks: Mapping[str, str] | None = None
) -> tuple[Finding, ...]:
    """A finding for every check, in a fixed order.

    Args:
        measured: figures by the names of `Thresholds`; None where unknown.
        thresholds: the limits.
        remarks: why a figure is unknown, in a sentence, where that is known better than in general.
    """
    return tuple(_findings(measured, thresholds, remarks or {}))


def _findings(
    measured: Mapping[str, float | None], thresholds: Thresholds, remarks: Mapping[str, str]
) -> Iterator[Finding]:
    for check in _CHECKS:
        limit: Limit = getattr(thresholds, check.name)
        value = measured.get(check.name)
        blocking = limit.error is not None and not (value is None and check.name in _MAY_BE_UNKNOWN)
        if value is None:
            sentence = remarks.get(check.name, check.unknown)
            yield Finding(check.name, Severity.UNKNOWN, None, limit.warn, sentence, blocking)
            continue
        severity = _severity(value, limit, least=check.least)
        bound = "at least" if check.least else "at most"
        wanted = f" It should be {bound} {limit.warn:g}." if severity is not Severity.OK else ""
        yield Finding(check.name, severity, value, limit.warn, check.says(value) + wanted, blocking)


def _severity(value: float, limit: Limit, *, least: bool) -> Severity:
    def misses(bound: float) -> bool:
        return value < bound if least else value > bound

    if limit.error is not None and misses(limit.error):
        return Severity.ERROR
    return Severity.WARN if misses(limit.warn) else Severity.OK
