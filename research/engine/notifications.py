"""What a strategy and its analyzers are told, without telling nobody.

Belongs here: notifications of orders, trades, cash and value during a run of the fast loop. Does not belong here: what
happens to orders (see `matching`).

Backtrader tells every analyzer of every change, whether or not it listens, and copies trades by way of pickling. Who
listens is found out once, when the run begins; the order in which they are told is Backtrader's.
"""

from collections.abc import Callable, Iterator

import backtrader as bt
from backtrader.feed import AbstractDataBase
from backtrader.order import Order
from backtrader.trade import Trade

Listener = Callable[..., None]


class News:
    """The news of one run.

    Args:
        strategy: who is told, besides its analyzers and those of its observers.
        broker: whose cash and values are told.
    """

    def __init__(self, strategy: bt.Strategy, broker: bt.BrokerBase) -> None:
        self._strategy = strategy
        self._broker = broker
        analyzers = (*strategy.analyzers, *strategy._slave_analyzers)
        self._of_order = [one for analyzer in analyzers for one in _inside(analyzer, "notify_order")]
        self._of_trade = [one for analyzer in analyzers for one in _inside(analyzer, "notify_trade")]
        self._of_money = list(_money_listeners(strategy))

    @property
    def of_money(self) -> bool:
        """Whether somebody wants to be told of cash and value at every bar."""
        return bool(self._of_money)

    @property
    def of_changes(self) -> bool:
        """Whether others than the strategy want to be told of orders or trades."""
        return bool(self._of_order or self._of_trade)

    def tell(self) -> None:
        """What `Strategy._notify` does with the changes that wait."""
        strategy = self._strategy
        for order in strategy._orderspending:
            if order.exectype != Order.Historical or order.histnotify:
                strategy.notify_order(order)
            for listener in self._of_order:
                listener(order)
        for trade in strategy._tradespending:
            strategy.notify_trade(trade)
            for listener in self._of_trade:
                listener(trade)
        if self._of_money:
            self.tell_money()

    def tell_money(self) -> None:
        """Tell cash and value to those who listen."""
        broker = self._broker
        cash, value = broker.getcash(), broker.getvalue()
        fund_value, shares = broker.fundvalue, broker.fundshares
        for of_fund, listener in self._of_money:
            if of_fund:
                listener(cash, value, fund_value, shares)
            else:
                listener(cash, value)


def collect(strategy: bt.Strategy, order: Order) -> None:
    """What `Strategy._addnotification` does: queue a change of an order, and of the trades that it moves."""
    if not order.p.simulated:
        strategy._orderspending.append(order)
    if not order.executed.size:
        return
    data = order.data if order.data._compensate is None else order.data._compensate
    trades = strategy._trades[data][order.tradeid]
    if not trades:
        trades.append(_new_trade(strategy, order, data))
    strategy._tradespending.extend(_changes(strategy, order, data, trades))


def _changes(
    strategy: bt.Strategy, order: Order, data: AbstractDataBase, trades: list[Trade]
) -> Iterator[Trade]:  # fmt: skip
    """The trades as the order's newest executions leave them, those that begin with them included in `trades`."""
    trade, scheme = trades[-1], order.comminfo
    for bit in order.executed.iterpending():
        if bit.closed:
            trade.update(order, bit.closed, bit.price, bit.closedvalue, bit.closedcomm, bit.pnl, scheme)
            if trade.isclosed:
                yield _copy(trade)
        if bit.opened:
            if trade.isclosed:
                trade = _new_trade(strategy, order, data)
                trades.append(trade)
            trade.update(order, bit.opened, bit.price, bit.openedvalue, bit.openedcomm, bit.pnl, scheme)
            if trade.isclosed:
                yield _copy(trade)
        if trade.justopened:
            yield _copy(trade)


def _new_trade(strategy: bt.Strategy, order: Order, data: AbstractDataBase) -> Trade:
    return Trade(data=data, tradeid=order.tradeid, historyon=strategy._tradehistoryon)


def _copy(trade: Trade) -> Trade:
    """What `copy.copy` makes of a trade."""
    made = object.__new__(Trade)
    made.__dict__ = trade.__dict__.copy()
    return made


def _money_listeners(strategy: bt.Strategy) -> Iterator[tuple[bool, Listener]]:
    """Who wants to be told of cash and value at every bar; True marks those told of the fund."""
    kinds = ((False, "notify_cashvalue"), (True, "notify_fund"))
    for of_fund, name in kinds:
        if overrides(strategy, bt.Strategy, name):
            yield of_fund, getattr(strategy, name)
    for analyzer in (*strategy.analyzers, *strategy._slave_analyzers):
        for of_fund, name in kinds:
            yield from ((of_fund, listener) for listener in _inside(analyzer, name))


def _inside(analyzer: bt.Analyzer, name: str) -> Iterator[Listener]:
    """The methods of this name of an analyzer and of those inside it that do anything, inner ones first."""
    if overrides(analyzer, bt.Analyzer, f"_{name}"):
        yield getattr(analyzer, f"_{name}")
        return
    for child in analyzer._children:
        yield from _inside(child, name)
    if overrides(analyzer, bt.Analyzer, name):
        yield getattr(analyzer, name)


def overrides(thing: bt.Strategy | bt.Analyzer, base: type, *names: str) -> bool:
    """Whether a strategy or analyzer has a method of its own in the place of one of these of its base."""
    return any(getattr(type(thing), name) is not getattr(base, name) or name in vars(thing) for name in names)
