"""Cerebro, a strategy that does nothing by itself, and a script that is played where a strategy would decide.

Belongs here: running them on one thread. Does not belong here: gateways, what is checked.

A script is a generator that gets the strategy and yields what it waits for: `Bar` lines for the next bar, or a
condition, at which Cerebro goes round until it holds.
"""

import math
import time
from dataclasses import dataclass
from datetime import datetime

import backtrader as bt

PATIENCE = 10.0


@dataclass
class Bar:
    """A bar; `ts` is its close, aware UTC."""

    ts: datetime
    close: float


class ScriptedFeed(bt.feed.DataBase):
    """Delivers the bars that the script of `stage` yields for its name."""

    def __init__(self, stage, name):
        super().__init__()
        self.stage, self._name, self.live = stage, name, True

    def islive(self):
        return True

    def is_live(self):
        return self.live

    def _load(self):
        bar = self.stage.bars.pop(self._name, None)
        if bar is None:
            return None if self.stage.running else False
        self.lines.datetime[0] = bt.date2num(bar.ts.replace(tzinfo=None))
        for line in (self.lines.open, self.lines.high, self.lines.low, self.lines.close):
            line[0] = bar.close
        self.lines.volume[0], self.lines.openinterest[0] = 1e6, math.nan
        return True


class Trader(bt.Strategy):
    """Keeps what it is told: `orders` as (reference, status), `trades`, and how often it saw a bar."""

    def __init__(self):
        self.orders, self.trades = [], []

    def notify_order(self, order):
        self.orders.append((order.ref, order.getstatusname()))

    def notify_trade(self, trade):
        self.trades.append((trade.size, round(trade.pnl, 6), round(trade.pnlcomm, 6), trade.isclosed))

    def told(self, order):
        """The statuses of an order as they were told."""
        return [status for ref, status in self.orders if ref == order.ref]


class Rounds(bt.Cerebro):
    """Plays the script once a round, after the broker was heard."""

    def _brokernotify(self):
        super()._brokernotify()
        self.stage.play(self)


class Stage:
    """One run of a script."""

    def __init__(self, script, names=("AAPL",)):
        self.script, self.names = script, names
        self.strategy, self.running = None, True
        self._waiting, self._until, self.bars = None, 0.0, {}
        self._playing = None

    def run(self, broker, strategy=Trader, **parameters):
        """Play the script to its end; what it asserts fails the test."""
        cerebro = Rounds(quicknotify=True, stdstats=False)
        cerebro.stage = self
        cerebro.setbroker(broker)
        self.feeds = [ScriptedFeed(self, name) for name in self.names]
        for feed in self.feeds:
            feed.p.qcheck = 0.0
            cerebro.adddata(feed, name=feed._name)
        cerebro.addstrategy(strategy, **parameters)
        (self.strategy,) = cerebro.run()
        return self.strategy

    def play(self, cerebro):
        """Go on with the script, unless what it waits for is still to come."""
        self.strategy = cerebro.runningstrats[0]
        if not self.running or self.bars:
            return
        if self._waiting is not None and not self._waiting():
            assert time.monotonic() < self._until, "timed out"
            time.sleep(0.002)  # Cerebro goes round as it does between two bars
            return
        self._waiting = None
        try:
            wanted = next(self._started())
        except StopIteration:
            self.running = False
            return
        if callable(wanted):
            self._waiting, self._until = wanted, time.monotonic() + PATIENCE
        else:
            self.bars = dict.fromkeys(self.names, wanted) if isinstance(wanted, Bar) else dict(wanted)

    def _started(self):
        if self._playing is None:
            self._playing = self.script(self)
        return self._playing
