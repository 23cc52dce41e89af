"""Bytes of the TWS protocol: frames, fields, the greeting.

Belongs here: length prefixes, NUL-terminated fields, the negotiation of a version. Does not belong here: what a message
means (see `requests`, `answers`).
"""

import asyncio
import re
import struct
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from broker.simulator.errors import ProtocolError

MIN_VERSION: Final = 157
MAX_VERSION: Final = 176
"""Layouts change above 176; every client in use speaks 157 or 176 with a server that offers this range."""

_LONGEST: Final = 1 << 20  # a request is a few hundred bytes; a length beyond this is no TWS client
_MAGIC: Final = b"API\0"
_VERSIONS: Final = re.compile(r"v(\d{1,6})(?:\.\.(\d{1,6}))?(?: .*)?", re.DOTALL)

Field = str | int | float | Decimal | bool | None


def text_of(field: Field) -> str:
    """A field as the protocol writes it: empty when unset, 1 or 0 for a flag, no exponent and no trailing zeros."""
    if field is None:
        return ""
    if isinstance(field, bool):
        return "1" if field else "0"
    if isinstance(field, Decimal):
        plain = f"{field:f}"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    if isinstance(field, float):
        return repr(int(field)) if field.is_integer() and abs(field) < 1e15 else repr(field)
    return str(field)


def pack(fields: Iterable[Field]) -> bytes:
    """One frame."""
    # a NUL inside a field would shift all that follow
    payload = "".join(f"{text_of(field).replace(chr(0), ' ')}\0" for field in fields).encode()
    return struct.pack(">I", len(payload)) + payload


def fields_of(payload: bytes) -> list[str]:
    """The fields of a payload.

    Raises:
        ProtocolError: the payload does not end with a terminated field.
    """
    if not payload.endswith(b"\0"):
        raise ProtocolError(f"frame: {payload[:40]!r} does not end with a NUL.")
    return payload[:-1].decode(errors="backslashreplace").split("\0")


async def read_payload(reader: asyncio.StreamReader) -> bytes:
    """The payload of the next frame; waits as long as the client is silent.

    Raises:
        ProtocolError: the length cannot be one of a request.
        asyncio.IncompleteReadError: the client is gone.
    """
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    if length > _LONGEST:
        raise ProtocolError(f"frame: a length of {length} bytes is no TWS request.")
    return await reader.readexactly(length)


async def read_greeting(reader: asyncio.StreamReader) -> str:
    """What a client says first, for example `v157..176`.

    Raises:
        ProtocolError: the client does not speak the TWS protocol.
        asyncio.IncompleteReadError: the client is gone.
    """
    magic = await reader.readexactly(len(_MAGIC))
    if magic != _MAGIC:
        raise ProtocolError(f"greeting: {magic!r} is not {_MAGIC!r}.")
    return (await read_payload(reader)).decode(errors="backslashreplace").rstrip("\0")


def negotiate(greeting: str) -> int:
    """The version both sides speak.

    Raises:
        ProtocolError: there is none.

    >>> negotiate("v100..226 +PACEAPI"), negotiate("v100..157")
    (176, 157)
    """
    match = _VERSIONS.fullmatch(greeting)
    if match is None:
        raise ProtocolError(f"greeting: {greeting[:40]!r} offers no versions.")
    low, high = int(match[1]), int(match[2] or match[1])
    version = min(high, MAX_VERSION)
    if version < max(low, MIN_VERSION):
        raise ProtocolError(f"version: {greeting[:40]!r} does not meet {MIN_VERSION}..{MAX_VERSION}.")
    return version
