"""What goes wrong between a client and a gateway, and what the book makes of it."""

from dataclasses import replace
from decimal import Decimal

import pytest

from broker.errors import OrderBookError, WrongAccountError
from broker.ib.messages import Contract, Execution, SessionState, StateChange, Undecoded
from broker.orders.changes import (
    CommissionBooked,
    FillBooked,
    FillCorrected,
    OrderAdopted,
    OrderWarned,
    PositionAdopted,
    StateChanged,
    TermsConfirmed,
)
from tests.unit.broker.orders.telling import (
    AAPL,
    Desk,
    alarms,
    asks,
    at,
    commission,
    completed,
    execution,
    held,
    limit,
    of_kind,
    open_order,
    refusal,
    snapshot,
    status,
    ticket,
)


@pytest.fixture
def desk():
    return Desk()


def test_an_order_goes_from_intended_to_filled(desk):
    order = ticket()
    desk.told += desk.book.intend(AAPL, order, at())
    desk.told += desk.book.sent("one", at())
    done = execution(order, 1, 10)
    desk.hear(open_order(order, "PreSubmitted"), status(order, "Submitted"), done, status(order, "Filled", 10))
    desk.hear(commission(done))
    steps = [(change.before.value, change.after.value) for change in of_kind(desk.told, StateChanged)]
    assert steps == [("INTENDED", "SENT"), ("SENT", "WORKING"), ("WORKING", "FILLED")]
    assert (desk.position, desk.fees) == (10, 1)


# ---------------------------------------------------------------- commissions


def test_a_commission_before_its_execution_waits_for_it(desk):
    order = desk.working(ticket())
    done = execution(order, 1, 10)
    assert of_kind(desk.hear(commission(done)), CommissionBooked) == []
    assert [change.commission.amount for change in of_kind(desk.hear(done), CommissionBooked)] == [1]


def test_a_commission_without_its_execution_is_asked_about(desk):
    order = desk.working(ticket())
    desk.hear(commission(execution(order, 1, 10)))
    assert not asks(desk.due(14))
    assert asks(desk.due(15))


def test_a_commission_that_does_not_come_is_asked_for_and_then_given_up(desk):
    order = desk.working(ticket())
    desk.hear(execution(order, 1, 10), held(10))
    assert not asks(desk.due(14))
    assert asks(desk.due(15))
    told = [change for second in range(16, 2000, 10) for change in desk.due(second)]
    assert alarms(told) == ["commission_missing"]
    assert desk.state() == "FILLED"


def test_a_commission_that_was_asked_for_is_booked(desk):
    order = desk.working(ticket())
    done = execution(order, 1, 10)
    desk.hear(done)
    desk.due(15)
    desk.hear(
        snapshot(16, positions=[held(10)], executions=[replace(done, solicited=True)], commissions=[commission(done)])
    )
    assert desk.fees == 1
    assert not asks(desk.due(1000))


def test_a_changed_commission_replaces_the_earlier_one(desk):
    order = desk.working(ticket())
    done = execution(order, 1, 10)
    desk.hear(done, commission(done), commission(done, "1.25"))
    assert desk.fees == Decimal("1.25")


# ---------------------------------------------------------------- executions


def test_a_repeated_execution_is_booked_once(desk):
    order = desk.working(ticket())
    done = execution(order, 1, 10)
    changes = desk.hear(done, done, replace(done, solicited=True))
    assert len(of_kind(changes, FillBooked)) == 1
    assert desk.position == 10


def test_a_repeated_commission_is_booked_once(desk):
    order = desk.working(ticket())
    done = execution(order, 1, 10)
    changes = desk.hear(done, commission(done), commission(done))
    assert len(of_kind(changes, CommissionBooked)) == 1


def test_a_filled_status_without_executions_books_nothing_and_asks(desk):
    order = desk.working(ticket())
    desk.hear(status(order, "Filled", 10))
    assert (desk.state(), desk.filled(), desk.position) == ("WORKING", 0, 0)
    assert not asks(desk.due(1))
    assert asks(desk.due(2))
    done = execution(order, 1, 10)
    desk.hear(snapshot(3, positions=[held(10)], completed_orders=[completed(order, filled=10)], executions=[done]))
    assert (desk.state(), desk.position) == ("FILLED", 10)


