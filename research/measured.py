"""A figure, or the reason why there is none.

Belongs here: how the lab carries numbers that could not be computed, so that nothing is invented.
Does not belong here: formulas.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Missing:
    """Stands where a figure would stand; `reason` is one clause for a person."""

    reason: str


Figure = float | int | str | Missing


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures by name. A name whose value is None has an entry in `reasons`."""

    values: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, figures: Mapping[str, Figure]) -> "Measured":
        """Split figures into values and reasons; a NaN or an infinity is a missing figure too."""
        reasons = {key: _reason(figure) for key, figure in figures.items() if _absent(figure)}
        values = {key: None if key in reasons else _plain(figure) for key, figure in figures.items()}
        return cls(values, reasons)

    def __or__(self, other: "Measured") -> "Measured":
        return Measured({**self.values, **other.values}, {**self.reasons, **other.reasons})


def _absent(figure: Figure) -> bool:
    return isinstance(figure, Missing) or (isinstance(figure, float) and not math.isfinite(figure))


def _reason(figure: Figure) -> str:
    return figure.reason if isinstance(figure, Missing) else f"the formula gives {figure}"


def _plain(figure: Figure) -> Figure:
    """Numpy scalars become Python's, so that JSON shows the shortest exact number."""
    return float(figure) if isinstance(figure, float) else figure
