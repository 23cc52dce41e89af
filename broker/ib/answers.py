"""How answers of a gateway are told apart.

Belongs here: the keys of questions and the pieces of answers. Does not belong here: what is in them (see `messages`),
the client library (see `wire`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from broker.ib.messages import (
    AccountValue,
    BarUpdate,
    Commission,
    Execution,
    MarketDataType,
    Notice,
    OpenOrder,
    OrderStatus,
    PortfolioItem,
    Position,
    Tick,
    Undecoded,
)

Key = int | str
"""What an answer belongs to: the number of a request, or the name of one that has none."""

POSITIONS: Final = "positions"
OPEN_ORDERS: Final = "open orders"
COMPLETED_ORDERS: Final = "completed orders"
ACCOUNT_VALUES: Final = "account values"
SERVER_TIME: Final = "server time"


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of an answer."""

    key: Key
    value: object


@dataclass(frozen=True, slots=True)
class End:
    """The end marker of an answer."""

    key: Key


@dataclass(frozen=True, slots=True)
class Closed:
    """The socket is gone."""


Told = (
    OpenOrder | OrderStatus | Execution | Commission | Position | PortfolioItem | AccountValue | Notice | BarUpdate
    | Tick | MarketDataType | Undecoded
)  # fmt: skip
"""What a gateway says that stands for itself."""

Message = Part | End | Closed | Told
Tell = Callable[[Message], None]


def market_rule_key(rule: int) -> str:
    """Under which key the answer about a market rule comes."""
    return f"market rule {rule}"
