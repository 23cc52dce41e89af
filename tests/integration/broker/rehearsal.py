"""A deployment that trades against a gateway that goes wrong.

Belongs here: a session of `test_deployment` whose settings can be chosen, what is injected, and the comparison of the
ledger with the broker. Does not belong here: what each fault should lead to.
"""

import dataclasses
import inspect
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from broker.alerts import Alerts
from broker.bar_series import Patience
from broker.costs import cost_model
from broker.deployment.trading import Plan, Surroundings, trade
from broker.errors import GatewayError
from broker.ib.messages import SessionState
from broker.ib.pacing import Pacer
from broker.ib.session import Session
from broker.ib.settings import SessionSettings
from broker.orders.concerns import Patience as OrderPatience
from broker.orders.fills import parted
from broker.simulator.commands import Commands
from broker.simulator.faults import ON_ANSWER, ON_REQUEST
from risk.limits import Limits
from tests.integration.broker.live_cerebro import NO_LIMITS
from tests.integration.broker.test_deployment import ACCOUNT, CLIENT, DAY, QUICK, XNYS, Scripted, Stage
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

ORDERS_QUICK = OrderPatience(
    acknowledgement=timedelta(seconds=1),
    cancellation=timedelta(seconds=1),
    executions=timedelta(seconds=0.3),
    commission=timedelta(seconds=0.7),
    position=timedelta(seconds=0.5),
    absence=timedelta(seconds=1.5),
    again=timedelta(seconds=1),
    tries=1,
)
"""A tenth of what an order book waits for."""


def quicken(patch):
    """Let an order book ask sooner, and history be asked as often as one likes; until the patch ends."""
    patch.setattr("broker.orders.book.Patience", lambda: ORDERS_QUICK)
    patch.setattr("broker.store.Pacer", lambda: Pacer(NO_LIMITS))


NO_FAULTS = {"status", "step", "step_price", "pause", "resume", "speed", "seek", "fault", "clear_faults"}
"""Commands that move the clock or only carry a fault."""

CHOICES = {"link": ("lost", "restored", "restored_without_data"), "farm": ("broken", "ok")}


def every_fault():
    """The simulator's own list of what can go wrong, by the names that `named` gives."""
    yield from (f"answer {action}" for action in ON_ANSWER)
    yield from (f"request {action}" for action in ON_REQUEST)
    for command in (name.removeprefix("do_") for name in dir(Commands) if name.startswith("do_")):
        if command in CHOICES:
            yield from (f"{command} {choice}" for choice in CHOICES[command])
        elif command == "line":
            yield from (f"line {name}" for name in inspect.signature(Commands.do_line).parameters if name != "self")
        elif command not in NO_FAULTS:
            yield command


def named(command, arguments):
    """What a fault that is asked for counts as."""
    if command == "fault":
        place = "answer" if "answer" in arguments else "request"
        return {f"{place} {arguments['action']}"}
    if command == "line":
        return {f"line {name}" for name in arguments}
    return {f"{command} {arguments['state']}"} if command in CHOICES else {command}


class Acting(Scripted):
    """Does what the test says at a bar, or as soon as its store tells it something of a kind."""

    def notify_store(self, msg, *args, **kwargs):
        stage = Scripted.stage
        kind = getattr(args[0], "code", None) or str(getattr(args[0], "state", "")) if args else ""
        if stage.act_on is not None and stage.act_on[0] == kind:
            act, stage.act_on = stage.act_on[1], None
            act(self, self.data)
            stage.acted.set()


