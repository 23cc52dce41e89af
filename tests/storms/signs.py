"""What the processes of a storm show each other.

Belongs here: the market's time and the night in shared memory, messages to the stage. Does not belong here: what they
mean.
"""

import json
import mmap
import os
import select
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARKET, _NIGHT, _ROUNDS = range(3)
_SIZE = 24


class Signs:
    """A small file in memory that every process sees at once."""

    def __init__(self, path):
        with Path(path).open("r+b") as file:
            # numbers are written whole: packing them would show zeros in between to whoever looks
            self._numbers = memoryview(mmap.mmap(file.fileno(), _SIZE)).cast("q")

    @classmethod
    def make(cls, path):
        Path(path).write_bytes(bytes(_SIZE))
        return cls(path)

    @property
    def market_time(self):
        """UTC microseconds since 1970."""
        return self._numbers[_MARKET]

    @market_time.setter
    def market_time(self, now):
        self._numbers[_MARKET] = now

    @property
    def night(self):
        """Whether IB resets its servers."""
        return bool(self._numbers[_NIGHT])

    @night.setter
    def night(self, dark):
        self._numbers[_NIGHT] = int(dark)

    @property
    def rounds(self):
        """How often the present trader's broker came round."""
        return self._numbers[_ROUNDS]

    @rounds.setter
    def rounds(self, number):
        self._numbers[_ROUNDS] = number

    def clock(self):
        """The market's time."""
        return _EPOCH + timedelta(microseconds=self.market_time)


class Talk:
    """Where a child says something to the stage."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(str(path))

    def tell(self, **said):
        self._socket.send(json.dumps({"pid": os.getpid(), **said}).encode())


class Ear:
    """The stage's side of all talks."""

    def __init__(self, path):
        Path(path).unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def hear(self, seconds=0.0):
        """What was said, oldest first; waits up to some seconds for the first of it."""
        heard, end = [], time.monotonic() + seconds
        while select.select([self._socket], [], [], max(0.0, 0.0 if heard else end - time.monotonic()))[0]:
            heard.append(json.loads(self._socket.recv(65_536)))
        return heard

    def close(self):
        self._socket.close()
