"""An order of a strategy on its way to the broker, and the groups that orders form.

Belongs here: what the live broker keeps about each of Backtrader's orders. Does not belong here: sending (see
`dispatch`), what became of it at the broker (see `broker.orders`).
"""

import math
from dataclasses import dataclass, field
from decimal import Decimal

from backtrader.order import Order, OrderExecutionBit

from broker.ib.messages import OrderTicket
from broker.instrument import Instrument
from broker.orders.book import OrderBook
from broker.orders.tracked import TrackedOrder


@dataclass(slots=True)
class LiveOrder:
    """One of Backtrader's orders and its life here; quantities are exact and without sign.

    Attributes:
        order: Backtrader's.
        instrument: what it trades.
        parent: the order it is attached to.
        quantity: what may go after rounding and review.
        capped: it only reduces, so that its fills must never exceed the position.
        by_guard: the broker itself closes a position with it; a strategy cannot cancel it.
        kind: what `risk` calls its type.
        draft: its terms as they were reviewed; what a strategy does to `order` afterwards changes nothing.
        order_id: its number at the broker; 0 until it was written down.
        oca_group: the group in which one order's fill cancels or shrinks the others.
        oca_type: 1 cancels, 2 shrinks.
        applied: what Backtrader knows as filled.
        bits: executions that Backtrader knows, by their lasting name.
        cancel_wanted: somebody wants it cancelled.
        accepted: whether the strategy was told that the broker has it.
        resent: whether it was sent a second time.
    """

    order: Order
    instrument: Instrument
    parent: "LiveOrder | None"
    quantity: Decimal
    capped: bool
    by_guard: bool
    kind: str
    draft: OrderTicket
    order_id: int = 0
    oca_group: str = ""
    oca_type: int = 0
    applied: Decimal = Decimal()
    bits: dict[str, OrderExecutionBit] = field(default_factory=dict)
    cancel_wanted: bool = False
    accepted: bool = False
    resent: bool = False

    @property
    def order_ref(self) -> str:
        """Its reference, also at the broker."""
        return self.draft.order_ref

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sale."""
        return 1 if self.order.isbuy() else -1

    @property
    def con_id(self) -> int:
        """The contract's number."""
        return self.instrument.con_id

    @property
    def written(self) -> bool:
        """Whether it is in the order book."""
        return bool(self.order_id)

    @property
    def may_lead_group(self) -> bool:
        """Whether it has to wait, because it names another order in `oco` or a later one may name it."""
        at_once = self.order.exectype in (Order.Market, Order.Close) or self.oca_group or self.parent is not None
        return self.order.oco is not None or not at_once

    def resize(self, quantity: Decimal) -> None:
        """Another quantity, everywhere Backtrader keeps it."""
        order, self.quantity = self.order, quantity
        order.size = order.created.size = math.copysign(float(quantity), self.sign)
        self.keep_remaining()

    @property
    def limit(self) -> float | None:
        """The worst price that it may trade at; None where it has none."""
        created = self.order.created
        if self.order.exectype == Order.Limit:
            return float(created.price)
        has_limit = self.order.exectype in (Order.StopLimit, Order.StopTrailLimit)
        return float(created.pricelimit) if has_limit else None

    def take_terms(self, ticket: OrderTicket) -> None:
        """Other terms are in force at the broker."""
        self.resize(ticket.quantity)
        created, exectype = self.order.created, self.order.exectype
        if exectype == Order.Limit and ticket.limit_price is not None:
            created.price = created.pricelimit = float(ticket.limit_price)
        elif exectype in (Order.Stop, Order.StopLimit) and ticket.aux_price is not None:
            created.price = float(ticket.aux_price)
            created.pricelimit = created.price if ticket.limit_price is None else float(ticket.limit_price)

    def keep_remaining(self) -> None:
        """What is left to fill, without the last bits of sums of binary fractions."""
        self.order.executed.remsize = math.copysign(float(self.quantity - self.applied), self.sign)
        if self.quantity == self.applied:
            self.order.executed.remsize = 0


class Register:
    """All orders of a run, and what the book knows about them."""

    def __init__(self, book: OrderBook) -> None:
        self.book = book
        self._orders: dict[int, LiveOrder] = {}  # by Backtrader's reference
        self._open: dict[int, LiveOrder] = {}  # the same, those that are not over
        self._by_ref: dict[str, LiveOrder] = {}  # by our reference

    def add(self, live: LiveOrder) -> None:
        """Take an order in."""
        self._orders[live.order.ref] = self._open[live.order.ref] = live

    def write(self, live: LiveOrder, order_id: int) -> None:
        """The order is in the book."""
        live.order_id = order_id
        self._by_ref[live.order_ref] = live

    def reopen(self, live: LiveOrder) -> None:
        """An order that was over is not."""
        self._open[live.order.ref] = live

    def drop_done(self) -> None:
        """Forget about orders that are over."""
        self._open = {ref: live for ref, live in self._open.items() if self.works(live) or live.order.alive()}

    def get(self, order: Order | None) -> LiveOrder | None:
        """What is kept about one of Backtrader's orders."""
        return None if order is None else self._orders.get(order.ref)

    def by_ref(self, order_ref: str) -> LiveOrder | None:
        """The order with one of our references; None for one of another run, or nobody's."""
        return self._by_ref.get(order_ref)

    def tracked(self, live: LiveOrder) -> TrackedOrder:
        """What the book knows about a written order."""
        return self.book.orders[live.order_ref]

    def works(self, live: LiveOrder) -> bool:
        """Whether an order is not over: at the broker where it is written, else here."""
        return not self.tracked(live).state.terminal if live.written else bool(live.order.alive())

    def remaining(self, live: LiveOrder) -> Decimal:
        """Shares of an order that may still fill at the broker, or will be sent."""
        if live.written:
            return self.tracked(live).remaining
        return live.quantity if live.order.alive() else Decimal()

    def open(self) -> list[LiveOrder]:
        """Orders that are not over, those too that are not sent yet."""
        return [live for live in self._open.values() if self.works(live)]

    def at_broker(self) -> list[LiveOrder]:
        """Written orders that are not over."""
        return [live for live in self.open() if live.written]

    def of(self, con_id: int) -> list[LiveOrder]:
        """Orders of a contract that are not over, those too that are not sent yet."""
        return [live for live in self.open() if live.con_id == con_id]

    def foreign(self) -> list[TrackedOrder]:
        """Working orders that no strategy of this run sent."""
        return [tracked for tracked in self.book.open_orders if tracked.order_ref not in self._by_ref]
