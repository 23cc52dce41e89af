"""The way of an order through Backtrader's broker, without its detours.

Belongs here: submission, the cash check, matching with a bar, execution and what it does to cash and positions, for
shares whose cash moves with trades only. Does not belong here: values and which bars may be left out (see `broker`),
the objects (see `orders`, `positions`).

The order of events and of every floating-point operation is Backtrader's. What is out of the ordinary (futures,
fillers, cheating, compensation) goes through Backtrader's own methods.
"""

from collections.abc import Mapping
from typing import Any, Final

import backtrader as bt
from backtrader.comminfo import CommInfoBase
from backtrader.feed import AbstractDataBase
from backtrader.order import BuyOrder, Order, SellOrder

from research.engine.orders import ALIVE, TRAILING, book, is_plain, makes_plainly, new_order, told
from research.engine.positions import Movement, moved

_STOPS: Final = frozenset({Order.Stop, Order.StopTrail})
_PARAMETERS: Final = (
    "owner", "data", "size", "price", "pricelimit", "exectype", "valid", "tradeid", "oco", "trailamount",
    "trailpercent", "parent", "transmit", "simulated", "histnotify",
)  # fmt: skip


class MatchingBroker(bt.brokers.BackBroker):  # type: ignore[misc]
    """`BackBroker` with the same events for less.

    Attributes:
        simple: set by a subclass while `next` works on a bar that may take the shorter ways.
    """

    cash: float

    def __init__(self) -> None:
        self.simple = False
        super().__init__()

    # ---------------------------------------------------------------- submission

    def buy(  # noqa: PLR0917 (Backtrader's)
        self, owner: bt.Strategy, data: AbstractDataBase, size: float, price: float | None = None,
        plimit: float | None = None, exectype: int | None = None, valid: object = None, tradeid: int = 0,
        oco: Order | None = None, trailamount: float | None = None, trailpercent: float | None = None,
        parent: Order | None = None, transmit: bool = True, histnotify: bool = False, _checksubmit: bool = True,
        **kwargs: object,
    ) -> Order:  # fmt: skip
        """As Backtrader's."""
        wanted = (
            owner, data, size, price, plimit, exectype, valid, tradeid, None, trailamount, trailpercent, parent,
            transmit, False, histnotify,
        )  # fmt: skip
        order = _made(BuyOrder, dict(zip(_PARAMETERS, wanted, strict=True)))
        return self._send(order, oco, kwargs, check=_checksubmit)

    def sell(  # noqa: PLR0917 (Backtrader's)
        self, owner: bt.Strategy, data: AbstractDataBase, size: float, price: float | None = None,
        plimit: float | None = None, exectype: int | None = None, valid: object = None, tradeid: int = 0,
        oco: Order | None = None, trailamount: float | None = None, trailpercent: float | None = None,
        parent: Order | None = None, transmit: bool = True, histnotify: bool = False, _checksubmit: bool = True,
        **kwargs: object,
    ) -> Order:  # fmt: skip
        """As Backtrader's."""
        wanted = (
            owner, data, size, price, plimit, exectype, valid, tradeid, None, trailamount, trailpercent, parent,
            transmit, False, histnotify,
        )  # fmt: skip
        order = _made(SellOrder, dict(zip(_PARAMETERS, wanted, strict=True)))
        return self._send(order, oco, kwargs, check=_checksubmit)

    def _send(self, order: Order, oco: Order | None, info: Mapping[str, object], *, check: bool) -> Order:
        if info:
            order.addinfo(**info)
        self._ocoize(order, oco)
        sent: Order = self.submit(order, check=check)
        return sent

    def notify(self, order: Order) -> None:
        """As Backtrader's."""
        self.notifs.append(told(order) if is_plain(order) else order.clone())

    def get_notification(self) -> Order | None:
        """As Backtrader's."""
        return self.notifs.popleft() if self.notifs else None

    def submit_accept(self, order: Order) -> None:
        """As Backtrader's."""
        order.pannotated = None
        order.broker = None
        order.plen = len(order.data)
        order.status = Order.Accepted
        self.pending.append(order)
        self.notify(order)

    def check_submitted(self) -> None:
        """As Backtrader's."""
        if not self.simple or any(order.data._compensate is not None for order in self.submitted):
            super().check_submitted()
            return
        cash, held = self.cash, {}
        while self.submitted:
            order = self.submitted.popleft()
            if self._take_children(order) is None:
                continue
            data, price = order.data, order.created.price
            if data not in held:
                held[data] = self.positions[data].size, self.positions[data].price
            movement = moved(*held[data], order.executed.remsize, price)
            held[data] = movement[:2]
            cash = _Bill(self.getcommissioninfo(data), movement, price, price).paid_from(cash)
            if cash >= 0.0:
                self.submit_accept(order)
            else:
                self._refuse(order)

    def _refuse(self, order: Order) -> None:
        """There is not enough cash."""
        order.margin()
        self.notify(order)
        self._ococheck(order)
        self._bracketize(order, cancel=True)

    # ---------------------------------------------------------------- cancellation

    def cancel(self, order: Order, bracket: bool = False) -> bool:
        """As Backtrader's; an order is known by its reference, so that a copy cancels it too."""
        if not isinstance(order, Order):
            return bool(super().cancel(order, bracket))
        if not self._take_out(order.ref):
            return False
        order.cancel()
        self.notify(order)
        self._ococheck(order)
        if not bracket:
            self._bracketize(order, cancel=True)
        return True

    def _take_out(self, ref: int) -> bool:
        """Remove the first pending order of this reference."""
        pending = self.pending
        for index, order in enumerate(pending):
            if order is not None and order.ref == ref:
                del pending[index]
                return True
        return False

    def _ococheck(self, order: Order) -> None:
        leader = self._ocos.get(self._ocos[order.ref])
        group = self._ocol.get(leader)
        if group == [order.ref] and not any(waiting is order for waiting in self.pending):
            del self._ocol[leader]  # alone in its group: nobody else to cancel
        elif group:
            super()._ococheck(order)

    # ---------------------------------------------------------------- matching

    def work_orders(self) -> None:
        """Give every pending order its chance on this bar, as Backtrader's `next` does."""
        pending = self.pending
        pending.append(None)
        while (order := pending.popleft()) is not None:
            if order.valid and order.expire():
                self.notify(order)
                self._ococheck(order)
                self._bracketize(order, cancel=True)
            elif not order._active:
                pending.append(order)
            else:
                self._try_exec(order)
                if order.status in ALIVE:
                    pending.append(order)
                elif order.status == Order.Completed:
                    self._bracketize(order)

    def _try_exec(self, order: Order) -> None:
        kind = order.exectype
        if not self.simple or not is_plain(order):
            super()._try_exec(order)
        elif kind == Order.Market:
            self._try_exec_market(order, order.data.open[0], order.data.high[0], order.data.low[0])
        elif kind == Order.Limit or order.triggered:
            self._try_limit(order, order.created.price if kind == Order.Limit else order.created.pricelimit)
        elif kind in _STOPS:
            self._try_stop(order)
        else:
            super()._try_exec(order)

    def _try_limit(self, order: Order, limit: float) -> None:
        data = order.data
        begin, high, low = data.open[0], data.high[0], data.low[0]
        if (limit >= begin or limit >= low) if order.ordtype == Order.Buy else (limit <= begin or limit <= high):
            self._try_exec_limit(order, begin, high, low, limit)

    def _try_stop(self, order: Order) -> None:
        data, trigger = order.data, order.created.price
        begin, high, low = data.open[0], data.high[0], data.low[0]
        if (
            (begin >= trigger or high >= trigger)
            if order.ordtype == Order.Buy
            else (begin <= trigger or low <= trigger)
        ):
            self._try_exec_stop(order, begin, high, low, trigger, data.close[0])
        elif order.exectype in TRAILING:
            order.trailadjust(data.close[0])

    # ---------------------------------------------------------------- execution

    def _execute(  # noqa: PLR0917 (Backtrader's)
        self, order: Order, ago: int | None = None, price: float | None = None, cash: float | None = None,
        position: Any = None, dtcoc: float | None = None,  # noqa: ANN401 (Backtrader's, a plain or a marked one)
    ) -> float | None:  # fmt: skip
        """As Backtrader's."""
        if not self.simple or ago is None or order.data._compensate is not None or not is_plain(order):
            left: float | None = super()._execute(order, ago, price, cash, position, dtcoc)
            return left
        if price is not None:
            self._fill(order, ago, price)
        return None

    def _fill(self, order: Order, ago: int, price: float) -> None:
        data, size = order.data, order.executed.remsize
        info, position = self.getcommissioninfo(data), self.positions[data]
        average = position.price
        movement = moved(position.size, average, size, price)
        bill = _Bill(info, movement, average, price)
        bill.profit = -movement[3] * (price - average) * info.p.mult
        wanted = movement[2]
        cash = bill.paid_for_closing(self.cash)
        left = bill.paid_for_opening(cash)
        if wanted and left < 0.0:
            bill.refuse_opening()
        else:
            cash = left
        self.cash = cash
        if bill.closed + bill.opened:
            self._settle(order, ago, price, movement, bill)
        if wanted and not bill.opened:
            self._refuse(order)

    def _settle(self, order: Order, ago: int, price: float, movement: Movement, bill: "_Bill") -> None:
        data, info, size = order.data, bill.info, bill.closed + bill.opened
        position = self.positions[data]
        bill.confirm(size, price)
        done = movement if bill.opened == movement[2] else moved(position.size, position.price, size, price)
        position.move(done, data, price)
        if bill.closed and self.p.int2pnl:
            bill.closed_fee += self.d_credit.pop(data, 0.0)
        book(
            order,
            now=data.datetime[ago],
            size=size,
            price=price,
            closed=(bill.closed, bill.closed_value, bill.closed_fee),
            opened=(bill.opened, bill.opened_value, bill.opened_fee),
            margin=info.p.margin,
            pnl=bill.profit,
            position=movement[:2],
        )
        order.comminfo = info
        self.notify(order)
        self._ococheck(order)


