"""Executions as Backtrader books them: positions, bits of orders, profit of trades.

Belongs here: what `order.execute` and `Trade` need so that a trade's profit is the account's. Does not belong here:
when an execution is booked (see `broker.live_broker`).

Positions that were there before, and fills that are not ours, reach the strategy's trades as orders of nobody
(`order.info.external`), so that the first sale of an inherited position closes it and opens no short one.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import backtrader as bt
from backtrader.order import BuyOrder, Order, OrderExecutionBit, SellOrder
from backtrader.position import Position

from broker.instrument import Instrument

_NOTHING = 1e-9


class Commissions(bt.CommInfoBase):  # type: ignore[misc]
    """What trades are valued with; commissions come from the broker, never from here."""

    params = (("commission", 0.0), ("stocklike", True), ("percabs", True))


@dataclass(slots=True)
class Booking:
    """Positions by con_id and the running profit of open trades.

    `closed_trade` is told the profit after costs whenever a position of an instrument was closed or turned.
    """

    instruments: Mapping[int, Instrument]
    closed_trade: Callable[[float], None]
    positions: dict[int, Position] = field(default_factory=dict)
    _sums: dict[int, Position] = field(
        default_factory=dict
    )  # the same, as sums of binary fractions as trades keep them
    _profits: dict[int, float] = field(default_factory=dict)
    _commissions: dict[int, Commissions] = field(default_factory=dict)

    def position(self, con_id: int) -> Position:
        """The position as the strategy sees it."""
        return self.positions.setdefault(con_id, Position())

    def commissions(self, con_id: int) -> Commissions:
        """How Backtrader values trades of a contract."""
        if con_id not in self._commissions:
            self._commissions[con_id] = Commissions(mult=self._multiplier(con_id))
        return self._commissions[con_id]

    def move(self, con_id: int, size: float, price: float) -> None:
        """Change the position of a contract that no feed trades."""
        position = self._sums.setdefault(con_id, Position())
        position.update(size, price)
        self.position(con_id).fix(round(position.size, 9), position.price)

    def execute(self, order: Order, con_id: int, size: float, price: float, fee: float) -> OrderExecutionBit:
        """Book an execution of `size` (signed) on position and order; the order's status is left alone."""
        position = self._sums.setdefault(con_id, Position())
        average, held = position.price, position.size
        if abs(held + size) < _NOTHING:
            size = -held  # a trade sums up the same binary fractions, so that it closes too
        _, _, opened, closed = position.update(size, price)
        self.position(con_id).fix(round(position.size, 9), position.price)
        multiplier = self._multiplier(con_id)
        closed_fee = fee * (closed / size) if size else 0.0
        profit = -closed * (price - average) * multiplier
        bit = OrderExecutionBit(
            order.data.datetime[0], size, price,
            closed, -closed * average * multiplier, closed_fee,
            opened, opened * price * multiplier, fee - closed_fee,
            profit, position.size, position.price,
        )  # fmt: skip
        order.executed.addbit(bit)
        order.addcomminfo(self.commissions(con_id))
        self._follow_trade(con_id, held, bit)
        return bit

    def amend(self, con_id: int, order: Order, bit: OrderExecutionBit, more: float) -> None:
        """Add to the commission of an execution that was booked before it was known."""
        if bit.closed:
            bit.closedcomm += more
        else:
            bit.openedcomm += more
        bit.comm += more
        order.executed.comm += more
        if con_id in self._profits:
            self._profits[con_id] -= more

    def external(self, data: bt.feed.DataBase, con_id: int, size: float, price: float, fee: float) -> Order:
        """An order of nobody that did what happened without us."""
        order = nobodys_order(data, size, price)
        self.execute(order, con_id, size, price, fee)
        order.completed()
        return order

    def _follow_trade(self, con_id: int, held: float, bit: OrderExecutionBit) -> None:
        """Keep the profit of the open trade and tell when it ends."""
        profit = self._profits.pop(con_id, 0.0) + bit.pnl - bit.closedcomm
        size = self.position(con_id).size
        if bit.closed and (bit.opened or not size) and held:
            self.closed_trade(profit)
            profit = 0.0
        if size:
            self._profits[con_id] = profit - bit.openedcomm

    def _multiplier(self, con_id: int) -> float:
        instrument = self.instruments.get(con_id)
        return 1.0 if instrument is None else float(instrument.multiplier)


def nobodys_order(data: bt.feed.DataBase, size: float, price: float) -> Order:
    """An order that belongs to no strategy; Backtrader gives its fills to the first one. The feed has a bar."""
    made = BuyOrder if size > 0 else SellOrder
    order = made(data=data, size=abs(size), price=price, exectype=Order.Market)
    order.addinfo(external=True)
    return order


def amend_trade(strategy: bt.Strategy, order: Order, more: float) -> None:
    """Add a commission that came late to the strategy's trade of the order."""
    trades = strategy._trades[order.data][order.tradeid]
    if trades:
        trades[-1].commission += more
        trades[-1].pnlcomm -= more


def average_of_difference(before: Decimal, after: Decimal, held_at: float, cost: Decimal, last: float) -> float:
    """At which price a position changed without an execution that we know of.

    The broker's average cost says it where the position grew; else the last price is as good as any.
    """
    moved = after - before
    if before * after >= 0 and abs(after) > abs(before) and cost > 0:
        price = (float(after * cost) - float(before) * held_at) / float(moved)
        if price > 0:
            return price
    return last if math.isfinite(last) and last > 0 else float(cost)
