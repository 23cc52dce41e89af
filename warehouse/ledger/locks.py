"""Who may trade an account: one process, until it dies.

Belongs here: the lock on an account. Does not belong here: what its holder does, locks of files and studies.

PostgreSQL: an advisory lock on a connection of its own, which ends with the connection. SQLite: a lock on a file beside
the database, which the system drops when the process ends. A child made by a plain fork would share it; programs that
are started do not.
"""

import fcntl
import hashlib
import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from sqlalchemy import Connection, text

from warehouse.errors import AccountLockedError, LedgerError
from warehouse.ledger.database import Place, make_engine, told
from warehouse.ledger.store import Ledger
from warehouse.symbols import encode_symbol

_PROBES = 0.5  # seconds for which a look of `is_free` may stand in the way
_PAUSE = 0.01
_HOST = 30  # characters; PostgreSQL cuts names of applications at 63 bytes


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds an account."""

    pid: int
    host: str
    since: datetime  # aware UTC

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since:%Y-%m-%d %H:%M:%S} UTC"


class _Lock(Protocol):
    def acquire(self) -> bool: ...
    def release(self) -> None: ...
    def is_held(self) -> bool: ...
    def is_free(self) -> bool: ...
    def holder(self) -> Holder | None: ...


class AccountLock:
    """The right to trade an account, a context manager.

    Args:
        ledger: where the account is kept; processes that name its database differently are still kept apart.
        account: the broker's name of it.
    """

    def __init__(self, ledger: Ledger, account: str) -> None:
        self.account = account
        place = ledger.place
        self._lock: _Lock = (
            _ServerLock(place, account, ledger.seconds) if place.file is None else _FileLock(place.file, account)
        )

    def acquire(self) -> None:
        """Take the account.

        Raises:
            AccountLockedError: another process, or this one, holds it; the text says who.
            LedgerError: that cannot be found out.
        """
        if not self._lock.acquire():
            holder = self._lock.holder()
            raise AccountLockedError(f"account: {self.account} is traded by {holder or 'another process'}.")

    def release(self) -> None:
        """Let go of it; nothing happens where it is not held."""
        self._lock.release()

    def is_held(self) -> bool:
        """Whether this lock still holds the account: a server that was restarted has forgotten it."""
        return self._lock.is_held()

    def keep(self) -> bool:
        """Whether the account is still ours; where the server forgot it, it is taken again if nobody else has.

        Raises:
            LedgerError: that cannot be found out.
        """
        if self._lock.is_held():
            return True
        self._lock.release()
        return self._lock.acquire()

    def is_free(self) -> bool:
        """Whether nobody holds the account; nothing is taken.

        Raises:
            LedgerError: that cannot be found out.
        """
        return self._lock.is_free()

    def holder(self) -> Holder | None:
        """Who holds the account; None where nobody does, or it is not known.

        Raises:
            LedgerError: that cannot be found out.
        """
        return None if self._lock.is_free() else self._lock.holder()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _FileLock:
    """A lock on a file, with its holder in the file."""

    def __init__(self, database: Path, account: str) -> None:
        file = database.resolve()
        self._path = file.with_name(f"{file.name}.{encode_symbol(account)}.lock")
        self._held: int | None = None

    def acquire(self) -> bool:
        descriptor = self._open(os.O_RDWR | os.O_CREAT)
        try:
            taken = _locked(descriptor, fcntl.LOCK_EX, _PROBES)
            if taken:
                os.ftruncate(descriptor, 0)
                me = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat()}
                os.pwrite(descriptor, json.dumps(me).encode(), 0)
                self._held, descriptor = descriptor, -1
            return taken
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def release(self) -> None:
        if self._held is not None:
            os.ftruncate(self._held, 0)
            os.close(self._held)
            self._held = None

    def is_held(self) -> bool:
        return self._held is not None

    def is_free(self) -> bool:
        try:
            descriptor = self._open(os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            return _locked(descriptor, fcntl.LOCK_SH, 0)
        finally:
            os.close(descriptor)

    def holder(self) -> Holder | None:
        with suppress(FileNotFoundError, ValueError, KeyError):
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return Holder(int(found["pid"]), str(found["host"]), datetime.fromisoformat(found["since"]))
        return None

    def _open(self, flags: int) -> int:
        try:
            return os.open(self._path, flags, 0o644)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise LedgerError(f"account: the lock {self._path} cannot be opened: {error.strerror}.") from None


def _locked(descriptor: int, how: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE)
        else:
            return True


class _ServerLock:
    """An advisory lock of PostgreSQL, with its holder in the name of the connection."""

    def __init__(self, place: Place, account: str, seconds: float) -> None:
        self._place, self._account = place, account
        self._key = int.from_bytes(
            hashlib.sha256(f"barloom account {account}".encode()).digest()[:8], "big", signed=True
        )
        self._engine = make_engine(place, seconds).execution_options(isolation_level="AUTOCOMMIT")
        self._connection: Connection | None = None

    def acquire(self) -> bool:
        with told(self._place, f"locking account {self._account}"):
            connection = self._engine.connect()
            taken = False
            try:
                name = f"barloom:{os.getpid()}:{int(time.time())}:{socket.gethostname()[:_HOST]}"
                connection.execute(text("SELECT set_config('application_name', :name, false)"), {"name": name})
                connection.execute(_STAY)
                taken = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}))
            finally:
                if not taken:
                    _end(connection)
            if taken:
                self._connection = connection
            return taken

    def release(self) -> None:
        if self._connection is not None:
            _end(self._connection)
            self._connection = None

    def is_held(self) -> bool:
        if self._connection is None:
            return False
        try:
            with told(self._place, f"looking at the lock of account {self._account}"):
                mine = self._connection.scalar(text("SELECT pg_backend_pid()"))
                found = _found(self._connection, self._key)
        except LedgerError:
            return False
        return found is not None and found[0] == mine

    def is_free(self) -> bool:
        return self._look() is None

    def holder(self) -> Holder | None:
        found = self._look()
        words = [] if found is None else found[1].split(":", 3)
        if len(words) != 4 or words[0] != "barloom":
            return None
        return Holder(int(words[1]), words[3], datetime.fromtimestamp(int(words[2]), UTC))

    def _look(self) -> tuple[int, str] | None:
        with told(self._place, f"looking at the lock of account {self._account}"):
            try:
                with self._engine.connect() as connection:
                    return _found(connection, self._key)
            finally:
                self._engine.dispose()  # the connection that holds a lock is not in the pool and stays


_STAY = text(  # a server of version 14 or later may end connections that do nothing, as one with a lock does
    "SELECT set_config('idle_session_timeout', '0', false)"
    " WHERE current_setting('idle_session_timeout', true) IS NOT NULL"
)

_HOLDERS = text(
    "SELECT pid, application_name FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid::bigint = :high AND objid::bigint = :low"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def _found(connection: Connection, key: int) -> tuple[int, str] | None:
    """The server's number and the name of the connection that holds a lock."""
    row = connection.execute(_HOLDERS, _parts(key)).first()
    return None if row is None else (row[0], row[1])


def _parts(key: int) -> dict[str, int]:
    """A key as `pg_locks` shows it: two unsigned halves."""
    return {"high": (key >> 32) & 0xFFFFFFFF, "low": key & 0xFFFFFFFF}


def _end(connection: Connection) -> None:
    """Close a connection instead of giving it back, so that its session ends, and its locks."""
    connection.invalidate()
    connection.close()
