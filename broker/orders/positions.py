"""Positions by contract: what was there, what was filled since, and what the broker says.

Belongs here: the two numbers and since when they differ. Does not belong here: executions (see `fills`), what is done
about a difference (see `book`).
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from broker.ib.messages import Contract, Position

_NONE = Decimal()


@dataclass(slots=True)
class PositionBook:
    """Signed quantities by con_id."""

    _booked: dict[int, Decimal] = field(default_factory=dict)
    _told: dict[int, Position] = field(default_factory=dict)
    _since: dict[int, tuple[tuple[Decimal, Decimal], datetime]] = field(default_factory=dict)

    def booked(self, con_id: int) -> Decimal:
        """The position that follows from what was there and what was filled."""
        return self._booked.get(con_id, _NONE)

    def told(self, con_id: int) -> Decimal:
        """The position that the broker stated last."""
        position = self._told.get(con_id)
        return _NONE if position is None else position.quantity

    def told_cost(self, con_id: int) -> Decimal:
        """The broker's average cost of a share, commissions included."""
        position = self._told.get(con_id)
        return _NONE if position is None else position.average_cost

    def con_ids(self) -> set[int]:
        """Every contract with a position on either side."""
        return set(self._booked) | set(self._told)

    def contract(self, con_id: int) -> Contract | None:
        """The contract that the broker stated a position of."""
        position = self._told.get(con_id)
        return None if position is None else position.contract

    def move(self, contract: Contract, quantity: Decimal) -> None:
        """Add a signed quantity."""
        self._booked[contract.con_id] = self.booked(contract.con_id) + quantity

    def put(self, contract: Contract, quantity: Decimal) -> None:
        """Set the position."""
        self._booked[contract.con_id] = quantity

    def hear(self, position: Position) -> None:
        """Note what the broker says."""
        self._told[position.contract.con_id] = position

    def differing(self, now: datetime) -> dict[int, datetime]:
        """Contracts whose two numbers differ, and since when they are these two numbers."""
        pairs = {con_id: (self.booked(con_id), self.told(con_id)) for con_id in self.con_ids()}
        self._since = {
            con_id: known if (known := self._since.get(con_id)) is not None and known[0] == pair else (pair, now)
            for con_id, pair in pairs.items()
            if pair[0] != pair[1]
        }
        return {con_id: since for con_id, (_, since) in self._since.items()}