def test_executions_that_never_come_leave_the_order_unknown(desk):
    order = desk.working(ticket())
    desk.hear(status(order, "Filled", 10))
    desk.due(2)
    desk.hear(snapshot(3, completed_orders=[completed(order, filled=10)]))
    desk.due(30)
    assert (desk.state(), desk.position) == ("UNKNOWN", 0)


def test_a_gap_in_the_cumulative_quantity_is_asked_about(desk):
    order = desk.working(ticket())
    desk.hear(execution(order, 2, 3, cumulative=7))
    assert desk.filled() == 3
    assert asks(desk.due(2))


def test_a_correction_replaces_the_execution(desk):
    order = desk.working(ticket())
    desk.hear(execution(order, 1, 10))
    changes = desk.hear(execution(order, 1, 10, price="51", revision=2))
    (corrected,) = of_kind(changes, FillCorrected)
    assert (corrected.earlier.price, corrected.execution.price) == (50, 51)
    assert (desk.position, alarms(changes)) == (10, ["fill_corrected"])


def test_an_older_revision_after_its_correction_changes_nothing(desk):
    order = desk.working(ticket())
    desk.hear(execution(order, 1, 10, price="51", revision=2))
    assert desk.hear(execution(order, 1, 10)) == []


def test_a_correction_of_the_quantity_moves_the_position(desk):
    order = desk.working(ticket())
    desk.hear(execution(order, 1, 4))
    desk.hear(execution(order, 1, 3, revision=2))
    assert (desk.position, desk.filled()) == (3, 3)


def test_a_fill_in_fractions_is_counted_exactly(desk):
    order = desk.working(ticket(quantity="0.3"))
    desk.hear(execution(order, 1, "0.1", "0.1"), execution(order, 2, "0.2", "0.3"))
    assert (desk.state(), desk.position) == ("FILLED", Decimal("0.3"))


# ---------------------------------------------------------------- status


def test_a_status_never_lowers_what_is_filled(desk):
    order = desk.working(ticket())
    desk.hear(execution(order, 1, 4), status(order, "Submitted", 0))
    assert desk.filled() == 4


def test_a_working_status_after_the_end_changes_nothing(desk):
    order = desk.working(ticket())
    desk.hear(execution(order, 1, 10), status(order, "Filled", 10))
    assert desk.hear(status(order, "Submitted", 4), status(order, "PreSubmitted")) == []


def test_a_pending_submit_is_no_acknowledgement(desk):
    order = desk.send(ticket())
    desk.hear(open_order(order, "PendingSubmit"), status(order, "PendingSubmit"))
    assert desk.state() == "SENT"


def test_a_status_of_another_client_with_the_same_order_id_is_not_ours(desk):
    order = desk.working(ticket())
    assert desk.hear(status(order, "Filled", 10, perm_id=5, client_id=3)) == []
    assert desk.filled() == 0


# ---------------------------------------------------------------- modification


def modified(desk, order, price="51"):
    other = replace(order, limit_price=Decimal(price))
    desk.told += desk.book.terms_sent(other, at(20))
    return other


@pytest.mark.parametrize("code", [105, 110, 201, 321, 10318])
def test_a_refused_modification_leaves_the_order_unknown_until_it_was_asked_for(desk, code):
    order = desk.working(limit())
    modified(desk, order)
    changes = desk.hear(refusal(order, code), seconds=20)
    assert (desk.state(), asks(changes)) == ("UNKNOWN", True)
    desk.hear(snapshot(21, open_orders=[open_order(order)]), seconds=21)
    assert (desk.state(), desk.book.orders["one"].ticket.limit_price) == ("WORKING", 50)
    assert desk.book.orders["one"].asked is None


def test_a_modification_is_confirmed_by_the_order_as_the_broker_shows_it(desk):
    order = desk.working(limit())
    other = modified(desk, order)
    changes = desk.hear(open_order(other), seconds=20)
    assert [change.ticket.limit_price for change in of_kind(changes, TermsConfirmed)] == [51]
    assert desk.state() == "WORKING"


