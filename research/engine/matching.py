"""The way of an order through Backtrader's broker, without its detours.

Belongs here: submission, the cash check, matching with a bar, execution and what it does to cash and positions, for
shares whose cash moves with trades only. Does not belong here: values and which bars may be left out (see `broker`),
the objects (see `orders`, `positions`).

The order of events and of every floating-point operation is Backtrader's. What is out of the ordinary (futures,
fillers, cheating, compensation) goes through Backtrader's own methods.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

import backtrader as bt
from backtrader.comminfo import CommInfoBase
from backtrader.feed import AbstractDataBase
from backtrader.order import BuyOrder, Order, SellOrder

from research.engine.orders import ALIVE, PLAIN, book, makes_plainly, new_order, session_end, told
from research.engine.positions import Movement, moved

OWN_SCHEMES: Final = frozenset({bt.CommInfoBase, bt.CommissionInfo})  # Backtrader's own, whose ways are known

Part = tuple[float, float, float]  # what of an execution closes, or opens: signed quantity, value, fee

_NOTHING: Final[Part] = (0, 0.0, 0.0)
_STOPS: Final = frozenset({Order.Stop, Order.StopTrail})
_PARAMETERS: Final = (
    "owner", "data", "size", "price", "pricelimit", "exectype", "valid", "tradeid", "oco", "trailamount",
    "trailpercent", "parent", "transmit", "simulated", "histnotify",
)  # fmt: skip


class MatchingBroker(bt.brokers.BackBroker):  # type: ignore[misc]
    """`BackBroker` with the same events for less.

    Attributes:
        simple: set by a subclass while `next` works on a bar that may take the shorter ways.
        usual: set by a subclass in a run where no method is replaced.
        native: the compiled module, during a run that uses it.
    """

    cash: float
    native: ModuleType | None = None

    def __init__(self) -> None:
        self.simple = self.usual = False
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
        if oco is None and parent is None and transmit and _checksubmit and not kwargs and self._sends_plainly(valid):
            return self._sent(BuyOrder, wanted)
        return self._send(self._made(BuyOrder, wanted), oco, kwargs, check=_checksubmit)

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
        if oco is None and parent is None and transmit and _checksubmit and not kwargs and self._sends_plainly(valid):
            return self._sent(SellOrder, wanted)
        return self._send(self._made(SellOrder, wanted), oco, kwargs, check=_checksubmit)

    def _sends_plainly(self, valid: object) -> bool:
        """Whether an order that belongs to no other may be made and sent in compiled code."""
        return self.native is not None and self.usual and valid is None and bool(self.p.checksubmit)

    def _sent(self, cls: type[Order], values: tuple[object, ...]) -> Order:
        order: Order = self.native.send(self, cls, values, session_end)  # type: ignore[union-attr]
        return order

    def _made(self, cls: type[Order], values: tuple[object, ...]) -> Order:
        wanted = dict(zip(_PARAMETERS, values, strict=True))
        if not makes_plainly(wanted["valid"]):
            return cls(**wanted)
        if self.native is None:
            return new_order(wanted, buys=cls is BuyOrder)
        made: Order = self.native.new_order(cls, values, session_end)
        return made

    def _as_now(self, order: Order) -> Order:
        """A copy to tell of."""
        if type(order) not in PLAIN:
            cloned: Order = order.clone()
            return cloned
        copy: Order = told(order) if self.native is None else self.native.told(order)
        return copy

    def _send(self, order: Order, oco: Order | None, info: Mapping[str, object], *, check: bool) -> Order:
        if info:
            order.addinfo(**info)
        self._ocoize(order, oco)
        if not (check and self.usual and order.parent is None and order.transmit and self.p.checksubmit):
            sent: Order = self.submit(order, check=check)
            return sent
        self._pchildren[order.ref].append(order)
        order.status, order.plen = Order.Submitted, len(order.data)
        self.submitted.append(order)
        self.orders.append(order)
        self.notifs.append(self._as_now(order))
        return order

    def notify(self, order: Order) -> None:
        """As Backtrader's."""
        self.notifs.append(self._as_now(order))

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
        if not self.simple:
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
            size, average, opened, closed = moved(*held[data], order.executed.remsize, price)
            held[data] = size, average
            info = self.getcommissioninfo(data)
            if closed:
                cash = _received(cash, info, -closed * price, 0.0) - fee(info, closed, price)
            if opened:
                cash = _spent(cash, info, opened * price) - fee(info, opened, price)
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
        if group is None:
            return
        if group == [order.ref]:
            for waiting in self.pending:
                if waiting is order:  # sent twice
                    break
            else:
                del self._ocol[leader]  # alone in its group: nobody else to cancel
                return
        super()._ococheck(order)

    # ---------------------------------------------------------------- matching

    def work_orders(self) -> None:
        """Give every pending order its chance on this bar, as Backtrader's `next` does."""
        pending = self.pending
        pending.append(None)
        while (order := pending.popleft()) is not None:
            self._match(order)

    def _match(self, order: Order) -> None:
        """One order's chance; it is among the pending ones afterwards if it may have more."""
        if order.valid and order.expire():
            self.notify(order)
            self._ococheck(order)
            self._bracketize(order, cancel=True)
        elif not order._active:
            self.pending.append(order)
        else:
            self._try_exec(order)
            if order.status in ALIVE:
                self.pending.append(order)
            elif order.status == Order.Completed:
                self._bracketize(order)

    def _try_exec(self, order: Order) -> None:
        kind, p = order.exectype, self.p
        if not self.simple or p.slip_perc or p.slip_fixed or type(order) not in PLAIN:
            super()._try_exec(order)
        elif kind == Order.Market:
            if order.data.datetime[0] > order.created.dt:
                self._fill(order, 0, order.data.open[0])
        elif kind == Order.Limit or order.triggered:
            self._try_limit(order, order.created.price if kind == Order.Limit else order.created.pricelimit)
        elif kind in _STOPS:
            self._try_stop(order)
        else:
            super()._try_exec(order)

    def _try_limit(self, order: Order, limit: float) -> None:
        data = order.data
        begin = data.open[0]
        if (limit >= begin) if order.ordtype == Order.Buy else (limit <= begin):
            self._fill(order, 0, begin)
        elif (limit >= data.low[0]) if order.ordtype == Order.Buy else (limit <= data.high[0]):
            self._fill(order, 0, limit)

    def _try_stop(self, order: Order) -> None:
        data, trigger = order.data, order.created.price
        begin = data.open[0]
        if (begin >= trigger) if order.ordtype == Order.Buy else (begin <= trigger):
            self._fill(order, 0, begin)
        elif (data.high[0] >= trigger) if order.ordtype == Order.Buy else (data.low[0] <= trigger):
            self._fill(order, 0, trigger)
        if order.exectype == Order.StopTrail and order.status in ALIVE:
            order.trailadjust(data.close[0])

    # ---------------------------------------------------------------- execution

    def _execute(  # noqa: PLR0917 (Backtrader's)
        self, order: Order, ago: int | None = None, price: float | None = None, cash: float | None = None,
        position: Any = None, dtcoc: float | None = None,  # noqa: ANN401 (Backtrader's, a plain or a marked one)
    ) -> float | None:  # fmt: skip
        """As Backtrader's."""
        if not self.simple or ago is None or type(order) not in PLAIN:
            left: float | None = super()._execute(order, ago, price, cash, position, dtcoc)
            return left
        if price is not None:
            self._fill(order, ago, price)
        return None

    def _fill(self, order: Order, ago: int, price: float) -> None:
        data = order.data
        info, position, cash = self.getcommissioninfo(data), self.positions[data], self.cash
        average = position.price
        movement = moved(position.size, average, order.executed.remsize, price)
        _, _, wanted, closed = movement
        profit = -closed * (price - average) * info.p.mult
        closing, opening = _NOTHING, _NOTHING
        if closed:
            closing = closed, -closed * average, fee(info, closed, price)
            cash = _received(cash, info, closing[1], profit) - closing[2]
        if wanted:
            opening = wanted, wanted * price, fee(info, wanted, price)
            left = _spent(cash, info, opening[1]) - opening[2]
            if left < 0.0:
                opening = _NOTHING
            else:
                cash = left
        self.cash = cash
        if closing[0] + opening[0]:
            self._settle(order, ago, price, movement, closing, opening, profit)
        if wanted and not opening[0]:
            self._refuse(order)

    def _settle(  # noqa: PLR0917 (one call an execution)
        self, order: Order, ago: int, price: float, movement: Movement, closing: Part, opening: Part, profit: float
    ) -> None:  # fmt: skip
        data, size = order.data, closing[0] + opening[0]
        info, position = self.getcommissioninfo(data), self.positions[data]
        if type(info) not in OWN_SCHEMES:
            info.confirmexec(size, price)
        whole = opening[0] == movement[2]
        position.move(movement if whole else moved(position.size, position.price, size, price), data, price)
        if closing[0] and self.p.int2pnl:
            closing = *closing[:2], closing[2] + self.d_credit.pop(data, 0.0)
        book(order, data.datetime[ago], size, price, closing, opening, info.p.margin, profit, movement[:2])
        order.comminfo = info
        self.notify(order)
        self._ococheck(order)


def fee(info: CommInfoBase, size: float, price: float) -> float:
    """What `info.getcommission` gives."""
    if type(info) in OWN_SCHEMES and info._commtype == CommInfoBase.COMM_PERC:
        percentage: float = abs(size) * info.p.commission * price
        return percentage
    amount: float = info.getcommission(size, price)
    return amount


def _received(cash: float, info: CommInfoBase, value: float, profit: float) -> float:
    """The cash after something of this value was closed, before the fee."""
    after: float = cash + ((value / info.p.leverage if value > 0 else value) + profit)
    return after


def _spent(cash: float, info: CommInfoBase, value: float) -> float:
    """The cash after something of this value was opened, before the fee."""
    after: float = cash - (value / info.p.leverage if value > 0 else value)
    return after
