"""How results are ranked: marks of each part, gates, and what a shortlist takes.

Belongs here: the settings of the ranking, their defaults, and reading them from YAML. Does not belong here: scoring
(`research.leaderboard`), choosing (`research.shortlist`).
"""

from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from research.errors import ResearchError
from research.experiment import StrictLoader, fault_sentence


class RankingError(ResearchError):
    """The ranking's settings are wrong: a key, a value, the file."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Weights(_Settings):
    """What each part counts for; only their shares matter, the score always ends at 100."""

    sharpe: float = Field(default=40.0, ge=0)
    consistency: float = Field(default=20.0, ge=0)
    drawdown: float = Field(default=20.0, ge=0)
    frequency: float = Field(default=10.0, ge=0)
    efficiency: float = Field(default=10.0, ge=0)

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not sum(self.model_dump().values()):
            raise ValueError("every weight is 0, so that nothing would be ranked")
        return self

    def marks(self) -> dict[str, float]:
        """The marks that each part can earn; they add up to 100."""
        given = self.model_dump()
        total = sum(given.values())
        return {part: 100.0 * weight / total for part, weight in given.items()}


class FullMarks(_Settings):
    """Figures that earn a part's full marks; half the figure earns half the marks."""

    sharpe_ratio: float = Field(default=3.0, gt=0)
    trades_per_year: float = Field(default=50.0, gt=0)
    return_on_exposure: float = Field(default=1.0, gt=0, description="Annual return over mean gross exposure")


class Gates(_Settings):
    """What a result must show to be taken further; fractions and counts, None switches a gate off."""

    trades: int | None = Field(default=100, description="At least")
    sharpe_ratio: float | None = Field(default=1.0, description="At least")
    max_drawdown: float | None = Field(default=0.15, description="At most, as a positive fraction of the peak")
    win_rate: float | None = Field(default=0.45, description="At least, a fraction")
    fees_to_gross_profit: float | None = Field(default=0.30, description="At most, a fraction")
    probabilistic_sharpe_ratio: float | None = Field(default=0.70, description="At least, a probability")


class ShortlistRules(_Settings):
    """Which ranked results are worth putting together."""

    most: int = Field(default=15, ge=1, description="Results on the list at most")
    minimum_score: float = Field(default=50.0, ge=0, le=100)
    correlation: float = Field(
        default=0.7, ge=0, le=1, description="Daily returns that go together more than this with a better one's are out"
    )


class Ranking(_Settings):
    """The whole of it; the defaults are what holds without a file."""

    weights: Weights = Field(default_factory=Weights)
    full_marks: FullMarks = Field(default_factory=FullMarks)
    gates: Gates = Field(default_factory=Gates)
    shortlist: ShortlistRules = Field(default_factory=ShortlistRules)


def load_ranking(path: Path) -> Ranking:
    """The ranking that a YAML file describes; what it does not name keeps its default.

    Raises:
        RankingError: the file cannot be read, or a key or value in it is wrong.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)  # noqa: S506 (a SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise RankingError(f"ranking file: {path} cannot be read ({error}).") from None
    except yaml.YAMLError as error:
        raise RankingError(f"ranking file: {path} is not valid YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(document, dict | None):
        raise RankingError(f"ranking file: {path} must hold keys and values, not {type(document).__name__}.")
    try:
        return Ranking.model_validate(document or {})
    except ValidationError as error:
        raise RankingError(fault_sentence(Ranking, error, path.name)) from None
