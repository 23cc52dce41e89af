"""A storm: what happens to one session, as data, and carrying it out.

Belongs here: the kinds of happenings, how hypothesis draws them, what each does to a stage. Does not belong here: the
laws (see `laws`), many storms (see `__main__`).

A storm is a plain document, so that it can be printed and replayed:
`{"fill_at_once", "ledger": "sqlite" or "postgresql", "last": "same" or "new", "happenings": [{"do", ...}, ...]}`.
"""

import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from hypothesis import strategies as st

from tests.storms.laws import Laws, Truth
from tests.storms.stage import CLIENT, OverdueError

# ------------------------------------------------------------------ drawing

_ANSWERS = (
    "openOrder", "orderStatus", "execDetails", "commissionReport", "position", "openOrderEnd", "execDetailsEnd",
    "positionEnd", "accountDownloadEnd", "completedOrder", "completedOrdersEnd", "error", "nextValidId",
    "accountValue", "realtimeBar", "historicalData", "currentTime", "contractDetails",
)  # fmt: skip
_LATER = ("orderStatus", "execDetails", "commissionReport", "openOrder", "position", "execDetailsEnd", "currentTime")
_REQUESTS = (
    "cancel_order", "executions", "all_open_orders", "completed_orders", "positions", "account_updates", "history",
    "current_time", "real_time_bars",
)  # fmt: skip
_CODES = (100, 103, 104, 105, 110, 135, 161, 200, 201, 202, 399, 10147, 10148, 10318, 10349)
_STEPS = (
    "commit", "committed", "send", "sent", "cancel", "cancel_sent", "record:order:SENT", "record:order:WORKING",
    "record:order:CANCEL_SENT", "record:order:CANCELLED", "record:order:FILLED", "record:fill", "recorded:fill",
    "record:commission", "recorded:commission", "record:strategy_state", "record:position", "record:answer",
    "recorded:answer",
)  # fmt: skip


def _one(do, **drawn):
    return st.fixed_dictionaries({"do": st.just(do), **drawn})


def _of(*values):
    return st.sampled_from(values)


_WEIGHTS, _SHARES = _of(0.0005, 0.001, 0.004), _of(1, 5, 20)

DECISIONS = st.one_of(
    _one("enter", weight=_WEIGHTS, stop=_of(None, 0.0005, 0.05), take_profit=_of(None, 0.0005, 0.05)),
    _one("leave"),
    _one("protect", stop=_of(0.001, 0.02)),
    _one("limit", size=_SHARES, below=_of(-0.01, 0.0003, 0.05)),
    _one("bracket", size=_SHARES, below=_of(-0.01, 0.05), stop=_of(0.0005, 0.05), take_profit=_of(0.0005, 0.05)),
    _one("cancel"),
)
_RULES = st.one_of(
    _one("fault", answer=_of(*_ANSWERS), action=_of("drop"), times=_of(1, 2)),
    _one("fault", answer=_of(*_ANSWERS), action=_of("delay"), value=_of("0.05", "0.3"), times=_of(1, 5)),
    _one("fault", answer=_of(*_ANSWERS), action=_of("duplicate"), times=_of(1, 10)),
    _one("fault", answer=_of(*_ANSWERS), action=_of("after"), value=_of(*_LATER), times=_of(1, 3)),
    _one("fault", answer=_of(*_ANSWERS), action=_of("close"), times=_of(1), skip=_of(0, 2)),
    _one("fault", request=_of("place_order"), action=_of("swallow", "close", "freeze"), times=_of(1)),
    _one("fault", request=_of("place_order"), action=_of("partial"), value=_of("0.4"), times=_of(1)),
    _one("fault", request=_of("place_order", "cancel_order"), action=_of("error"), code=_of(*_CODES), times=_of(1)),
    _one("fault", request=_of("cancel_order"), action=_of("fill"), times=_of(1)),
    _one("fault", request=_of(*_REQUESTS), action=_of("swallow", "close", "freeze"), times=_of(1)),
    _one("fault", request=_of("history"), action=_of("error"), code=_of(162, 366), times=_of(1)),
    _one("fault", request=_of("history"), action=_of("empty"), times=_of(1)),
)
_LINES = st.one_of(
    _one("line", frames=_of("split", "coalesced")),
    _one("line", clock_skew=_of(-3600.0, 5.0, 60.0)),
    _one("link", state=_of("lost", "restored", "restored_without_data")),
    _one("farm", state=_of("broken", "ok")),
    _one("competing_session", active=_of(True, False)),
    _one("freeze"),
    _one("disconnect"),
    _one("restart", lose_executions=st.booleans(), down_seconds=_of(0.0, 0.2)),
    _one("night"),
    _one("error", code=_of(1100, 1101, 1102, 2103, 2104, 2105, 2106, 2110, 10197, 366), text=_of("injected:usfarm")),
)
_MARKET = st.one_of(
    _one("manual", action=_of("BUY", "SELL"), quantity=_of(3, 40)),
    _one("fill_cap", quantity=_of(1, 3)),
    _one("halted"),
    _one("correct"),
    _one("position", quantity=_of(-4, 9)),
    _one("bars", count=_of(2, 4)),
)
_OPERATOR = _one("operator", action=_of("halt", "reduce_only", "resume", "resume", "stop_keep", "stop_flatten"))
_DEATHS = st.one_of(
    _one("kill", missed=_of(0, 1, 3)),
    _one("kill", missed=_of(0, 1, 3)),
    _one("trap", point=_of(*_STEPS), nth=_of(1, 2), missed=_of(0, 2)),
    _one("trap", point=_of(*_STEPS), nth=_of(1, 2), missed=_of(0, 2)),
    _one("term", missed=_of(0, 2)),
    _one("kill_market", missed=st.just(0)),
)


