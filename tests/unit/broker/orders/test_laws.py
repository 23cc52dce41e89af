"""Laws that hold for any order, repetition and loss of messages.

A small market makes up what truly happens to a few orders; the messages about it are then told in any order, some of
them more than once.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.ib.messages import Notice
from broker.orders.book import OrderBook
from broker.orders.changes import CommissionBooked, FillBooked, FillCorrected
from broker.orders.journal import read, written
from broker.orders.states import OrderState
from tests.unit.broker.orders.telling import (
    AAPL,
    ACCOUNT,
    CLIENT,
    Desk,
    at,
    commission,
    completed,
    execution,
    held,
    limit,
    of_kind,
    open_order,
    snapshot,
    status,
)

LATER = 3600

cuts = st.lists(st.integers(1, 9), max_size=3, unique=True).map(sorted)
fates = st.sampled_from(["filled", "cancelled", "refused", "working"])
lives = st.builds(
    dict,
    side=st.sampled_from(["BUY", "SELL"]),
    pieces=cuts,
    fate=fates,
    corrected=st.booleans(),
)


@dataclass
class Truth:
    """What happened, and every message about it."""

    orders: list = field(default_factory=list)
    messages: list = field(default_factory=list)
    executions: dict = field(default_factory=dict)  # by name without the revision
    ended: list = field(default_factory=list)
    states: dict = field(default_factory=dict)

    def live(self, number, life):
        order = limit(f"order-{number}", number, 10, action=life["side"])
        self.orders.append(order)
        if life["fate"] == "refused":
            self.messages.append(Notice(number, 201, "No."))
            self.states[order.order_ref] = OrderState.REJECTED
            return
        self.messages += [open_order(order, "PreSubmitted"), status(order, "Submitted")]
        done = self._fill(order, life)
        self._end(order, life["fate"], done)

    def _fill(self, order, life):
        marks = [*life["pieces"], *([10] if life["fate"] == "filled" else [])]
        before = 0
        for mark in marks:
            told = execution(order, f"{order.order_id}{mark}", mark - before, mark)
            self._execute(order, told)
            if life["corrected"]:
                self._execute(order, replace(told, exec_id=told.exec_id[:-1] + "2", price=Decimal(49)))
            before = mark
        return before

    def _execute(self, order, told):
        self.executions[told.exec_id[:-3]] = told
        self.messages += [told, status(order, "Submitted", told.cumulative), commission(told)]

    def _end(self, order, fate, done):
        name = {"filled": "Filled", "cancelled": "Cancelled", "working": "Submitted"}[fate]
        self.messages += [status(order, name, done)]
        self.states[order.order_ref] = {
            "filled": OrderState.FILLED, "cancelled": OrderState.CANCELLED, "working": OrderState.WORKING,
        }[fate]  # fmt: skip
        if fate != "working":
            self.ended.append(completed(order, name, done))

    @property
    def position(self):
        return sum((told.signed for told in self.executions.values()), Decimal())

    def filled(self, order):
        return sum((t.quantity for t in self.executions.values() if t.order_ref == order.order_ref), Decimal())

    def snapshot(self, seconds):
        working = [o for o in self.orders if self.states[o.order_ref] is OrderState.WORKING]
        told = tuple(self.executions.values())
        return snapshot(
            seconds,
            positions=[held(self.position)],
            open_orders=map(open_order, working),
            completed_orders=self.ended,
            executions=told,
            commissions=map(commission, told),
        )


@st.composite
def tales(draw):
    """What happened, and the messages in the order in which they are heard, some twice."""
    truth = Truth()
    for number, life in enumerate(draw(st.lists(lives, min_size=1, max_size=3)), start=1):
        truth.live(number, life)
    repeated = draw(st.lists(st.sampled_from(truth.messages), max_size=5))
    return truth, draw(st.permutations([*truth.messages, *repeated]))


def ready(truth):
    desk = Desk()
    for order in truth.orders:
        desk.send(order)
    return desk


def outcome(book):
    fills = {fill.execution.exec_id: (fill.order_ref, fill.commission) for fill in book.fills}
    return fills, book.positions(), book.fills.fees()


@given(tales())
@settings(max_examples=150, deadline=None)
def test_whatever_the_order_of_messages_fills_positions_and_commissions_end_the_same(tale):
    truth, heard = tale
    desk, straight = ready(truth), ready(truth)
    desk.hear(*heard)
    straight.hear(*truth.messages)
    assert outcome(desk.book) == outcome(straight.book)
    assert desk.position == truth.position
    assert {ref: order.filled for ref, order in desk.book.orders.items()} == {
        order.order_ref: truth.filled(order) for order in truth.orders
    }


@given(tales(), st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_was_lost_a_snapshot_brings_the_truth(tale, data):
    truth, heard = tale
    desk = ready(truth)
    desk.hear(*heard[: data.draw(st.integers(0, len(heard)))])
    desk.due(60)
    desk.hear(truth.snapshot(LATER), seconds=LATER)
    assert {ref: order.state for ref, order in desk.book.orders.items()} == {
        **truth.states,
        **{ref: desk.book.orders[ref].state for ref in unheard_refusals(truth, desk)},
    }
    assert desk.position == truth.position
    assert desk.fees == len(truth.executions)


def unheard_refusals(truth, desk):
    """Orders that were refused without our hearing it: they are nowhere, so that they may be sent again."""
    return [
        ref
        for ref, state in truth.states.items()
        if state is OrderState.REJECTED and desk.book.orders[ref].state is OrderState.INTENDED
    ]


@given(tales())
@settings(max_examples=150, deadline=None)
def test_a_terminal_state_is_true_at_every_moment(tale):
    truth, heard = tale
    desk = ready(truth)
    for message in heard:
        desk.hear(message)
        for order in truth.orders:
            tracked = desk.book.orders[order.order_ref]
            if tracked.state.terminal:
                assert tracked.state is truth.states[order.order_ref]
                assert tracked.filled == truth.filled(order)


@given(tales())
@settings(max_examples=150, deadline=None)
def test_never_more_is_booked_than_was_executed(tale):
    truth, heard = tale
    desk = ready(truth)
    for message in heard:
        desk.hear(message)
        for order in truth.orders:
            assert desk.book.orders[order.order_ref].filled <= truth.filled(order)


@given(tales())
@settings(max_examples=100, deadline=None)
def test_what_is_filled_of_an_order_never_falls(tale):
    truth, heard = tale
    desk, before = ready(truth), defaultdict(Decimal)
    for message in heard:
        desk.hear(message)
        for ref, order in desk.book.orders.items():
            assert order.filled >= before[ref]
            before[ref] = order.filled


@given(tales())
@settings(max_examples=100, deadline=None)
def test_each_execution_and_each_commission_is_told_once(tale):
    truth, heard = tale
    desk = ready(truth)
    changes = desk.hear(*heard)
    booked = [change.execution.exec_id for change in of_kind(changes, FillBooked)]
    corrected = [change.execution.exec_id for change in of_kind(changes, FillCorrected)]
    charged = [change.commission.exec_id for change in of_kind(changes, CommissionBooked)]
    assert len(booked + corrected) == len(set(booked + corrected))
    assert len(charged) == len(set(charged))


@given(tales(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_book_that_was_rebuilt_from_its_changes_goes_on_as_if_nothing_had_happened(tale, data):
    truth, heard = tale
    at_message = data.draw(st.integers(0, len(heard)))
    desk = ready(truth)
    desk.hear(*heard[:at_message])
    kept = [read(written(change)) for change in desk.told]
    book = OrderBook.restored(ACCOUNT, CLIENT, kept)
    assert outcome(book) == outcome(desk.book)
    for message in (*heard[at_message:], truth.snapshot(LATER)):
        book.apply(message, at(LATER))
    assert book.position(AAPL.con_id) == truth.position
    assert book.fills.fees() == len(truth.executions)
    assert all(order.state.terminal or truth.states[ref] is order.state or order.state is OrderState.INTENDED
               for ref, order in book.orders.items())  # fmt: skip
