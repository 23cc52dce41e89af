"""The broker of a backtest, sparing what nobody sees.

Belongs here: leaving out bars at which nothing can happen, and shorter ways to the same records. Does not belong here:
what happens to an order (see `research.simulated_broker`, which remains the reference for every step), how quiet
stretches are found (see `quiet`).

On Backtrader's own loop it does at every bar what its base does. On the fast loop it is asked at a bar only when an
order, money or a limit could do something there: values are worked out when they are read.
"""

import math
from collections.abc import Mapping, Sequence, Sized
from datetime import date
from typing import Any, Final

import backtrader as bt
import numpy as np
from backtrader.order import Order
from backtrader.position import Position

from broker.costs import CostModel
from research.clock import Clock
from research.delay import Delay
from research.engine.matching import MatchingBroker
from research.engine.native import compiled
from research.engine.orders import ALIVE, TRAILING, book
from research.engine.quiet import QuietBars
from research.feed import SymbolBars
from research.memory import give_back
from research.recorder import EndedOrder
from research.simulated_broker import Commissions, SimulatedBroker, split
from risk.guard import RiskGuard
from risk.states import HaltState

_AMPLE: Final = 1.0  # money
_ROUNDING: Final = 1e-9  # of the money that moves; a few additions lose less than a millionth of it
_WAITING: Final = frozenset({Order.Limit, Order.Stop, Order.StopLimit, Order.StopTrail, Order.StopTrailLimit})
_Prices = tuple[float, float, float, float, float]  # time (day number), open, high, low, close
_Part = tuple[float, float, float]
_Column = Sequence[float]
_Columns = tuple[list[int] | None, _Column, _Column, _Column, _Column, _Column]  # bar of the symbol at each, prices


class _LeanCommissions(Commissions):
    """Commissions of the session that the run has reached, which nobody tells it."""

    broker: "LeanBroker"

    @property
    def session(self) -> date:
        """As the base has it: the first session of a run counts as the earliest day there is."""
        return self.broker.session_for_fees()

    @session.setter
    def session(self, session: date) -> None:
        """The base keeps a session; here it follows from the bar."""


