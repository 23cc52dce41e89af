"""A week of live trading in real processes, with a holiday and an early close, in which everything is killed once.

The ledger is a PostgreSQL, the market a simulated one; days are sought, minutes stepped.
"""

import contextlib
import json
import math
import os
import signal
import sys
import threading
import time
import urllib.request
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from broker.deployment.report import session_report
from broker.deployment.supervision import SUPERVISOR
from broker.deployment.trading import COMPONENT
from pipelines.live_definitions import DEPLOYMENT_TAG, JOB, SESSION_REPORT, SESSION_TAG
from pipelines.runs import open_instance
from tests.e2e.test_live import ACCOUNT, Desk
from tests.integration.servers import postgres
from tests.unit.broker.simulator.recordings import MINUTE, record, sessions
from warehouse.calendar import get_calendar
from warehouse.ledger.locks import AccountLock
from warehouse.ledger.records import EquitySnapshot
from warehouse.ledger.store import Ledger
from warehouse.resolution import Resolution

pytestmark = pytest.mark.e2e

XNYS = get_calendar("XNYS")
MONDAY, TUESDAY, WEDNESDAY, THANKSGIVING, FRIDAY = (date(2023, 11, day) for day in range(20, 25))
LAUNCH = (
    "mutation($params: ExecutionParams!) {launchRun(executionParams: $params) {... on LaunchRunSuccess {run {runId}}}}"
)
BEGIN = XNYS.open_utc(MONDAY)


def waves(root):
    """Minutes that rise and fall by turns, and rise in the last ten of every session."""
    rows, price = [], 100.0
    for day, opens, closes in sessions(date(2023, 11, 13), date(2023, 11, 27)):
        count = (closes - opens) // MINUTE
        for number in range(count):
            left = count - number
            step = 0.05 if left <= 10 else -0.05 if left <= 20 else 0.05 * math.copysign(1, math.sin(number * 0.7))
            then = round(price + step, 2)
            high, low = round(max(price, then) + 0.02, 2), round(min(price, then) - 0.02, 2)
            rows.append((opens + (number + 1) * MINUTE, day, price, high, low, then, 50_000.0))
            price = then
    record(root, "AAPL", Resolution.MINUTE, rows)


