"""The session over TCP: READY only when everything was told, and again after everything that can happen."""

import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from decimal import Decimal
from queue import Empty

import pytest

from broker.errors import (
    GatewayNotReadyError,
    GatewayTimeoutError,
    GatewayUnreachableError,
    NoDataError,
    PacingError,
    RequestRefusedError,
    WrongAccountError,
)
from broker.ib.messages import (
    AccountSnapshot,
    Alarm,
    BarUpdate,
    Contract,
    Execution,
    OrderTicket,
    Resubscribed,
    SessionState,
    StateChange,
    SubscriptionEnded,
    Undecoded,
)
from broker.ib.requests import HistoryRequest, SubscriptionRequest
from broker.ib.session import Session
from broker.ib.settings import SessionSettings, TradingMode

pytestmark = pytest.mark.integration

APPLE = Contract("AAPL")
QUICK = {
    "competing_seconds": 0.1,
    "heartbeat_seconds": 0.3,
    "answer_seconds": 0.5,
    "retry_seconds": 0.05,
    "sync_seconds": 5.0,
    "reset": None,
}


@pytest.fixture
def desk(start):
    return start(fill_at_once=True)


@pytest.fixture
def connect(desk):
    """`connect(**settings)` makes a session that ends with the test; `.heard` is its queue."""
    with ExitStack() as stack:

        def make(*, now=None, **changes):
            settings = SessionSettings(**{"port": desk.gateway.port, **QUICK, **changes})
            session = stack.enter_context(Session(settings, **({} if now is None else {"now": now})))
            session.heard = session.listen()
            return session

        yield make


def until(session, wanted, seconds=10):
    """The first event heard that fits; what came before it is dropped."""
    end = time.monotonic() + seconds
    while True:
        try:
            event = session.heard.get(timeout=max(end - time.monotonic(), 0))
        except Empty:
            pytest.fail("timed out")
        if wanted(event):
            return event


def state(wanted):
    return lambda event: isinstance(event, StateChange) and event.state is wanted


def step(desk, session):
    """Play a bar after the gateway has read what was sent."""
    session.server_time()
    desk.command("step", bars=1)


def market(session, quantity=10, ref="", action="BUY"):
    """Send a market order."""
    (details,) = session.contract_details(APPLE)
    ticket = OrderTicket(session.next_order_id(), action, Decimal(quantity), "MKT", session.account, ref)
    session.place_order(details.contract, ticket)
    return ticket


def test_ready_means_that_the_whole_account_was_told(connect):
    first = connect(client_id=1)
    first.open()
    market(first, ref="a")
    until(first, lambda event: isinstance(event, Execution))
    (details,) = first.contract_details(APPLE)
    resting = OrderTicket(first.next_order_id(), "BUY", Decimal(5), "LMT", first.account, "b", Decimal("50.25"))
    first.place_order(details.contract, resting)
    first.synchronize()
    snapshot = connect(client_id=2).open()
    assert [(p.contract.symbol, p.quantity) for p in snapshot.positions] == [("AAPL", 10)]
    assert [(o.ticket.order_ref, o.ticket.limit_price, o.client_id) for o in snapshot.open_orders] == [
        ("b", Decimal("50.25"), 1)
    ]
    assert [o.ticket.order_ref for o in snapshot.completed_orders] == ["a"]
    assert [(e.order_ref, e.signed) for e in snapshot.executions] == [("a", 10)]
    assert [c.amount for c in snapshot.commissions] == [1]
    assert snapshot.value("TotalCashBalance") < Decimal(1_000_000)
    assert [i.quantity for i in snapshot.portfolio] == [10]


@pytest.mark.parametrize(
    ("marker", "missing"),
    [
        ("positionEnd", "positions"),
        ("openOrderEnd", "open orders"),
        ("completedOrdersEnd", "completed orders"),
        ("accountDownloadEnd", "account values"),
        ("execDetailsEnd", "executions"),
    ],
)
def test_a_missing_end_marker_is_never_an_empty_list(desk, connect, marker, missing):
    desk.command("fault", answer=marker, action="drop")
    session = connect(sync_seconds=1)
    with pytest.raises(GatewayNotReadyError) as error:
        session.open()
    assert error.value.missing == (missing,)
    assert session.state is SessionState.DISCONNECTED


