"""Carrying out a case: a strategy that does what its script says, in a Cerebro of any kind, and writes down all of it.

Belongs here: turning the data of `cases` into calls of Backtrader. Does not belong here: comparing (see `recording`).
"""

import datetime as dt
import functools
import random

import backtrader as bt

from tests.unit.research.engine import own_parts
from tests.unit.research.engine.recording import Recording, write_aftermath

CAUGHT = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError)
CRASHES = (*CAUGHT, NameError, RuntimeError, StopIteration)  # what Backtrader lets out on odd bars


class NothingSent(Exception):  # noqa: N818
    """A step is about an order, and there is none yet."""


class MadeFeed(bt.feed.DataBase):
    """The bars of a series, as any feed of a user's own delivers them."""

    params = (("series", None),)

    def start(self):
        super().start()
        self._at = 0

    def _load(self):
        series = self.p.series
        if self._at >= len(series.stamps):
            return False
        lines = self.lines
        lines.datetime[0] = bt.date2num(series.stamps[self._at])
        row = series.rows[self._at]
        lines.open[0], lines.high[0], lines.low[0], lines.close[0], lines.volume[0], lines.openinterest[0] = row
        self._at += 1
        return True


class Scripted(bt.Strategy):
    """Base of the strategies; `strategy_class` adds the hooks that a case overrides."""

    params = (("case", None), ("recording", None))

    def __init__(self):
        self.made = []
        self.calls = {}
        self.plan = {}
        for step in self.p.case.steps:
            self.plan.setdefault((step.hook, step.count), []).append(step)
        built = [build(self, indicator) for indicator in self.p.case.indicators]
        self.marks = [line for line in built if isinstance(line, bt.LineRoot)]
        if "timer" in self.p.case.extras:
            self.add_timer(bt.timer.SESSION_START, offset=dt.timedelta(minutes=1))

    def happen(self, hook):
        """The next call of a hook: do what the script says."""
        count = self.calls.get(hook, 0)
        self.calls[hook] = count + 1
        for step in self.plan.get((hook, count), ()):
            self.do(step)

    def do(self, step):
        """One step; a careful strategy survives its own mistakes."""
        note = self.p.recording.note
        try:
            note(f"{step.kind} gives", ACTIONS[step.kind](self, **step.args))
        except NothingSent:
            pass
        except CAUGHT as error:
            note(f"{step.kind} fails", type(error).__name__)
            if not self.p.case.careful:
                raise

    def notify_timer(self, timer, when, *args, **kwargs):
        self.p.recording.note("timer", len(self), when)
        self.buy(size=1)


# ------------------------------------------------------------------------------------------------------------- hooks
def _start(self):
    self.p.recording.note("start", len(self))
    self.happen("start")


def _stop(self):
    self.p.recording.note("stop", len(self))
    self.happen("stop")


def _prenext(self):
    self.p.recording.note("prenext", len(self), self.datetime[0])
    self.happen("prenext")


def _nextstart(self):
    self.p.recording.note("nextstart", len(self), self.datetime[0])
    self.happen("nextstart")
    self.next()


def _next(self):
    self.p.recording.note("next", len(self), self.datetime[0])
    self.happen("next")


def _notify_order(self, order):
    known = next((i for i, made in enumerate(self.made) if made == order), None)
    same = known is not None and order is self.made[known]
    self.p.recording.note("notify_order", len(self), known, same, self.p.recording.order(order))
    self.happen("notify_order")


def _notify_trade(self, trade):
    self.p.recording.note("notify_trade", len(self), self.p.recording.trade(trade))
    self.happen("notify_trade")


def _notify_cashvalue(self, cash, value):
    self.p.recording.note("notify_cashvalue", len(self), cash, value)
    self.happen("notify_cashvalue")


def _notify_fund(self, cash, value, fundvalue, shares):
    self.p.recording.note("notify_fund", len(self), cash, value, fundvalue, shares)
    self.happen("notify_fund")


def _notify_data(self, data, status, *args, **kwargs):
    self.p.recording.note("notify_data", len(self), data, status)


def _notify_store(self, message, *args, **kwargs):
    self.p.recording.note("notify_store", len(self), message)


_HOOKS = {
    "start": _start, "stop": _stop, "prenext": _prenext, "nextstart": _nextstart, "next": _next,
    "notify_order": _notify_order, "notify_trade": _notify_trade, "notify_cashvalue": _notify_cashvalue,
    "notify_fund": _notify_fund, "notify_data": _notify_data, "notify_store": _notify_store,
}  # fmt: skip


