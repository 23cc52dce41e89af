"""Five-second bars from the live stream into the warehouse, as they close.

Belongs here: subscribing, collecting, writing raw batches. Does not belong here: history (see `history`), cleaning,
the connection (see `session`, which keeps streams up over reconnects).

A batch is written a minute and symbol, and at the end, so that a crash costs a minute. What was missed while there was
no connection stays missing.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty

from broker.errors import ContractError
from broker.ib.contracts import ContractBook
from broker.ib.history import shown_for, vendor_table
from broker.ib.mailbox import Mailbox
from broker.ib.messages import Bar, BarUpdate, Event, SubscriptionEnded
from broker.ib.requests import Gateway, SubscriptionRequest
from warehouse.ingest import make_batch
from warehouse.resolution import Resolution
from warehouse.sources.protocol import VendorBars
from warehouse.store import Warehouse

_LONGEST_WAIT = 0.5  # seconds until a stop is noticed


@dataclass(slots=True)
class _Track:
    """What one symbol's stream has brought."""

    symbol: str
    what_to_show: str
    pending: list[Bar] = field(default_factory=list)
    newest: datetime | None = None
    written: int = 0
    ended: str = ""

    def add(self, bar: Bar) -> None:
        """Keep a bar, unless it came before: a stream may repeat its last bars after a reconnect."""
        if isinstance(bar.stamp, datetime) and (self.newest is None or bar.stamp > self.newest):
            self.newest = bar.stamp
            self.pending.append(bar)


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded: bars written by symbol, and why the streams that died did."""

    bars: Mapping[str, int]
    ended: Mapping[str, str]


class Recorder:
    """Records real-time bars of regular hours until it is told to stop, or every stream is over.

    `now` is the wall clock, stored as `fetched_at`; `clock` only rises and measures `flush_seconds`.
    """

    def __init__(
        self,
        gateway: Gateway,
        contracts: ContractBook,
        warehouse: Warehouse,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        flush_seconds: float = 60.0,
    ) -> None:
        self._gateway, self._contracts, self._warehouse = gateway, contracts, warehouse
        self._now, self._clock, self._flush_seconds = now, clock, flush_seconds

    def run(
        self,
        symbols: Sequence[str],
        stop: threading.Event,
        on_flush: Callable[[Mapping[str, int]], None] = lambda _: None,
    ) -> Recording:
        """Record until `stop` is set; `on_flush` is told the bars written so far, by symbol, after each flush.

        Raises:
            ContractError: a symbol that has no stream.
            GatewayError: the gateway did not answer; what was recorded is kept.
        """
        wanted = {symbol: self._request(symbol) for symbol in symbols}
        queue = self._gateway.listen()
        tracks: dict[int, _Track] = {}
        try:
            for symbol, request in wanted.items():
                tracks[self._gateway.subscribe(request)] = _Track(symbol, request.what_to_show)
            self._follow(queue, tracks, stop, on_flush)
        finally:
            self._gateway.forget(queue)
            _drain(queue, tracks)
            self._flush(tracks, on_flush)
            for subscription in tracks:
                self._gateway.unsubscribe(subscription)
        return Recording(
            {track.symbol: track.written for track in tracks.values()},
            {track.symbol: track.ended for track in tracks.values() if track.ended},
        )

    def _request(self, symbol: str) -> SubscriptionRequest:
        contract = self._contracts.resolve(symbol)
        if contract.sec_type == "CONTFUT":
            raise ContractError(f"symbol: {symbol!r} is a continuous future, which has history but no stream.")
        return SubscriptionRequest(contract, "real_time_bars", shown_for(contract))

    def _follow(
        self,
        queue: "Mailbox[Event]",
        tracks: Mapping[int, _Track],
        stop: threading.Event,
        on_flush: Callable[[Mapping[str, int]], None],
    ) -> None:
        due = self._clock() + self._flush_seconds
        while not stop.is_set() and not all(track.ended for track in tracks.values()):
            try:
                event = queue.get(timeout=max(min(due - self._clock(), _LONGEST_WAIT), 0.0))
            except Empty:
                pass
            else:
                _note(event, tracks)
            if self._clock() >= due:
                self._flush(tracks, on_flush)
                due = self._clock() + self._flush_seconds

    def _flush(self, tracks: Mapping[int, _Track], on_flush: Callable[[Mapping[str, int]], None]) -> None:
        """Write what has come since the last flush, one batch a symbol."""
        for track in tracks.values():
            if track.pending:
                answer = VendorBars(vendor_table(track.pending), "open", track.what_to_show)
                batch = make_batch(answer, track.symbol, Resolution.SECONDS_5, "ib", self._now())
                self._warehouse.append_raw(batch)
                track.written += len(track.pending)
                track.pending = []
        on_flush({track.symbol: track.written for track in tracks.values()})


def _drain(queue: "Mailbox[Event]", tracks: Mapping[int, _Track]) -> None:
    """Note what came before the end but was not looked at."""
    while True:
        try:
            _note(queue.get_nowait(), tracks)
        except Empty:
            return


def _note(event: Event, tracks: Mapping[int, _Track]) -> None:
    if isinstance(event, BarUpdate) and event.subscription in tracks:
        tracks[event.subscription].add(event.bar)
    elif isinstance(event, SubscriptionEnded) and event.subscription in tracks:
        tracks[event.subscription].ended = f"{event.code}: {event.text}"