def test_a_marker_that_is_missing_once_costs_an_attempt_only(desk, connect):
    desk.command("fault", answer="positionEnd", action="drop", times=1)
    assert connect(sync_seconds=1).open(patience=10).account == "DU1234567"


@pytest.mark.parametrize("message", ["nextValidId", "managedAccounts"])
def test_a_handshake_that_does_not_end_is_given_up(desk, connect, message):
    desk.command("fault", answer=message, action="drop", times=1)
    with pytest.raises(GatewayUnreachableError, match="did not complete the handshake"):
        connect(connect_seconds=0.3).open()


def test_a_client_id_in_use_is_said_at_once(desk, connect):
    desk.client(7)
    began = time.monotonic()
    with pytest.raises(GatewayUnreachableError, match=r"client_id: 7 is in use at 127.0.0.1:\d+ \(326\)"):
        connect(client_id=7, connect_seconds=30).open()
    assert time.monotonic() - began < 20  # not the handshake's time-out


def test_the_same_client_id_is_tried_until_the_old_session_is_gone(desk, connect):
    old = connect(client_id=7)
    old.open()
    new = connect(client_id=7)
    desk.command("status")
    old_closed = []
    new._now = lambda: (old_closed or (old.close(), old_closed.append(True))) and datetime.now(UTC)
    new.open(patience=10)
    assert (new.state, new.client_id) == (SessionState.READY, 7)


def test_a_port_where_nobody_listens_is_said(connect):
    with pytest.raises(GatewayUnreachableError, match=r"127\.0\.0\.1:1 cannot be reached"):
        connect(port=1).open()


def test_a_paper_account_is_refused_in_live_mode_without_a_second_try(connect):
    with pytest.raises(WrongAccountError, match="DU1234567 is a paper account, but the mode is live"):
        connect(mode=TradingMode.LIVE).open(patience=600)


def test_a_lost_connection_is_made_again_and_streams_go_on(desk, connect):
    session = connect(client_id=7)
    session.open()
    stream = session.subscribe(SubscriptionRequest(APPLE, "real_time_bars"))
    step(desk, session)
    assert until(session, lambda e: isinstance(e, BarUpdate)).subscription == stream
    desk.command("disconnect", client=7)
    assert until(session, state(SessionState.DISCONNECTED)).reason == "The connection was closed by the gateway."
    assert until(session, lambda e: isinstance(e, AccountSnapshot)).account == "DU1234567"
    assert until(session, lambda e: isinstance(e, Resubscribed)).subscription == stream
    until(session, state(SessionState.READY))
    step(desk, session)
    assert until(session, lambda e: isinstance(e, BarUpdate)).subscription == stream


def test_a_half_open_socket_is_noticed(desk, connect):
    session = connect(client_id=7)
    session.open()
    desk.command("freeze", client=7)
    lost = until(session, state(SessionState.DISCONNECTED))
    assert lost.reason == "The gateway is silent for more than 0.5 seconds."


@pytest.mark.parametrize(
    "call",
    [
        lambda session: session.next_order_id(),
        lambda session: session.cancel_order(1),
        lambda session: session.cancel_everything(),
    ],
    ids=["next_order_id", "cancel_order", "cancel_everything"],
)
def test_a_call_before_the_handshake_is_over_fails_as_one_without_a_connection(connect, call):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        session = connect(port=mute.getsockname()[1], connect_seconds=0.5)
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(session.open)
            assert session.wait_for(SessionState.CONNECTING, 5)
            with pytest.raises(GatewayUnreachableError):
                call(session)
            with pytest.raises(GatewayUnreachableError, match="handshake"):
                opening.result(10)


def test_a_restarted_gateway_is_found_again(desk, connect):
    session = connect()
    session.open()
    desk.command("restart", down_seconds=0.3)
    until(session, state(SessionState.DISCONNECTED))
    until(session, state(SessionState.READY))


