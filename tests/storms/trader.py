"""A trading process: `broker.deployment.trading.trade` as a run of the live job does it, over TCP to the gateway.

Belongs here: putting the run together, what its strategy does, dying at an exact step. Does not belong here: which step
that is (see `stage`).

The product's own code runs. What is changed in this process alone: its waits are shorter (`hurry`), and the calls at
which it may have to die are counted (`Trapped`).
"""

import dataclasses
import faulthandler
import functools
import json
import os
import signal
import threading
from datetime import date, timedelta
from pathlib import Path

import backtrader as bt

from broker import live_broker, store
from broker.alerts import Alerts
from broker.bar_series import Patience
from broker.costs import cost_model
from broker.deployment import trading
from broker.deployment.trading import Plan, Surroundings, trade
from broker.ib import session as ib_session
from broker.ib.pacing import Pacer, PacingLimits
from broker.ib.session import Session
from broker.ib.settings import ResetWindow, SessionSettings
from broker.live import resync
from broker.orders import book
from broker.orders import concerns as concerns_of_orders
from risk.limits import Limits
from strategies.base_strategy import BaseStrategy
from tests.storms.signs import Signs, Talk
from warehouse.calendar import get_calendar
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.store import Ledger
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

XNYS = get_calendar("XNYS")
_OPEN_SECONDS = 10.0
_NEVER = 1e6
_SHORT = 20.0  # by how much waits are shorter than the product's


def main(*, talk, **arguments):
    """One run, and what it failed of."""
    said = Talk(talk)
    try:
        run(said, **arguments)
    except Exception as failure:
        said.tell(what="failed", error=type(failure).__name__, text=str(failure)[:2000])
        raise


def run(said, *, signs, acts, ledger, folder, port, name, account, client, attempt, session, symbols, traps):
    """One run from the lock to its end."""
    shown = Signs(signs)
    stop = threading.Event()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    hurry()
    watch_rounds(shown)
    settings = SessionSettings(
        port=port, client_id=client, account=account, connect_seconds=2.0, sync_seconds=1.5, heartbeat_seconds=0.4,
        answer_seconds=0.8, retry_seconds=0.02, retry_most_seconds=0.2, outage_seconds=0.5, reset=Night(shown),
    )  # fmt: skip
    day = date.fromisoformat(session)
    patience = dataclasses.replace(
        Patience.of(Resolution.MINUTE), pause=0.05, settle_after=3600.0, believe_after=0.0, silence=_NEVER
    )
    plan = Plan(
        name, day, f"run{attempt}", attempt, Stormy, {"acts": acts, "said": said}, tuple(symbols), Resolution.MINUTE,
        Limits(), cost_model("ibkr_fixed"), day, patience=patience, quality_override="no bars are needed",
    )  # fmt: skip
    with Ledger.open(ledger) as kept:
        Trapped(kept, account, said, traps)
        lock = AccountLock(kept, account)
        with lock, Session(settings) as gateway, Alerts(name, None) as alerts:
            gateway.open(_OPEN_SECONDS)
            said.tell(what="ready")
            own = Warehouse(Path(folder))
            around = Surroundings(gateway, kept, own, XNYS, alerts, shown.clock, stop, lock.keep)
            outcome = trade(plan, around)
    said.tell(what="ended", ending=outcome.ending.value, reason=outcome.reason)


def hurry():
    """Wait less: what takes the product seconds and is no wait for the broker takes this process fractions."""
    patient = concerns_of_orders.Patience()
    waits = {f.name: getattr(patient, f.name) for f in dataclasses.fields(patient)}
    short = {k: v / _SHORT if isinstance(v, timedelta) else v for k, v in waits.items()}
    book.Patience = functools.partial(concerns_of_orders.Patience, **short)
    trading._ROUND_SECONDS, trading._BEAT_SECONDS = 0.05, 0.5
    live_broker._CLOSING_PAUSE /= _SHORT
    live_broker.LiveBroker.__init__.__kwdefaults__["commission_wait"] /= _SHORT
    resync._PAUSE /= _SHORT
    resync.Resync.__init__.__defaults__ = (0.5,)
    for name, method in vars(Session).items():  # how long questions wait for their answers
        if getattr(method, "__defaults__", None) and name != "open":
            method.__defaults__ = (1.5,)
    ib_session._WATCH_SECONDS /= _SHORT
    store.Store.__init__.__kwdefaults__["hold"] /= _SHORT
    store.Store.getdata.__kwdefaults__["qcheck"] = 0.05
    store.Pacer = functools.partial(Pacer, PacingLimits(requests=10_000, identical=0.05, burst=1_000, margin=0.0))


def watch_rounds(shown):
    """Show how often the broker came round."""
    came = trading._Broker.next

    def count(self):
        came(self)
        shown.rounds += 1

    shown.rounds = 0
    trading._Broker.next = count


class Night(ResetWindow):
    """IB's nightly window, which is open whenever the stage says so."""

    __slots__ = ("shown",)

    def __init__(self, shown):
        super().__init__()
        object.__setattr__(self, "shown", shown)

    def ends(self, now):
        return now + timedelta(seconds=0.5) if self.shown.night else None