class Week(Desk):
    """A project folder whose ledger is a PostgreSQL, and what is asked of it in a week."""

    def __init__(self, project, url):
        super().__init__(project)
        waves(project / "recorded")
        with (project / ".env").open("a") as file:
            file.write(f"BARLOOM_LEDGER_URL={url}\n")
        self.book, self.dagster = Ledger.open(url), open_instance(project)
        self.took, self.crowd, self.read, self.bars = {}, Counter(), 0, 0
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self.watch)

    def ledger(self):
        return contextlib.nullcontext(self.book)

    def trader(self):
        return self.book.last_heartbeat("quick", COMPONENT)

    def watch(self):
        """Count all the time how many processes that trade are connected to the gateway."""
        while not self.over.wait(0.4):
            self.crowd[len(_connected(self.port))] += 1

    def end(self):
        self.over.set()
        self.watcher.join(30)
        for child in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        beat = self.trader()
        for pid in {*_connected(self.port), *([] if beat is None else [beat.pid])}:
            if "dagster" in _command(pid) or "spawn_main" in _command(pid):
                os.kill(pid, signal.SIGKILL)
        self.book.close()
        self.dagster.dispose()

    # ---------------------------------------------------------------- processes

    def simulate(self, now=BEGIN):
        options = ("--port", str(self.port), "--control-port", str(self.control), "--clock", "stepped")
        self.simulator = self.begin(
            "gateway", "simulate", *options, "--start", str(now.date()), "--state", "state.sqlite",
            BARLOOM_DATA_DIR="recorded",
        )  # fmt: skip
        self.until(self.answers, 60)
        self.command("seek", to=now.isoformat())

    def now(self):
        return datetime.fromisoformat(self.command("status")["now"])

    def open_ui(self, port):
        self.ui, self.served = port, self.begin("ui", "--port", str(port))

    def graphql(self, query, **variables):
        body = json.dumps({"query": query, "variables": variables}).encode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.ui}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 (loopback)
            return json.load(answer)["data"]

    # ---------------------------------------------------------------- Dagster's own word

    def runs(self, session):
        """The runs of a session, oldest first."""
        wanted = dg.RunsFilter(job_name=JOB, tags={SESSION_TAG: str(session)})
        return self.dagster.get_runs(wanted)[::-1]

    def statuses(self, session):
        return [run.status.value for run in self.runs(session)]

    def reports(self, session):
        found = self.dagster.fetch_materializations(dg.AssetKey(SESSION_REPORT), limit=100).records
        return [
            one.asset_materialization.description
            for one in found
            if one.asset_materialization.tags.get(SESSION_TAG) == str(session)
        ]

    # ---------------------------------------------------------------- days

    def morning(self, session):
        """Ten minutes before the open; returns when a run of the session is ready and sees bars."""
        began = datetime.now(UTC)
        self.command("seek", to=(XNYS.open_utc(session) - timedelta(minutes=10)).isoformat())
        self.until(lambda: self.ready(began), 120)
        self.took[f"{session} begins"] = (datetime.now(UTC) - began).total_seconds()
        self.play_until_live(began)

    def ready(self, began, besides=0):
        beat = self.trader()
        return beat is not None and beat.ts > began and beat.pid != besides and beat.status.startswith("READY")

    def after(self, what, besides, limit=120):
        """Wait until somebody is ready again after a mishap, and note how long that took."""
        began = datetime.now(UTC)
        self.until(lambda: self.ready(began, besides), limit, 0.1)
        self.took[what] = (datetime.now(UTC) - began).total_seconds()
        self.play_until_live(began)

    def seen(self):
        """How many bars strategies have seen live."""
        for one in self.book.events("quick", after=self.read):
            self.read = one.number
            self.bars += isinstance(one.record, EquitySnapshot)
        return self.bars

    def step_seen(self):
        """A bar, which the strategy sees before the next."""
        seen = self.seen()
        self.command("step", bars=1)
        self.until(lambda: self.seen() > seen, 30, 0.05)

    def left(self, session):
        return (XNYS.close_utc(session) - self.now()) // timedelta(minutes=1)

    def afternoon(self, session):
        """Twenty minutes before the close, while nobody is connected."""
        assert not _connected(self.port)
        self.command("seek", to=(XNYS.close_utc(session) - timedelta(minutes=20)).isoformat())

    def evening(self, session):
        """The rest of the day bar by bar; returns when the run has ended by itself."""
        while self.left(session) > 0:
            self.step_seen()
        began = time.monotonic()
        self.until(lambda: self.statuses(session)[-1] == "SUCCESS", 90)
        self.took[f"{session} ends"] = time.monotonic() - began

    def agrees(self):
        """Whether ledger and broker tell the same, and what is held."""
        _, held = self.executions()
        booked = Counter()
        for fill in self.fills():
            booked["AAPL"] += fill.filled.quantity if fill.filled.side == "BUY" else -fill.filled.quantity
        assert held.get("AAPL", 0) == booked["AAPL"]
        return held.get("AAPL", 0)

    def done(self, session, attempts):
        """What has to be so after every session."""
        keys = [run.tags["dagster/run_key"] for run in self.runs(session)]
        assert keys == [f"quick:{session}:{number}" for number in range(1, attempts + 1)]
        assert all(run.tags[DEPLOYMENT_TAG] == "quick" for run in self.runs(session))
        report = session_report(self.book, "quick", session)
        assert (report.outcome, len(report.runs)) == ("done", attempts), report.timeline
        assert self.reports(session)[0] == report.sentence
        assert AccountLock(self.book, ACCOUNT).is_free()
        assert not _connected(self.port)
        return self.agrees()


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except OSError:
        return ""