def test_a_modification_without_an_answer_is_asked_about(desk):
    order = desk.working(limit())
    modified(desk, order)
    assert desk.due(29) == ()
    assert asks(desk.due(30))
    assert desk.state() == "UNKNOWN"
    desk.hear(snapshot(40, open_orders=[open_order(order)]), seconds=40)
    assert (desk.state(), desk.book.orders["one"].ticket.limit_price) == ("WORKING", 50)


def test_a_larger_quantity_that_is_not_confirmed_leaves_a_filled_order_open(desk):
    order = desk.working(limit())
    desk.book.terms_sent(replace(order, quantity=Decimal(15)), at(20))
    desk.hear(execution(order, 1, 10), seconds=20)
    assert desk.state() == "WORKING"
    desk.hear(status(order, "Filled", 10), seconds=20)
    assert desk.state() == "FILLED"


def test_terms_that_changed_at_the_broker_are_taken_over_and_alarmed(desk):
    order = desk.working(limit())
    changes = desk.hear(snapshot(20, open_orders=[open_order(replace(order, quantity=Decimal(6)))]), seconds=20)
    assert (alarms(changes), desk.book.orders["one"].ticket.quantity) == (["terms_changed"], 6)


def test_two_permanent_numbers_for_one_order_raise_an_alarm(desk):
    order = desk.working(limit())
    changes = desk.hear(open_order(order, perm_id=4711))
    assert alarms(changes) == ["two_perm_ids"]
    assert desk.book.by_perm_id(4711).order_ref == "one"


# ---------------------------------------------------------------- acknowledgement


def test_an_order_that_nobody_acknowledges_becomes_unknown_and_is_asked_about(desk):
    desk.send(ticket())
    assert desk.due(9) == ()
    assert (asks(desk.due(10)), desk.state()) == (True, "UNKNOWN")


def test_a_question_is_asked_again_at_growing_intervals(desk):
    desk.send(ticket())
    seconds = [second for second in range(300) if asks(desk.due(second))]
    assert seconds == [10, 25, 55, 115, 235]


def test_an_order_that_is_nowhere_may_be_sent_again_after_the_grace_period_only(desk):
    desk.send(ticket())
    desk.due(10)
    desk.hear(snapshot(14), seconds=14)
    assert desk.state() == "UNKNOWN"
    desk.hear(snapshot(15), seconds=15)
    assert desk.state() == "INTENDED"
    desk.book.sent("one", at(16))
    assert desk.state() == "SENT"


def test_an_old_snapshot_says_nothing_about_an_order_sent_after_it(desk):
    desk.send(ticket(), seconds=20)
    desk.due(40)
    desk.hear(snapshot(19), seconds=60)
    assert desk.state() == "UNKNOWN"


@pytest.mark.parametrize("place", ["open", "completed", "executed"])
def test_an_order_without_acknowledgement_that_is_somewhere_is_never_sent_again(desk, place):
    order = desk.send(ticket())
    desk.due(10)
    told = {
        "open": snapshot(60, open_orders=[open_order(order)]),
        "completed": snapshot(60, completed_orders=[completed(order, "Cancelled")]),
        "executed": snapshot(60, executions=[execution(order, 1, 4)], positions=[held(4)]),
    }[place]
    desk.hear(told, seconds=60)
    assert desk.state() == {"open": "WORKING", "completed": "CANCELLED", "executed": "CANCELLED"}[place]


def test_an_order_that_is_withheld_is_over(desk):
    desk.book.intend(AAPL, ticket(), at())
    desk.book.withheld("one", "too late", at())
    assert (desk.state(), desk.book.orders["one"].reason) == ("REJECTED", "too late")


def test_an_order_that_was_sent_cannot_be_withheld(desk):
    desk.send(ticket())
    with pytest.raises(OrderBookError, match="SENT"):
        desk.book.withheld("one", "too late", at())


# ---------------------------------------------------------------- cancellation


def cancelling(desk, order, seconds=20):
    desk.told += desk.book.cancel_sent(order.order_ref, at(seconds))


def test_a_fill_that_races_a_cancellation_counts(desk):
    order = desk.working(limit())
    cancelling(desk, order)
    desk.hear(execution(order, 1, 10), refusal(order, 10148), seconds=20)
    assert (desk.state(), desk.position) == ("FILLED", 10)


