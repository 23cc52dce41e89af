"""Whether the ledger and the broker agree about an account.

Belongs here: the comparison, from the ledger's documents and the broker's complete answer alone. Does not belong here:
what is done about a difference (see `broker.orders.book`, which adopts it, and `trading`, which tells of it).
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from broker.deployment.records import book_changes
from broker.ib.messages import AccountSnapshot
from broker.orders.book import OrderBook
from warehouse.ledger.store import Ledger

_OVER: Final = frozenset({"Filled", "Cancelled", "ApiCancelled", "Inactive"})
_NONE: Final = Decimal()


def differences(ledger: Ledger, snapshot: AccountSnapshot, client_id: int) -> tuple[str, ...]:
    """What the ledger says otherwise than the broker, a sentence each: positions, executions and working orders.

    Args:
        ledger: read as it is on disk; a book in memory proves nothing about it.
        snapshot: the broker's complete answer.
        client_id: under which the account's orders are sent.

    Raises:
        LedgerError: the ledger cannot be read.
        OrderBookError: a document of it describes no change.
    """
    book = OrderBook.restored(snapshot.account, client_id, book_changes(ledger.documents(snapshot.account)))
    return (*_positions(book, snapshot), *_executions(book, snapshot), *_orders(book, snapshot))


def _positions(book: OrderBook, snapshot: AccountSnapshot) -> Iterator[str]:
    told = {one.contract.con_id: one for one in snapshot.positions if one.account == snapshot.account}
    booked = book.positions()
    for con_id in sorted(set(told) | set(booked)):
        theirs = told[con_id].quantity if con_id in told else _NONE
        ours = booked.get(con_id, _NONE)
        if theirs != ours:
            name = told[con_id].contract.symbol if con_id in told else f"contract {con_id}"
            yield f"{name}: the broker holds {theirs:f} shares, the ledger {ours:f}"


def _executions(book: OrderBook, snapshot: AccountSnapshot) -> Iterator[str]:
    for one in snapshot.executions:
        if one.account == snapshot.account and book.fills.is_news(one):
            yield f"{one.contract.symbol}: execution {one.exec_id} of {one.signed:f} shares is not in the ledger"


def _orders(book: OrderBook, snapshot: AccountSnapshot) -> Iterator[str]:
    working = {one.perm_id: one for one in snapshot.open_orders if one.status not in _OVER}
    for perm_id, one in sorted(working.items()):
        tracked = book.by_perm_id(perm_id)
        if tracked is None or tracked.state.terminal:
            yield f"{one.contract.symbol}: order {perm_id} works at the broker, not in the ledger"
    for tracked in book.open_orders:
        if not working.keys() & set(tracked.perm_ids):
            yield f"{tracked.contract.symbol}: order {tracked.order_ref} is open in the ledger, not at the broker"
