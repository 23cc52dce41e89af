"""The state file: orders, executions, positions and counters, in SQLite.

Belongs here: what a restart finds again. Does not belong here: the state itself (see `book`, `ledger`).

Whatever a client has been told is in the file before it is told, so that a killed gateway knows all that it has said.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from broker.simulator.errors import StateFileError
from broker.simulator.exchange import Exchange
from broker.simulator.ledger import Position
from broker.simulator.matching import Working
from broker.simulator.order_request import terms_of
from broker.simulator.orders import Execution, Order, Status

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS account (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (perm_id INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS executions (number INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS positions (key TEXT PRIMARY KEY, quantity TEXT, cost TEXT, realised TEXT);
"""
_CLOCK_STEP: Final = 60_000_000  # microseconds of market time after which the clock is written by itself
_DECIMALS: Final = ("filled", "average", "last_price", "reduced", "charged", "session_filled", "session_value")
_PLAIN: Final = (
    "perm_id", "client_id", "order_id", "parent_perm_id", "held", "expires", "active_from", "charged_session",
    "submitted_at", "completed_at", "cancel_reason",
)  # fmt: skip
_EXECUTION_PLAIN: Final = (
    "exec_id", "perm_id", "client_id", "order_id", "at", "session", "side", "order_ref", "took",
)  # fmt: skip
_EXECUTION_DECIMALS: Final = ("quantity", "price", "cumulative", "average", "fee", "realised")


@dataclass(slots=True)
class StateFile:
    """One file for one account."""

    path: Path
    _connection: sqlite3.Connection
    _saved_executions: int = 0
    _saved_now: int = 0
    _saved_account: tuple[object, ...] = ()

    @classmethod
    def open(cls, path: Path, account: str) -> "StateFile":
        """Open or begin the state of an account.

        Raises:
            StateFileError: the file is no state file, or another account's.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(path, isolation_level=None, timeout=5)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(_SCHEMA)
            found = connection.execute("SELECT value FROM account WHERE name = 'account'").fetchone()
        except sqlite3.Error as error:
            raise StateFileError(f"state: {path} is not a state file of the simulator ({error}).") from error
        if found and found[0] != account:
            connection.close()
            raise StateFileError(f"state: {path} belongs to account {found[0]}, not {account}.")
        return cls(path, connection)

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def saved_moment(self) -> int | None:
        """Where the market's clock stood, None in a new file."""
        found = self._connection.execute("SELECT value FROM account WHERE name = 'now'").fetchone()
        return int(found[0]) if found else None

    def restore(self, exchange: Exchange) -> None:
        """Put orders, executions, positions, cash and counters back.

        Raises:
            StateFileError: the file is damaged, or holds an order on a symbol that this simulation does not trade.
        """
        try:
            self._restore_account(exchange)
            for (content,) in self._connection.execute("SELECT content FROM orders ORDER BY perm_id"):
                exchange.book.add(_order(json.loads(content), exchange))
            for (content,) in self._connection.execute("SELECT content FROM executions ORDER BY number"):
                exchange.remember(_execution(json.loads(content), exchange))
            for key, *numbers in self._connection.execute("SELECT key, quantity, cost, realised FROM positions"):
                exchange.ledger.positions[exchange.instruments.by_key[key].key] = Position(*map(Decimal, numbers))
        except KeyError as error:
            raise StateFileError(f"state: {self.path} holds {error}, which this simulation does not trade.") from None
        except (sqlite3.Error, ValueError, TypeError, ArithmeticError) as error:
            raise StateFileError(f"state: {self.path} is damaged ({error}).") from error
        self._saved_executions = len(exchange.executions)

    def _restore_account(self, exchange: Exchange) -> None:
        values: dict[str, str] = dict(self._connection.execute("SELECT name, value FROM account"))
        if "cash" not in values:
            return
        ledger, book = exchange.ledger, exchange.book
        for name in ("opening_cash", "cash", "fees", "interest", "transferred"):
            setattr(ledger, name, Decimal(values[name]))
        book.next_perm_id, book.last_manual_id = int(values["next_perm_id"]), int(values["last_manual_id"])
        book.next_ids = {int(client): number for client, number in json.loads(values["next_ids"]).items()}
        exchange.next_execution = int(values["next_execution"])
        exchange.charges.accrued_session = int(values["accrued_session"])

    def save(self, exchange: Exchange) -> None:
        """Write what has changed since the last time, in one transaction.

        Raises:
            StateFileError: it cannot be written.
        """
        orders = list(exchange.changed_orders.values())
        executions = exchange.executions[self._saved_executions :]
        account = (exchange.ledger.cash, *((key, p.quantity) for key, p in exchange.ledger.positions.items()))
        resting = abs(exchange.market.now - self._saved_now) < _CLOCK_STEP and account == self._saved_account
        if resting and not orders and not executions:
            return
        try:
            with self._connection:
                self._connection.execute("BEGIN")
                self._write(exchange, orders)
                self._insert(executions, self._saved_executions)
        except sqlite3.Error as error:
            raise StateFileError(f"state: {self.path} cannot be written ({error}).") from error
        exchange.changed_orders.clear()
        self._saved_executions, self._saved_now = len(exchange.executions), exchange.market.now
        self._saved_account = account

    def rewrite_executions(self, executions: Iterable[Execution]) -> None:
        """Replace all executions, after a correction or a loss."""
        rows = list(executions)
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.execute("DELETE FROM executions")
            self._insert(rows, 0)
        self._saved_executions = len(rows)

    def _insert(self, executions: Iterable[Execution], first: int) -> None:
        self._connection.executemany(
            "INSERT INTO executions VALUES (?, ?)",
            [(first + i, json.dumps(_execution_row(e))) for i, e in enumerate(executions)],
        )

    def _write(self, exchange: Exchange, orders: Iterable[Order]) -> None:
        ledger, book = exchange.ledger, exchange.book
        account: dict[str, Any] = {
            "account": exchange.account,
            "now": exchange.market.now,
            "next_perm_id": book.next_perm_id,
            "last_manual_id": book.last_manual_id,
            "next_ids": json.dumps(book.next_ids),
            "next_execution": exchange.next_execution,
            "accrued_session": exchange.charges.accrued_session,
        }
        account |= {n: getattr(ledger, n) for n in ("opening_cash", "cash", "fees", "interest", "transferred")}
        self._connection.executemany(
            "INSERT OR REPLACE INTO account VALUES (?, ?)", [(name, str(value)) for name, value in account.items()]
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO orders VALUES (?, ?)", [(o.perm_id, json.dumps(_order_row(o))) for o in orders]
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
            [(key, str(p.quantity), str(p.cost), str(p.realised)) for key, p in ledger.positions.items()],
        )


