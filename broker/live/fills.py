"""Fills on their way from the order book to a strategy.

Belongs here: waiting for commissions, corrections, positions that changed without us. Does not belong here:
Backtrader's arithmetic (see `booking`), whether a fill is one (see `broker.orders`).
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import backtrader as bt

from broker.ib.messages import Execution
from broker.live.booking import Booking, amend_trade, average_of_difference
from broker.live.exits import Exits
from broker.live.news import News
from broker.live.orders import LiveOrder, Register
from broker.live.traded import Traded
from broker.orders.changes import CommissionBooked, FillBooked, FillCorrected, PositionAdopted
from broker.orders.fills import parted


@dataclass(frozen=True, slots=True)
class Waiting:
    """An execution whose commission is awaited until `until`; `live` is None where its order is not a strategy's."""

    execution: Execution
    live: LiveOrder | None
    until: datetime


class Fills:
    """Tells orders, positions and trades of fills, each once, with what it cost.

    Args:
        register: the orders of strategies.
        booking: positions.
        traded: feeds by contract.
        news: what strategies are told.
        exits: forgets the group of a position that is over.
        first_strategy: whose trades what is nobody's belongs to.
        estimate: a commission that did not come in time.
        wait: how long a fill waits for its commission.
    """

    def __init__(
        self,
        register: Register,
        booking: Booking,
        traded: Traded,
        news: News,
        exits: Exits,
        *,
        first_strategy: Callable[[], bt.Strategy],
        estimate: Callable[[Execution], float],
        wait: timedelta,
    ) -> None:
        self._register = register
        self._booking = booking
        self._traded = traded
        self._news = news
        self._exits = exits
        self._first_strategy = first_strategy
        self._estimate = estimate
        self._wait = wait
        self._waiting: dict[str, Waiting] = {}  # by the execution's lasting name
        self._estimated: dict[str, float] = {}  # commissions that were booked before they were known
        self._unshown: deque[tuple[int, float, float, float]] = (
            deque()
        )  # con_id, size, price, fee; until there are bars

    def waits(self, live: LiveOrder) -> bool:
        """Whether an order has fills that its strategy was not told of."""
        return any(fill.live is live for fill in self._waiting.values())

    # ---------------------------------------------------------------- what the book says

    def hear_fill(self, change: FillBooked, now: datetime) -> None:
        """Let a fill wait for its commission, which follows at once where it came first."""
        stem, _ = parted(change.execution.exec_id)
        self._waiting[stem] = Waiting(change.execution, self._register.by_ref(change.order_ref), now + self._wait)

    def hear_commission(self, change: CommissionBooked) -> LiveOrder | None:
        """Book the fill that waited for it, or amend one that could not wait; the order of a fill that was booked."""
        stem, _ = parted(change.commission.exec_id)
        amount = float(change.commission.amount)
        if stem in self._waiting:
            return self._book(stem, amount)
        before = self._estimated.pop(stem, 0.0 if change.earlier is None else float(change.earlier.amount))
        self._amend(stem, change.order_ref, amount - before)
        return None

    def hear_correction(self, change: FillCorrected) -> None:
        """Book the new execution and take the earlier one back."""
        stem, _ = parted(change.execution.exec_id)
        waiting = self._waiting.get(stem)
        if waiting is not None:
            self._waiting[stem] = Waiting(change.execution, waiting.live, waiting.until)
            return
        live = self._register.by_ref(change.order_ref)
        for execution, sign in ((change.execution, 1), (change.earlier, -1)):
            self._execute(live, execution, float(execution.signed) * sign, 0.0)
        if live is not None:
            live.applied += change.execution.quantity - change.earlier.quantity
            live.keep_remaining()
            self._news.tell(live.order)

    def hear_position(self, change: PositionAdopted) -> None:
        """A position that was there before, or changed without an execution."""
        con_id, moved = change.contract.con_id, float(change.after - change.before)
        held = self._booking.position(con_id)
        last = self._traded.price(con_id)
        price = average_of_difference(change.before, change.after, held.price, change.average_cost, last)
        if moved:
            self._nobodys(con_id, moved, price, 0.0)

    def inherit(self, con_id: int, quantity: Decimal, cost: Decimal) -> None:
        """A position that a restored book already knows; `cost` a share, commissions included."""
        self._nobodys(con_id, float(quantity), float(cost), 0.0)

    # ---------------------------------------------------------------- what time brings

    def book_overdue(self, now: datetime) -> list[LiveOrder]:
        """Book fills that waited long enough, with estimated commissions; their orders."""
        booked = []
        for stem in [stem for stem, fill in self._waiting.items() if fill.until <= now]:
            self._estimated[stem] = fee = self._estimate(self._waiting[stem].execution)
            live = self._book(stem, fee)
            if live is not None:
                booked.append(live)
        return booked

    def show_nobodys(self) -> None:
        """Tell trades of what is nobody's, once there are bars to say when."""
        while self._unshown:
            con_id, size, price, fee = self._unshown[0]
            data = self._traded.fed(con_id)
            if data is None:
                return
            self._unshown.popleft()
            self._news.tell(self._booking.external(data, con_id, size, price, fee))

    # ---------------------------------------------------------------- inside

    def _book(self, stem: str, fee: float) -> LiveOrder | None:
        """Tell Backtrader of an execution."""
        fill = self._waiting.pop(stem)
        live, execution = fill.live, fill.execution
        con_id = execution.contract.con_id
        before = self._booking.position(con_id).size
        if live is not None and not live.accepted:
            self._news.accept(live)
        self._execute(live, execution, float(execution.signed), fee)
        if before and before * self._booking.position(con_id).size <= 0:
            self._exits.forget(con_id)
        if live is None:
            return None
        live.bits[stem] = live.order.executed.exbits[-1]
        live.applied += execution.quantity
        live.keep_remaining()
        if live.order.executed.remsize:
            live.order.partial()
        else:
            live.order.completed()
        self._news.tell(live.order)
        return live

    def _execute(self, live: LiveOrder | None, execution: Execution, size: float, fee: float) -> None:
        con_id, price = execution.contract.con_id, float(execution.price)
        if live is None:
            self._nobodys(con_id, size, price, fee)
        else:
            self._booking.execute(live.order, con_id, size, price, fee)

    def _nobodys(self, con_id: int, size: float, price: float, fee: float) -> None:
        """A change of a position without an order of a strategy."""
        if self._traded.feed(con_id) is None:
            self._booking.move(con_id, size, price)
        else:
            self._unshown.append((con_id, size, price, fee))
            self.show_nobodys()

    def _amend(self, stem: str, order_ref: str, more: float) -> None:
        """A commission that is another one than was booked."""
        live = self._register.by_ref(order_ref)
        bit = None if live is None else live.bits.get(stem)
        if live is None or bit is None or math.isclose(more, 0.0, abs_tol=1e-9):
            return
        self._booking.amend(live.con_id, live.order, bit, more)
        amend_trade(live.order.owner or self._first_strategy(), live.order, more)
        self._news.tell(live.order)
