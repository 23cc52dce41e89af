"""The book of one account: messages in, changes out.

Belongs here: reading messages, matching them with orders, asking when something is missing, adopting what is not ours.
Does not belong here: an order's states (see `tracked`), sending anything.

Rules: fills come from executions alone and are booked once by execId; a status is a hint that may make the book ask;
what the broker did not say is not known. Everything that lasts is written as a change first, and a book is rebuilt
from those changes.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from broker.errors import OrderBookError, WrongAccountError
from broker.ib.messages import (
    AccountSnapshot,
    Alarm,
    Commission,
    CompletedOrder,
    Contract,
    Event,
    Execution,
    Notice,
    OpenOrder,
    OrderStatus,
    OrderTicket,
    Position,
    SessionState,
    StateChange,
    Undecoded,
)
from broker.orders import codes
from broker.orders.changes import (
    Change,
    CommissionBooked,
    ExecutionSkipped,
    FillBooked,
    FillCorrected,
    OrderAdopted,
    OrderIdentified,
    OrderIntended,
    OrderWarned,
    PositionAdopted,
    Question,
    StateChanged,
    TermsAsked,
    TermsConfirmed,
)
from broker.orders.concerns import Concern, Concerns, Patience
from broker.orders.fills import FillBook, parted
from broker.orders.memory import Memory
from broker.orders.states import OrderState
from broker.orders.tracked import TrackedOrder

_NONE = Decimal()
_HAS_IT = frozenset({"PreSubmitted", "Submitted"})
_CANCELLED = frozenset({"Cancelled", "ApiCancelled"})


class OrderBook:
    """Orders, fills and positions of one account as one client of the gateway sees them.

    Not thread-safe; every method takes `now`, aware UTC that never runs backwards, and tells what changed.

    Args:
        account: messages about other accounts are ignored.
        client_id: our number at the gateway; order ids of other clients are not ours.
        patience: how long to wait before asking.
    """

    def __init__(self, account: str, client_id: int, patience: Patience | None = None) -> None:
        self.account = account
        self.client_id = client_id
        self._patience = patience or Patience()
        self._memory = Memory()
        self._orders = self._memory.orders
        self._fills = self._memory.fills
        self._positions = self._memory.positions
        self._begun = False  # the opening positions are known
        self._restored = False  # and no snapshot was heard since
        self._concerns = Concerns(self._patience.again)
        self._current = False
        self._unexplained: dict[int, Decimal] = {}  # signed shares that were adopted and belong to no execution
        self._out: list[Change] = []

    @classmethod
    def restored(
        cls, account: str, client_id: int, changes: Iterable[Change], patience: Patience | None = None
    ) -> "OrderBook":
        """A book that goes on from the changes of an earlier one.

        Orders that were not done are UNKNOWN until the broker was asked: nobody listened in between.
        """
        book = cls(account, client_id, patience)
        for change in changes:
            book._memory.carry_out(change)
        book._begun = book._restored = True
        for order in book.open_orders:
            order.doubt = "nobody listened since the last message about it"
            order.cancel_sent = order.state is OrderState.CANCEL_SENT
            order.state = OrderState.UNKNOWN
            order.in_flight = None if order.acknowledged else order.last
            book._concerns.raise_at(("order", order.order_ref), order.last + book._patience.absence)
        return book

    # ---------------------------------------------------------------- what the book knows

    @property
    def orders(self) -> Mapping[str, TrackedOrder]:
        """All orders by reference, those that are not ours too; to be read only."""
        return MappingProxyType(self._orders)

    @property
    def open_orders(self) -> tuple[TrackedOrder, ...]:
        """The orders that are not done."""
        return tuple(self._memory.open.values())

    @property
    def fills(self) -> FillBook:
        """All fills; to be read only."""
        return self._fills

    @property
    def current(self) -> bool:
        """Whether the account's whole state was heard since the book began or the connection was lost."""
        return self._current

    def by_perm_id(self, perm_id: int) -> TrackedOrder | None:
        """The order with one of the broker's permanent numbers."""
        return self._orders.get(self._memory.by_perm_id.get(perm_id, ""))

    def by_order_id(self, order_id: int) -> TrackedOrder | None:
        """Our order with a number of our own."""
        return self._orders.get(self._memory.by_order_id.get(order_id, ""))

    def position(self, con_id: int) -> Decimal:
        """Signed shares of a contract."""
        return self._positions.booked(con_id)

    def positions(self) -> dict[int, Decimal]:
        """Signed shares by con_id, without the empty ones."""
        held = {con_id: self._positions.booked(con_id) for con_id in self._positions.con_ids()}
        return {con_id: quantity for con_id, quantity in held.items() if quantity}

    def differing(self, now: datetime) -> tuple[int, ...]:
        """Contracts in which the broker's position is not ours for longer than it takes to settle."""
        found = self._positions.differing(now) if self._begun else {}
        return tuple(con_id for con_id, since in found.items() if now - since >= self._patience.position)

    # ---------------------------------------------------------------- what we do

    def intend(self, contract: Contract, ticket: OrderTicket, now: datetime) -> tuple[Change, ...]:
        """Record an order before it is sent.

        Raises:
            OrderBookError: its reference is empty or taken, its order id is taken or its account is another one.
        """
        ref = ticket.order_ref
        if not ref or ref in self._orders:
            raise OrderBookError(f"order_ref: {ref!r} is empty or was used before.")
        taken = self._memory.by_order_id.get(ticket.order_id)
        if taken is not None:
            raise OrderBookError(f"order_id: {ticket.order_id} belongs to {taken!r}.")
        if ticket.account != self.account:
            raise OrderBookError(f"account: {ticket.account!r} is not {self.account!r}, whose book this is.")
        self._emit(OrderIntended(now, contract, ticket))
        return self._told()

    def sent(self, order_ref: str, now: datetime) -> tuple[Change, ...]:
        """The order was handed to the socket, for the first time or again."""
        order = self._own(order_ref)
        order.was_sent, order.in_flight, order.doubt = True, now, ""
        self._concerns.drop(("order", order_ref))
        self._concerns.raise_at(("order", order_ref), now + self._patience.acknowledgement)
        self._settle(order, now, "sent")
        return self._told()

    def withheld(self, order_ref: str, reason: str, now: datetime) -> tuple[Change, ...]:
        """An intended order will not be sent, or not again.

        Raises:
            OrderBookError: the broker may have it.
        """
        order = self._own(order_ref)
        if order.state is not OrderState.INTENDED:
            raise OrderBookError(f"{order_ref}: cannot be withheld, it is {order.state}.")
        order.end(OrderState.REJECTED, _NONE)
        self._settle(order, now, reason)
        return self._told()

    def terms_sent(self, ticket: OrderTicket, now: datetime) -> tuple[Change, ...]:
        """Other terms were handed to the socket for an order that works."""
        order = self._own(ticket.order_ref)
        self._emit(TermsAsked(now, ticket.order_ref, ticket))
        order.in_flight, order.refusal = now, None
        self._concerns.raise_at(("order", order.order_ref), now + self._patience.acknowledgement)
        return self._told()

    def cancel_sent(self, order_ref: str, now: datetime) -> tuple[Change, ...]:
        """The wish to cancel was handed to the socket."""
        order = self._own(order_ref)
        order.cancel_sent, order.in_flight = True, now
        self._concerns.raise_at(("order", order_ref), now + self._patience.cancellation)
        self._settle(order, now, "its cancellation was asked for")
        return self._told()

    # ---------------------------------------------------------------- what the broker says

    def apply(self, event: Event, now: datetime) -> tuple[Change, ...]:
        """Take in one message; messages about other things than orders, fills and positions change nothing."""
        if isinstance(event, AccountSnapshot):
            return self.reconcile(event, now)
        hear = _HEARERS.get(type(event))
        if hear is not None:
            hear(self, event, now)
        return self._told()

    def reconcile(self, snapshot: AccountSnapshot, now: datetime) -> tuple[Change, ...]:
        """Take in the account's whole state: what is open, ended, executed and held.

        Only a snapshot tells that something is **not** there.

        Raises:
            WrongAccountError: the snapshot is of another account.
        """
        if snapshot.account != self.account:
            raise WrongAccountError(f"account: the snapshot is of {snapshot.account!r}, the book of {self.account!r}.")
        first = not self._begun
        listed = self._hear_orders(snapshot, now)
        for execution in snapshot.executions:
            self._hear_execution(execution, now)
        for commission in snapshot.commissions:
            self._hear_commission(commission, now)
        evidence = min(snapshot.ts, now)
        for order in self.open_orders:
            self._resolve(order, listed.get(order.order_ref), evidence, now)
        self._hear_positions(snapshot, now, first=first)
        for order in self.open_orders:
            self._write_off(order, now)
        self._current = True
        return self._told()

    def due(self, now: datetime) -> tuple[Change, ...]:
        """What should have come by now and did not: questions to ask, at growing intervals."""
        overdue = {
            "order": self._ask_about_order,
            "commission": self._ask_for_commission,
            "orphan": self._ask_for_execution,
            "position": self._ask_for_position,
        }
        for kind, what in self._concerns.overdue(now):
            overdue[kind](what, now)
        return self._told()

    # ---------------------------------------------------------------- orders

    def _hear_orders(self, snapshot: AccountSnapshot, now: datetime) -> dict[str, OpenOrder]:
        """Take in all orders of a snapshot; those that are open, by reference."""
        listed = {}
        for told in snapshot.open_orders:
            order = self._hear_open_order(told, now)
            if order is not None:
                listed[order.order_ref] = told
        for completed in snapshot.completed_orders:
            self._hear_completed(completed, now)
        return listed

    def _hear_open_order(self, told: OpenOrder, now: datetime) -> TrackedOrder | None:
        ticket = told.ticket
        if ticket.account and ticket.account != self.account:
            return None
        order = self._find(ticket.order_ref, told.perm_id, told.client_id, ticket.order_id)
        if order is None:
            order = self._adopt(told, now)
        if order is None:
            return None
        self._identify(order, told.perm_id, now)
        if order.asked is not None and _same_terms(order.asked, ticket):
            self._confirm(order, order.asked, now)
        elif _changed_by_others(order, ticket):
            self._confirm(order, ticket, now)
        self._hear_progress(order, told.status, None, now)
        return order

    def _hear_status(self, told: OrderStatus, now: datetime) -> None:
        order = self._find("", told.perm_id, told.client_id, told.order_id)
        if order is None:
            if told.client_id == self.client_id:
                self._ask(now, "", f"order {told.order_id} has our client id and is not known")
            return
        self._identify(order, told.perm_id, now)
        self._hear_progress(order, told.status, told.filled, now)

    def _hear_progress(self, order: TrackedOrder, status: str, filled: Decimal | None, now: datetime) -> None:
        """What a status says; an open order's (`filled` is None) does not say how much was filled."""
        order.told_filled = max(order.told_filled, filled or _NONE)
        if status in _HAS_IT:
            self._hear_alive(order, now)
        elif status == "PendingCancel":
            order.acknowledged = True
            order.cancel_told = order.cancel_told or not order.cancel_sent
        elif status == "Filled":
            order.acknowledged = True
            order.end(OrderState.FILLED, filled or order.ticket.quantity)
        elif status in _CANCELLED:
            self._hear_cancelled(order, filled)
        elif status == "Inactive":
            self._hear_inactive(order)
        self._settle(order, now, f"the broker calls it {status}")

    def _hear_cancelled(self, order: TrackedOrder, filled: Decimal | None) -> None:
        if filled is None:
            order.cancel_told = True
        else:
            order.end(_how_it_ended(order, ""), filled)

    def _hear_alive(self, order: TrackedOrder, now: datetime) -> None:
        if order.ended is OrderState.REJECTED:
            order.ended = None
            self._doubt(order, now, "it was refused and shown as working")
        if order.asked is None and not (order.cancel_sent or order.cancel_told):
            order.in_flight = None
        order.acknowledged, order.heard = True, now

    def _hear_inactive(self, order: TrackedOrder) -> None:
        order.inactive = True
        if order.refusal is not None and order.asked is None and not order.told_filled:
            order.end(OrderState.REJECTED, _NONE)
        elif order.ended is None:
            order.doubt = "the broker calls it inactive"

    def _hear_completed(self, told: CompletedOrder, now: datetime) -> None:
        order = self._find(told.ticket.order_ref, told.perm_id, None, 0)
        if order is None:
            return
        self._identify(order, told.perm_id, now)
        if told.status == "Filled":
            order.end(OrderState.FILLED, told.filled or order.ticket.quantity)
        else:
            order.end(_how_it_ended(order, told.completed_status), told.filled)
        self._settle(order, now, told.completed_status or f"the broker calls it {told.status}")

    def _hear_notice(self, told: Notice, now: datetime) -> None:
        order = self.by_order_id(told.request_id)
        if order is None:
            return
        if told.code in codes.WARNINGS:
            self._emit(OrderWarned(now, order.order_ref, told.code, told.text))
        elif told.code == codes.CANCELLED:
            self._hear_cancellation(order, told, now)
        elif not order.state.terminal:
            self._hear_refusal(order, told, now)

    def _hear_cancellation(self, order: TrackedOrder, told: Notice, now: datetime) -> None:
        """That it was cancelled, perhaps why, and not how much was filled."""
        order.cancel_told, order.in_flight = True, now
        order.expiry_told = order.expiry_told or "expire" in told.text.lower()
        if order.expiry_told and order.ended is OrderState.CANCELLED:
            order.ended = OrderState.EXPIRED
        self._settle(order, now, told.text, told.code)

    def _hear_refusal(self, order: TrackedOrder, told: Notice, now: datetime) -> None:
        """An error that concerns an order: conclusive only for a new one that nobody has heard of."""
        order.refusal, order.in_flight = told, None
        is_new = not (order.acknowledged or order.executions or order.asked or order.cancel_sent)
        if (is_new or (order.inactive and order.asked is None)) and told.code in codes.REFUSALS and not order.missing:
            order.doubt = ""
            order.end(OrderState.REJECTED, _NONE)
        elif order.ended is None:
            self._doubt(order, now, f"the broker answers {told.code}: {told.text}")
        self._settle(order, now, told.text, told.code)

    def _adopt(self, told: OpenOrder, now: datetime) -> TrackedOrder | None:
        """Take in a working order that is not ours."""
        alive = told.status in _HAS_IT or told.status in {"PendingSubmit", "PendingCancel", "ApiPending"}
        if not told.perm_id or not alive:
            return None
        ref = _external(told.perm_id)
        self._emit(OrderAdopted(now, ref, told.contract, told.ticket, told.perm_id, told.client_id))
        ticket = told.ticket
        self._alarm(
            now,
            "external_order",
            f"An order that is not ours works in {self.account}: {ticket.action} {ticket.quantity} "
            f"{told.contract.symbol} {ticket.order_type} of client {told.client_id}.",
        )
        return self._orders[ref]

    def _identify(self, order: TrackedOrder, perm_id: int, now: datetime) -> None:
        if not perm_id or perm_id in order.perm_ids:
            return
        self._emit(OrderIdentified(now, order.order_ref, perm_id))
        if len(order.perm_ids) > 1:
            numbers = ", ".join(map(str, order.perm_ids))
            self._alarm(now, "two_perm_ids", f"The broker has {order.order_ref} as more than one order: {numbers}.")

    def _confirm(self, order: TrackedOrder, ticket: OrderTicket, now: datetime) -> None:
        self._emit(TermsConfirmed(now, order.order_ref, ticket))
        order.in_flight = None

    # ---------------------------------------------------------------- executions and commissions

    def _hear_execution(self, told: Execution, now: datetime) -> None:
        if told.account and told.account != self.account:
            return
        if not self._fills.is_news(told):
            return
        order = self._find(told.order_ref, told.perm_id, told.client_id, told.order_id)
        if order is None and not self._begun:
            self._emit(ExecutionSkipped(now, told.exec_id))  # it is part of the positions that will be told
            return
        earlier = self._fills.get(told.exec_id)
        external = order is None or not order.ours
        ref = _external(told.perm_id) if order is None else order.order_ref
        late = order is not None and order.state.terminal
        if earlier is None:
            self._emit(FillBooked(now, ref, told, external))
            if external:
                text = (
                    f"A fill that is not ours in {self.account}: {told.signed} {told.contract.symbol} at {told.price}."
                )
                self._alarm(now, "external_fill", text)
        else:
            self._emit(FillCorrected(now, ref, told, earlier.execution, external))
            self._alarm(now, "fill_corrected", f"The broker corrects {earlier.execution.exec_id} of {ref}.")
        self._expect_commission(told.exec_id, now)
        self._compare(now)
        if order is not None:
            self._follow_fill(order, now, late=late and earlier is None)

    def _follow_fill(self, order: TrackedOrder, now: datetime, *, late: bool) -> None:
        """What an execution means for its order; one after the end reopens it."""
        if order.filled > order.ticket.quantity and order.asked is None:
            text = f"{order.order_ref}: {order.filled} of {order.ticket.quantity} shares are filled."
            self._alarm(now, "overfilled", text)
        if late or order.ended is OrderState.REJECTED:
            if order.filled != order.ticket.quantity:
                order.ended = None
                self._doubt(order, now, "it was filled after it had ended")
            self._alarm(now, "fill_after_end", f"{order.order_ref} was filled after it had ended as {order.state}.")
        self._settle(order, now, "an execution")

    def _hear_commission(self, told: Commission, now: datetime) -> None:
        if self._fills.was_skipped(told.exec_id):
            return
        fill, known = self._fills.get(told.exec_id), self._fills.kept(told.exec_id)
        self._fills.keep(told)
        if fill is None and known != told:  # else it was asked for already, perhaps in vain
            self._concerns.raise_at(("orphan", parted(told.exec_id)[0]), now + self._patience.commission)
        self._book_commission(told.exec_id, now)

    def _expect_commission(self, exec_id: str, now: datetime) -> None:
        """Book a commission that came before its execution, or wait for it."""
        kept = self._fills.kept(exec_id)
        fill = self._fills.get(exec_id)
        if kept is not None:
            self._concerns.drop(("orphan", parted(exec_id)[0]))
            self._book_commission(exec_id, now)
        if fill is not None and fill.commission is None:
            self._concerns.raise_at(("commission", parted(exec_id)[0]), now + self._patience.commission)

    def _book_commission(self, exec_id: str, now: datetime) -> None:
        fill, kept = self._fills.get(exec_id), self._fills.kept(exec_id)
        if fill is None or kept is None or fill.commission == kept:
            return
        self._concerns.drop(("commission", parted(exec_id)[0]))
        self._emit(CommissionBooked(now, fill.order_ref, kept, fill.commission))

    # ---------------------------------------------------------------- positions

    def _hear_position(self, told: Position, now: datetime) -> None:
        if told.account != self.account:
            return
        self._positions.hear(told)
        self._compare(now)

    def _hear_positions(self, snapshot: AccountSnapshot, now: datetime, *, first: bool) -> None:
        """Take in all positions; a contract that is not listed is not held."""
        held = {told.contract.con_id: told for told in snapshot.positions if told.account == self.account}
        for con_id in self._positions.con_ids() - set(held):
            contract = self._positions.contract(con_id)
            if contract is not None:
                self._positions.hear(Position(self.account, contract, _NONE, _NONE))
        for told in held.values():
            self._positions.hear(told)
        if first:
            self._begun = True
            for told in held.values():
                if told.quantity:
                    self._adopt_position(told.contract, now, opening=True)
        else:
            self._settle_positions(min(snapshot.ts, now), now)
        self._compare(now)

    def _settle_positions(self, evidence: datetime, now: datetime) -> None:
        """Adopt differences that outlived the time to settle: every execution is known, none explains them."""
        at_once, self._restored = self._restored, False
        for con_id, since in self._positions.differing(now).items():
            contract = self._positions.contract(con_id)
            if (at_once or evidence - since >= self._patience.position) and contract is not None:
                self._adopt_position(contract, now, opening=False)

    def _adopt_position(self, contract: Contract, now: datetime, *, opening: bool) -> None:
        con_id = contract.con_id
        before, after = self._positions.booked(con_id), self._positions.told(con_id)
        cost = self._positions.told_cost(con_id)
        self._emit(PositionAdopted(now, contract, before, after, cost, opening))
        if not opening:
            self._unexplained[con_id] = self._unexplained.get(con_id, _NONE) + after - before
            text = f"{contract.symbol}: the broker holds {after} shares, our fills make {before}; {after} is adopted."
            self._alarm(now, "position_mismatch", text)

    def _compare(self, now: datetime) -> None:
        """Watch the contracts whose two positions differ."""
        differing = self._positions.differing(now) if self._begun else {}
        for con_id in self._positions.con_ids():
            key: Concern = ("position", str(con_id))
            if con_id in differing:
                self._concerns.raise_at(key, differing[con_id] + self._patience.position)
            else:
                self._concerns.drop(key)

    # ---------------------------------------------------------------- the connection

    def _hear_state(self, told: StateChange, now: datetime) -> None:
        if told.state is SessionState.DISCONNECTED:
            self._current = False

    def _hear_undecoded(self, told: Undecoded, now: datetime) -> None:
        if told.about_account:
            self._ask(now, "", f"a message could not be read: {told.text}")

    # ---------------------------------------------------------------- what a snapshot decides

    def _resolve(self, order: TrackedOrder, listed: OpenOrder | None, evidence: datetime, now: datetime) -> None:
        """Decide about an order that is not done, now that everything the broker has is known."""
        if not order.was_sent and not order.doubt and order.state is OrderState.INTENDED:
            return
        if order.in_flight is not None and evidence - order.in_flight < self._patience.absence:
            return  # the snapshot may be older than what was sent
        if listed is not None:
            self._resolve_listed(order, listed, now)
        elif order.heard is not None and evidence - order.heard < self._patience.absence:
            # parts of the snapshot may be older than the order
            self._concerns.raise_at(("order", order.order_ref), order.heard + self._patience.absence)
        elif order.ended is None:
            self._resolve_absent(order, now)

    def _resolve_listed(self, order: TrackedOrder, listed: OpenOrder, now: datetime) -> None:
        if listed.status in {"PendingSubmit", "ApiPending"}:
            return
        if not _same_terms(order.ticket, listed.ticket):
            text = f"{order.order_ref}: the terms in force at the broker are not those that were sent."
            self._confirm(order, listed.ticket, now)
            self._alarm(now, "terms_changed", text)
        elif order.asked is not None:
            self._confirm(order, order.ticket, now)
        order.acknowledged, order.in_flight, order.doubt, order.refusal = True, None, "", None
        if listed.status != "PendingCancel":
            order.cancel_sent = order.cancel_told = False
        self._concerns.drop(("order", order.order_ref))
        self._settle(order, now, f"the broker lists it as {listed.status}")

    def _resolve_absent(self, order: TrackedOrder, now: datetime) -> None:
        """An order that is neither open nor completed."""
        order.doubt = ""
        refusal = order.refusal
        if refusal is not None and not order.executions and not order.cancel_sent:
            order.end(OrderState.REJECTED, _NONE)
            self._settle(order, now, refusal.text, refusal.code)
        elif order.acknowledged or order.executions or order.perm_ids or order.cancel_told:
            order.end(OrderState.CANCELLED, order.filled)
            self._settle(order, now, "the broker has it no longer")
        else:
            order.was_sent, order.in_flight, order.cancel_sent = False, None, False
            self._settle(order, now, "the broker never had it")

    def _write_off(self, order: TrackedOrder, now: datetime) -> None:
        """Give up on executions of an order that has ended, which the broker was asked for and has forgotten.

        Only where an adopted position has accounted for the shares.
        """
        con_id, sign = order.contract.con_id, 1 if order.ticket.action == "BUY" else -1
        missing, adopted = sign * order.missing, self._unexplained.get(con_id, _NONE)
        if order.state is OrderState.UNKNOWN and order.ended is not None and missing and missing * adopted > 0:
            self._unexplained[con_id] = adopted - missing if abs(adopted) > abs(missing) else _NONE
            order.told_filled, order.doubt = order.filled, ""
            self._settle(order, now, "its last shares are part of the position that was adopted")

    # ---------------------------------------------------------------- overdue

    def _ask_about_order(self, order_ref: str, now: datetime) -> None:
        order = self._orders[order_ref]
        if order.state is OrderState.SENT:
            self._doubt(order, now, "no answer in time")
            self._settle(order, now, order.doubt)
        elif order.asked is not None and not order.doubt:
            self._doubt(order, now, "no answer in time to other terms")
            self._settle(order, now, order.doubt)
        elif order.missing and self._concerns.asked(("order", order_ref)) > 1:
            self._doubt(order, now, f"{order.missing} shares are filled and no execution says so")
            self._settle(order, now, order.doubt)
        else:
            self._ask(now, order_ref, order.doubt or f"it is {order.state} since {order.last.isoformat()}")

    def _ask_for_commission(self, stem: str, now: datetime) -> None:
        fill = self._fills.named(stem)
        ref = "" if fill is None else fill.order_ref
        if self._concerns.asked(("commission", stem)) > self._patience.tries:
            self._concerns.drop(("commission", stem))
            self._alarm(now, "commission_missing", f"{ref}: the broker tells no commission for execution {stem}.")
        else:
            self._ask(now, ref, f"no commission for execution {stem}")

    def _ask_for_execution(self, stem: str, now: datetime) -> None:
        if self._concerns.asked(("orphan", stem)) > self._patience.tries:
            self._concerns.drop(("orphan", stem))
            self._alarm(now, "execution_missing", f"The broker tells a commission for {stem} and no execution.")
        else:
            self._ask(now, "", f"a commission for execution {stem}, which is not known")

    def _ask_for_position(self, con_id: str, now: datetime) -> None:
        booked, told = self._positions.booked(int(con_id)), self._positions.told(int(con_id))
        self._ask(now, "", f"the position of contract {con_id} is {booked} by our fills and {told} by the broker")

    # ---------------------------------------------------------------- inside

    def _own(self, order_ref: str) -> TrackedOrder:
        order = self._orders.get(order_ref)
        if order is None:
            raise OrderBookError(f"order_ref: {order_ref!r} is no order of this book.")
        return order

    def _find(self, order_ref: str, perm_id: int, client_id: int | None, order_id: int) -> TrackedOrder | None:
        """An order by our reference, else by the broker's number, else by ours."""
        order = self._orders.get(order_ref) or self.by_perm_id(perm_id)
        if order is None and not order_ref and client_id == self.client_id:
            order = self.by_order_id(order_id)
        return order

    def _doubt(self, order: TrackedOrder, now: datetime, why: str) -> None:
        order.doubt = why
        self._ask(now, order.order_ref, why)

    def _settle(self, order: TrackedOrder, now: datetime, reason: str, code: int | None = None) -> None:
        """Let the state follow the facts, and expect what is still missing."""
        after = order.concluded()
        if order.state.terminal and not after.terminal and not order.doubt:
            self._doubt(order, now, "it had ended and has shares that are not accounted for")
            after = order.concluded()
        if after is not order.state:
            self._emit(StateChanged(now, order.order_ref, order.state, after, order.doubt or reason, code))
            self._tell_of_end(order, now)
        key: Concern = ("order", order.order_ref)
        if order.state.terminal or (order.state is OrderState.WORKING and not order.missing and order.asked is None):
            self._concerns.drop(key)
        elif order.missing or order.ended is not None or order.cancel_told:
            self._concerns.raise_at(key, now + self._patience.executions)
        elif order.doubt:
            self._concerns.raise_at(key, now + self._patience.again)

    def _tell_of_end(self, order: TrackedOrder, now: datetime) -> None:
        """Say aloud that the broker refused an order, or ended one that nobody here asked to end."""
        if order.state is OrderState.REJECTED and order.ours and order.was_sent:
            self._alarm(now, "order_rejected", f"{order.order_ref} was rejected: {order.reason}")
        expected = order.cancel_sent or order.ticket.oca_group or order.ticket.parent_id or order.ticket.tif != "GTC"
        if order.state is OrderState.CANCELLED and order.ours and not expected:
            self._alarm(now, "cancelled_by_broker", f"{order.order_ref} was cancelled, not by us: {order.reason}")

    def _ask(self, now: datetime, order_ref: str, reason: str) -> None:
        self._out.append(Question(now, order_ref, reason))

    def _alarm(self, now: datetime, code: str, text: str) -> None:
        self._out.append(Alarm(now, code, text))

    def _told(self) -> tuple[Change, ...]:
        told, self._out = tuple(self._out), []
        return told

    def _emit(self, change: Change) -> None:
        """Write a change and carry it out."""
        self._out.append(change)
        self._memory.carry_out(change)


