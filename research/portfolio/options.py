"""What a user may choose about a portfolio of backtests.

Belongs here: names, defaults and checks of the choices. Does not belong here: weights (see `weights`).
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from research.errors import ResearchError
from research.experiment import fault_sentence


class PortfolioError(ResearchError):
    """A portfolio cannot be made as asked."""


class Method(StrEnum):
    """How money is divided."""

    EQUAL = "equal"
    INVERSE_VOLATILITY = "inverse_volatility"
    RISK_PARITY = "risk_parity"


class PortfolioOptions(BaseModel):
    """The choices; `PortfolioOptions.of` turns a fault into one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Method = Field(default=Method.EQUAL)
    minimum: float = Field(default=0.1, ge=0, le=1, description="Least weight of a position")
    maximum: float = Field(default=0.5, gt=0, le=1, description="Greatest weight of a position")
    most: int = Field(default=3, ge=1, description="Positions at most")
    window: int = Field(default=252, ge=20, description="Sessions before a rebalance that weights are estimated from")
    in_sample: bool = Field(default=False, description="Estimate from the very sessions that are measured")

    @classmethod
    def of(cls, **choices: object) -> "PortfolioOptions":
        """Checked options.

        Raises:
            PortfolioError: a value is refused.
        """
        try:
            return cls.model_validate(choices)
        except ValidationError as error:
            raise PortfolioError(fault_sentence(cls, error, "portfolio")) from None

    def check_count(self, positions: int) -> None:
        """Refuse a number of positions that no weights fit.

        Raises:
            PortfolioError: too many, too few for the greatest weight, or too many for the least.
        """
        if positions > self.most:
            raise PortfolioError(f"portfolio: {positions} positions are more than the {self.most} that are allowed.")
        if positions * self.maximum < 1.0 - _ROUNDING:
            raise PortfolioError(
                f"portfolio: {positions} positions of at most {self.maximum:g} cannot add up to 1; name more of them "
                "or allow a greater weight."
            )
        if positions * self.minimum > 1.0 + _ROUNDING:
            raise PortfolioError(
                f"portfolio: {positions} positions of at least {self.minimum:g} add up to more than 1; name fewer of "
                "them or allow a smaller weight."
            )


_ROUNDING = 1e-12
