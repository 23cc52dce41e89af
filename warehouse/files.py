"""Files that are whole or absent, whatever kills the process.

Belongs here: atomic writes of bytes, Parquet tables and folders. Does not belong here: what the files mean.

A write goes to a hidden temporary name in the same folder, is fsynced, then renamed; the folder is fsynced too.
Readers by glob never see the temporary name, because it starts with a dot and ends in `.tmp`.
"""

import ctypes
import glob
import os
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import CorruptFileError

_ABANDONED_SECONDS = 3600.0
_ROW_GROUP = 131_072
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def parquet_bytes(table: pa.Table) -> bytes:
    """Parquet form of a table; the same rows give the same bytes, however they were chunked."""
    sink = BytesIO()
    strings = [f.name for f in table.schema if pa.types.is_string(f.type)]
    pq.write_table(
        table.combine_chunks(),
        sink,
        row_group_size=_ROW_GROUP,
        compression="zstd",
        compression_level=1,
        use_dictionary=strings,
    )
    return sink.getvalue()


def read_parquet(path: Path, schema: pa.Schema) -> pa.Table:
    """Read one Parquet file that must have exactly this schema.

    Raises:
        CorruptFileError: the file cannot be read, or holds other columns.
    """
    try:
        # Whole files into memory, no threads: most files are small, and callers already work on symbols in parallel.
        with pq.ParquetFile(pa.BufferReader(path.read_bytes())) as file:
            table = file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise CorruptFileError(f"{path}: not a readable Parquet file ({_first_line(error)}).") from error
    if not table.schema.equals(schema):
        raise CorruptFileError(f"{path}: columns {table.schema.names} are not those of its place.")
    return table


def write_bytes(path: Path, content: bytes) -> bool:
    """Put `content` under `path` in one step; False when the file already holds just that."""
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path)
    try:
        temporary.write_bytes(content)
        _sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)
    _remove_leftovers(path)
    return True


def write_parquet(path: Path, table: pa.Table) -> bool:
    """Write a table in one step; False when the file already holds just that."""
    return write_bytes(path, parquet_bytes(table))


def replace_folder(folder: Path, contents: Mapping[str, bytes]) -> bool:
    """Make `folder` hold exactly `contents` (relative name -> bytes) in one step; False when it already does.

    Files that do not change are hard-linked, not rewritten. The step is one atomic exchange on Linux; where the
    system lacks it the folder is absent between two renames, never mixed.
    """
    if _holds(folder, contents):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = _temporary_name(folder)
    try:
        staging.mkdir()
        new = [staging / n for n, content in contents.items() if _stage(folder / n, staging / n, content)]
        for path in [*new, *{staging / parent for name in contents for parent in Path(name).parents}]:
            _sync(path)  # after all are written: the first sync carries most of the others
        _swap(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _sync(folder.parent)
    _remove_leftovers(folder)
    return True


def _holds(folder: Path, contents: Mapping[str, bytes]) -> bool:
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} if folder.exists() else None
    return present == set(contents) and all((folder / n).read_bytes() == c for n, c in contents.items())


def _stage(current: Path, staged: Path, content: bytes) -> bool:
    """Put content under a staged name, by a link to the current file if that holds it; True when it was written."""
    staged.parent.mkdir(parents=True, exist_ok=True)
    if current.exists() and current.read_bytes() == content:
        try:
            os.link(current, staged)
        except OSError:  # a file system without hard links
            pass
        else:
            return False
    staged.write_bytes(content)
    return True


def _swap(staging: Path, folder: Path) -> None:
    if not folder.exists():
        staging.rename(folder)
    elif not _exchange(staging, folder):
        retired = _temporary_name(folder)
        folder.rename(retired)
        staging.rename(folder)
        shutil.rmtree(retired, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names atomically (Linux `renameat2`); False when the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    done = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE))
    return int(done) == 0


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name[:100]}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def _remove_leftovers(path: Path) -> None:
    """Delete what a killed process left behind under temporary names of `path`, once it is surely dead."""
    for left in path.parent.glob(f".{glob.escape(path.name[:100])}.*.tmp"):
        try:
            abandoned = time.time() - left.lstat().st_mtime > _ABANDONED_SECONDS
        except FileNotFoundError:  # another process has just renamed it
            continue
        if abandoned and left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        elif abandoned:
            left.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