def _made(cls: type[Order], wanted: dict[str, Any]) -> Order:
    if makes_plainly(wanted["valid"]):
        return new_order(wanted, buys=cls is BuyOrder)
    return cls(**wanted)


class _Bill:
    """What an execution costs, in Backtrader's arithmetic for shares."""

    __slots__ = (
        "closed", "closed_fee", "closed_value", "info", "opened", "opened_fee", "opened_value", "price", "profit",
    )  # fmt: skip

    def __init__(self, info: CommInfoBase, movement: Movement, average: float, price: float) -> None:
        self.info = info
        self.price = price
        self.opened, self.closed = movement[2], movement[3]
        self.profit: float = 0
        self.closed_value = self.closed_fee = self.opened_value = self.opened_fee = 0.0
        if self.closed:
            self.closed_value = -self.closed * average
            self.closed_fee = info.getcommission(self.closed, price)
        if self.opened:
            self.opened_value = self.opened * price
            self.opened_fee = info.getcommission(self.opened, price)

    def paid_from(self, cash: float) -> float:
        """The cash afterwards."""
        return self.paid_for_opening(self.paid_for_closing(cash))

    def paid_for_closing(self, cash: float) -> float:
        """The cash after what closes has been paid."""
        if self.closed:
            value = self.closed_value
            cash += (value / self.info.p.leverage if value > 0 else value) + self.profit
            cash -= self.closed_fee
        return cash

    def paid_for_opening(self, cash: float) -> float:
        """The cash after what opens has been paid."""
        if self.opened:
            value = self.opened_value
            cash -= value / self.info.p.leverage if value > 0 else value
            cash -= self.opened_fee
        return cash

    def refuse_opening(self) -> None:
        """There is not enough cash for what would open."""
        self.opened = 0
        self.opened_value = self.opened_fee = 0.0

    def confirm(self, size: float, price: float) -> None:
        """Tell a commission scheme that has ways of its own about the execution."""
        cls = type(self.info)
        if cls.confirmexec is not CommInfoBase.confirmexec or cls._getcommission is not CommInfoBase._getcommission:
            self.info.confirmexec(size, price)
