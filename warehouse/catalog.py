"""SQL over everything on disk: a DuckDB sandbox to query in, and a file of views for other clients.

Belongs here: who may read what through SQL, and the published catalog file. Does not belong here: the
views' SQL (see `warehouse.views`), the ledger's (see `warehouse.ledger.live_views`), writing bars or results.

The views read Parquet and JSON where they lie, so they are never stale, and hold typed columns before any
file exists. The ledger's `live_*` tables are read when a statement names them; the published file has none of
them, because a DuckDB cannot read a ledger by itself. `Catalog.query` is safe to offer to anybody who may read
the project's data: it runs one reading statement in a DuckDB that can open files under the data and results
folders only, symbolic links resolved, without network, extensions, environment or settings.
"""

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.errors import LedgerError, QueryError
from warehouse.ledger.live_views import LIVE_SCHEMAS, read_live_views
from warehouse.ledger.place import LEDGER_FILE
from warehouse.views import escape_glob, quote, unreadable, view_definitions

CATALOG_FILE = "catalog.duckdb"

_READING_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_EXPLAIN = re.compile(
    r"\s*EXPLAIN\s+(?:ANALYZE\s+)?(?:\(\s*FORMAT\s+\w+\s*\)\s+)?(?P<statement>.+)", re.IGNORECASE | re.DOTALL
)
_CONFIG = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,  # a Python variable is no table
}


@dataclass(frozen=True, slots=True)
class Catalog:
    """The SQL view of one data folder, one results folder and one ledger; each may not exist yet.

    Attributes:
        data: the warehouse's folder.
        results: the folder of backtests and studies.
        ledger: its file or `postgresql://` URL; without it the file in the data folder.
    """

    data: Path
    results: Path
    ledger: str | Path | None = field(default=None, repr=False)  # an URL may hold a password

    def query(self, sql: str) -> pa.Table:
        """Answer one reading statement (SELECT, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN of one).

        Times are UTC. A relative path in the SQL is relative to the working directory.

        Raises:
            QueryError: the SQL is not valid, not a single reading statement, or reaches outside the folders.
        """
        with _sandbox(self, sql) as connection:
            _require_reading(connection, sql)
            try:
                return connection.sql(sql).to_arrow_table()
            except duckdb.Error as error:
                raise QueryError(_one_sentence(error)) from error

    def publish(self) -> Path:
        """Write `catalog.duckdb` in the data folder: the views only, for any DuckDB client from any folder.

        The views hold absolute paths, because a client's working directory is unknown; publish again after
        the project has moved. A reader of the former file keeps reading it.

        Returns:
            The path written.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        target = self.data / CATALOG_FILE
        temporary = self.data / f".{CATALOG_FILE}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
        try:
            with duckdb.connect(config=dict(_CONFIG)) as connection:
                connection.execute(f"ATTACH {quote(str(temporary))} AS published (STORAGE_VERSION 'v1.0.0')")
                connection.execute("USE published")
                _create_views(connection, self, live=False)
                connection.execute("USE memory")
                connection.execute("DETACH published")
            _sync(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return target


@contextmanager
def _sandbox(catalog: Catalog, sql: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB that reads the catalog's folders and nothing else, and whose settings are locked."""
    with duckdb.connect(config=dict(_CONFIG)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET allowed_directories = [{', '.join(_readable_folders(catalog))}]")
        connection.execute("SET temp_directory = ''")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        _create_views(connection, catalog, live=True)
        _add_live_views(connection, catalog, sql.lower())
        yield connection


def _readable_folders(catalog: Catalog) -> Iterator[str]:
    """SQL literals of the folders a query may read; DuckDB compares a glob as it is written, hence both spellings."""
    for folder in (catalog.data, catalog.results):
        path = f"{folder.resolve()}/"
        yield from {quote(path), quote(escape_glob(path))}


def _require_reading(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse everything but one statement that only reads.

    DuckDB's own parser decides: it serialises reading statements only, and each query node in its tree must
    be of a reading kind, because a WITH clause may hold a COPY, INSERT, UPDATE or DELETE.
    """
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(_one_sentence(error)) from error
    if len(statements) != 1:
        raise QueryError(f"sql: one statement is expected, {len(statements)} were given.")
    explained = _EXPLAIN.fullmatch(statements[0].query)
    tree = _parse(connection, explained["statement"] if explained else statements[0].query)
    if tree["error"] or len(tree["statements"]) != 1 or not _reads_only(tree["statements"]):
        kind = statements[0].type.name
        raise QueryError(f"sql: a {kind} statement that may change something is refused, only reading is allowed.")


def _parse(connection: duckdb.DuckDBPyConnection, statement: str) -> dict[str, Any]:
    [(text,)] = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [statement]).fetchall()
    try:
        tree: dict[str, Any] = json.loads(text)
    except RecursionError:
        raise QueryError("sql: the statement is nested too deeply to be checked.") from None
    return tree


def _reads_only(tree: object) -> bool:
    """True when each query node of a parsed statement is of a reading kind."""
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            kind = item.get("type")
            if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _READING_NODES:
                return False
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return True


def _create_views(connection: duckdb.DuckDBPyConnection, catalog: Catalog, *, live: bool) -> None:
    """All views; one over a file that cannot be read says so when it is queried, and leaves the others usable."""
    for name, select in view_definitions(catalog.data, catalog.results, live=live).items():
        try:
            connection.execute(f"CREATE VIEW {name} AS {select}")
        except duckdb.Error as error:
            connection.execute(f"CREATE VIEW {name} AS SELECT error({quote(_one_sentence(error))}) AS unreadable")


def _add_live_views(connection: duckdb.DuckDBPyConnection, catalog: Catalog, sql: str) -> None:
    """The ledger's tables that the statement names; the others, and those that cannot be read, say so when queried."""
    ledger = catalog.data / LEDGER_FILE if catalog.ledger is None else catalog.ledger
    named = [name for name in LIVE_SCHEMAS if name in sql]
    tables, why = {}, "live_* tables are read where the statement holds their plain names."
    if named:
        try:
            tables = read_live_views(ledger, named)
        except LedgerError as error:
            why = str(error)
    for name, schema in LIVE_SCHEMAS.items():
        if name in tables:
            connection.register(name, tables[name])
        else:
            connection.execute(f"CREATE VIEW {name} AS {unreadable(schema, why)}")


def _one_sentence(error: duckdb.Error) -> str:
    """DuckDB's message without the excerpt of the query below it."""
    return "sql: " + " ".join(str(error).split("\n\n")[0].split())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
