"""Indicators, analyzers, sizers and commissions as users write them, plain and odd.

Belongs here: what the scripted strategy is given besides Backtrader's own. Does not belong here: tests.
"""

import math

import backtrader as bt


class ByNext(bt.Indicator):
    """Knows only how to compute one bar, from its own past."""

    lines = ("mean",)
    params = (("weight", 0.3),)

    def __init__(self):
        self.addminperiod(3)

    def nextstart(self):
        self.lines.mean[0] = sum(self.data.get(size=3)) / 3.0

    def next(self):
        self.lines.mean[0] = self.p.weight * self.data[0] + (1.0 - self.p.weight) * self.lines.mean[-1]


class ByOnce(bt.Indicator):
    """Knows only how to compute all bars at once."""

    lines = ("range",)

    def __init__(self):
        self.addminperiod(4)

    def once(self, start, end):
        source, target = self.data.array, self.lines.range.array
        for i in range(start, end):
            target[i] = max(source[i - 3 : i + 1]) - min(source[i - 3 : i + 1])


class ByBoth(bt.Indicator):
    """Different in `next` and in `once`, so that it shows which one ran."""

    lines = ("which",)

    def next(self):
        self.lines.which[0] = self.data[0] + 1.0

    def once(self, start, end):
        for i in range(start, end):
            self.lines.which.array[i] = self.data.array[i] + 2.0


class Nested(bt.Indicator):
    """An indicator of indicators, with a `next` that reads them."""

    lines = ("signal", "count")
    params = (("period", 4),)

    def __init__(self):
        self.fast = bt.ind.SMA(self.data, period=self.p.period)
        self.slow = bt.ind.EMA(self.fast, period=self.p.period + 1)
        self.cross = bt.ind.CrossOver(self.fast, self.slow)

    def next(self):
        self.lines.signal[0] = self.cross[0] * 2.0 + self.fast[0] - self.slow[0]
        self.lines.count[0] = len(self)


class Bound(bt.Indicator):
    """Its lines are other lines: nothing is computed by itself."""

    lines = ("difference", "smooth", "same")

    def __init__(self):
        mean = bt.ind.SMA(self.data, period=3)
        self.lines.difference = self.data - mean
        self.lines.smooth = bt.ind.WMA(self.lines.difference, period=2)
        self.lines.same = bt.Max(self.lines.difference, self.lines.smooth, 0.0)


class Bands(bt.Indicator):
    """Inherits lines from Bollinger bands and adds one."""

    lines = ("width",)

    def __init__(self):
        bands = bt.ind.BollingerBands(self.data, period=4)
        self.lines.width = bands.top - bands.bot


class Twice(bt.ind.SMA):
    """A subclass of an indicator that an engine may know: what it computes is not what its parent computes."""

    params = (("period", 3),)

    def next(self):
        super().next()
        self.lines[0][0] *= 2.0

    def once(self, start, end):
        super().once(start, end)
        for i in range(start, end):
            self.lines[0].array[i] *= 2.0


class Steps(bt.Indicator):
    """Tells the phases of an indicator apart."""

    lines = ("phase",)

    def __init__(self):
        self.addminperiod(3)

    def prenext(self):
        self.lines.phase[0] = -1.0

    def nextstart(self):
        self.lines.phase[0] = 0.0

    def next(self):
        self.lines.phase[0] = self.lines.phase[-1] + self.data[-2]


class Watcher(bt.Analyzer):
    """Writes down everything that it is told, and what it can read then."""

    params = (("recording", None),)

    def start(self):
        self.calls = 0
        self.p.recording.note("watcher start", len(self.strategy))

    def prenext(self):
        self._note("prenext")

    def nextstart(self):
        self._note("nextstart")

    def next(self):
        self._note("next")

    def stop(self):
        self._note("stop")

    def _note(self, label):
        self.calls += 1
        broker = self.strategy.broker
        self.p.recording.note(f"watcher {label}", len(self), len(self.data), broker.getvalue(), broker.getcash())

    def notify_order(self, order):
        self.p.recording.note("watcher order", self.p.recording.order(order))

    def notify_trade(self, trade):
        self.p.recording.note("watcher trade", self.p.recording.trade(trade))

    def notify_cashvalue(self, cash, value):
        self.p.recording.note("watcher cash and value", cash, value)

    def notify_fund(self, cash, value, fundvalue, shares):
        self.p.recording.note("watcher fund", cash, value, fundvalue, shares)

    def get_analysis(self):
        return {"calls": self.calls}


class Glance(bt.Analyzer):
    """Looks at closes only; hears of nothing."""

    def start(self):
        self.seen = []

    def next(self):
        self.seen.append([data.close[0] if len(data) else None for data in self.datas])

    def get_analysis(self):
        return self.seen


class Curious(bt.Sizer):
    """A size that depends on all that a sizer is told."""

    params = (("recording", None),)

    def _getsizing(self, comminfo, cash, data, isbuy):
        position = self.broker.getposition(data)
        self.p.recording.note("sizing", cash, data, isbuy, position, comminfo.p.commission, self.strategy.position.size)
        return 1 + abs(position.size) // 2 + (len(self.strategy) % 3 if isbuy else 2)


class LastValue(bt.Observer):
    """A user's own observer."""

    lines = ("value", "orders")

    def next(self):
        self.lines.value[0] = self._owner.broker.getvalue()
        self.lines.orders[0] = len(self._owner._orderspending)


class MinimumFee(bt.CommInfoBase):
    """So much a share, at least one unit, at most a hundredth of the value."""

    params = (("commission", 0.005), ("stocklike", True), ("commtype", bt.CommInfoBase.COMM_FIXED))

    def _getcommission(self, size, price, pseudoexec):
        return min(max(1.0, abs(size) * self.p.commission), abs(size) * abs(price) * 0.01)


class OddFee(bt.CommInfoBase):
    """Differs by side, asks more of real executions than of tried ones, and sizes differently."""

    params = (("commission", 0.001), ("stocklike", True), ("percabs", True), ("commtype", bt.CommInfoBase.COMM_PERC))

    def _getcommission(self, size, price, pseudoexec):
        return abs(size) * abs(price) * (0.002 if size < 0 else 0.001) + (0.0 if pseudoexec else 0.25)

    def getsize(self, price, cash):
        return math.floor(cash / price / 2) if price > 0 else 0

    def get_credit_interest(self, data, pos, dt):
        return 0.01 * abs(pos.size) if len(data) % 5 == 0 else 0.0
