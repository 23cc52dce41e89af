"""The costs of an experiment: as they are written, and as the broker uses them.

Belongs here: settings -> one object that knows commission, slippage, participation and interest. Does not belong here:
the arithmetic of any of them.
"""

import difflib
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from broker.costs.commissions import Charge, Commissions, FixedCommissions, NoCommissions, TieredCommissions
from broker.costs.fees import us_stock_fees
from broker.costs.financing import Financing
from broker.costs.participation import Participation
from broker.costs.slippage import BasisPoints, NoSlippage, SlippageModel, VolumeShare
from broker.errors import CostModelError

ModelName = Literal["ibkr_fixed", "ibkr_tiered", "none"]
MODELS: tuple[ModelName, ...] = ("ibkr_fixed", "ibkr_tiered", "none")


class SlippageSettings(BaseModel):
    """How the price of market and stop orders slips; orders that wait at a limit do not slip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["bps", "half_spread", "volume_share", "none"] = Field(default="bps", description="The model")
    bps: float = Field(default=5.0, ge=0, allow_inf_nan=False, description="bps: basis points of the price")
    spread_bps: float = Field(
        default=2.0, ge=0, allow_inf_nan=False, description="half_spread: quoted spread in basis points, half is paid"
    )
    impact: float = Field(
        default=0.1, ge=0, allow_inf_nan=False, description="volume_share: price x impact x (share of volume) squared"
    )

    def build(self) -> SlippageModel:
        """The model."""
        if self.kind == "bps":
            return BasisPoints(self.bps)
        if self.kind == "half_spread":
            return BasisPoints(self.spread_bps / 2.0)
        return VolumeShare(self.impact) if self.kind == "volume_share" else NoSlippage()


class CostSettings(BaseModel):
    """The `costs` of an experiment. The model `none` charges nothing at all unless a field says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelName = Field(default="ibkr_fixed", description="Commission schedule: ibkr_fixed, ibkr_tiered or none")
    slippage: SlippageSettings | None = Field(
        default=None, description="Slippage of market and stop orders; 5 basis points unless the model is none"
    )
    participation: float | None = Field(
        default=0.10, gt=0, le=1, description="Share of a bar's volume an order may take; null is no bound"
    )
    borrow_rate: float | None = Field(default=None, ge=0, description="Annual fee on shorted value; 0.0025 unless none")
    margin_rate: float | None = Field(default=None, ge=0, description="Annual rate on borrowed cash; 0.06 unless none")
    cash_rate: float = Field(default=0.0, allow_inf_nan=False, description="Annual rate that idle cash earns")

    @field_validator("model", mode="before")
    @classmethod
    def _model_exists(cls, model: object) -> object:
        if isinstance(model, str) and model not in MODELS:
            raise ValueError(_unknown(model))
        return model

    def build(self) -> "CostModel":
        """The object that a broker uses."""
        free = self.model == "none"
        slippage = self.slippage or SlippageSettings(kind="none" if free else "bps")
        financing = Financing(
            borrow_rate=self.borrow_rate if self.borrow_rate is not None else 0.0 if free else 0.0025,
            margin_rate=self.margin_rate if self.margin_rate is not None else 0.0 if free else 0.06,
            cash_rate=self.cash_rate,
        )
        return CostModel(
            self.model, _commissions(self.model), slippage.build(), Participation(self.participation), financing
        )


@dataclass(frozen=True, slots=True)
class CostModel:
    """Commission, slippage, participation and interest under one name."""

    name: str
    commissions: Commissions
    slippage: SlippageModel
    participation: Participation
    financing: Financing

    def commission(self, quantity: float, price: float, on: date, *, monthly_shares: float = 0.0) -> Charge:
        """Charge for executing `quantity` shares (signed, + buys) at `price` on an exchange day.

        `monthly_shares` were traded before in the same month; tiered schedules count them.
        """
        if not quantity:
            return Charge()
        shares, money = Decimal(repr(float(quantity))), Decimal(repr(float(price)))
        return self.commissions.charge(shares, money, on, Decimal(repr(float(monthly_shares))))

    @property
    def notices(self) -> tuple[str, ...]:
        """What is not charged, each as a sentence; costs are never silently zero."""
        said = []
        if isinstance(self.commissions, NoCommissions):
            said.append("No commissions and fees were charged (cost model none); a real account pays them.")
        if isinstance(self.slippage, NoSlippage) or self.slippage == BasisPoints(0.0):
            said.append("No slippage was assumed; market orders filled at the price that was shown.")
        if self.participation.fraction is None:
            said.append("Orders could take the whole volume of a bar and more (participation null).")
        return tuple(said)


def cost_model(name: str) -> CostModel:
    """A cost model with its defaults, by name.

    Raises:
        CostModelError: there is no such model.
    """
    if name not in MODELS:
        raise CostModelError(f"costs: {_unknown(name)}.")
    return CostSettings(model=name).build()


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, MODELS, n=1)
    hint = f"; did you mean {close[0]}" if close else ""
    return f"{name!r} is not one of {', '.join(MODELS)}{hint}"


def _commissions(name: ModelName) -> Commissions:
    if name == "ibkr_fixed":
        return FixedCommissions(us_stock_fees())
    return TieredCommissions(us_stock_fees()) if name == "ibkr_tiered" else NoCommissions()
