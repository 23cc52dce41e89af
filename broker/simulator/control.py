"""The control API: JSON over HTTP on the loopback address.

Belongs here: just enough HTTP for `curl` and programs. Does not belong here: what commands do (see `commands`).

`GET /status`, or `POST /{command}` with a JSON object of arguments. A command that is wrong is answered with 400 and
one sentence.
"""

import asyncio
import json
import logging
from typing import Any, Final

from broker.errors import BrokerError
from broker.simulator.commands import Commands
from broker.simulator.errors import ControlError
from broker.simulator.settings import HOST

log = logging.getLogger(__name__)

_READ_SECONDS: Final = 10.0
_LONGEST: Final = 1 << 20
_REASONS: Final = {200: "OK", 400: "Bad Request"}


async def answer_control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commands: Commands) -> None:
    """Serve one request."""
    try:
        status, document = await _answered(reader, commands)
        body = json.dumps(document).encode()
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await asyncio.wait_for(writer.drain(), _READ_SECONDS)
    except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
        log.info("a control client hung up")
    finally:
        writer.close()


async def _answered(reader: asyncio.StreamReader, commands: Commands) -> tuple[int, dict[str, Any]]:
    try:
        name, arguments = await asyncio.wait_for(_request(reader), _READ_SECONDS)
        return 200, await commands.run(name, arguments)
    except BrokerError as error:
        return 400, {"error": str(error)}


async def _request(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError:
        raise ControlError("request: its head is too long.") from None
    first, *lines = head.split("\r\n")
    parts = first.split(" ")
    if len(parts) < 2:
        raise ControlError(f"request: {first[:40]!r} is no HTTP.")
    headers = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    # a page in a browser must not give commands: a simple cross-site form or fetch carries its origin
    if "origin" in headers or headers.get("host", HOST).partition(":")[0] not in {HOST, "localhost"}:
        raise ControlError("request: it comes from a web page.")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _LONGEST:
        raise ControlError(f"content-length: {length!r} cannot be.")
    body = await reader.readexactly(int(length))
    try:
        arguments = json.loads(body) if body.strip() else {}
    except ValueError:
        raise ControlError(f"arguments: {body[:40]!r} is no JSON.") from None
    if not isinstance(arguments, dict):
        raise ControlError("arguments: they must be a JSON object.")
    return parts[1].strip("/").partition("?")[0], arguments
