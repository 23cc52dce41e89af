"""Backtrader's broker for an account at Interactive Brokers.

Belongs here: the one door for orders, the gate, halts, and what a strategy is told. Does not belong here: what is true
about orders (see `broker.orders`), which limits exist (see `risk`), the connection (see `broker.ib`).

As in a backtest every order passes `RiskGuard.review`, whoever submits it and however; it is shrunk or refused there,
a halt cancels and closes, and orders that only reduce never take a position through zero. What is different live:

- Orders are sent only while the gates are open (see `broker.live.gates`). Otherwise they are Rejected; `reasons` and
  `order.info.reason` say why, and the guard records it.
- An order is written down (`journal`) before it is sent and has a reference that is the same after a crash.
- Market orders, protective orders and complete brackets are sent at once. Any other order is sent when Cerebro comes
  round to the broker, because an order that names it in `oco` must share a group with it from the start.
- Protective orders of one position share a group at the broker in which a fill of one shrinks the others. What no group
  covers is trimmed to the position after every fill.
- A fill waits a moment for its commission, so that trades have their costs; where it does not come in time it is booked
  with an estimate and amended later.
- A cancellation is a wish: the order lives until the broker says that it does not.

Everything runs on Cerebro's thread. Run Cerebro with `quicknotify=True`, else a strategy hears of fills a bar late.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from queue import Empty
from typing import Any

import backtrader as bt
from backtrader.order import BuyOrder, Order, SellOrder
from backtrader.position import Position

from broker.costs import CostModel
from broker.errors import GatewayError, OrderTermsError, SealedSettingError
from broker.ib.mailbox import Mailbox
from broker.ib.messages import (
    AccountSnapshot,
    AccountValue,
    Event,
    Execution,
    OrderTicket,
    PortfolioItem,
)
from broker.ib.requests import Gateway
from broker.instrument import Instrument
from broker.live import tickets
from broker.live.booking import Booking, Commissions
from broker.live.dispatch import Dispatch
from broker.live.exits import Exits
from broker.live.fills import Fills
from broker.live.gates import Gates, Shut
from broker.live.inheritance import revived
from broker.live.news import News
from broker.live.orders import LiveOrder, Register
from broker.live.resync import Resync
from broker.live.traded import Traded
from broker.orders.book import OrderBook
from broker.orders.changes import (
    Change,
    CommissionBooked,
    FillBooked,
    FillCorrected,
    OrderWarned,
    PositionAdopted,
    Question,
    StateChanged,
    TermsConfirmed,
)
from broker.orders.states import OrderState
from broker.orders.tracked import TrackedOrder
from risk.decision import Decision, Holding, OrderRequest, Portfolio, Verdict, WorkingOrder
from risk.enforcement import must_cancel
from risk.guard import RiskGuard
from risk.states import HaltState

Reference = Callable[[datetime, int], str]
"""Makes an order's reference from the bar it was decided on (its close, aware UTC) and its number among those.

The same decision has to have the same reference after a crash, and no other decision ever.
"""

_NONE = Decimal()
_BY_GUARD = object()  # marks the orders with which the broker itself closes positions
_CLOSING_PAUSE = timedelta(seconds=10)  # for other orders to go before a position is closed, and between two tries
_RECONCILE_PAUSE = timedelta(minutes=5)  # between two looks at orders of others, of which IB says nothing by itself
_FOR_MONEY = ("margin", "insufficient", "equity with loan", "available funds", "buying power")
_TERMS = {
    name: name
    for name in ("price", "exectype", "valid", "tradeid", "oco", "trailamount", "trailpercent", "parent", "transmit")
} | {"plimit": "pricelimit"}
"""Terms of `bt.Strategy.buy` by what Backtrader's orders call them."""

_ENDS = {
    OrderState.CANCELLED: Order.Canceled,
    OrderState.EXPIRED: Order.Expired,
    OrderState.REJECTED: Order.Rejected,
}


def steady_clock() -> Callable[[], datetime]:
    """A clock that starts at the wall clock and is never set: waits are measured by it (aware UTC)."""
    start, began = datetime.now(UTC), time.monotonic()
    return lambda: start + timedelta(seconds=time.monotonic() - began)


