"""Backtrader's broker for an account at Interactive Brokers.

Belongs here: the one door for orders, the gate, halts, and what a strategy is told. Does not belong here: what is true
about orders (see `broker.orders`), which limits exist (see `risk`), the connection (see `broker.ib`).

As in a backtest every order passes `RiskGuard.review`, whoever submits it and however; it is shrunk or refused there,
a halt cancels and closes, and orders that only reduce never take a position through zero. What is different live:

- Orders are sent only while the gate is open: the session READY and out of the reset window, the account's state known,
  the data live. Otherwise they are Rejected; `reasons` and `order.info.reason` say why.
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
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from queue import Empty, SimpleQueue
from typing import Any

import backtrader as bt
from backtrader.order import BuyOrder, Order, SellOrder
from backtrader.position import Position

from broker import tickets
from broker.booking import Booking, Commissions, amend_trade, average_of_difference
from broker.costs import CostModel
from broker.errors import GatewayError, GatewayNotReadyError, OrderBookError, OrderTermsError, SealedSettingError
from broker.ib.messages import (
    AccountSnapshot,
    AccountValue,
    Event,
    Execution,
    OrderTicket,
    PortfolioItem,
    SessionState,
)
from broker.ib.requests import Gateway
from broker.instrument import Instrument
from broker.live_orders import LiveOrder, WaitingFill
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
from broker.orders.fills import parted
from broker.orders.states import OrderState
from broker.orders.tracked import TrackedOrder
from broker.references import Reference
from broker.resync import Resync
from risk.decision import Holding, OrderRequest, Portfolio, Verdict, WorkingOrder
from risk.enforcement import must_cancel
from risk.guard import RiskGuard
from risk.states import HaltState

_NONE = Decimal()
_BY_GUARD = object()  # marks the orders with which the broker itself closes positions
_CLOSING_PAUSE = timedelta(seconds=10)  # for other orders to go before a position is closed, and between two tries
_TRIM_PAUSE = timedelta(seconds=1)  # for the broker to shrink or cancel a member of a group by itself
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
    ) -> None:
        super().__init__()
        self._gateway = gateway
        self._instruments = dict(instruments)
        self._guard = guard
        self._reference = reference
        self.book = book or OrderBook(gateway.account, gateway.client_id)
        self._journal = journal
        self._costs = costs
        self._clock = clock or steady_clock()
        self._market_time = market_time or (lambda: datetime.now(UTC))
        self._commission_wait = commission_wait
        by_con_id = {instrument.con_id: instrument for instrument in self._instruments.values()}
        self._booking = Booking(by_con_id, lambda profit: guard.closed_trade(profit, self._market_time()))
        self._resync = Resync(gateway)
        self._events: SimpleQueue[Event] | None = None
        self._values: dict[tuple[str, str], AccountValue] = {}
        self._portfolio: dict[int, PortfolioItem] = {}
        self._orders: dict[int, LiveOrder] = {}  # by Backtrader's reference
        self._open: dict[int, LiveOrder] = {}  # the same, those that are not over
        self._by_ref: dict[str, LiveOrder] = {}  # by our reference
        self._held: dict[int, list[LiveOrder]] = {}  # brackets that wait for `transmit`, by the parent's reference
        self._resting: list[LiveOrder] = []  # orders that are sent when Cerebro comes round
        self._waiting: dict[str, WaitingFill] = {}  # by the execution's lasting name
        self._estimated: dict[str, float] = {}  # commissions that were booked before they were known
        self._unshown: deque[tuple[int, float, float, float]] = deque()  # for trades, once there are bars
        self._exits: dict[int, str] = {}  # by con_id: the group of the orders that reduce the position
        self._close_after: dict[int, datetime] = {}  # by con_id: when closing it is tried, or tried again
        self._tried: set[int] = set()  # con_ids of positions that were to be closed at least once
        self._excess: dict[int, datetime] = {}  # by Backtrader's reference: since when an order exceeds its position
        self._numbers: tuple[datetime, int] = (datetime.min.replace(tzinfo=UTC), 0)
        self._news: deque[Order | None] = deque()
        self.reasons: dict[int, str] = {}
        self.startingcash = math.nan

    # ---------------------------------------------------------------- what Backtrader calls

    def start(self) -> None:
        """Take in the account: money, positions, orders (called by Cerebro).

        Raises:
            GatewayError: the account's state was not told.
        """
        super().start()
        self._events = self._gateway.listen()
        snapshot = self._gateway.synchronize()
        self._hear(snapshot)
        self.startingcash = self.getcash()
        self._resync.start()

    def stop(self) -> None:
        """End (called by Cerebro); orders at the broker stay."""
        if self._events is not None:
            self._gateway.forget(self._events)
            self._resync.stop()
            self._events = None
        super().stop()

    def next(self) -> None:
        """Take in what was heard, send what waits, watch over risk (called by Cerebro at every round)."""
        self._hear_all()
        now = self._clock()
        self._react(self.book.due(now))
        self._book_overdue(now)
        self._send_resting()
        self._cancel_again()
        self._send_again()
        self._enforce()
        self._trim()
        self._show_external()
        self._drop_done()
        self._news.append(None)  # what is answered to these news is told at the next round

    def get_notification(self) -> Order | None:
        """The next change of an order as the strategy has to hear it; None at the end of a round."""
        return self._news.popleft() if self._news else None

    def notify(self, order: Order) -> None:
        """Queue what an order is now."""
        self._news.append(order.clone())

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
        return self._booking.position(self._instrument(data).con_id)

    def getcommissioninfo(self, data: bt.feed.DataBase) -> Commissions:
        """What trades of a feed are valued with."""
        return self._booking.commissions(self._instrument(data).con_id)

    def orderstatus(self, order: Order) -> int:
        """The order's status as last heard."""
        live = self._orders.get(order.ref)
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

    # ---------------------------------------------------------------- the one door

    def submit(self, order: Order) -> Order:
        """Review an order and send it, or refuse it. The one door for every order; none goes through it twice."""
        if order.ref in self._orders:
            return order
        live = self._taken_up(order)
        reason = self._unfit(live) or self._shut(live) or self._reviewed(live)
        if reason is None:
            order.submit(self)
            self.notify(order)
            self._pass_on(live)
        else:
            self._refuse_group(live, reason)
        return order

    def _taken_up(self, order: Order) -> LiveOrder:
        instrument = self._instrument(order.data)
        parent = None if order.parent is None else self._orders.get(order.parent.ref)
        protective = parent is not None and parent.sign != (1 if order.isbuy() else -1)
        live = LiveOrder(
            order=order,
            instrument=instrument,
            parent=parent,
            quantity=instrument.size(order.size) if math.isfinite(order.size) else _NONE,
            capped=protective or order.info.get("reduces_only", False) is True,
            by_guard=order.info.get("by_guard", False) is _BY_GUARD,
            kind=tickets.KINDS.get(order.exectype, "historical"),
            order_ref=self._next_reference(order),
        )
        self._orders[order.ref] = self._open[order.ref] = live
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
        elif not (math.isfinite(order.created.price) and order.created.price >= 0):
            reason = f"price {order.created.price!r} is no price of a share"
        elif order.parent is not None and not self._leads(live.parent):
            reason = "its parent order is not working"
        elif not live.by_guard and self._closing(live.con_id):
            reason = "the risk guard is closing this position"
        else:
            reason = self._wrong_terms(live) or self._wrong_group(order.oco)
        return reason

    def _wrong_terms(self, live: LiveOrder) -> str | None:
        try:
            tickets.ticket(live.order, live.instrument, tickets.Envelope(0, "", "", live.quantity))
        except OrderTermsError as wrong:
            return str(wrong)
        return None

    def _wrong_group(self, oco: Order | None) -> str | None:
        """Why an order cannot be tied to the one that it names."""
        if oco is None:
            return None
        leader = self._orders.get(oco.ref)
        if leader is None or not leader.order.alive():
            return "the order that it names in oco is not working"
        if leader.written and not leader.oca_group:
            return "the order that it names in oco was sent before and cannot join a group any more"
        return None

    def _leads(self, parent: LiveOrder | None) -> bool:
        return parent is not None and parent.order.alive()

    def _shut(self, live: LiveOrder) -> str | None:
        """Why the gate is shut, or None while it is open."""
        state = self._gateway.state
        if state is not SessionState.READY:
            return f"the gate is shut: the session is {state}"
        if self._gateway.in_reset:
            return "the gate is shut: IB's nightly reset is on"
        if not self.book.current:
            return "the gate is shut: the account's state is not known"
        if not live.by_guard and not live.order.data.is_live():
            return f"the gate is shut: the data of {live.order.data._name} are not live"
        return None

    def _reviewed(self, live: LiveOrder) -> str | None:
        """Let risk decide; why nothing may go, or None. What may go is set on the order."""
        decision = self._guard.review(self._request(live), self._risk_portfolio(live))
        if decision.verdict is Verdict.REFUSE:
            return decision.reason
        if decision.verdict is Verdict.SHRINK:
            self._tell_reason(live, decision.reason)
            live.quantity = live.instrument.size(decision.quantity)
        live.capped = live.capped or decision.reduces_only
        if live.capped and live.parent is None:
            self._join_exits(live)
            live.quantity = min(live.quantity, self._reducible(live))
        if not live.quantity:
            return "nothing is left to reduce: other orders close the position, or there is none"
        live.resize(live.quantity)
        return None

    def _request(self, live: LiveOrder) -> OrderRequest:
        order, kind = live.order, live.kind
        limit = {"limit": order.created.price, "stop_limit": order.created.pricelimit}.get(kind)
        if kind == "trail_limit":
            limit = order.created.pricelimit
        return OrderRequest(
            symbol=self._name(live.con_id),
            quantity=live.sign * float(live.quantity),
            price=order.data.close[0],
            kind=kind,
            limit_price=limit,
            ts=self._market_time(),
            reduces_only=live.capped,
        )

    def _reducible(self, live: LiveOrder) -> Decimal:
        """How much of the position an order that only reduces may take: what no order outside its group takes."""
        held = self.book.position(live.con_id) * -live.sign
        for other in self._exits_beside(live):
            if not live.oca_group or other.oca_group != live.oca_group:
                held -= self._remaining(other)
        return max(held, _NONE)

    def _exits_beside(self, live: LiveOrder) -> list[LiveOrder]:
        """Other orders that only reduce the same position; those of a bracket are the broker's to balance."""
        return [
            other
            for other in self._live_of(live.con_id)
            if other is not live and other.capped and other.sign == live.sign and other.parent is None
        ]

    def _join_exits(self, live: LiveOrder) -> None:
        """Orders that only reduce one position share a group: together they never go through zero."""
        group = self._exits.get(live.con_id, "")
        alone = not any(other.oca_group == group for other in self._exits_beside(live) if group)
        at_once = live.order.exectype in (Order.Market, Order.Close)
        if live.order.oco is not None or (alone and at_once):
            return
        live.oca_group = self._exits.setdefault(live.con_id, f"{live.order_ref}/exits")
        live.oca_type = 2

    def _refuse_group(self, live: LiveOrder, reason: str) -> None:
        """Reject an order, and with it the bracket that waits for it."""
        leader = live if live.parent is None else live.parent
        group = self._held.pop(leader.order.ref, [])
        for other in group:
            self._reject(other, f"another order of its bracket was refused: {reason}")
        self._reject(live, reason)

    def _reject(self, live: LiveOrder, reason: str, status: int = Order.Rejected) -> None:
        """End an order that is nowhere at the broker."""
        self._tell_reason(live, reason)
        if status == Order.Canceled:
            live.order.cancel()
        else:
            live.order.reject(self)
        self.notify(live.order)

    def _tell_reason(self, live: LiveOrder, reason: str) -> None:
        self.reasons[live.order.ref] = reason
        live.order.addinfo(reason=reason)

    # ---------------------------------------------------------------- sending

    def _pass_on(self, live: LiveOrder) -> None:
        """Send an order that may go, or keep it until its group is complete."""
        order = live.order
        leader = live if live.parent is None else live.parent
        group = self._held.get(leader.order.ref)
        if group is None and order.transmit and not self._may_lead_group(live):
            self._send([live])
        elif group is None and order.transmit:
            self._join_oco(live)
            self._resting.append(live)
        else:
            self._held.setdefault(leader.order.ref, []).append(live)
            if order.transmit:
                self._send(self._held.pop(leader.order.ref))

    def _may_lead_group(self, live: LiveOrder) -> bool:
        """Whether a later order may name this one in `oco`, so that it has to wait for it."""
        order = live.order
        at_once = order.exectype in (Order.Market, Order.Close) or live.oca_group or live.parent is not None
        return order.oco is not None or not at_once

    def _join_oco(self, live: LiveOrder) -> None:
        """Put an order into the group of the one that it names."""
        oco = live.order.oco
        leader = None if oco is None else self._orders.get(oco.ref)
        if leader is None:
            return
        if not leader.oca_group:
            leader.oca_group, leader.oca_type = f"{leader.order_ref}/oco", 1
        live.oca_group, live.oca_type = leader.oca_group, leader.oca_type

    def _send_resting(self) -> None:
        waiting, self._resting = self._resting, []
        for live in waiting:
            if live.order.alive():
                self._send([live])

    def _send(self, group: list[LiveOrder]) -> None:
        """Write down a group of orders, then send them; the last one lets them all go."""
        try:
            written = [(live, self._intend(live, transmit=live is group[-1])) for live in group]
        except (GatewayError, OrderBookError) as failure:
            self._withdraw(group, str(failure))
            return
        for live, ticket in written:
            if not self._place(live, ticket):
                self._withdraw(group, self.reasons[live.order.ref])
                return

    def _intend(self, live: LiveOrder, *, transmit: bool) -> OrderTicket:
        """Give an order its names and write it down."""
        order_id = self._gateway.next_order_id()
        envelope = tickets.Envelope(
            order_id=order_id,
            order_ref=live.order_ref,
            account=self._gateway.account,
            quantity=live.quantity,
            oca_group=live.oca_group,
            oca_type=live.oca_type,
            parent_id=0 if live.parent is None else live.parent.order_id,
            transmit=transmit,
        )
        ticket = tickets.ticket(live.order, live.instrument, envelope)
        changes = self.book.intend(live.instrument.contract, ticket, self._clock())
        live.order_id = order_id
        self._by_ref[ticket.order_ref] = live
        self._react(changes)
        return ticket

    def _place(self, live: LiveOrder, ticket: OrderTicket) -> bool:
        """Send a written order; False where it certainly was not sent."""
        try:
            self._gateway.place_order(live.instrument.contract, ticket)
        except GatewayNotReadyError as shut:
            self._tell_reason(live, str(shut))
            return False
        except GatewayError as failure:
            self._tell_reason(live, f"not known whether it was sent: {failure}")  # the book finds out
        self._react(self.book.sent(live.order_ref, self._clock()))
        return True

    def _withdraw(self, group: list[LiveOrder], reason: str) -> None:
        """A group cannot be sent as a whole: take back what was sent, end the rest."""
        for live in group:
            tracked = self.book.orders[live.order_ref] if live.written else None
            if tracked is None:
                self._reject(live, reason)
            elif tracked.state is OrderState.INTENDED:
                self._react(self.book.withheld(live.order_ref, reason, self._clock()))
            else:
                self._tell_reason(live, reason)
                self._cancel_at_broker(live)

    def _next_reference(self, order: Order) -> str:
        """An order's reference: by the bar it was decided on and its number among those of the bar."""
        bar: datetime = order.data.datetime.datetime(0).replace(tzinfo=UTC)
        last, number = self._numbers
        number = number + 1 if bar == last else 0
        self._numbers = bar, number
        return self._reference(bar, number)

    def _send_again(self) -> None:
        """Orders that provably never reached the broker: once more, if they are still wanted and may go."""
        for live in self._live_orders():
            tracked = self.book.orders[live.order_ref]
            if tracked.state is not OrderState.INTENDED:
                continue
            shut = self._shut(live)
            if live.cancel_wanted or live.resent:
                reason = (
                    "cancelled before it reached the broker" if live.cancel_wanted else "it never reached the broker"
                )
                self._react(self.book.withheld(live.order_ref, reason, self._clock()))
            elif shut is None:
                live.resent = True
                # the same order id: should the first one turn up after all, the broker takes this for a change of it
                self._place(live, tracked.ticket)

    # ---------------------------------------------------------------- cancelling and changing

    def cancel(self, order: Order, bracket: bool = False) -> bool:
        """Ask to cancel an order; False where there is nothing to cancel or a strategy may not.

        The order lives, and may fill, until the broker confirms.
        """
        live = self._orders.get(order.ref)
        if live is None or live.by_guard or not live.order.alive():
            return False
        self._cancel(live, "cancelled by the strategy")
        return True

    def _cancel(self, live: LiveOrder, reason: str) -> None:
        if live.written:
            if not live.cancel_wanted:
                self._tell_reason(live, self.reasons.get(live.order.ref, reason))
                self._cancel_at_broker(live)
            return
        for group in [*self._held.values()]:
            if group[0] is live:  # children cannot go without their parent
                del self._held[live.order.ref]
                for child in group[1:]:
                    self._reject(child, "its parent order was cancelled", Order.Canceled)
                break
            if live in group:
                group.remove(live)
                break
        self._reject(live, reason, Order.Canceled)

    def _cancel_at_broker(self, live: LiveOrder) -> None:
        live.cancel_wanted = True
        try:
            self._gateway.cancel_order(live.order_id)
        except GatewayError:
            return  # tried again at the next round
        self._react(self.book.cancel_sent(live.order_ref, self._clock()))

    def _cancel_again(self) -> None:
        """Cancellations that did not reach the broker, or were lost there."""
        if self._gateway.state is not SessionState.READY:
            return
        for live in self._live_orders():
            tracked = self.book.orders[live.order_ref]
            if live.cancel_wanted and tracked.state is OrderState.WORKING:
                self._cancel_at_broker(live)

    def modify(self, order: Order, *, size: float | None = None, price: float | None = None,
               plimit: float | None = None) -> bool:  # fmt: skip
        """Ask for another quantity (without sign) or other prices of a working order, reviewed by risk like a new one.

        The order keeps its terms until the broker confirms the new ones. False, with a reason in `reasons`, where the
        order does not work, a change is under way, the gate is shut or risk would not let the whole change go.
        """
        live = self._orders.get(order.ref)
        if live is None or not live.written:
            return False
        tracked = self.book.orders[live.order_ref]
        if tracked.state is not OrderState.WORKING or tracked.asked is not None or live.cancel_wanted:
            return self._unchanged(live, f"it is {tracked.state} or a change of it is under way")
        quantity = tracked.ticket.quantity if size is None else live.instrument.size(size)
        wanted = _changed(live, tracked.ticket, quantity, price, plimit)
        reason = self._shut(live) or self._change_refused(live, wanted, tracked.filled)
        if reason is not None:
            return self._unchanged(live, reason)
        return self._send_terms(live, wanted)

    def _change_refused(self, live: LiveOrder, wanted: OrderTicket, filled: Decimal) -> str | None:
        """What risk says about the order with its new terms."""
        left = wanted.quantity - filled
        if left <= 0:
            return f"{wanted.quantity} is not more than the {filled} shares that are filled"
        request = OrderRequest(
            symbol=self._name(live.con_id),
            quantity=live.sign * float(left),
            price=live.order.data.close[0],
            kind=live.kind,
            limit_price=None if wanted.limit_price is None else float(wanted.limit_price),
            ts=self._market_time(),
            reduces_only=live.capped,
        )
        if live.capped and live.parent is None and left > self._reducible(live):
            return "it would reduce more than the position"
        decision = self._guard.review(request, self._risk_portfolio(live))
        return None if decision.verdict is Verdict.ALLOW else decision.reason

    def _unchanged(self, live: LiveOrder, reason: str) -> bool:
        self._tell_reason(live, reason)
        return False

    def _send_terms(self, live: LiveOrder, wanted: OrderTicket) -> bool:
        """Send other terms of an order that works; the book follows what becomes of them."""
        try:
            self._gateway.place_order(live.instrument.contract, wanted)
        except GatewayNotReadyError as shut:
            return self._unchanged(live, str(shut))
        except GatewayError as failure:
            self._tell_reason(live, f"not known whether the change was sent: {failure}")
        self._react(self.book.terms_sent(wanted, self._clock()))
        return True

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
            self._portfolio[event.contract.con_id] = event
        elif isinstance(event, AccountSnapshot):
            for value in event.values:
                self._keep_value(value)
            self._portfolio = {item.contract.con_id: item for item in event.portfolio}
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
        self._resync.ask()

    def _follow_state(self, change: StateChanged) -> None:
        live = self._by_ref.get(change.order_ref)
        if live is None:
            return
        if not change.after.terminal:
            self._open[live.order.ref] = live
        if change.after is OrderState.WORKING and not (live.accepted and live.order.alive()):
            self._accept(live)
        elif change.after.terminal:
            self._end(live)

    def _accept(self, live: LiveOrder) -> None:
        """Tell that the broker has an order, or has it after all."""
        live.accepted = True
        if live.applied:
            live.order.partial()
        else:
            live.order.accept(self)
        self.notify(live.order)

    def _end(self, live: LiveOrder) -> None:
        """Tell that an order is over, once all its fills were told."""
        tracked, order = self.book.orders[live.order_ref], live.order
        if not tracked.state.terminal or any(fill.live is live for fill in self._waiting.values()):
            return
        if not order.alive():
            return  # its last fill has completed it
        status = _ENDS.get(tracked.state, Order.Completed)
        if status == Order.Completed:
            live.resize(live.applied)  # the broker made it smaller, and what was left is filled
        elif live.cancel_wanted and not tracked.was_sent:
            status = Order.Canceled
        elif status == Order.Rejected and any(word in tracked.reason.lower() for word in _FOR_MONEY):
            status = Order.Margin
        if not live.cancel_wanted:
            self._tell_reason(live, tracked.reason)
        order.status = status
        order.executed.dt = order.data.datetime[0]
        self.notify(order)

    def _follow_terms(self, change: TermsConfirmed) -> None:
        """Take over the terms that are in force and tell the strategy."""
        live, ticket = self._by_ref.get(change.order_ref), change.ticket
        if live is None or not live.order.alive():
            return
        live.resize(ticket.quantity)
        created = live.order.created
        if live.order.exectype == Order.Limit and ticket.limit_price is not None:
            created.price = created.pricelimit = float(ticket.limit_price)
        elif ticket.aux_price is not None and live.order.exectype in (Order.Stop, Order.StopLimit):
            created.price = float(ticket.aux_price)
            created.pricelimit = created.price if ticket.limit_price is None else float(ticket.limit_price)
        self.notify(live.order)

    def _follow_warning(self, change: OrderWarned) -> None:
        live = self._by_ref.get(change.order_ref)
        if live is not None:
            live.order.addinfo(warning=f"{change.code}: {change.text}")

    # ---------------------------------------------------------------- fills

    def _follow_fill(self, change: FillBooked) -> None:
        """Let a fill wait for its commission, which follows in the same changes where it came first."""
        until = self._clock() + self._commission_wait
        stem, _ = parted(change.execution.exec_id)
        self._waiting[stem] = WaitingFill(change.execution, self._by_ref.get(change.order_ref), until)

    def _follow_commission(self, change: CommissionBooked) -> None:
        stem, _ = parted(change.commission.exec_id)
        if stem in self._waiting:
            self._book_fill(stem, float(change.commission.amount))
            return
        before = self._estimated.pop(stem, None)
        if before is None:
            before = 0.0 if change.earlier is None else float(change.earlier.amount)
        self._amend(stem, change.order_ref, float(change.commission.amount) - before)

    def _follow_correction(self, change: FillCorrected) -> None:
        """The difference of a correction: the new execution, and the earlier one taken back."""
        stem, _ = parted(change.execution.exec_id)
        waiting = self._waiting.get(stem)
        if waiting is not None:
            self._waiting[stem] = WaitingFill(change.execution, waiting.live, waiting.until)
            return
        live = self._by_ref.get(change.order_ref)
        for execution, sign in ((change.execution, 1), (change.earlier, -1)):
            self._book_execution(live, execution, float(execution.signed) * sign, 0.0)
        if live is not None:
            live.applied += change.execution.quantity - change.earlier.quantity
            live.keep_remaining()
            self.notify(live.order)

    def _book_overdue(self, now: datetime) -> None:
        for stem in [stem for stem, fill in self._waiting.items() if fill.until <= now]:
            fee = self._estimate(self._waiting[stem].execution)
            self._estimated[stem] = fee
            self._book_fill(stem, fee)

    def _estimate(self, execution: Execution) -> float:
        if self._costs is None:
            return 0.0
        return float(self._costs.commission(execution.signed, execution.price, self._market_time().date()).total)

    def _book_fill(self, stem: str, fee: float) -> None:
        """Tell Backtrader of an execution."""
        fill = self._waiting.pop(stem)
        live, execution = fill.live, fill.execution
        if live is not None and not live.accepted:
            self._accept(live)
        before = self._booking.position(execution.contract.con_id).size
        bit = self._book_execution(live, execution, float(execution.signed), fee)
        self._forget_exits(execution.contract.con_id, before)
        if live is None:
            return
        live.bits[stem] = bit
        live.applied += execution.quantity
        live.keep_remaining()
        if live.order.executed.remsize:
            live.order.partial()
        else:
            live.order.completed()
        self.notify(live.order)
        self._end(live)

    def _book_execution(self, live: LiveOrder | None, execution: Execution, size: float, fee: float) -> Any:  # noqa: ANN401
        con_id, price = execution.contract.con_id, float(execution.price)
        if live is not None:
            return self._booking.execute(live.order, con_id, size, price, fee)
        self._booking_external(con_id, size, price, fee)
        return None

    def _booking_external(self, con_id: int, size: float, price: float, fee: float) -> None:
        """A change of a position without an order of a strategy; its trades hear of it when there are bars."""
        data = self._data_of(con_id)
        if data is None:
            self._booking.position(con_id).update(size, price)
        else:
            self._unshown.append((con_id, size, price, fee))
            self._show_external()

    def _show_external(self) -> None:
        while self._unshown:
            con_id, size, price, fee = self._unshown[0]
            data = self._data_of(con_id)
            if data is None or not len(data):
                return
            self._unshown.popleft()
            self.notify(self._booking.external(data, con_id, size, price, fee))

    def _amend(self, stem: str, order_ref: str, more: float) -> None:
        """A commission that is another one than was booked."""
        live = self._by_ref.get(order_ref)
        bit = None if live is None else live.bits.get(stem)
        if live is None or bit is None or not more:
            return
        self._booking.amend(live.con_id, live.order, bit, more)
        amend_trade(live.order.owner or self.cerebro.runningstrats[0], live.order, more)
        self.notify(live.order)

    def _follow_position(self, change: PositionAdopted) -> None:
        """A position that was there before, or changed without an execution."""
        con_id, moved = change.contract.con_id, float(change.after - change.before)
        data = self._data_of(con_id)
        last = data.close[0] if data is not None and len(data) else math.nan
        held = self._booking.position(con_id)
        price = average_of_difference(change.before, change.after, held.price, change.average_cost, last)
        if moved:
            self._booking_external(con_id, moved, price, 0.0)

    def _forget_exits(self, con_id: int, before: float) -> None:
        """When a position is over, what reduces the next one is another group."""
        size = self._booking.position(con_id).size
        if before and before * size <= 0:
            self._exits.pop(con_id, None)

    # ---------------------------------------------------------------- risk

    def _risk_portfolio(self, judged: LiveOrder | None = None) -> Portfolio:
        """Money, positions and working orders as they are at the broker; without the order that is judged."""
        holdings = {}
        for con_id, quantity in self.book.positions().items():
            holdings[self._name(con_id)] = Holding(float(quantity), self._price(con_id))
        working = [
            WorkingOrder(
                self._name(live.con_id), live.sign * float(self._remaining(live)), live.order.created.price, live.capped
            )
            for live in self._open.values()
            if live is not judged
        ]
        working += [
            self._foreign(tracked) for tracked in self.book.open_orders if tracked.order_ref not in self._by_ref
        ]
        return Portfolio(self.getcash(), self.getvalue(), holdings, tuple(order for order in working if order.quantity))

    def _foreign(self, tracked: TrackedOrder) -> WorkingOrder:
        """An order that no strategy of this run sent."""
        sign = 1 if tracked.ticket.action == "BUY" else -1
        price = tracked.ticket.limit_price or tracked.ticket.aux_price
        at = self._price(tracked.contract.con_id) if price is None else float(price)
        return WorkingOrder(self._name(tracked.contract.con_id), sign * float(tracked.remaining), at)

    def _remaining(self, live: LiveOrder) -> Decimal:
        """Shares of an order that may still fill at the broker, or will be sent."""
        if not live.written:
            return live.quantity if live.order.alive() else _NONE
        return self.book.orders[live.order_ref].remaining

    def _enforce(self) -> None:
        """Show the guard the account and do what its state asks of orders and positions."""
        value = self.getvalue()
        halt = self._guard.mark_equity(value, self._market_time())
        if halt.severity >= HaltState.REDUCE_ONLY.severity:
            for live in list(self._open.values()):
                if not live.by_guard and not live.cancel_wanted and self._forbidden(live, halt):
                    self._cancel(live, f"risk state {halt}")
        if halt is HaltState.FLATTEN:
            self._flatten()
        else:
            self._close_after.clear()
            self._tried.clear()

    def _forbidden(self, live: LiveOrder, halt: HaltState) -> bool:
        held = float(self.book.position(live.con_id))
        remaining = live.sign * float(self._remaining(live))
        return must_cancel(halt, held=held, remaining=remaining, protective=live.capped)

    def _flatten(self) -> None:
        """Close every position with a market order, once the orders that could trade beside it are gone.

        An order that does not go, because the broker does not answer, holds the closing up for a while only.
        """
        now = self._clock()
        for con_id, quantity in self.book.positions().items():
            data = self._data_of(con_id)
            if data is None or not len(data) or self._closing(con_id):
                continue
            going = bool(self._live_of(con_id))
            when = self._close_after.setdefault(con_id, now + _CLOSING_PAUSE if going else now)
            if now >= when or (not going and con_id not in self._tried):
                self._close_after[con_id] = now + _CLOSING_PAUSE
                self._tried.add(con_id)
                send = self.sell if quantity > 0 else self.buy
                send(None, data, abs(float(quantity)), exectype=Order.Market, by_guard=_BY_GUARD)

    def _closing(self, con_id: int) -> bool:
        return any(live.by_guard for live in self._live_of(con_id))

    def _trim(self) -> None:
        """Keep orders that only reduce within the position they reduce."""
        now = self._clock()
        exceeding = {live.order.ref: live for live in self._live_orders() if self._exceeds(live)}
        self._excess = {ref: self._excess.get(ref, now) for ref in exceeding}
        for ref, live in exceeding.items():
            if now - self._excess[ref] < _TRIM_PAUSE:
                continue
            held, tracked = self.book.position(live.con_id) * -live.sign, self.book.orders[live.order_ref]
            if held <= 0:
                self._cancel(live, "the position it protects is closed")
            elif tracked.state is OrderState.WORKING and tracked.asked is None:
                self._send_terms(live, replace(tracked.ticket, quantity=tracked.filled + held, transmit=True))

    def _exceeds(self, live: LiveOrder) -> bool:
        """Whether an order that only reduces would take a position through zero, as far as all fills are known."""
        if not live.capped or live.cancel_wanted or (live.parent is not None and live.parent.order.alive()):
            return False
        held, tracked = self.book.position(live.con_id) * -live.sign, self.book.orders[live.order_ref]
        unsure = any(other.missing for other in self.book.open_orders if other.contract.con_id == live.con_id)
        return not unsure and tracked.remaining > max(held, _NONE)

    # ---------------------------------------------------------------- looking things up

    def _instrument(self, data: bt.feed.DataBase) -> Instrument:
        instrument = self._instruments.get(data._name)
        if instrument is None:
            raise OrderTermsError(f"data: {data._name!r} has no contract to trade.")
        return instrument

    def _data_of(self, con_id: int) -> bt.feed.DataBase | None:
        """The first feed that trades a contract."""
        for data in self.cerebro.datas:
            instrument = self._instruments.get(data._name)
            if instrument is not None and instrument.con_id == con_id:
                return data
        return None

    def _name(self, con_id: int) -> str:
        """What risk calls a contract: its feed's name where there is one."""
        data = self._data_of(con_id)
        return f"con_id {con_id}" if data is None else str(data._name)

    def _price(self, con_id: int) -> float:
        """The last price of a contract; NaN where none is known."""
        data = self._data_of(con_id)
        if data is not None and len(data):
            return float(data.close[0])
        item = self._portfolio.get(con_id)
        return math.nan if item is None else float(item.market_price)

    def _worth(self, data: bt.feed.DataBase) -> float:
        instrument = self._instrument(data)
        size: float = self._booking.position(instrument.con_id).size
        return size * float(data.close[0]) * float(instrument.multiplier) if size else 0.0

    def _live_orders(self) -> list[LiveOrder]:
        """Orders of strategies that are at the broker and not over."""
        return [live for live in self._open.values() if live.written and self._works(live)]

    def _works(self, live: LiveOrder) -> bool:
        """Whether an order is not over: at the broker where it is written, else here."""
        if live.written:
            return not self.book.orders[live.order_ref].state.terminal
        return bool(live.order.alive())

    def _drop_done(self) -> None:
        self._open = {ref: live for ref, live in self._open.items() if self._works(live) or live.order.alive()}

    def _live_of(self, con_id: int) -> list[LiveOrder]:
        """Orders of a contract that are not over, those too that are not sent yet."""
        return [live for live in self._open.values() if live.con_id == con_id and self._works(live)]

    def _figure(self, key: str) -> float:
        """A figure of the account in its base currency; NaN where it was not told."""
        told = {currency: value.value for (name, currency), value in self._values.items() if name == key}
        text = told.get("BASE", next(iter(told.values())) if len(told) == 1 else None)
        return math.nan if text is None else float(text)


def _changed(
    live: LiveOrder, ticket: OrderTicket, quantity: Decimal, price: float | None, plimit: float | None
) -> OrderTicket:
    """The terms of an order with another quantity or other prices."""
    changes: dict[str, Decimal] = {}
    action, exectype = ticket.action, live.order.exectype
    if price is not None:
        changes["limit_price" if exectype == Order.Limit else "aux_price"] = live.instrument.price(price, action)
    if plimit is not None:
        changes["limit_price"] = live.instrument.price(plimit, action)
    return replace(ticket, quantity=quantity, transmit=True, **changes)  # type: ignore[arg-type]


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
