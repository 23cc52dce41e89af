"""Engines with one small fault each: what the comparison has to notice.

Belongs here: faults that somebody could make while writing a fast engine. Does not belong here: tests.
"""

import math

import backtrader as bt


class AlmostThePrice(bt.brokers.BackBroker):
    """The last bit of a price is lost."""

    def _execute(self, order, ago=None, price=None, **rest):
        price = math.nextafter(price, math.inf) if price is not None else price
        return super()._execute(order, ago=ago, price=price, **rest)


class ShortOfNotices(bt.brokers.BackBroker):
    """Nobody hears that an order was accepted."""

    def notify(self, order):
        if order.status != bt.Order.Accepted:
            super().notify(order)


class OneBarLate(bt.brokers.BackBroker):
    """Market orders are filled at the bar after the next."""

    def _try_exec_market(self, order, popen, phigh, plow):
        if len(order.data) > order.plen + 1:
            super()._try_exec_market(order, popen, phigh, plow)


class NoGroups(bt.brokers.BackBroker):
    """An order of a group does not cancel the others."""

    def _ococheck(self, order):
        pass


class LooseBrackets(bt.brokers.BackBroker):
    """Children of a cancelled parent stay."""

    def _bracketize(self, order, cancel=False):
        if not cancel:
            super()._bracketize(order, cancel=cancel)


class LastComeFirst(bt.brokers.BackBroker):
    """Orders are looked at in the wrong order."""

    def next(self):
        self.pending.reverse()
        super().next()


class StaleValue(bt.brokers.BackBroker):
    """The value is brought up to date at every other bar only."""

    def _get_value(self, datas=None, lever=False):
        self.turn = getattr(self, "turn", 0) + 1
        return super()._get_value(datas=datas, lever=lever) if datas or self.turn % 2 else self._value


class ForgetsShares(bt.brokers.BackBroker):
    """Cash that was added buys no shares of the fund."""

    def add_cash(self, cash):
        self.cash += cash


class OneOrder(bt.brokers.BackBroker):
    """Notices show an order as it is, not as it was."""

    def notify(self, order):
        self.notifs.append(order)


class WholeCash(bt.brokers.BackBroker):
    """Cash is a whole number where it happens to be one."""

    def get_cash(self):
        return int(self.cash) if self.cash == int(self.cash) else self.cash

    getcash = get_cash


class IgnoresThePast(bt.brokers.BackBroker):
    """An order that is good until some time stays good."""

    def submit(self, order, check=True):
        order.valid = None
        return super().submit(order, check=check)


class NoChecks(bt.brokers.BackBroker):
    """Orders are not refused for want of cash when they are sent."""

    def check_submitted(self):
        while self.submitted:
            order = self.submitted.popleft()
            if self._take_children(order) is not None:
                self.submit_accept(order)


class TwoReferences(bt.brokers.BackBroker):
    """An order takes two numbers."""

    def buy(self, *args, **kwargs):
        next(bt.Order.refbasis)
        return super().buy(*args, **kwargs)


class TradesAgain(bt.brokers.BackBroker):
    """A position remembers its price in single precision."""

    def getposition(self, data):
        position = super().getposition(data)
        if position.price and not math.isnan(position.price):
            position.price = float(f"{position.price:.7g}")
        return position


class NoPrenext(bt.Cerebro):
    """The strategy is not called before its indicators are ready."""

    def _runonce(self, runstrats):
        for strategy in runstrats:
            strategy.prenext = lambda: None
        super()._runonce(runstrats)


class AlmostTheIndicator(bt.Cerebro):
    """One value of one indicator is off by its last bit."""

    def _runonce(self, runstrats):
        for strategy in runstrats:
            strategy._once = self._spoil(strategy, strategy._once)
        super()._runonce(runstrats)

    @staticmethod
    def _spoil(strategy, once):
        def wrong():
            once()
            for indicator in strategy._lineiterators[bt.LineIterator.IndType][:1]:
                array = (indicator if isinstance(indicator, bt.LineBuffer) else indicator.lines[0]).array
                if len(array):
                    array[-1] = math.nextafter(array[-1], math.inf)

        return wrong


class AnalyzersFirst(bt.Cerebro):
    """Analyzers are asked before the strategy decides."""

    def _runonce(self, runstrats):
        for strategy in runstrats:
            notify = strategy._notify

            def early(strategy=strategy, notify=notify):
                notify()
                strategy._next_analyzers(strategy._getminperstatus())

            strategy._notify = early
            strategy._next_analyzers = lambda *args, kept=strategy._next_analyzers, **kwargs: (
                kept(*args) if not kwargs else None
            )
        super()._runonce(runstrats)


def broken(broker):
    """Makes a Cerebro with a broker that has a fault."""

    def make(**settings):
        cerebro = bt.Cerebro(**settings)
        cerebro.setbroker(broker())
        return cerebro

    return make


FAULTS = {
    kind.__name__: broken(kind)
    for kind in (
        AlmostThePrice, ShortOfNotices, OneBarLate, NoGroups, LooseBrackets, LastComeFirst, StaleValue, ForgetsShares,
        OneOrder, WholeCash, IgnoresThePast, NoChecks, TwoReferences, TradesAgain,
    )
} | {kind.__name__: kind for kind in (NoPrenext, AlmostTheIndicator, AnalyzersFirst)}  # fmt: skip
