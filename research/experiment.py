"""The specification of one backtest, as a person writes it.

Belongs here: the experiment's fields, reading them from YAML or from command-line arguments, and sentences for what
is wrong with them. Does not belong here: loading bars, running, the identity of a result.
"""

import difflib
import math
import re
from collections.abc import Hashable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from broker.costs import CostSettings
from research.errors import ExperimentError
from risk.limits import Limits
from warehouse.errors import InvalidRequestError
from warehouse.resolution import Resolution
from warehouse.symbols import encode_symbol

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,119}")


class Tags(BaseModel):
    """How a result is filed: searched for in the leaderboard and in experiment tracking, no effect on the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str | None = Field(default=None, description="Project, e.g. LeaderRotation")
    asset_class: str | None = Field(default=None, description="Asset class, e.g. Equities")
    strategy_family: str | None = Field(default=None, description="Family, e.g. MeanReversion")
    strategy: str | None = Field(default=None, description="Short strategy name; the class name when not given")
    team: str | None = Field(default=None, description="Who owns it")
    status: Literal["research", "testing", "production", "archived"] = Field(
        default="research", description="Stage of life"
    )


class Experiment(BaseModel):
    """One backtest: strategy, symbols, range, money, costs and limits.

    Sessions from `start` to `end`, both included, are replayed; there is no hidden warm-up before `start`.
    Build it with `Experiment.build` or `load_experiment`, which turn every fault into one sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Letters, digits, - and _; also the partition key")
    strategy: str = Field(description="Dotted path of the strategy class")
    params: dict[str, Any] = Field(
        default_factory=dict, description="Strategy parameters that differ from its defaults"
    )
    symbols: tuple[str, ...] = Field(min_length=1, description="Universe, first symbol is the strategy's `data`")
    start: date = Field(description="First session")
    end: date = Field(description="Last session")
    resolution: Resolution = Field(default=Resolution.DAILY, description="Bar length: 1d, 1h, 1m or 5s")
    cash: float = Field(default=100_000.0, gt=0, allow_inf_nan=False, description="Starting cash")
    costs: CostSettings = Field(default_factory=CostSettings, description="Commission, slippage, fills, financing")
    limits: Limits = Field(
        default_factory=Limits.default, description="Risk limits or a profile's name; a strategy's own can only tighten"
    )
    benchmark: str | None = Field(
        default=None, description="Symbol to compare with; equal parts of all symbols when not given"
    )
    adjust: Literal["all", "splits", "none"] = Field(default="all", description="Price adjustment of the bars")
    calendar: str = Field(default="XNYS", description="Exchange calendar of the sessions")
    annualization: int = Field(default=252, gt=0, description="Periods a year of daily figures")
    risk_free: float = Field(default=0.0, allow_inf_nan=False, description="Annual risk-free rate as a fraction")
    seed: int = Field(default=0, ge=0, description="Seeds `random` and numpy before the strategy is built")
    tags: Tags = Field(default_factory=Tags, description="Filing; no effect on the run")
    allow_quality_errors: str | None = Field(
        default=None, description="Reason for running in spite of a quality ERROR; recorded in the result"
    )

    @classmethod
    def build(cls, **fields: object) -> Self:
        """An experiment from fields as a command line or a notebook gives them; `name` may be left out.

        Raises:
            ExperimentError: a field is unknown or its value is wrong; the sentence names both.
        """
        return cls.parse(fields)

    @classmethod
    def parse(cls, document: Mapping[str, Any], *, origin: str = "experiment") -> Self:
        """An experiment from a parsed document; `origin` opens the error sentence.

        Raises:
            ExperimentError: a key is unknown or a value is wrong.
        """
        try:
            return cls.model_validate(with_name(document))
        except ValidationError as error:
            raise ExperimentError(fault_sentence(cls, error, origin)) from None

    def specification(self) -> dict[str, Any]:
        """Every field as plain JSON types, keys sorted at each level: what a result's identity is hashed from."""
        return cast("dict[str, Any]", _sorted(self.model_dump(mode="json")))

    @field_validator("name")
    @classmethod
    def _name_fits_files_and_keys(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("must be 1 to 120 letters, digits, - or _ and begin with a letter or digit")
        return name

    @field_validator("strategy")
    @classmethod
    def _strategy_is_dotted(cls, strategy: str) -> str:
        if "." not in strategy or not all(part.isidentifier() for part in strategy.split(".")):
            raise ValueError("must be a dotted path such as strategies.sma_crossover.SMACrossover")
        return strategy

    @field_validator("params")
    @classmethod
    def _params_are_json(cls, params: dict[str, Any]) -> dict[str, Any]:
        for key, value in params.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{key} must be finite, not {value!r}")
            if not isinstance(value, bool | int | float | str | list | tuple | None):
                kind = type(value).__name__
                raise ValueError(f"{key} must be a number, a text, a truth value or a list, not {kind}")  # noqa: TRY004
        return params

    @field_validator("symbols", mode="before")
    @classmethod
    def _symbols_are_text(cls, symbols: object) -> object:
        if isinstance(symbols, str):
            raise ValueError("must be a list of symbols, e.g. [AAPL, MSFT]")  # noqa: TRY004 (pydantic wants it)
        for symbol in symbols if isinstance(symbols, Sequence) else ():
            if not isinstance(symbol, str):
                raise ValueError(f"holds {symbol!r}, which YAML did not read as text; put the symbol in quotes")  # noqa: TRY004
        return symbols

    @field_validator("symbols")
    @classmethod
    def _symbols_are_distinct(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for position, symbol in enumerate(symbols):
            _check_symbol(symbol)
            if symbol in symbols[:position]:
                raise ValueError(f"names {symbol} twice")
        return symbols

    @field_validator("benchmark")
    @classmethod
    def _benchmark_is_a_symbol(cls, benchmark: str | None) -> str | None:
        if benchmark is not None:
            _check_symbol(benchmark)
        return benchmark

    @field_validator("resolution", mode="before")
    @classmethod
    def _resolution_spellings(cls, resolution: object) -> object:
        if not isinstance(resolution, str):
            return resolution
        try:
            return Resolution.parse(resolution)
        except InvalidRequestError as error:
            raise ValueError(str(error).removeprefix("resolution: ").removesuffix(".")) from None

    @field_validator("costs", mode="before")
    @classmethod
    def _costs_by_name(cls, costs: object) -> object:
        return {"model": costs} if isinstance(costs, str) else costs

    @field_validator("allow_quality_errors")
    @classmethod
    def _override_has_a_reason(cls, reason: str | None) -> str | None:
        if reason is not None and not reason.strip():
            raise ValueError("must say why, in words")
        return reason

    @model_validator(mode="after")
    def _range_runs_forward(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end: {self.end} is before start {self.start}")
        return self


def load_experiment(path: Path) -> Experiment:
    """The experiment in a YAML file; its `name` defaults to the file's name.

    Raises:
        ExperimentError: the file cannot be read, is not a mapping, or a key or value in it is wrong.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise ExperimentError(f"experiment file: {path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ExperimentError(f"experiment file: {path} is not UTF-8 text.") from None
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ExperimentError(f"experiment file: {path} is not valid YAML ({problem}).") from None
    if not isinstance(document, dict):
        raise ExperimentError(f"experiment file: {path} must hold keys and values, not {type(document).__name__}.")
    return Experiment.parse({"name": path.stem, **document}, origin=path.name)


class StrictLoader(yaml.SafeLoader):
    """Safe YAML in which a key given twice is an error: the first of the two would have no effect."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping, unless a key is in it twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def with_name(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document, named after its strategy and symbols when it has no name."""
    strategy, symbols = document.get("strategy"), document.get("symbols")
    if document.get("name"):
        return dict(document)
    if not isinstance(strategy, str) or not isinstance(symbols, list | tuple):
        return {**document, "name": "experiment"}  # another field is wrong, and that is what must be said
    name = "-".join([strategy.rsplit(".", 1)[-1], *(str(symbol) for symbol in symbols)])
    return {**document, "name": re.sub(r"[^A-Za-z0-9_\-]", "_", name)[:120]}


def _check_symbol(symbol: str) -> None:
    if "," in symbol:
        raise ValueError(f"holds {symbol!r} with a comma in it; give each symbol on its own")
    try:
        encode_symbol(symbol)
    except InvalidRequestError as error:
        raise ValueError(str(error).removesuffix(".")) from None


def fault_sentence(model: type[BaseModel], error: ValidationError, origin: str) -> str:
    """The first fault of any document of research as one sentence that names field and value."""
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{origin}: {where} is not a known key{_near(str(fault['loc'][-1]), _fields_at(model, fault['loc']))}."
    if fault["type"] == "missing":
        return f"{origin}: {where} is missing."
    reason = fault["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:] if not reason[:2].isupper() else reason
    reason = reason.rstrip(".?").removeprefix(f"{fault['input']!r} ")
    if not where:
        return f"{origin}: {reason}."
    return f"{origin}: {where}: {fault['input']!r} {_verb(reason)}{reason}."


def _verb(reason: str) -> str:
    return "is wrong: " if reason.startswith(("input should", "field", "tuple should")) else ""


def _near(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?"[:-1] if close else f" (known: {', '.join(sorted(known))})"


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Field names of the nested model that a fault's location points into."""
    current: Any = model
    for part in location[:-1]:
        field = getattr(current, "model_fields", {}).get(part)
        if field is None:
            return []
        current = field.annotation
    return list(getattr(current, "model_fields", {}))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