def test_a_cancellation_under_way_may_still_fill(desk):
    order = desk.working(limit())
    cancelling(desk, order)
    desk.hear(status(order, "PendingCancel"), execution(order, 1, 4), seconds=20)
    assert (desk.state(), desk.filled()) == ("CANCEL_SENT", 4)


def test_a_partly_filled_order_is_cancelled_when_every_fill_is_booked(desk):
    order = desk.working(limit())
    cancelling(desk, order)
    desk.hear(status(order, "Cancelled", 4), seconds=20)
    assert desk.state() == "CANCEL_SENT"
    desk.hear(execution(order, 1, 4), seconds=20)
    assert (desk.state(), desk.filled()) == ("CANCELLED", 4)


def test_a_fill_after_the_cancellation_reopens_the_order_until_it_was_asked_for(desk):
    order = desk.working(limit())
    cancelling(desk, order)
    desk.hear(status(order, "Cancelled"), seconds=20)
    assert desk.state() == "CANCELLED"
    changes = desk.hear(execution(order, 1, 4), seconds=21)
    assert (desk.state(), desk.position, alarms(changes), asks(changes)) == ("UNKNOWN", 4, ["fill_after_end"], True)
    done = completed(order, "Cancelled", 4)
    desk.hear(snapshot(22, completed_orders=[done], positions=[held(4)]), seconds=22)
    assert (desk.state(), desk.filled()) == ("CANCELLED", 4)


def test_a_fill_of_the_whole_after_the_cancellation_makes_it_filled(desk):
    order = desk.working(limit())
    cancelling(desk, order)
    desk.hear(status(order, "Cancelled"), execution(order, 1, 10), seconds=20)
    assert (desk.state(), desk.position) == ("FILLED", 10)


def test_a_cancellation_without_an_answer_is_asked_about(desk):
    order = desk.working(limit())
    cancelling(desk, order)
    assert desk.due(29) == ()
    assert (asks(desk.due(30)), desk.state()) == (True, "CANCEL_SENT")


def test_a_cancellation_that_was_lost_leaves_the_order_working(desk):
    order = desk.working(limit())
    cancelling(desk, order)
    desk.hear(snapshot(36, open_orders=[open_order(order)]), seconds=36)
    assert desk.state() == "WORKING"


@pytest.mark.parametrize("code", [161, 10147, 10148])
def test_a_refused_cancellation_is_resolved_by_asking(desk, code):
    order = desk.working(limit())
    cancelling(desk, order)
    changes = desk.hear(refusal(order, code), seconds=20)
    assert (desk.state(), asks(changes)) == ("UNKNOWN", True)
    desk.hear(snapshot(21, open_orders=[open_order(order)]), seconds=21)
    assert desk.state() == "WORKING"


def test_a_cancellation_that_is_only_announced_is_not_believed_before_the_fills_are_known(desk):
    order = desk.working(limit())
    desk.hear(refusal(order, 202, "Order Canceled - reason:"))
    assert desk.state() == "CANCEL_SENT"
    assert asks(desk.due(2))
    desk.hear(execution(order, 1, 4), status(order, "Cancelled", 4), seconds=3)
    assert (desk.state(), desk.filled()) == ("CANCELLED", 4)


def test_an_announced_cancellation_is_not_forgotten_for_an_older_list_of_open_orders(desk):
    order = desk.working(limit())
    desk.hear(refusal(order, 202, "Order Canceled - reason:"), seconds=20)
    desk.hear(snapshot(21, open_orders=[open_order(order)]), seconds=21)
    assert desk.state() == "CANCEL_SENT"
    desk.hear(snapshot(23, completed_orders=[completed(order, "Cancelled")]), seconds=23)
    assert desk.state() == "CANCELLED"


def test_an_open_order_shown_as_cancelled_waits_for_the_count_of_fills(desk):
    order = desk.working(limit())
    desk.hear(open_order(order, "Cancelled"))
    assert desk.state() == "CANCEL_SENT"
    desk.hear(status(order, "Cancelled", 0))
    assert desk.state() == "CANCELLED"


def test_a_cancellation_that_is_not_ours_raises_an_alarm(desk):
    order = desk.working(limit())
    assert alarms(desk.hear(status(order, "Cancelled"))) == ["cancelled_by_broker"]