def _external(perm_id: int) -> str:
    """The reference of an order that is not ours."""
    return f"external:{perm_id}"


def _how_it_ended(order: TrackedOrder, words: str) -> OrderState:
    """What an end without a fill of the whole is, by what else was heard."""
    refused = order.refusal is not None and order.refusal.code in codes.REFUSALS and order.asked is None
    if (refused or "reject" in words.lower()) and not order.executions:
        return OrderState.REJECTED
    if order.expiry_told or "expire" in words.lower():
        return OrderState.EXPIRED
    return OrderState.CANCELLED


def _changed_by_others(order: TrackedOrder, told: OrderTicket) -> bool:
    """Whether an order is shown with terms that its owner, if that is not us, or its group gave it."""
    if order.ours:
        grouped = order.ticket.oca_group or order.ticket.parent_id
        return bool(grouped) and order.asked is None and told.quantity < order.ticket.quantity
    return not _same_terms(order.ticket, told)


def _same_terms(ours: OrderTicket, told: OrderTicket) -> bool:
    """Whether an order has the quantity and prices of another description of it."""
    return (
        ours.quantity == told.quantity
        and (ours.limit_price is None or ours.limit_price == told.limit_price)
        and (ours.aux_price is None or ours.aux_price == told.aux_price)
    )


_HEARERS: dict[type, Callable[[OrderBook, Any, datetime], object]] = {
    OpenOrder: OrderBook._hear_open_order,
    OrderStatus: OrderBook._hear_status,
    Execution: OrderBook._hear_execution,
    Commission: OrderBook._hear_commission,
    Position: OrderBook._hear_position,
    Notice: OrderBook._hear_notice,
    StateChange: OrderBook._hear_state,
    Undecoded: OrderBook._hear_undecoded,
}