class Rehearsal(Stage):
    """One deployment on one gateway, run by run; `shift` is by how much the session's wall clock is ahead."""

    settings, plan, service, switch = {}, {}, None, None
    shift = timedelta()

    def __init__(self, desk, folder, stack):
        super().__init__(desk, folder, stack)
        self.watcher.close()
        quick = SessionSettings(
            port=desk.gateway.port, client_id=99, reset=None, retry_seconds=0.05, retry_most_seconds=0.2
        )
        self.watcher = stack.enter_context(Session(quick))
        self.watcher.open()
        self.act_on, self.acted = None, threading.Event()
        self.injected, self.known, self.paid = set(), {}, {}

    # ---------------------------------------------------------------- running

    def start(self, **limits):
        """Begin a run on a thread and wait until its data are live."""
        self.begin(**limits)
        self.go_live()

    def begin(self, **limits):
        self.attempt += 1
        self.outcome, self.strategy, self.began = None, None, datetime.now(UTC)
        self.stop = threading.Event()
        chosen = {"port": self.desk.gateway.port, "client_id": CLIENT, "retry_most_seconds": 0.2}
        self.session = Session(
            SessionSettings(**{**chosen, **QUICK, **self.settings}), now=lambda: datetime.now(UTC) + self.shift
        )
        patience = dataclasses.replace(Patience.of(Resolution.MINUTE), pause=0.05, silence=1e6)
        plan = Plan(
            "scripted", DAY, f"run{self.attempt}", self.attempt, Acting, {"allow_short": True}, ("AAPL",),
            Resolution.MINUTE, Limits(**limits), cost_model("ibkr_fixed"), DAY - timedelta(days=4),
            patience=patience,
        )  # fmt: skip
        self.thread = threading.Thread(
            target=self._run, args=(dataclasses.replace(plan, **self.plan), self.session), daemon=True
        )
        self.thread.start()
        self.stack.callback(self.end)

    def _run(self, plan, session):
        try:
            with session, Alerts("scripted", self.service, self.switch, beat_seconds=0.2) as self.alerts:
                session.open()
                own = Warehouse(self.folder / "data")
                around = Surroundings(session, self.ledger, own, XNYS, self.alerts, self.clock, self.stop, lambda: True)
                self.outcome = trade(plan, around)
        except Exception as failure:  # noqa: BLE001 (told to the test)
            self.outcome = failure

    def live(self):
        assert self.outcome is None, self.outcome
        return self.strategy is not None and self.session.state is SessionState.READY and self.strategy.data.is_live()

    def go_live(self):
        """A feed is live from the first bar on that its stream brings."""
        self.until(lambda: self.outcome is not None or (self.strategy and self.session.state is SessionState.READY))
        end = time.monotonic() + 30
        while not self.live():
            assert time.monotonic() < end, self.standing()
            if self.session.state is SessionState.READY:
                self.session.server_time()
                self.desk.command("step", bars=1)
            self.soon(self.live)

    def soon(self, what, seconds=0.4):
        """Whether something comes true within a moment."""
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def standing(self):
        return self.session.state, self.session.reason, self.bars[-2:], self.orders[-4:], self.kinds("alarm")[-3:]

    def until(self, what, seconds=20):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, self.standing()
            time.sleep(0.01)

    # ---------------------------------------------------------------- going wrong

    def inject(self, command, **arguments):
        """Ask for a fault."""
        self.injected |= named(command, arguments)
        return self.desk.command(command, **arguments)

    def recover(self):
        """Turn the faults off and wait until the session trades again."""
        self.desk.command("clear_faults")
        self.desk.command("fill_cap")
        frozen = [client for client, one in self.desk.gateway.simulation.desk.sessions.items() if one.frozen]
        for client in frozen:
            self.until(lambda: self.session.state is not SessionState.READY)
            self.desk.command("disconnect", client=client)  # the gateway notices too, and gives the client id back
        self.until(lambda: self.watcher.state is SessionState.READY)
        self.go_live()

    def asked(self, ask):
        """What the test's own client is told, which may be on its way back after a restart too."""
        end = time.monotonic() + 20
        while True:
            try:
                return ask()
            except GatewayError:
                assert time.monotonic() < end
                self.until(lambda: self.watcher.state is SessionState.READY)

    def held(self):
        return self.asked(super().held)

    def working(self):
        return self.asked(super().working)

    def holds(self):
        """Shares of our symbol at the broker."""
        return self.held().get("AAPL", Decimal(0))

    def round_trip(self, buy, leave):
        """The session still trades: an exit where something is held, and an entry with its exit."""
        if self.booked():
            self.close(leave)
        else:
            self.step(1, buy)
            self.until(self.booked)
            self.close(leave)

    def close(self, leave):
        """Leave, and play until nothing is held: one bar takes a tenth of what it trades at most."""
        self.step(1, leave)
        end = time.monotonic() + 20
        while not self.soon(lambda: not self.booked(), 2):
            assert time.monotonic() < end, self.standing()
            self.step()
        self.until(lambda: not self.holds())

    def booked(self):
        """Shares of our symbol in the book of the run."""
        return sum(self.strategy.broker.book.positions().values())

    # ---------------------------------------------------------------- comparing

    def told(self):
        """What the broker has said so far, also what it has forgotten: executions and commissions by lasting name."""
        snapshot = self.watcher.synchronize()
        for one in snapshot.executions:
            name, revision = parted(one.exec_id)
            if revision >= self.known.get(name, (0,))[0]:
                self.known[name] = (revision, one.side, one.quantity, one.price)
        for one in snapshot.commissions:
            self.paid[parted(one.exec_id)[0]] = one.amount
        return snapshot

    def difference(self):
        """In what the ledger and the broker disagree; None where they agree."""
        snapshot = self.told()
        fills = self.ledger.fills(ACCOUNT)
        booked = {
            f.filled.execution: (f.filled.revision, {"BUY": "BOT", "SELL": "SLD"}[f.filled.side], f.filled.quantity,
                                 f.filled.price)
            for f in fills
        }  # fmt: skip
        if booked != self.known:
            return "fills", set(booked.items()) ^ set(self.known.items())
        paid = {f.filled.execution: None if f.commission is None else f.commission.amount for f in fills}
        told = {name: amount for name, amount in self.paid.items() if name in self.known}
        if paid != told:
            return "commissions", set(paid.items()) ^ set(told.items())
        ours = {p.symbol: p.quantity for p in self.ledger.current_state("scripted").positions if p.source == "ours"}
        held = {p.contract.symbol: p.quantity for p in snapshot.positions}
        if ours.get("AAPL", 0) != held.get("AAPL", 0):
            return "positions", ours, held
        return None

    def agrees(self, seconds=10):
        """Wait until the ledger says what the broker says; no reference may be at the broker twice."""
        end = time.monotonic() + seconds
        while (found := self.difference()) is not None:
            assert time.monotonic() < end, (found, self.standing())
            time.sleep(0.05)
        orders = [*self.watcher.completed_orders(), *self.watcher.open_orders()]
        refs = Counter(order.ticket.order_ref for order in orders if order.ticket.order_ref)
        assert not {ref for ref, times in refs.items() if times > 1}
        intents = Counter(intent.order_ref for intent in self.kinds("intent"))
        assert not {ref for ref, times in intents.items() if times > 1}

    def alarms(self):
        return [alarm.code for alarm in self.kinds("alarm")]

    def refusals(self):
        return [(event.limit, event.reason) for event in self.kinds("risk_event") if event.what == "refused"]