@functools.cache
def strategy_class(hooks):
    """A strategy that overrides exactly these hooks: engines look at which ones are overridden."""
    return type("Made" + "_".join(sorted(hooks)), (Scripted,), {hook: _HOOKS[hook] for hook in hooks})


# ----------------------------------------------------------------------------------------------------------- actions
def _price(data, ticks):
    return None if ticks is None else ticks if isinstance(ticks, float) else data.close[0] + ticks * _tick(data)


def _tick(data):
    return max(abs(data.high[0] - data.low[0]), abs(data.close[0]) * 0.001) / 2.0


def _terms(self, data, terms):
    """Keyword arguments of an order, from the words of a case."""
    terms = dict(terms)
    execution = terms.pop("exectype", None)
    terms["exectype"] = None if execution is None else getattr(bt.Order, execution)
    for name in ("price", "plimit"):
        if name in terms:
            terms[name] = _price(data, terms[name])
    valid = terms.get("valid")
    if valid in ("date", "datetime", "past"):
        now = data.datetime.datetime(0)
        later = now + dt.timedelta(days=-1 if valid == "past" else 2)
        terms["valid"] = later.date() if valid == "date" else later
    which = terms.pop("oco_with", None)
    if which is not None and self.made:
        terms["oco"] = self.made[-1 - which % len(self.made)]
    return terms


def _keep(self, *orders):
    self.made.extend(order for order in orders if order is not None)
    return orders


def _send(side):
    def act(self, data, **terms):
        feed = self.datas[data]
        return _keep(self, getattr(self, side)(data=feed, **_terms(self, feed, terms)))

    return act


def _bracket(side):
    def act(self, *, data, limit, stop, stopexec="Stop", limitexec="Limit", **terms):
        feed = self.datas[data]
        up = 1 if side == "buy" else -1
        terms = _terms(self, feed, terms)
        terms["limitprice"], terms["stopprice"] = _price(feed, up * limit), _price(feed, -up * stop)
        for name, execution in (("stopexec", stopexec), ("limitexec", limitexec)):
            terms[name] = None if execution is None else getattr(bt.Order, execution)
        if terms["stopexec"] == bt.Order.StopTrail:
            terms["stopargs"] = {"trailamount": 2 * _tick(feed)}
        return _keep(self, *getattr(self, f"{side}_bracket")(data=feed, **terms))

    return act


def _order_target(kind):
    def act(self, data, target, **terms):
        feed = self.datas[data]
        return _keep(self, getattr(self, kind)(data=feed, target=target, **_terms(self, feed, terms)))

    return act


def _family(self, data, buys, children, last):
    """A parent with any number of children, sent with the last one, or never."""
    feed = self.datas[data]
    send, leave = (self.buy, self.sell) if buys else (self.sell, self.buy)
    parent = send(data=feed, size=5, transmit=False)
    orders = [parent]
    for number, terms in enumerate(children):
        terms = _terms(self, feed, terms)  # noqa: PLW2901
        terms["transmit"] = last and number == len(children) - 1
        orders.append(leave(data=feed, parent=parent, **terms))
    return _keep(self, *orders)


def _group(self, data, group):
    """Orders of which one cancels the others."""
    feed = self.datas[data]
    leader = None
    orders = []
    for buys, terms in group:
        terms = _terms(self, feed, terms)  # noqa: PLW2901
        terms.setdefault("oco", leader)
        order = (self.buy if buys else self.sell)(data=feed, **terms)
        leader = leader or order
        orders.append(order)
    return _keep(self, *orders)


def _chosen(self, which):
    if not self.made:
        raise NothingSent
    return self.made[-1 - which % len(self.made)]


def _cancel(self, which):
    order = _chosen(self, which)
    return self.cancel(order), order.status


def _cancel_all(self):
    return [self.broker.cancel(order) for order in self.broker.get_orders_open()]


def _add_cash(self, cash):
    self.broker.add_cash(cash)
    return self.broker.getcash(), self.broker.getvalue()


def _change(self, what, **terms):
    change_broker(self.broker, what, terms, self.p.recording)
    return what


def _addinfo(self, which, note):
    _chosen(self, which).addinfo(note=note, more=note)