@pytest.mark.parametrize("restored", ["restored", "restored_without_data"])
def test_after_a_lost_link_everything_is_told_again(desk, connect, restored):
    session = connect()
    session.open()
    stream = session.subscribe(SubscriptionRequest(APPLE, "real_time_bars"))
    session.heard = session.listen()
    desk.command("link", state="lost")
    assert "lost IB's servers (1100)" in until(session, state(SessionState.DEGRADED)).reason
    desk.command("link", state=restored)
    until(session, state(SessionState.SYNCING))
    until(session, lambda e: isinstance(e, AccountSnapshot))
    assert until(session, lambda e: isinstance(e, Resubscribed)).subscription == stream
    until(session, state(SessionState.READY))


def test_no_order_leaves_while_the_link_is_lost(desk, connect):
    session = connect()
    session.open()
    desk.command("link", state="lost")
    until(session, state(SessionState.DEGRADED))
    ticket = OrderTicket(99, "BUY", Decimal(1), "MKT", session.account)
    with pytest.raises(GatewayNotReadyError, match="it was not sent, the session is DEGRADED"):
        session.place_order(APPLE, ticket)


def test_no_order_leaves_in_the_nightly_reset(connect):
    from broker.ib.settings import ResetWindow

    midnight = datetime(2024, 1, 9, 5, 0, tzinfo=UTC)
    session = connect(reset=ResetWindow(), now=lambda: midnight, skew_most=1e12, skew_warning=1e12)
    session.open()
    with pytest.raises(GatewayNotReadyError, match="IB's nightly reset is on"):
        session.place_order(APPLE, OrderTicket(99, "BUY", Decimal(1), "MKT", session.account))


def test_a_broken_farm_closes_the_gate_until_its_streams_run_again(desk, connect):
    session = connect()
    session.open()
    stream = session.subscribe(SubscriptionRequest(APPLE, "real_time_bars"))
    desk.command("farm", state="broken")
    until(session, state(SessionState.DEGRADED))
    desk.command("farm", state="ok")
    assert until(session, lambda e: isinstance(e, Resubscribed)).subscription == stream
    assert session.wait_for(SessionState.READY, 5)


def test_a_competing_session_takes_the_data_and_gives_it_back(desk, connect):
    session = connect()
    session.open()
    session.subscribe(SubscriptionRequest(APPLE, "real_time_bars"))
    session.server_time()
    desk.command("competing_session", active=True)
    assert "(10197)" in until(session, state(SessionState.DEGRADED)).reason
    desk.command("competing_session", active=False)
    for _ in range(2):  # the first may have been asked for before the other session ended
        until(session, lambda e: isinstance(e, Resubscribed))
    step(desk, session)
    until(session, state(SessionState.READY))


def test_a_clock_that_is_some_seconds_off_is_an_alarm(desk, connect):
    desk.command("line", clock_skew=10)
    session = connect()
    session.open()
    assert until(session, lambda e: isinstance(e, Alarm)).code == "clock_skew"
    assert 9 < session.clock_skew.total_seconds() < 11


def test_a_clock_that_is_far_off_closes_the_gate(desk, connect):
    desk.command("line", clock_skew=60)
    session = connect()
    session.open()
    assert session.state is SessionState.DEGRADED
    desk.command("line", clock_skew=0)
    assert session.wait_for(SessionState.READY, 5)


def test_an_outage_that_lasts_is_one_alarm(desk, connect):
    session = connect(outage_seconds=0.5)
    session.open()
    desk.command("link", state="lost")
    alarm = until(session, lambda e: isinstance(e, Alarm))
    assert (alarm.code, "lost IB's servers" in alarm.text) == ("outage", True)


def test_a_fill_that_cannot_be_read_is_no_fill_that_did_not_happen(desk, connect):
    session = connect(client_id=7)
    session.open()
    desk.command("line", execution_zone="Mars/Phobos")
    market(session)
    assert until(session, lambda e: isinstance(e, Undecoded)).about_account
    until(session, state(SessionState.DISCONNECTED))  # told again, it cannot be read again: nothing is concluded
    desk.command("line", execution_zone="US/Eastern")
    until(session, state(SessionState.READY))
    assert [p.quantity for p in session.synchronize().positions] == [10]


# -------------------------------------------------------------------- questions


def history(session, **changes):
    fields = {"contract": APPLE, "end": None, "duration": "1 D", "bar_size": "1 min", **changes}
    return session.history(HistoryRequest(**fields), 5)