def _order_row(order: Order) -> dict[str, Any]:
    return {
        **{name: getattr(order, name) for name in _PLAIN},
        **{name: str(getattr(order, name)) for name in _DECIMALS},
        "key": order.instrument.key,
        "fields": dict(order.fields),
        "status": order.status.value,
        "stop": order.working.stop,
        "triggered": order.working.triggered,
    }


def _order(row: Mapping[str, Any], exchange: Exchange) -> Order:
    values: dict[str, Any] = {name: row[name] for name in _PLAIN}
    values |= {name: Decimal(row[name]) for name in _DECIMALS}
    return Order(
        instrument=exchange.instruments.by_key[row["key"]],
        fields=row["fields"],
        terms=terms_of(row["fields"]),
        status=Status(row["status"]),
        working=Working(row["stop"], row["triggered"]),
        **values,
    )


def _execution_row(execution: Execution) -> dict[str, Any]:
    numbers = {name: getattr(execution, name) for name in _EXECUTION_DECIMALS}
    return {
        **{name: getattr(execution, name) for name in _EXECUTION_PLAIN},
        **{name: None if value is None else str(value) for name, value in numbers.items()},
        "key": execution.instrument.key,
    }


def _execution(row: Mapping[str, Any], exchange: Exchange) -> Execution:
    values: dict[str, Any] = {name: row[name] for name in _EXECUTION_PLAIN}
    values |= {name: None if row[name] is None else Decimal(row[name]) for name in _EXECUTION_DECIMALS}
    return Execution(instrument=exchange.instruments.by_key[row["key"]], **values)
