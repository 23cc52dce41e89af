"""A supervised session with a gateway: one thread, one event loop, one connection at a time.

Belongs here: connecting until everything is told, noticing that a connection is dead, connecting again, streams that
outlive connections, calls from other threads. Does not belong here: what orders and positions mean (see
`broker.orders`), bytes (see `wire`).

A session is READY only when positions, orders, executions and figures of the account have all arrived with their end
markers. A marker that does not come is never taken for an empty list: the connection is given up and made again.
"""

import asyncio
import dataclasses
import random
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from broker.errors import (
    GatewayError,
    GatewayNotReadyError,
    GatewayTimeoutError,
    GatewayUnreachableError,
    WrongAccountError,
)
from broker.ib.answers import (
    ACCOUNT_VALUES,
    COMPLETED_ORDERS,
    OPEN_ORDERS,
    POSITIONS,
    SERVER_TIME,
    Told,
    market_rule_key,
)
from broker.ib.health import DEAD_STREAM, FINAL_FOR_STREAMS, WARNINGS, Health, Remedy
from broker.ib.mailbox import Mailbox
from broker.ib.messages import (
    AccountSnapshot,
    AccountValue,
    Alarm,
    Bar,
    BarUpdate,
    Commission,
    CompletedOrder,
    Contract,
    ContractDetails,
    Event,
    Execution,
    MarketDataType,
    Notice,
    OpenOrder,
    OrderTicket,
    PortfolioItem,
    Position,
    PriceIncrement,
    Resubscribed,
    SessionState,
    StateChange,
    SubscriptionEnded,
    Tick,
    Undecoded,
)
from broker.ib.requests import HistoryRequest, SubscriptionRequest
from broker.ib.settings import SessionSettings, choose_account

if TYPE_CHECKING:
    from broker.ib.conversation import Conversation

T = TypeVar("T")
Now = Callable[[], datetime]

_MARGIN: Final = 5.0  # a call waits so much longer than its answer may take, and then blames the session's thread
_SEND_SECONDS: Final = 5.0
_WATCH_SECONDS: Final = 1.0
_REVIVALS: Final = 6  # tries for a stream that dies again and again without a single bar
_OVER: Final = frozenset({"Filled", "Cancelled", "ApiCancelled"})