def test_a_cancelled_member_of_a_group_raises_no_alarm(desk):
    order = desk.working(limit(oca_group="pair", oca_type=1))
    assert alarms(desk.hear(status(order, "Cancelled"))) == []


def test_a_snapshot_that_was_being_told_while_an_order_was_sent_does_not_end_it(desk):
    desk.working(limit(), seconds=20)
    desk.hear(snapshot(21), seconds=21)
    assert desk.state() == "WORKING"
    assert asks(desk.due(35))
    desk.hear(snapshot(36), seconds=36)
    assert desk.state() == "CANCELLED"


def test_a_day_order_that_ends_by_itself_raises_no_alarm(desk):
    order = desk.working(limit(tif="DAY"))
    assert alarms(desk.hear(status(order, "Cancelled"))) == []


@pytest.mark.parametrize("first", ["notice", "status"])
def test_an_order_that_its_time_limit_ended_is_expired(desk, first):
    order = desk.working(limit(tif="DAY"))
    told = [refusal(order, 202, "Order Canceled - reason:Order expired"), status(order, "Cancelled")]
    desk.hear(*(told if first == "notice" else told[::-1]))
    assert desk.state() == "EXPIRED"


def test_cancelling_an_inactive_order_waits_for_the_confirmation(desk):
    order = desk.working(limit())
    desk.hear(status(order, "Inactive"))
    cancelling(desk, order)
    assert desk.state() == "UNKNOWN"
    desk.hear(status(order, "Cancelled"), seconds=20)
    assert desk.state() == "CANCELLED"


def test_an_order_that_is_gone_without_a_word_is_cancelled_with_an_alarm(desk):
    desk.working(limit())
    changes = desk.hear(snapshot(60), seconds=60)
    assert (desk.state(), alarms(changes)) == ("CANCELLED", ["cancelled_by_broker"])


def test_an_order_of_which_nothing_was_heard_but_its_cancellation_is_cancelled_once_it_is_gone(desk):
    order = desk.send(ticket())
    desk.hear(refusal(order, 202))
    changes = desk.hear(snapshot(60), seconds=60)
    assert (desk.state(), alarms(changes)) == ("CANCELLED", ["cancelled_by_broker"])


def test_an_order_that_the_broker_refuses_raises_an_alarm(desk):
    order = desk.send(ticket())
    assert alarms(desk.hear(refusal(order, 201))) == ["order_rejected"]


def test_shares_that_no_execution_tells_are_written_off_once_their_position_was_adopted(desk):
    order = desk.working(ticket())
    desk.hear(status(order, "Filled", 10))
    for seconds in (2, 17):
        desk.due(seconds)
    assert desk.state() == "UNKNOWN"
    desk.hear(snapshot(20), seconds=20)
    assert desk.state() == "UNKNOWN"  # nothing says where the shares are, and the positions differ soon
    desk.hear(held(10), seconds=21)
    changes = desk.hear(snapshot(30, positions=[held(10)]), seconds=30)
    assert (desk.state(), desk.position, desk.filled()) == ("FILLED", 10, 0)
    assert alarms(changes) == ["position_mismatch"]


def test_a_commission_whose_execution_never_comes_is_an_alarm_once(desk):
    order = desk.working(ticket())
    lost = commission(execution(order, 1, 10))
    desk.hear(lost)
    told = [code for seconds in range(15, 4000, 15) for code in alarms(desk.due(seconds))]
    assert told == ["execution_missing"]
    desk.hear(snapshot(4000, commissions=[lost]), seconds=4000)
    assert [code for seconds in range(4015, 8000, 15) for code in alarms(desk.due(seconds))] == []


# ---------------------------------------------------------------- codes on a new order


@pytest.mark.parametrize("code", [201, 203, 10318])
def test_a_refused_new_order_is_rejected(desk, code):
    order = desk.send(ticket())
    desk.hear(refusal(order, code, "No."))
    assert desk.state() == "REJECTED"
    assert [change.code for change in of_kind(desk.told, StateChanged)][-1] == code


@pytest.mark.parametrize("code", [103, 104, 110, 161, 10147, 10148, 200, 321])
def test_other_codes_on_a_new_order_are_resolved_by_asking(desk, code):
    order = desk.send(ticket())
    changes = desk.hear(refusal(order, code, "Hm."))
    assert (desk.state(), asks(changes)) == ("UNKNOWN", True)
    desk.hear(snapshot(1))
    assert (desk.state(), desk.book.orders["one"].reason) == ("REJECTED", "Hm.")