class LeanBroker(SimulatedBroker, MatchingBroker):
    """`SimulatedBroker` with the same records sooner.

    Attributes:
        stale: set by the fast loop at a bar where `next` was left out.
    """

    stale = False

    def __init__(
        self,
        *,
        starting_cash: float,
        costs: CostModel,
        guard: RiskGuard,
        clock: Clock,
        bars: Mapping[str, SymbolBars],
        delay: Delay | None = None,
    ) -> None:
        self._step = [-1]
        super().__init__(starting_cash=starting_cash, costs=costs, guard=guard, clock=clock, delay=delay)
        self._quiet = QuietBars(clock, guard, bars)
        self._follows = False
        self._due = [0]
        self._ended: list[Order] = []
        self._bars = bars
        self._columns: dict[Any, _Columns] = {}

    def _make_commissions(self) -> Commissions:
        made = _LeanCommissions(self._charges)
        made.broker = self
        return made

    def session_for_fees(self) -> date:
        """The session whose fees an order would pay now."""
        clock, bar = self._clock, self._bar
        return date.min if bar < 0 or clock.days[bar] == clock.days[0] else clock.session(bar)

    # ---------------------------------------------------------------- the bar

    @property
    def _bar(self) -> int:
        return self._step[0]

    @_bar.setter
    def _bar(self, bar: int) -> None:
        self._step[0] = bar

    def lazy(self) -> str | None:
        """Why no bar may be left out; None: any may."""
        return None

    def work(self) -> Sequence[Sized]:
        """What must all be empty for a bar to be left out."""
        return self.submitted, self.pending, self._toactivate, self.notifs, self._cash_addition

    def watch(self, step: list[int]) -> list[int]:
        """Follow the clock of the fast loop.

        Returns:
            The first bar at which `next` must be called even if there is no work; kept up to date.
        """
        self._step, self._follows, self.native = step, True, compiled()
        give_back(len(self._clock))  # loading, declaring and computing took more than their lines
        return self._due

    def count_bars(self) -> None:
        """Count bars from here on instead of following the fast loop's clock."""
        if self._follows:
            self._bring_up_to_date()
            self._step, self._follows = [self._bar], False

    def end_of_bars(self) -> None:
        """As the base has it; the columns of prices are let go."""
        super().end_of_bars()
        self._columns.clear()

    def next(self) -> None:
        """One bar; see `SimulatedBroker.next`."""
        if not self._follows:
            super().next()
            return
        self._put_away()
        bar, quiet = self._step[0], self._quiet
        if quiet.marks:
            quiet.end(bar)
        if self._clock.days_passed[bar] and self.bears_interest():
            self._book_interest(bar)
        while self._toactivate:
            self._toactivate.popleft().activate()
        if self.submitted:
            self.check_submitted()
        if self.pending:
            self._work_orders()
        self.stale = True
        if self._cash_addition:
            self._bring_up_to_date()
        if quiet.marks or self._halt is not HaltState.ACTIVE or not math.isfinite(self.cash):
            self._bring_up_to_date()
            halt = self._guard.mark_equity(self._value, self._clock.time(bar))
            if halt is not HaltState.ACTIVE or self._halt is not HaltState.ACTIVE:
                self._enforce(halt)
        restless = self.pending or self.notifs or self._halt is not HaltState.ACTIVE
        self._due[0] = bar + 1 if restless else quiet.begin(self, bar)

    def invested(self) -> bool:
        """Whether there is any position."""
        return bool(self._trade_profit)

    def bears_interest(self) -> bool:
        """Whether a session's start may book interest: on shorts, on debit, on credit where that earns any."""
        if not self._trade_profit:
            return self._earns or not self.cash >= 0
        return self._earns or not self.cash >= 0 or any(position.size < 0 for position in self.positions.values())

    # ---------------------------------------------------------------- orders

    def _tell(self, order: Order) -> None:
        self.notifs.append(self._as_now(order))
        if self._follows and not order.alive():
            self._ended.append(order)

    def _put_away(self) -> None:
        """Let go of the orders that ended before this bar."""
        for order in self._ended:
            record = self._records.get(order.ref)
            if record is not None:
                record.order = EndedOrder(1 if order.isbuy() else -1, order.status)
        self._ended.clear()

    def _book(  # noqa: PLR0917 (as the base's)
        self, order: Order, size: float, price: float, closed: _Part, opened: _Part, profit: float, position: Position
    ) -> None:
        book(
            order, now=order.data.datetime[0], size=size, price=price, closed=closed, opened=opened, margin=None,
            pnl=profit, position=(position.size, position.price),
        )  # fmt: skip

    def check_submitted(self) -> None:
        """See Backtrader; where the cash is ample for all of them, nobody reckons how much each one leaves."""
        if not self._affords_all():
            super().check_submitted()
            return
        while self.submitted:
            order = self.submitted.popleft()
            if self._take_children(order) is not None:
                self.submit_accept(order)

    def _affords_all(self) -> bool:
        """Whether every submitted order leaves cash, even if each pays the most there is to pay."""
        cash, turnover, sizes = self.cash, 0.0, dict[Any, float]()
        for order in self.submitted:
            if order.parent is not None and order.parent.ref not in self._pchildren:
                return False
            data, size, price = order.data, order.executed.remsize, order.created.price
            held = sizes[data] if data in sizes else self.positions[data].size
            closed, opened = split(held, size)
            sizes[data] = held + size
            cash -= closed * price + opened * price + self._charges.at_most(abs(size), price)
            turnover += abs(size * price)
            if not cash >= _AMPLE + (abs(self.cash) + turnover) * _ROUNDING:
                return False
        return True

    def _work_orders(self) -> None:
        """Give every pending order one chance on this bar; those that cannot but wait keep their place."""
        if not self._follows:
            super()._work_orders()
            return
        pending, records, bar = self.pending, self._records, self._bar
        now = self._clock.numbers[bar]
        today: dict[Any, _Prices] = {}
        pending.append(None)
        while (order := pending.popleft()) is not None:
            record, data = records.get(order.ref), order.data
            if record is not None and order.exectype in _WAITING and order.status in ALIVE and not order.triggered:
                prices = today.get(data)
                if prices is None:
                    prices = today[data] = self._prices(data, bar)
                if _waits(order, record.newest_bar, now, prices):
                    pending.append(order)
                    continue
            self._work_order(order)

    def _try_exec(self, order: Order) -> None:
        """As the base and Backtrader do, with prices that are read once."""
        record = self._records.get(order.ref)
        if record is None or not self._follows:
            super()._try_exec(order)
            return
        time, open_, high, low, close = self._prices(order.data, self._bar)
        if time != self._clock.numbers[self._bar] or not time > record.newest_bar:
            return
        kind, created = order.exectype, order.created
        if kind == Order.Market:
            self._trade(order, open_)
        elif kind == Order.Limit:
            self._try_exec_limit(order, open_, high, low, created.price)
        elif kind in {Order.Stop, Order.StopTrail}:
            self._try_exec_stop(order, open_, high, low, created.price, close)
        else:
            super()._try_exec(order)

    def _prices(self, data: bt.feed.DataBase, bar: int) -> _Prices:
        """A symbol's newest prices at a bar of the run."""
        columns = self._columns.get(data)
        if columns is None:
            columns = self._columns[data] = self._columns_of(data)
        positions, times, opens, highs, lows, closes = columns
        at = bar if positions is None else positions[bar]
        return times[at], opens[at], highs[at], lows[at], closes[at]

    def _columns_of(self, data: bt.feed.DataBase) -> _Columns:
        lines, times = data.lines, self._bars[data._name].ts
        shared = len(times) == len(self._clock)
        positions = None if shared else (np.searchsorted(times, self._clock.ts, side="right") - 1).tolist()
        arrays = [line.array for line in (lines.datetime, lines.open, lines.high, lines.low, lines.close)]
        return positions, *arrays

    # ---------------------------------------------------------------- values, when they are read

    def _bring_up_to_date(self) -> None:
        """Work the values out as they were to be at the present bar."""
        self.stale = False
        if self._stale_value or self._cash_addition or self._trade_profit:
            self._get_value()
            self._stale_value = False

    def get_value(self, datas: list[Any] | None = None, mkt: bool = False, lever: bool = False) -> float:
        """See Backtrader."""
        if self.stale:
            self._bring_up_to_date()
        value: float = super().get_value(datas=datas, mkt=mkt, lever=lever)
        return value

    getvalue = get_value

    def get_value_lever(self, datas: list[Any] | None = None, mkt: bool = False) -> float:
        """See Backtrader."""
        return self.get_value(datas=datas, mkt=mkt)

    def get_leverage(self) -> float:
        """See Backtrader."""
        if self.stale:
            self._bring_up_to_date()
        leverage: float = super().get_leverage()
        return leverage

    def get_fundvalue(self) -> float:
        """See Backtrader."""
        if self.stale:
            self._bring_up_to_date()
        value: float = super().get_fundvalue()
        return value

    fundvalue = property(get_fundvalue)

    def get_fundshares(self) -> float:
        """See Backtrader."""
        if self.stale:
            self._bring_up_to_date()
        shares: float = super().get_fundshares()
        return shares

    fundshares = property(get_fundshares)

    def add_cash(self, cash: float) -> None:
        """See Backtrader; the fund's shares are counted by its value at this bar."""
        if self.stale:
            self._bring_up_to_date()
        super().add_cash(cash)


def _waits(order: Order, newest_bar: float, now: float, prices: _Prices) -> bool:
    """Whether nothing can become of an order with a price at this bar; a trailing stop that waits is moved.

    Args:
        order: a limit or stop order, alive, not triggered.
        newest_bar: the newest bar known when it was submitted, a day number like `now`.
        now: time of the bar.
        prices: the newest ones of its symbol.
    """
    time, open_, high, low, close = prices
    if order.valid and time > order.valid:
        return False
    if not order._active or time != now or not time > newest_bar:
        return True
    price, buys = order.created.price, order.ordtype == Order.Buy
    if (order.exectype == Order.Limit) is buys:  # waits for prices to fall to it, or below
        waits: bool = price < low and price < open_
    else:
        waits = price > high and price > open_
    if waits and order.exectype in TRAILING:
        order.trailadjust(close)
    return waits
