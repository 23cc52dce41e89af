"""How far the price of an order that takes liquidity is from the price that was shown.

Belongs here: slippage models; pure functions of one execution. Does not belong here: when an order executes.

Every model keeps the price inside the bar's range: nobody traded outside it.
"""

from dataclasses import dataclass
from typing import Protocol

_BASIS_POINT = 1e-4


class SlippageModel(Protocol):
    """From the price that was shown to the price that is paid."""

    def price(self, side: int, price: float, *, quantity: float, bar_volume: float, high: float, low: float) -> float:
        """Price of an execution: `side` +1 buys, -1 sells; `quantity` shares out of a bar of `bar_volume`."""
        ...


@dataclass(frozen=True, slots=True)
class NoSlippage:
    """The price that was shown."""

    def price(
        self,
        side: int,
        price: float,
        *,
        quantity: float,
        bar_volume: float,
        high: float,
        low: float,
    ) -> float:
        """Unchanged."""
        return price


@dataclass(frozen=True, slots=True)
class BasisPoints:
    """A fixed fraction of the price; also half a quoted spread, given as such."""

    basis_points: float

    def price(
        self,
        side: int,
        price: float,
        *,
        quantity: float,
        bar_volume: float,
        high: float,
        low: float,
    ) -> float:
        """`price` moved against the order.

        >>> BasisPoints(10.0).price(1, 100.0, quantity=1, bar_volume=1, high=101.0, low=99.0)
        100.1
        """
        return _inside(price * (1.0 + side * self.basis_points * _BASIS_POINT), high, low)


@dataclass(frozen=True, slots=True)
class VolumeShare:
    """Grows with the square of the order's share of the bar's volume: `impact` x share ** 2 of the price."""

    impact: float

    def price(self, side: int, price: float, *, quantity: float, bar_volume: float, high: float, low: float) -> float:
        """`price` moved against the order; a bar without known volume is taken as bought up whole."""
        share = min(1.0, quantity / bar_volume) if bar_volume > 0 else 1.0
        return _inside(price * (1.0 + side * self.impact * share * share), high, low)


def _inside(price: float, high: float, low: float) -> float:
    return min(max(price, low), high)
