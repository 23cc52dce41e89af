"""The simulated exchange and broker in one: orders in, fills and news out.

Belongs here: an order's whole life: acceptance, changes, brackets and groups, matching along the path, fills and their
costs, expiry. Does not belong here: clients and messages (see `desk`), waiting for time to pass (see `pace`), files.

Everything happens at once, in one thread and in one order: the same orders at the same moments give the same fills.
"""

import copy
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from broker.costs import CostModel
from broker.simulator.admission import Refusal, check_margin, check_short, check_terms, rejected
from broker.simulator.book import OrderBook
from broker.simulator.charges import Charges
from broker.simulator.estimate import estimate
from broker.simulator.happenings import Charged, Estimated, Filled, News, OrderNews, PositionNews, Printed, Refused
from broker.simulator.instruments import InstrumentBook
from broker.simulator.ledger import ZERO, Ledger, price_of, stepped
from broker.simulator.market import Market, Print, SessionClosed
from broker.simulator.matching import Meeting, begin, follow, meets, passes_stop
from broker.simulator.moments import read_moment, written
from broker.simulator.order_request import Terms, terms_of
from broker.simulator.orders import Execution, Order, Status
from broker.simulator.tape import Bar

MANUAL_CLIENT: Final = 0
_NO_CONTRACT: Final = "No security definition has been found for the request"


