"""Backtrader's broker, whose values are worked out when somebody reads them.

Belongs here: which bars the fast loop may leave the broker out of, and bringing it up to date when it was. Does not
belong here: what happens to an order, which is Backtrader's own; the guarded broker of experiments (see
`lean_broker`).

At a bar without an order or cash to add, `BackBroker.next` changes nothing but values: of the portfolio and the fund,
and the price and time to which each open position was last marked.
"""

import datetime as dt
from collections import defaultdict, deque
from collections.abc import Sequence, Sized
from typing import Final

import backtrader as bt
from backtrader.comminfo import CommInfoBase
from backtrader.feed import AbstractDataBase
from backtrader.position import Position

from research.engine.lines import Clock

Mark = tuple[float | None, dt.datetime | None]

_UNCOUNTED: Final = "money that becomes a float at the next bar, as in Backtrader"
_CHARGES: Final = (
    "get_credit_interest", "_get_credit_interest", "cashadjust", "getvaluesize", "getvalue", "profitandloss",
    "get_leverage", "get_margin", "stocklike",
)  # fmt: skip


class FastBroker(bt.brokers.BackBroker):  # type: ignore[misc]
    """`BackBroker` with the same events, which the fast loop may leave out at quiet bars.

    Attributes:
        stale: set by the loop at a bar where `next` was left out.
    """

    def __init__(self) -> None:
        self.stale = False
        self._unmarked = False  # the values are those of the present bar, the marks of positions are not
        self._always: deque[str] = deque()  # reasons why no bar may be left out any more
        self._cash = 0.0
        super().__init__()

    def init(self) -> None:
        """As Backtrader's; a run begins."""
        self.stale = self._unmarked = False
        self._always.clear()
        super().init()
        self.positions: dict[AbstractDataBase, MarkedPosition] = defaultdict(self._flat)

    def _flat(self) -> "MarkedPosition":
        return MarkedPosition(self)

    # ---------------------------------------------------------------- what the loop asks

    def lazy(self) -> str | None:
        """Why `next` must be called at every bar of this run; None when quiet bars may be left out."""
        if self._fundhist or self._userhist:
            return "A history of orders or of the fund is replayed."
        return next((reason for info in self.comminfo.values() if (reason := _changes_cash(info))), None)

    def work(self) -> Sequence[Sized]:
        """All empty when `next` would change nothing but values."""
        return self.notifs, self.pending, self._cash_addition, self._toactivate, self._always

    def idle(self) -> bool:
        """Whether `next` would change nothing but values."""
        return not any(self.work())

    def watch(self, step: Clock) -> None:
        """No bar is special because of its time."""

    # ---------------------------------------------------------------- values on demand

    def next(self) -> None:
        """As Backtrader's."""
        self.stale = self._unmarked = False
        super().next()
        while _UNCOUNTED in self._always:
            self._always.remove(_UNCOUNTED)

    def stop(self) -> None:
        """The run is over: leave the values behind."""
        self.mark()
        super().stop()

    def value_now(self) -> None:
        """Bring the portfolio's values up to the present bar."""
        if self.stale:
            self.stale = False
            self._unmarked = True
            super()._get_value()

    def mark(self) -> None:
        """Bring the values and the marks of open positions up to the present bar."""
        self.value_now()
        if self._unmarked:
            self._unmarked = False
            for data, position in self.positions.items():
                if position:
                    position.marked = data.close[0], data.datetime.datetime()

    def get_value(
        self, datas: Sequence[AbstractDataBase] | None = None, mkt: bool = False, lever: bool = False
    ) -> float:
        """As Backtrader's."""
        self.value_now()
        value: float = super().get_value(datas, mkt, lever)
        return value

    getvalue = get_value

    def get_fundvalue(self) -> float:
        """As Backtrader's."""
        self.value_now()
        value: float = self._fundval
        return value

    fundvalue = property(get_fundvalue)

    def get_leverage(self) -> float:
        """As Backtrader's."""
        self.value_now()
        leverage: float = self._leverage
        return leverage

    # ---------------------------------------------------------------- what would change values later on

    @property
    def cash(self) -> float:
        """Money; a strategy that sets it does not change the value that the bar began with."""
        return self._cash

    @cash.setter
    def cash(self, cash: float) -> None:
        self.value_now()
        self._cash = cash
        if type(cash) is not float:
            self._always.append(_UNCOUNTED)

    def set_cash(self, cash: float) -> None:
        """As Backtrader's."""
        self.value_now()
        super().set_cash(cash)

    setcash = set_cash

    def add_cash(self, cash: float) -> None:
        """As Backtrader's; the shares of the fund are counted at the value that the bar began with."""
        self.value_now()
        super().add_cash(cash)

    def addcommissioninfo(self, comminfo: CommInfoBase, name: str | None = None) -> None:
        """As Backtrader's, also in the middle of a run."""
        self.mark()
        super().addcommissioninfo(comminfo, name)
        self._consider(comminfo)

    def setcommission(self, *arguments: object, **keywords: object) -> None:
        """As Backtrader's, also in the middle of a run."""
        self.mark()
        super().setcommission(*arguments, **keywords)
        for comminfo in self.comminfo.values():
            self._consider(comminfo)

    def add_order_history(self, orders: Sequence[object], notify: bool = True) -> None:
        """As Backtrader's."""
        super().add_order_history(orders, notify)
        self._always.append("a history of orders")

    def set_fund_history(self, fund: Sequence[object]) -> None:
        """As Backtrader's."""
        self.value_now()
        super().set_fund_history(fund)
        self._always.append("a history of the fund")

    def _consider(self, comminfo: CommInfoBase) -> None:
        reason = _changes_cash(comminfo)
        if reason:
            self._always.append(reason)


def _changes_cash(info: CommInfoBase) -> str | None:
    """Why commissions move cash between trades, or what they do is not known; None when they do not."""
    own = next((name for name in _CHARGES if getattr(type(info), name) is not getattr(CommInfoBase, name)), None)
    if own:
        return f"{type(info).__name__} overrides {own}."
    if not info.stocklike:
        return "The gains of futures move cash at every bar."
    if info.p.interest:
        return "Interest is charged at every bar."
    return None


class MarkedPosition(Position):  # type: ignore[misc]
    """A position whose mark, the close and time of the last bar that Backtrader's broker saw, is found when read."""

    def __init__(self, broker: FastBroker) -> None:
        self._broker = broker
        self._mark: Mark = None, None
        super().__init__()

    def fix(self, size: float, price: float) -> bool:
        """As Backtrader's; it does not change the value that the bar began with."""
        self._broker.value_now()
        same: bool = super().fix(size, price)
        return same

    @property
    def marked(self) -> Mark:
        """Price and time; both None before the first."""
        self._broker.mark()
        return self._mark

    @marked.setter
    def marked(self, mark: Mark) -> None:
        self._mark = mark

    @property
    def adjbase(self) -> float | None:
        """The price to which the position was last marked."""
        return self.marked[0]

    @adjbase.setter
    def adjbase(self, price: float | None) -> None:
        self._mark = price, self._mark[1]

    @property
    def datetime(self) -> dt.datetime:
        """The time at which the position was last marked or changed.

        Raises:
            AttributeError: it never was; a plain position has no such attribute then.
        """
        moment = self.marked[1]
        if moment is None:
            raise AttributeError("'Position' object has no attribute 'datetime'", name="datetime", obj=self)
        return moment

    @datetime.setter
    def datetime(self, moment: dt.datetime) -> None:
        self._mark = self._mark[0], moment
