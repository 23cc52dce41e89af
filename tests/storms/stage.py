"""One account on one gateway with one ledger, traded by processes that may die.

Belongs here: starting and ending the processes, playing bars, waiting for what they say. Does not belong here: what
must hold in the end (see `laws`), what happens (see `storm`).
"""

import contextlib
import json
import shutil
import signal
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from tests.storms.signs import Ear, Signs
from warehouse.calendar import get_calendar
from warehouse.errors import LedgerError
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.records import Command, DeploymentSwitched, Scope
from warehouse.ledger.store import Ledger

DAY, NAME, ACCOUNT, CLIENT = date(2024, 1, 8), "stormy", "DU1234567", 10
XNYS = get_calendar("XNYS")
_COMMAND_SECONDS = 20.0
_PAUSE = 0.004


class OverdueError(AssertionError):
    """Something did not happen in time."""


@dataclass
class Heard:
    """What the children said so far."""

    market: dict = field(default_factory=dict)
    ready: bool = False
    statuses: int = 0
    live: set = field(default_factory=set)
    bars: list = field(default_factory=list)
    dying: list = field(default_factory=list)
    ended: dict | None = None
    failed: dict | None = None
    sent: list = field(default_factory=list)  # of all runs


class Stage:
    """A context manager; `template` is an empty ledger to copy, `url` a PostgreSQL ledger instead."""

    def __init__(self, nursery, folder, recording, *, template=None, url=None, symbols=("AAPL",), fill_at_once=False):
        self.nursery, self.folder, self.recording = nursery, Path(folder), str(recording)
        self.symbols, self.fill_at_once = tuple(symbols), fill_at_once
        self.folder.mkdir(parents=True, exist_ok=True)
        if url is None and template is not None:
            shutil.copy(template, self.folder / "ledger.sqlite")
        self.place = url or str(self.folder / "ledger.sqlite")
        self.signs = Signs.make(self.folder / "signs")
        self.ear = Ear(self.folder / "talk")
        self.acts_file = self.folder / "acts.json"
        self.acts_file.write_text("{}")
        self.acts, self.heard = {}, Heard()
        self.ports, self.market, self.trader, self.attempt = [0, 0], None, None, 0
        self.limit = 10.0

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.stack.callback(self.ear.close)
        self.ledger = self.stack.enter_context(Ledger.open(self.place))
        self.stack.callback(self.end_all)
        self.ledger.append(Scope(NAME, ACCOUNT), DeploymentSwitched(datetime.now(UTC), True, NAME, "paper", "", ""))
        self.open_market(DAY.isoformat())
        return self

    def __exit__(self, *failure):
        self.stack.close()

    def end_all(self):
        for child in (self.trader, self.market):
            if child is not None:
                child.forget()

    # ---------------------------------------------------------------- the gateway

    def open_market(self, start=None):
        """Start the gateway on its state file and its earlier ports."""
        self.heard.market = {}
        self.market = self.nursery.fork(
            "market", self.folder / "market.log", recording=self.recording, state=str(self.folder / "state.sqlite"),
            signs=str(self.folder / "signs"), talk=str(self.folder / "talk"), ports=self.ports, start=start,
            fill_at_once=self.fill_at_once,
        )  # fmt: skip
        self.until(lambda: self.heard.market, "the gateway does not begin", of=self.market)
        self.ports = [self.heard.market["port"], self.heard.market["control"]]

    def kill_market(self):
        self.market.forget()
        self.market = None

    def command(self, name, **arguments):
        """A command of the control API."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.ports[1]}/{name}", json.dumps(arguments).encode())
        try:
            with urllib.request.urlopen(asked, timeout=_COMMAND_SECONDS) as answer:  # noqa: S310 (loopback)
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            raise ValueError(f"{name} {arguments}: {refused.read().decode()}") from None

    def clients(self):
        return self.command("status")["clients"]

    # ---------------------------------------------------------------- the trader

    def start(self, traps=()):
        """Begin a run; it is not waited for."""
        self.attempt += 1
        heard = self.heard
        heard.statuses, heard.failed = 0, None
        self.until(AccountLock(self.ledger, ACCOUNT).is_free, "the account's lock is not free")
        heard.ready, heard.live, heard.ended, heard.bars, heard.dying = False, set(), None, [], []
        self.trader = self.nursery.fork(
            "trader", self.folder / "trader.log", signs=str(self.folder / "signs"), talk=str(self.folder / "talk"),
            acts=str(self.acts_file), ledger=self.place, folder=str(self.folder / "data"), port=self.ports[0],
            name=NAME, account=ACCOUNT, client=CLIENT, attempt=self.attempt, session=DAY.isoformat(),
            symbols=self.symbols, traps=list(traps),
        )  # fmt: skip

    def running(self):
        return self.trader is not None and self.trader.alive()

    def go_live(self, steps=30, seconds=0.5):
        """Play bars until the run's data are live; only the first streamed bar makes them so."""
        self.until(lambda: self.heard.statuses, "the run has no data", min(steps * seconds, self.limit), of=self.trader)
        for _ in range(steps):
            self.command("step", bars=1)
            with contextlib.suppress(OverdueError):
                self.until(lambda: self.heard.live >= set(self.symbols), "not live", seconds, of=self.trader)
                return
        raise OverdueError(f"the data are not live after {steps} bars: {self.tail()}")

    def kill_trader(self):
        """SIGKILL from outside, wherever it is."""
        self.trader.forget()
        self.trader = None

    def finish_softly(self):
        """SIGTERM, and wait for an end, clean or not."""
        self.trader.kill(signal.SIGTERM)
        try:
            self.until(lambda: not self.trader.alive(), "the run does not end")
        except OverdueError:
            self.trader.kill(signal.SIGUSR1)  # it prints where all its threads are
            self.trader.wait(0.5)
            raise OverdueError(f"the run does not end: {self.tail()}") from None
        self.listen()

    def finish(self):
        """SIGTERM, and wait for a clean end."""
        self.finish_softly()
        self.trader.forget()
        self.trader = None
        if self.heard.ended is None:
            raise OverdueError(f"the run failed: {self.tail()}")
        return self.heard.ended

    def operator(self, action):
        """Give a command by the ledger; not waited for."""
        self.ledger.append(Scope(NAME, ACCOUNT), Command(datetime.now(UTC), action, "a storm", "tester"))

    # ---------------------------------------------------------------- time

    @property
    def now(self):
        return self.signs.clock()

    def act(self, *acts, symbol="AAPL"):
        """What the strategy is to do at the bar that closes next."""
        upcoming = self.now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        self.acts.setdefault(f"{symbol} {upcoming:%H:%M}", []).extend(acts)
        other = self.acts_file.with_suffix(".new")
        other.write_text(json.dumps(self.acts))
        other.replace(self.acts_file)

    def step(self, seconds=None):
        """Play a bar and wait until the run has seen it, or for so many seconds only."""
        seen = len(self.heard.bars)
        self.command("step", bars=1)
        try:
            self.until(
                lambda: len(self.heard.bars) >= seen + len(self.symbols), "the bar is not seen", seconds,
                of=self.trader,
            )  # fmt: skip
        except OverdueError:
            if seconds is None:
                raise

    def settle(self):
        """Until the run has come round twice since, so that what it decided is sent."""
        before = self.signs.rounds
        self.until(lambda: self.signs.rounds >= before + 2, "the run stands still", of=self.trader)

    def listen(self, seconds=0.0):
        heard = self.heard
        for said in self.ear.hear(seconds):
            what = said.pop("what")
            if what == "market":
                heard.market = said
            elif what == "sent":
                heard.sent.append(said)
            elif self.trader is None or said["pid"] == self.trader.pid:
                self._hear_trader(what, said)

    def _hear_trader(self, what, said):
        heard = self.heard
        if what == "ready":
            heard.ready = True
        elif what == "data":
            heard.statuses += 1
            (heard.live.add if said["status"] == "LIVE" else heard.live.discard)(said["symbol"])
        elif what == "bar":
            heard.bars.append((said["symbol"], said["at"]))
        elif what == "dying":
            heard.dying.append(said)
        elif what == "ended":
            heard.ended = said
        elif what == "failed":
            heard.failed = said

    def until(self, true, words, seconds=None, *, of=None):
        """Wait until something is true, as long as a child lives if one is named.

        Raises:
            OverdueError: it is not in time, or the child has ended before.
        """
        end = time.monotonic() + (self.limit if seconds is None else seconds)
        while True:
            self.listen(_PAUSE)
            if true():
                return
            if of is not None and not of.alive():
                self.listen()
                if true():
                    return
                raise OverdueError(f"{words}: process {of.pid} has ended. {self.tail()}")
            if time.monotonic() > end:
                raise OverdueError(
                    f"{words}: not within {self.limit if seconds is None else seconds:g} seconds. {self.tail()}"
                )

    def reconcile(self, seconds=None):
        """Wait until ledger and broker agree.

        Raises:
            OverdueError: they do not in time; the text says in what.
        """
        from tests.storms.laws import Laws

        end = time.monotonic() + (self.limit if seconds is None else seconds)
        while True:
            self.listen(_PAUSE * 12)
            broken = Laws(self).while_running()
            if not broken:
                return
            if time.monotonic() > end or not self.running():
                raise OverdueError("; ".join(broken) + self.tail())

    def dies(self):
        """Wait until the run has died at its trap; the step at which it did."""
        self.until(lambda: not self.trader.alive(), "the run does not come to its trap")
        self.listen()
        self.trader.forget()
        self.trader = None
        assert self.heard.dying, self.tail()
        return self.heard.dying[-1]["point"]

    def tail(self):
        """What is known about the children: their last words and the end of what they printed."""
        last = replace(self.heard, sent=self.heard.sent[-3:], bars=self.heard.bars[-3:])
        texts = [f"\nheard of run {self.attempt}: {last}"]
        with contextlib.suppress(LedgerError):
            beat = self.ledger.last_heartbeat(NAME)
            alarms = [one.record for one in self.ledger.events(NAME) if one.record.kind == "alarm"]
            texts += [f"heartbeat at {datetime.now(UTC)}: {beat}, {self.signs.rounds} rounds"]
            texts += [f"alarm: {one.code}: {one.text}" for one in alarms[-5:]]
        for name in ("trader.log", "market.log"):
            with contextlib.suppress(FileNotFoundError):
                lines = (self.folder / name).read_text().splitlines()
                texts.append(f"{name}: " + "\n".join(lines[-60:]))
        return "\n".join(texts)
