"""One decided order and what came of it, live or in a backtest alike.

Belongs here: the shape, and what an order is worth. Does not belong here: where orders come from (see `live` and
`replay`), which belong together (see `pairing`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, Inexact, localcontext
from typing import Final, Literal

Side = Literal["BUY", "SELL"]

_DIGITS: Final = 80  # a product of three numbers with all the digits of a float
_PRICE: Final = Decimal("0.000001")
_AT_ONCE: Final = frozenset({"market", "close", "external"})


@contextmanager
def exactly() -> Iterator[None]:
    """Decimal arithmetic that loses no digit: it would raise instead."""
    with localcontext(Context(prec=_DIGITS, traps=[Inexact])):
        yield


@dataclass(frozen=True, slots=True)
class DecidedOrder:
    """An order with all its fills of one session.

    Attributes:
        symbol: the experiment's name of it.
        bar: close of the bar that it was decided on, aware UTC.
        side: which way.
        kind: market, close, limit, stop, ...; `external` for fills that no order of ours explains.
        ordered: shares that were to be traded; 0 for what a backtest's risk guard refused.
        filled: shares that were.
        value: money of the fills, shares times price.
        commission: of the fills; what the cost model charges where the broker has not told it.
        reference: the order's own name.
        reason: why it was changed or refused, or ended; empty where nothing was said.
    """

    symbol: str
    bar: datetime
    side: Side
    kind: str
    ordered: Decimal
    filled: Decimal
    value: Decimal
    commission: Decimal
    reference: str
    reason: str = ""

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sale."""
        return 1 if self.side == "BUY" else -1

    @property
    def waits(self) -> bool:
        """Whether it waits for a price: when it trades is not when it was decided."""
        return self.kind not in _AT_ONCE

    @property
    def price(self) -> Decimal | None:
        """The average price of its fills, to a millionth; None without one."""
        return (self.value / self.filled).quantize(_PRICE) if self.filled else None

    def worth(self, mark: Decimal) -> Decimal:
        """What its fills earned up to a price, after commission."""
        with exactly():
            return self.sign * (self.filled * mark - self.value) - self.commission
