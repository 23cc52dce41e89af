"""Live trading as an operator drives it: the shell, the daemon, a simulated gateway, and processes that are killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.deployment.trading import COMPONENT
from broker.ib.session import Session
from broker.ib.settings import SessionSettings
from tests.e2e.conftest import clean_environment
from tests.unit.broker.simulator.recordings import minutes
from warehouse.ledger.store import Ledger

pytestmark = pytest.mark.e2e

BARLOOM = str(Path(sys.executable).with_name("barloom"))
ACCOUNT = "DU1234567"
EXPERIMENT = """strategy: strategies.sma_crossover.SMACrossover
params: {sma_short: 2, sma_long: 3, max_concentration: 0.001, max_position_size: 0.001}
symbols: [AAPL]
start: 2024-01-02
end: 2024-01-05
resolution: 1m
costs: {model: ibkr_fixed}
"""


class Desk:
    """A project folder with a gateway, and whoever else runs in it."""

    def __init__(self, project):
        self.project = project
        self.port, self.control, self.ui = _free_port(), _free_port(), _free_port()
        self.processes = []
        minutes(project / "recorded", "AAPL")
        (project / "experiments" / "quick.yaml").write_text(EXPERIMENT)
        (project / ".env").write_text(
            f"BARLOOM_IB_PORT={self.port}\nBARLOOM_SIMULATOR_URL=http://127.0.0.1:{self.control}\n"
        )

    def begin(self, *words, **environment):
        """Start a command and leave it running; it ends with the test."""
        child = subprocess.Popen(
            [BARLOOM, *words], cwd=self.project, env={**clean_environment(), **environment}, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.processes.append(child)
        return child

    def simulate(self):
        options = ("--port", str(self.port), "--control-port", str(self.control), "--clock", "stepped")
        self.begin("gateway", "simulate", *options, "--start", "2024-01-08", BARLOOM_DATA_DIR="recorded")
        self.until(self.answers, 60)
        self.command("step", bars=30)

    def answers(self):
        try:
            return bool(self.command("status"))
        except OSError:
            return False

    def command(self, name, **arguments):
        asked = urllib.request.Request(f"http://127.0.0.1:{self.control}/{name}", json.dumps(arguments).encode())
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 (loopback)
            return json.load(answer)

    def run(self, *words):
        return subprocess.run(
            [BARLOOM, *words], cwd=self.project, env=clean_environment(), capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip

    def page(self):
        return json.loads(self.run("live", "status", "--json").stdout)[0]

    def until(self, what, seconds=90, step=0.3):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "timed out"
            time.sleep(step)

    def ledger(self):
        return Ledger.open(self.project / "data" / "ledger.sqlite")

    def trader(self):
        """The process that trades, by its latest heartbeat."""
        with self.ledger() as ledger:
            return ledger.last_heartbeat("quick", COMPONENT)

    def play_until_live(self, after):
        """Step the market until a run that began after a moment has live data."""

        def live():
            beat = self.trader()
            if beat is not None and beat.ts > after and "READY" in beat.status:
                self.command("step", bars=1)
            return beat is not None and beat.ts > after and "1 of 1 feeds live" in beat.status

        self.until(live, 120, 1.0)

    def fills(self):
        with self.ledger() as ledger:
            return ledger.fills(ACCOUNT)

    def play_until_fills(self, count):
        def filled():
            self.command("step", bars=1)
            return len(self.fills()) >= count

        self.until(filled, 120, 0.4)

    def executions(self):
        """What the broker says was executed, and is held."""
        with Session(SessionSettings(port=self.port, client_id=77, reset=None)) as session:
            told = session.open()
            return {e.exec_id for e in told.executions}, {p.contract.symbol: p.quantity for p in told.positions}

    def end(self):
        for child in self.processes:
            _kill_group(child.pid)
        beat = self.trader() if (self.project / "data" / "ledger.sqlite").exists() else None
        if beat is not None and _is_ours(beat.pid):
            os.kill(beat.pid, signal.SIGKILL)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _kill_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _is_ours(pid):
    """Whether a process is one of Dagster's: its number may have been given away."""
    try:
        return b"dagster" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture(scope="module")
