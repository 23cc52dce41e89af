"""Connections to the ledger's database: where it is, how long anything may take, and errors without secrets.

Belongs here: engines for SQLite and PostgreSQL and what holds for each of their connections. Does not belong here:
tables and statements.

Each SQLite connection waits for other writers, flushes the write-ahead log at every commit and interrupts a statement
at its time-out. Each PostgreSQL connection has the server's own time-outs and a commit that waits for the disk.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from warehouse.errors import AlreadyRecordedError, LedgerError

WRITES = "ledger_writes"  # an execution option: the transaction takes SQLite's write lock at its beginning
_INSTRUCTIONS = 10_000  # of SQLite's machine between two looks at the clock: well under a millisecond
_LONGEST_REASON = 300

SCHEMA = "ledger"
"""The schema of PostgreSQL that holds the tables, so that they may share a database with anything."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ledger is kept: a SQLite file, or a database of a PostgreSQL server. Its text holds no password."""

    file: Path | None
    url: URL | None

    @classmethod
    def of(cls, url_or_path: str | Path) -> "Place":
        """A path, `sqlite:///path`, `postgresql://...` or `postgresql+psycopg2://...`.

        Raises:
            LedgerError: it is none of these.
        """
        text = str(url_or_path)
        if isinstance(url_or_path, Path) or "://" not in text:
            return cls(Path(url_or_path), None)
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            raise LedgerError(
                "ledger: its URL cannot be read, postgresql://user:password@host/name is expected."
            ) from None
        if url.drivername == "sqlite" and url.database:
            return cls(Path(url.database), None)
        if url.drivername in {"postgresql", "postgresql+psycopg2", "postgres"}:
            return cls(None, url.set(drivername="postgresql+psycopg2"))
        raise LedgerError(f"ledger: {url.drivername!r} is not supported, a path or a postgresql URL is expected.")

    def __str__(self) -> str:
        if self.url is None:
            return str(self.file)
        port = f":{self.url.port}" if self.url.port else ""
        return f"postgresql://{self.url.host or ''}{port}/{self.url.database or ''}"

    def without_secret(self, text: str) -> str:
        """A text in which the password, if there is one, does not stand."""
        password = None if self.url is None else self.url.password
        if not password:
            return text
        for secret in (str(password), quote(str(password)), quote(str(password), safe="")):
            text = text.replace(secret, "***")
        return text


def make_engine(place: Place, seconds: float, *, reading: bool = False) -> Engine:
    """An engine; nothing is opened yet. `reading` opens a SQLite file so that it cannot be changed."""
    if place.url is None:
        return _sqlite(place, seconds, reading=reading)
    return create_engine(
        place.url,
        pool_timeout=seconds,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": max(2, round(seconds)),
            "application_name": "barloom",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": round(2000 * seconds),  # a dead network is noticed while a statement is under way
            "options": f"-c statement_timeout={round(1000 * seconds)} -c lock_timeout={round(1000 * seconds)}"
            " -c idle_in_transaction_session_timeout=60000 -c synchronous_commit=on -c timezone=UTC"
            f" -c search_path={SCHEMA}",
        },
    )


def _sqlite(place: Place, seconds: float, *, reading: bool) -> Engine:
    path = str(place.file)
    address = f"file:{quote(str(Path(path).absolute()))}?mode={'ro' if reading else 'rwc'}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=seconds, isolation_level=None, check_same_thread=False)

    engine = create_engine(
        URL.create("sqlite", database=path), creator=connect, pool_timeout=seconds, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    @event.listens_for(engine, "before_cursor_execute")
    def _limit(connection: Connection, *_: Any) -> None:  # noqa: ANN401 (what is executed)
        deadline = time.monotonic() + seconds
        raw = connection.connection.driver_connection
        if isinstance(raw, sqlite3.Connection):
            raw.set_progress_handler(lambda: time.monotonic() > deadline, _INSTRUCTIONS)

    return engine


@contextmanager
def told(place: Place, doing: str) -> Iterator[None]:
    """Turn what a database raises into one sentence without secrets.

    Raises:
        AlreadyRecordedError: the database holds a row that may be there once.
        LedgerError: anything else that the database refuses.
    """
    try:
        yield
    except IntegrityError as error:
        if _repeats(error):
            raise AlreadyRecordedError(f"ledger: {doing} is refused, it is recorded already.") from None
        raise LedgerError(f"ledger: {doing} is refused: {_reason(place, error)}.") from None
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise LedgerError(f"ledger: {doing} failed in {place}: {_reason(place, error)}.") from None


def _repeats(error: IntegrityError) -> bool:
    code = getattr(error.orig, "pgcode", None) or getattr(error.orig, "sqlite_errorname", "")
    return code in {"23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}


def _reason(place: Place, error: SQLAlchemyError | sqlite3.Error) -> str:
    """What the database says, in a line."""
    said = getattr(error, "orig", None)
    if isinstance(said, sqlite3.OperationalError) and "interrupted" in str(said):
        return "it took too long and was interrupted"
    text = " ".join(str(error if said is None else said).split())[:_LONGEST_REASON]
    return place.without_secret(text).rstrip(".") or type(error).__name__
