"""A market whose every bar is known, a gateway that tells it, and a Cerebro that listens.

Belongs here: playing scripts in market time on one thread. Does not belong here: what is checked.

The gateway knows the five-second bars of every symbol. It streams those that pass while it is connected, answers
history from those that have passed, and does neither as its switches say.
"""

from bisect import bisect_left
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from queue import SimpleQueue

import backtrader as bt

from broker.bar_grid import BarGrid
from broker.closed_bars import from_ib, microseconds, moment_of
from broker.errors import GatewayTimeoutError, GatewayUnreachableError, NoDataError
from broker.ib.messages import (
    Bar,
    BarUpdate,
    Contract,
    ContractDetails,
    MarketDataType,
    Resubscribed,
    SessionState,
    StateChange,
)
from broker.ib.pacing import Pacer
from broker.store import Store, run_live
from tests.unit.broker.simulator.recordings import table
from warehouse.calendar import get_calendar
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

CALENDAR = get_calendar("XNYS")
SECOND = 1_000_000
PART = 5 * SECOND
SIZES = {"5 secs": PART, "1 min": 60 * SECOND, "30 mins": 1800 * SECOND, "1 hour": 3600 * SECOND, "1 day": None}


def at(text):
    """Microseconds of a moment in New York's time, `2024-07-03 12:55`."""
    from zoneinfo import ZoneInfo

    return microseconds(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")))


def parts(spans, *, price=10_000, skip=()):
    """Five-second bars of spans of minutes, a walk in cents; minutes that open at `skip` have none."""
    made = []
    for start, end in spans:
        for opens in range(start, end, PART):
            price += (opens // PART * 2654435761 & 0xFFFFFFFF) // 65536 % 11 - 5
            low, high = price - opens // PART % 3, price + opens // PART % 4
            if opens // (60 * SECOND) * 60 * SECOND not in skip:
                prices = (price / 100, high / 100, low / 100, (low + high) // 2 / 100)
                made.append(Bar(moment_of(opens), *prices, 100.0, 0.0, 1))
    return made


def bars_of(made, resolution):
    """What the parts are as closed bars."""
    return from_ib(made, BarGrid(CALENDAR, resolution))


class AtOnce(Executor):
    """Runs what it is given before `submit` returns."""

    def submit(self, work, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 (an executor's duty)
            future.set_exception(error)
        return future


@dataclass
class ScriptedGateway:
    """A gateway in market time. `now` moves by `play`.

    `parts` by symbol; `deaf` drops the stream; `failures` is how many questions to history fail; `lag` is for how long
    history lacks what has passed.
    """

    parts: dict[str, list[Bar]]
    now: int
    state: SessionState = SessionState.READY
    deaf: bool = False
    failures: int = 0
    lag: int = 0
    kind: int = 1
    queue: SimpleQueue = field(default_factory=SimpleQueue)
    streams: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    requested: list = field(default_factory=list)
    account, client_id, in_reset = "DU1", 1, False

    def __post_init__(self):
        self.stamps = {name: [microseconds(bar.stamp) for bar in made] for name, made in self.parts.items()}

    def clock(self):
        return moment_of(self.now)

    def monotonic(self):
        return self.now / SECOND

    def listen(self):
        return self.queue

    def forget(self, queue):
        assert queue is self.queue

    def contract_details(self, contract, seconds=15.0):
        found = Contract(contract.symbol, con_id=sum(map(ord, contract.symbol)))
        cent = Decimal("0.01")
        return (ContractDetails(found, "", cent, Decimal(1), (), ("SMART",), frozenset(), "US/Eastern", "", ""),)

    def subscribe(self, request):
        number = len(self.streams) + 1
        self.requested.append(request)
        self.streams[number] = request
        if request.kind == "ticks":
            self.queue.put(MarketDataType(number, self.kind))
        return number

    def unsubscribe(self, number):
        self.streams[number] = None

    def history(self, request, seconds=60.0):
        self.asked.append(request)
        if self.state is not SessionState.READY:
            raise GatewayUnreachableError("history: there is no connection.")
        if self.failures:
            self.failures -= 1
            raise GatewayTimeoutError("history: no answer.")
        return self._history(request)

    def _history(self, request):
        name, size = request.contract.symbol, SIZES[request.bar_size]
        now = self.now - self.lag
        end = now if request.end is None else min(microseconds(request.end), now)
        passed = self.parts[name][: bisect_left(self.stamps[name], end - PART + 1)]
        amount, unit = request.duration.split()
        if unit == "S":
            passed = [bar for bar in passed if microseconds(bar.stamp) >= end - int(amount) * SECOND]
        days = sorted({bar.stamp.date() for bar in passed})
        wanted = set(days[-int(amount) :]) if unit == "D" else set(days)
        groups = {}
        for bar in passed:
            if bar.stamp.date() in wanted:
                stamp = bar.stamp.date() if size is None else moment_of(microseconds(bar.stamp) // size * size)
                groups.setdefault(stamp, []).append(bar)
        if not groups:
            raise NoDataError(162, "HMDS query returned no data")
        if request.bar_size == "1 hour":  # the first of a session begins where it opens
            groups = {group[0].stamp: group for group in groups.values()}
        return tuple(_merged(stamp, group) for stamp, group in groups.items())

    def play(self, seconds=5):
        """Let time pass and stream what happens."""
        before, self.now = self.now, self.now + round(seconds * SECOND)
        if self.state is not SessionState.READY or self.deaf:
            return
        for number, request in self.streams.items():
            if request is not None and request.kind == "real_time_bars":
                name = request.contract.symbol
                low, high = (bisect_left(self.stamps[name], t - PART + 1) for t in (before, self.now))
                for bar in self.parts[name][low:high]:
                    self.queue.put(BarUpdate(number, bar))

    def enter(self, state):
        """Change the state and tell it, and that streams run again."""
        if state is SessionState.READY:
            for number, request in self.streams.items():
                if request is not None:
                    self.queue.put(Resubscribed(number))
        self.state = state
        self.queue.put(StateChange(self.clock(), state, "scripted"))


def _merged(stamp, group):
    high, low = max(bar.high for bar in group), min(bar.low for bar in group)
    return Bar(stamp, group[0].open, high, low, group[-1].close, sum(bar.volume for bar in group), 0.0, len(group))


def store_bars(root, symbol, resolution, bars):
    """Put closed bars into a warehouse."""
    rows = [
        (bar.ts, moment_of(bar.ts).astimezone(UTC).date(), bar.open, bar.high, bar.low, bar.close, bar.volume)
        for bar in bars
    ]
    if rows:
        Warehouse(root).write_clean(symbol, resolution, table(symbol, resolution, rows))
    return Warehouse(root)


class Witness(bt.Strategy):
    """Keeps what it saw: `bars` as (symbol, stamp, open, high, low, close, volume), `live` stamps, statuses, alarms."""

    def __init__(self):
        self.bars, self.live, self.statuses, self.notices = [], [], [], []
        self.seen = dict.fromkeys(self.datas, 0)
        self.rounds = []

    def prenext(self):
        self.next()

    def next(self):
        fresh = []
        for data in self.datas:
            if len(data) > self.seen[data]:
                self.seen[data] = len(data)
                stamp = microseconds(data.num2date().replace(tzinfo=UTC))
                values = (data.open[0], data.high[0], data.low[0], data.close[0], data.volume[0])
                self.bars.append((data._name, stamp, *values))
                fresh.append(data._name)
                if data.is_live():
                    self.live.append(stamp)
        self.rounds.append(tuple(fresh))

    def notify_data(self, data, status, *args, **kwargs):
        self.statuses.append(data._getstatusname(status))

    def notify_store(self, message, *args, **kwargs):
        self.notices.append((message, *args))

    def alarms(self):
        return [event.code for message, event in self.notices if message == "alarm"]


class Rounds(bt.Cerebro):
    """Plays on whenever no bar can be delivered; the run ends with the script."""

    def _datanotify(self):
        super()._datanotify()
        if not self.store.any_deliverable() and self.store.gateway.queue.empty():
            try:
                next(self.script)
            except StopIteration:
                self.store.end()


def run(
    gateway,
    warehouse,
    script,
    *,
    symbols=("AAPL",),
    resolution=Resolution.MINUTE,
    strategy=Witness,
    params=None,
    **options,
):
    """Run a strategy over live feeds while a script (a generator) plays; the strategy."""
    store = Store(
        gateway, warehouse, CALENDAR, clock=gateway.clock, monotonic=gateway.monotonic, askers=AtOnce(),
        pacer=Pacer(clock=gateway.monotonic, sleep=lambda seconds: None),
        hold=options.pop("hold", 15.0),
    )  # fmt: skip
    cerebro = Rounds(stdstats=False)
    cerebro.store, cerebro.script = store, script
    for symbol in symbols:
        cerebro.adddata(store.getdata(symbol, resolution, qcheck=0.0, **options))
    gateway.feeds = cerebro.datas
    cerebro.addstrategy(strategy, **(params or {}))
    (ran,) = run_live(cerebro)
    return ran


def playing(gateway, until, during=()):
    """A script: time passes up to a moment, closed hours at once.

    `during` holds (moment, action): what happens then, the earliest first.
    """
    coming = sorted(during, key=lambda one: one[0])
    while gateway.now < until or coming:
        nearest = min([until, *(moment for moment, _ in coming[:1])])
        gateway.play(_pace(gateway, nearest) / SECOND)
        while coming and coming[0][0] <= gateway.now:
            coming.pop(0)[1]()
        yield


def _pace(gateway, until):
    """Five seconds, or up to a minute before the next part or event where the market is closed."""
    stamps = next(iter(gateway.stamps.values()))
    next_part = stamps[bisect_left(stamps, gateway.now) :][:1]
    following = min([until, *next_part])
    quiet = following - gateway.now - 60 * SECOND
    return quiet if quiet > 3600 * SECOND else PART


def seen(strategy, symbol="AAPL"):
    """The bars that a strategy saw of a symbol, as (stamp, open, high, low, close, volume)."""
    return [bar[1:] for bar in strategy.bars if bar[0] == symbol]


def rows(bars):
    """Closed bars likewise."""
    return [(bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
