"""Cerebro over a session with a simulated gateway, and scripts that move both.

Belongs here: running whole live sessions on stepped market time. Does not belong here: what is checked.

A script is a generator; it goes on whenever Cerebro has nothing to do, and yields conditions that it waits for.
"""

import time
from contextlib import contextmanager
from dataclasses import replace

from broker.bar_series import Patience
from broker.closed_bars import from_warehouse, moment_of
from broker.ib.messages import SessionState
from broker.ib.pacing import Pacer, PacingLimits
from broker.ib.session import Session
from broker.ib.settings import SessionSettings
from broker.store import Store, run_live
from tests.unit.broker.live_market import CALENDAR, Rounds, Witness
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

CLIENT = 7
PATIENCE = 20.0
QUICK_PATIENCE = replace(Patience.of(Resolution.MINUTE), pause=0.05, silence=1e5)
NO_LIMITS = PacingLimits(requests=10**6, identical=0.0, burst=10**6, margin=0.0)
QUICK = {
    "client_id": CLIENT,
    "competing_seconds": 0.1,
    "heartbeat_seconds": 0.3,
    "answer_seconds": 0.5,
    "retry_seconds": 0.05,
    "sync_seconds": 5.0,
    "reset": None,
}


class Stage(Rounds):
    """Plays a script that yields conditions."""

    condition, until = None, 0.0

    def _datanotify(self):
        super(Rounds, self)._datanotify()
        if self.store.any_deliverable() or self.store.ended:
            return
        if self.condition is not None and not self.condition():
            assert time.monotonic() < self.until, f"timed out: {self.standing()}"
            return
        try:
            self.condition = next(self.script)
        except StopIteration:
            self.store.end()
        self.until = time.monotonic() + PATIENCE

    def standing(self):
        """How things stand, for a failure's message."""
        told = self.runningstrats[0].statuses
        return [(moment_of(feed.series.settled), len(feed.series.ready), feed._streams) for feed in self.datas], told


class LiveDesk:
    """A gateway, a session with it, and what a script needs to move both."""

    def __init__(self, desk, session, folder):
        self.desk, self.session, self.folder = desk, session, folder
        self.command = desk.command

    def market_now(self):
        """The market's time in microseconds."""
        return self.desk.exchange.market.now

    def clock(self):
        """The market's time."""
        return moment_of(self.market_now())

    def run(self, script, *, symbols=("AAPL",), strategy=Witness, broker=None):
        """Run a Cerebro until the script ends, with the broker that `broker(store)` makes; the strategy."""
        store = Store(
            self.session, Warehouse(self.folder), CALENDAR, clock=self.clock, pacer=Pacer(NO_LIMITS), hold=5.0
        )
        self.cerebro = cerebro = Stage(stdstats=False)
        cerebro.store, cerebro.script, self.feeds = store, script(self), cerebro.datas
        for symbol in symbols:
            cerebro.adddata(store.getdata(symbol, Resolution.MINUTE, qcheck=0.01, patience=QUICK_PATIENCE))
        if broker is not None:
            cerebro.setbroker(broker(store))
        cerebro.addstrategy(strategy)
        (ran,) = run_live(cerebro)
        return ran

    def step(self, bars=1):
        """Play bars, after the gateway has read everything that was sent."""
        if self.session.state is SessionState.READY:
            self.session.server_time()
        self.command("step", bars=bars)

    def heard(self):
        """Whether every feed has heard the last five seconds of the bar that closed last."""
        now = self.market_now()
        return all(feed.series.builder.heard_until >= now for feed in self.feeds)

    def delivered(self):
        """Whether every feed has delivered the bar that closed last."""
        now = self.market_now()
        return all(
            feed.series is not None and feed.series.settled >= now and not feed.series.ready for feed in self.feeds
        )

    def doubted(self):
        """Whether a stream was begun again and has not shown since that it lives."""
        return any(feed._streams.doubted_at is not None for feed in self.feeds)

    def follow(self, bars):
        """A script: play until some bars were delivered as they closed.

        A stream that is begun again while a bar is played loses a part of it, and the bar comes with the next one.
        """
        followed = 0
        for _ in range(20):
            if followed == bars:
                return
            self.step()
            yield lambda: self.delivered() or self.doubted()
            followed += self.delivered()
        raise AssertionError(f"{followed} of {bars} bars were delivered as they closed")

    def told(self, name):
        """Whether a status is told from now on."""
        statuses = self.cerebro.runningstrats[0].statuses if self.cerebro.runningstrats else []
        before = len(statuses)
        return lambda: name in self.cerebro.runningstrats[0].statuses[before:]

    def ready(self):
        """Whether the session is."""
        return self.session.state is SessionState.READY


@contextmanager
def live_desk(desk, folder, **changes):
    """A session with a gateway, ready to be traded on."""
    with Session(SessionSettings(**{"port": desk.gateway.port, **QUICK, **changes})) as session:
        session.open(5.0)
        yield LiveDesk(desk, session, folder)


def recorded(folder, symbol, until):
    """The recording's minutes up to a moment (microseconds), as (stamp, open, high, low, close)."""
    bars = from_warehouse(Warehouse(folder).read_bars(symbol, Resolution.MINUTE))
    return [(bar.ts, bar.open, bar.high, bar.low, bar.close) for bar in bars if bar.ts <= until]


def prices(strategy, symbol="AAPL"):
    """What a strategy saw likewise."""
    return [bar[1:6] for bar in strategy.bars if bar[0] == symbol]
