"""A strategy of the library that trades sessions of a simulated gateway, bar by bar.

Belongs here: starting runs, moving the market, waiting until a bar was decided on. Does not belong here: what is
checked.
"""

import dataclasses
import threading
import time
from datetime import timedelta

import yaml

from broker.alerts import Alerts
from broker.bar_series import Patience
from broker.closed_bars import moment_of
from broker.deployment.trading import Plan, Surroundings, trade
from broker.ib.session import Session
from broker.ib.settings import SessionSettings
from research.experiment import Experiment
from strategies.registry import load_strategy
from warehouse.calendar import get_calendar
from warehouse.ledger.records import DeploymentSwitched, Scope
from warehouse.ledger.store import Ledger
from warehouse.resolution import Resolution
from warehouse.seen_bars import read_seen_bars
from warehouse.store import Warehouse

ACCOUNT, CLIENT, XNYS = "DU1234567", 10, get_calendar("XNYS")
QUICK = {"heartbeat_seconds": 20.0, "answer_seconds": 10.0, "retry_seconds": 0.05, "sync_seconds": 10.0, "reset": None}
WAIT = 60
UNDER_WAY = {None, "INTENDED", "SENT", "CANCEL_SENT"}


class Trader:
    """Runs of one deployment on a stepped gateway."""

    def __init__(self, gateway, folder, experiment, name="parity"):
        self.gateway, self.folder, self.name = gateway, folder, name
        self.experiment = experiment
        self.ledger = Ledger.open(folder / "ledger.sqlite")
        self.warehouse = Warehouse(folder / "data")
        self.came, self.last, self.live, self.failure, self.attempt = threading.Condition(), None, False, None, 0
        text = yaml.safe_dump(experiment.model_dump(mode="json", exclude={"name"}))
        self.ledger.append(
            Scope(name, ACCOUNT), DeploymentSwitched(self.clock(), True, experiment.name, "paper", text, "f")
        )

    def clock(self):
        return moment_of(self.gateway.simulation.exchange.market.now)

    def start(self, day):
        """Begin a run of a session and wait until its warm-up is over."""
        self.attempt += 1
        self.stop, self.last, self.failure = threading.Event(), None, None
        self.session = Session(SessionSettings(port=self.gateway.port, client_id=CLIENT, skew_most=1e9, **QUICK))
        # a closed bar of the simulator's history is final; to ask for it twice takes a quarter of a minute
        patience = dataclasses.replace(Patience.of(Resolution.MINUTE), pause=0.05, silence=1e6, believe_after=0.0)
        experiment = self.experiment
        plan = Plan(
            self.name, day, f"run{self.attempt}", self.attempt, self._strategy(), experiment.params, experiment.symbols,
            Resolution.MINUTE, experiment.limits, experiment.costs.build(), day - timedelta(days=4), patience=patience,
        )  # fmt: skip
        self.thread = threading.Thread(target=self._run, args=(plan,))
        self.thread.start()
        # in the middle of a session the last bar waits for one that follows it
        warm = max(XNYS.close_utc(XNYS.previous_session(day)), self.clock() - timedelta(minutes=1))
        if self.clock() <= XNYS.open_utc(day):
            warm = XNYS.close_utc(XNYS.previous_session(day))
        self.until(lambda: self.last is not None and self.last >= warm.replace(tzinfo=None))

    def _strategy(self):
        """The experiment's strategy, which tells of every bar that it has decided on."""
        base, trader = load_strategy(self.experiment.strategy), self

        def tell(strategy):
            base._step(strategy)
            with trader.came:
                trader.last, trader.live = strategy.data.datetime.datetime(0), strategy.data.is_live()
                trader.came.notify_all()

        return type(f"Told{base.__name__}", (base,), {"_step": tell})

    def _run(self, plan):
        try:
            with self.session, Alerts("test", None) as alerts:
                self.session.open()
                around = Surroundings(
                    self.session, self.ledger, self.warehouse, XNYS, alerts, self.clock, self.stop, lambda: True
                )
                trade(plan, around)
        except Exception as failure:  # noqa: BLE001 (told to the test)
            self.failure = failure
            with self.came:
                self.came.notify_all()

    def until(self, what):
        with self.came:
            assert self.came.wait_for(lambda: self.failure is not None or what(), WAIT), (self.last, self.clock())
        assert self.failure is None, self.failure

    def settle(self):
        """Until orders and cancellations that are on their way have arrived, and what follows from them."""
        end = time.monotonic() + WAIT
        while {order.state for order in self.ledger.open_intents(ACCOUNT)} & UNDER_WAY:
            assert time.monotonic() < end, "an order is under way for too long"
            self.session.server_time()
        self.session.server_time()

    def step(self, bars=1):
        """Play bars one by one, each decided on before the next."""
        for _ in range(bars):
            self.settle()
            self.gateway.command("step", bars=1)
            closed = self.clock().replace(tzinfo=None)
            self.until(lambda closed=closed: self.last is not None and self.last >= closed)

    def catch_up(self):
        """Play bars until those that were missed have come, and orders can be sent again."""
        for _ in range(20):
            self.gateway.command("step", bars=1)
            closed = self.clock().replace(tzinfo=None)
            with self.came:
                if self.came.wait_for(lambda closed=closed: self.last >= closed, 3.0) and self.live:
                    return
        raise AssertionError("the data are not live again")

    def intents(self):
        return sum(one.record.kind == "intent" for one in self.ledger.events(self.name))

    def seen(self, session):
        return read_seen_bars(self.warehouse.root, self.name, session)

    def end(self):
        self.stop.set()
        self.thread.join(30)
        assert self.failure is None, self.failure


def experiment(**changes):
    params = {"sma_short": 2, "sma_long": 5, "max_concentration": 0.004, "max_position_size": 0.004}
    fields = {
        "name": "parity", "strategy": "strategies.sma_crossover.SMACrossover", "params": params, "symbols": ["AAPL"],
        "start": "2024-01-02", "end": "2024-01-05", "resolution": "1m", "limits": {}, "costs": {"model": "ibkr_fixed"},
    }  # fmt: skip
    return Experiment.build(**{**fields, **changes})
