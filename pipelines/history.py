"""Dagster's history in SQLite, with its databases kept open.

Belongs here: the storage class that `dagster.yaml` names. Does not belong here: what is stored; that is Dagster's.

Dagster's own SQLite event log makes a database engine for every single event and closes it again: new connections,
statements compiled anew, and a write-ahead log folded back each time, about 15 ms an event. A run over 500 symbols
stores 4,000 events. This class keeps one engine a database; files, schema and content are Dagster's, so either class
reads what the other wrote. Measured against the base class in `docs/decisions/006-sqlite-kept-open.md`.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, _event_logs_directory
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

_BUSY_SECONDS = 10
_OPEN_DATABASES = 8
"""The index and the runs that were written or read last."""


class OpenSqliteEventLog(SqliteEventLogStorage):
    """The event log with an engine kept for each database."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        # during construction the base class connects before this class's own attribute could exist otherwise
        if shard not in self._engines:
            self._engines[shard] = _open(self.conn_string_for_shard(shard))
            if len(self._engines) > _OPEN_DATABASES:
                self._engines.popitem(last=False)[1].dispose()
        self._engines.move_to_end(shard)
        return self._engines[shard]

    def _close_all(self) -> None:
        while self._engines:
            self._engines.popitem()[1].dispose()

    def wipe(self) -> None:
        """Delete every event; the files must not be open then."""
        self._close_all()
        super().wipe()

    def dispose(self) -> None:
        """Close everything."""
        super().dispose()
        self._close_all()


def _open(url: str) -> Engine:
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=1, max_overflow=4, connect_args={"timeout": _BUSY_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def _no_flush_for_each_event(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
        # with a write-ahead log this survives a crash of the process; a crash of the machine may lose the last events
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


class OpenSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with that event log; configured by `base_dir` as its parent is."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = OpenSqliteEventLog(_event_logs_directory(base_dir))

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """What Dagster calls with the `config` of `dagster.yaml`."""
        return cls.from_local(inst_data=inst_data, **config_value)
