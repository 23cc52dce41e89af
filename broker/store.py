"""Backtrader's store over one session: what feeds share.

Belongs here: hearing the session, asking history on threads of its own, keeping feeds in step, alarms, the end of a
run. Does not belong here: one feed's bars (see `feed`), orders (see `live_broker`).

The session's events are taken from one queue on Cerebro's thread and handed to the feeds; nothing of a feed ever runs
on another thread. Answers of history come through the same queue. Live, the bars of one moment come at different
moments; feeds hold theirs for a while, so that a strategy sees the bars of one moment together, as in a backtest.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from queue import Empty
from typing import Any, Final, cast

import backtrader as bt

from broker.bar_series import Gap, Patience
from broker.closed_bars import ClosedBar, microseconds
from broker.errors import GatewayError, LiveRunError
from broker.feed import TIMEFRAMES, LiveFeed
from broker.ib.contracts import ContractBook
from broker.ib.mailbox import Mailbox
from broker.ib.messages import Alarm, Bar, Contract, Event, StateChange, Undecoded
from broker.ib.pacing import Pacer
from broker.ib.requests import Gateway, HistoryRequest
from broker.ib.session import Session
from broker.ib.settings import SessionSettings
from broker.instrument import Instrument
from broker.live_broker import LiveBroker, Reference
from risk.guard import RiskGuard
from warehouse.calendar import TradingCalendar
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

Clock = Callable[[], datetime]

_ASKERS: Final = 4
_HOLD_SECONDS: Final = 15.0
_FIRST_HOLD_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of a question to history."""

    feed: LiveFeed
    gap: Gap
    future: "Future[tuple[Bar, ...]]"


@dataclass(frozen=True, slots=True)
class _Wake:
    """Somebody wants Cerebro to look up."""


def wall_clock() -> datetime:
    """The moment, aware UTC."""
    return datetime.now(UTC)


