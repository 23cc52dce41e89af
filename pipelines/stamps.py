"""What a derived thing was made from, so that it is made again only when that changes.

Belongs here: the stamp of one partition of one asset, on disk beside the data. Does not belong here: the versions
themselves, Dagster events (a stamp must be true for any Dagster instance, or for none).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa

from warehouse.files import write_bytes


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a partition was made from.

    `version` of its content, `inputs` (asset key -> version), and the `conditions` it was made under: calendar,
    settings, code, whatever else decides the outcome.
    """

    version: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    conditions: str = ""


def stamp_file(root: Path, asset: str, partition: str) -> Path:
    """Where the stamp of one partition lies."""
    return root / "stamps" / asset / f"{partition}.json"


def read_stamp(root: Path, asset: str, partition: str) -> Stamp | None:
    """The stamp, or None when there is none that can be read: then the work is done again."""
    try:
        return Stamp(**json.loads(stamp_file(root, asset, partition).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_stamp(root: Path, asset: str, partition: str, stamp: Stamp) -> None:
    """Keep a stamp; called after the content it speaks of is on disk."""
    write_bytes(stamp_file(root, asset, partition), json.dumps(asdict(stamp), sort_keys=True).encode())


def version_of(parts: Iterable[str]) -> str:
    """Short content hash (16 hex digits) of some texts, their order included.

    >>> version_of(["a", "b"]) == version_of(["ab"])
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()[:16]


def table_version(table: pa.Table) -> str:
    """Content hash of a small table, rows and order included."""
    return version_of(repr(row) for row in table.to_pylist())
