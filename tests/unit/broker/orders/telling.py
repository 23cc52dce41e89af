"""Messages as a gateway sends them, about one account and one contract.

Belongs here: making messages. Does not belong here: what is checked.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from broker.ib.messages import (
    AccountSnapshot,
    Alarm,
    Commission,
    CompletedOrder,
    Contract,
    Execution,
    Notice,
    OpenOrder,
    OrderStatus,
    OrderTicket,
    Position,
)
from broker.orders.book import OrderBook
from broker.orders.changes import Question

ACCOUNT, CLIENT = "DU1", 7
AAPL = Contract("AAPL", con_id=265598)
START = datetime(2024, 1, 8, 15, 0, tzinfo=UTC)


def at(seconds=0):
    return START + timedelta(seconds=seconds)


def ticket(ref="one", order_id=1, quantity=10, action="BUY", **terms):
    fields = {"order_type": "MKT", "account": ACCOUNT, "tif": "GTC", **terms}
    return OrderTicket(order_id, action, Decimal(quantity), order_ref=ref, **fields)


def limit(ref="one", order_id=1, quantity=10, price="50", **terms):
    return ticket(ref, order_id, quantity, order_type="LMT", limit_price=Decimal(price), **terms)


def open_order(order, status="Submitted", perm_id=None, client_id=CLIENT):
    return OpenOrder(order, AAPL, status, 900 + order.order_id if perm_id is None else perm_id, client_id)


def status(order, name, filled=0, *, perm_id=None, client_id=CLIENT):
    total, done = order.quantity, Decimal(filled)
    number = 900 + order.order_id if perm_id is None else perm_id
    return OrderStatus(order.order_id, name, done, total - done, Decimal(50), number, 0, client_id)


def execution(order, number, quantity, cumulative=None, *, price="50", revision=1, perm_id=None, client_id=CLIENT):
    done = Decimal(quantity if cumulative is None else cumulative)
    return Execution(
        f"0000e0d5.{number}.01.{revision:02}", at(), ACCOUNT, AAPL, "BOT" if order.action == "BUY" else "SLD",
        Decimal(quantity), Decimal(price), done, Decimal(price), order.order_id,
        900 + order.order_id if perm_id is None else perm_id, client_id, order.order_ref,
    )  # fmt: skip


def commission(told, amount="1"):
    return Commission(told.exec_id, Decimal(amount), "USD", None)


def completed(order, name="Filled", filled=0, words=""):
    unnumbered = replace(order, order_id=0)
    return CompletedOrder(unnumbered, AAPL, name, 900 + order.order_id, Decimal(filled), "20240108 15:00:00 UTC", words)


def held(quantity, cost="50", contract=AAPL):
    return Position(ACCOUNT, contract, Decimal(quantity), Decimal(cost))


def snapshot(seconds=0, *, positions=(), open_orders=(), completed_orders=(), executions=(), commissions=()):
    return AccountSnapshot(
        at(seconds), ACCOUNT, tuple(positions), tuple(open_orders), tuple(completed_orders), tuple(executions),
        tuple(commissions), (),
    )  # fmt: skip


def refusal(order, code, text="said so"):
    return Notice(order.order_id, code, text)


class Desk:
    """A book that has begun flat, with shorthands; `told` is everything it said."""

    def __init__(self, *positions, begun=True):
        self.book = OrderBook(ACCOUNT, CLIENT)
        self.told = []
        if begun:
            self.hear(snapshot(positions=positions))

    def send(self, order, seconds=0):
        self.told += self.book.intend(AAPL, order, at(seconds))
        self.told += self.book.sent(order.order_ref, at(seconds))
        return order

    def working(self, order, seconds=0):
        """Send an order that the broker acknowledges."""
        self.send(order, seconds)
        self.hear(open_order(order), status(order, "Submitted"), seconds=seconds)
        return order

    def hear(self, *events, seconds=0):
        changes = [change for event in events for change in self.book.apply(event, at(seconds))]
        self.told += changes
        return changes

    def due(self, seconds):
        changes = self.book.due(at(seconds))
        self.told += changes
        return changes

    def state(self, ref="one"):
        return self.book.orders[ref].state.value

    def filled(self, ref="one"):
        return self.book.orders[ref].filled

    @property
    def position(self):
        return self.book.position(AAPL.con_id)

    @property
    def fees(self):
        return self.book.fills.fees()


def alarms(changes):
    return [change.code for change in changes if isinstance(change, Alarm)]


def asks(changes):
    return any(isinstance(change, Question) for change in changes)


def of_kind(changes, kind):
    return [change for change in changes if isinstance(change, kind)]
