"""How much a session may differ from its backtest before somebody should look.

Belongs here: the bounds, reading them from YAML, the judgement. Does not belong here: which file it is.
"""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from research.errors import ParityError
from research.experiment import StrictLoader, fault_sentence
from research.parity.report import ParityReport

_POINTS = Decimal(10_000)


class Tolerances(BaseModel):
    """The most that may be; amounts without sign, in basis points."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    signals: int = Field(default=0, ge=0, description="Missed, late or additional signals")
    missed_fills: int = Field(default=0, ge=0, description="Decisions that one side filled less of")
    price: Decimal = Field(default=Decimal(10), ge=0, description="Of the value traded live")
    costs: Decimal = Field(default=Decimal(1), ge=0, description="Of the value traded live")
    data_revision: Decimal = Field(default=Decimal(1), ge=0, description="Of the account's equity")
    total: Decimal = Field(default=Decimal(5), ge=0, description="The whole difference, of the account's equity")


def load_tolerances(path: Path) -> Tolerances:
    """The tolerances of a YAML file, what it does not name as by default.

    Raises:
        ParityError: the file cannot be read, or a key or value is wrong.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise ParityError(f"parity file: {path} cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParityError(f"parity file: {path} is not valid YAML ({' '.join(str(error).split())}).") from None
    try:
        return Tolerances.model_validate(document or {})
    except ValidationError as error:
        raise ParityError(fault_sentence(Tolerances, error, path.name)) from None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judgement: `measured` and `most` are counts or basis points, as the sentence says."""

    name: str
    passed: bool
    measured: Decimal
    most: Decimal
    sentence: str


def verdicts(report: ParityReport, tolerances: Tolerances) -> tuple[Verdict, ...]:
    """Every judgement of a report, in the order of `CHECKS`."""
    parts, most = report.parts, tolerances
    return (
        _count("signals", report.signals, most.signals, "Signals that were missed, late or not the backtest's"),
        _count("missed_fills", report.missed_fills, most.missed_fills, "Decisions that one side filled less of"),
        _points("price", parts.price, report.traded, most.price, "the value traded live"),
        _points("costs", parts.costs, report.traded, most.costs, "the value traded live"),
        _points("data_revision", parts.data_revision, report.equity, most.data_revision, "the account's equity"),
        _points("total", report.total, report.equity, most.total, "the account's equity"),
    )


def _count(name: str, found: int, most: int, what: str) -> Verdict:
    return Verdict(name, found <= most, Decimal(found), Decimal(most), f"{what}: {found}; {most} may be.")


def _points(name: str, amount: Decimal, base: Decimal, most: Decimal, of: str) -> Verdict:
    measured = (abs(amount) / base * _POINTS).quantize(Decimal("0.001")) if base else Decimal(0)
    name_in_words = name.replace("_", " ").capitalize()
    text = f"{name_in_words} {amount:+,.2f} is {measured:.2f} basis points of {of}; {most:f} may be."
    return Verdict(name, measured <= most, measured, most, text)
