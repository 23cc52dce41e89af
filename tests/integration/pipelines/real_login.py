"""A login for real money, as far as a client can see: a relay to a simulated gateway that renames its account.

Belongs here: the relay. Does not belong here: the gateway. Both names are equally long, so that no frame changes its
size.
"""

import contextlib
import socket
import threading

PAPER, REAL = "DU1234567", "U71234567"


class RealLogin:
    """Relays one port of this machine to another while it is entered; `port` is where it listens."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._door = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._door]
        self.port = self._door.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._let_in, daemon=True).start()
        return self

    def __exit__(self, *_):
        for one in self._sockets:
            with contextlib.suppress(OSError):  # the other side went first
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _let_in(self):
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            gateway = socket.create_connection(("127.0.0.1", self._behind))
            self._sockets += [client, gateway]
            for source, sink, names in ((client, gateway, (REAL, PAPER)), (gateway, client, (PAPER, REAL))):
                threading.Thread(target=_pass_on, args=(source, sink, *names), daemon=True).start()


def _pass_on(source, sink, name, other):
    """Pass bytes on until one side closes; a name that lies across two reads is waited for."""
    held, name, other = b"", name.encode(), other.encode()
    try:
        while read := source.recv(65536):
            held = (held + read).replace(name, other)
            keep = next((n for n in range(len(name) - 1, 0, -1) if held.endswith(name[:n])), 0)
            sink.sendall(held[: len(held) - keep])
            held = held[len(held) - keep :]
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return