def _connected(port):
    """Processes that run something for Dagster and have a connection to the gateway."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if int(line[2].split(":")[1], 16) == port and line[3] == "01"}
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        if "spawn_main" in _command(folder.name):
            with contextlib.suppress(OSError):
                if any(str(one.readlink()) in sockets for one in (folder / "fd").iterdir()):
                    found.add(int(folder.name))
    return found


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().split()[3])


def _daemons(ui):
    """The daemons of a UI, or those that it left behind."""
    folders = (one for one in Path("/proc").glob("[0-9]*") if "dagster._daemon" in _command(one.name))
    return [int(one.name) for one in folders if os.getsid(int(one.name)) == ui.pid]


@pytest.fixture(scope="module")
def week(project):
    with postgres("anna") as server:
        made = Week(project, server.url)
        try:
            made.simulate()
            made.watcher.start()
            yield made
        finally:
            made.end()


def test_a_session_is_traded_and_a_run_that_is_terminated_is_followed_by_another(week):
    began = week.run("live", "start", "quick")
    assert began.returncode == 0, began.stderr
    week.open_ui(week.ui)
    week.morning(MONDAY)
    while not week.fills():
        week.step_seen()

    (run,) = week.runs(MONDAY)
    pid, asked = week.trader().pid, time.monotonic()
    told = week.graphql("mutation($id: String!) {terminateRun(runId: $id) {__typename}}", id=run.run_id)
    assert told["terminateRun"]["__typename"] == "TerminateRunSuccess"
    week.until(lambda: week.statuses(MONDAY)[0] == "CANCELED", 30, 0.1)
    week.took["terminated from the UI"] = time.monotonic() - asked
    week.until(lambda: AccountLock(week.book, ACCOUNT).is_free(), 30, 0.1)
    week.afternoon(MONDAY)
    week.after("a new run after a termination", pid)

    assert week.run("live", "halt", "quick", "--reason", "looking").returncode == 0
    week.until(lambda: "HALT_ENTRIES" in week.trader().status)
    assert week.run("live", "resume", "quick").returncode == 0
    week.until(lambda: "ACTIVE" in week.trader().status)
    week.evening(MONDAY)
    assert week.done(MONDAY, attempts=2) > 0


def test_what_was_held_overnight_is_known_and_outlives_a_worker_and_a_gateway(week):
    held = week.agrees()
    week.morning(TUESDAY)
    (stated,) = [p for p in week.book.current_state("quick").positions if p.source == "ours"]
    assert stated.quantity == held

    pid = week.trader().pid
    os.kill(pid, signal.SIGTERM)
    week.until(lambda: AccountLock(week.book, ACCOUNT).is_free(), 30, 0.1)
    week.afternoon(TUESDAY)
    week.after("a new run after SIGTERM", pid)
    assert week.book.sessions("quick")[-2].ended.outcome == "interrupted"

    pid, now = week.trader().pid, week.now()
    os.kill(week.simulator.pid, signal.SIGKILL)
    week.simulator.wait(30)
    week.until(lambda: week.trader().status.startswith("DISCONNECTED"), 30)
    began = datetime.now(UTC)
    week.simulate(now)
    week.until(lambda: week.ready(began), 60, 0.1)
    week.took["the same run after the gateway was killed"] = (datetime.now(UTC) - began).total_seconds()
    week.play_until_live(began)
    assert week.trader().pid == pid
    week.evening(TUESDAY)
    assert week.done(TUESDAY, attempts=2) > 0


def test_a_second_trader_is_refused_and_a_deployment_is_switched_off_and_on_again(week):
    week.morning(WEDNESDAY)
    config = {"deployment": "quick", "session": str(WEDNESDAY), "attempt": 9}
    selector = {"repositoryLocationName": "barloom_live", "repositoryName": "__repository__", "jobName": JOB}
    wanted = {"selector": selector, "runConfigData": {"ops": {"trade_session": {"config": config}}}}
    run_id = week.graphql(LAUNCH, params=wanted)["launchRun"]["run"]["runId"]
    week.until(lambda: week.dagster.get_run_by_id(run_id).status is dg.DagsterRunStatus.FAILURE, 60)
    (alarm,) = [one.text for one in week.book.alarms("quick", WEDNESDAY) if one.code == "run_failed"]
    assert f"did not begin: account: {ACCOUNT} is traded by process {week.trader().pid} on " in alarm
    week.step_seen()  # the first trader goes on

    assert week.run("live", "stop", "quick").returncode == 0
    week.until(lambda: week.statuses(WEDNESDAY) == ["SUCCESS"], 30)
    assert week.book.sessions("quick")[-1].ended.outcome == "stopped"
    pid = week.trader().pid
    week.afternoon(WEDNESDAY)
    assert week.run("live", "start", "quick").returncode == 0
    week.after("a new run after off and on", pid)
    week.evening(WEDNESDAY)
    assert week.done(WEDNESDAY, attempts=2) > 0


def test_nothing_starts_on_a_holiday(week):
    week.command("seek", to="2023-11-23T16:00:00+00:00")
    sought = datetime.now(UTC)
    week.until(lambda: week.book.last_heartbeat("quick", SUPERVISOR).ts > sought, 60)
    assert week.runs(THANKSGIVING) == []
    assert AccountLock(week.book, ACCOUNT).is_free()


def test_an_early_close_is_reached_though_code_server_worker_and_daemon_are_killed(week):
    week.morning(FRIDAY)
    pid = week.trader().pid
    os.kill(_parent(pid), signal.SIGKILL)  # the code server
    week.step_seen()  # the run goes on
    os.kill(pid, signal.SIGKILL)  # of which nobody can tell Dagster any more
    os.kill(week.served.pid, signal.SIGKILL)  # leaves its daemon and its port behind, which the next one ends
    (orphan,) = _daemons(week.served)
    week.afternoon(FRIDAY)
    week.open_ui(week.ui)
    week.after("a new run after code server, worker and UI were killed", pid, 180)
    first, second = week.runs(FRIDAY)
    assert (first.status, second.status) == (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED)
    alarms = [one.text for one in week.book.alarms("quick", FRIDAY) if one.code == "run_failed"]
    assert alarms == [
        f"run 1 ({first.run_id[:8]}) of session {FRIDAY} is given up: it is silent, and the account's lock is free."
    ]

    assert not _command(orphan)
    (daemon,) = _daemons(week.served)
    os.kill(daemon, signal.SIGKILL)
    asked = time.monotonic()
    week.served.wait(60)  # what stops one of its parts stops it
    week.took["the UI ends after its daemon was killed"] = time.monotonic() - asked
    week.evening(FRIDAY)
    assert week.now() == XNYS.close_utc(FRIDAY)
    assert week.done(FRIDAY, attempts=2) > 0
    assert set(week.crowd) <= {0, 1}, week.crowd  # never two traders
    for what, seconds in week.took.items():
        sys.stdout.write(f"{seconds:6.1f} s  {what}\n")
