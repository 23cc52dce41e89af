"""What must hold between a broker and a ledger, whatever happened to the processes between them.

Belongs here: the broker's truth, and the laws as functions that name what breaks them. Does not belong here: bringing
something about (see `stage` and `storm`).

The broker's truth is the gateway's own state file, not what it tells its clients.
"""

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from broker.orders.fills import parted
from tests.storms.stage import ACCOUNT, CLIENT, NAME
from warehouse.ledger.locks import AccountLock

CENT = Decimal("0.01")
_SIDES = {1: "BUY", -1: "SELL"}
_DONE = {"Filled", "Cancelled", "Inactive"}
_HALTS = {"halt", "reduce_only", "stop_flatten"}


@dataclass
class Truth:
    """What is so at the broker; `orders` and `executions` as the gateway keeps them."""

    orders: list
    executions: dict  # the latest revision, by its lasting name
    forgotten: dict  # the same, those that the gateway has lost
    positions: dict  # by symbol, without the empty ones
    cash: Decimal
    opening_cash: Decimal

    @classmethod
    def read(cls, state):
        with sqlite3.connect(f"{Path(state).as_uri()}?mode=ro", uri=True, timeout=5) as file:
            orders = [json.loads(row) for (row,) in file.execute("SELECT content FROM orders ORDER BY perm_id")]
            done = [json.loads(row) for (row,) in file.execute("SELECT content FROM executions ORDER BY number")]
            held = dict(file.execute("SELECT key, quantity FROM positions"))
            account = dict(file.execute("SELECT name, value FROM account"))
            lost = [json.loads(row) for (row,) in file.execute("SELECT content FROM forgotten")]
        file.close()
        executions, forgotten = latest(done), latest(lost)
        forgotten = {name: one for name, one in forgotten.items() if name not in executions}
        return cls(
            orders, executions, forgotten, {key: Decimal(n) for key, n in held.items() if Decimal(n)},
            Decimal(account.get("cash", 0)), Decimal(account.get("opening_cash", 0)),
        )  # fmt: skip

    @property
    def working(self):
        return [order for order in self.orders if order["status"] not in _DONE and not order["held"]]

    def ours(self):
        return [order for order in self.orders if order["client_id"] == CLIENT]


def latest(executions):
    """The last revision of each execution, by its lasting name."""
    return {parted(one["exec_id"])[0]: one for one in sorted(executions, key=lambda one: parted(one["exec_id"]))}


def told(execution):
    """An execution as the ledger has to have it."""
    return (
        execution["exec_id"], _SIDES[execution["side"]], Decimal(execution["quantity"]), Decimal(execution["price"]),
        Decimal(execution["fee"]).quantize(CENT * CENT),
    )  # fmt: skip


def booked(fill):
    one, paid = fill.filled, fill.commission
    return (one.exec_id, one.side, one.quantity, one.price, None if paid is None else paid.amount.quantize(CENT * CENT))


