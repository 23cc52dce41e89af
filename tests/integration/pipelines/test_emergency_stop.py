"""`barloom live emergency-stop` as an operator runs it, against runs and gateways that do not behave."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import pytest

from broker.simulator.background import BackgroundGateway
from broker.simulator.settings import ClockMode, SimulatorSettings
from pipelines.deployments import open_ledger, switch_on
from pipelines.settings import Settings
from research.experiment import Experiment
from tests.integration.broker.receiver import receiving
from tests.unit.broker.simulator.recordings import minutes
from warehouse.ledger.locks import AccountLock
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

ROOT, ACCOUNT, DAY, EMERGENCY = Path(__file__).parents[3], "DU1234567", date(2024, 1, 8), 14
STRATEGIES = '''"""Strategies that an emergency stop has to stop."""

from strategies.base_strategy import BaseStrategy


class Hangs(BaseStrategy):
    def decide(self, data):
        if data.is_live():
            print("hangs", flush=True)
            while True:
                pass


class Eager(BaseStrategy):
    def decide(self, data):
        if data.is_live():
            print("trades", flush=True)
            self.enter_long(data, weight=0.001)
'''
RUN = """
import threading
from datetime import date
from pipelines.deployments import run_session
from pipelines.settings import load_settings
run_session(load_settings(), "quick", date(2024, 1, 8), run_id="run", attempt=1, stop=threading.Event())
"""


class Account:
    """A folder with a gateway, runs and emergency stops in it."""

    def __init__(self, folder, gateway, stack):
        self.folder, self.gateway, self.stack, self.command = folder, gateway, stack, gateway.command
        (folder / "unruly.py").write_text(STRATEGIES)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BARLOOM_")},
            "PYTHONPATH": f"{ROOT}:{folder}",
            "BARLOOM_IB_PORT": str(gateway.port),
            "BARLOOM_SIMULATOR_URL": f"http://127.0.0.1:{gateway.control_port}",
        }
        self.settings = Settings(
            data_dir=folder / "data", results_dir=folder / "results", ib_port=gateway.port,
            simulator_url=self.environment["BARLOOM_SIMULATOR_URL"],
        )  # fmt: skip

    def switch_on(self, strategy):
        sys.path.insert(0, str(self.folder))
        self.stack.callback(sys.path.remove, str(self.folder))
        fields = {
            "strategy": f"unruly.{strategy}", "symbols": ["AAPL"], "start": "2024-01-02", "end": "2024-01-05",
            "resolution": "1m",
        }  # fmt: skip
        text = "\n".join(f"{name}: {json.dumps(value)}" for name, value in fields.items())
        experiment = Experiment.parse({"name": "quick", **fields}, origin="quick")
        switch_on(self.settings, experiment, text, name=None, confirm_live=None, by="tester")

    def run(self, strategy, word):
        """Start the run of a session, and play until its strategy says a word."""
        self.switch_on(strategy)
        run = self.begin([sys.executable, "-c", RUN])
        said = threading.Event()

        def listen():
            for line in run.stdout:
                if line.strip() == word:
                    said.set()

        threading.Thread(target=listen, daemon=True).start()
        end = time.monotonic() + 60
        while not said.wait(0.5):
            assert time.monotonic() < end, "the run did not trade"
            assert run.poll() is None, run.communicate()
            if 10 in self.command("status")["clients"]:
                self.command("step", bars=1)
        return run

    def begin(self, line):
        child = subprocess.Popen(
            line, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.stack.callback(child.wait, 20)
        self.stack.callback(child.kill)
        return child

    def stopping(self, *options):
        return self.begin([sys.executable, "-m", "pipelines.cli", "live", "emergency-stop", *options])

    def stop(self, *options):
        """An emergency stop to its end: exit code, and what was said on both channels."""
        child = self.stopping(*options)
        said, complaints = child.communicate(timeout=60)
        return child.returncode, said, complaints

    def held(self):
        return self.command("status")["positions"]

    def working(self):
        return self.command("status")["open_orders"]

    def buy(self, quantity, **fields):
        self.command("manual_order", symbol="AAPL", action="BUY", quantity=quantity, **fields)

    def may_run(self):
        with open_ledger(self.settings) as ledger:
            return ledger.desired_state("quick").may_run

    def alarms(self):
        with open_ledger(self.settings) as ledger:
            return [one.record for one in ledger.events("quick") if one.record.kind == "alarm"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    root = tmp_path_factory.mktemp("recorded")
    minutes(root, "AAPL")
    return root


@pytest.fixture
def receiver():
    with receiving() as made:
        yield made


@pytest.fixture
def account(recorded, tmp_path):
    settings = SimulatorSettings(port=0, control_port=0, clock=ClockMode.STEPPED, start=DAY, fill_at_once=True)
    with BackgroundGateway(settings, Warehouse(recorded)) as gateway, ExitStack() as stack:
        gateway.command("step", bars=10)
        yield Account(tmp_path, gateway, stack)


def test_a_run_whose_strategy_hangs_is_stopped_around(account):
    run = account.run("Hangs", "hangs")
    account.buy(100)
    account.buy(5, kind="LMT", limit=50)
    account.command("freeze", client=10)  # and its connection is half-open
    with open_ledger(account.settings) as ledger:
        assert not AccountLock(ledger, ACCOUNT).is_free()
    code, said, complaints = account.stop()
    assert (code, account.held(), account.working()) == (0, {}, 0), complaints
    assert re.search(r"FLAT: DU1234567 holds no position and no order works, said the broker after \d+\.\d s", said)
    assert "quick is switched off; `barloom live resume quick` lets it trade again." in complaints
    assert f"process {run.pid} on" in complaints
    assert not account.may_run()
    assert [alarm.code for alarm in account.alarms()][-1] == "emergency_stop"


def test_a_run_that_trades_on_its_own_ends_and_people_are_told(account, receiver):
    account.environment["BARLOOM_ALERT_URLS"] = receiver.url
    run = account.run("Eager", "trades")
    end = time.monotonic() + 20
    while not account.held():
        assert time.monotonic() < end
        time.sleep(0.05)
    code, _, complaints = account.stop()
    assert (code, run.wait(20)) == (0, 0), complaints
    account.command("step", bars=3)
    assert (account.held(), account.may_run()) == ({}, False)
    assert receiver.until(lambda: {title for title, _ in receiver.alerts} >= {
        "DU1234567: emergency_stop", "quick: session_report"
    }), receiver.alerts  # fmt: skip
    (sentence,) = receiver.told("emergency_stop")
    assert sentence.startswith("FLAT: DU1234567 holds no position and no order works")


def test_two_stops_at_once_close_once(account):
    account.buy(100)
    both = [account.stopping() for _ in range(2)]
    assert [child.wait(60) for child in both] == [0, 0]
    sold = [done for done in account.gateway.simulation.exchange.executions if done.side < 0]
    assert (sum(done.quantity for done in sold), account.held()) == (100, {})


def test_a_dry_run_changes_nothing(account):
    account.switch_on("Eager")
    account.buy(100)
    account.buy(5, kind="LMT", limit=50)
    code, said, complaints = account.stop("--dry-run")
    assert code == 1
    assert said.splitlines() == ["would be cancelled: BUY 5 AAPL LMT at 50", "would be closed: 100 AAPL"]
    assert complaints.splitlines()[-1] == "Nothing was done."
    assert (account.held(), account.working(), account.may_run(), account.alarms()) == ({"AAPL": "100"}, 1, True, [])


def test_a_gateway_that_dies_in_the_middle_is_not_called_flat(account):
    account.buy(100)
    account.command("fault", request="place_order", action="close", client=EMERGENCY)
    code, _, complaints = account.stop("--seconds", "2")
    assert code == 1
    assert "still held: 100 AAPL" in complaints
    assert re.search(r"NOT FLAT after \d+\.\d s: left are positions: 1, orders: 0", complaints)


def test_without_a_gateway_nothing_is_called_flat_and_no_run_begins(account):
    account.switch_on("Eager")
    code, said, complaints = account.stop("--port", "1", "--seconds", "1")
    assert (code, said) == (1, "")
    assert complaints.startswith("NOT FLAT: nothing was cancelled or closed: ")
    assert not account.may_run()
