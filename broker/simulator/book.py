"""All orders of the simulated gateway: numbers, relatives, groups.

Belongs here: which orders exist, which wait, who is whose parent, how much of a child may trade. Does not belong here:
prices, fills, news.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from broker.simulator.ledger import ZERO
from broker.simulator.orders import Order

FIRST_PERM_ID = 1_000_000_001


@dataclass(slots=True)
class OrderBook:
    """Orders by permanent id; those that are not done are found quickly."""

    orders: dict[int, Order] = field(default_factory=dict)
    next_ids: dict[int, int] = field(default_factory=dict)  # by client
    next_perm_id: int = FIRST_PERM_ID
    last_manual_id: int = 0
    _by_client: dict[tuple[int, int], Order] = field(default_factory=dict)
    _waiting: dict[int, Order] = field(default_factory=dict)
    _families: dict[int, list[Order]] = field(default_factory=dict)  # all children, by parent

    def next_id(self, client_id: int) -> int:
        """The next order id of a client."""
        return self.next_ids.get(client_id, 1)

    def new_perm_id(self) -> int:
        """A number that no other order has, after a restart neither."""
        self.next_perm_id += 1
        return self.next_perm_id - 1

    def new_manual_id(self) -> int:
        """Orders made by hand have negative ids."""
        self.last_manual_id -= 1
        return self.last_manual_id

    def add(self, order: Order) -> None:
        """Take an order in."""
        self.orders[order.perm_id] = order
        self._by_client[order.client_id, order.order_id] = order
        if order.order_id > 0:
            self.next_ids[order.client_id] = max(self.next_id(order.client_id), order.order_id + 1)
        if not order.status.done:
            self._waiting[order.perm_id] = order
        if order.parent_perm_id:
            self._families.setdefault(order.parent_perm_id, []).append(order)

    def of_client(self, client_id: int, order_id: int) -> Order | None:
        """An order by the id that its client gave it."""
        return self._by_client.get((client_id, order_id))

    def retire(self, order: Order) -> None:
        """An order is done."""
        self._waiting.pop(order.perm_id, None)

    def waiting(self, key: str | None = None) -> list[Order]:
        """Orders that are not done and have been transmitted, oldest first."""
        return [o for o in self._waiting.values() if not o.held and (key is None or o.instrument.key == key)]

    def held(self) -> list[Order]:
        """Orders that wait for a sibling to be transmitted."""
        return [o for o in self._waiting.values() if o.held]

    def completed(self) -> list[Order]:
        """Orders that are done, oldest first."""
        return [o for o in self.orders.values() if o.status.done]

    def children(self, parent: Order) -> list[Order]:
        """Children that are not done."""
        return [o for o in self._families.get(parent.perm_id, ()) if not o.status.done]

    def relatives(self, order: Order) -> Iterator[Order]:
        """Parent first, then siblings and children: what is transmitted with an order."""
        if order.parent_perm_id:
            parent = self.orders[order.parent_perm_id]
            yield parent
            yield from (o for o in self.children(parent) if o is not order)

    def group(self, order: Order) -> list[Order]:
        """The others that cancel or shrink when this order fills, by their common name."""
        name = order.terms.oca_group
        return [o for o in self._waiting.values() if name and o.terms.oca_group == name and o is not order]

    def tradable(self, order: Order) -> Decimal:
        """How much of an order may trade: a child closes at most what its parent has opened."""
        if not order.parent_perm_id:
            return order.remaining
        return min(order.remaining, max(ZERO, self.open_part(self.orders[order.parent_perm_id])))

    def open_part(self, parent: Order) -> Decimal:
        """What a parent has filled and its children have not closed yet."""
        return parent.filled - self._closed(parent)

    def protectable(self, parent: Order) -> Decimal:
        """What the children of a parent may still close, now or when it has filled."""
        return (parent.filled if parent.status.done else parent.total) - self._closed(parent)

    def _closed(self, parent: Order) -> Decimal:
        return sum((o.filled for o in self._families.get(parent.perm_id, ())), ZERO)
