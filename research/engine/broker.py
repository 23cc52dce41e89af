"""Backtrader's broker, whose values are worked out when somebody reads them.

Belongs here: which bars the fast loop may leave the broker out of, and bringing it up to date when it was. Does not
belong here: what happens to an order, which is Backtrader's own; the guarded broker of experiments (see
`lean_broker`).

At a bar without an order or cash to add, `BackBroker.next` changes nothing but values: of the portfolio and the fund,
and the price and time to which each open position was last marked.
"""

from collections import defaultdict, deque
from collections.abc import Sequence, Sized
from math import isfinite
from typing import Final

from backtrader.comminfo import CommInfoBase
from backtrader.feed import AbstractDataBase

from research.engine.lines import Clock
from research.engine.matching import OWN_SCHEMES, MatchingBroker
from research.engine.native import compiled
from research.engine.positions import MarkedPosition, marked_position

_UNCOUNTED: Final = "money that becomes a float at the next bar, as in Backtrader"
_ALL_WITHDRAWN: Final = "no share of the fund is left, and Backtrader divides by them at the next bar"
_NO_NUMBER: Final = "money that is no finite number, as the interest is on what was sold short at such a price"
_CHARGES: Final = (
    "get_credit_interest", "_get_credit_interest", "cashadjust", "getvaluesize", "getvalue", "profitandloss",
    "get_leverage", "get_margin", "margin", "stocklike", "getcommission",
)  # fmt: skip
_WAYS: Final = (
    "submit", "transmit", "submit_accept", "check_submitted", "notify", "cancel", "work_orders", "getcommissioninfo",
    "_take_children", "_bracketize", "_ococheck", "_ocoize", "_execute", "_try_exec", "_try_exec_market",
    "_try_exec_close", "_try_exec_limit", "_try_exec_stop", "_try_exec_stoplimit", "_slip_up", "_slip_down", "cash",
)  # fmt: skip
_BAR: Final = frozenset({"next", "catch_up", "mark", "value_now", "_can_be_simple", "_work_simply"})


