"""What a strategy is told about its orders.

Belongs here: the queue of changes, reasons, ends that need no broker. Does not belong here: why (see the callers).
"""

from collections import deque

from backtrader.order import Order

from broker.live.orders import LiveOrder


class News:
    """Changes of orders in the order in which the strategy hears them; `reasons` by Backtrader's reference."""

    def __init__(self) -> None:
        self._queue: deque[Order | None] = deque()
        self.reasons: dict[int, str] = {}

    def tell(self, order: Order) -> None:
        """Queue what an order is now."""
        self._queue.append(order.clone())

    def end_round(self) -> None:
        """What comes from here on, mostly answers to these news, is told at the next round."""
        self._queue.append(None)

    def take(self) -> Order | None:
        """The next change; None at the end of a round, or when there is none."""
        return self._queue.popleft() if self._queue else None

    def explain(self, order: Order, reason: str) -> None:
        """Say why something happens to an order."""
        self.reasons[order.ref] = reason
        order.addinfo(reason=reason)

    def reject(self, order: Order, reason: str) -> None:
        """End an order that is nowhere at the broker and may not go."""
        self.explain(order, reason)
        order.reject(order.broker)
        self.tell(order)

    def withdraw(self, order: Order, reason: str) -> None:
        """End an order that is nowhere at the broker and is not wanted any more."""
        self.explain(order, reason)
        order.cancel()
        self.tell(order)

    def accept(self, live: LiveOrder) -> None:
        """The broker has an order, or has it after all."""
        live.accepted = True
        if live.applied:
            live.order.partial()
        else:
            live.order.accept(live.order.broker)
        self.tell(live.order)
