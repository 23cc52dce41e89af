"""How costs are written in an experiment, and the models they name.

Belongs here: the settings and their defaults. Does not belong here: arithmetic.
"""

import difflib
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from broker.costs.fees import fee_table
from broker.costs.financing import Financing
from broker.costs.model import CostModel
from broker.costs.participation import Participation
from broker.costs.slippage import BasisPoints, HalfSpread, NoSlippage, SlippageModel, VolumeShare
from broker.errors import UnknownCostModelError

_NONE = "none"
COST_MODELS = ("ibkr_fixed", "ibkr_tiered", _NONE)
"""Names that `cost_model` and `CostSettings.model` take."""

# `none` means none: what is not written beside it costs nothing either
_COSTLESS = {"slippage": {"kind": _NONE}, "borrow_rate": 0.0, "margin_rate": 0.0}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BasisPointsSettings(_Strict):
    """A fixed part of the price."""

    kind: Literal["bps"] = "bps"
    bps: float = Field(default=5.0, ge=0, lt=10_000, description="Basis points of the price")

    def build(self) -> SlippageModel:
        """The price model."""
        return BasisPoints(self.bps)


class HalfSpreadSettings(_Strict):
    """Half of a quoted spread."""

    kind: Literal["half_spread"]
    spread_bps: float = Field(default=2.0, ge=0, lt=10_000, description="Whole spread, basis points of the price")

    def build(self) -> SlippageModel:
        """The price model."""
        return HalfSpread(self.spread_bps)


class VolumeShareSettings(_Strict):
    """Impact by the share of the bar's volume."""

    kind: Literal["volume_share"]
    impact: float = Field(default=0.1, ge=0, le=1, description="Part of the price when the whole volume is taken")

    def build(self) -> SlippageModel:
        """The price model."""
        return VolumeShare(self.impact)


class NoSlippageSettings(_Strict):
    """No slippage, said aloud in the result."""

    kind: Literal["none"]

    def build(self) -> SlippageModel:
        """The price model."""
        return NoSlippage()


SlippageSettings = Annotated[
    BasisPointsSettings | HalfSpreadSettings | VolumeShareSettings | NoSlippageSettings, Field(discriminator="kind")
]


class CostSettings(_Strict):
    """Costs of an experiment. Every part has a default that costs something; `model: none` turns them all off.

    `none` leaves the limit on participation, which is about what can be filled, and any part that is written beside it.
    """

    model: str = Field(default="ibkr_fixed", description="Commissions: ibkr_fixed, ibkr_tiered or none")
    slippage: SlippageSettings = Field(
        default_factory=BasisPointsSettings, description="Slippage of market and stop orders; limit orders do not slip"
    )
    participation: float | None = Field(
        default=0.10, gt=0, le=1, description="Largest share of a bar's volume that fills; null for no limit"
    )
    borrow_rate: float = Field(default=0.0025, ge=0, description="Annual rate on the value of short positions")
    margin_rate: float = Field(default=0.06, ge=0, description="Annual rate on negative cash")
    cash_rate: float = Field(default=0.0, ge=0, description="Annual rate earned on positive cash")

    @model_validator(mode="before")
    @classmethod
    def _none_means_none(cls, document: object) -> object:
        if isinstance(document, str):
            document = {"model": document}
        if isinstance(document, Mapping) and document.get("model") == _NONE:
            return {**_COSTLESS, **document}
        return document

    @field_validator("model")
    @classmethod
    def _model_exists(cls, model: str) -> str:
        if model not in COST_MODELS:
            raise ValueError(_unknown(model))
        return model

    def build(self) -> CostModel:
        """The model that these settings describe."""
        return CostModel(
            self.model,
            fee_table().commissions.get(self.model),
            self.slippage.build(),
            Participation(self.participation),
            Financing(self.borrow_rate, self.margin_rate, self.cash_rate),
        )


def cost_model(name: str) -> CostModel:
    """A cost model by name, with the default slippage, participation and interest (`none`: without them).

    Raises:
        UnknownCostModelError: there is no such model.
    """
    if name not in COST_MODELS:
        raise UnknownCostModelError(f"costs: {name!r} {_unknown(name)}.")
    return CostSettings(model=name).build()


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, COST_MODELS, n=1)
    hint = f"; did you mean {close[0]}" if close else ""
    return f"is not one of {', '.join(COST_MODELS)}{hint}"
