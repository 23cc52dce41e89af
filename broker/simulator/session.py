"""One connected client: its socket, its subscriptions, and the faults on its line.

Belongs here: sending and receiving, what is peculiar to one connection. Does not belong here: what a request does (see
`desk`).
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from broker.simulator.answers import Message, error
from broker.simulator.faults import Faults, answer_id
from broker.simulator.framing import pack
from broker.simulator.pacing import Pacing
from broker.simulator.streams import FiveSeconds, Forming, SingleTicks, Ticks

log = logging.getLogger(__name__)

_MOST_UNSENT: Final = 64 << 20
"""Bytes that may wait for a client that does not read; then it is disconnected, as IB does."""

_DRAIN_SECONDS: Final = 2.0
_LINGER_SECONDS: Final = 1.0  # for a client to read the last words and hang up itself
_COALESCE_SECONDS: Final = 0.02
_PIECE, _PIECE_SECONDS = 37, 0.0005  # bytes of a split frame, and the wait before the next ones


@dataclass(slots=True)
class Subscriptions:
    """What flows to a client, by request id."""

    ticks: dict[int, Ticks] = field(default_factory=dict)
    bars: dict[int, FiveSeconds] = field(default_factory=dict)
    forming: dict[int, Forming] = field(default_factory=dict)
    single: dict[int, SingleTicks] = field(default_factory=dict)
    account: bool = False
    positions: bool = False
    summary: dict[int, frozenset[str]] = field(default_factory=dict)
    account_multi: set[int] = field(default_factory=set)
    positions_multi: set[int] = field(default_factory=set)
    pnl: set[int] = field(default_factory=set)
    pnl_single: dict[int, int] = field(default_factory=dict)  # request -> contract

    def drop_data(self) -> None:
        """Forget market data, as a lost connection to IB does."""
        for kind in (self.ticks, self.bars, self.forming, self.single):
            kind.clear()


class Session:
    """A client on the line."""

    def __init__(self, writer: asyncio.StreamWriter, version: int, faults: Faults) -> None:
        self.version = version
        self.client_id = -1
        self.started = self.binds_manual = self.frozen = self.closed = self._ended = False
        self._slow = False
        self.data_type = 1  # what the client asked for: live, frozen, delayed
        self.subscriptions = Subscriptions()
        self.pacing = Pacing()
        self._writer, self._faults = writer, faults
        self._behind: list[tuple[int, Message]] = []  # messages that wait for another to pass
        self._buffer = bytearray()
        self._pieces: deque[bytes] = deque()
        self._timers: set[asyncio.TimerHandle] = set()
        self._last_sent: dict[str, object] = {}

    def send(self, message: Message, order_ref: str | None = None) -> None:
        """Send a message, unless a fault does something else with it."""
        rule = self._faults.of_answer(message, self.client_id, order_ref)
        if rule is None:
            self._transmit(message)
        elif rule.action == "delay":
            self._later(float(rule.value or 1), message)
        elif rule.action == "after":
            self._behind.append((answer_id(rule.value), message))
        elif rule.action == "duplicate":
            self._transmit(message)
            self._transmit(message)
        elif rule.action == "close":
            self.close()

    def refuse(self, req_id: int, code: int, text: str) -> None:
        """Send an error or a notice."""
        self.send(error(req_id, code, text, self.version))

    def send_changed(self, name: str, message: Message) -> None:
        """Send a figure unless the client has just this one."""
        if self._last_sent.get(name) != message:
            self._last_sent[name] = message
            self.send(message)

    def close(self) -> None:
        """Hang up, so that what was sent still arrives: a closed socket with unread requests would be a reset."""
        if not self.closed:
            self.closed = True
            for timer in self._timers:
                timer.cancel()
            self._write(b"".join(self._pieces) + bytes(self._buffer))
            if self._writer.can_write_eof() and not self._writer.is_closing():
                self._ended = True
                with suppress(OSError):  # the client has reset the connection, which asyncio does not know yet
                    self._writer.write_eof()
                asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._writer.close)
            else:
                self._writer.close()

    async def drain(self) -> None:
        """Wait until the client has taken what was sent, but not for ever, and only once for one that does not read."""
        if self.closed or self.frozen or (self._slow and self._writer.transport.get_write_buffer_size()):
            return
        self._slow = False
        try:
            await asyncio.wait_for(self._writer.drain(), _DRAIN_SECONDS)
        except TimeoutError:
            self._slow = True
            log.warning("client %s does not read", self.client_id)
        except ConnectionError:
            self.close()

    def _transmit(self, message: Message) -> None:
        self._put(pack(message))
        passed = [held for waits_for, held in self._behind if waits_for == message[0]]
        if passed:
            self._behind = [(w, held) for w, held in self._behind if w != message[0]]
            for held in passed:
                self._transmit(held)

    def _later(self, delay: float, message: Message) -> None:
        self._timers.add(asyncio.get_running_loop().call_later(delay, self._transmit, message))

    def _put(self, frame: bytes) -> None:
        if self.closed or self.frozen:
            return
        if self._faults.frames == "whole" and not self._buffer and not self._pieces:
            self._write(frame)
            return
        if not self._buffer:
            wait = _COALESCE_SECONDS if self._faults.frames == "coalesced" else 0.0
            self._timers.add(asyncio.get_running_loop().call_later(wait, self._flush))
        self._buffer += frame

    def _flush(self) -> None:
        """Write what was collected: in one piece, or in pieces that fit no frame."""
        content, self._buffer = bytes(self._buffer), bytearray()
        if self._faults.frames != "split" and not self._pieces:
            self._write(content)
            return
        idle = not self._pieces
        self._pieces.extend(content[start : start + _PIECE] for start in range(0, len(content), _PIECE))
        if idle:
            self._pump()

    def _pump(self) -> None:
        """Write the next piece, and the others one by one after it."""
        if self._pieces and not self.closed:
            self._write(self._pieces.popleft())
            asyncio.get_running_loop().call_later(_PIECE_SECONDS, self._pump)

    def _write(self, content: bytes) -> None:
        if not content or self._writer.is_closing() or self._ended:
            return
        self._writer.write(content)
        if self._writer.transport.get_write_buffer_size() > _MOST_UNSENT:
            log.warning("client %s is disconnected: it does not read", self.client_id)
            self.close()