class Laws:
    """All laws for one account, at one moment."""

    def __init__(self, stage):
        self.stage = stage
        self.truth = Truth.read(stage.folder / "state.sqlite")
        self.ledger = stage.ledger
        self.fills = {fill.filled.execution: fill for fill in self.ledger.fills(ACCOUNT)}
        self.events = self.ledger.events(NAME)

    def of(self, kind):
        return [one.record for one in self.events if one.record.kind == kind]

    def while_running(self):
        """What breaks a law that holds as soon as a run has reconciled."""
        return [
            *self.fills_are_the_brokers(), *self.one_order_an_intent(), *self.nothing_booked_twice(),
            *self.orders_are_the_brokers(), *self.positions_are_the_brokers(), *self.nothing_sent_while_halted(),
        ]  # fmt: skip

    def in_the_end(self):
        """What breaks any law after the last run has ended."""
        return [*self.while_running(), *self.cash_is_the_brokers(), *self.nothing_is_left()]

    def fills_are_the_brokers(self):
        told_of = {name: told(one) for name, one in (self.truth.forgotten | self.truth.executions).items()}
        skipped = self.skipped()
        for name, fill in self.fills.items():
            if told_of.get(name) != booked(fill):
                yield f"the ledger has {booked(fill)}, the broker {told_of.get(name)}"
        for name in set(told_of) - set(self.fills) - skipped:
            if name not in self.truth.forgotten:
                yield f"the ledger lacks {told_of[name]}"

    def skipped(self):
        """Executions from before the ledger knew anything of the account."""
        return {parted(one.document["exec_id"])[0] for one in self.of("book") if one.change == "execution_skipped"}

    def one_order_an_intent(self):
        intents = {one.order_ref for one in self.of("intent")}
        counted = Counter(order["fields"]["order_ref"] for order in self.truth.ours())
        for ref, count in counted.items():
            if count > 1:
                yield f"{count} orders for the intent {ref}"
            if ref not in intents and not ref.startswith("emergency"):
                yield f"the order {ref} has no intent"

    def nothing_booked_twice(self):
        for exec_id, count in Counter(one.exec_id for one in self.of("fill")).items():
            if count > 1:
                yield f"{exec_id} is booked {count} times"

    def orders_are_the_brokers(self):
        open_here = {one.intent.order_ref for one in self.ledger.open_intents(ACCOUNT)}
        open_there = {order["fields"]["order_ref"] for order in self.truth.working if order["client_id"] == CLIENT}
        for ref in open_here - open_there:
            state = self.ledger.intent(ref).state
            if state != "INTENDED":  # which says that it is not there, and may wait for live data to go
                yield f"{ref} is open in the ledger as {state} and not at the broker"
        for ref in open_there - open_here:
            yield f"{ref} works at the broker and is over in the ledger"

    def positions_are_the_brokers(self):
        ours = {one.symbol: one.quantity for one in self.of("position") if one.source == "ours"}
        ours = {symbol: quantity for symbol, quantity in ours.items() if quantity}
        if ours != self.truth.positions:
            yield f"the ledger holds {ours}, the broker {self.truth.positions}"

    def nothing_sent_while_halted(self):
        """Between the answers to a halt and to a resume no purchase leaves but to close a short position."""
        actions = {one.number: one.record.action for one in self.events if one.record.kind == "command"}
        answers = [(one.number, actions[one.record.command]) for one in self.events if one.record.kind == "answer"]
        answers += [
            (one.number, "halt")
            for one in self.events
            if one.record.kind == "risk_event" and one.record.what == "halt" and "our fills make" in one.record.reason
        ]
        answers.sort()
        for sent in self.stage.heard.sent:
            before = [action for number, action in answers if number <= sent["after"] and action != "stop_keep"]
            closes = self.held_at(sent["after"]) < 0
            if sent["side"] == "BUY" and before and before[-1] in _HALTS and not closes:
                yield f"{sent['ref']} was sent after {before[-1]}"

    def held_at(self, number):
        """Shares by the ledger when it had so many records."""
        held, seen = Decimal(), set()
        for one in self.events:
            record = one.record
            if one.number > number:
                break
            if record.kind == "fill" and record.execution not in seen:  # a correction moves the price only
                seen.add(record.execution)
                held += record.quantity if record.side == "BUY" else -record.quantity
            elif record.kind == "position" and record.document:
                held = record.quantity
        return held

    def cash_is_the_brokers(self):
        stated = self.of("cash")
        if not stated or abs(stated[-1].amount - self.truth.cash) > CENT:
            yield f"the ledger's cash is {stated[-1].amount if stated else None}, the broker's {self.truth.cash}"
        if set(self.truth.forgotten) - set(self.fills) or self.skipped():
            return
        made = self.truth.opening_cash
        for fill in self.fills.values():
            sign = -1 if fill.filled.side == "BUY" else 1
            made += sign * fill.filled.quantity * fill.filled.price
            made -= fill.commission.amount if fill.commission is not None else 0
        if abs(made - self.truth.cash) > CENT * max(1, len(self.fills)):
            yield f"the fills make {made} of cash, the broker has {self.truth.cash}"

    def nothing_is_left(self):
        if not AccountLock(self.ledger, ACCOUNT).is_free():
            yield f"the account's lock is held by {AccountLock(self.ledger, ACCOUNT).holder()}"
        if clients := self.stage.clients():
            yield f"clients {clients} are connected"
