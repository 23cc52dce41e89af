"""What a study is asked for on the command line.

Belongs here: the options that `barloom optimize` and `barloom walkforward` share, and the specification they mean.
Does not belong here: running anything (see `studies`), what a specification may hold (see `research.study`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from pipelines.cli.backtests import read_params
from pipelines.cli.runs import unique
from pipelines.errors import SettingsError

if TYPE_CHECKING:
    from research.study import StudySpecification

Sampler = Literal["auto", "tpe", "grid", "random", "cmaes", "nsga2"]

_SEVERAL = {"consume_multiple": True, "negative_iterable": ""}
_TAGS = ("project", "asset_class", "strategy_family", "team", "status")
_OF_EXPERIMENT = ("strategy", "start", "end", "cash", "resolution", "benchmark", "adjust")
_OF_PENALTIES = ("min_trades", "max_drawdown", "max_turnover")
_OF_STUDY = ("sampler", "n_trials", "seed", "engine", "folds", "pruner", "hold_out", "timeout", "trial_timeout")
_HOW_FAR = frozenset({"n_trials", "exhaustive_up_to", "timeout", "trial_timeout", "engine"})
"""What may differ between two commands of one study."""


def _told(text: str) -> Parameter:
    return Parameter(help=text)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """A study as it is named on the command line; what is None is left to the specification's own default."""

    strategy: Annotated[str | None, _told("Dotted path, e.g. strategies.sma_crossover.SMACrossover.")] = None
    symbols: Annotated[list[str] | None, Parameter(help="One or more symbols.", **_SEVERAL)] = None
    start: Annotated[date | None, _told("First session (YYYY-MM-DD).")] = None
    end: Annotated[date | None, _told("Last session; the hold-out ends there.")] = None
    param_space: Annotated[
        Path | None, _told("JSON or YAML: parameter -> type, low, high, step; the strategy's own space unless given.")
    ] = None
    param_ranges: Annotated[
        str | None, _told("Values to try, every combination: `sma_short:5-30,sma_long:31-100:5`, `rebalance:a|b`.")
    ] = None
    metric: Annotated[
        list[str] | None,
        Parameter(
            help="A figure of `barloom show`, a sum `0.6*sharpe_ratio + 0.4*calmar_ratio`, or several.", **_SEVERAL
        ),
    ] = None
    study_name: Annotated[str | None, _told("Name to resume and to promote by; made from the rest unless given.")] = (
        None
    )
    n_trials: Annotated[
        int | None, _told("Trials in all; 100, or every point of a grid that is quickly tried, unless given.")
    ] = None
    sampler: Annotated[
        Sampler | None, _told("auto takes every point of a small grid, else tpe; several metrics take nsga2.")
    ] = None
    seed: Annotated[int | None, _told("Makes the study repeatable, whatever the workers.")] = None
    batch_size: Annotated[int | None, _told("Points asked at once, whatever the workers.")] = None
    engine: Annotated[
        Literal["auto", "vanilla", "fast", "kernel"] | None, _told("What runs trials; all give the same figures.")
    ] = None
    folds: Annotated[int | None, _told("Sub-periods, each a backtest; hopeless trials stop between them.")] = None
    pruner: Annotated[Literal["median", "none"] | None, _told("What stops a trial between folds.")] = None
    hold_out: Annotated[float | None, _told("Last part of the sessions that the search never sees; 0.2.")] = None
    min_trades: Annotated[int | None, _told("Trials with fewer closed trades are marked down.")] = None
    max_drawdown: Annotated[float | None, _told("Trials that fall further (0.3 is 30 %) are marked down.")] = None
    max_turnover: Annotated[float | None, _told("Trials with more turnover a year are marked down.")] = None
    timeout: Annotated[float | None, _told("Seconds after which no more trials are asked.")] = None
    trial_timeout: Annotated[float | None, _told("Seconds that one trial may take.")] = None
    cash: Annotated[float | None, _told("Starting cash; 100,000 unless given.")] = None
    resolution: Annotated[str | None, _told("Daily, Hour or Minute.")] = None
    params: Annotated[str | None, _told("Values of parameters that are not searched, as JSON.")] = None
    params_file: Annotated[Path | None, _told("The same in a JSON file.")] = None
    costs: Annotated[str | None, _told("Cost model: ibkr_fixed, ibkr_tiered or none.")] = None
    benchmark: Annotated[str | None, _told("Symbol to compare with.")] = None
    adjust: Annotated[Literal["all", "splits", "none"] | None, _told("Price adjustment of the bars.")] = None
    project: Annotated[str | None, _told("Tag of study and experiment.")] = None
    asset_class: Annotated[str | None, _told("Tag of study and experiment.")] = None
    strategy_family: Annotated[str | None, _told("Tag of study and experiment.")] = None
    team: Annotated[str | None, _told("Tag of study and experiment.")] = None
    status: Annotated[
        Literal["research", "testing", "production", "archived"] | None, _told("Tag of study and experiment.")
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """The options that were named."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def specification(self, command: str) -> "StudySpecification":
        """The study that the options name; `command` opens the sentence about a missing one.

        Raises:
            SettingsError: an option is missing, or two of them exclude each other.
            ResearchError: a value cannot be used.
        """
        if self.strategy is None or not self.symbols or self.start is None or self.end is None:
            raise SettingsError(f"{command}: --strategy, --symbols, --start and --end are needed.")
        if self.param_space is not None and self.param_ranges is not None:
            raise SettingsError(f"{command}: --param-space and --param-ranges exclude each other.")
        from research.study import StudySpecification
        from research.study.specification import read_document

        given = self.given
        document: dict[str, Any] = {name: given[name] for name in _OF_STUDY if name in given}
        document["experiment"] = self._experiment(given)
        if self.n_trials is not None:
            document["exhaustive_up_to"] = 0  # who says how many trials wants no more of them
        if self.batch_size is not None:
            document["batch"] = self.batch_size
        if self.metric:
            document["objective"] = list(self.metric)
        if self.param_space is not None:
            document["space"] = read_document(self.param_space, "param-space")
        elif self.param_ranges is not None:
            document |= {"space": self.param_ranges, "sampler": self.sampler or "grid"}
        penalties = {name: given[name] for name in _OF_PENALTIES if name in given}
        if penalties:
            document["penalties"] = penalties
        name = self.study_name or _name_of(document)
        return StudySpecification.parse({"name": name, **document}, origin=command)

    def _experiment(self, given: Mapping[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {name: given[name] for name in _OF_EXPERIMENT if name in given}
        fields["symbols"] = unique(self.symbols or [])
        fields["params"] = read_params(self.params, self.params_file)
        if self.costs is not None:
            fields["costs"] = {"model": self.costs}
        tags = {name: given[name] for name in _TAGS if name in given}
        return {**fields, "tags": tags} if tags else fields


def _name_of(document: Mapping[str, Any]) -> str:
    """Strategy, symbols and a hash of everything asked: the same command goes on with the same study."""
    experiment = document["experiment"]
    asked = {key: value for key, value in document.items() if key not in _HOW_FAR}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:8]
    symbols = "-".join(experiment["symbols"])
    readable = f"{experiment['strategy'].rsplit('.', 1)[-1]}-{symbols}"
    safe = "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in readable)
    return f"{safe[:100]}-{digest}"