class Store:
    """What the feeds of one Cerebro share. It neither opens nor closes the session that it is given.

    Args:
        gateway: an open session.
        warehouse: where bars of the past are.
        calendar: sessions of the symbols' exchange.
        clock: the market's time (aware UTC); the wall clock unless days are replayed.
        monotonic: seconds for pauses and time-outs.
        contracts: what symbols mean at IB; a book of the store's own unless given.
        pacer: when history may be asked, one for all who ask this gateway; one of the store's own unless given.
        askers: on which history is asked; threads of the store's own unless given.
        hold: seconds for which a bar waits for those of other feeds at the same moment.

    Notifications (`notify_store`): `alarm` with an `Alarm`, `state` with a `StateChange`, `undecoded` with an
    `Undecoded`.
    """

    def __init__(
        self,
        gateway: Gateway,
        warehouse: Warehouse,
        calendar: TradingCalendar,
        *,
        clock: Clock = wall_clock,
        monotonic: Callable[[], float] = time.monotonic,
        contracts: ContractBook | None = None,
        pacer: Pacer | None = None,
        askers: Executor | None = None,
        hold: float = _HOLD_SECONDS,
    ) -> None:
        self.gateway, self.warehouse, self.calendar = gateway, warehouse, calendar
        self.feeds: list[LiveFeed] = []
        self._clock, self._monotonic, self._hold = clock, monotonic, hold
        self._given_askers = askers
        self._askers: Executor | None = None
        self._contracts = contracts or ContractBook(gateway)
        self._given_pacer = pacer
        self._pacer: Pacer | None = None
        self._made: dict[str, Contract] = {}  # of the feeds that were made, by symbol
        self._inbox: Mailbox[Event | _Answer | _Wake] | None = None
        self._notices: deque[tuple[str, tuple[Any, ...], dict[str, Any]]] = deque()
        self._held_since: dict[int, tuple[int, float]] = {}  # by the feed's id: which bar is held, and since when
        self._end = threading.Event()

    # ---------------------------------------------------------------- making

    def getdata(
        self,
        symbol: str,
        resolution: Resolution,
        *,
        start: date | None = None,
        allow_delayed: bool = False,
        patience: Patience | None = None,
        qcheck: float = 0.5,
    ) -> LiveFeed:
        """A feed of one symbol, named after it.

        Args:
            symbol: as in the warehouse; its form says which contract it is (see `broker.ib.contracts`).
            resolution: length of its bars.
            start: first session wanted; None for all that the warehouse holds.
            allow_delayed: whether delayed market data may be traded on.
            patience: how long to wait for bars; what suits the resolution unless given.
            qcheck: seconds for which Cerebro waits for news at most.

        Raises:
            ContractError: the symbol names no contract, or more than one.
            GatewayError: the gateway does not answer.
        """
        self._made[symbol] = contract = self._contracts.resolve(symbol)
        timeframe, compression = TIMEFRAMES[resolution]
        make = cast("Callable[..., LiveFeed]", LiveFeed)  # Backtrader turns parameters into arguments
        return make(
            dataname=symbol, name=symbol, timeframe=timeframe, compression=compression, store=self,
            contract=contract, resolution=resolution, start=start,
            allow_delayed=allow_delayed, patience=patience, qcheck=qcheck,
        )  # fmt: skip

    def getbroker(self, *, guard: RiskGuard, reference: Reference, **options: Any) -> LiveBroker:  # noqa: ANN401
        """The broker of the account for the feeds made so far, on the same market time.

        Args:
            guard: reviews every order.
            reference: makes the references of orders.
            options: further arguments of `LiveBroker`.

        Raises:
            GatewayError: the gateway does not tell about a contract.
        """
        instruments = {name: Instrument.resolved(self.gateway, contract) for name, contract in self._made.items()}
        return LiveBroker(
            self.gateway, instruments=instruments, guard=guard, reference=reference, market_time=self._clock, **options
        )

    # ---------------------------------------------------------------- what Cerebro calls

    def start(self, data: LiveFeed | None = None, broker: bt.BrokerBase | None = None) -> None:
        """Begin to listen; with a feed, take it up.

        Raises:
            LiveRunError: Cerebro runs without `quicknotify`.
        """
        if data is not None and not data._env.p.quicknotify:
            raise LiveRunError(
                "cerebro: quicknotify is False, so fills would be told a bar late; run it with run_live."
            )
        if self._inbox is None:
            self._inbox = cast("Mailbox[Event | _Answer | _Wake]", self.gateway.listen())
            self._askers = self._given_askers or ThreadPoolExecutor(_ASKERS, "history")
            self._pacer = self._given_pacer or Pacer()
        if data is not None:
            if self not in data._env.stores:
                data._env.addstore(self)
            self.feeds.append(data)

    def stop(self, data: LiveFeed | None = None) -> None:
        """Let a feed go, or everything; a question that is still asked ends by itself."""
        if data is not None:
            self.feeds = [feed for feed in self.feeds if feed is not data]
            return
        for feed in list(self.feeds):  # those that Cerebro did not stop, because the run ended with an error
            feed.stop()
        if self._inbox is not None:
            self.gateway.forget(cast("Mailbox[Event]", self._inbox))
            self._inbox = None
        if isinstance(self._askers, ThreadPoolExecutor) and self._askers is not self._given_askers:
            self._askers.shutdown(wait=False, cancel_futures=True)
        if self._pacer is not None and self._pacer is not self._given_pacer:
            self._pacer.stop()
        self._askers, self._pacer, self._held_since = None, None, {}

    def put_notification(self, message: str, *args: object, **kwargs: object) -> None:
        """Tell strategies through `notify_store`."""
        self._notices.append((message, args, kwargs))

    def get_notifications(self) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
        """What is to be told now."""
        told = list(self._notices)
        self._notices.clear()
        return told

    def end(self) -> None:
        """Make Cerebro stop for good, once it is out of a strategy; safe from any thread and at any time."""
        self._end.set()
        inbox = self._inbox
        if inbox is not None:
            inbox.put(_Wake())

    @property
    def ended(self) -> bool:
        """Whether the run is to stop."""
        return self._end.is_set()

    # ---------------------------------------------------------------- what feeds call, on Cerebro's thread

    def now_us(self) -> int:
        """The market's time in UTC microseconds since 1970."""
        return microseconds(self._clock())

    def alarm(self, code: str, text: str) -> None:
        """Tell strategies something that a human has to know."""
        self.put_notification("alarm", Alarm(self._clock(), code, text))

    def unsubscribe(self, number: int) -> None:
        """End a stream, where there is still a session that has it."""
        with suppress(GatewayError):
            self.gateway.unsubscribe(number)

    def pump(self, seconds: float) -> None:
        """Hand out everything that was heard, waiting up to some seconds for the first of it, and tend every feed."""
        inbox = self._inbox
        if inbox is None:
            return
        self._tend()
        if not self.any_deliverable() and not self.ended:
            with suppress(Empty):
                self._hand_out(inbox.get(timeout=seconds) if seconds > 0 else inbox.get_nowait())
            with suppress(Empty):
                while True:
                    self._hand_out(inbox.get_nowait())
            self._tend()

    def ask(self, feed: LiveFeed, gap: Gap, request: HistoryRequest) -> None:
        """Ask history; the answer comes through the queue."""
        inbox, askers, pacer = self._inbox, self._askers, self._pacer
        assert inbox is not None and askers is not None and pacer is not None  # noqa: S101, PT018 (see `start`)
        future = askers.submit(pacer.run, request, lambda: self.gateway.history(request))
        future.add_done_callback(lambda done: inbox.put(_Answer(feed, gap, done)))

    def take(self, feed: LiveFeed) -> ClosedBar | None:
        """The next bar of a feed, unless it has to wait for other feeds."""
        bar = self.deliverable(feed)
        if bar is None or feed.series is None:
            return None
        self._held_since.pop(id(feed), None)
        return feed.series.ready.popleft()

    def deliverable(self, feed: LiveFeed) -> ClosedBar | None:
        """The bar that a feed may deliver now."""
        if feed.series is None or not feed.series.ready or self.ended:
            return None
        bar = feed.series.ready[0]
        others = [other for other in self.feeds if other is not feed]
        if any(other.has_before(bar.ts) for other in others):
            return None
        awaited = [other for other in others if other.may_have(bar.ts)]
        if not awaited or self._waited_long(feed, bar, filling=any(other.filling for other in awaited)):
            return bar
        return None

    def any_deliverable(self) -> bool:
        """Whether some feed has a bar for Cerebro."""
        return any(self.deliverable(feed) is not None for feed in self.feeds)

    # ---------------------------------------------------------------- inside

    def _waited_long(self, feed: LiveFeed, bar: ClosedBar, *, filling: bool) -> bool:
        held, since = self._held_since.get(id(feed), (0, 0.0))
        if held != bar.ts:
            since = self._monotonic()
            self._held_since[id(feed)] = bar.ts, since
        return self._monotonic() - since >= (max(_FIRST_HOLD_SECONDS, self._hold) if filling else self._hold)

    def _tend(self) -> None:
        now, monotonic = self.now_us(), self._monotonic()
        for feed in self.feeds:
            feed.tend(now, monotonic)

    def _hand_out(self, event: "Event | _Answer | _Wake") -> None:
        if isinstance(event, _Wake):
            return
        if isinstance(event, _Answer):
            self._hand_answer(event)
            return
        for feed in self.feeds:
            feed.hear(event)
        if isinstance(event, Alarm):
            self.put_notification("alarm", event)
        elif isinstance(event, StateChange):
            self.put_notification("state", event)
        elif isinstance(event, Undecoded):
            self.put_notification("undecoded", event)

    def _hand_answer(self, answer: _Answer) -> None:
        if not any(feed is answer.feed for feed in self.feeds):  # Backtrader's feeds compare by price
            return
        told: tuple[Bar, ...] | GatewayError
        try:
            told = answer.future.result(0)
        except CancelledError:
            return
        except GatewayError as error:
            told = error
        answer.feed.answered(answer.gap, told, self.now_us(), self._monotonic())


@contextmanager
def open_store(
    settings: SessionSettings, warehouse: Warehouse, calendar: TradingCalendar, *, clock: Clock = wall_clock
) -> Iterator[Store]:
    """A store with a session of its own, which is closed in the end; `clock` as of `Store`.

    Raises:
        GatewayError: the session cannot be opened.
    """
    with Session(settings) as session:
        session.open()
        yield Store(session, warehouse, calendar, clock=clock)


def run_live(cerebro: bt.Cerebro, **options: Any) -> list[bt.Strategy]:  # noqa: ANN401 (Cerebro's own)
    """Run a Cerebro with live feeds as it has to be run; its strategies when it has stopped.

    Raises:
        LiveRunError: an option that does not work live, or no live feed.
    """
    if options.get("quicknotify", True) is not True:
        raise LiveRunError("quicknotify: it has to be True live, else fills are told a bar late.")
    feeds = [data for data in cerebro.datas if isinstance(data, LiveFeed)]
    if not feeds:
        raise LiveRunError("cerebro: it has no live feed.")
    stores = {feed.store for feed in feeds}
    try:
        ran: list[bt.Strategy] = cerebro.run(**{**options, "quicknotify": True, "live": True})
    finally:
        for store in stores:
            store.stop()
    return ran
