"""Backtrader's data feed of one symbol over a live session.

Belongs here: what Backtrader asks of a feed, its status, whether it may be traded on. Does not belong here: which bar
is next (see `bar_series`), hearing and asking (see `store`).

Bars come from the warehouse, then from IB's history, then live, split-adjusted, without a gap or a duplicate, stamped
at their close in naive UTC as in a backtest. A split while the feed runs is not noticed; start it again every day.
"""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import backtrader as bt

from broker.bar_grid import BarGrid, grid_like
from broker.bar_series import DELAYED_BY, BarSeries, Gap, Patience, history_request
from broker.closed_bars import ClosedBar, from_ib, from_warehouse, moment_of
from broker.errors import GatewayError, NoDataError, RequestRefusedError
from broker.ib.health import FINAL_FOR_STREAMS
from broker.ib.history import shown_for
from broker.ib.messages import (
    Bar,
    BarUpdate,
    Event,
    MarketDataType,
    Resubscribed,
    SessionState,
    StateChange,
    SubscriptionEnded,
    Tick,
)
from broker.ib.requests import SubscriptionRequest
from warehouse.errors import NoDataError as NothingStoredError
from warehouse.resolution import Resolution

if TYPE_CHECKING:
    from broker.store import Store

_DELAYED_KINDS = frozenset({3, 4})
_HALTED = 49  # IB's kind of tick: 0 not halted, above 0 halted, below 0 not known
TIMEFRAMES = {
    Resolution.DAILY: (bt.TimeFrame.Days, 1),
    Resolution.HOURLY: (bt.TimeFrame.Minutes, 60),
    Resolution.MINUTE: (bt.TimeFrame.Minutes, 1),
    Resolution.SECONDS_5: (bt.TimeFrame.Seconds, 5),
}


@dataclass(slots=True)
class _Streams:
    """The subscriptions of a feed and what is known about them."""

    bars: int | None = None
    ticks: int | None = None
    doubted_at: int | None = None  # since when a stream must show that it lives
    dead: bool = False
    renewed_at: int = 0

    def own(self, number: int) -> bool:
        """Whether a subscription is one of these."""
        return number in {self.bars, self.ticks}