class Trapped:
    """Counts the steps of orders' lives in this process and kills it at the wanted one, with SIGKILL.

    A trap is `{"point", "order_type", "nth"}`: `commit`, `send` and `cancel` are just before the call of that name,
    `committed`, `sent` and `cancel_sent` just after it; `record:fill` is just before a fill is recorded and
    `recorded:fill` just after, `record:order:WORKING` before an order is recorded as working, and so on.
    """

    def __init__(self, ledger, account, said, traps):
        self.said, self.traps = said, [dict(trap) for trap in traps]
        self.type_of, self.ref_of = {}, {}  # by reference; by order id
        self.decided, self.last = {}, 0  # the number of an intent by reference; of the ledger's last record
        for known in ledger.open_intents(account):
            self.learn(known.intent.order_ref, known.intent.order_type, known.intent.document["ticket"]["order_id"])
        self.wrap(Ledger, "commit_intent", self.commit_intent)
        self.wrap(Ledger, "append", self.append)
        self.wrap(Session, "place_order", self.place_order)
        self.wrap(Session, "cancel_order", self.cancel_order)

    @staticmethod
    def wrap(owner, name, around):
        inner = getattr(owner, name)
        setattr(owner, name, lambda self, *arguments: around(functools.partial(inner, self), *arguments))

    def learn(self, ref, order_type, order_id):
        self.type_of[ref], self.ref_of[order_id] = order_type, ref

    def step(self, point, ref):
        """One step of an order's life; perhaps the last that this process sees."""
        for trap in self.traps:
            if trap["point"] == point and trap.get("order_type") in (None, self.type_of.get(ref)):
                trap["nth"] = trap.get("nth", 1) - 1
                if not trap["nth"]:
                    self.said.tell(what="dying", point=point, ref=ref)
                    os.kill(os.getpid(), signal.SIGKILL)

    def commit_intent(self, inner, scope, *decided):
        for intent in decided:
            self.learn(intent.order_ref, intent.order_type, intent.document["ticket"]["order_id"])
            self.step("commit", intent.order_ref)
        numbers = inner(scope, *decided)
        for intent, number in zip(decided, numbers, strict=True):
            self.decided[intent.order_ref] = self.last = number
            self.step("committed", intent.order_ref)
        return numbers

    def append(self, inner, scope, *records):
        steps = [
            (":".join(filter(None, (record.kind, getattr(record, "state", None)))), getattr(record, "order_ref", ""))
            for record in records
        ]
        for name, ref in steps:
            self.step(f"record:{name}", ref)
        numbers = inner(scope, *records)
        self.last = max(self.last, *numbers)
        for name, ref in steps:
            self.step(f"recorded:{name}", ref)
        return numbers

    def place_order(self, inner, contract, ticket):
        ref = ticket.order_ref
        self.step("send", ref)
        inner(contract, ticket)
        # a second sending was decided on when it was made, the first one when it was written down
        self.said.tell(what="sent", ref=ref, side=ticket.action, after=self.decided.pop(ref, self.last))
        self.step("sent", ref)

    def cancel_order(self, inner, order_id):
        ref = self.ref_of.get(order_id, "")
        self.step("cancel", ref)
        inner(order_id)
        self.step("cancel_sent", ref)


class Stormy(BaseStrategy):
    """Does at each live bar what a file says for the bar's moment, so that a restarted run decides the same again."""

    params = (("acts", ""), ("said", None))
    remembers = ("counted",)

    def __init__(self):
        super().__init__()
        self.counted = 0
        self.raw = []

    def notify_data(self, data, status, *arguments, **keywords):
        self.p.said.tell(what="data", symbol=data._name, status=data._getstatusname(status))

    def decide(self, data):
        if data.is_live():
            moment = data.datetime.datetime(0)
            self.counted += 1
            for act in json.loads(Path(self.p.acts).read_text()).get(f"{data._name} {moment:%H:%M}", ()):
                getattr(self, f"act_{act['do']}")(data, act)
            self.p.said.tell(what="bar", symbol=data._name, at=f"{moment:%H:%M}")

    def act_enter(self, data, act):
        close = data.close[0]
        stop, profit = act.get("stop"), act.get("take_profit")
        self.enter_long(
            data, weight=act["weight"], stop=None if stop is None else round(close * (1 - stop), 2),
            take_profit=None if profit is None else round(close * (1 + profit), 2),
        )  # fmt: skip

    def act_leave(self, data, act):
        self.leave(data)

    def act_protect(self, data, act):
        self.protect(data, round(data.close[0] * (1 - act["stop"]), 2))

    def act_limit(self, data, act):
        """A limit order that rests below the market, or takes from it where `below` is negative."""
        price = data.close[0] * (1 - act["below"])
        self.raw.append(self.buy(data, size=act["size"], exectype=bt.Order.Limit, price=price))

    def act_bracket(self, data, act):
        close = data.close[0]
        self.raw += self.buy_bracket(
            data=data, size=act["size"], exectype=bt.Order.Limit, price=close * (1 - act["below"]),
            stopprice=close * (1 - act["stop"]), limitprice=close * (1 + act["take_profit"]),
        )  # fmt: skip

    def act_cancel(self, data, act):
        """Cancel all orders that work, those of an earlier run too."""
        for order in self.raw:
            self.cancel(order)

    def recall(self, memory, working):
        super().recall(memory, working)
        self.raw += [order for orders in working.values() for order in orders]