def test_bars_are_stamped_at_their_open(connect):
    session = connect()
    session.open()
    assert [bar.stamp for bar in history(session)] == [datetime(2024, 1, 8, 14, 30 + i, tzinfo=UTC) for i in range(3)]


def test_daily_bars_carry_their_date(connect):
    session = connect()
    session.open()
    days = [bar.stamp.isoformat() for bar in history(session, duration="1 W", bar_size="1 day")]
    assert days[-2:] == ["2024-01-05", "2024-01-08"]


def test_no_data_is_told_apart_from_a_failure(connect):
    session = connect()
    session.open()
    with pytest.raises(NoDataError):
        history(session, end=datetime(2001, 1, 1, tzinfo=UTC))


def test_too_many_questions_are_told_apart_from_a_failure(desk, connect):
    session = connect()
    session.open()
    words = "Historical Market Data Service error message:Historical data request pacing violation"
    desk.command("fault", request="history", action="error", code=162, text=words)
    with pytest.raises(PacingError):
        history(session)


def test_an_unknown_contract_is_refused(connect):
    session = connect()
    session.open()
    with pytest.raises(RequestRefusedError) as error:
        session.contract_details(Contract("NOPE"))
    assert error.value.code == 200


def test_a_question_without_an_answer_ends_in_time(desk, connect):
    session = connect()
    session.open()
    desk.command("fault", request="history", action="swallow")
    with pytest.raises(GatewayTimeoutError, match=r"history of AAPL: .* did not answer within 0\.2 seconds"):
        session.history(HistoryRequest(APPLE, None, "1 D", "1 min"), 0.2)


def test_a_question_under_way_fails_when_the_connection_ends(desk, connect):
    session = connect(client_id=7)
    session.open()
    desk.command("fault", request="history", action="close")
    with pytest.raises(GatewayUnreachableError, match="ended before the answer"):
        history(session)


@pytest.mark.parametrize("code", [10182, 10225, 366])
def test_a_stream_that_died_is_asked_for_again(desk, connect, code):
    session = connect(client_id=7)
    session.open()
    stream = session.subscribe(SubscriptionRequest(APPLE, "real_time_bars"))
    session.server_time()
    desk.command("end_stream", client=7, code=code, req_id=session._streams[stream].key)
    assert until(session, lambda e: isinstance(e, Resubscribed)).subscription == stream
    step(desk, session)
    assert until(session, lambda e: isinstance(e, BarUpdate)).subscription == stream


def test_a_stream_that_is_not_allowed_is_over(desk, connect):
    desk.command("line", market_data="none")
    session = connect()
    session.open()
    stream = session.subscribe(SubscriptionRequest(APPLE, "ticks"))
    over = until(session, lambda e: isinstance(e, SubscriptionEnded))
    assert (over.subscription, over.code) == (stream, 354)


def test_an_unsubscribed_stream_is_silent(desk, connect):
    session = connect()
    session.open()
    stream = session.subscribe(SubscriptionRequest(APPLE, "real_time_bars"))
    session.unsubscribe(stream)
    session.heard = session.listen()
    step(desk, session)
    session.server_time()
    heard = []
    with suppress(Empty):
        while True:
            heard.append(session.heard.get_nowait())
    assert [e for e in heard if isinstance(e, BarUpdate)] == []


# -------------------------------------------------------------------- threads

PROGRAM = """
import asyncio, sys, threading
from broker.ib.session import Session
from broker.ib.settings import SessionSettings

def work():
    with Session(SessionSettings(port=int(sys.argv[1]), reset=None)) as session:
        print(session.open().account)

async def nothing():
    pass

{body}
"""


@pytest.mark.parametrize(
    "body", ["t = threading.Thread(target=work); t.start(); t.join()", "asyncio.run(nothing()); work()"]
)
def test_a_session_opens_on_any_thread_and_after_another_event_loop(desk, body):
    command = [sys.executable, "-c", PROGRAM.format(body=body), str(desk.gateway.port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("DU1234567\n", "")


def test_a_closed_session_answers_no_question(connect):
    session = connect()
    session.open()
    session.close()
    with pytest.raises(GatewayUnreachableError, match="it is not open"):
        session.server_time()
