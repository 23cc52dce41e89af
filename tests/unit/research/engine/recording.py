"""Everything that can be seen of a run of Backtrader, written down so that two runs can be compared bit for bit.

Belongs here: turning orders, trades, positions, lines and analyses into text, and finding where two recordings part.
Does not belong here: what to run (see `cases`), how (see `scripted`).

`repr` of a float gives back the same float when it is read, and it tells 1 from 1.0 and from numpy's 1.0, so equal
texts are equal values of equal types. References of orders and trades count from the first one that a run shows:
Backtrader counts them through the life of the process.
"""

import datetime as dt
import itertools

import backtrader as bt

SEEN_OF_ORDER = (
    "ordtype", "exectype", "status", "size", "price", "pricelimit", "plimit", "trailamount", "trailpercent", "valid",
    "tradeid", "transmit", "triggered", "dteos", "plen", "position", "histnotify", "simulated",
)  # fmt: skip
SEEN_OF_EXECUTION = (
    "dt", "size", "price", "pricelimit", "plimit", "remsize", "pclose", "trailamount", "trailpercent", "value", "comm",
    "pnl", "margin", "psize", "pprice", "p1", "p2",
)  # fmt: skip
SEEN_OF_BIT = (
    "dt", "size", "price", "closed", "opened", "closedvalue", "openedvalue", "closedcomm", "openedcomm", "value",
    "comm", "pnl", "psize", "pprice",
)  # fmt: skip
SEEN_OF_TRADE = (
    "status", "tradeid", "size", "price", "value", "commission", "pnl", "pnlcomm", "justopened", "isopen", "isclosed",
    "baropen", "dtopen", "barclose", "dtclose", "barlen", "historyon",
)  # fmt: skip
SEEN_OF_POSITION = ("size", "price", "price_orig", "upopened", "upclosed", "adjbase", "datetime", "updt")
MISSING = "missing"

_PLAIN = (float, int, str, bool, type(None))
_MACHINERY = (bt.CommInfoBase, bt.BrokerBase, bt.Strategy, bt.Cerebro)  # their classes differ from engine to engine
_MOMENTS = (dt.datetime, dt.date, dt.time, dt.timedelta)


class Recording:
    """What happened in one run, in order: one text an event.

    Args:
        limit: the most events kept; a strategy that talks to itself for ever stops there.
    """

    def __init__(self, limit=100_000):
        self.events = []
        self.limit = limit
        self._first_order = None
        self._first_trade = None
        self._known = (
            (bt.Order, self.order_name),
            (bt.Trade, lambda trade: f"trade {self._trade_ref(trade.ref)}"),
            (bt.feed.AbstractDataBase, lambda data: f"data {data._name}"),
            (_MACHINERY, lambda machine: "machinery"),
            (bt.position.Position, self.position),
            (bt.LineRoot, _class_name),
            (_MOMENTS, str),
        )

    def note(self, label, *values):
        """Write one event down."""
        if len(self.events) >= self.limit:
            raise RuntimeError("the run went on for ever")
        self.events.append(f"{label}: {', '.join([self.text(value) for value in values])}")

    def text(self, value):
        """One value as text: equal if and only if value and type are equal, without the addresses of objects."""
        kind = type(value)
        if kind in _PLAIN:
            return repr(value)
        if isinstance(value, dict):
            pairs = (f"{self.text(key)}: {self.text(item)}" for key, item in value.items())
            return f"{kind.__name__}{{{', '.join(pairs)}}}"
        if isinstance(value, list | tuple) or kind.__name__ in ("deque", "array", "islice"):
            return f"{kind.__name__}[{', '.join([self.text(item) for item in value])}]"
        for known, describe in self._known:
            if isinstance(value, known):
                return describe(value)
        return repr(value)

    def order_name(self, order):
        """How an order is called in texts: its number, counted from the first one of the run."""
        if self._first_order is None:
            self._first_order = order.ref
        return f"order {order.ref - self._first_order}"

    def _trade_ref(self, ref):
        if self._first_trade is None:
            self._first_trade = ref
        return ref - self._first_trade

    def order(self, order):
        """All that a user may read from an order."""
        parts = [self.order_name(order), _kind(order)]
        parts += [f"{name}={self.text(getattr(order, name, MISSING))}" for name in SEEN_OF_ORDER]
        parts += [f"{name}={self.text(getattr(order, name))}" for name in ("parent", "info", "data")]
        parts += [f"alive={order.alive()}", f"active={order.active()}", order.getstatusname(), order.getordername()]
        parts += [
            f"buy={order.isbuy()}",
            f"comminfo={_commission(order.comminfo)}",
            f"broker={order.broker is not None}",
        ]
        parts += [f"created({self.execution(order.created)})", f"executed({self.execution(order.executed)})"]
        parts.append(f"new={[self.bit(bit) for bit in order.executed.iterpending()]}")
        return " ".join(parts)

    def execution(self, execution):
        """All that a user may read from `order.created` or `order.executed`."""
        parts = [f"{name}={self.text(getattr(execution, name, MISSING))}" for name in SEEN_OF_EXECUTION]
        return " ".join([*parts, str([self.bit(bit) for bit in execution.exbits])])

    def bit(self, bit):
        """All of one execution."""
        return " ".join([self.text(getattr(bit, name, MISSING)) for name in SEEN_OF_BIT])

    def trade(self, trade):
        """All that a user may read from a trade."""
        parts = [f"trade {self._trade_ref(trade.ref)}", trade.getdataname(), str(bool(trade))]
        parts += [f"{name}={self.text(getattr(trade, name, MISSING))}" for name in SEEN_OF_TRADE]
        for entry in trade.history:
            parts.append(f"[{self.text(dict(entry.status))} {self.text(_event(entry.event))}]")
        return " ".join(parts)

    def position(self, position):
        """All that a user may read from a position."""
        parts = [f"{name}={self.text(getattr(position, name, MISSING))}" for name in SEEN_OF_POSITION]
        return " ".join([*parts, str(bool(position))])


