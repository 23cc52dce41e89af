"""What happened during a run, in the order it happened.

Belongs here: appending to plain lists while Backtrader runs. Does not belong here: deciding anything, building tables
(see `run_tables`).

Bars are counted on the clock of the run: the union of all symbols' bars, 0 for the first. -1 is "before the first".
"""

from dataclasses import dataclass, field
from typing import Any

from backtrader.order import Order


@dataclass(frozen=True, slots=True)
class EndedOrder:
    """What the tables ask of Backtrader's order, which takes fifty times the memory."""

    size: float
    status: int

    def isbuy(self) -> bool:
        """Whether it bought."""
        return self.size > 0

    def getstatusname(self) -> str:
        """Backtrader's word for the status."""
        name: str = Order.Status[self.status]
        return name


@dataclass(slots=True)
class OrderRecord:
    """One order from submission to its end. Quantities are signed, + buys."""

    number: int  # 1, 2, ... in order of submission
    parent: int | None  # number of the bracket's main order
    bar: int  # bar at whose close it was submitted
    symbol: str
    kind: str
    requested: float
    approved: float
    price: float | None
    limit_price: float | None
    protective: bool  # may only reduce the position: a bracket's child, or so decided by the guard
    newest_bar: float  # day number of the newest bar known at submission; fills need a newer one
    order: Any  # the Backtrader order, or an `EndedOrder`
    by_guard: bool = False
    filled: float = 0.0
    final_bar: int = -1
    reason: str | None = None

    @property
    def remaining(self) -> float:
        """What may still be filled, signed."""
        return self.approved - self.filled


@dataclass(frozen=True, slots=True)
class FillRecord:
    """One execution. `quantity` is signed; `slippage` is money lost against the price without slippage."""

    bar: int
    symbol: str
    quantity: float
    price: float
    commission: float
    slippage: float
    order_number: int


@dataclass(slots=True)
class Recorder:
    """Grows during the run; read once at its end."""

    orders: list[OrderRecord] = field(default_factory=list)
    fills: list[FillRecord] = field(default_factory=list)
    cash: list[tuple[int, float]] = field(default_factory=list)  # bar, cash from then on
    positions: dict[str, list[tuple[int, float, float]]] = field(default_factory=dict)  # bar, size, average price
    financing: list[tuple[int, float]] = field(default_factory=list)  # bar, money: + received, - paid
    deposits: list[tuple[int, float]] = field(default_factory=list)  # bar, money the strategy put in or took out
