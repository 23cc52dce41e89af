"""Backtrader's broker, guarded by risk and charged with costs.

Belongs here: the way of an order from submission to its fill in a backtest. Does not belong here: which limits exist
(see `risk`), what a fill costs (see `broker.costs`), tables of the result (see `run_tables`).

Prices at which orders execute, the cash check at submission, brackets, OCO groups and expiry are Backtrader's own.
What differs, on purpose:

- Every order passes `RiskGuard.review` when it is submitted, whoever submits it and however. A refused order is
  Rejected, a shrunk one is made smaller (its bracket children too), and an order that was never reviewed, or grew
  after its review, is rejected when it would execute.
- An order executes only on a bar newer than the newest bar known when it was submitted, and only on a bar of its own
  symbol. Backtrader asks that of market orders only: a limit order from a cheating timer, or on a symbol that does
  not trade that day, would fill on a bar already seen.
- Quantity is bounded by a share of the bar's volume, the rest is carried over; the price of orders that take
  liquidity slips inside the bar's range; commission is charged an order and session, so that its minimum is paid
  once however many pieces the order is filled in.
- A protective child of a bracket never opens a position, which partial fills of both children could.
- A market-on-close order fills on the session's closing bar by the exchange calendar, not one bar later.
- Interest for short positions, debit and credit cash is booked at the first bar of each session.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import backtrader as bt
from backtrader.order import Order
from backtrader.position import Position

from broker.costs import CostModel
from broker.costs.millionths import Millionths, dollars
from research.clock import Clock
from research.delay import Delay
from research.errors import ResearchError
from research.recorder import FillRecord, OrderRecord, Recorder
from risk.decision import Holding, OrderRequest, Portfolio, Verdict, WorkingOrder
from risk.enforcement import must_cancel
from risk.guard import RiskGuard
from risk.states import HaltState

_KINDS = {
    Order.Market: "market",
    Order.Close: "close",
    Order.Limit: "limit",
    Order.Stop: "stop",
    Order.StopLimit: "stop_limit",
    Order.StopTrail: "trail",
    Order.StopTrailLimit: "trail_limit",
    Order.Historical: "historical",
}
_TAKES_LIQUIDITY = frozenset({Order.Market, Order.Close, Order.Stop, Order.StopTrail})


_NEVER = datetime.min.replace(tzinfo=UTC)
_NOTHING_PAID = (date.min, 0.0, 0.0, 0)
_BY_GUARD = object()  # marks the orders with which the broker itself closes positions


@dataclass(slots=True)
class _Execution:
    """One execution split into the part that closes and the part that opens; sizes are signed like the order.

    Fees are whole millionths of a dollar.
    """

    price: float
    closed: float
    opened: float
    average: float  # the position's average price before
    profit: float  # realised by `closed`, before fees
    closed_fee: int
    opened_fee: int

    @property
    def size(self) -> float:
        return self.closed + self.opened

    @property
    def fee(self) -> float:
        return dollars(self.closed_fee + self.opened_fee)


_Part = tuple[float, float, float]  # of an execution, what closes or what opens: quantity, value, commission
_Paid = tuple[date, float, float, int]  # what an order did in a session: quantity, value, millionths charged


class Commissions(bt.CommInfoBase):  # type: ignore[misc]
    """Stock-like, unleveraged; Backtrader asks it for the cash an order would need, fills are charged by the broker."""

    def __init__(self, charges: Millionths) -> None:
        super().__init__()
        self.charges = charges
        self.session = date.min

    def _getcommission(self, size: float, price: float, pseudoexec: bool) -> float:
        return dollars(self.charges.charge(size, price, self.session))


class SimulatedBroker(bt.brokers.BackBroker):  # type: ignore[misc]
    """The broker of one backtest; `start` is called once by Cerebro. `recorder` holds what happened."""

    def __init__(
        self, *, starting_cash: float, costs: CostModel, guard: RiskGuard, clock: Clock, delay: Delay | None = None
    ) -> None:
        super().__init__()
        self._delay = delay
        self._costs = costs
        self._guard = guard
        self._clock = clock
        self._charges = Millionths(costs)
        self._commissions = self._make_commissions()
        self._earns = costs.financing.cash_rate != 0
        self._running = False
        super().set_cash(starting_cash)
        self.recorder = Recorder(cash=[(-1, starting_cash)])
        self._records: dict[int, OrderRecord] = {}  # by Backtrader's order reference
        self._live: dict[int, OrderRecord] = {}  # the same, orders that may still execute
        self._bar = -1
        self._stale_value = False
        self._halt = HaltState.ACTIVE
        self._taken: dict[Any, tuple[int, float]] = {}  # data -> bar, volume already taken from it
        self._order_fees: dict[int, _Paid] = {}  # by Backtrader's order reference
        self._month_shares: dict[tuple[int, int], float] = defaultdict(float)
        self._moment: tuple[int, datetime, date] = (-1, _NEVER, date.min)  # bar, its time and session
        self._trade_profit: dict[Any, float] = {}  # of open trades, before the exit

    def _make_commissions(self) -> Commissions:
        return Commissions(self._charges)

    # ---------------------------------------------------------------- the bar

    def start(self) -> None:
        """Begin the run (called by Cerebro)."""
        super().start()
        self._running = True

    def end_of_bars(self) -> None:
        """After the last bar: nothing submitted from here on can execute, so it is rejected."""
        self._running = False

    @property
    def bars_done(self) -> int:
        """Bars of the clock that the run has seen."""
        return self._bar + 1

    def next(self) -> None:
        """One bar: interest, executions, valuation, risk limits. Called by Cerebro before the strategy's `next`."""
        self._bar = bar = self._bar + 1
        clock = self._clock
        if clock.days_passed[bar]:
            self._commissions.session = clock.sessions[bar]
            if self._trade_profit or self._earns or self.cash < 0:
                self._book_interest(bar)
        while self._toactivate:
            self._toactivate.popleft().activate()
        if self.submitted:
            self.check_submitted()
        if self.pending:
            self._work_orders()
        if self._stale_value or self._cash_addition or self._trade_profit:
            self._get_value()
            self._stale_value = False
        halt = self._guard.mark_equity(self._value, clock.times[bar])
        if halt is not HaltState.ACTIVE or self._halt is not HaltState.ACTIVE:
            self._enforce(halt)

    def _work_orders(self) -> None:
        """Give every pending order one chance on this bar, as Backtrader does."""
        self.pending.append(None)
        while (order := self.pending.popleft()) is not None:
            self._work_order(order)

    def _work_order(self, order: Order) -> None:
        """Give one order, taken from the queue, its chance on this bar."""
        if order.expire():
            self.notify(order)
            self._ococheck(order)
            self._bracketize(order, cancel=True)
        elif not order.active():
            self.pending.append(order)
        else:
            self._try_exec(order)
            if order.alive():
                self.pending.append(order)
            elif order.status == Order.Completed:
                self._bracketize(order)

    def _book_interest(self, bar: int) -> None:
        """Charge and pay for the nights since the last session, on the closes before this bar."""
        shorts = 0.0
        if self._trade_profit:
            for data, position in self.positions.items():
                if position.size < 0:
                    shorts -= position.size * data.close[-1 if self._has_bar(data) else 0]
        interest = self._costs.financing.accrued(self.cash, shorts, self._clock.days_passed[bar])
        if interest:
            self.cash += interest
            self._stale_value = True
            self.recorder.financing.append((bar, interest))
            self.recorder.cash.append((bar, self.cash))

    def _present(self) -> tuple[int, datetime, date]:
        """The present bar, its time (aware UTC) and its session."""
        bar, clock = self._bar, self._clock
        if self._moment[0] != bar:
            self._moment = bar, clock.time(bar), clock.session(bar)
        return self._moment

    def _has_bar(self, data: bt.feed.DataBase) -> bool:
        """True when the symbol has a bar of its own at this moment."""
        return bool(len(data)) and data.datetime[0] == self._clock.numbers[self._bar]

    # ---------------------------------------------------------------- risk

    def submit(self, order: Order, check: bool = True) -> Order:
        """Review an order, then hand what is left of it to Backtrader. The one door for every order."""
        if order.ref not in self._records and not self._admit(order):
            order.reject(self)
            self.notify(order)
            return order
        return super().submit(order, check=True)

    def transmit(self, order: Order, check: bool = True) -> Order:
        """Accept an order that was reviewed; any other goes through `submit`."""
        if order.ref not in self._records:
            return self.submit(order)
        return super().transmit(order, check=True)

    def _admit(self, order: Order) -> bool:
        """Record and review an order; False when it must not go."""
        record = self._record(order)
        reason = self._unfit(order, record)
        if reason is None:
            decision = self._guard.review(self._request(order, record), self._portfolio())
            reason = None if decision.verdict is Verdict.ALLOW else decision.reason
            record.approved = 0.0 if decision.verdict is Verdict.REFUSE else decision.quantity
            record.protective = record.protective or decision.reduces_only
        else:
            record.approved = 0.0
        record.reason = record.reason or reason
        if not record.approved:
            return False
        if record.approved != record.requested:
            _resize(order, record.approved)
        self._live[order.ref] = record
        return True

    def _record(self, order: Order) -> OrderRecord:
        parent = self._records.get(order.parent.ref) if order.parent is not None else None
        priced = order.exectype not in (Order.Market, Order.Close)
        data = order.data
        record = OrderRecord(
            number=len(self.recorder.orders) + 1,
            parent=parent.number if parent else None,
            bar=self._bar,
            symbol=data._name,
            kind=_KINDS[order.exectype],
            requested=order.size,
            approved=order.size,
            price=order.created.price if priced else None,
            limit_price=order.created.pricelimit if order.exectype in (Order.StopLimit, Order.StopTrailLimit) else None,
            protective=(parent is not None and parent.requested * order.size < 0)
            or order.info.get("reduces_only", False) is True,
            newest_bar=data.datetime[0] if len(data) else math.inf,
            order=order,
            final_bar=self._bar,
            by_guard=order.info.get("by_guard", False) is _BY_GUARD,
        )
        if self._delay is not None:
            record.newest_bar = self._delay.newest(record.symbol, record.newest_bar)
        self._records[order.ref] = record
        self.recorder.orders.append(record)
        if parent is not None and abs(record.approved) > abs(parent.approved):
            # a child follows its parent: what the guard took from one it takes from the other
            record.requested = math.copysign(parent.approved, order.size)
            _resize(order, record.requested)
        return record

    def _unfit(self, order: Order, record: OrderRecord) -> str | None:
        """Why an order cannot even be reviewed, or None."""
        size, parent, reason = order.size, order.parent, None
        if not self._running or self._bar < 0:
            reason = "submitted outside the bars of the backtest"
        elif not len(order.data):
            reason = f"{record.symbol} has no bar yet"
        elif order.exectype == Order.Historical:
            reason = "an order that brings its own price is no order a broker takes"
        elif parent is not None and not self._leads(parent, order):
            reason = "its parent order is not working"
        elif not math.isfinite(size) or not size or (size > 0) != order.isbuy():
            reason = f"size {size!r} is no quantity"
        elif not order.created.price >= 0:
            reason = f"price {order.created.price!r} is no price of a share"
        elif not record.by_guard and self._closing(record.symbol):
            reason = "the risk guard is closing this position"
        return reason

    def _leads(self, parent: Order, child: Order) -> bool:
        return parent.ref in self._live and parent.data is child.data

    def _request(self, order: Order, record: OrderRecord) -> OrderRequest:
        return OrderRequest(
            symbol=record.symbol,
            quantity=record.requested,
            price=order.data.close[0],
            kind=record.kind,
            limit_price=record.price if record.kind == "limit" else record.limit_price,
            ts=self._present()[1],
            reduces_only=record.protective,
        )

    def _portfolio(self) -> Portfolio:
        """Money, positions and working orders as the strategy sees them at this bar's close."""
        holdings = {
            data._name: Holding(position.size, data.close[0])
            for data, position in self.positions.items()
            if position.size
        }
        working = [
            WorkingOrder(record.symbol, record.remaining, record.order.created.price, record.protective)
            for record in self._live.values()
        ]
        return Portfolio(self.cash, self.getvalue(), holdings, tuple(working))

    def _enforce(self, halt: HaltState) -> None:
        """Do what a halt state asks of working orders and positions."""
        if halt.severity >= HaltState.REDUCE_ONLY.severity and halt is not self._halt:
            self._cancel_working(halt)
        self._halt = halt
        if halt is HaltState.FLATTEN:
            self._flatten()

    def _cancel_working(self, halt: HaltState) -> None:
        for record in list(self._live.values()):
            held, protective = self.positions[record.order.data].size, record.protective
            if record.by_guard or not must_cancel(halt, held=held, remaining=record.remaining, protective=protective):
                continue
            record.reason = record.reason or f"risk state {halt}"
            if not self.cancel(record.order):
                self._drop(record.order, record.reason)

    def _flatten(self) -> None:
        """Send a market order for every position that has no closing order of the guard working yet."""
        for data, position in list(self.positions.items()):
            if position.size and not self._closing(data._name):
                send = self.sell if position.size > 0 else self.buy
                send(None, data, abs(position.size), exectype=Order.Market, by_guard=_BY_GUARD)

    def _closing(self, symbol: str) -> bool:
        for record in self._live.values():  # noqa: SIM110 (asked for every order, mostly of no others)
            if record.by_guard and record.symbol == symbol:
                return True
        return False

    # ---------------------------------------------------------------- execution

    def _try_exec(self, order: Order) -> None:
        record = self._records.get(order.ref)
        if record is None:
            self._reject_unreviewed(order)
        elif self._has_bar(order.data) and order.data.datetime[0] > record.newest_bar:
            super()._try_exec(order)

    def _try_exec_market(self, order: Order, popen: float, phigh: float, plow: float) -> None:
        self._trade(order, popen)

    def _try_exec_close(self, order: Order, pclose: float) -> None:
        if self._clock.closing[self._bar]:
            self._trade(order, pclose)

    def _slip_up(self, pmax: float, price: float, doslip: bool = True, lim: bool = False) -> float:
        return price

    def _slip_down(self, pmin: float, price: float, doslip: bool = True, lim: bool = False) -> float:
        return price

    def _execute(  # noqa: PLR0917 (Backtrader's signature)
        self,
        order: Order,
        ago: int | None = None,
        price: float | None = None,
        cash: float | None = None,
        position: Position = None,
        dtcoc: float | None = None,
    ) -> float | None:
        """Backtrader's two uses: the cash an order would leave (`ago` is None), and its execution at a price."""
        if ago is None:
            left: float = super()._execute(order, cash=cash, position=position)
            return left
        if price is not None:
            self._trade(order, price)
        return None

    def _trade(self, order: Order, price: float) -> None:
        """Execute as much of an order as this bar allows, at a price inside the bar."""
        record = self._records[order.ref]
        size = self._fillable(order, record)
        if not size:
            return
        wanted = self._execution(order, size, self._slipped(order, price, size))
        done, cash = self._affordable(wanted)
        if done.size:
            self.cash = cash
            self._settle_trade(order, record, done, slippage=abs(done.size) * abs(done.price - price))
        if done.opened != wanted.opened:
            record.reason = record.reason or "not enough cash at the price of the fill"
            order.margin()
            self.notify(order)
            self._ococheck(order)
            self._bracketize(order, cancel=True)

    def _execution(self, order: Order, size: float, price: float) -> _Execution:
        position = self.positions[order.data]
        closed, opened = split(position.size, size)
        closed_fee = self._fee(order, closed, price) if closed else 0
        opened_fee = self._fee(order, size, price) - closed_fee if opened else 0
        profit = -closed * (price - position.price)
        return _Execution(price, closed, opened, position.price, profit, closed_fee, opened_fee)

    def _affordable(self, wanted: _Execution) -> tuple[_Execution, float]:
        """The part that the cash pays for, and the cash after it; Backtrader's arithmetic in Backtrader's order.

        Closing is always paid for, even into debit; opening happens wholly or not at all.
        """
        cash = self.cash
        if wanted.closed:
            cash += -wanted.closed * wanted.average + wanted.profit
            cash -= dollars(wanted.closed_fee)
        if not wanted.opened:
            return wanted, cash
        left = cash - wanted.opened * wanted.price
        left -= dollars(wanted.opened_fee)
        if left < 0.0:
            return replace(wanted, opened=0.0, opened_fee=0), cash
        return wanted, left

    def _settle_trade(self, order: Order, record: OrderRecord, done: _Execution, *, slippage: float) -> None:
        """Book an execution: position, fees, records, and what the order and the strategy are told."""
        data, (bar, time, session), size, price = order.data, self._present(), done.size, done.price
        position = self.positions[data]
        position.update(size, price, time.replace(tzinfo=None))
        self._stale_value = True
        self._taken[data] = (bar, self._taken_from(data) + abs(size))
        self._charge(order.ref, session, abs(size), price, done.closed_fee + done.opened_fee)
        record.filled += size
        recorder = self.recorder
        recorder.fills.append(FillRecord(bar, record.symbol, size, price, done.fee, slippage, record.number))
        recorder.cash.append((bar, self.cash))
        recorder.positions.setdefault(record.symbol, []).append((bar, position.size, position.price))
        self._follow_trade(data, done)
        closed = done.closed, -done.closed * done.average, dollars(done.closed_fee)
        opened = done.opened, done.opened * price, dollars(done.opened_fee)
        self._book(order, size, price, closed, opened, done.profit, position)
        order.addcomminfo(self._commissions)
        self.notify(order)
        self._ococheck(order)

    def _book(  # noqa: PLR0917 (as Backtrader's `execute`)
        self, order: Order, size: float, price: float, closed: _Part, opened: _Part, profit: float, position: Position
    ) -> None:
        """Tell an order of its execution."""
        now = order.data.datetime[0]
        order.execute(now, size, price, *closed, *opened, None, profit, position.size, position.price)

    def _follow_trade(self, data: bt.feed.DataBase, done: _Execution) -> None:
        """Keep the running profit of the open trade; tell the guard when it ends."""
        profit = self._trade_profit.pop(data, 0.0) + done.profit - dollars(done.closed_fee)
        size = self.positions[data].size
        if done.closed and (done.opened or not size):
            self._guard.closed_trade(profit, self._present()[1])
            profit = 0.0
        if size:
            self._trade_profit[data] = profit - dollars(done.opened_fee)

    def _fillable(self, order: Order, record: OrderRecord) -> float:
        """Signed quantity that may execute on this bar; 0 when nothing may."""
        size = float(order.executed.remsize)
        if size * record.remaining <= 0 or abs(size) > abs(record.remaining) * (1 + 1e-9):
            self._reject_unreviewed(order)
            return 0.0
        if record.protective or record.by_guard:
            held = self.positions[order.data].size
            if held * size >= 0:
                self._drop(order, "the position it protects is closed")
                return 0.0
            size = math.copysign(min(abs(size), abs(held)), size)
        return math.copysign(min(abs(size), self._available(order.data)), size)

    def _available(self, data: bt.feed.DataBase) -> float:
        """Shares of this bar that are still to be had; without limit where the bar's volume is unknown."""
        volume = data.volume[0]
        if math.isnan(volume):
            return math.inf
        return max(0.0, self._costs.participation.shares(volume) - self._taken_from(data))

    def _taken_from(self, data: bt.feed.DataBase) -> float:
        bar, taken = self._taken.get(data, (-1, 0.0))
        return taken if bar == self._bar else 0.0

    def _slipped(self, order: Order, price: float, size: float) -> float:
        """The price after slippage, inside the bar; orders that wait at a limit do not slip."""
        if order.exectype not in _TAKES_LIQUIDITY:
            return price
        data = order.data
        high, low = data.high[0], data.low[0]
        slipped: float = self._costs.slippage.price(
            1 if size > 0 else -1, price, quantity=abs(size), bar_volume=data.volume[0], high=high, low=low
        )
        return float(min(max(slipped, low), high))

    def _fee(self, order: Order, size: float, price: float) -> int:
        """What executing `size` more adds to the order's commission of this session, millionths of a dollar."""
        session = self._present()[2]
        quantity, value, charged = self._paid(order.ref, session)
        quantity, value = quantity + abs(size), value + abs(size) * price
        traded = self._month_shares[session.year, session.month] - (quantity - abs(size))
        total = self._charges.charge(math.copysign(quantity, size), value / quantity, session, monthly_shares=traded)
        return max(total - charged, 0)

    def _charge(self, ref: int, session: date, shares: float, price: float, fee: int) -> None:
        quantity, value, charged = self._paid(ref, session)
        self._order_fees[ref] = session, quantity + shares, value + shares * price, charged + fee
        self._month_shares[session.year, session.month] += shares

    def _paid(self, ref: int, session: date) -> tuple[float, float, int]:
        """Shares, value and millionths charged of an order so far in a session; sessions only go forward."""
        last, quantity, value, charged = self._order_fees.get(ref, _NOTHING_PAID)
        return (quantity, value, charged) if last == session else (0.0, 0.0, 0)

    # ---------------------------------------------------------------- ends of orders

    def notify(self, order: Order) -> None:
        """Queue a change of an order for the strategy, and note when it was."""
        record = self._records.get(order.ref)
        if record is not None:
            record.final_bar = self._bar
            if not order.alive():
                self._live.pop(order.ref, None)
        self._tell(order)

    def _tell(self, order: Order) -> None:
        """Queue what an order is now, as Backtrader does."""
        super().notify(order)

    def cancel(self, order: Order, bracket: bool = False) -> bool:
        """Cancel a pending order; the orders with which the guard closes positions cannot be cancelled."""
        record = self._records.get(order.ref)
        if record is not None and record.by_guard:
            return False
        return bool(super().cancel(order, bracket))

    def _reject_unreviewed(self, order: Order) -> None:
        record = self._records.get(order.ref)
        if record is not None:
            record.reason = "its size was changed after the risk review"
        order.reject(self)
        self.notify(order)
        self._ococheck(order)

    def _drop(self, order: Order, reason: str) -> None:
        """Cancel an order that is not in the queue: being worked on at this moment, or held back by `transmit`."""
        self._records[order.ref].reason = reason
        order.cancel()
        self.notify(order)
        self._ococheck(order)
        self._bracketize(order, cancel=True)

    # ---------------------------------------------------------------- money

    def getcommissioninfo(self, data: bt.feed.DataBase) -> bt.CommInfoBase:
        """The experiment's commissions, the same for every symbol."""
        return self._commissions

    def _get_value(self, datas: list[bt.feed.DataBase] | None = None, lever: bool = False) -> float:
        while self._cash_addition:
            amount = self._cash_addition.popleft()
            self._fundshares += amount / self._fundval
            self.cash += amount
            self.recorder.deposits.append((self._bar, amount))
            self.recorder.cash.append((self._bar, self.cash))
        value: float = super()._get_value(datas=datas, lever=lever)
        return value


def split(held: float, size: float) -> tuple[float, float]:
    """How much of an execution closes and how much opens, both signed like `size`."""
    if held * size >= 0:
        return 0, size
    if abs(size) <= abs(held):
        return size, 0
    return -held, held + size


def _resize(order: Order, size: float) -> None:
    """Give a submitted order another signed size, everywhere Backtrader keeps it."""
    order.size = order.created.size = order.executed.remsize = size


def _sealed(setting: str) -> Callable[..., None]:
    """A broker setting that belongs to the experiment."""

    def refuse(self: SimulatedBroker, *arguments: object, **keywords: object) -> None:
        raise ResearchError(
            f"broker.{setting}: money, costs and fills belong to the experiment, a strategy cannot set them."
        )

    return refuse


for _setting in (
    "set_cash", "setcash", "setcommission", "addcommissioninfo", "set_coc", "set_coo", "set_filler", "set_eosbar",
    "seteosbar", "set_slippage_perc", "set_slippage_fixed", "set_checksubmit", "set_shortcash", "set_int2pnl",
    "set_fund_history", "add_order_history",
):  # fmt: skip
    setattr(SimulatedBroker, _setting, _sealed(_setting))
