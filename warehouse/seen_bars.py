"""Bars as a live session saw them, when it saw them.

Belongs here: the file of one run and reading those of a session together. Does not belong here: bars as they are known
now (see `store`), what a session did (see `ledger`).

A run appends to one Arrow stream, on a thread of its own: trading never waits for the disk. What was written before a
kill is read, a record that the kill cut in two is not.
"""

import os
import threading
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from datetime import date
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

from warehouse.errors import NoDataError
from warehouse.layout import seen_folder
from warehouse.schema import SEEN_SCHEMA

_CLOSE_SECONDS: Final = 10.0
_STORED = pa.schema([column for column in SEEN_SCHEMA if column.name != "run"])


@dataclass(frozen=True, slots=True)
class SeenBar:
    """A bar that a strategy saw. `ts` is its close and `seen` the market's time then, UTC microseconds since 1970.

    `live` says whether orders could be sent on it; it is False for bars that warm a strategy up or come late.
    """

    symbol: str
    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    seen: int
    live: bool


class SeenBarsFile:
    """Where one run of a session writes what it sees; a context manager.

    Attributes:
        fault: why nothing is written any more; None while all is well. Trading goes on without.
    """

    def __init__(self, root: Path, deployment: str, session: date, attempt: int, run_id: str) -> None:
        self.path = seen_folder(root, deployment, session) / f"{attempt:03}-{run_id}.arrows"
        self.fault: str | None = None
        self._waiting: SimpleQueue[SeenBar | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="seen-bars", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, for ten seconds at most."""
        self._waiting.put(None)
        self._thread.join(_CLOSE_SECONDS)

    def add(self, bar: SeenBar) -> None:
        """Have a bar written; returns at once."""
        self._waiting.put(bar)

    def _work(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("xb") as file, pa.ipc.new_stream(file, _STORED) as stream:
                while bars := self._take():
                    stream.write_batch(_batch(bars))
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            self.fault = f"{self.path}: the bars of the session are not recorded: {error.strerror or error}."

    def _take(self) -> list[SeenBar]:
        """What waits, at least one bar; nothing at the end."""
        bars: list[SeenBar] = []
        bar = self._waiting.get()
        while bar is not None:
            bars.append(bar)
            try:
                bar = self._waiting.get_nowait()
            except Empty:
                return bars
        if bars:
            self._waiting.put(None)  # the end is found again after these
        return bars


def read_seen_bars(root: Path, deployment: str, session: date) -> pa.Table:
    """All bars that the runs of a session saw (SEEN_SCHEMA), in the order in which they did, `run` from 1.

    Raises:
        NoDataError: no run recorded any.
    """
    files = sorted(seen_folder(root, deployment, session).glob("*.arrows"))
    parts = [
        batch.append_column("run", pa.array([run] * batch.num_rows, pa.int64()))
        for run, path in enumerate(files, 1)
        for batch in _batches(path)
    ]
    if not parts:
        raise NoDataError(f"session: no bars are recorded that {deployment} saw on {session}.")
    return pa.concat_tables(parts).cast(SEEN_SCHEMA)


def _batches(path: Path) -> Iterator[pa.Table]:
    try:
        with pa.ipc.open_stream(path.read_bytes()) as stream:
            while True:
                yield pa.Table.from_batches([stream.read_next_batch()])
    except (StopIteration, pa.ArrowInvalid, OSError):  # the end, or where a kill has cut it off
        return


def _batch(bars: list[SeenBar]) -> pa.RecordBatch:
    columns = zip(*map(astuple, bars), strict=True)
    return pa.record_batch(
        [pa.array(column, field.type) for column, field in zip(columns, _STORED, strict=True)], schema=_STORED
    )