def desk(project):
    made = Desk(project)
    made.simulate()
    yield made
    made.end()


def test_a_deployment_lives_through_its_operators_day(desk):
    assert desk.run("live", "status").stdout.startswith("Nothing is switched on")
    began = desk.run("live", "start", "quick")
    assert (began.returncode, "quick is on: paper" in began.stdout) == (0, True), began.stderr
    ui = desk.begin("ui", "--port", str(desk.ui))

    # the sensor starts a run by itself, and it trades
    desk.play_until_live(datetime.now(UTC))
    desk.play_until_fills(2)
    page = desk.page()
    assert (page["health"], page["wanted"], page["holder"].startswith("process")) == ("ok", "on", True)

    # its worker is killed: another one goes on, and nothing is lost or sent twice
    killed = datetime.now(UTC)
    os.kill(desk.trader().pid, signal.SIGKILL)
    desk.play_until_live(killed)
    desk.play_until_fills(len(desk.fills()) + 2)

    def agrees():
        executed, held = desk.executions()
        booked = desk.fills()
        signed = sum(f.filled.quantity if f.filled.side == "BUY" else -f.filled.quantity for f in booked)
        return {f.filled.exec_id for f in booked} == executed and held.get("AAPL", 0) == signed

    desk.until(agrees, 30)
    with desk.ledger() as ledger:
        refs = [one.record.order_ref for one in ledger.events("quick") if one.record.kind == "intent"]
        assert len(refs) == len(set(refs))
        assert [run.started.attempt for run in ledger.sessions("quick")] == [1, 2]

    # halted and resumed by hand
    assert desk.run("live", "halt", "quick", "--reason", "looking").returncode == 0
    desk.until(lambda: "HALT_ENTRIES" in desk.trader().status)
    assert "HALT_ENTRIES (looking)" in desk.page()["wanted"]
    assert desk.run("live", "resume", "quick").returncode == 0
    desk.until(lambda: "ACTIVE" in desk.trader().status)

    # the daemon, the code server and the worker are all dead: the emergency stop works by itself
    _kill_group(ui.pid)
    pid = desk.trader().pid
    if _is_ours(pid):
        os.kill(pid, signal.SIGKILL)
    stopping = desk.begin("live", "emergency-stop")

    def stopped():
        desk.command("step", bars=1)  # the market has to move for orders to fill
        return stopping.poll() is not None

    desk.until(stopped, 60)
    assert stopping.returncode == 0
    assert desk.executions()[1] == {}
    assert desk.run("live", "stop", "quick").returncode == 0
    assert desk.page()["wanted"].startswith("off")
    report = desk.run("live", "report", "quick")
    assert (report.returncode, "quick, session 2024-01-08:" in report.stdout) == (0, True), report.stderr
    assert "slippage" in report.stdout
    assert "run 1 begins" in report.stdout
    assert "run 2 begins" in report.stdout

    # the session beside its backtest, over both runs and the time between them
    parity = desk.run("live", "parity", "quick")
    assert "quick, session 2024-01-08: live " in parity.stdout, parity.stderr
    assert "AAPL: the warehouse does not hold 2024-01-08 yet." in parity.stdout
    assert (desk.project / "results" / "parity" / "quick" / "2024-01-08" / "parity.png").exists()
    told = json.loads(desk.run("live", "parity", "quick", "--session", "2024-01-08", "--json").stdout)
    assert {trade["symbol"] for trade in told["trades"]} == {"AAPL"}
    assert parity.returncode == (0 if all(check["passed"] for check in told["checks"]) else 1)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("start", "nothing"), "barloom: experiment: 'nothing' has no file experiments/nothing.yaml."),
        (("halt", "nothing"), "barloom: deployment: 'nothing' is not one of"),
        (("parity", "nothing"), "barloom: session: nothing has traded none."),
        (("start", "quick", "--mode", "live"), "barloom: mode: live is asked for, but IB_TRADING_MODE is paper."),
    ],
)
def test_a_wrong_request_is_one_sentence(desk, words, sentence):
    ended = desk.run("live", *words)
    assert (ended.returncode, ended.stderr.startswith(sentence)) == (2, True), ended.stderr