def test_a_duplicate_id_whose_order_lives_is_adopted_as_ours(desk):
    order = desk.send(ticket())
    desk.hear(refusal(order, 103))
    desk.hear(snapshot(1, open_orders=[open_order(order)]), seconds=1)
    assert desk.state() == "WORKING"


@pytest.mark.parametrize("code", [399, 404, 2109, 10311, 10349])
@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_warning_leaves_the_order_as_it_is(desk, code, acknowledged):
    order = desk.working(ticket()) if acknowledged else desk.send(ticket())
    before = desk.state()
    (warned,) = desk.hear(refusal(order, code, "will not be placed before the open"))
    assert isinstance(warned, OrderWarned)
    assert (desk.state(), warned.code) == (before, code)


def test_a_refusal_of_a_working_order_is_resolved_by_asking(desk):
    order = desk.working(ticket())
    assert asks(desk.hear(refusal(order, 201)))
    assert desk.state() == "UNKNOWN"


@pytest.mark.parametrize("first", ["notice", "status"])
def test_an_inactive_order_with_a_refusal_is_rejected(desk, first):
    order = desk.working(ticket())
    told = [refusal(order, 201, "Margin."), status(order, "Inactive")]
    desk.hear(*(told if first == "notice" else told[::-1]))
    assert desk.state() == "REJECTED"


def test_a_rejected_order_that_fills_is_reopened(desk):
    order = desk.send(ticket())
    desk.hear(refusal(order, 201))
    changes = desk.hear(execution(order, 1, 4))
    assert (desk.state(), desk.position, alarms(changes)) == ("UNKNOWN", 4, ["fill_after_end"])


def test_a_rejected_order_that_is_shown_as_working_is_asked_about(desk):
    order = desk.send(ticket())
    desk.hear(refusal(order, 201))
    assert asks(desk.hear(open_order(order)))
    assert desk.state() == "UNKNOWN"


def test_an_error_about_a_request_that_is_no_order_changes_nothing(desk):
    desk.working(ticket())
    assert desk.hear(refusal(ticket(order_id=99), 162)) == []


def test_a_message_that_could_not_be_read_is_a_reason_to_ask(desk):
    assert asks(desk.hear(Undecoded("execDetails", about_account=True)))
    assert not asks(desk.hear(Undecoded("tickPrice", about_account=False)))


# ---------------------------------------------------------------- what is not ours


def test_an_order_of_somebody_else_is_adopted_and_alarmed(desk):
    theirs = ticket("", order_id=-3, quantity=5)
    changes = desk.hear(open_order(theirs, perm_id=77, client_id=0))
    (adopted,) = of_kind(changes, OrderAdopted)
    assert (adopted.order_ref, alarms(changes)) == ("external:77", ["external_order"])
    assert desk.state("external:77") == "WORKING"


def test_a_fill_of_somebody_else_moves_the_position_and_is_alarmed(desk):
    theirs = ticket("", order_id=-3, quantity=5)
    changes = desk.hear(execution(theirs, 1, 5, perm_id=77, client_id=0))
    (fill,) = of_kind(changes, FillBooked)
    assert (fill.external, fill.order_ref, desk.position) == (True, "external:77", 5)
    assert alarms(changes) == ["external_fill"]


def test_a_position_that_no_fill_explains_is_asked_about_and_adopted_after_a_while(desk):
    desk.hear(held(25), seconds=0)
    assert desk.position == 0
    assert not asks(desk.due(4))
    assert asks(desk.due(5))
    changes = desk.hear(snapshot(6, positions=[held(25, "48")]), seconds=6)
    (adopted,) = of_kind(changes, PositionAdopted)
    assert (adopted.before, adopted.after, adopted.average_cost) == (0, 25, 48)
    assert (alarms(changes), desk.position) == (["position_mismatch"], 25)


