"""A batch of studies: strategies x symbols with shared settings, and which of their winners pass.

Belongs here: the batch file, the studies it means, the criteria, the table of reasons. Does not belong here: running
(see `run`).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from research.errors import StudyError
from research.experiment import fault_sentence
from research.metric_catalog import METRICS, format_metric
from research.study.objective import check_metric
from research.study.records import StudyRecord
from research.study.specification import StudySpecification, read_document


class Criterion(BaseModel):
    """What the winner's figure must be: at least, at most, or both. A drawdown is given as a positive fraction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_least: float | None = Field(default=None, allow_inf_nan=False, description="Smallest value that passes")
    at_most: float | None = Field(default=None, allow_inf_nan=False, description="Largest value that passes")


DEFAULT_CRITERIA: Mapping[str, Mapping[str, float]] = {
    "trades": {"at_least": 100},
    "sharpe_ratio": {"at_least": 1.0},
    "max_drawdown": {"at_most": 0.15},
    "win_rate": {"at_least": 0.45},
    "fees_to_gross_profit": {"at_most": 0.3},
    "probabilistic_sharpe_ratio": {"at_least": 0.7},
}
"""The criteria of a batch that names none."""

BATCH_SCHEMA = pa.schema(
    [
        pa.field("study", pa.string()),
        pa.field("strategy", pa.string()),
        pa.field("symbols", pa.string()),
        pa.field("state", pa.string()),
        pa.field("trials", pa.int64()),
        pa.field("best_value", pa.float64()),
        pa.field("params", pa.string()),  # JSON
        pa.field("passed", pa.bool_()),
        pa.field("reasons", pa.list_(pa.string())),
    ]
)


class Batch(BaseModel):
    """Strategies x symbols, each a study of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="The studies are called after it")
    strategies: tuple[str | dict[str, Any], ...] = Field(
        min_length=1, description="Dotted paths, or mappings with strategy, space and params"
    )
    symbols: tuple[str | tuple[str, ...], ...] = Field(
        min_length=1, description="Each a study; a list of symbols is one study of all of them"
    )
    experiment: dict[str, Any] = Field(description="Range, cash, costs, limits: all but strategy and symbols")
    settings: dict[str, Any] = Field(default_factory=dict, description="Fields of a study, all but those above")
    criteria: dict[str, Criterion] = Field(
        default_factory=lambda: {name: Criterion(**limits) for name, limits in DEFAULT_CRITERIA.items()},
        description="What a winner must be, by metric",
    )

    @classmethod
    def parse(cls, document: Mapping[str, Any], *, origin: str = "batch") -> Self:
        """A batch from a parsed document.

        Raises:
            StudyError: a key is unknown or a value is wrong.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise StudyError(fault_sentence(cls, error, origin)) from None

    @field_validator("criteria")
    @classmethod
    def _criteria_are_metrics(cls, criteria: dict[str, Criterion]) -> dict[str, Criterion]:
        for name, criterion in criteria.items():
            try:
                check_metric(name, "criteria")
            except StudyError as error:
                raise ValueError(str(error).removeprefix("criteria: ").removesuffix(".")) from None
            if criterion.at_least is None and criterion.at_most is None:
                raise ValueError(f"{name} must have at_least or at_most")
        return criteria

    def studies(self) -> list[StudySpecification]:
        """A specification for each strategy and symbol, in the order of the file.

        Raises:
            StudyError: one of them is wrong.
        """
        return [self._study(strategy, symbols) for strategy in self.strategies for symbols in self.symbols]

    def _study(self, strategy: str | dict[str, Any], symbols: str | tuple[str, ...]) -> StudySpecification:
        own = {"strategy": strategy} if isinstance(strategy, str) else dict(strategy)
        for key in own:
            if key not in {"strategy", "space", "params"}:
                raise StudyError(f"batch: strategies: {key} is not a known key (known: params, space, strategy).")
        listed = [symbols] if isinstance(symbols, str) else list(symbols)
        short = str(own.get("strategy", "")).rpartition(".")[2]
        text = "-".join([self.name, short, *listed])
        name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text)[:120]
        experiment = {**self.experiment, "strategy": own.get("strategy"), "symbols": listed}
        if "params" in own:
            experiment["params"] = own["params"]
        document = {**self.settings, "name": name, "experiment": experiment}
        if "space" in own:
            document["space"] = own["space"]
        return StudySpecification.parse(document, origin=f"batch: {name}")


def load_batch(path: Path) -> Batch:
    """The batch in a YAML file; its `name` defaults to the file's name.

    Raises:
        StudyError: the file cannot be read, or a key or value in it is wrong.
    """
    return Batch.parse({"name": path.stem, **read_document(path, "batch file")}, origin=path.name)


def rejections(metrics: Mapping[str, Any], criteria: Mapping[str, Criterion]) -> list[str]:
    """Why figures do not pass, a sentence each; what cannot be computed does not pass."""
    found = []
    for name, criterion in criteria.items():
        value, label = metrics.get(name), METRICS[name].label
        if value is None:
            found.append(f"{label} cannot be computed.")
            continue
        measured = -value if name == "max_drawdown" else value
        if criterion.at_least is not None and measured < criterion.at_least:
            found.append(f"{label} is {_shown(name, measured)}, below {_shown(name, criterion.at_least)}.")
        if criterion.at_most is not None and measured > criterion.at_most:
            found.append(f"{label} is {_shown(name, measured)}, above {_shown(name, criterion.at_most)}.")
    return found


def batch_table(records: Sequence[StudyRecord], criteria: Mapping[str, Criterion]) -> pa.Table:
    """A row a study (`BATCH_SCHEMA`): its best trial, whether that passes, and every reason why not."""
    return pa.Table.from_pylist([_row(record, criteria) for record in records], BATCH_SCHEMA)


def _row(record: StudyRecord, criteria: Mapping[str, Criterion]) -> dict[str, Any]:
    best, experiment = record.best, record.page["specification"]["experiment"]
    reasons = ["No trial has a value."] if best is None else rejections(best["metrics"], criteria)
    return {
        "study": record.name, "strategy": experiment["strategy"], "symbols": " ".join(experiment["symbols"]),
        "state": record.state, "trials": record.page["trials_run"],
        "best_value": None if best is None else best["value"],
        "params": None if best is None else json.dumps(best["params"], ensure_ascii=False),
        "passed": not reasons, "reasons": reasons,
    }  # fmt: skip


def _shown(name: str, value: float) -> str:
    return format_metric(name, value)
