"""What the statistics of a study mean for somebody who wants to trade it.

Belongs here: the checks, their thresholds, a sentence on each outcome. Does not belong here: computing what is judged
(`research.assessment`), what follows from it (`research.promotion`).

A figure that could not be measured is `unknown`, with its reason. It passes nothing: where failing would be an error,
being unknown stands in the way as well.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from research.errors import StudyError
from research.measured import Figure, Missing
from research.metric_catalog import format_number


class Severity(StrEnum):
    """How a check came out."""

    PASS = "pass"  # noqa: S105 (no password)
    WARN = "warn"
    ERROR = "error"
    UNKNOWN = "unknown"


GRAVITY = (Severity.ERROR, Severity.UNKNOWN, Severity.WARN, Severity.PASS)
"""The order in which findings are shown."""


class Limits(BaseModel):
    """Where a check begins to warn and where it fails; None never does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    warn: float | None = Field(default=None, allow_inf_nan=False)
    error: float | None = Field(default=None, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Check:
    """One question to a study.

    Attributes:
        description: the question, for the UI.
        at_least: whether small figures are bad; otherwise large ones are.
        warn, error: default limits.
        good, bad: what it means; `{value}` and `{limit}` stand for the figures.
        percent: whether the figure is a fraction that reads better as percent.
    """

    description: str
    at_least: bool
    warn: float | None
    error: float | None
    good: str
    bad: str
    percent: bool = False


_CHECKS: Mapping[str, Check] = {
    "parameters_read": Check(
        "Every parameter that was varied changes something.",
        at_least=False, warn=None, error=0.0,
        good="Every parameter that was varied changed what the trials came to.",
        bad="{value} of the parameters changed nothing: the strategy does not read what was searched.",
    ),
    "trades": Check(
        "The best trial closed enough trades to say anything.",
        at_least=True, warn=100.0, error=30.0,
        good="{value} closed trades are enough to speak of an average.",
        bad="{value} closed trades are few: below {limit} an average trade is mostly chance.",
    ),
    "fees": Check(
        "Fees leave most of the gross profit.",
        at_least=False, warn=0.3, error=0.5, percent=True,
        good="Fees take {value} of the gross profit.",
        bad="Fees take {value} of the gross profit, more than {limit}: the broker earns what the edge should.",
    ),
    "probabilistic_sharpe_ratio": Check(
        "The Sharpe ratio is above zero beyond the length and shape of the record.",
        at_least=True, warn=0.95, error=0.7, percent=True,
        good="The true Sharpe ratio is above 0 with {value} probability, had this been the only trial.",
        bad="The true Sharpe ratio is above 0 with only {value} probability, even had this been the only trial.",
    ),
    "deflated_sharpe_ratio": Check(
        "The Sharpe ratio is above what the best of so many worthless trials would show.",
        at_least=True, warn=0.95, error=0.9, percent=True,
        good="With {value} probability the best trial beats the luck of so many trials.",
        bad="With only {value} probability the best trial beats the luck of so many trials; {limit} is asked.",
    ),
    "track_record": Check(
        "The record is as long as a Sharpe ratio like this needs.",
        at_least=True, warn=1.0, error=0.5,
        good="The record is {value} times as long as its Sharpe ratio needs at 95 %.",
        bad="The record is only {value} times as long as its Sharpe ratio needs at 95 %.",
    ),
    "overfitting": Check(
        "The trial that is best on one half of history does well on the other (PBO).",
        at_least=False, warn=0.2, error=0.5, percent=True,
        good="In {value} of the splits the winner of one half fell below the median in the other.",
        bad="In {value} of the splits the winner of one half fell below the median in the other; luck gives 50 %.",
    ),
    "superior_ability": Check(
        "So good a best trial is unlikely if no trial had an edge (Hansen's SPA).",
        at_least=False, warn=0.05, error=0.1, percent=True,
        good="If no trial had an edge, so good a best one would come up in {value} of cases.",
        bad="If no trial had an edge, so good a best one would still come up in {value} of cases.",
    ),
    "plateau": Check(
        "Neighbours of the best parameters do nearly as well.",
        at_least=True, warn=0.7, error=0.4, percent=True,
        good="Neighbours of the best parameters keep {value} of its value: a plateau.",
        bad="Neighbours of the best parameters keep only {value} of its value: it stands on a needle.",
    ),
    "double_costs": Check(
        "The edge survives twice the costs.",
        at_least=True, warn=0.7, error=0.0, percent=True,
        good="At twice the costs {value} of the value is left.",
        bad="At twice the costs only {value} of the value is left: the edge hangs on cheap fills.",
    ),
    "delay": Check(
        "The edge survives execution one bar later.",
        at_least=True, warn=0.7, error=0.0, percent=True,
        good="With every order one bar later {value} of the value is left.",
        bad="With every order one bar later only {value} of the value is left: the edge is in the very next bar.",
    ),
    "other_starts": Check(
        "The edge does not hang on the day on which the backtest began.",
        at_least=True, warn=0.7, error=0.0, percent=True,
        good="From other first days the worst value is {value} of the usual one.",
        bad="From other first days the worst value is only {value} of the usual one.",
    ),
    "drawdown": Check(
        "A fall that is to be expected can be borne (block bootstrap, 95 %).",
        at_least=False, warn=0.3, error=0.6, percent=True,
        good="One in twenty futures like this past falls by {value} or more.",
        bad="One in twenty futures like this past falls by {value} or more; {limit} was to be borne.",
    ),
    "walk_forward": Check(
        "Searched and tested again and again, the tests keep most of the search.",
        at_least=True, warn=0.8, error=0.7, percent=True,
        good="Walk-forward tests keep {value} of what the searches found.",
        bad="Walk-forward tests keep only {value} of what the searches found.",
    ),
    "parameter_drift": Check(
        "The best parameters stay where they are from window to window.",
        at_least=False, warn=0.3, error=None, percent=True,
        good="From window to window the parameters move by {value} on average at most.",
        bad="From window to window a parameter moves by {value} on average: each window finds something else.",
    ),
    "hold_out": Check(
        "The best trial does well on sessions that no search has seen.",
        at_least=True, warn=0.7, error=0.5, percent=True,
        good="On the hold-out {value} of the value is left.",
        bad="On the hold-out only {value} of the value is left.",
    ),
}  # fmt: skip

CHECKS: Mapping[str, str] = {name: check.description for name, check in _CHECKS.items()}
"""Every check by name, with its question."""


class Thresholds(BaseModel):
    """Limits by check; those that are not given are the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: Mapping[str, Limits] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known_and_in_order(self) -> Self:
        for name, given in self.limits.items():
            if name not in _CHECKS:
                near = difflib.get_close_matches(name, _CHECKS, n=1)
                raise ValueError(f"{name}: there is no such check{f'; did you mean {near[0]}?' if near else ''}")
            sign = 1.0 if _CHECKS[name].at_least else -1.0
            if given.warn is not None and given.error is not None and sign * given.warn < sign * given.error:
                raise ValueError(f"{name}: error: {given.error} comes before warn {given.warn}, which then never acts")
        return self

    def of(self, name: str) -> Limits:
        """Limits of a check."""
        return self.limits.get(name) or Limits(warn=_CHECKS[name].warn, error=_CHECKS[name].error)


@dataclass(frozen=True, slots=True)
class Finding:
    """How one check came out.

    Attributes:
        check: its name.
        severity: see `Severity`.
        measured: the figure; None where it is unknown.
        threshold: the limit that was missed, or the strictest one where none was.
        sentence: what it means.
        blocking: whether failing it is an error, so that being unknown stands in the way too.
    """

    check: str
    severity: Severity
    measured: float | None
    threshold: float | None
    sentence: str
    blocking: bool


def judge(figures: Mapping[str, Figure], thresholds: Thresholds | None = None) -> tuple[Finding, ...]:
    """Put every check to a study.

    Args:
        figures: by the names of `CHECKS`; one that is absent was not measured.
        thresholds: the defaults when not given.
    """
    limits = thresholds or Thresholds()
    return tuple(_judged(name, figures.get(name, Missing("it was not measured")), limits.of(name)) for name in _CHECKS)


def _judged(name: str, figure: Figure, limits: Limits) -> Finding:
    check, blocking = _CHECKS[name], limits.error is not None
    strictest = limits.error if limits.warn is None else limits.warn
    reason = _unknown(figure)
    if isinstance(figure, Missing | str) or reason:
        return Finding(name, Severity.UNKNOWN, None, strictest, f"Not measured: {reason}.", blocking)
    value = float(figure)
    for severity, limit in ((Severity.ERROR, limits.error), (Severity.WARN, limits.warn)):
        if limit is not None and (value < limit if check.at_least else value > limit):
            return Finding(name, severity, value, limit, _said(check, check.bad, value, limit), blocking)
    return Finding(name, Severity.PASS, value, strictest, _said(check, check.good, value, strictest), blocking)


def _unknown(figure: Figure) -> str:
    """Why there is no figure; empty where there is one. NaN is above and below no limit, and would pass every check."""
    if isinstance(figure, Missing | str):
        return figure.reason if isinstance(figure, Missing) else figure
    return "" if math.isfinite(figure) else f"the formula gives {figure}"


def _said(check: Check, text: str, value: float, limit: float | None) -> str:
    shown = [_percent(number) if check.percent else format_number(number) for number in (value, limit or 0.0)]
    return text.format(value=shown[0], limit=shown[1])


def _percent(value: float) -> str:
    if 0.9995 <= value < 1.0:
        return "over 99.9 %"
    return f"{format_number(100.0 * value, 3)} %"


def load_thresholds(path: Path) -> Thresholds:
    """Limits from a YAML file: `deflated_sharpe_ratio: {warn: 0.95, error: 0.9}`.

    Raises:
        StudyError: the file cannot be read, a check is unknown or a limit is wrong.
    """
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"study checks: {path} cannot be read ({error}).") from None
    except yaml.YAMLError as error:
        raise StudyError(f"study checks: {path} is not valid YAML ({' '.join(str(error).split())}).") from None
    try:
        return Thresholds.model_validate({"limits": document})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        reason = first["msg"].removeprefix("Value error, ")
        told = f"{where}: {first['input']!r}: {reason}" if where else reason
        raise StudyError(f"{path.name}: {told}.") from None