def _trail(self, which, by):
    """Moves the price of an order that is waiting, as some users do; not below zero, where our broker has no fees."""
    order = _chosen(self, which)
    moved = order.created.price + by * _tick(order.data)
    if order.alive() and 0.0 <= moved < float("inf"):
        order.created.price = moved
    return order.created.price


def _runstop(self, really):
    if really:
        self.env.runstop()


def _fail(self, really):
    if really:
        raise ZeroDivisionError("a strategy's mistake")


def _setsizer(self, stake):
    self._addsizer(bt.sizers.FixedSize, stake=stake)


def _settle(self, which):
    order = _chosen(self, which)
    return self.broker.orderstatus(order), order.brokerstatus(), str(order).count("\n")


def _reverse(self, data):
    feed = self.datas[data]
    size = self.getposition(feed).size
    return _keep(
        self, self.sell(data=feed, size=2 * size) if size > 0 else self.buy(data=feed, size=2 * abs(size) or 3)
    )


def _close(self, data, size=None):
    return _keep(self, self.close(data=self.datas[data], size=size))


def _look(self, at):
    answers = []
    for kind, *words in at:
        try:
            answers.append(LOOKS[kind](self, *words))
        except (*CAUGHT, NothingSent) as error:
            answers.append(type(error).__name__)
    return answers


