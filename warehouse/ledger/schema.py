"""Bringing a database to the tables of this version, or refusing it.

Belongs here: revisions, migration, the first look at a file. Does not belong here: the steps (see `migrations`).
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.schema import CreateSchema

from warehouse.errors import LedgerError, LedgerSchemaError
from warehouse.ledger.database import SCHEMA, WRITES, Place, told
from warehouse.ledger.tables import REVISION

_LOCK_KEY = 0x6261726C6F6F6D  # of PostgreSQL's advisory locks: "barloom"
_PAUSE = 0.02
_ALEMBIC = threading.Lock()  # its `op` and `context` are one for all threads


def prepare(engine: Engine, place: Place, seconds: float) -> None:
    """Make or migrate the tables; processes that open one database at once do it one after the other.

    Raises:
        LedgerSchemaError: the tables are of a revision that this version does not know.
        LedgerError: it is no database, is damaged, or cannot be reached.
    """
    if place.file is not None:
        _make_folder(place.file)
    with told(place, "opening"), _alone(place, seconds):
        if place.file is not None:
            _look_at_file(engine, place)
        with engine.connect() as connection:
            ready = revision_of(connection) == REVISION
        if not ready:
            with engine.execution_options(**{WRITES: True}).begin() as connection:
                _bring_up(connection, place)


def revision_of(connection: Connection) -> str | None:
    """The revision of the tables; None where there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return found


def refuse_other(found: str) -> LedgerSchemaError:
    """The error that a revision is not the one of this version."""
    return LedgerSchemaError(
        f"ledger: its schema {found!r} was made by another version of barloom than this one, which knows {REVISION!r};"
        " update barloom."
    )


def _bring_up(connection: Connection, place: Place) -> None:
    if place.file is None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        if not inspect(connection).has_schema(SCHEMA):
            connection.execute(CreateSchema(SCHEMA))
    found = revision_of(connection)
    if found is None and inspect(connection).get_table_names():
        raise LedgerError(f"ledger: {place} holds tables of something else.")
    if found != REVISION:
        _migrate(connection, found)


def _migrate(connection: Connection, found: str | None) -> None:
    from alembic import command  # noqa: PLC0415 (only where there is something to do)
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise refuse_other(found)
    with _ALEMBIC:
        command.upgrade(config, REVISION)


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"ledger: the folder {file.parent} cannot be made: {error.strerror}.") from None


def _look_at_file(engine: Engine, place: Place) -> None:
    with engine.connect() as connection:
        raw = connection.connection.cursor()
        raw.execute("PRAGMA quick_check(1)")  # without a limit: a large ledger is not a damaged one
        verdict = _word(raw)
        if verdict != "ok":
            raise LedgerError(f"ledger: {place} is damaged: {verdict}.")
        raw.execute("PRAGMA journal_mode = WAL")
        mode = _word(raw)
        if mode != "wal":
            raise LedgerError(f"ledger: {place} cannot keep a write-ahead log beside it, its journal mode is {mode!r}.")


def _word(cursor: DBAPICursor) -> str:
    row = cursor.fetchone()
    return " ".join(str(row[0]).split()) if row else "nothing"


@contextmanager
def _alone(place: Place, seconds: float) -> Iterator[None]:
    """One process at a time looks at a file and makes its tables: SQLite itself does not wait for a change of mode."""
    if place.file is None:
        yield
        return
    try:
        descriptor = os.open(f"{place.file.resolve()}.opening", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise LedgerError(f"ledger: {place} cannot be opened: {error.strerror}.") from None
    try:
        _wait_for(descriptor, place, time.monotonic() + seconds)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, place: Place, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LedgerError(f"ledger: {place} is being opened by another process for too long.") from None
            time.sleep(_PAUSE)
        else:
            return
