"""The specification of a study, as a person writes it.

Belongs here: the fields of a study, reading them from YAML or JSON, sentences for what is wrong with them, what makes
two studies the same. Does not belong here: what a space or an objective means (see `space`, `objective`), running.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from research.errors import StudyError
from research.experiment import Experiment, StrictLoader, fault_sentence, with_name

SamplerName = Literal["auto", "tpe", "grid", "random", "cmaes", "nsga2"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,119}")
_NO_EFFECT = (
    "name",
    "n_trials",
    "timeout",
    "trial_timeout",
    "exhaustive_up_to",
    "verify_best",
    "verify_sample",
    "engine",
)
"""Fields that may differ when a study goes on: they change how far it goes, not what a trial comes to."""


class Penalties(BaseModel):
    """What makes a trial worth less than its figure; a limit that is not given costs nothing.

    A violation is the part of the limit by which it is missed; it costs `weight` times that part of the figure (of 1
    where the figure is smaller), in the direction that is worse.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_trades: int | None = Field(default=None, ge=1, description="Closed trades that a trial should have")
    max_drawdown: float | None = Field(default=None, gt=0, le=1, description="Fall from a peak, a positive fraction")
    max_turnover: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="Turnover a year")
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False, description="Price of missing a limit wholly")


class Pruning(BaseModel):
    """When a hopeless trial stops before its last fold: its mean so far is worse than the median of the others'."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    startup_trials: int = Field(default=5, ge=1, description="Finished trials before the first is pruned")
    warmup_folds: int = Field(
        default=10, ge=1, description="Folds that every trial runs; half of the folds where they are fewer than 20"
    )
    interval: int = Field(default=1, ge=1, description="Folds between two looks")


class StudySpecification(BaseModel):
    """One study: what is varied on which experiment, what is searched for, and how.

    Build it with `StudySpecification.build` or `load_specification`, which turn every fault into one sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Letters, digits, - and _; also the partition key and the folder")
    experiment: Experiment = Field(description="Strategy, other parameters, symbols, whole range, money, costs, limits")
    space: dict[str, Any] | str | None = Field(
        default=None, description="Parameters by name, a range string, or nothing: what the strategy declares as tuned"
    )
    objective: str | tuple[str, ...] = Field(
        default="sharpe_ratio", description="A metric, a weighted sum of metrics, or several of either (nsga2)"
    )
    penalties: Penalties = Field(default_factory=Penalties, description="Limits that a trial should keep")
    sampler: SamplerName = Field(default="auto", description="auto is exhaustive where the grid is small, else tpe")
    n_trials: int = Field(default=100, ge=1, le=1_000_000, description="Trials, those of earlier runs included")
    seed: int = Field(default=0, ge=0, description="Seeds the sampler and the sample that is verified")
    batch: int = Field(default=8, ge=1, le=10_000, description="Points asked at once, whatever the workers")
    exhaustive_up_to: int = Field(
        default=5_000, ge=0, description="Largest grid that auto tries wholly on the kernel, beyond n_trials"
    )
    folds: int = Field(default=1, ge=1, le=1_000, description="Sub-periods, each a backtest of its own")
    warmup_bars: int = Field(
        default=500, ge=0, le=100_000, description="Bars before a fold that only warm declared indicators up"
    )
    fold_value: Literal["mean", "worst", "median"] = Field(default="mean", description="What the folds come to")
    pruner: Literal["median", "none"] = Field(default="median", description="Acts where there are several folds")
    pruning: Pruning = Field(default_factory=Pruning, description="Settings of the median pruner")
    hold_out: float = Field(default=0.2, ge=0, lt=1, description="Last part of the sessions, never shown to the search")
    startup_trials: int = Field(default=10, ge=1, description="Random trials before tpe or cmaes learns")
    candidates: int = Field(default=24, ge=1, description="Expected-improvement candidates of tpe")
    timeout: float | None = Field(default=3_600.0, gt=0, description="Seconds after which the study stops")
    trial_timeout: float | None = Field(default=300.0, gt=0, description="Seconds of a trial on a worker")
    engine: Literal["auto", "vanilla", "fast", "kernel"] = Field(
        default="auto", description="What runs trials; all give the same figures, auto takes the fastest that can"
    )
    keep_returns: bool = Field(default=True, description="Keep each trial's daily returns")
    verify_best: int = Field(default=5, ge=0, description="Best kernel trials that are run again on Backtrader")
    verify_sample: int = Field(default=5, ge=0, description="Other kernel trials that are run again, by chance")

    @classmethod
    def build(cls, **fields: object) -> Self:
        """A specification from fields as a command line or a notebook gives them.

        Raises:
            StudyError: a field is unknown or its value is wrong; the sentence names both.
        """
        return cls.parse(fields)

    @classmethod
    def parse(cls, document: Mapping[str, Any], *, origin: str = "study") -> Self:
        """A specification from a parsed document; `origin` opens the error sentence.

        Raises:
            StudyError: a key is unknown or a value is wrong.
        """
        try:
            return cls.model_validate(_named(document))
        except ValidationError as error:
            raise StudyError(fault_sentence(cls, error, origin)) from None

    @property
    def objectives(self) -> tuple[str, ...]:
        """The texts of all objectives."""
        return (self.objective,) if isinstance(self.objective, str) else self.objective

    def document(self) -> dict[str, Any]:
        """Every field as plain JSON types; `parse` gives the same specification back."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """The document as YAML."""
        return yaml.safe_dump(self.document(), sort_keys=False, allow_unicode=True)

    def determining(self) -> dict[str, Any]:
        """The part of the document that determines what a trial comes to and which is tried when."""
        document = {key: value for key, value in self.document().items() if key not in _NO_EFFECT}
        experiment = {key: value for key, value in document["experiment"].items() if key not in {"name", "tags"}}
        return {**document, "experiment": experiment}

    def fingerprint(self) -> str:
        """Hash (16 hex digits) of what determines the result."""
        text = json.dumps(self.determining(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def require_same(self, earlier: "StudySpecification") -> None:
        """Refuse to go on with a study that was begun otherwise.

        Raises:
            StudyError: the sentence names the first field that differs and both values.
        """
        found = _difference(self.determining(), earlier.determining(), "")
        if found is not None:
            where, here, before = found
            raise StudyError(
                f"{self.name}: {where} is {here!r}, but the study was begun with {before!r}; give it another name."
            )
        if self.n_trials < earlier.n_trials:
            raise StudyError(
                f"{self.name}: n_trials is {self.n_trials}, but the study was begun with {earlier.n_trials};"
                " it can only go on."
            )

    @field_validator("name")
    @classmethod
    def _name_fits_files_and_keys(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("must be 1 to 120 letters, digits, - or _ and begin with a letter or digit")
        return name

    @field_validator("objective", mode="before")
    @classmethod
    def _objective_is_text(cls, objective: object) -> object:
        texts = [objective] if isinstance(objective, str) else objective
        if not isinstance(texts, list | tuple) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError("must be the name of a metric, a weighted sum of metrics, or a list of them")
        return texts[0] if len(texts) == 1 else tuple(texts)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        from research.study.objective import Objective  # noqa: PLC0415 (which knows this module's penalties)
        from research.study.space import SearchSpace  # noqa: PLC0415

        several = len(self.objectives) > 1
        if several and self.sampler not in {"auto", "nsga2", "random", "grid"}:
            raise ValueError(f"sampler: {self.sampler} searches for one objective; {len(self.objectives)} need nsga2")
        if several and self.folds > 1:
            raise ValueError(f"folds: {self.folds} folds need one objective, not {len(self.objectives)}")
        try:
            for text in self.objectives:
                Objective.parse(text, self.penalties)
            SearchSpace.check_document(self.space)
        except StudyError as error:
            raise ValueError(str(error).removesuffix(".")) from None
        return self


def load_specification(path: Path) -> StudySpecification:
    """The study in a YAML or JSON file; its `name` defaults to the file's name.

    Raises:
        StudyError: the file cannot be read, is not a mapping, or a key or value in it is wrong.
    """
    document = read_document(path, "study file")
    return StudySpecification.parse({"name": path.stem, **document}, origin=path.name)


def read_document(path: Path, what: str) -> dict[str, Any]:
    """The mapping in a YAML or JSON file.

    Raises:
        StudyError: there is none; the sentence begins with `what`.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise StudyError(f"{what}: {path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise StudyError(f"{what}: {path} is not UTF-8 text.") from None
    except yaml.YAMLError as error:
        raise StudyError(f"{what}: {path} is not valid YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(document, dict):
        raise StudyError(f"{what}: {path} must hold keys and values, not {type(document).__name__}.")
    return document


def _named(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with a name for the experiment, which is the study's own."""
    experiment = document.get("experiment")
    if not isinstance(experiment, Mapping):
        return dict(document)
    name = document.get("name")
    given = {"name": name, **experiment} if isinstance(name, str) else dict(experiment)
    return {**document, "experiment": with_name(given)}


def _difference(here: object, before: object, where: str) -> tuple[str, object, object] | None:
    """The first field that differs: where, what it is here, what it was."""
    if isinstance(here, dict) and isinstance(before, dict):
        for key in {**here, **before}:
            found = _difference(here.get(key), before.get(key), f"{where}.{key}" if where else str(key))
            if found is not None:
                return found
        return None
    return None if here == before else (where, here, before)
