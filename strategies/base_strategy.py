"""The base of the library's strategies: parameters that are checked, per-symbol decisions, orders that are worked.

Belongs here: what every risk-managed strategy shares. Does not belong here: signals (the library's modules), the way
of an order (see `order_desk`), the decision whether it may go (see `risk`).
"""

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import backtrader as bt
import numpy as np
from backtrader.strategy import MetaStrategy

from risk.limits import Limits
from strategies.declaration import Bars, Bools, Signals, declare
from strategies.errors import StrategyError
from strategies.order_desk import OrderDesk
from strategies.parameters import Choice, Float, ParameterSpace


class _DeclaresSpace(MetaStrategy):  # type: ignore[misc]
    """Derives Backtrader's `params` from `space`, so that a parameter is declared once."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> "_DeclaresSpace":
        own = body.get("space", ParameterSpace())
        inherited = next((base.space for base in bases if hasattr(base, "space")), ParameterSpace())
        plain = dict(body.get("params", ()))
        space = inherited.with_defaults(plain).extended(own)
        body["space"] = space
        body["params"] = tuple({**own.defaults, **plain}.items())
        made: _DeclaresSpace = super().__new__(cls, name, bases, body)
        return made


_DRIVEN = ("next", "prenext", "nextstart", "_step", "_follow", "_trail", "decide", "decide_all")
"""The methods through which a declaration drives a strategy; whoever overrides one of them decides by itself."""


class BaseStrategy(bt.Strategy, metaclass=_DeclaresSpace):  # type: ignore[misc]
    """A strategy that declares its parameters, decides symbol by symbol at the close, and trades at the next open.

    Parameters:
        target_fraction: Part of equity that is invested when every symbol is; a symbol gets an equal share of it.
            0.95 leaves 5 % for commission and for an open above the close.
        cash_reserve: Part of the free cash that a single buy leaves untouched, for the same reason.
        max_position_size: Largest position the strategy asks for, as a fraction of equity when it decides.
        max_concentration: Largest part of equity in one symbol, as a fraction. Enforced by risk on every order, those
            a subclass sends by itself included.
        max_gross_exposure: Sum of all positions' absolute values over equity; off unless given. Enforced by risk.
        max_daily_loss: Loss since the session's start, as a fraction of the equity at its start (0.02 is 2 %), after
            which risk closes everything until the next session; off unless given.
        max_drawdown: Fall from the highest equity, as a fraction, after which risk closes everything for good; off
            unless given.
        allow_short: Whether sell signals open short positions; otherwise they only close long ones. Enforced by risk.

    An experiment's own limits hold beside these; of each limit the stricter one counts.

    Declare parameters once, in `space`; their names become `self.p.<name>`, unknown names and bad values are refused.
    Then write two methods:

        class MyTrend(BaseStrategy):
            space = ParameterSpace({"period": Int(10, 100, default=50, valid=(1, 1000))})

            def indicators(self, data):
                return {"average": bt.ind.SMA(data.close, period=self.p.period)}

            def decide(self, data):
                if data.close[0] > self.ind[data].average[0]:
                    self.enter_long(data)
                else:
                    self.leave(data)

    `decide` is called at each bar of each symbol whose own indicators are ready: a symbol that is listed years after
    the others does not hold them up. A strategy that compares symbols overrides `decide_all` instead. Override `next`
    only for something else entirely; the helpers below are worked from it.

    Where the decisions of one symbol follow from its bars alone, declare them instead, as arrays (see `declaration`);
    the same declaration then runs here, in the compiled kernel of a study and live:

        @classmethod
        def signals(cls, bars, p):
            average = bars.compute(sma, bars.close, p.period)
            above, below = bars.close > average, bars.close < average
            return Signals(p.period - 1, long_entry=above, short_entry=below, long_exit=below, short_exit=above)

    A line `params = (("allow_short", True),)` in a subclass changes the default of an inherited parameter.

    Attributes:
        family: What the library files the strategy under.
        space: Every parameter with its range, those of the base included.
        remembers: Names of own attributes that live trading keeps over a restart, as JSON. What bars alone decide is
            not among them: a restarted strategy is warmed up.
        ind: What `indicators` returned for each data feed, by attribute: `self.ind[data].average[0]`.
        resting: Whether nothing is on its way and nothing is protected, so that only a bar of `wakes` matters.
    """

    family: ClassVar[str] = "custom"
    remembers: ClassVar[tuple[str, ...]] = ()
    space: ClassVar[ParameterSpace] = ParameterSpace(
        {
            "target_fraction": Float(0.1, 1.0, default=0.95, valid=(0.001, 10.0), tuned=False),
            "cash_reserve": Float(0.0, 0.5, default=0.05, valid=(0.0, 0.99), tuned=False),
            "max_position_size": Float(0.05, 1.0, default=1.0, valid=(0.0001, 10.0), tuned=False),
            "max_concentration": Float(0.05, 1.0, default=1.0, valid=(0.0001, 10.0), tuned=False),
            "max_gross_exposure": Float(0.1, 2.0, default=None, valid=(0.0001, 20.0), optional=True, tuned=False),
            "max_daily_loss": Float(0.005, 0.1, default=None, valid=(0.0001, 1.0), optional=True, tuned=False),
            "max_drawdown": Float(0.05, 0.5, default=None, valid=(0.0001, 1.0), optional=True, tuned=False),
            "allow_short": Choice(False, True, tuned=False),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        values = {name: getattr(self.p, name) for name in self.space.parameters}
        self.space.validate(values, owner=type(self).__name__)
        self.resting = False
        self._desk = OrderDesk(self, cash_reserve=self.p.cash_reserve)
        self._seen = dict.fromkeys(self.datas, 0)
        self.ind: dict[Any, SimpleNamespace] = {}
        self._warmup: dict[Any, int] = {}
        self._declared: dict[Any, Signals] = {}
        self._streamed: set[Any] = set()  # feeds whose bars come one at a time
        for data in self.datas:
            self._prepare(data)

    # ------------------------------------------------------------------ what a strategy writes

    def indicators(self, data: bt.feed.DataBase) -> Mapping[str, Any]:
        """Backtrader indicators of one symbol by name; they may read this symbol's lines only.

        Backtrader computes an expression over two feeds bar number by bar number, not day by day: where one symbol
        starts later it mixes days. Compare symbols in `decide_all`.
        """
        return {}

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401 (parameters by attribute)
        """Declare the decisions of one symbol: a pure function of its bars and the parameters.

        Args:
            bars: closed bars, oldest first.
            p: parameters by attribute.
        """
        raise NotImplementedError

    def decide(self, data: bt.feed.DataBase) -> None:
        """Look at one symbol's closed bar and say where to be; orders execute at later bars."""
        if data in self._declared:
            self._follow(data, self._declared[data], len(data) - 1)

    def decide_all(self, ready: Sequence[bt.feed.DataBase]) -> None:
        """Decide for every symbol that has a new bar and ready indicators, in the order of the experiment."""
        for data in ready:
            self.decide(data)

    def positions_at_most(self) -> int:
        """Among how many positions `target_fraction` is split: all symbols, unless a strategy holds fewer."""
        return len(self.datas)

    # ------------------------------------------------------------------ what a strategy says

    def enter_long(
        self,
        data: bt.feed.DataBase,
        *,
        weight: float | None = None,
        stop: float | None = None,
        take_profit: float | None = None,
    ) -> None:
        """Be long; nothing happens where the symbol is long or on its way.

        Args:
            data: the symbol.
            weight: fraction of equity; the symbol's equal share of `target_fraction` when not given.
            stop: price of a protective stop order, kept at the size of the position.
            take_profit: price of a limit order that takes the profit, kept likewise.
        """
        self._desk.enter(data, self._capped(weight), stop=stop, take_profit=take_profit)

    def enter_short(
        self,
        data: bt.feed.DataBase,
        *,
        weight: float | None = None,
        stop: float | None = None,
        take_profit: float | None = None,
    ) -> None:
        """Be short, or where `allow_short` is off only no longer long; arguments as of `enter_long`."""
        if self.p.allow_short:
            self._desk.enter(data, -self._capped(weight), stop=stop, take_profit=take_profit)
        elif self.side(data) > 0:
            self.leave(data)

    def leave(self, data: bt.feed.DataBase) -> None:
        """Be flat; an order that works towards a position is cancelled."""
        self._desk.leave(data)

    def protect(self, data: bt.feed.DataBase, price: float) -> None:
        """Put the protective stop of the symbol's position at a price, or move it there."""
        self._desk.protect(data, price)

    def stop_price(self, data: bt.feed.DataBase) -> float | None:
        """Where the protective stop of the symbol is; None without one."""
        return self._desk.stop_price(data)

    def side(self, data: bt.feed.DataBase) -> int:
        """1 long, -1 short, 0 flat: where the symbol is, or is on its way to."""
        return self._desk.side(data)

    def pending(self, data: bt.feed.DataBase) -> bool:
        """Whether the symbol is on its way to a position that is not there yet."""
        return self._desk.pending(data)

    @classmethod
    def limits_for(cls, params: Mapping[str, Any]) -> Limits:
        """The limits that these parameters mean.

        Raises:
            ParameterError: a parameter is unknown or its value is wrong.
        """
        plain = set(cls.params._getkeys()) - set(cls.space.parameters)  # a subclass's own, outside its space
        declared = {name: value for name, value in params.items() if name not in plain}
        values = cls.space.validate(declared, owner=cls.__name__)
        return Limits(
            max_position_fraction=values["max_concentration"],
            max_gross_exposure=values["max_gross_exposure"],
            max_daily_loss_fraction=values["max_daily_loss"],
            max_drawdown=values["max_drawdown"],
            allow_shorting=values["allow_short"],
        )

    def limits(self) -> Limits:
        """The limits that this strategy's parameters mean; they can only tighten an experiment's."""
        return self.limits_for({name: getattr(self.p, name) for name in self.space.parameters})

    # ------------------------------------------------------------------ over a restart

    def memory(self) -> dict[str, Any]:
        """What live trading keeps over a restart, as JSON: the attributes in `remembers`, and the orders' wishes.

        Raises:
            StrategyError: an attribute is not what JSON can hold.
        """
        own = {name: getattr(self, name) for name in self.remembers}
        for name, value in own.items():
            if not _is_json(value):
                raise StrategyError(f"{name}: {value!r} cannot be remembered, it is not what JSON can hold.")
        return {"own": own, "desk": self._desk.memory()}

    def recall(self, memory: Mapping[str, Any], working: Mapping[Any, Sequence[bt.Order]]) -> None:
        """Go on from an earlier `memory`, once bars have warmed the strategy up.

        Args:
            memory: of the strategy before the restart; names that it no longer remembers are left out.
            working: by data feed, the strategy's orders that still work at the broker.
        """
        for name, value in memory["own"].items():
            if name in self.remembers:
                setattr(self, name, value)
        nothing = {"wish": None, "side": None, "stop": None, "take_profit": None}
        for data in self.datas:
            self._desk.recall(data, memory["desk"].get(data._name, nothing), working.get(data, ()))

    # ------------------------------------------------------------------ what the engine asks

    def warmup(self, data: bt.feed.DataBase) -> int:
        """How many bars of a symbol there must be before the strategy decides about it."""
        return self._warmup[data]

    def wakes(self) -> Bools | None:
        """At which bars of the run a declared strategy may act while it rests; None where every bar may matter.

        The first bar that may decide about a symbol is among them: there the broker is first asked about the symbol,
        and in this order it adds up positions and closes them.
        """
        if len(self._declared) < len(self.datas) or not is_declared(type(self)):
            return None
        stamps = [np.array(data.lines.datetime.array[: data.buflen()]) for data in self.datas]
        times = np.unique(np.concatenate(stamps))
        awake = np.zeros(len(times), dtype=np.bool_)
        for data, own in zip(self.datas, stamps, strict=True):
            awake[np.searchsorted(times, own)] |= _acts(self._declared[data])
        return awake

    # ------------------------------------------------------------------ what Backtrader calls

    def prenext(self) -> None:
        """Some symbol is not ready yet; the others trade."""
        self._step()

    def next(self) -> None:
        """Every symbol has been ready once."""
        self._step()

    def notify_order(self, order: bt.Order) -> None:
        """Between bars, as in live trading, bring the stop into step with a fill at once.

        News that come together with a new bar, as all do in a backtest, wait for the decisions of that bar.
        """
        data = order.data
        if self._seen.get(data) == len(data):
            self._desk.on_order(data)

    # ------------------------------------------------------------------ inside

    def _prepare(self, data: bt.feed.DataBase) -> None:
        if _declares(type(self)):
            self.ind[data], self._warmup[data] = SimpleNamespace(), 1
            if data.buflen():
                self._declare(data, data.buflen())
            else:
                self._streamed.add(data)
            return
        made = self._lineiterators[self.IndType]
        others = list(made)
        lines = self.indicators(data)
        self.ind[data] = SimpleNamespace(**lines)
        self._warmup[data] = max((line._minperiod for line in lines.values()), default=1)
        if 0 < data.buflen() < self._warmup[data]:
            # the symbol has fewer bars than its indicators need; Backtrader breaks when it computes these at once
            made[:] = others

    def _declare(self, data: bt.feed.DataBase, count: int) -> None:
        """Compute the declaration on the symbol's first `count` bars.

        Once where all are loaded before the run, else again at every new bar.
        """
        signals = declare(type(self), _bars_of(data, count), self.p)
        self._declared[data] = signals
        self._warmup[data] = signals.ready + 1

    def _follow(self, data: bt.feed.DataBase, signals: Signals, at: int) -> None:
        """Do what the declaration says about one bar."""
        side, close = self.side(data), data.close[0]
        leaves = (side > 0 and signals.long_exit[at]) or (side < 0 and signals.short_exit[at])
        stop = None if signals.stop is None else float(signals.stop[at])
        profit = None if signals.take_profit is None else float(signals.take_profit[at])
        if leaves and signals.exits_first:
            self.leave(data)
        elif signals.long_entry[at]:
            self.enter_long(data, stop=_price(close, stop, -1), take_profit=_price(close, profit, 1))
        elif signals.short_entry[at]:
            self.enter_short(data, stop=_price(close, stop, 1), take_profit=_price(close, profit, -1))
        elif leaves:
            self.leave(data)
        if signals.trail is not None:
            self._trail(data, close, float(signals.trail[at]))

    def _trail(self, data: bt.feed.DataBase, close: float, distance: float) -> None:
        side, stop = self.side(data), self.stop_price(data)
        if side and stop is not None and side * (close - side * distance - stop) > 0:
            self.protect(data, close - side * distance)

    def _step(self) -> None:
        seen = self._seen
        fresh = []
        for data in self.datas:
            bars = len(data)
            if bars > seen[data]:
                seen[data] = bars
                fresh.append(data)
                if data in self._streamed:
                    self._declare(data, bars)
                self._desk.settle(data)
        ready = [data for data in fresh if seen[data] >= self._warmup[data] and math.isfinite(data.close[0])]
        if ready:
            self.decide_all(ready)
        for data in fresh:
            self._desk.end_bar(data)
        self.resting = self._desk.resting

    def _capped(self, weight: float | None) -> float:
        wanted = self.p.target_fraction / self.positions_at_most() if weight is None else weight
        return float(min(wanted, self.p.max_position_size, self.p.max_concentration))


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(_is_json(item) for item in value)
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


def is_declared(cls: type[bt.Strategy]) -> bool:
    """Whether a strategy declares its decisions, and nothing but the declaration decides."""
    return _declares(cls) and all(getattr(cls, name) is getattr(BaseStrategy, name) for name in _DRIVEN)


def _declares(cls: type[bt.Strategy]) -> bool:
    return issubclass(cls, BaseStrategy) and cls.signals.__func__ is not BaseStrategy.signals.__func__  # type: ignore[attr-defined]


def _bars_of(data: bt.feed.DataBase, count: int) -> Bars:
    """The first `count` bars of a feed."""
    columns = {
        name: np.array(getattr(data.lines, name).array[:count], dtype=np.float64)
        for name in ("open", "high", "low", "close", "volume")
    }
    return Bars(data._name, **columns)


def _acts(signals: Signals) -> Bools:
    acts: Bools = signals.long_entry | signals.short_entry | signals.long_exit | signals.short_exit
    acts[max(signals.ready, 0) : max(signals.ready, 0) + 1] = True
    return acts


def _price(close: float, distance: float | None, direction: int) -> float | None:
    return None if distance is None else close + direction * distance