def test_positions_in_a_snapshot_that_are_older_than_a_fill_are_not_adopted(desk):
    desk.hear(held(-3))
    order = desk.working(ticket(), seconds=5)
    desk.hear(execution(order, 1, 10), held(7), seconds=6)
    theirs = execution(ticket("", order_id=-3, quantity=3, action="SELL"), 2, 3, perm_id=77, client_id=0)
    desk.hear(theirs, seconds=6)
    assert of_kind(desk.hear(snapshot(7, positions=[held(-3)]), seconds=7), PositionAdopted) == []
    assert asks(desk.due(12))
    assert of_kind(desk.hear(snapshot(13, positions=[held(7)]), seconds=13), PositionAdopted) == []
    assert desk.position == 7


def test_a_position_that_is_told_before_its_fill_is_no_mismatch(desk):
    order = desk.working(ticket())
    desk.hear(held(10), seconds=0)
    desk.hear(execution(order, 1, 10), seconds=4)
    assert of_kind(desk.due(5), PositionAdopted) == []
    assert not asks(desk.due(6))


def test_a_position_that_is_not_listed_is_not_held():
    desk = Desk(held(5))
    assert desk.position == 5
    desk.hear(snapshot(20), seconds=20)
    changes = desk.hear(snapshot(31), seconds=31)
    assert (desk.position, alarms(changes)) == (0, ["position_mismatch"])


def test_what_was_there_at_the_start_is_adopted_without_an_alarm():
    desk = Desk(held(5, "40"))
    (adopted,) = of_kind(desk.told, PositionAdopted)
    assert (adopted.opening, adopted.average_cost, alarms(desk.told)) == (True, 40, [])


def test_executions_from_before_the_start_are_part_of_the_position():
    desk = Desk(begun=False)
    done = execution(ticket("gone", 50, 5), 1, 5, client_id=3)
    desk.hear(snapshot(positions=[held(5)], executions=[done], commissions=[commission(done)]))
    desk.hear(done, commission(done))
    assert (desk.position, len(list(desk.book.fills)), alarms(desk.told)) == (5, 0, [])
    assert not asks(desk.due(600))


def test_an_order_of_ours_that_the_book_does_not_know_is_asked_about(desk):
    assert asks(desk.hear(status(ticket(order_id=44), "Submitted")))


def test_messages_of_another_account_change_nothing(desk):
    order = desk.working(ticket())
    other = replace(execution(order, 1, 10), account="DU2")
    assert desk.hear(other, replace(held(3), account="DU2")) == []


def test_a_snapshot_of_another_account_is_refused(desk):
    with pytest.raises(WrongAccountError, match="DU2"):
        desk.book.apply(replace(snapshot(), account="DU2"), at())


def test_more_shares_than_ordered_raise_an_alarm(desk):
    order = desk.working(ticket())
    assert "overfilled" in alarms(desk.hear(execution(order, 1, 12)))


def test_a_lost_connection_makes_the_book_out_of_date_until_the_next_snapshot(desk):
    assert desk.book.current
    desk.hear(StateChange(at(), SessionState.DISCONNECTED, "gone"))
    assert not desk.book.current
    desk.hear(snapshot(5))
    assert desk.book.current


# ---------------------------------------------------------------- wrong use


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (ticket("one", 2), "order_ref: 'one'"),
        (ticket("", 2), "order_ref: ''"),
        (ticket("two", 1), "order_id: 1"),
        (replace(ticket("two", 2), account="DU2"), "account: 'DU2'"),
    ],
)
def test_an_order_that_cannot_be_kept_apart_is_refused(desk, order, text):
    desk.send(ticket())
    with pytest.raises(OrderBookError, match=text):
        desk.book.intend(AAPL, order, at())


def test_an_order_that_the_book_does_not_have_cannot_be_cancelled(desk):
    with pytest.raises(OrderBookError, match="'none'"):
        desk.book.cancel_sent("none", at())


def test_positions_are_kept_by_contract(desk):
    other = Contract("MSFT", con_id=2)
    order = desk.working(ticket())
    done = execution(order, 1, 10)
    desk.hear(
        done, Execution(**{**_fields(done), "contract": other, "exec_id": "x.01", "order_ref": "?", "perm_id": 9})
    )
    assert desk.book.positions() == {AAPL.con_id: 10, 2: 10}


def _fields(record):
    return {name: getattr(record, name) for name in record.__dataclass_fields__}
