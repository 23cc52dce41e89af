"""The emergency stop against a gateway that works, and against gateways that do not."""

from datetime import date
from decimal import Decimal

import pytest

from broker.emergency import stop_everything
from broker.ib.messages import Contract, OrderTicket
from broker.ib.session import Session
from broker.ib.settings import SessionSettings
from tests.unit.broker.simulator.recordings import minutes

pytestmark = pytest.mark.integration

FIFTY = [f"S{number:02d}" for number in range(50)]


@pytest.fixture(scope="module")
def fifty(tmp_path_factory):
    """One day and a bit of fifty symbols."""
    root = tmp_path_factory.mktemp("fifty")
    for number, symbol in enumerate(FIFTY):
        minutes(root, symbol, price=20.0 + number, seed=number, first=date(2024, 1, 5), last=date(2024, 1, 8))
    return root


@pytest.fixture
def desk(start):
    return start(fill_at_once=True)


@pytest.fixture
def open_session():
    opened = []

    def make(desk, client_id):
        opened.append(Session(SessionSettings(port=desk.gateway.port, client_id=client_id, reset=None)))
        return opened[-1], opened[-1].open()

    yield make
    for session in opened:
        session.close()


def trade(session, symbol, quantity, kind="MKT", **fields):
    """Send an order; negative quantities sell."""
    (details,) = session.contract_details(Contract(symbol))
    action = "BUY" if quantity > 0 else "SELL"
    ticket = OrderTicket(session.next_order_id(), action, abs(Decimal(quantity)), kind, session.account, **fields)
    session.place_order(details.contract, ticket)


def stop(session, found, **options):
    return stop_everything(session, found, reference="emergency-1", **{"seconds": 20, **options})


def held(desk):
    return {row["symbol"]: row["quantity"] for row in desk.command("status")["positions"]}


def test_an_account_that_is_flat_is_proved_flat(desk, open_session):
    report = stop(*open_session(desk, 14))
    assert (report.flat, report.closed, report.problems) == (True, (), ())


def test_long_and_short_positions_are_closed_and_orders_of_others_cancelled(desk, open_session):
    trader, _ = open_session(desk, 10)
    trade(trader, "AAPL", 100)
    trade(trader, "MSFT", -30)
    trade(trader, "AAPL", 5, "LMT", limit_price=Decimal(50))
    trade(trader, "AAPL", -100, "STP", aux_price=Decimal(40))
    trader.synchronize()
    report = stop(*open_session(desk, 14))
    assert report.flat
    assert {(row.symbol, row.quantity, row.filled) for row in report.closed} == {
        ("AAPL", -100, -100),
        ("MSFT", 30, 30),
    }
    assert set(report.orders_found) == {"BUY 5 AAPL LMT at 50", "SELL 100 AAPL STP at 40"}
    after = trader.synchronize()
    assert (after.positions, after.open_orders) == ((), ())


def test_a_dry_run_changes_nothing(desk, open_session):
    trader, _ = open_session(desk, 10)
    trade(trader, "AAPL", 100)
    trader.synchronize()
    report = stop(*open_session(desk, 14), dry_run=True)
    assert (report.flat, report.positions_found, report.closed) == (False, (("AAPL", Decimal(100)),), ())
    assert [p.quantity for p in trader.synchronize().positions] == [100]


def test_what_cannot_be_closed_is_reported_and_never_called_flat(desk, open_session):
    trader, _ = open_session(desk, 10)
    trade(trader, "AAPL", 100)
    trader.synchronize()
    desk.command("fault", request="place_order", action="error", code=201, text="Order rejected")
    report = stop(*open_session(desk, 14), seconds=2)
    assert (report.flat, report.positions_left) == (False, (("AAPL", Decimal(100)),))
    assert report.problems == ("AAPL: the broker said 201: Order rejected",)


def test_a_broker_that_does_not_answer_is_no_proof(desk, open_session):
    session, found = open_session(desk, 14)
    desk.command("fault", answer="positionEnd", action="drop")
    report = stop(session, found, seconds=1)
    assert not report.flat
    assert any("did not tell positions" in problem for problem in report.problems)


def test_a_closing_order_that_was_swallowed_is_sent_again(desk, open_session):
    trader, _ = open_session(desk, 10)
    trade(trader, "AAPL", 100)
    trader.synchronize()
    desk.command("fault", request="place_order", action="swallow", times=1)
    report = stop(*open_session(desk, 14))
    assert (report.flat, [row.filled for row in report.closed]) == (True, [-100])


def test_fifty_positions_and_fifty_orders_end_at_zero(start, fifty, open_session):
    desk = start(folder=fifty, fill_at_once=True, start=date(2024, 1, 8))
    trader, _ = open_session(desk, 10)
    for number, symbol in enumerate(FIFTY):
        trade(trader, symbol, 10 if number % 2 else -10)
        trade(trader, symbol, 1, "LMT", limit_price=Decimal(1))
    assert len(trader.synchronize().positions) == 50
    report = stop(*open_session(desk, 14), seconds=60)
    assert report.flat
    assert len(report.closed) == 50
    assert trader.synchronize().positions == ()