class FastBroker(MatchingBroker):
    """`BackBroker` with the same events, which the fast loop may leave out at quiet bars.

    Attributes:
        stale: set by the loop at a bar where `next` was left out.
    """

    def __init__(self) -> None:
        self.stale = False
        self._unmarked = False  # the values are those of the present bar, the marks of positions are not
        self._always: deque[str] = deque()  # reasons why no bar may be left out any more
        self._cash = 0.0
        self._feeds: list[AbstractDataBase] = []
        self._confided = False  # nobody can ask for values while the broker works
        super().__init__()

    def init(self) -> None:
        """As Backtrader's; a run begins."""
        self.stale = self._unmarked = self.usual = False
        self._always.clear()
        super().init()
        self.positions: dict[AbstractDataBase, MarkedPosition] = defaultdict(self._flat)

    def _flat(self) -> MarkedPosition:
        return marked_position(compiled())(self)

    # ---------------------------------------------------------------- what the loop asks

    def lazy(self) -> str | None:
        """Why `next` must be called at every bar of this run; None when quiet bars may be left out."""
        if self._fundhist or self._userhist:
            return "A history of orders or of the fund is replayed."
        return next((reason for info in self.comminfo.values() if (reason := _changes_cash(info))), None)

    def work(self) -> Sequence[Sized]:
        """All empty when `next` would change nothing but values.

        What is submitted waits for good while `checksubmit` is off, which a strategy may turn on again.
        """
        return self.notifs, self.pending, self.submitted, self._cash_addition, self._toactivate, self._always

    def idle(self) -> bool:
        """Whether `next` would change nothing but values."""
        return not any(self.work())

    def watch(self, step: Clock) -> None:
        """The fast loop begins; no bar is special because of its time."""
        kind = type(self)
        self.usual = kind is FastBroker or not any(getattr(kind, way) is not getattr(FastBroker, way) for way in _WAYS)
        self._feeds = self.cerebro.datas
        self._look_at_schemes()
        self.native = compiled() if self.usual else None

    def unwatch(self) -> None:
        """The fast loop gives up, and Backtrader's goes on from the present bar."""
        self.value_now()
        self.mark()
        self.usual = False
        self.native = None

    def catch_up(self) -> None:
        """The broker is about to work again: bring up to the last bar what it would have left behind there."""
        self.mark()
        if not self._confided:
            self.value_now()

    # ---------------------------------------------------------------- the bar

    def next(self) -> None:
        """As Backtrader's."""
        self.stale = self._unmarked = False
        if self.usual and self._can_be_simple():
            self._work_simply()
        else:
            super().next()
        while self._always and _UNCOUNTED in self._always:
            self._always.remove(_UNCOUNTED)
        if not isfinite(self._cash):
            self.leave_none_out()

    def leave_none_out(self) -> None:
        """Leave no bar out any more: Backtrader takes off interest that is no number either, whatever cash becomes."""
        if _NO_NUMBER not in self._always:
            self._always.append(_NO_NUMBER)

    def _can_be_simple(self) -> bool:
        p = self.p
        if p.filler is not None or p.coc or p.coo or not p.shortcash:
            return False
        for data in self._feeds:
            if data._compensate is not None:
                return False
        return not self._always or all(reason is _UNCOUNTED for reason in self._always)

    def _work_simply(self) -> None:
        """What Backtrader does at a bar; the values can wait until somebody reads them."""
        while self._toactivate:
            self._toactivate.popleft().activate()
        if self._always:
            self.cash = self.cash - 0.0  # Backtrader takes off interest of 0.0
        native, self.simple = self.native, True
        try:
            if self.p.checksubmit and self.submitted and not (native and native.check_submitted(self)):
                self.check_submitted()
            if self.pending:
                native.work_orders(self) if native else self.work_orders()
        finally:
            self.simple = False
        self.stale = True
        if self._cash_addition:
            self.value_now()

    def stop(self) -> None:
        """The run is over: leave the values behind."""
        self.mark()
        self.value_now()
        super().stop()

    # ---------------------------------------------------------------- values on demand

    def value_now(self) -> None:
        """Bring the portfolio's values up to the present bar."""
        if self.stale:
            self.stale = False
            self._unmarked = True
            super()._get_value()

    def mark(self) -> None:
        """Mark open positions to the present bar."""
        if self.stale or self._unmarked:
            self._unmarked = False
            if self.native is not None:
                self.native.mark(self.positions)
                return
            for data, position in self.positions.items():
                if position.size:
                    position.mark(data)

    def get_value(
        self, datas: Sequence[AbstractDataBase] | None = None, mkt: bool = False, lever: bool = False
    ) -> float:
        """As Backtrader's."""
        self.value_now()
        value: float = super().get_value(datas, mkt, lever)
        if not self._fundshares:
            self._always.append(_ALL_WITHDRAWN)
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
        self.value_now()
        super().addcommissioninfo(comminfo, name)
        self._look_at_schemes()

    def setcommission(self, *arguments: object, **keywords: object) -> None:
        """As Backtrader's, also in the middle of a run."""
        self.mark()
        self.value_now()
        super().setcommission(*arguments, **keywords)
        self._look_at_schemes()

    def set_shortcash(self, shortcash: bool) -> None:
        """As Backtrader's."""
        self.value_now()
        super().set_shortcash(shortcash)

    def add_order_history(self, orders: Sequence[object], notify: bool = True) -> None:
        """As Backtrader's."""
        super().add_order_history(orders, notify)
        self._always.append("a history of orders")

    def set_fund_history(self, fund: Sequence[object]) -> None:
        """As Backtrader's."""
        self.value_now()
        super().set_fund_history(fund)
        self._always.append("a history of the fund")

    def _look_at_schemes(self) -> None:
        schemes = self.comminfo.values()
        self._always.extend(reason for scheme in schemes if (reason := _changes_cash(scheme)))
        self._confided = self.p.filler is None and all(type(scheme) in OWN_SCHEMES for scheme in schemes)


def is_own_way(broker: object) -> bool:
    """Whether a broker catches up and works at a bar as `FastBroker` does, so that compiled code may."""
    own = isinstance(broker, FastBroker) and broker.native is not None and _BAR.isdisjoint(vars(broker))
    return own and all(getattr(type(broker), name) is getattr(FastBroker, name) for name in _BAR)


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