@dataclass(slots=True)
class Exchange:
    """One account on one market. `news` grows with everything that happens; the listener takes it away."""

    account: str
    market: Market
    instruments: InstrumentBook
    costs: CostModel
    ledger: Ledger
    fill_at_once: bool = False
    book: OrderBook = field(default_factory=OrderBook)
    executions: list[Execution] = field(default_factory=list)
    news: deque[News] = field(default_factory=deque)
    unshortable: set[str] = field(default_factory=set)
    fraction_cap: Decimal | None = None  # largest fill at a time, by a fault
    changed_orders: dict[int, Order] = field(default_factory=dict)  # since the state was last saved
    next_execution: int = 1
    charges: Charges = field(init=False)
    _taken: dict[int, tuple[int, Decimal]] = field(default_factory=dict)  # order -> bar, what it has filled there

    def __post_init__(self) -> None:
        self.charges = Charges(self.costs)

    # ---------------------------------------------------------------- time

    def step(self) -> bool:
        """Move the market to its next prices and trade; False at the end of the tape."""
        moved = False
        for happening in self.market.advance():
            moved = True
            if isinstance(happening, SessionClosed):
                self._close_session(happening)
            else:
                self._print(happening)
        self._expire(self.market.now)
        return moved

    def drift(self, moment: int) -> None:
        """Let time pass without reaching the next print."""
        for move in self.market.drift(moment):
            self._print(move)
        self._expire(self.market.now)

    def _print(self, move: Print) -> None:
        self._expire(move.at - 1)
        self.news.append(Printed(move))
        if move.knot == 0:
            self._wake(move.key)
        self._trade(move.key, move.start, move.price, move.bar)

    def _close_session(self, closed: SessionClosed) -> None:
        for order in self.book.waiting():
            quote = self.market.quotes[order.instrument.key]
            if order.terms.kind == "MOC" and quote.session == closed.session and quote.bar and self._may_trade(order):
                self._fill(order, Meeting(quote.price, takes=True), quote.bar)
        self._expire(closed.at)
        self.charges.accrue(closed.session, self.ledger, self.market.prices())

    def _expire(self, moment: int) -> None:
        for order in self.book.waiting():
            if order.expires is not None and order.expires <= moment and not order.status.done:
                self.cancel_order(order, "Order expired")

    # ---------------------------------------------------------------- orders in

    def place(self, client_id: int, order_id: int, fields: Mapping[str, str]) -> Order | None:
        """Take an order or a change of one; what is wrong with it becomes news."""
        terms = terms_of(fields)
        known = self.book.of_client(client_id, order_id)
        if known is not None:
            self._modify(known, fields, terms)
            return known
        if 0 < order_id < self.book.next_id(client_id):
            self._refuse(client_id, order_id, Refusal(103, "Duplicate order id"))
            return None
        instrument = self.instruments.one(fields)
        if instrument is None:
            self._refuse(client_id, order_id, Refusal(200, _NO_CONTRACT))
            return None
        order = Order(self.book.new_perm_id(), client_id, order_id, instrument, dict(fields), terms)
        refusal = check_terms(terms, instrument, fields, self.account) or self._join_parent(order)
        refusal = refusal or self._set_times(order) or (None if terms.what_if else self._check_account(order))
        if refusal is not None:
            self._refuse(client_id, order_id, refusal)
            return None
        if terms.what_if:
            self.news.append(Estimated(client_id, order, estimate(order, self.ledger, self.market, self.costs)))
            return None
        self.book.add(order)
        self._transmit(order)
        return order

    def place_by_hand(self, fields: Mapping[str, str]) -> Order | None:
        """An order as from the screen of TWS: it belongs to client 0 and has a negative id."""
        return self.place(MANUAL_CLIENT, self.book.new_manual_id(), {**fields, "transmit": "1"})

    def cancel(self, client_id: int, order_id: int) -> None:
        """Cancel a client's order."""
        order = self.book.of_client(client_id, order_id)
        if order is None:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            self._refuse(client_id, order_id, Refusal(10147, text))
        elif order.status.done:
            text = f"OrderId {order_id} that needs to be cancelled can not be cancelled, state: {order.status.value}."
            self._refuse(client_id, order_id, Refusal(10148, text))
        else:
            self.cancel_order(order, "")

    def cancel_all(self) -> None:
        """Cancel whatever waits, of all clients."""
        for order in [*self.book.waiting(), *self.book.held()]:
            if not order.status.done:
                self.cancel_order(order, "")

    def cancel_order(self, order: Order, reason: str) -> None:
        """End an order; children of a parent that opened nothing end with it."""
        order.cancel_reason = reason or "Cancelled by Trader"
        self._finish(order, Status.CANCELLED)
        self._refuse(order.client_id, order.order_id, Refusal(202, f"Order Canceled - reason:{reason}"))
        for child in self.book.children(order):
            if not order.filled:
                self.cancel_order(child, "Parent order was cancelled")
        self._shrink_children(order)

    def _modify(self, order: Order, fields: Mapping[str, str], terms: Terms) -> None:
        refusal = self._check_change(order, fields, terms)
        if refusal is not None:
            self._refuse(order.client_id, order.order_id, refusal)
            return
        order.fields, order.terms = dict(fields), terms
        order.reduced = min(order.reduced, terms.quantity)
        self._set_times(order)
        if order.working.triggered and terms.waits_for_stop and terms.kind in {"STP", "TRAIL"}:
            order.working.triggered = False
        quote = self.market.quotes[order.instrument.key]
        begin(terms, order.working, quote.price if quote.known else None)
        if order.held:
            self._transmit(order)
            return
        self._tell(order)
        self._trade_now(order)

    def _check_change(self, order: Order, fields: Mapping[str, str], terms: Terms) -> Refusal | None:
        if order.status is Status.FILLED:
            return Refusal(104, "Cannot modify a filled order.")
        if order.status.done:
            return Refusal(104, f"Cannot modify an order in state {order.status.value}.")
        same = terms.side == order.terms.side and self.instruments.one(fields) == order.instrument
        if not same or terms.quantity - order.reduced <= order.filled:
            return Refusal(105, "Order being modified does not match original order.")
        refusal = check_terms(terms, order.instrument, fields, self.account)
        return refusal or self._check_account(replace(copy.copy(order), terms=terms))

    def _join_parent(self, order: Order) -> Refusal | None:
        if not order.terms.parent_id:
            return None
        parent = self.book.of_client(order.client_id, order.terms.parent_id)
        if parent is None:
            return Refusal(135, f"Can't find order with ID ={order.terms.parent_id}.")
        if parent.status.done and not parent.filled:
            return rejected("The parent order is cancelled.")
        order.parent_perm_id = parent.perm_id
        return None

    def _set_times(self, order: Order) -> Refusal | None:
        """When an order becomes active and when it ends."""
        zone, terms = self.market.calendar.timezone, order.terms
        if terms.tif == "GTD":
            if not terms.good_till:
                return Refusal(391, "The end date/time entered is in incorrect format or time zone: it is empty.")
            order.expires = read_moment("goodTillDate", terms.good_till, zone)
            if order.expires <= self.market.now:
                return rejected("The good-till-date lies in the past.")
        elif terms.tif == "DAY":
            order.expires = self._end_of_day(order)
        else:
            order.expires = None
        if terms.good_after:
            order.active_from = read_moment("goodAfterTime", terms.good_after, zone)
        return None

    def _end_of_day(self, order: Order) -> int:
        """The close, or for an order that trades outside regular hours the last bar that is recorded for the day."""
        day = self.market.trading_day()
        _, close = self.market.session_bounds(day)
        if not order.terms.outside_rth:
            return close
        return max(close, self.market.last_print(order.instrument.key, day))

    def _check_account(self, order: Order) -> Refusal | None:
        others = [o for o in self.book.waiting() if o.perm_id != order.perm_id]
        shortable = order.instrument.key not in self.unshortable
        short = check_short(order, self.ledger, others, shortable=shortable)
        return short or check_margin(order, self.ledger, others, self.market.prices())

    def _transmit(self, order: Order) -> None:
        """Send an order on its way, or hold it until a relative is sent."""
        order.held = not order.terms.transmit
        if order.held:
            return
        for relative in self.book.relatives(order):
            if relative.held:
                self._release(relative)
        self._release(order)

    def _release(self, order: Order) -> None:
        order.held, order.submitted_at = False, self.market.now
        quote = self.market.quotes[order.instrument.key]
        if not order.parent_perm_id:
            begin(order.terms, order.working, quote.price if quote.known else None)
        self._tell(order)
        if self._active(order):
            self._submit(order)
        elif not order.parent_perm_id and self.market.session_now() < 0:
            self._warn_of_wait(order)
        self._trade_now(order)

    def _warn_of_wait(self, order: Order) -> None:
        opens, _ = self.market.session_bounds(self.market.trading_day())
        when = written(opens, self.market.calendar.timezone)
        text = (
            f"Order Message:\n{'BUY' if order.terms.side > 0 else 'SELL'} {order.terms.quantity.normalize():f} "
            f"{order.instrument.symbol}\nWarning: Your order will not be placed at the exchange until {when}."
        )
        self._refuse(order.client_id, order.order_id, Refusal(399, text))

    # ---------------------------------------------------------------- matching

    def _wake(self, key: str) -> None:
        """A bar begins: orders that waited for the session are with the exchange now."""
        for order in self.book.waiting(key):
            if order.status is Status.PRE_SUBMITTED and self._active(order):
                self._submit(order)

    def _submit(self, order: Order) -> None:
        """An order rests at the exchange, unless IB would keep it until its stop is passed."""
        if order.status is Status.PRE_SUBMITTED and (not order.terms.waits_for_stop or order.working.triggered):
            order.status = Status.SUBMITTED
            self._tell(order)

    def _active(self, order: Order) -> bool:
        """Whether the market's phase lets an order rest at the exchange now."""
        quote = self.market.quotes[order.instrument.key]
        extended = order.terms.outside_rth and quote.bar is not None and quote.at == self.market.now
        return self._may_trade(order) and (self.market.in_session(order.instrument.key) or extended)

    def _may_trade(self, order: Order) -> bool:
        return (
            not order.held
            and not order.status.done
            and order.active_from <= self.market.now
            and self.book.tradable(order) > 0
            and order.instrument.key not in self.market.halted
        )

    def _trade_now(self, order: Order) -> None:
        """Fill what can be filled at the standing price, where the market is to do so."""
        quote = self.market.quotes[order.instrument.key]
        if self.fill_at_once and quote.bar is not None and self.market.in_session(order.instrument.key):
            self._trade(order.instrument.key, quote.price, quote.price, quote.bar)

    def _trade(self, key: str, start: float, end: float, bar: Bar) -> None:
        """Follow the price from `start` to `end`; orders are met in the order in which the price reaches them."""
        at, spent = start, set[int]()
        while True:
            found = self._first(key, at, end, bar, spent)
            if found is None:
                break
            order, at, meeting = found
            if meeting is None:
                order.working.triggered = True
                self._submit(order)
            elif not self._fill(order, meeting, bar):
                spent.add(order.perm_id)
        for order in self.book.waiting(key):
            if order.terms.waits_for_stop and self._eligible(order, bar):
                follow(order.terms, order.working, end)
                self.changed_orders[order.perm_id] = order

    def _first(
        self, key: str, at: float, end: float, bar: Bar, spent: set[int]
    ) -> tuple[Order, float, Meeting | None] | None:
        """The next thing on the path: an order's stop is passed (no meeting), or an order trades."""
        best: tuple[Order, float, Meeting | None] | None = None
        for order in self.book.waiting(key):
            if order.perm_id in spent or not self._eligible(order, bar):
                continue
            if order.working.stop is None:
                begin(order.terms, order.working, at)
            place = passes_stop(order.terms, order.working, at, end)
            meeting = None if place is not None else meets(order.terms, order.working, at, end)
            if meeting is not None:
                place = meeting.price
            if place is not None and (best is None or abs(place - at) < abs(best[1] - at)):
                best = order, place, meeting
        return best

    def _eligible(self, order: Order, bar: Bar) -> bool:
        return self._may_trade(order) and (bar.regular or order.terms.outside_rth)

    def _fill(self, order: Order, meeting: Meeting, bar: Bar) -> bool:
        """Fill what the bar's volume allows; False when nothing more can fill on this bar."""
        before = self._taken.get(order.perm_id, (0, ZERO))
        taken = before[1] if before[0] == bar.closes else ZERO
        allowed = self.costs.participation.shares(bar.volume)
        wanted = self.book.tradable(order)
        if not math.isinf(allowed):
            wanted = min(wanted, Decimal(int(allowed)) - taken)
        if self.fraction_cap is not None:
            wanted = min(wanted, self.fraction_cap)
        if wanted <= 0 or (order.terms.all_or_none and wanted < order.remaining):
            return False
        self._taken[order.perm_id] = bar.closes, taken + wanted
        self.fill(order, wanted, self._price(order, meeting, wanted, bar), took=meeting.takes)
        return not order.status.done

    def _price(self, order: Order, meeting: Meeting, quantity: Decimal, bar: Bar) -> Decimal:
        if not meeting.takes:
            return price_of(meeting.price)
        return price_of(
            self.costs.slippage.price(
                order.terms.side, meeting.price, quantity=float(quantity), bar_volume=bar.volume,
                high=bar.high, low=bar.low,
            )
        )  # fmt: skip

    # ---------------------------------------------------------------- fills

    def fill(self, order: Order, quantity: Decimal, price: Decimal, *, took: bool = True) -> None:
        """Fill a part of an order at a price."""
        session = self.market.trading_day() if self.market.session_now() < 0 else self.market.session_now()
        fee = self.charges.fee(order, quantity, price, session)
        signed = quantity * order.terms.side
        realised = self.ledger.book(order.instrument.key, signed, price, fee)
        total = order.filled + quantity
        order.average = stepped((order.average * order.filled + price * quantity) / total)
        order.filled, order.last_price = total, price
        execution = Execution(
            exec_id=f"{session & 0xFFFFFFFF:08x}.{self.next_execution:08x}.01.01",
            perm_id=order.perm_id,
            client_id=order.client_id,
            order_id=order.order_id,
            instrument=order.instrument,
            at=self.market.now,
            session=session,
            side=order.terms.side,
            quantity=quantity,
            price=price,
            cumulative=total,
            average=order.average,
            fee=fee,
            realised=realised,
            order_ref=order.terms.order_ref,
            took=took,
        )
        self.next_execution += 1
        self._announce_fill(order, execution)

    def _announce_fill(self, order: Order, execution: Execution) -> None:
        self.executions.append(execution)
        self.news.append(Filled(execution))
        if order.remaining == 0:
            self._finish(order, Status.FILLED)
        else:
            order.status = Status.SUBMITTED
            self._tell(order)
        self.news.append(Charged(execution))
        self.news.append(PositionNews(order.instrument.key))
        self._fill_concerns(order, execution.quantity)

    def _fill_concerns(self, order: Order, quantity: Decimal) -> None:
        """What a fill means for the order's group, siblings and children."""
        for other in self.book.group(order):
            if order.terms.oca_type in {2, 3}:
                self._reduce(other, min(quantity, other.remaining), "Group was filled")
            else:
                self.cancel_order(other, "One of its group was filled")
        if order.parent_perm_id:
            self._shrink_children(self.book.orders[order.parent_perm_id])
        for child in self.book.children(order):
            if not child.held and child.status is Status.PRE_SUBMITTED and self._active(child):
                self._submit(child)

    def _shrink_children(self, parent: Order) -> None:
        """Children together close no more than their parent opens."""
        left = self.book.protectable(parent)
        for child in self.book.children(parent):
            if child.remaining > left:
                self._reduce(child, child.remaining - left, "Nothing is left to close")

    def _reduce(self, order: Order, quantity: Decimal, reason: str) -> None:
        if order.status.done:
            return
        if quantity >= order.remaining:
            self.cancel_order(order, reason)
            return
        order.reduced += quantity
        self._tell(order)

    def remember(self, done: Execution) -> None:
        """Take in an execution of an earlier run."""
        self.executions.append(done)
        self.charges.count(done.session, done.quantity)

    def correct(self, exec_id: str, price: Decimal) -> Execution | None:
        """Bust an execution and book it again at another price; its id ends with the next number."""
        old = next((e for e in reversed(self.executions) if e.exec_id == exec_id), None)
        if old is None:
            return None
        stem, _, number = exec_id.rpartition(".")
        signed = old.quantity * old.side
        self.ledger.book(old.instrument.key, -signed, old.price, -old.fee)
        realised = self.ledger.book(old.instrument.key, signed, price, old.fee)
        new = replace(old, exec_id=f"{stem}.{int(number) + 1:02d}", price=price, average=price, realised=realised)
        self.executions[self.executions.index(old)] = new
        self.news.extend([Filled(new), Charged(new), PositionNews(old.instrument.key)])
        return new

    def transfer(self, key: str, quantity: Decimal) -> None:
        """Shares come or go without a trade of ours."""
        quote = self.market.quotes[key]
        self.ledger.transfer(key, quantity, price_of(quote.price) if quote.known else ZERO)
        self.news.append(PositionNews(key))

    # ---------------------------------------------------------------- news

    def _finish(self, order: Order, status: Status) -> None:
        order.status, order.completed_at, order.held = status, self.market.now, False
        self.book.retire(order)
        self._tell(order)

    def _tell(self, order: Order) -> None:
        self.changed_orders[order.perm_id] = order
        self.news.append(OrderNews(replace(order, working=copy.copy(order.working))))

    def _refuse(self, client_id: int, order_id: int, refusal: Refusal) -> None:
        self.news.append(Refused(client_id, order_id, refusal.code, refusal.text))