def _class_name(line):
    """Backtrader numbers the classes of couplers through the life of the process."""
    name = type(line).__name__
    return "LinesCoupler" if name.startswith("LinesCoupler") else name


def _kind(order):
    return "BuyOrder" if isinstance(order, bt.BuyOrder) else "SellOrder" if isinstance(order, bt.SellOrder) else "?"


def _commission(comminfo):
    return None if comminfo is None else repr((comminfo.p.commission, comminfo.p.mult, comminfo.p.margin))


def _event(event):
    return {name: value for name, value in event.items() if name != "comminfo"}


def write_aftermath(recording, cerebro, strategy):
    """What is left when the run is over: books of the broker, orders, trades, every line, every analysis."""
    note = recording.note
    broker = cerebro.broker
    for name in ("getcash", "getvalue", "get_leverage", "get_fundvalue", "get_fundshares", "get_orders_open"):
        note(f"in the end {name}", getattr(broker, name)())
    note("in the end values", broker.getvalue(mkt=True), broker.getvalue(lever=True), broker.startingcash)
    for data in list(broker.positions):
        note("in the end position", data, broker.getposition(data))
        note("in the end value of", data, broker.getvalue([data]), broker.getvalue([data], lever=True))
    for name in ("orders", "pending", "submitted"):
        for order in getattr(broker, name):
            note(f"in the end {name}", recording.order(order))
    note("in the end notifications", list(broker.notifs))
    for data, by_id in strategy._trades.items():
        for tradeid, trades in by_id.items():
            note("in the end trades", data, tradeid, [recording.trade(trade) for trade in trades])
    note("in the end told", list(strategy._orders), strategy._orderspending, strategy._tradespending)
    for analyzer in strategy.analyzers:
        note(f"in the end {type(analyzer).__name__}", analyzer.get_analysis())
    _write_lines(recording, strategy)


def _write_lines(recording, strategy):
    note = recording.note
    if not any(len(data) for data in strategy.datas):
        return  # it failed while its indicators were computed, before the first bar: they are in no state
    for data in strategy.datas:
        note("in the end data", data, len(data), data.buflen(), data._minperiod)
        _write_arrays(recording, f"in the end lines of {data._name}", data)
    note("in the end strategy", len(strategy), strategy._minperiod, strategy._minperiods)
    _write_arrays(recording, "in the end lines of the strategy", strategy)
    for number, indicator in enumerate(_all_below(strategy)):
        label = f"in the end {_class_name(indicator)} {number}"
        note(label, len(indicator), indicator._minperiod)
        _write_arrays(recording, label, indicator)
    for observer in strategy._lineiterators[bt.LineIterator.ObsType]:
        _write_arrays(recording, f"in the end {type(observer).__name__}", observer)


def _all_below(iterator):
    """Indicators of an iterator, the parents first, and what those are made of."""
    for indicator in getattr(iterator, "_lineiterators", {}).get(bt.LineIterator.IndType, ()):
        yield indicator
        yield from _all_below(indicator)


def _write_arrays(recording, label, owner):
    for number, line in enumerate(_buffers(owner)):
        recording.note(f"{label}, line {number}", len(line), line.idx, line.buflen(), list(line.array))
        recording.note(f"{label}, line {number} read", _last(line))


def _buffers(owner):
    """The lines of an indicator or a feed, or the one line that an operation is."""
    if isinstance(owner, bt.LineBuffer):
        return [owner]
    return [owner.lines[number] for number in range(owner.size())]


def _last(line):
    values = []
    for ago in (0, -1):
        try:
            values.append(line[ago])
        except IndexError as error:
            values.append(str(error))
    return values


def first_difference(one, other):
    """Where two recordings part, as a sentence with both events, or None where they are equal."""
    for number, (left, right) in enumerate(itertools.zip_longest(one.events, other.events)):
        if left != right:
            return (
                f"event {number} of {len(one.events)}/{len(other.events)}:\n  {left}\n  {right}{_around(left, right)}"
            )
    return None


def _around(left, right):
    """The first characters that differ, for events of many numbers."""
    if left is None or right is None:
        return ""
    at = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    begin = max(0, at - 60)
    return f"\n  here: ...{left[begin : at + 60]}...\n        ...{right[begin : at + 60]}..."
