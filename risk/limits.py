"""The limits of an account or an experiment: names, units, defaults, and named profiles.

Belongs here: what may be limited. Does not belong here: measuring a portfolio against it (see `decision`, `guard`).
"""

import difflib
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from risk.errors import UnknownProfileError
from risk.states import HaltState


class Limits(BaseModel):
    """Every limit is optional; None means "not limited". `Limits()` limits nothing, and says so in `notice`.

    Written in YAML either as a profile's name (`limits: conservative`), or as keys and values, which may start from a
    profile (`limits: {profile: conservative, max_drawdown: 0.1}`). Keys without a profile limit what they name, nothing
    else. An experiment that says nothing about limits gets `Limits.default()`.

    Money is in account currency, fractions are of equity (0.1 is 10 %), times are minutes. Limits on positions,
    exposure, order value, price, counts and shorting stop or shrink entries only: an order that reduces a position
    is never refused by them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_position_shares: float | None = Field(default=None, gt=0, description="Shares held of one symbol, either side")
    max_position_value: float | None = Field(default=None, gt=0, description="Market value of one position, money")
    max_position_fraction: float | None = Field(default=None, gt=0, description="Value of one position over equity")
    max_gross_exposure: float | None = Field(default=None, gt=0, description="Sum of absolute values over equity")
    max_net_exposure: float | None = Field(default=None, gt=0, description="Absolute net value over equity")
    max_order_value: float | None = Field(default=None, gt=0, description="Value of one order, money")
    price_collar: float | None = Field(
        default=None, gt=0, description="Distance of a limit price from the last price, as a fraction of it"
    )
    max_orders_per_minute: int | None = Field(default=None, ge=1, description="Entry orders within 60 seconds")
    max_orders_per_session: int | None = Field(default=None, ge=1, description="Entry orders in one session")
    max_open_orders: int | None = Field(default=None, ge=1, description="Entry orders working at the same time")
    allow_shorting: bool = Field(default=True, description="Whether a position may go below zero")
    max_daily_loss: float | None = Field(default=None, gt=0, description="Loss since the session's start, money")
    max_daily_loss_fraction: float | None = Field(
        default=None, gt=0, le=1, description="Loss since the session's start over the equity at its start"
    )
    on_daily_loss: HaltState = Field(default=HaltState.FLATTEN, description="State after the daily loss limit")
    max_drawdown: float | None = Field(default=None, gt=0, le=1, description="Fall from the highest equity, fraction")
    on_drawdown: HaltState = Field(default=HaltState.FLATTEN, description="State after the drawdown limit")
    max_consecutive_losses: int | None = Field(default=None, ge=1, description="Losing trades in a row")
    cooldown_minutes: float = Field(default=60.0, gt=0, description="No entries for so long after that many losses")
    flat_before_close_minutes: float | None = Field(
        default=None, gt=0, description="Close everything so many minutes before the session's close; intraday only"
    )

    @model_validator(mode="before")
    @classmethod
    def _start_from_a_profile(cls, document: object) -> object:
        """Read a profile's name, or a `profile` key among others."""
        if isinstance(document, str):
            return _profile(document)
        if isinstance(document, Mapping) and "profile" in document:
            others = {key: value for key, value in document.items() if key != "profile"}
            return {**_profile(str(document["profile"])), **others}
        return document

    @field_validator("on_daily_loss", "on_drawdown")
    @classmethod
    def _a_limit_must_act(cls, state: HaltState) -> HaltState:
        if state is HaltState.ACTIVE:
            raise ValueError("must be HALT_ENTRIES, REDUCE_ONLY or FLATTEN: a limit that changes nothing is no limit")
        return state

    def tightest(self, other: "Limits") -> "Limits":
        """The stricter of each limit: the smaller number, the worse halt state, shorting only where both allow it.

        >>> Limits(max_drawdown=0.2).tightest(Limits(max_drawdown=0.1, max_open_orders=3)).max_open_orders
        3
        """
        return Limits.model_validate({name: self._stricter(name, other) for name in Limits.model_fields})

    def _stricter(self, name: str, other: "Limits") -> object:
        if name in _REACTS_TO:
            return self._stricter_reaction(name, other)
        mine, theirs = getattr(self, name), getattr(other, name)
        if name == "allow_shorting":
            return mine and theirs
        pair = [value for value in (mine, theirs) if value is not None]
        choose = max if name == "flat_before_close_minutes" else min  # an earlier flattening is the stricter one
        return choose(pair) if pair else None

    def _stricter_reaction(self, name: str, other: "Limits") -> object:
        """The reaction of the side that limits at all; where both do, the more severe or longer one."""
        limiting = [side for side in (self, other) if any(getattr(side, m) is not None for m in _REACTS_TO[name])]
        reactions = [getattr(side, name) for side in limiting] or [getattr(self, name)]
        return max(reactions, key=lambda value: value.severity if isinstance(value, HaltState) else value)

    @property
    def unlimited(self) -> bool:
        """True when nothing is limited at all."""
        return all(getattr(self, name) == field.default for name, field in _limiting(type(self)))

    @property
    def notice(self) -> str | None:
        """What a result has to say aloud about these limits: that there are none; None when something is limited."""
        return "No risk limits: every order was allowed." if self.unlimited else None

    def describe(self) -> list[str]:
        """One line for each limit that is set, for a report: `max_drawdown = 0.2 (Fall from ...)`."""
        fields = type(self).model_fields
        return [
            f"{name} = {value} ({fields[name].description})"
            for name, value in self.model_dump(mode="json").items()
            if self._applies(name, value)
        ]

    def _applies(self, name: str, value: object) -> bool:
        """Whether a field says anything: a reaction does only when its limit is set, permission to short never does."""
        limit = _REACTS_TO.get(name)
        if limit is not None:
            return any(getattr(self, measure) is not None for measure in limit)
        return value is not None and value is not True

    @classmethod
    def named(cls, profile: str) -> Self:
        """A named set of limits: `none`, `default` or `conservative`.

        Raises:
            UnknownProfileError: there is no such profile.
        """
        if profile not in _PROFILES:
            raise UnknownProfileError(f"limits: {_unknown(profile)}.")
        return cls.model_validate(_PROFILES[profile])

    @classmethod
    def default(cls) -> Self:
        """What an experiment gets that says nothing: at most all of equity in one symbol, twice equity in total.

        A fully invested strategy, a rotation from one symbol into another within one bar and a pair run unhindered;
        leverage beyond what a US margin account allows over night does not.
        """
        return cls.named("default")


