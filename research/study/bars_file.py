"""The bars of a search on their way to a worker.

Belongs here: a file that workers map into memory, the same content as bytes for other machines. Does not belong here:
the warehouse's own files.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from research.feed import SymbolBars

_COLUMNS = ("ts", "sessions", "open", "high", "low", "close", "volume")
_SCHEMA = pa.schema([pa.field(name, pa.int64() if name in _COLUMNS[:2] else pa.float64()) for name in _COLUMNS])


@dataclass(frozen=True, slots=True)
class Parcel:
    """Bars by their content's digest: a path on this machine, or the bytes for another."""

    digest: str
    path: str | None = field(compare=False)
    content: bytes | None = field(default=None, compare=False, repr=False)

    def open(self) -> dict[str, SymbolBars]:
        """The bars by symbol; prices of a file stay in it until they are read."""
        source = pa.memory_map(self.path) if self.path is not None else pa.py_buffer(self.content)
        reader = pa.ipc.open_file(source)
        symbols = (reader.schema.metadata or {})[b"symbols"].decode().split("\n")
        return {symbol: _bars(symbol, reader.get_batch(at)) for at, symbol in enumerate(symbols)}

    def with_content(self) -> "Parcel":
        """The same with its bytes, for another machine."""
        content = self.content if self.path is None else Path(self.path).read_bytes()
        return Parcel(self.digest, None, content)


@contextmanager
def parcelled(bars: Mapping[str, SymbolBars]) -> Iterator[Parcel]:
    """The bars in a file that is gone afterwards."""
    handle, path = tempfile.mkstemp(prefix="barloom-bars-", suffix=".arrow")
    os.close(handle)
    try:
        schema = _SCHEMA.with_metadata({"symbols": "\n".join(bars)})
        with pa.ipc.new_file(path, schema) as writer:
            for one in bars.values():
                writer.write_batch(pa.record_batch([pa.array(getattr(one, n)) for n in _COLUMNS], schema=schema))
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        yield Parcel(digest, path)
    finally:
        Path(path).unlink(missing_ok=True)


def _bars(symbol: str, batch: pa.RecordBatch) -> SymbolBars:
    # compiled code is made once for arrays that may be written and once for others: these are copies, which may
    times = [np.array(batch.column(at)) for at in range(2)]
    prices = [batch.column(at).to_numpy(zero_copy_only=True) for at in range(2, len(_COLUMNS))]
    return SymbolBars(symbol, *times, *prices)
