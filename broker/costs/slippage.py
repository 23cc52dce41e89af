"""How much worse than the reference price an order fills that takes liquidity.

Belongs here: price models; every one keeps the price inside the bar. Does not belong here: which orders slip (market
and stop orders do, orders that wait at a limit do not) and how many shares fill (see `participation`).
"""

import math
from dataclasses import dataclass
from typing import Protocol

_BPS = 10_000.0


class SlippageModel(Protocol):
    """Moves a price against the order."""

    def price(self, side: int, price: float, *, quantity: float, bar_volume: float, high: float, low: float) -> float:
        """The fill price, never outside [low, high].

        Args:
            side: +1 for a purchase, -1 for a sale.
            price: reference price without slippage.
            quantity: shares that fill, positive.
            bar_volume: shares traded in the bar; NaN when unknown.
            high: highest price of the bar.
            low: lowest price of the bar.
        """

    @property
    def notice(self) -> str | None:
        """What a result must say aloud about this model, or None."""

    def scaled(self, multiple: int) -> "SlippageModel":
        """The model that moves a price so many times as far, inside the bar all the same."""


@dataclass(frozen=True, slots=True)
class BasisPoints:
    """A fixed part of the price, in basis points."""

    bps: float = 5.0

    def price(self, side: int, price: float, *, quantity: float, bar_volume: float, high: float, low: float) -> float:
        """See `SlippageModel.price`."""
        return _inside(price * (1 + side * self.bps / _BPS), high, low)

    @property
    def notice(self) -> str | None:
        """Zero basis points are no slippage at all."""
        return NoSlippage().notice if self.bps == 0 else None

    def scaled(self, multiple: int) -> "BasisPoints":
        """See `SlippageModel.scaled`."""
        return BasisPoints(self.bps * multiple)


@dataclass(frozen=True, slots=True)
class HalfSpread:
    """Half of a quoted spread, given in basis points of the price."""

    spread_bps: float = 2.0

    def price(self, side: int, price: float, *, quantity: float, bar_volume: float, high: float, low: float) -> float:
        """See `SlippageModel.price`."""
        return _inside(price * (1 + side * self.spread_bps / 2 / _BPS), high, low)

    @property
    def notice(self) -> str | None:
        """A spread of zero is no slippage at all."""
        return NoSlippage().notice if self.spread_bps == 0 else None

    def scaled(self, multiple: int) -> "HalfSpread":
        """See `SlippageModel.scaled`."""
        return HalfSpread(self.spread_bps * multiple)


@dataclass(frozen=True, slots=True)
class VolumeShare:
    """Impact that grows with the square of the share of the bar's volume: price x impact x share^2.

    A bar whose volume is unknown or zero counts as taken whole.
    """

    impact: float = 0.1

    def price(self, side: int, price: float, *, quantity: float, bar_volume: float, high: float, low: float) -> float:
        """See `SlippageModel.price`."""
        known = math.isfinite(bar_volume) and bar_volume > 0
        share = min(1.0, quantity / bar_volume) if known else 1.0
        return _inside(price * (1 + side * self.impact * share * share), high, low)

    @property
    def notice(self) -> str | None:
        """An impact of zero is no slippage at all."""
        return NoSlippage().notice if self.impact == 0 else None

    def scaled(self, multiple: int) -> "VolumeShare":
        """See `SlippageModel.scaled`."""
        return VolumeShare(self.impact * multiple)


@dataclass(frozen=True, slots=True)
class NoSlippage:
    """Fills at the reference price, and says so."""

    def price(self, side: int, price: float, *, quantity: float, bar_volume: float, high: float, low: float) -> float:
        """See `SlippageModel.price`."""
        return _inside(price, high, low)

    @property
    def notice(self) -> str | None:
        """Always."""
        return "No slippage: every order fills at its reference price."

    def scaled(self, multiple: int) -> "NoSlippage":
        """See `SlippageModel.scaled`."""
        return self


def _inside(price: float, high: float, low: float) -> float:
    return min(max(price, low), high)
