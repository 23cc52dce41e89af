"""How much a session may differ from its backtest before somebody should look.

Belongs here: the bounds and the judgement. Does not belong here: where bounds are set (see `pipelines.settings`).
"""

from dataclasses import dataclass
from decimal import Decimal

from research.parity.report import ParityReport

_POINTS = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Tolerances:
    """The most that may be; amounts without sign.

    Attributes:
        signals: missed, late or additional signals.
        missed_fills: decisions that one side filled and the other did not, or less of it.
        price: basis points of the value traded live.
        costs: basis points of the value traded live.
        revision: what later bars change, basis points of the account's equity.
        total: the whole difference, basis points of the account's equity.
    """

    signals: int = 0
    missed_fills: int = 0
    price: Decimal = Decimal(10)
    costs: Decimal = Decimal(1)
    revision: Decimal = Decimal(1)
    total: Decimal = Decimal(5)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judgement: `measured` and `most` are counts or basis points, as the sentence says."""

    name: str
    passed: bool
    measured: Decimal
    most: Decimal
    sentence: str


def verdicts(report: ParityReport, tolerances: Tolerances) -> tuple[Verdict, ...]:
    """Every judgement of a report, in one order."""
    parts, most = report.parts, tolerances
    return (
        _count("signals", report.signals, most.signals, "Signals that were missed, late or not the backtest's"),
        _count("missed_fills", report.missed_fills, most.missed_fills, "Decisions that one side filled less of"),
        _points("price", parts.price, report.traded, most.price, "the value traded live"),
        _points("costs", parts.costs, report.traded, most.costs, "the value traded live"),
        _points("data_revision", parts.data_revision, report.equity, most.revision, "the account's equity"),
        _points("total", report.total, report.equity, most.total, "the account's equity"),
    )


def _count(name: str, found: int, most: int, what: str) -> Verdict:
    return Verdict(name, found <= most, Decimal(found), Decimal(most), f"{what}: {found}; {most} may be.")


def _points(name: str, amount: Decimal, base: Decimal, most: Decimal, of: str) -> Verdict:
    measured = (abs(amount) / base * _POINTS).quantize(Decimal("0.001")) if base else Decimal(0)
    text = (
        f"{name.replace('_', ' ').capitalize()} {amount:+,.2f} is {measured:.2f} basis points of {of}; {most:f} may be."
    )
    return Verdict(name, measured <= most, measured, most, text)
