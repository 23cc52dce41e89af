"""Questions and answers on one connection.

Belongs here: matching parts, end markers and errors to the question they answer, and giving up in time. Does not
belong here: which questions to ask (see `session`), bytes (see `wire`).

Imported on the session's own thread only, as `wire` is.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from broker.errors import (
    ClientIdInUseError,
    GatewayTimeoutError,
    GatewayUnreachableError,
    NoDataError,
    PacingError,
    RequestRefusedError,
)
from broker.ib.answers import Closed, End, Key, Message, Part, Told
from broker.ib.health import WARNINGS
from broker.ib.messages import Notice
from broker.ib.wire import Wire

_ID_IN_USE = 326


@dataclass(slots=True)
class _Question:
    subject: str
    done: "asyncio.Future[None]"
    parts: list[object] = field(default_factory=list)


class Conversation:
    """One connection: `ask` and be answered; everything that answers no question goes to `tell`, in order."""

    def __init__(self, tell: Callable[[Told], None]) -> None:
        self._tell = tell
        self._questions: dict[Key, _Question] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._id_in_use = False
        self.closed = asyncio.Event()
        self.wire = Wire(self._hear)

    async def connect(self, host: str, port: int, client_id: int, seconds: float) -> None:
        """Open the connection.

        Raises:
            GatewayUnreachableError: nobody answers, the id is in use, or the handshake does not end in time.
        """
        opening = asyncio.ensure_future(self.wire.connect(host, port, client_id, seconds))
        closing = asyncio.ensure_future(self.closed.wait())
        try:
            await asyncio.wait({opening, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
            if not opening.done():
                opening.cancel()
            await asyncio.wait({opening})
        if self._id_in_use:
            raise ClientIdInUseError(f"client_id: {client_id} is in use at {host}:{port} (326).")
        failure = None if opening.cancelled() else opening.exception()
        if isinstance(failure, TimeoutError):
            raise GatewayUnreachableError(f"{host}:{port} was reached but did not complete the handshake.")
        if failure is not None:
            raise GatewayUnreachableError(f"{host}:{port} cannot be reached: {failure}.")
        if self.closed.is_set():
            raise GatewayUnreachableError(f"{host}:{port} closed the connection during the handshake.")

    def close(self) -> None:
        """End the connection; questions that wait fail."""
        self.wire.close()
        self._hang_up()

    async def ask(self, key: Key, send: Callable[[], None], seconds: float, subject: str) -> list[object]:
        """Send a question and collect the parts of its answer up to the end marker.

        Raises:
            GatewayTimeoutError: no end marker in time; what came before it is worth nothing.
            RequestRefusedError: an error instead.
            GatewayUnreachableError: the connection ended.
        """
        if isinstance(key, int):
            return await self._ask(key, send, seconds, subject)
        async with self._turns.setdefault(key, asyncio.Lock()):  # answers without a number cannot be told apart
            return await self._ask(key, send, seconds, subject)

    async def _ask(self, key: Key, send: Callable[[], None], seconds: float, subject: str) -> list[object]:
        if self.closed.is_set():
            raise GatewayUnreachableError(f"{subject}: there is no connection to the gateway.")
        question = _Question(subject, asyncio.get_running_loop().create_future())
        self._questions[key] = question
        try:
            send()
            async with asyncio.timeout(seconds):
                await question.done
        except TimeoutError:
            raise GatewayTimeoutError(f"{subject}: the gateway did not answer within {seconds:g} seconds.") from None
        finally:
            del self._questions[key]
        return question.parts

    def _hear(self, message: Message) -> None:
        if isinstance(message, Part):
            if (question := self._questions.get(message.key)) is not None:
                question.parts.append(message.value)
        elif isinstance(message, End):
            if (question := self._questions.get(message.key)) is not None and not question.done.done():
                question.done.set_result(None)
        elif isinstance(message, Closed):
            self._hang_up()
        else:
            if isinstance(message, Notice):
                self._heed(message)
            self._tell(message)

    def _heed(self, notice: Notice) -> None:
        if notice.code == _ID_IN_USE:
            self._id_in_use = True
        question = self._questions.get(notice.request_id)
        if question is not None and notice.code not in WARNINGS and not question.done.done():
            question.done.set_exception(refusal(notice, question.subject))

    def _hang_up(self) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        for question in self._questions.values():
            if not question.done.done():
                text = f"{question.subject}: the connection to the gateway ended before the answer."
                question.done.set_exception(GatewayUnreachableError(text))


def refusal(notice: Notice, subject: str) -> RequestRefusedError:
    """The error that a notice means; 162 has three meanings, told apart by its text."""
    words = notice.text.lower()
    if notice.code == 162 and "no data" in words:
        return NoDataError(notice.code, notice.text, subject)
    if notice.code in {100, 420} or (notice.code == 162 and "pacing" in words):
        return PacingError(notice.code, notice.text, subject)
    return RequestRefusedError(notice.code, notice.text, subject)