class LiveFeed(bt.feed.DataBase):  # type: ignore[misc]
    """Bars of `dataname`; made by `Store.getdata`.

    Parameters:
        store: where it is heard and asked.
        contract: resolved.
        resolution: length of the bars.
        start: first session wanted; None for all that the warehouse holds, or else from now on.
        allow_delayed: whether delayed market data may be traded on.
        patience: how long to wait; what suits the resolution unless given.

    Attributes:
        incomplete: stamps (UTC microseconds) of bars delivered with a hole that history did not fill.
    """

    params = (
        ("store", None),
        ("contract", None),
        ("resolution", Resolution.MINUTE),
        ("start", None),
        ("allow_delayed", False),
        ("patience", None),
        ("qcheck", 0.5),
    )

    def __init__(self) -> None:
        super().__init__()
        self.store: Store = self.p.store
        self._store = self.store  # where Backtrader looks for it
        self.patience: Patience = self.p.patience or Patience.of(self.p.resolution)
        self.grid = BarGrid(self.store.calendar, self.p.resolution)
        self._shown = shown_for(self.p.contract)
        self.series: BarSeries | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.incomplete: set[int] = set()
        self._streams = _Streams()
        self._ready = False  # what the session has said last, in the order in which it said it
        self._delayed = self._halted = False
        self._refused = ""  # why there are no data and never will be
        self._caught_up = False  # once the first back-fill is over
        self._delivered = 0

    # ---------------------------------------------------------------- what Backtrader calls

    def islive(self) -> bool:
        """Bars come one by one: Cerebro must not load them beforehand."""
        return True

    def haslivedata(self) -> bool:
        """Whether a bar can be had without waiting."""
        return bool(self.store.deliverable(self))

    def do_qcheck(self, onoff: bool, qlapse: float) -> None:
        """Wait for news unless some feed has a bar; Cerebro itself would spin while some feeds are live, others not."""
        super().do_qcheck(not self.store.any_deliverable(), qlapse)

    def start(self) -> None:
        """Read the warehouse and subscribe (called by Cerebro).

        Raises:
            LiveRunError: Cerebro runs in a way in which live trading does not work.
            LiveDataError: the warehouse's bars are not all cut in the same way.
            GatewayError: the subscription cannot be made.
        """
        super().start()
        self._begin_anew()
        self._laststatus = self.UNKNOWN
        self.store.start(data=self)
        self.series = self._new_series()
        self._subscribe()
        self._ready = self.store.gateway.state is SessionState.READY
        if self._ready:
            self.put_notification(self.CONNECTED)

    def stop(self) -> None:
        """End the subscriptions (called by Cerebro)."""
        super().stop()
        self._unsubscribe()
        self.store.stop(data=self)

    def _load(self) -> bool | None:
        """The next bar, or None when there is none for `qcheck` seconds, or False at the end."""
        bar = self.store.take(self)
        if bar is None:
            if self.store.ended or self._refused:
                self.put_notification(self.DISCONNECTED if self.store.ended else self.NOTSUBSCRIBED)
                return False
            self.store.pump(self._qcheck)
            bar = self.store.take(self)
        if bar is None:
            return None
        self._show(bar)
        return True

    # ---------------------------------------------------------------- what a strategy and the broker ask

    def is_live(self) -> bool:
        """Whether orders may be decided on the last bar: the status is LIVE, the bar is whole and the latest there is.

        Not while trading in the symbol is halted. Closed hours, holidays and the time after an early close do not make
        data stale.
        """
        as_delayed = self._laststatus == self.DELAYED and self._delayed and self.p.allow_delayed and self._caught_up
        if not (self._laststatus == self.LIVE or as_delayed) or self._delivered in self.incomplete:
            return False
        return not self._halted and not self._started_series().ready and self._fresh(self.store.now_us())

    @property
    def delivered(self) -> int:
        """The close of the last bar that was delivered, UTC microseconds."""
        return self._delivered

    @property
    def refused(self) -> str:
        """Why there are no data and never will be; empty while there may be."""
        return self._refused

    @property
    def halted(self) -> bool:
        """Whether trading in the symbol is halted."""
        return self._halted

    @property
    def symbol(self) -> str:
        """What the warehouse calls it."""
        return str(self.p.dataname)

    # ---------------------------------------------------------------- what the store calls, on Cerebro's thread

    def has_before(self, ts: int) -> bool:
        """Whether a bar stamped before some other feed's waits."""
        ready = self._started_series().ready
        return bool(ready) and ready[0].ts < ts

    def may_have(self, ts: int) -> bool:
        """Whether a bar may still come that is stamped at or before some other feed's."""
        series = self._started_series()
        hopeless = series.ready or series.resting or self._refused
        return not hopeless and series.first_possible <= ts

    @property
    def filling(self) -> bool:
        """Whether the first back-fill still runs."""
        return not self._caught_up

    def hear(self, event: Event) -> None:
        """Take an event of the session."""
        if isinstance(event, BarUpdate) and event.subscription == self._streams.bars:
            self._streams.doubted_at, self._streams.dead = None, False
            self._started_series().hear(event.bar)
        elif isinstance(event, MarketDataType) and self._streams.own(event.subscription):
            self._delayed = event.kind in _DELAYED_KINDS
            self._started_series().late_by = DELAYED_BY if self._delayed else 0.0
        elif isinstance(event, Tick) and event.subscription == self._streams.ticks and event.kind == _HALTED:
            self._hear_halt(halted=event.value > 0)
        elif isinstance(event, Resubscribed) and self._streams.own(event.subscription):
            self._broke("subscribed again", event.subscription)
        elif isinstance(event, SubscriptionEnded) and self._streams.own(event.subscription):
            self._lost(event)
        elif isinstance(event, StateChange):
            self._hear_state(event)

    def _hear_halt(self, *, halted: bool) -> None:
        """Trading in the symbol was halted or goes on: protective orders stay, no other order leaves meanwhile."""
        if halted != self._halted:
            self._halted = halted
            self.store.alarm("halted", f"{self.symbol}: trading {'is halted' if halted else 'goes on'}.")

    def tend(self, now: int, monotonic: float) -> None:
        """Take complete bars, ask for what is missing, say how things stand."""
        series = self._started_series()
        series.advance()
        if self._ready and not self._refused:
            gap = series.wanted(now, monotonic)
            if gap is not None:
                self.store.ask(self, gap, history_request(self.p.contract, self._shown, self.grid, gap))
            self._watch_silence(now)
        self._tell_status(now)

    def answered(self, gap: Gap, bars: tuple[Bar, ...] | GatewayError, now: int, monotonic: float) -> None:
        """Take what became of a question to history."""
        series = self._started_series()
        if isinstance(bars, NoDataError):
            bars = ()
        if not isinstance(bars, GatewayError):
            ratio = series.answered(from_ib(bars, self.grid), now, monotonic)
            if ratio is not None:
                self.store.alarm("split", f"{self.symbol}: the warehouse's bars were rescaled by {ratio:g} on read.")
            return
        if isinstance(bars, RequestRefusedError) and bars.code in FINAL_FOR_STREAMS:
            self._refused = str(bars)
        was_resting = series.resting
        marked = series.failed(now, monotonic)
        if marked is not None:
            text = f"{self.symbol}: the bar of {moment_of(marked.ts)} has a hole that history did not fill: {bars}"
            self.store.alarm("incomplete_bar", text)
        elif series.resting and not was_resting:
            self.store.alarm("no_history", f"{self.symbol}: history was asked {self.patience.tries} times: {bars}")

    # ---------------------------------------------------------------- inside

    def _started_series(self) -> BarSeries:
        assert self.series is not None  # noqa: S101 (`start` comes before everything that asks)
        return self.series

    def _new_series(self) -> BarSeries:
        store, start = self.store, self.p.start
        try:
            table = store.warehouse.read_bars(self.symbol, self.p.resolution, start=start, adjust="splits")
            stored = from_warehouse(table)
        except NothingStoredError:
            stored = []
        self.grid = grid_like([bar.ts for bar in stored], store.calendar, self.p.resolution)
        self._delivered = until = self.grid.last_close(store.now_us())
        return BarSeries(self.grid, self.patience, self._first(start, until), [b for b in stored if b.ts <= until])

    def _first(self, start: date | None, until: int) -> int:
        """Everything stamped at or before this moment is not wanted, where the warehouse holds nothing."""
        return until if start is None else min(until, self.grid.session_opening(start))

    def _subscribe(self) -> None:
        gateway, streams, contract = self.store.gateway, self._streams, self.p.contract
        if self.p.resolution.intraday:
            streams.bars = gateway.subscribe(SubscriptionRequest(contract, "real_time_bars", self._shown))
        streams.ticks = gateway.subscribe(SubscriptionRequest(contract, "ticks"))
        self._doubt(self.store.now_us())

    def _unsubscribe(self) -> None:
        for number in (self._streams.bars, self._streams.ticks):
            if number is not None:
                self.store.unsubscribe(number)
        self._streams.bars = self._streams.ticks = None

    def _doubt(self, now: int) -> None:
        """From now on the stream must show that it lives, if there is anything to be heard."""
        open_now = self._streams.bars is not None and self.grid.slot(now) is not None
        self._streams.doubted_at = now if open_now else None
        self._streams.renewed_at = now

    def _hear_state(self, event: StateChange) -> None:
        self._ready = event.state is SessionState.READY
        if self._ready:
            self._started_series().stir()
            if self._laststatus in {self.CONNBROKEN, self.UNKNOWN}:
                self.put_notification(self.CONNECTED)
        elif event.state in {SessionState.DISCONNECTED, SessionState.DEGRADED}:
            self.put_notification(self.CONNBROKEN, event.reason)

    def _broke(self, reason: str, subscription: int) -> None:
        """There was an interruption: bars may be missing, and the stream has to show that it lives."""
        if self._laststatus != self.CONNECTED:  # else it was told just before
            self.put_notification(self.CONNBROKEN, reason)
        self._started_series().stir()
        if subscription == self._streams.bars:
            self._streams.dead = False
            self._doubt(self.store.now_us())

    def _lost(self, event: SubscriptionEnded) -> None:
        if event.code in FINAL_FOR_STREAMS:
            self._refused = event.text
            self.put_notification(self.NOTSUBSCRIBED, event.text)
        elif event.subscription == self._streams.bars:
            self._streams.dead = True
            self.put_notification(self.CONNBROKEN, event.text)
        self.store.alarm("subscription_ended", f"{self.symbol}: {event.text} ({event.code})")

    def _watch_silence(self, now: int) -> None:
        """Subscribe anew where a stream is dead without a word, at most once in `silence` seconds."""
        streams, patient = self._streams, round(self.patience.silence * 1e6)
        if streams.bars is None or now - streams.renewed_at < patient:
            return
        slot = self.grid.slot(now - patient)
        silent = slot is not None and self._started_series().builder.heard_until <= now - patient
        if streams.dead or (silent and self.grid.slot(now) is not None):
            self.store.alarm(
                "silent_stream", f"{self.symbol}: no bars for {self.patience.silence:g} s; subscribed anew."
            )
            self.put_notification(self.CONNBROKEN, "no bars arrive")
            self._unsubscribe()
            self._subscribe()

    def _tell_status(self, now: int) -> None:
        if self._refused:
            self.put_notification(self.NOTSUBSCRIBED, self._refused)
            return
        if not self._ready or self._streams.dead:
            self.put_notification(self.CONNBROKEN)
            return
        live = self._fresh(now) and not self._delayed
        if self._laststatus == self.LIVE and live:
            return  # a bar that is a little late does not end LIVE
        complete = self._complete(now)
        self._caught_up = self._caught_up or complete
        self.put_notification(self.LIVE if live and complete else self.DELAYED)

    def _complete(self, now: int) -> bool:
        """Whether nothing is missing and nothing waits, but for the latest bar after an interruption."""
        series = self._started_series()
        waiting = len(series.ready) - (1 if self._caught_up else 0)
        return not series.behind(now) and waiting <= 0 and self._streams.doubted_at is None

    def _fresh(self, now: int) -> bool:
        """Whether fewer bars than `fresh_bars` are overdue since the last one delivered."""
        series, most = self._started_series(), self.patience.fresh_bars
        latest = series.ready[-1].ts if series.ready else self._delivered
        return self.grid.overdue(latest, series.due(now), most) < most

    def _show(self, bar: ClosedBar) -> None:
        lines = self.lines
        lines.datetime[0] = bt.date2num(moment_of(bar.ts).replace(tzinfo=None))
        lines.open[0], lines.high[0], lines.low[0], lines.close[0] = bar.open, bar.high, bar.low, bar.close
        lines.volume[0], lines.openinterest[0] = bar.volume, float("nan")
        self._delivered = bar.ts
        if not bar.whole:
            self.incomplete.add(bar.ts)