_KINDS = {
    "decision": DECISIONS, "rule": _RULES, "line": _LINES, "market": _MARKET, "operator": _OPERATOR, "death": _DEATHS
}  # fmt: skip
_MIXTURE = (
    *["decision"] * 10, *["rule"] * 3, *["line"] * 2, *["market"] * 2, "operator", *["death"] * 2,
)  # fmt: skip


def storms(*, postgresql):
    """Storms; the share of them that use a PostgreSQL ledger is one in eight, where there is a server."""
    happening = _of(*_MIXTURE).flatmap(_KINDS.__getitem__)
    return st.fixed_dictionaries(
        {
            "fill_at_once": st.booleans(),
            "ledger": _of(*["sqlite"] * 7, "postgresql" if postgresql else "sqlite"),
            "last": _of("same", "new"),
            "happenings": st.lists(happening, min_size=5, max_size=14),
        }
    )


# ------------------------------------------------------------------ carrying out


@dataclass
class Tally:
    """What happened in a storm; seconds are wall-clock."""

    faults: Counter = field(default_factory=Counter)
    orders: int = 0
    fills: int = 0
    kills: int = 0
    runs: int = 0
    ready_seconds: list = field(default_factory=list)
    reconciled_seconds: list = field(default_factory=list)


class BrokenLawError(AssertionError):
    """A law does not hold."""