def wall_clock() -> datetime:
    """The moment, aware UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class _Stream:
    request: SubscriptionRequest
    key: int | None = None  # its number on the present connection
    deaths: int = 0


class Session:
    """A session with one gateway for one account; keeps `broker.ib.requests.Gateway`. Use it in a `with` block.

    Calls are safe from any thread but the session's own. `now` is the wall clock, for the reset window and the skew
    of clocks only; waits are measured by a monotonic clock.
    """

    def __init__(self, settings: SessionSettings, *, now: Now = wall_clock) -> None:
        self.settings = settings
        self._now = now
        self._health = Health(settings.reset, settings.outage_seconds)
        self._changed = threading.Condition()
        self._state = SessionState.DISCONNECTED
        self._listeners: tuple[Mailbox[Event], ...] = ()
        self._streams: dict[int, _Stream] = {}
        self._streams_made = 0
        self._values: dict[tuple[str, str], AccountValue] = {}
        self._portfolio: dict[int, PortfolioItem] = {}
        self._commissions: dict[str, Commission] = {}
        self._talk: Conversation | None = None
        self._account = settings.account or ""
        self._unread = 0  # messages about the account that could not be read
        self._skew: timedelta | None = None
        self._opened: asyncio.Future[AccountSnapshot] | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="ib-session", daemon=True)

    # ---------------------------------------------------------------- opening and closing

    def open(self, patience: float = 0.0) -> AccountSnapshot:
        """Connect and wait until the session is READY; from then on it is kept up until `close`.

        Args:
            patience: seconds for which an attempt that fails is followed by another.

        Raises:
            GatewayUnreachableError: nobody answers, or our client id stays in use.
            GatewayNotReadyError: the account's state was not told completely.
            WrongAccountError: the account does not fit.
        """
        if self._thread.ident is not None:
            raise GatewayError("session: it was opened before; make a new one.")
        self._thread.start()
        most = self.settings.connect_seconds + self.settings.sync_seconds
        try:
            return self._call(lambda: self._begin(patience), patience + most + self.settings.retry_most_seconds)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the session and its thread; streams end with it, orders stay."""
        if not self._thread.is_alive():
            return
        with suppress(GatewayTimeoutError):
            self._call(self._end, _SEND_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_MARGIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---------------------------------------------------------------- what is known without asking

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it stands there, in one sentence."""
        return self._health.reason

    @property
    def account(self) -> str:
        """The account that is traded; empty before the first connection unless it was named."""
        return self._account

    @property
    def client_id(self) -> int:
        """Our number among the gateway's clients."""
        return self.settings.client_id

    @property
    def in_reset(self) -> bool:
        """Whether IB's nightly window is open: no orders, no alarms."""
        return self.settings.reset is not None and self.settings.reset.ends(self._now()) is not None

    @property
    def server_version(self) -> int:
        """Protocol version agreed on; 0 without a connection."""
        talk = self._talk
        return 0 if talk is None else talk.wire.server_version

    @property
    def library(self) -> str:
        """Name and version of the client library; empty without a connection."""
        talk = self._talk
        return "" if talk is None else talk.wire.library

    @property
    def clock_skew(self) -> timedelta | None:
        """By how much the gateway's clock is ahead of ours when last asked; None before."""
        return self._skew

    def listen(self) -> "Mailbox[Event]":
        """A queue that receives every event from now on, in order; give it back with `forget`."""
        queue: Mailbox[Event] = Mailbox()
        with self._changed:
            self._listeners = (*self._listeners, queue)
        return queue

    def forget(self, queue: "Mailbox[Event]") -> None:
        """Stop feeding a queue."""
        with self._changed:
            self._listeners = tuple(known for known in self._listeners if known is not queue)

    def wait_for(self, state: SessionState, seconds: float) -> bool:
        """Wait until the session is in a state; False when it is not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._state is state, seconds)

    # ---------------------------------------------------------------- questions

    def synchronize(self, seconds: float = 30.0) -> AccountSnapshot:
        """Ask for the whole state of the account again, which listeners hear too.

        Raises:
            GatewayNotReadyError: not everything was told in time; nothing is concluded from the rest.
        """
        return self._call(lambda: self._synchronize(self._connected(), seconds), seconds)

    def contract_details(self, contract: Contract, seconds: float = 15.0) -> tuple[ContractDetails, ...]:
        """Every contract that fits; RequestRefusedError with code 200 where none does."""
        return self._numbered(
            lambda talk, key: talk.wire.request_contract_details(key, contract),
            f"contract {contract.symbol}", seconds, ContractDetails,
        )  # fmt: skip

    def market_rule(self, rule: int, seconds: float = 15.0) -> tuple[PriceIncrement, ...]:
        """Price increments of a market rule, lowest edge first."""
        return self._call(lambda: self._market_rule(rule, seconds), seconds)

    def history(self, request: HistoryRequest, seconds: float = 60.0) -> tuple[Bar, ...]:
        """Bars, oldest first.

        Raises:
            NoDataError: there are none in the range.
            PacingError: asked too often; ask again later.
            RequestRefusedError: any other refusal.
            GatewayTimeoutError: no complete answer in time.
        """
        return self._call(lambda: self._history(request, seconds), seconds)

    def first_moment(self, contract: Contract, what_to_show: str, seconds: float = 15.0) -> datetime:
        """When IB's history of a contract begins (aware UTC)."""
        (moment,) = self._numbered(
            lambda talk, key: talk.wire.request_first_moment(key, contract, what_to_show),
            f"first moment of {contract.symbol}", seconds, datetime,
        )  # fmt: skip
        return moment

    def open_orders(self, seconds: float = 15.0) -> tuple[OpenOrder, ...]:
        """Working orders of every client."""
        return self._call(lambda: self._open_orders(self._connected(), seconds), seconds)

    def completed_orders(self, seconds: float = 15.0) -> tuple[CompletedOrder, ...]:
        """Orders that ended."""
        return self._call(lambda: self._completed_orders(self._connected(), seconds), seconds)

    def server_time(self, seconds: float = 5.0) -> datetime:
        """The gateway's clock (aware UTC), in whole seconds."""
        return self._call(lambda: self._server_time(self._connected(), seconds), seconds)

    # ---------------------------------------------------------------- streams

    def subscribe(self, request: SubscriptionRequest) -> int:
        """Start a stream that survives reconnects under this number, until `unsubscribe`.

        Without a connection it begins with the next one.
        """
        return self._call(lambda: self._subscribe(request), _SEND_SECONDS)

    def unsubscribe(self, subscription: int) -> None:
        """End a stream; one that has ended or never was is no error."""
        self._call(lambda: self._unsubscribe(subscription), _SEND_SECONDS)

    # ---------------------------------------------------------------- orders

    def next_order_id(self) -> int:
        """An order id that this client never used."""
        return self._call(self._next_id, _SEND_SECONDS)

    def place_order(self, contract: Contract, ticket: OrderTicket) -> None:
        """Send an order, or a change of one that has the same id.

        Raises:
            GatewayNotReadyError: the session is not READY, or the nightly reset is on; nothing was sent.
        """
        self._call(lambda: self._place(contract, ticket), _SEND_SECONDS)

    def cancel_order(self, order_id: int) -> None:
        """Ask to cancel an order, whatever the state of the session: only an answer says that it is."""
        self._call(lambda: self._send(lambda talk: talk.wire.cancel_order(order_id)), _SEND_SECONDS)

    def cancel_everything(self) -> None:
        """Ask to cancel every order of every client (IB's global cancel)."""
        self._call(lambda: self._send(lambda talk: talk.wire.cancel_everything()), _SEND_SECONDS)

    # ---------------------------------------------------------------- between threads

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)  # before the client library is imported, which looks for it
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _call(self, make: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
        """Run a coroutine on the session's thread and wait for its end."""
        if threading.get_ident() == self._thread.ident:
            raise GatewayError("session: it cannot wait for itself; call it from another thread.")
        if not self._thread.is_alive():
            raise GatewayUnreachableError("session: it is not open.")
        running = asyncio.run_coroutine_threadsafe(make(), self._loop)
        try:
            return running.result(seconds + _MARGIN)
        except TimeoutError:
            running.cancel()
            raise GatewayTimeoutError(f"session: no end after {seconds + _MARGIN:g} seconds.") from None
        except asyncio.CancelledError:
            raise GatewayUnreachableError("session: it was closed meanwhile.") from None

    def _numbered(
        self, send: "Callable[[Conversation, int], None]", subject: str, seconds: float, kind: type[T]
    ) -> tuple[T, ...]:
        """Ask a question that has a number; the parts of its answer."""

        async def ask() -> tuple[T, ...]:
            talk = self._connected()
            key = talk.wire.next_id()
            parts = await talk.ask(key, lambda: send(talk, key), seconds, subject)
            return tuple(part for part in parts if isinstance(part, kind))

        return self._call(ask, seconds)

    def _connected(self) -> "Conversation":
        talk = self._talk
        if talk is None or talk.closed.is_set():
            raise GatewayUnreachableError(f"session: there is no connection to {self.settings.address}.")
        return talk

    # ---------------------------------------------------------------- supervision, on the session's thread

    async def _begin(self, patience: float) -> AccountSnapshot:
        self._opened = self._loop.create_future()
        self._start(self._supervise(self._loop.time() + patience))
        self._start(self._watch())
        return await self._opened

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        job = self._loop.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _end(self) -> None:
        jobs = list(self._jobs)
        for job in jobs:
            job.cancel()
        if jobs:
            await asyncio.wait(jobs, timeout=_SEND_SECONDS)
        if self._talk is not None:
            self._talk.close()
        self._enter(SessionState.DISCONNECTED, "The session was closed.")
        await asyncio.sleep(0)  # the socket's last callbacks

    async def _supervise(self, give_up: float) -> None:
        """Connect, stay connected, connect again; ends only when the first connection fails for good."""
        failures = 0
        opened = self._opened
        assert opened is not None  # noqa: S101 (set by `_begin`)
        while True:
            try:
                snapshot = await self._connect()
                failures = 0
                if not opened.done():
                    opened.set_result(snapshot)
                reason = await self._stay()
            except GatewayError as error:
                reason = str(error)
                final = isinstance(error, WrongAccountError) or self._loop.time() >= give_up
                if not opened.done() and final:
                    self._hang_up(reason)
                    opened.set_exception(error)
                    return
            failures += 1
            self._hang_up(reason)
            await asyncio.sleep(self._pause(failures))

    def _pause(self, failures: int) -> float:
        """Seconds before the next attempt: doubling up to a cap, and never the same for two sessions."""
        longest = min(self.settings.retry_seconds * 2.0 ** min(failures - 1, 16), self.settings.retry_most_seconds)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 (spreads attempts, hides nothing)

    async def _connect(self) -> AccountSnapshot:
        from broker.ib.conversation import Conversation  # noqa: PLC0415 (the library needs this thread's loop)

        settings = self.settings
        self._enter(SessionState.CONNECTING, f"Connecting to {settings.address} as client {settings.client_id}.")
        for stream in self._streams.values():
            stream.key = None
        self._talk = talk = Conversation(self._hear)
        await talk.connect(settings.host, settings.port, settings.client_id, settings.connect_seconds)
        self._account = choose_account(talk.wire.accounts, settings)
        self._values.clear()
        self._portfolio.clear()
        self._enter(SessionState.SYNCING, "Connected; the account's state is being told.")
        talk.wire.choose_market_data(settings.market_data)
        if settings.client_id == 0:
            talk.wire.bind_manual_orders()
        await self._check_clock(talk)
        return await self._settle(talk)

    async def _settle(self, talk: "Conversation") -> AccountSnapshot:
        """Learn the account's state, feed the streams again, and be READY."""
        snapshot = await self._synchronize(talk, self.settings.sync_seconds)
        self._resubscribe(talk)
        self._enter(SessionState.READY, "Everything was told.")
        return snapshot

    async def _stay(self) -> str:
        """Ask for the gateway's clock now and then until the connection ends; why it did."""
        talk = self._connected()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.heartbeat_seconds):
                    await talk.closed.wait()
            if talk.closed.is_set():
                return "The connection was closed by the gateway."
            try:
                await self._check_clock(talk)
            except GatewayTimeoutError:
                return f"The gateway is silent for more than {self.settings.answer_seconds:g} seconds."

    def _hang_up(self, reason: str) -> None:
        talk, self._talk = self._talk, None
        if talk is not None:
            talk.close()
        self._enter(SessionState.DISCONNECTED, reason)

    async def _watch(self) -> None:
        """Turn an outage that lasts into an alarm; try for market data that another session took."""
        tried = self._loop.time()
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            sentence = self._health.outage(self._now(), self._loop.time())
            if sentence is not None:
                self._alarm("outage", sentence)
            if "competing" in self._health.faults and self._loop.time() - tried > self.settings.competing_seconds:
                tried = self._loop.time()
                if self._talk is not None:
                    self._resubscribe(self._talk)

    async def _check_clock(self, talk: "Conversation") -> None:
        before = self._now()
        told = await self._server_time(talk, self.settings.answer_seconds)
        ours = before + (self._now() - before) / 2
        skew = told + timedelta(seconds=0.5) - ours  # told in whole seconds, cut off
        seconds = abs(skew.total_seconds())
        known, self._skew = self._skew, skew
        if seconds > self.settings.skew_most:
            self._fault("clock", f"Our clock and the gateway's differ by {seconds:.1f} seconds.")
        else:
            self._sound("clock")
        was = 0.0 if known is None else abs(known.total_seconds())
        if seconds > self.settings.skew_warning >= was:
            self._alarm("clock_skew", f"Our clock and the gateway's differ by {seconds:.1f} seconds.")

    # ---------------------------------------------------------------- the state

    def _enter(self, phase: SessionState, reason: str) -> None:
        self._health.enter(phase, reason)
        self._show()

    def _fault(self, name: str, sentence: str) -> None:
        if self._health.faults.get(name) != sentence:
            self._health.faults[name] = sentence
            self._show()

    def _sound(self, name: str) -> None:
        if self._health.faults.pop(name, None) is not None:
            self._show()

    def _show(self) -> None:
        """Let everybody see the state that the facts make."""
        state, in_reset = self._health.state, self.in_reset
        with self._changed:
            if state is self._state:
                return
            self._state = state
            self._changed.notify_all()
        self._tell(StateChange(self._now(), state, self._health.reason, in_reset))

    def _alarm(self, code: str, text: str) -> None:
        self._tell(Alarm(self._now(), code, text))

    def _tell(self, event: Event) -> None:
        for queue in self._listeners:
            queue.put(event)

    # ---------------------------------------------------------------- hearing

    def _hear(self, message: Told) -> None:
        """Take every message of the connection, in order."""
        if isinstance(message, BarUpdate | Tick | MarketDataType):
            self._hear_stream(message)
        elif isinstance(message, Notice):
            self._hear_notice(message)
        else:
            self._remember(message)

    def _remember(self, message: Told) -> None:
        if isinstance(message, AccountValue):
            self._values[message.key, message.currency] = message
        elif isinstance(message, PortfolioItem):
            self._portfolio[message.contract.con_id] = message
        elif isinstance(message, Commission):
            self._commissions[message.exec_id] = message
        elif isinstance(message, Undecoded) and message.about_account:
            self._unread += 1
            self._start(self._learn_again())
        self._tell(message)

    def _hear_stream(self, message: BarUpdate | Tick | MarketDataType) -> None:
        number = self._stream_of(message.subscription)
        if number is None:
            return
        self._streams[number].deaths = 0
        if not isinstance(message, MarketDataType):
            self._sound("competing")
        self._tell(dataclasses.replace(message, subscription=number))

    def _stream_of(self, key: int) -> int | None:
        return next((number for number, stream in self._streams.items() if stream.key == key), None)

    def _hear_notice(self, notice: Notice) -> None:
        remedy = self._health.hear(notice)
        self._tell(notice)
        self._show()
        if remedy is Remedy.SYNCHRONIZE:
            self._start(self._learn_again())
        elif remedy is Remedy.RESUBSCRIBE and self._talk is not None:
            self._resubscribe(self._talk)
        number = self._stream_of(notice.request_id) if notice.request_id >= 0 else None
        if number is not None and notice.code not in WARNINGS and notice.code != 10197:
            self._lose(number, notice)

    def _lose(self, number: int, notice: Notice) -> None:
        """A stream got an error: ask again where that may help, else say that it is over."""
        stream = self._streams[number]
        stream.key = None
        stream.deaths += 1
        if notice.code in DEAD_STREAM and stream.deaths <= _REVIVALS:
            self._start(self._revive(number))
        else:
            meaning = FINAL_FOR_STREAMS.get(notice.code)
            text = notice.text if meaning is None else f"{meaning}: {notice.text}"
            self._tell(SubscriptionEnded(number, notice.code, text))

    async def _revive(self, number: int) -> None:
        await asyncio.sleep(self._pause(self._streams[number].deaths))
        stream, talk = self._streams.get(number), self._talk
        if stream is not None and stream.key is None and talk is not None and not talk.closed.is_set():
            self._feed(talk, stream)
            self._tell(Resubscribed(number))

    async def _learn_again(self) -> None:
        """Something happened unseen: SYNCING until the whole state was told again, or the connection is given up."""
        talk = self._talk
        if talk is None or self._health.phase is not SessionState.READY:
            return  # it is being told anyway
        self._enter(SessionState.SYNCING, "The account's state is being told again.")
        try:
            await self._settle(talk)
        except GatewayError:
            talk.close()  # `_stay` sees it and connects again

    # ---------------------------------------------------------------- asking, on the session's thread

    async def _synchronize(self, talk: "Conversation", seconds: float) -> AccountSnapshot:
        unread = self._unread
        positions = self._loop.create_task(self._positions(talk, seconds))
        opened = self._loop.create_task(self._open_orders(talk, seconds))
        completed = self._loop.create_task(self._completed_orders(talk, seconds))
        values = self._loop.create_task(self._account_values(talk, seconds))
        executions = self._loop.create_task(self._executions(talk, seconds))
        asked: dict[str, asyncio.Task[Any]] = {
            POSITIONS: positions, OPEN_ORDERS: opened, COMPLETED_ORDERS: completed, ACCOUNT_VALUES: values,
            "executions": executions,
        }  # fmt: skip
        await asyncio.wait(asked.values())
        missing = tuple(name for name, task in asked.items() if isinstance(task.exception(), GatewayError))
        if missing:
            text = f"gateway: {self.settings.address} did not tell {', '.join(missing)} within {seconds:g} seconds."
            raise GatewayNotReadyError(text, missing)
        if self._unread != unread:
            raise GatewayNotReadyError(f"gateway: {self.settings.address} told something that cannot be read.", ("?",))
        account = self._account
        snapshot = AccountSnapshot(
            ts=self._now(), account=account,
            positions=tuple(p for p in positions.result() if p.account == account and p.quantity),
            open_orders=opened.result(), completed_orders=completed.result(),
            executions=tuple(e for e in executions.result() if e.account == account),
            commissions=tuple(self._commissions.values()),
            values=tuple(v for v in self._values.values() if v.account == account),
            portfolio=tuple(item for item in self._portfolio.values() if item.quantity),
        )  # fmt: skip
        self._tell(snapshot)
        return snapshot

    async def _positions(self, talk: "Conversation", seconds: float) -> list[Position]:
        parts = await talk.ask(POSITIONS, talk.wire.request_positions, seconds, POSITIONS)
        latest = {(p.account, p.contract.con_id): p for p in parts if isinstance(p, Position)}
        return list(latest.values())

    async def _open_orders(self, talk: "Conversation", seconds: float) -> tuple[OpenOrder, ...]:
        parts = await talk.ask(OPEN_ORDERS, talk.wire.request_open_orders, seconds, OPEN_ORDERS)
        latest = {order.perm_id: order for order in parts if isinstance(order, OpenOrder)}
        return tuple(order for order in latest.values() if order.status not in _OVER)

    async def _completed_orders(self, talk: "Conversation", seconds: float) -> tuple[CompletedOrder, ...]:
        parts = await talk.ask(COMPLETED_ORDERS, talk.wire.request_completed_orders, seconds, COMPLETED_ORDERS)
        return tuple(order for order in parts if isinstance(order, CompletedOrder))

    async def _account_values(self, talk: "Conversation", seconds: float) -> None:
        send = lambda: talk.wire.request_account_values(self._account)  # noqa: E731
        await talk.ask(ACCOUNT_VALUES, send, seconds, ACCOUNT_VALUES)

    async def _executions(self, talk: "Conversation", seconds: float) -> tuple[Execution, ...]:
        key = talk.wire.next_id()
        parts = await talk.ask(key, lambda: talk.wire.request_executions(key), seconds, "executions")
        return tuple(part for part in parts if isinstance(part, Execution))

    async def _server_time(self, talk: "Conversation", seconds: float) -> datetime:
        (told,) = await talk.ask(SERVER_TIME, talk.wire.request_server_time, seconds, SERVER_TIME)
        assert isinstance(told, datetime)  # noqa: S101 (what the wire tells under this key)
        return told

    async def _market_rule(self, rule: int, seconds: float) -> tuple[PriceIncrement, ...]:
        talk, key = self._connected(), market_rule_key(rule)
        parts = await talk.ask(key, lambda: talk.wire.request_market_rule(rule), seconds, key)
        return tuple(part for part in parts if isinstance(part, PriceIncrement))

    async def _history(self, request: HistoryRequest, seconds: float) -> tuple[Bar, ...]:
        talk = self._connected()
        key = talk.wire.next_id()
        subject = f"history of {request.contract.symbol}"
        try:
            parts = await talk.ask(key, lambda: talk.wire.request_history(key, request), seconds, subject)
        except GatewayTimeoutError:
            talk.wire.cancel_history(key)
            raise
        return tuple(part for part in parts if isinstance(part, Bar))

    # ---------------------------------------------------------------- streams and orders, on the session's thread

    def _resubscribe(self, talk: "Conversation") -> None:
        """Ask for every stream, also where one seems to run: some die without a word."""
        for number, stream in self._streams.items():
            self._feed(talk, stream)
            self._tell(Resubscribed(number))

    def _feed(self, talk: "Conversation", stream: _Stream) -> None:
        """Ask for a stream; where the connection has just gone, the next one feeds it."""
        with suppress(GatewayUnreachableError):
            if stream.key is not None:
                talk.wire.unsubscribe(stream.key, stream.request)
            stream.key = talk.wire.next_id()
            talk.wire.subscribe(stream.key, stream.request)

    async def _subscribe(self, request: SubscriptionRequest) -> int:
        self._streams_made += 1
        number, stream = self._streams_made, _Stream(request)
        self._streams[number] = stream
        if self._health.phase is SessionState.READY and self._talk is not None:
            self._feed(self._talk, stream)
        return number

    async def _unsubscribe(self, number: int) -> None:
        stream, talk = self._streams.pop(number, None), self._talk
        if stream is not None and stream.key is not None and talk is not None and not talk.closed.is_set():
            talk.wire.unsubscribe(stream.key, stream.request)

    async def _next_id(self) -> int:
        return self._connected().wire.next_id()

    async def _place(self, contract: Contract, ticket: OrderTicket) -> None:
        if self._health.state is not SessionState.READY:
            raise GatewayNotReadyError(f"order: it was not sent, the session is {self._state}: {self.reason}")
        if self.in_reset:
            raise GatewayNotReadyError("order: it was not sent, IB's nightly reset is on.")
        self._connected().wire.place_order(contract, ticket)

    async def _send(self, send: "Callable[[Conversation], None]") -> None:
        send(self._connected())
