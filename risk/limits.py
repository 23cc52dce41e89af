"""The limits of an account or an experiment: names, units, defaults, and named profiles.

Belongs here: what may be limited. Does not belong here: measuring a portfolio against it (see `decision`, `guard`).
"""

import difflib
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from risk.errors import UnknownProfileError
from risk.states import HaltState


class Limits(BaseModel):
    """Every limit is optional; None means "not limited".

    Money is in account currency, fractions are of equity (0.1 is 10 %), times are minutes. Limits on positions,
    exposure, order value, price, counts and shorting stop or shrink entries only: an order that reduces a position
    is never refused by them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    cooldown_minutes: float = Field(default=60.0, ge=0, description="No entries for so long after that many losses")
    flat_before_close_minutes: float | None = Field(
        default=None, ge=0, description="Close everything so many minutes before the session's close"
    )

    def tightest(self, other: "Limits") -> "Limits":
        """The stricter of each limit: the smaller number, the worse halt state, shorting only where both allow it.

        >>> Limits(max_drawdown=0.2).tightest(Limits(max_drawdown=0.1, max_open_orders=3)).max_open_orders
        3
        """
        return Limits.model_validate({name: self._stricter(name, other) for name in Limits.model_fields})

    def _stricter(self, name: str, other: "Limits") -> object:
        mine, theirs = getattr(self, name), getattr(other, name)
        if name == "allow_shorting":
            return mine and theirs
        if isinstance(mine, HaltState):
            return self._stricter_state(name, other)
        pair = [value for value in (mine, theirs) if value is not None]
        # a longer cool-down and an earlier flattening are the stricter ones
        choose = max if name in ("cooldown_minutes", "flat_before_close_minutes") else min
        return choose(pair) if pair else None

    def _stricter_state(self, name: str, other: "Limits") -> HaltState:
        """The reaction of the side that limits at all; where both do, the more severe one."""
        measures = {
            "on_daily_loss": ("max_daily_loss", "max_daily_loss_fraction"),
            "on_drawdown": ("max_drawdown",),
        }[name]
        states = [
            getattr(side, name) for side in (self, other) if any(getattr(side, m) is not None for m in measures)
        ] or [getattr(self, name)]
        worst: HaltState = max(states, key=lambda state: HaltState(state).severity)
        return worst

    @property
    def unlimited(self) -> bool:
        """True when nothing is limited at all, which a result says aloud."""
        return self.model_dump(exclude={"cooldown_minutes", "on_daily_loss", "on_drawdown"}) == _NOTHING

    def describe(self) -> list[str]:
        """One line for each limit that is set, for a report: `max_drawdown = 0.2 (Fall from ...)`."""
        fields = type(self).model_fields
        return [
            f"{name} = {value} ({fields[name].description})"
            for name, value in self.model_dump(mode="json", exclude_defaults=True).items()
        ]

    @classmethod
    def named(cls, profile: Literal["none", "conservative"] | str) -> Self:
        """A named set of limits: `none`, or `conservative`, the values that users of earlier systems know.

        Raises:
            UnknownProfileError: there is no such profile.
        """
        if profile not in _PROFILES:
            close = difflib.get_close_matches(profile, _PROFILES, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise UnknownProfileError(f"limits: {profile!r} is not one of {', '.join(_PROFILES)}.{hint}")
        return cls.model_validate(_PROFILES[profile])


_NOTHING = Limits().model_dump(exclude={"cooldown_minutes", "on_daily_loss", "on_drawdown"})

_PROFILES: dict[str, dict[str, float]] = {
    "none": {},
    "conservative": {
        "max_position_fraction": 0.10,
        "max_gross_exposure": 0.50,
        "max_order_value": 50_000.0,
        "max_orders_per_minute": 10,
        "max_daily_loss_fraction": 0.02,
        "max_drawdown": 0.20,
        "max_consecutive_losses": 3,
        "cooldown_minutes": 60.0,
        "flat_before_close_minutes": 5.0,
    },
}