_REACTS_TO = {
    "on_daily_loss": ("max_daily_loss", "max_daily_loss_fraction"),
    "on_drawdown": ("max_drawdown",),
    "cooldown_minutes": ("max_consecutive_losses",),
}

_PROFILES: dict[str, dict[str, float]] = {
    "none": {},
    "default": {"max_position_fraction": 1.0, "max_gross_exposure": 2.0},
    # values that users of retail trading systems know; five positions of 10 % make the gross exposure
    "conservative": {
        "max_position_fraction": 0.10,
        "max_gross_exposure": 0.50,
        "max_order_value": 50_000.0,
        "max_orders_per_minute": 10,
        "max_daily_loss_fraction": 0.02,
        "max_drawdown": 0.20,
        "flat_before_close_minutes": 5.0,
    },
}


def _limiting(model: type[Limits]) -> list[tuple[str, FieldInfo]]:
    """The fields that limit something by themselves."""
    return [(name, field) for name, field in model.model_fields.items() if name not in _REACTS_TO]


def _profile(name: str) -> dict[str, float]:
    if name not in _PROFILES:
        raise ValueError(f"profile {_unknown(name)}")
    return _PROFILES[name]


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, _PROFILES, n=1)
    hint = f"; did you mean {close[0]}" if close else ""
    return f"{name!r} is not one of {', '.join(_PROFILES)}{hint}"