class Storm:
    """Carries a storm out on a stage."""

    def __init__(self, stage, document):
        self.stage, self.document, self.tally = stage, document, Tally()
        self.armed, self.missed = [], 0

    def run(self):
        """The whole storm, the calm after it and the laws.

        Raises:
            BrokenLawError: with the laws that do not hold.
        """
        stage = self.stage
        self.start()
        stage.go_live()
        for happening in self.document["happenings"]:
            arguments = {k: v for k, v in happening.items() if k != "do"}
            getattr(self, f"do_{happening['do']}")(**arguments)
            self.go_on()
        self.calm()
        self.recover()
        broken = Laws(stage).in_the_end()
        truth = Truth.read(stage.folder / "state.sqlite")
        self.tally.orders, self.tally.fills = len(truth.ours()), len(truth.executions) + len(truth.forgotten)
        if broken:
            raise BrokenLawError("; ".join(broken))

    def go_on(self):
        """A bar after each happening; then whoever died is started again, as a supervisor would."""
        stage = self.stage
        if stage.market is None:
            stage.open_market()
        live = stage.running() and stage.heard.live >= set(stage.symbols)
        stage.step(0.3 if live else 0.1)
        if not stage.running():
            self.bury()
            if self.missed:
                stage.command("step", bars=self.missed)
                self.missed = 0
            self.start()
            with contextlib.suppress(OverdueError):
                stage.go_live(steps=3, seconds=0.3)

    def bury(self):
        stage = self.stage
        stage.listen()
        if stage.heard.failed:
            self.judge(stage.heard.failed)
        if stage.heard.dying:
            self.tally.kills += 1
            self.count("killed at a step")
        if stage.trader is not None:
            stage.trader.forget()
            stage.trader = None

    def judge(self, failed):
        """A run may fail because its gateway does not answer, and for no other reason."""
        if failed["error"] not in _EXCUSED:
            raise BrokenLawError(f"a run failed: {failed['error']}: {failed['text']} {self.stage.tail()}")

    def start(self):
        self.tally.runs += 1
        self.stage.start(self.armed)
        self.armed = []

    def count(self, what):
        self.tally.faults[what] += 1

    # -------------------------------------------------------------- happenings

    def decide(self, do, **terms):
        self.stage.act({"do": do, **terms})

    def do_enter(self, **terms):
        self.decide("enter", **terms)

    def do_leave(self):
        self.decide("leave")

    def do_protect(self, **terms):
        self.decide("protect", **terms)

    def do_limit(self, **terms):
        self.decide("limit", **terms)

    def do_bracket(self, **terms):
        self.decide("bracket", **terms)

    def do_cancel(self):
        self.decide("cancel")

    def do_fault(self, **rule):
        self.count(f"{rule['action']} {rule.get('answer') or rule.get('request')}")
        self.stage.command("fault", client=CLIENT, **rule)

    def do_line(self, **how):
        self.count(" ".join(map(str, *how.items())))
        self.stage.command("line", **how)

    def do_link(self, state):
        self.count(f"link {state}")
        self.stage.command("link", state=state)

    def do_farm(self, state):
        self.count(f"farm {state}")
        self.stage.command("farm", state=state)

    def do_competing_session(self, active):
        self.count("competing session")
        self.stage.command("competing_session", active=active)

    def do_error(self, code, text):
        self.count(f"notice {code}")
        self.stage.command("error", code=code, text=text)

    def of_client(self, name):
        """What can be done to a client that is connected only."""
        with contextlib.suppress(ValueError):
            self.stage.command(name, client=CLIENT)
            self.count(name)

    def do_freeze(self):
        """A half-open connection, which the gateway gives up some bars later."""
        self.of_client("freeze")
        for _ in range(3):
            self.stage.step(0.2)
        self.of_client("disconnect")

    def do_disconnect(self):
        self.of_client("disconnect")

    def do_restart(self, lose_executions, down_seconds):
        self.count("gateway restart, executions lost" if lose_executions else "gateway restart")
        self.stage.command("restart", lose_executions=lose_executions, down_seconds=down_seconds)

    def do_night(self):
        """IB's nightly reset: the window opens, the gateway goes and comes back."""
        self.count("nightly reset")
        self.stage.signs.night = True
        self.stage.command("restart", down_seconds=0.1)
        self.stage.step(0.15)
        self.stage.signs.night = False

    def do_manual(self, action, quantity):
        with contextlib.suppress(ValueError):  # more than is held is not sold
            self.stage.command("manual_order", symbol="AAPL", action=action, quantity=quantity)
            self.count("manual order")

    def do_fill_cap(self, quantity):
        self.count("partial fills")
        self.stage.command("fill_cap", quantity=quantity)

    def do_halted(self):
        self.count("trading halted")
        self.stage.command("halt", symbol="AAPL")
        self.stage.step(0.05)
        self.stage.command("unhalt", symbol="AAPL")

    def do_correct(self):
        executions = Truth.read(self.stage.folder / "state.sqlite").executions
        if executions:
            last = max(executions.values(), key=lambda one: one["at"])
            self.count("correction")
            self.stage.command("correct", exec_id=last["exec_id"], price=str(Decimal(last["price"]) + Decimal("0.01")))

    def do_position(self, quantity):
        self.count("shares without an order")
        self.stage.command("position", symbol="AAPL", quantity=quantity)

    def do_bars(self, count):
        for _ in range(count):
            self.stage.step(0.1 if self.stage.heard.live else 0.01)

    def do_operator(self, action):
        self.count(f"command {action}")
        self.stage.operator(action)

    def do_kill(self, missed):
        if self.stage.running():
            self.tally.kills += 1
            self.count("trader killed")
            self.stage.kill_trader()
            self.missed = missed

    def do_trap(self, point, nth, missed):
        """The next run dies at this step; the present one is killed now."""
        self.do_kill(missed)
        self.armed = [{"point": point, "nth": nth}]

    def do_term(self, missed):
        if self.stage.running():
            self.count("trader told to end")
            self.stage.finish_softly()
            self.missed = missed

    def do_kill_market(self, missed):
        self.tally.kills += 1
        self.count("gateway killed")
        self.stage.kill_market()

    # -------------------------------------------------------------- the calm

    def calm(self):
        """Everything works again; what the operator has commanded stays."""
        stage = self.stage
        stage.signs.night = False
        if stage.market is None:
            stage.open_market()
        used = {happening["do"] for happening in self.document["happenings"]}
        stage.command("clear_faults")
        if any("freeze" in happening.values() for happening in self.document["happenings"]):
            self.of_client("disconnect")  # a half-open connection holds the client's number until it is given up
        stage.command("fill_cap")
        if used & {"link", "error"}:
            stage.command("link", state="restored")
        if used & {"farm", "error", "competing_session"}:
            stage.command("farm", state="ok")
            stage.command("error", code=2104, text="Market data farm connection is OK:injected:usfarm")
            stage.command("error", code=2106, text="HMDS data farm connection is OK:injected:usfarm")

    def recover(self):
        """The last run, or the one that lives, finds everything out, and ends."""
        stage = self.stage
        if stage.running() and self.document["last"] == "new":
            self.tally.kills += 1
            stage.kill_trader()
        for _ in range(6):  # a run may still fail, or die at the step that it was armed for, or do as commanded
            if not stage.running():
                self.bury()
                self.start()
            began = time.monotonic()
            try:
                self.reconcile(began)
                stage.finish()
            except OverdueError:
                if stage.running():
                    raise
            else:
                return
        raise BrokenLawError(f"no run reconciles. {stage.tail()}")

    def reconcile(self, began):
        stage = self.stage
        stage.until(lambda: stage.heard.ready, "the run is not READY", of=stage.trader)
        self.tally.ready_seconds.append(time.monotonic() - began)
        stage.reconcile()
        self.tally.reconciled_seconds.append(time.monotonic() - began)
        stage.go_live()
        stage.step(0.5)
        stage.step(0.5)
        stage.reconcile()


_EXCUSED = {
    "GatewayUnreachableError", "GatewayNotReadyError", "GatewayTimeoutError", "ClientIdInUseError", "ContractError",
}  # fmt: skip
