"""A simulation on the network: listening, serving clients, playing the market.

Belongs here: putting the parts together, sockets, start and stop. Does not belong here: what clients ask for (see
`desk`).
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, Final

from broker.costs import CostModel, CostSettings
from broker.simulator.account_desk import AccountDesk
from broker.simulator.commands import Commands
from broker.simulator.control import answer_control
from broker.simulator.data_desk import DataDesk
from broker.simulator.desk import Desk
from broker.simulator.errors import ControlError, ProtocolError, SimulatorSettingsError
from broker.simulator.exchange import Exchange
from broker.simulator.faults import Faults
from broker.simulator.framing import fields_of, negotiate, pack, read_greeting, read_payload
from broker.simulator.history import Historian
from broker.simulator.instruments import InstrumentBook
from broker.simulator.ledger import Ledger
from broker.simulator.market import Market
from broker.simulator.moments import moment_of
from broker.simulator.pace import Pace
from broker.simulator.session import Session
from broker.simulator.settings import HOST, ClockMode, SimulatorSettings
from broker.simulator.state import StateFile
from broker.simulator.tape import SECOND, Tape, default_start, load_tape, on_other_days
from warehouse.calendar import TradingCalendar, get_calendar
from warehouse.store import Adjust, Warehouse

log = logging.getLogger(__name__)

BANNER: Final = "SIMULATION: this is no market and no broker; orders trade recorded bars for a made-up account."
_GREETING_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.5
_REFRESH_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 5.0
_LINGER_SECONDS: Final = 1.0


class Simulation:
    """One simulated gateway. Build it, then `serve` or `start` and `stop` it on an event loop."""

    def __init__(self, settings: SimulatorSettings, warehouse: Warehouse) -> None:
        self.settings = settings
        calendar = get_calendar(settings.calendar)
        tape, start = _played(settings, warehouse, calendar)
        market = Market(tape, calendar)
        self.state = StateFile.open(settings.state, settings.account) if settings.state else None
        ledger = Ledger(settings.cash, settings.cash, settings.margin)
        costs = _costs(settings)
        self.exchange = Exchange(
            settings.account, market, InstrumentBook(tape.symbols), costs, ledger, fill_at_once=settings.at_once
        )
        market.ticks = {key: float(known.min_tick) for key, known in self.exchange.instruments.by_key.items()}
        market.seek(self._starting_moment(start, calendar))
        if self.state is not None:
            self.state.restore(self.exchange)
            self.exchange.drift(market.now)  # what has ended while nothing ran
        self.faults = Faults(settings.seed)
        historian = Historian(market, _adjusted(settings, warehouse, calendar, tape))
        self.desk = Desk(
            self.exchange,
            self.faults,
            DataDesk(self.exchange, historian, self.faults),
            AccountDesk(self.exchange, 0.0 if settings.clock is ClockMode.STEPPED else _REFRESH_SECONDS),
            self.state,
        )
        self.pace = Pace(
            self.exchange, settings.clock, settings.speed, settings.closed_seconds, self._published,
            script=[_scripted(entry) for entry in settings.script],
        )  # fmt: skip
        self.commands = Commands(self.desk, self.pace, self._refuse_for)
        self.pace.command = self.commands.run_now
        self.port = self.control_port = 0
        self._closed_until = 0.0
        self._player: asyncio.Task[None] | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._servers: list[asyncio.Server] = []

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user must be told at every start."""
        return (BANNER, *self.exchange.costs.notices)

    async def start(self) -> None:
        """Listen and play.

        Raises:
            SimulatorSettingsError: a port is taken.
        """
        log.warning(BANNER)
        self.port = await self._listen("port", self.settings.port, self._serve_client)
        if self.settings.control_port is not None:
            self.control_port = await self._listen("control_port", self.settings.control_port, self._serve_control)
        self._player = asyncio.create_task(self.pace.run())

    async def stop(self) -> None:
        """Hang up on everybody and keep the state."""
        for server in self._servers:
            server.close()
        for session in list(self.desk.sessions.values()):
            session.close()
        for writer in list(self._connections.values()):
            writer.close()  # whoever serves it ends, because nothing can be read any more
        if self._player is not None:
            self._player.cancel()
        running = [task for task in (self._player, *self._connections) if task is not None]
        if running:
            await asyncio.wait(running, timeout=_STOP_SECONDS)
        if self.state is not None:
            self.state.save(self.exchange)
            self.state.close()

    async def serve(self) -> None:
        """Start, and play until cancelled or something breaks."""
        async with self.running():
            while True:
                self.check()
                await asyncio.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raise what broke the market's clock; a gateway whose time stands still must not look alive."""
        if self._player is not None and self._player.done() and not self._player.cancelled():
            self._player.result()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Simulation"]:
        """Started inside, stopped behind."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    def _starting_moment(self, start: date, calendar: TradingCalendar) -> int:
        if self.settings.clock is ClockMode.LIVE:
            return int(time.time() * SECOND)
        saved = self.state.saved_moment() if self.state is not None and self.settings.start is None else None
        return saved if saved is not None else moment_of(calendar.open_utc(start))

    async def _listen(
        self,
        name: str,
        port: int,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
    ) -> int:
        try:
            server = await asyncio.start_server(serve, HOST, port)
        except OSError as error:
            raise SimulatorSettingsError(
                f"{name}: {port} cannot be listened on ({error.strerror or error}); is a gateway running there?"
            ) from None
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _serve_control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer_control(reader, writer, self.commands)

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections[task] = writer
            task.add_done_callback(self._connections.pop)
        if time.monotonic() < self._closed_until:
            writer.close()
            return
        session: Session | None = None
        try:
            greeting = await asyncio.wait_for(read_greeting(reader), _GREETING_SECONDS)
            version = negotiate(greeting)
            # alone in one write: the vendor's client drops what comes in the same segment
            writer.write(pack((version, f"{datetime.now(UTC):%Y%m%d %H:%M:%S} UTC")))
            session = Session(writer, version, self.faults)
            while not session.closed:
                await self._receive(session, reader)
            while await asyncio.wait_for(reader.read(65_536), _LINGER_SECONDS):
                pass  # unread, these would make the end a reset
        except ProtocolError as fault:
            log.warning("a client is disconnected: %s", fault)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            log.debug("a client hung up")
        finally:
            if session is not None:
                self.desk.leave(session)
            writer.close()

    async def _receive(self, session: Session, reader: asyncio.StreamReader) -> None:
        payload = await read_payload(reader)
        while session.frozen and not session.closed:
            await asyncio.sleep(_POLL_SECONDS)
        self.desk.receive(session, fields_of(payload))
        await session.drain()

    async def _published(self) -> None:
        self.desk.publish()
        if self.settings.clock is not ClockMode.STEPPED and not math.isinf(self.pace.speed):
            return  # time does not wait for a client
        for session in list(self.desk.sessions.values()):
            await session.drain()

    def _refuse_for(self, seconds: float) -> None:
        self._closed_until = time.monotonic() + seconds


def _played(settings: SimulatorSettings, warehouse: Warehouse, calendar: TradingCalendar) -> tuple[Tape, date]:
    """The tape and its first session; with the wall clock the one that lies over today."""
    tape = load_tape(warehouse, settings.symbols, calendar, base=settings.resolution, adjust=settings.adjust)
    start = settings.start or default_start(tape)
    if not calendar.is_session(start):
        start = calendar.next_session(start)
    if all(tape.moving(symbol).closes[-1] <= moment_of(calendar.open_utc(start)) for symbol in tape.symbols):
        raise SimulatorSettingsError(f"start: {start} lies after the last bar of {', '.join(tape.symbols)}.")
    if settings.clock is not ClockMode.LIVE:
        return tape, start
    today = datetime.now(UTC).date()
    played = today if calendar.is_session(today) else calendar.next_session(today)
    return on_other_days(tape, calendar, start, played), played


def _adjusted(
    settings: SimulatorSettings, warehouse: Warehouse, calendar: TradingCalendar, tape: Tape
) -> Callable[[], Tape]:
    """Prices adjusted for dividends too, read once when somebody asks."""

    @cache
    def read() -> Tape:
        wanted: Adjust = "all"
        again = replace(settings, adjust=wanted, symbols=tape.symbols)
        return _played(again, warehouse, calendar)[0]

    return read


def _costs(settings: SimulatorSettings) -> CostModel:
    return CostSettings(model=settings.cost_model, participation=settings.participation).build()


def _scripted(entry: Any) -> tuple[int | None, int | None, dict[str, Any]]:  # noqa: ANN401 (JSON)
    """When a scripted command is due, and the command."""
    if not isinstance(entry, dict) or "command" not in entry or ("at" in entry) == ("after_steps" in entry):
        raise SimulatorSettingsError(f"script: {entry!r} needs a command, and either at or after_steps.")
    if "after_steps" in entry:
        return None, int(entry["after_steps"]), dict(entry)
    try:
        when = datetime.fromisoformat(str(entry["at"]))
        return moment_of(when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)), None, dict(entry)
    except ValueError:
        raise ControlError(f"at: {entry['at']!r} is not a time.") from None
