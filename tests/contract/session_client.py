"""Our own session on the client library that is installed here: connect, data, orders, the account.

Belongs here: what the session must do alike on ib_insync and on ib_async. Runs in an environment that holds one of them
and nothing else that this project needs: the session must not need more.
"""

import json
import sys
import urllib.request
from datetime import UTC, datetime
from decimal import Decimal

from broker.errors import RequestRefusedError
from broker.ib.messages import BarUpdate, Commission, Contract, Execution, Notice, OpenOrder, OrderTicket, Tick
from broker.ib.requests import HistoryRequest, SubscriptionRequest
from broker.ib.session import Session
from broker.ib.settings import SessionSettings

PORT, CONTROL = int(sys.argv[1]), int(sys.argv[2])


def command(name, **arguments):
    """A command of the control API."""
    asked = urllib.request.Request(f"http://127.0.0.1:{CONTROL}/{name}", json.dumps(arguments).encode())
    return json.load(urllib.request.urlopen(asked, timeout=20))  # noqa: S310 (loopback)


def until(kind, fits=lambda _: True):
    """The next event of a kind."""
    while True:
        event = heard.get(timeout=10)
        if isinstance(event, kind) and fits(event):
            return event


def order(action, quantity, kind, **fields):
    """Send an order with a fresh id."""
    ticket = OrderTicket(session.next_order_id(), action, Decimal(quantity), kind, session.account, **fields)
    session.place_order(apple, ticket)
    return ticket


with Session(SessionSettings(port=PORT, client_id=5, reset=None)) as session:
    assert session.open().value("NetLiquidation") == 1_000_000
    heard = session.listen()
    (details,) = session.contract_details(Contract("AAPL"))
    apple = details.contract
    assert (details.min_tick, details.timezone) == (Decimal("0.01"), "US/Eastern")
    assert session.market_rule(details.market_rules[0])[0].increment == Decimal("0.01")
    try:
        session.contract_details(Contract("NOPE"))
    except RequestRefusedError as error:
        assert error.code == 200  # noqa: PT017 (no pytest here)
    else:
        raise AssertionError("an unknown contract was found")
    bars = session.history(HistoryRequest(apple, None, "1 D", "1 hour"))
    assert bars[0].stamp == datetime(2024, 1, 8, 14, 30, tzinfo=UTC)
    assert session.first_moment(apple, "TRADES") == datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    bars = session.subscribe(SubscriptionRequest(apple, "real_time_bars"))
    ticks = session.subscribe(SubscriptionRequest(apple, "ticks"))
    session.server_time()
    command("step", bars=1)
    assert until(BarUpdate).bar.stamp == datetime(2024, 1, 8, 14, 33, tzinfo=UTC)
    assert until(Tick).subscription == ticks

    price = Decimal(str(command("status")["prices"]["AAPL"]))
    order("BUY", "10.5", "MKT", order_ref="entry")
    fill = until(Execution)
    assert (fill.order_ref, fill.signed, fill.ts.tzinfo) == ("entry", Decimal("10.5"), UTC)
    assert until(Commission).exec_id == fill.exec_id
    low = (price * Decimal("0.9")).quantize(Decimal("0.01"))
    parent = order("BUY", 5, "LMT", limit_price=low, transmit=False, order_ref="p")
    order("SELL", 5, "LMT", limit_price=price * 2, parent_id=parent.order_id, transmit=False, order_ref="t")
    order("SELL", 5, "STP", aux_price=low - 20, parent_id=parent.order_id, order_ref="s")
    order("SELL", 1, "TRAIL", trailing_percent=Decimal(20), order_ref="trail", tif="GTC")
    working = {o.ticket.order_ref: o for o in session.open_orders()}
    assert set(working) == {"p", "t", "s", "trail"}
    assert working["p"].ticket.limit_price == low
    assert working["trail"].ticket.trailing_percent == 20
    changed = low - 1
    session.place_order(
        apple, OrderTicket(parent.order_id, "BUY", Decimal(5), "LMT", session.account, "p", limit_price=changed)
    )
    until(OpenOrder, lambda o: o.ticket.order_ref == "p" and o.ticket.limit_price == changed)
    session.cancel_order(parent.order_id)
    until(Notice, lambda n: (n.request_id, n.code) == (parent.order_id, 202))
    session.cancel_everything()
    assert session.open_orders() == ()
    snapshot = session.synchronize()
    assert [p.quantity for p in snapshot.positions] == [Decimal("10.5")]
    assert {o.ticket.order_ref for o in snapshot.completed_orders} == {"entry", "p", "t", "s", "trail"}
    sys.stdout.write(f"the session through {session.library}, version {session.server_version}")