ACTIONS = {
    "buy": _send("buy"), "sell": _send("sell"), "buy_bracket": _bracket("buy"), "sell_bracket": _bracket("sell"),
    "order_target_size": _order_target("order_target_size"), "order_target_value": _order_target("order_target_value"),
    "order_target_percent": _order_target("order_target_percent"), "family": _family, "oco": _group, "close": _close,
    "cancel": _cancel, "cancel_all": _cancel_all, "add_cash": _add_cash, "change": _change, "addinfo": _addinfo,
    "trail": _trail, "runstop": _runstop, "fail": _fail, "setsizer": _setsizer, "settle": _settle,
    "reverse": _reverse, "look": _look,
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------ what is read
def _moment(self, data, method, ago):
    line = self.datas[data].datetime
    return line[ago] if method == "float" else getattr(line, method)(ago)


def _mark(self, number):
    return self.marks[number % len(self.marks)]


def _mark_line(self, number, line):
    mark = _mark(self, number)
    lines = getattr(mark, "lines", None)
    return mark if lines is None else lines[line % lines.size()]


def _open_orders(self, which):
    orders = self.broker.get_orders_open(safe=which > 0)
    return len(orders), [self.p.recording.order(order) for order in orders[-2:]]


def _all_lines(self, data):
    return [[line[0] for line in feed.lines] if len(feed) else len(feed) for feed in self.datas], len(self.datas[data])


def _trades(self, data):
    return [[self.p.recording.trade(trade) for trade in trades] for trades in self._trades[self.datas[data]].values()]


def _sum(self, data, number, line, ago):
    """Arithmetic of lines while the run goes on: plain numbers."""
    feed, other = self.datas[data], _mark_line(self, number, line)
    return feed.close + other, -feed.open, abs(feed.low - feed.high), feed.close / 2.0, other * 2 + ago, bool(other)


def _compare(self, data, number, line, ago):
    feed, other = self.datas[data].close, _mark_line(self, number, line)
    return other > feed, other < feed, other == feed, other >= feed[0], other != 0.0, feed <= other, ago


LOOKS = {
    "line": lambda self, data, name, ago: getattr(self.datas[data], name)[ago],
    "line_of_lines": lambda self, data, name, ago: getattr(self.datas[data].lines, name)[ago],
    "alias": lambda self, data, name, ago: getattr(self, f"data{data}_{name}")[ago],
    "slice": lambda self, data, name, ago: getattr(self.datas[data].l, name).get(ago=ago, size=3),
    "line_len": lambda self, data, name, ago: (len(getattr(self.datas[data], name)), self.datas[data].buflen()),
    "tick": lambda self, data, name, ago: getattr(self.datas[data], f"tick_{name}"),
    "get": lambda self, data, name, ago, size: getattr(self.datas[data], name).get(ago, size),
    "moment": _moment,
    "indicator": lambda self, data, number, line, ago: _mark_line(self, number, line)[ago],
    "indicator_get": lambda self, data, number, line, ago: (
        _mark(self, number).get(ago, 3), len(_mark(self, number)), len(_mark_line(self, number, line))),
    "compare": _compare,
    "sum": _sum,
    "order": lambda self, which: self.p.recording.order(_chosen(self, which)),
    "status": lambda self, which: self.broker.orderstatus(_chosen(self, which)),
    "open": _open_orders,
    "len": lambda self, data: (len(self), len(self.datas[data]), len(self.datas[data].close)),
    "value": lambda self, data: (self.broker.getvalue(), self.broker.get_value(mkt=True)),
    "value_of": lambda self, data: (self.broker.getvalue([self.datas[data]]), self.broker.getvalue(self.datas)),
    "lever": lambda self, data: (self.broker.get_leverage(), self.broker.getvalue(lever=True), self.broker._unrealized),
    "cash": lambda self, data: (self.broker.getcash(), self.broker.cash, self.broker.startingcash),
    "fund": lambda self, data: (self.broker.fundvalue, self.broker.fundshares, self.broker.get_fundvalue()),
    "position": lambda self, data: (self.getposition(self.datas[data]), self.position.size, bool(self.position)),
    "positions": lambda self, data: [(feed, position) for feed, position in self.positions.items()],
    "mine": lambda self, data: (self.getpositionbyname(f"S{data}"), self.getsizing(self.datas[data]), self.datetime[0]),
    "trades": _trades,
    "names": lambda self, data: (self.getdatanames(), self.getdatabyname(f"S{data}"), self.dnames[f"S{data}"]),
    "all_lines": _all_lines,
    "market": lambda self, data: (self.datetime.datetime(), self.datas[data].datetime.date(), self.data.close[0]),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------- expressions
def build(strategy, words):
    """The lines that an expression of `cases.expression` means."""
    kind, *rest = words
    if kind == "line":
        return getattr(strategy.datas[rest[0]], rest[1])
    if kind == "call":
        indicator = getattr(bt.ind, rest[0])
        period = {"period": rest[2]} if hasattr(indicator.params, "period") else {}
        return indicator(build(strategy, rest[1]), **period)
    if kind == "bars":
        return getattr(bt.ind, rest[0])(strategy.datas[rest[1]], **_short_periods(getattr(bt.ind, rest[0])))
    if kind == "own":
        return getattr(own_parts, rest[0])(build(strategy, rest[1]))
    parts = [build(strategy, part) if isinstance(part, tuple) else part for part in rest]
    return _BUILDS[kind](*parts)


def _short_periods(indicator):
    """An indicator's periods, a quarter as long: cases have few bars."""
    return {
        name: value // 4 + 1
        for name, value in indicator.params._getpairs().items()
        if type(value) is int and value > 4 and not name.startswith(("upper", "lower", "safe"))
    }


_BUILDS = {
    "sub": lambda a, b: a - b, "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
    "gt": lambda a, b: a > b, "lt": lambda a, b: a < b, "ge": lambda a, b: a >= b, "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "floordiv": lambda a, b: a // b, "pow": lambda a, b: a**b,
    "max": bt.Max, "min": bt.Min, "and": bt.And, "or": bt.Or, "sum": bt.Sum, "any": bt.Any, "all": bt.All,
    "crossover": bt.ind.CrossOver, "crossup": bt.ind.CrossUp, "crossdown": bt.ind.CrossDown,
    "divzero": lambda a, b: bt.DivByZero(a, b, zero=-1.0), "nonzero": bt.ind.NonZeroDifference,
    "if": bt.If, "delay": lambda a, n: a(-n), "scale": lambda a, n: a * n, "rscale": lambda a, n: n - a,
    "bands": lambda a, n: bt.ind.BollingerBands(a, period=n),
    "macd": lambda a: bt.ind.MACDHisto(a, period_me1=3, period_me2=5),
    "coupled": lambda a: a(), "const": lambda a: bt.Max(a, 50.0), "abs": abs,
    "unplotted": lambda a: bt.ind.SMA(a, period=2, plot=False),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------- the machine
def change_broker(broker, what, terms, recording):
    """One setting of a broker, from the words of a case."""
    on = terms.get("on")
    if what in ("setcash", "cash"):
        broker.setcash(terms["cash"])
    elif what == "commission":
        _set_commission(broker, dict(terms))
    elif what == "slippage":
        words = dict(terms)
        (broker.set_slippage_perc if "perc" in words else broker.set_slippage_fixed)(**words)
    elif what == "filler":
        broker.set_filler(_filler(terms))
    else:
        getattr(broker, f"set_{what}")(on)
    recording.note("setting", what)


def _set_commission(broker, terms):
    own = terms.pop("own", None)
    if own is not None:
        made = own_parts.MinimumFee() if own == "minimum" else own_parts.OddFee()
        broker.addcommissioninfo(made, name=terms.get("name"))
        return
    if "commtype" in terms:
        terms["commtype"] = bt.CommInfoBase.COMM_FIXED
        terms["stocklike"] = True
    broker.setcommission(**terms)


def _filler(terms):
    if "size" in terms:
        return bt.fillers.FixedSize(size=terms["size"])
    if "perc" in terms:
        return bt.fillers.FixedBarPerc(perc=terms["perc"])
    if "point" in terms:
        return bt.fillers.BarPointPerc(minmov=terms["point"], perc=50.0)
    return lambda order, price, ago: min(abs(order.executed.remsize), 1 + len(order.data) % 4)


def cerebro_of(case, make, recording):
    """A Cerebro (made by `make(**settings)`) with everything of a case in it."""
    cerebro = make(**{"stdstats": False, **dict(case.cerebro)})
    for what, terms in case.broker:
        change_broker(cerebro.broker, what, terms, recording)
    for series in case.series:
        _add_data(cerebro, case, series)
    cerebro.addstrategy(strategy_class(case.hooks), case=case, recording=recording)
    for name, terms in case.analyzers:
        _add_analyzer(cerebro, name, terms, recording)
    if case.sizer is not None:
        name, terms = case.sizer
        if hasattr(own_parts, name):
            cerebro.addsizer(getattr(own_parts, name), recording=recording)
        else:
            cerebro.addsizer(getattr(bt.sizers, name), **terms)
    _add_extras(cerebro, case)
    return cerebro


def _add_data(cerebro, case, series):
    frame = bt.TimeFrame.Minutes if series.minutes else bt.TimeFrame.Days
    feed = MadeFeed(series=series, timeframe=frame, compression=1)
    if "filter" in case.extras:
        feed.addfilter(bt.filters.SessionFilter)
    cerebro.adddata(feed, name=series.name)
    if series.name != "S0":
        return
    larger = bt.TimeFrame.Minutes if series.minutes else bt.TimeFrame.Weeks
    if "resample" in case.extras:
        cerebro.resampledata(feed, timeframe=larger, compression=5 if series.minutes else 1, name="larger")
    if "replay" in case.extras:
        other = MadeFeed(series=series, timeframe=frame, compression=1)
        cerebro.replaydata(other, timeframe=larger, compression=5 if series.minutes else 1, name="replayed")


def _add_analyzer(cerebro, name, terms, recording):
    terms = dict(terms)
    if "timeframe" in terms:
        terms["timeframe"] = getattr(bt.TimeFrame, terms["timeframe"])
    if name == "Watcher":
        terms["recording"] = recording
    cerebro.addanalyzer(getattr(own_parts if hasattr(own_parts, name) else bt.analyzers, name), **terms)


def _add_extras(cerebro, case):
    if "second_strategy" in case.extras:
        cerebro.addstrategy(Second)
    if "observer" in case.extras:
        cerebro.addobserver(own_parts.LastValue)
    if "writer" in case.extras:
        cerebro.addwriter(bt.WriterFile, csv=True, out=_Nowhere())
    if "signals" in case.extras:
        cerebro.addobservermulti(bt.observers.BuySell)
    if "twins" in case.extras:
        cerebro.addindicator(bt.ind.SMA, period=2)


class Second(bt.Strategy):
    """Somebody else at the same broker."""

    def next(self):
        if len(self) % 7 == 0:
            self.buy(size=1)


class _Nowhere:
    def write(self, text):
        pass

    def flush(self):
        pass

    def close(self):
        pass


def carry_out(case, make):
    """Run a case: its recording, and the Cerebro afterwards.

    Args:
        case: what to run.
        make: makes a Cerebro from settings, for example `bt.Cerebro`.
    """
    recording = Recording()
    random.seed(7)
    cerebro = cerebro_of(case, make, recording)
    try:
        cerebro.run()
    except CRASHES as error:
        recording.note("the run fails", type(error).__name__)
    for strategy in getattr(cerebro, "runningstrats", ())[:1]:
        try:
            write_aftermath(recording, cerebro, strategy)
        except CAUGHT as error:
            recording.note("the aftermath fails", type(error).__name__)
    return recording, cerebro