class LiveBroker(bt.BrokerBase):  # type: ignore[misc]
    """The broker of one account for one Cerebro.

    Args:
        gateway: an open session.
        instruments: what each data feed trades, by the feed's name.
        guard: reviews every order.
        reference: makes the references of orders.
        book: the account's order book; a new one unless one was restored.
        journal: is given every change as it happens, an `OrderIntended` before its order is sent; must have stored it
            when it returns. What it raises ends the run, and the order is not sent.
        costs: estimates commissions that do not come in time.
        market_time: the market's time for risk and time stamps; the wall clock unless days are replayed.
        clock: measures waits; aware UTC that never runs backwards.
        commission_wait: how long a fill waits for its commission.
        market_open: whether the exchange trades at a moment (aware UTC), outside of which nothing opens or adds to a
            position; None where orders may wait for the next opening.

    Attributes:
        book: what is true at the broker.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        instruments: Mapping[str, Instrument],
        guard: RiskGuard,
        reference: Reference,
        book: OrderBook | None = None,
        journal: Callable[[Change], None] | None = None,
        costs: CostModel | None = None,
        market_time: Callable[[], datetime] | None = None,
        clock: Callable[[], datetime] | None = None,
        commission_wait: timedelta = timedelta(seconds=2),
        market_open: Callable[[datetime], bool] | None = None,
    ) -> None:
        super().__init__()
        self.book = book or OrderBook(gateway.account, gateway.client_id)
        self._gateway = gateway
        self._guard = guard
        self._reference = reference
        self._journal = journal
        self._costs = costs
        self._clock = clock or steady_clock()
        self._market_time = market_time or (lambda: datetime.now(UTC))
        self._news = News()
        self._register = Register(self.book)
        self._exits = Exits(self._register)
        self._traded = Traded(instruments, lambda: self.cerebro.datas)
        self._booking = Booking(self._traded.by_con_id, lambda profit: guard.closed_trade(profit, self._market_time()))
        self._gates = Gates(
            gateway, self.book, self._traded, clock=self._clock, market_time=self._market_time, market_open=market_open
        )
        self._dispatch = Dispatch(gateway, self._register, self._news, self._clock, self._react)
        self._fills = Fills(
            self._register, self._booking, self._traded, self._news, self._exits,
            first_strategy=lambda: self.cerebro.runningstrats[0], estimate=self._estimate, wait=commission_wait,
        )  # fmt: skip
        self._resync: Resync | None = None
        self._events: Mailbox[Event] | None = None
        self._values: dict[tuple[str, str], AccountValue] = {}
        self._close_after: dict[int, datetime] = {}  # by con_id: when closing it is tried, or tried again
        self._tried: set[int] = set()  # con_ids of positions that were to be closed at least once
        self._numbers: tuple[datetime, int] = (datetime.min.replace(tzinfo=UTC), 0)
        self._reconciled = self._clock()
        self.startingcash = math.nan

    @property
    def reasons(self) -> Mapping[int, str]:
        """Why orders were refused, shrunk or ended, by Backtrader's reference; also in `order.info.reason`."""
        return self._news.reasons

    # ---------------------------------------------------------------- what Backtrader calls

    def start(self) -> None:
        """Take in the account: money, positions, orders (called by Cerebro).

        Raises:
            GatewayError: the account's state was not told.
        """
        super().start()
        self._events = self._gateway.listen()
        try:
            snapshot = self._gateway.synchronize()
        except GatewayError:
            self._gateway.forget(self._events)
            raise
        costs = {told.contract.con_id: told.average_cost for told in snapshot.positions}
        for con_id, quantity in self.book.positions().items():
            self._fills.inherit(con_id, quantity, costs.get(con_id, _NONE))
        self._hear(snapshot)
        self.startingcash = self.getcash()
        self._resync = Resync(self._gateway).start()

    def stop(self) -> None:
        """End (called by Cerebro); orders at the broker stay."""
        if self._events is not None:
            self._gateway.forget(self._events)
            self._events = None
        if self._resync is not None:
            self._resync.stop()
            self._resync = None
        super().stop()

    def next(self) -> None:
        """Take in what was heard, send what waits, watch over risk (called by Cerebro at every round)."""
        self._hear_all()
        now = self._clock()
        self._react(self.book.due(now))
        self._reconcile(now)
        for live in self._fills.book_overdue(now):
            self._end(live)
        self._dispatch.send_resting()
        self._dispatch.cancel_again()
        self._dispatch.send_again(self._shut, self._refused_again)
        self._enforce()
        self._trim(now)
        self._fills.show_nobodys()
        self._register.drop_done()
        self._news.end_round()

    def get_notification(self) -> Order | None:
        """The next change of an order as the strategy has to hear it; None at the end of a round."""
        return self._news.take()

    def notify(self, order: Order) -> None:
        """Queue what an order is now."""
        self._news.tell(order)

    def getcash(self) -> float:
        """The account's own total cash; NaN while it is not known."""
        return self._figure("TotalCashBalance")

    def getvalue(self, datas: list[bt.feed.DataBase] | None = None) -> float:
        """The account's own net liquidation value, or the value of the positions of some feeds at their last price."""
        if datas is None:
            return self._figure("NetLiquidation")
        return sum(self._worth(data) for data in datas)

    get_cash, get_value = getcash, getvalue

    def getposition(self, data: bt.feed.DataBase) -> Position:
        """The position of a feed's contract, without what happened since Cerebro last came round."""
        return self._booking.position(self._traded.instrument(data).con_id)

    def getcommissioninfo(self, data: bt.feed.DataBase) -> Commissions:
        """What trades of a feed are valued with."""
        return self._booking.commissions(self._traded.instrument(data).con_id)

    def orderstatus(self, order: Order) -> int:
        """The order's status as last heard."""
        live = self._register.get(order)
        return int(order.status if live is None else live.order.status)

    def buy(self, owner: bt.Strategy | None, data: bt.feed.DataBase, size: float, **terms: object) -> Order:
        """Submit a buy; terms as of `bt.Strategy.buy`, any other is kept in `order.info`."""
        return self._make(BuyOrder, {"owner": owner, "data": data, "size": size}, terms)

    def sell(self, owner: bt.Strategy | None, data: bt.feed.DataBase, size: float, **terms: object) -> Order:
        """Submit a sale; terms as of `bt.Strategy.sell`, any other is kept in `order.info`."""
        return self._make(SellOrder, {"owner": owner, "data": data, "size": size}, terms)

    def _make(self, kind: type[Order], who: dict[str, Any], terms: dict[str, Any]) -> Order:
        known = {_TERMS[name]: value for name, value in terms.items() if name in _TERMS}
        order = kind(**who, **known)
        order.addinfo(**{name: value for name, value in terms.items() if name not in _TERMS})
        return self.submit(order)

    def distrust(self, symbol: str, reason: str) -> None:
        """Let no order open or add to a position of a symbol; `reason` says why, as in what is wrong with its bars."""
        self._gates.distrust(symbol, reason)

    def take_over(self, owner: bt.Strategy | None) -> dict[bt.feed.DataBase, tuple[Order, ...]]:
        """Make the orders of earlier runs that still work a strategy's own, by feed; each is made so once.

        For a strategy that goes on after a restart, once its feeds have bars. Orders of feeds without a bar are left as
        they are.
        """
        taken: dict[bt.feed.DataBase, list[Order]] = {}
        for tracked in self._register.foreign():
            data = self._traded.fed(tracked.contract.con_id)
            if tracked.ours and data is not None:
                live = revived(tracked, self._traded.instrument(data), data, owner)
                self._register.add(live)
                self._register.write(live, tracked.ticket.order_id)
                self._exits.inherit(live)
                live.order.submit(self)
                self._news.accept(live)
                taken.setdefault(data, []).append(live.order)
        return {data: tuple(orders) for data, orders in taken.items()}

    def take_in(self, snapshot: AccountSnapshot) -> None:
        """Take in the account's whole state as told after the run, so that the book and its journal are complete."""
        self._hear(snapshot)

    def end_day(self, close: datetime) -> tuple[str, ...]:
        """Ask to cancel the day orders that were decided before the exchange's close; called again until it is empty.

        What is decided on the day's last bar or later is meant for the next day, and stays.

        Args:
            close: of the day, aware UTC.

        Returns:
            References of the orders that still have to end, or whose state the broker has not told yet.
        """
        waiting = []
        for live in self._register.at_broker():
            tracked = self._register.tracked(live)
            decided: datetime = bt.num2date(live.order.created.dt)
            ends = tracked.ticket.tif == "DAY" and decided.replace(tzinfo=UTC) < close
            if ends:
                self._dispatch.cancel(live, "the exchange's day is over")
            if ends or tracked.state is not OrderState.WORKING:
                waiting.append(live.order_ref)
        return tuple(waiting)

    # ---------------------------------------------------------------- the one door

    def submit(self, order: Order) -> Order:
        """Review an order and send it, or refuse it. The one door for every order; none goes through it twice."""
        if self._register.get(order) is not None:
            return order
        try:
            live = self._taken_up(order)
        except OrderTermsError as wrong:
            self._refuse(order, str(wrong))
            return order
        reason = self._unfit(live) or self._admitted(live) or self._reviewed(live)
        if reason is None:
            order.submit(self)
            self.notify(order)
            self._dispatch.take(live)
        else:
            self._refuse(order, reason)
        return order

    def _taken_up(self, order: Order) -> LiveOrder:
        instrument = self._traded.instrument(order.data)
        parent = self._register.get(order.parent)
        protective = parent is not None and parent.sign != (1 if order.isbuy() else -1)
        live = LiveOrder(
            order=order,
            instrument=instrument,
            parent=parent,
            quantity=instrument.size(order.size) if math.isfinite(order.size) else _NONE,
            capped=protective or order.info.get("reduces_only", False) is True,
            by_guard=order.info.get("by_guard", False) is _BY_GUARD,
            kind=tickets.KINDS[order.exectype],
            draft=tickets.drafted(order, instrument, self._next_reference(order)),
        )
        self._register.add(live)
        if parent is not None and parent.quantity < live.quantity:
            live.quantity = parent.quantity  # what risk took from a parent it takes from its children
        if live.quantity:
            live.resize(live.quantity)
        return live

    def _unfit(self, live: LiveOrder) -> str | None:
        """Why an order cannot even be reviewed, or None."""
        order, reason = live.order, None
        if self._events is None:
            reason = "the broker is not started"
        elif not live.quantity:
            reason = f"size {order.size!r} is less than the smallest quantity that can be traded"
        elif order.parent is not None and not self._leads(live.parent):
            reason = "its parent order is not working"
        elif not live.by_guard and self._closing(live.con_id):
            reason = "the risk guard is closing this position"
        else:
            reason = self._wrong_group(order.oco)
        return reason

    def _wrong_group(self, oco: Order | None) -> str | None:
        """Why an order cannot be tied to the one that it names."""
        if oco is None:
            return None
        leader = self._register.get(oco)
        if leader is None or not leader.order.alive():
            return "the order that it names in oco is not working"
        if leader.written and not leader.oca_group:
            return "the order that it names in oco was sent before and cannot join a group any more"
        return None

    def _leads(self, parent: LiveOrder | None) -> bool:
        return parent is not None and parent.order.alive()

    def _shut(self, live: LiveOrder) -> str | None:
        """Why a gate is shut, or None while all are open."""
        shut = self._gates.shut(live)
        return None if shut is None else shut.reason

    def _admitted(self, live: LiveOrder) -> str | None:
        """Why a gate is shut for a new order, which the guard records; None while all are open."""
        shut: Shut | None = self._gates.shut(live)
        if shut is None:
            return None
        if not live.by_guard:  # which tries again until it may
            self._guard.refuse(self._request(live, live.quantity, live.limit), shut.gate, shut.reason)
        return shut.reason

    def _reviewed(self, live: LiveOrder) -> str | None:
        """Let risk decide; why nothing may go, or None. What may go is set on the order."""
        decision = self._decision(live, live.quantity, live.limit)
        if decision.verdict is Verdict.REFUSE:
            return decision.reason
        if decision.verdict is Verdict.SHRINK:
            self._news.explain(live.order, decision.reason)
            live.quantity = live.instrument.size(decision.quantity)
        live.capped = live.capped or decision.reduces_only
        if live.capped and live.parent is None:
            self._exits.admit(live)
        if not live.quantity:
            return "nothing is left to reduce: other orders close the position, or there is none"
        live.resize(live.quantity)
        return None

    def _refused_again(self, live: LiveOrder) -> str | None:
        """Why risk lets an order not go a second time; much may have happened since the first."""
        decision = self._decision(live, live.quantity, live.limit)
        return None if decision.verdict is Verdict.ALLOW else decision.reason

    def _decision(self, live: LiveOrder, quantity: Decimal, limit: float | None) -> Decision:
        """What risk says about a quantity of an order, which is not counted among those that work."""
        return self._guard.review(self._request(live, quantity, limit), self._portfolio(live))

    def _request(self, live: LiveOrder, quantity: Decimal, limit: float | None) -> OrderRequest:
        return OrderRequest(
            symbol=self._traded.name(live.con_id),
            quantity=live.sign * float(quantity),
            price=live.order.data.close[0],
            kind=live.kind,
            limit_price=limit,
            ts=self._market_time(),
            reduces_only=live.capped,
        )

    def _refuse(self, order: Order, reason: str) -> None:
        """Reject an order, and with it the bracket that waits for it."""
        leader = self._register.get(order if order.parent is None else order.parent)
        for other in () if leader is None else self._dispatch.drop_bracket(leader):
            self._news.reject(other.order, f"another order of its bracket was refused: {reason}")
        self._news.reject(order, reason)

    def _next_reference(self, order: Order) -> str:
        """An order's reference: by the bar it was decided on and its number among those of the bar."""
        bar: datetime = order.data.datetime.datetime(0).replace(tzinfo=UTC)
        last, number = self._numbers
        number = number + 1 if bar == last else 0
        self._numbers = bar, number
        return self._reference(bar, number)

    # ---------------------------------------------------------------- cancelling and changing

    def cancel(self, order: Order, bracket: bool = False) -> bool:
        """Ask to cancel an order; False where there is nothing to cancel or a strategy may not.

        The order lives, and may fill, until the broker confirms. What protects a position stays while a gate is shut:
        no other order could close the position in its place.
        """
        live = self._register.get(order)
        if live is None or live.by_guard or not live.order.alive():
            return False
        shut = self._shut(live) if live.capped and self.book.position(live.con_id) else None
        if shut is not None:
            self._news.explain(order, f"it was not cancelled, it protects a position and {shut}")
            return False
        self._dispatch.cancel(live, "cancelled by the strategy")
        return True

    def modify(
        self, order: Order, *, size: float | None = None, price: float | None = None, plimit: float | None = None
    ) -> bool:
        """Ask for another quantity (without sign) or other prices of a working order, reviewed by risk like a new one.

        The order keeps its terms until the broker confirms the new ones. False, with a reason in `reasons`, where the
        order does not work, a change is under way, the gate is shut or risk would not let the whole change go.
        """
        live = self._register.get(order)
        if live is None or not live.written:
            return False
        tracked = self._register.tracked(live)
        try:
            wanted = tickets.changed(live.order, live.instrument, tracked.ticket, price=price, plimit=plimit)
        except OrderTermsError as wrong:
            self._news.explain(live.order, str(wrong))
            return False
        if size is not None:
            wanted = replace(wanted, quantity=live.instrument.size(size))
        reason = self._change_refused(live, tracked, wanted)
        if reason is not None:
            self._news.explain(live.order, reason)
            return False
        return self._dispatch.change(live, wanted)

    def _change_refused(self, live: LiveOrder, tracked: TrackedOrder, wanted: OrderTicket) -> str | None:
        """Why an order cannot have other terms, or None."""
        if tracked.state is not OrderState.WORKING or tracked.asked is not None or live.cancel_wanted:
            return f"it is {tracked.state} or a change of it is under way"
        left = wanted.quantity - tracked.filled
        if left <= 0:
            return f"{wanted.quantity} is not more than the {tracked.filled} shares that are filled"
        shut = self._shut(live)
        if shut is not None:
            return shut
        if live.capped and live.parent is None and left > self._exits.reducible(live):
            return "it would reduce more than the position"
        limit = None if wanted.limit_price is None else float(wanted.limit_price)
        decision = self._decision(live, left, limit)
        return None if decision.verdict is Verdict.ALLOW else decision.reason

    # ---------------------------------------------------------------- hearing

    def _hear_all(self) -> None:
        events = self._events
        while events is not None:
            try:
                event = events.get_nowait()
            except Empty:
                return
            self._hear(event)

    def _hear(self, event: Event) -> None:
        if isinstance(event, AccountValue):
            self._keep_value(event)
        elif isinstance(event, PortfolioItem):
            self._traded.portfolio[event.contract.con_id] = event
        elif isinstance(event, AccountSnapshot):
            for value in event.values:
                self._keep_value(value)
            self._traded.portfolio = {item.contract.con_id: item for item in event.portfolio}
        self._react(self.book.apply(event, self._clock()))

    def _keep_value(self, value: AccountValue) -> None:
        if value.account == self._gateway.account:
            self._values[value.key, value.currency] = value

    def _react(self, changes: tuple[Change, ...]) -> None:
        """Pass on what the book found out, to the journal first."""
        for change in changes:
            if self._journal is not None:
                self._journal(change)
            reaction = _REACTIONS.get(type(change))
            if reaction is not None:
                reaction(self, change)

    def _ask(self, change: Question) -> None:
        if self._resync is not None:
            self._resync.ask()

    def _reconcile(self, now: datetime) -> None:
        """Ask for the account's whole state now and then."""
        if self._resync is not None and now - self._reconciled >= _RECONCILE_PAUSE:
            self._reconciled = now
            self._resync.ask()

    def _follow_state(self, change: StateChanged) -> None:
        live = self._register.by_ref(change.order_ref)
        if live is None:
            if change.after is OrderState.INTENDED:  # of an earlier run, which has to decide again
                self._react(self.book.withheld(change.order_ref, "its run ended before it was sent", self._clock()))
        elif change.after.terminal:
            self._end(live)
        else:
            self._register.reopen(live)
            if change.after is OrderState.WORKING and not (live.accepted and live.order.alive()):
                self._news.accept(live)

    def _end(self, live: LiveOrder) -> None:
        """Tell that an order is over, once all its fills were told."""
        tracked, order = self._register.tracked(live), live.order
        if not tracked.state.terminal or self._fills.waits(live) or not order.alive():
            return
        status = _ENDS.get(tracked.state, Order.Completed)
        if status == Order.Completed:
            live.resize(live.applied)  # the broker made it smaller, and what was left is filled
        elif live.cancel_wanted:
            status = Order.Canceled
        elif status == Order.Rejected and any(word in tracked.reason.lower() for word in _FOR_MONEY):
            status = Order.Margin
        if not live.cancel_wanted:
            self._news.explain(live.order, tracked.reason)
        order.status = status
        order.executed.dt = order.data.datetime[0]
        self._news.tell(order)

    def _follow_terms(self, change: TermsConfirmed) -> None:
        """Take over the terms that are in force and tell the strategy."""
        live = self._register.by_ref(change.order_ref)
        if live is not None and live.order.alive():
            live.take_terms(change.ticket)
            self._news.tell(live.order)

    def _follow_warning(self, change: OrderWarned) -> None:
        live = self._register.by_ref(change.order_ref)
        if live is not None:
            live.order.addinfo(warning=f"{change.code}: {change.text}")

    def _follow_fill(self, change: FillBooked) -> None:
        self._fills.hear_fill(change, self._clock())

    def _follow_commission(self, change: CommissionBooked) -> None:
        live = self._fills.hear_commission(change)
        if live is not None:
            self._end(live)

    def _follow_correction(self, change: FillCorrected) -> None:
        self._fills.hear_correction(change)

    def _follow_position(self, change: PositionAdopted) -> None:
        self._fills.hear_position(change)

    def _estimate(self, execution: Execution) -> float:
        if self._costs is None:
            return 0.0
        return float(self._costs.commission(execution.signed, execution.price, self._market_time().date()).total)

    # ---------------------------------------------------------------- risk

    def portfolio(self) -> Portfolio:
        """Money, positions and working orders as they are at the broker."""
        return self._portfolio(None)

    def _portfolio(self, judged: LiveOrder | None) -> Portfolio:
        """Money, positions and working orders as they are at the broker; without the order that is judged."""
        traded, remaining = self._traded, self._register.remaining
        holdings = {
            traded.name(con_id): Holding(float(quantity), traded.price(con_id))
            for con_id, quantity in self.book.positions().items()
        }
        working = [
            WorkingOrder(
                traded.name(live.con_id), live.sign * float(remaining(live)), live.order.created.price, live.capped
            )
            for live in self._register.open()
            if live is not judged
        ]
        working += [self._foreign(tracked) for tracked in self._register.foreign()]
        return Portfolio(self.getcash(), self.getvalue(), holdings, tuple(order for order in working if order.quantity))

    def _foreign(self, tracked: TrackedOrder) -> WorkingOrder:
        """An order that no strategy of this run sent."""
        sign = 1 if tracked.ticket.action == "BUY" else -1
        price = tracked.ticket.limit_price or tracked.ticket.aux_price
        con_id = tracked.contract.con_id
        at = self._traded.price(con_id) if price is None else float(price)
        return WorkingOrder(self._traded.name(con_id), sign * float(tracked.remaining), at)

    def _enforce(self) -> None:
        """Show the guard the account and do what its state asks of orders and positions."""
        value = self.getvalue()
        halt = self._guard.mark_equity(value, self._market_time())
        if halt.severity >= HaltState.REDUCE_ONLY.severity:
            for live in self._register.open():
                if not live.by_guard and not live.cancel_wanted and self._forbidden(live, halt):
                    self._dispatch.cancel(live, f"risk state {halt}")
        if halt is HaltState.FLATTEN:
            self._flatten()
        else:
            self._close_after.clear()
            self._tried.clear()

    def _forbidden(self, live: LiveOrder, halt: HaltState) -> bool:
        held = float(self.book.position(live.con_id))
        remaining = live.sign * float(self._register.remaining(live))
        return must_cancel(halt, held=held, remaining=remaining, protective=live.capped)

    def _flatten(self) -> None:
        """Close every position with a market order, once the orders that could trade beside it are gone.

        An order that does not go, because the broker does not answer, holds the closing up for a while only.
        """
        now = self._clock()
        for con_id, quantity in self.book.positions().items():
            data = self._traded.fed(con_id)
            if data is None or self._closing(con_id):
                continue
            going = bool(self._register.of(con_id))
            when = self._close_after.setdefault(con_id, now + _CLOSING_PAUSE if going else now)
            if now >= when or (not going and con_id not in self._tried):
                self._close_after[con_id] = now + _CLOSING_PAUSE
                self._tried.add(con_id)
                send = self.sell if quantity > 0 else self.buy
                send(None, data, abs(float(quantity)), exectype=Order.Market, by_guard=_BY_GUARD)

    def _closing(self, con_id: int) -> bool:
        return any(live.by_guard for live in self._register.of(con_id))

    def _trim(self, now: datetime) -> None:
        """Keep orders that only reduce within the position they reduce."""
        for live, ticket in self._exits.exceeding(now):
            if ticket is None:
                self._dispatch.cancel(live, "the position it protects is closed")
            else:
                self._dispatch.change(live, ticket)

    def _worth(self, data: bt.feed.DataBase) -> float:
        instrument = self._traded.instrument(data)
        size: float = self._booking.position(instrument.con_id).size
        return size * float(data.close[0]) * float(instrument.multiplier) if size else 0.0

    def _figure(self, key: str) -> float:
        """A figure of the account in its base currency; NaN where it was not told."""
        told = {currency: value.value for (name, currency), value in self._values.items() if name == key}
        text = told.get("BASE", next(iter(told.values())) if len(told) == 1 else None)
        return math.nan if text is None else float(text)


def _sealed(setting: str) -> Callable[..., None]:
    """A broker setting that belongs to the account."""

    def refuse(self: LiveBroker, *arguments: object, **keywords: object) -> None:
        raise SealedSettingError(
            f"broker.{setting}: money and costs are the account's own, a strategy cannot set them."
        )

    return refuse


for _setting in ("set_cash", "setcash", "setcommission", "addcommissioninfo", "set_fund_history", "add_order_history"):
    setattr(LiveBroker, _setting, _sealed(_setting))


_REACTIONS: dict[type, Callable[[LiveBroker, Any], None]] = {
    Question: LiveBroker._ask,
    StateChanged: LiveBroker._follow_state,
    TermsConfirmed: LiveBroker._follow_terms,
    OrderWarned: LiveBroker._follow_warning,
    FillBooked: LiveBroker._follow_fill,
    FillCorrected: LiveBroker._follow_correction,
    CommissionBooked: LiveBroker._follow_commission,
    PositionAdopted: LiveBroker._follow_position,
}
