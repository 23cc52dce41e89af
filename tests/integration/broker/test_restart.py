"""A gateway that is killed knows all that it has said."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from broker.simulator.errors import SimulatorSettingsError, StateFileError

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


class Process:
    """`barloom gateway simulate` as a user starts it."""

    def __init__(self, data, state, *options):
        line = [sys.executable, "-m", "pipelines.cli", "gateway", "simulate", "--port", "0", "--control-port", "0"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "BARLOOM_DATA_DIR": str(data)}
        self.child = subprocess.Popen(
            [*line, "--state", str(state), *options],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said, ports = "", {}
        while set(ports) != {"clients connect to 127.0.0.1", "control: http://127.0.0.1"}:
            said = self.child.stdout.readline()
            assert said, self.child.communicate(timeout=20)
            self.said += said
            ports |= {
                name: int(port) for name, port in re.findall(r"(clients.* 127.0.0.1|control.*127.0.0.1):(\d+)", said)
            }
        self.port, self.control = ports["clients connect to 127.0.0.1"], ports["control: http://127.0.0.1"]

    def command(self, name, **arguments):
        """Over HTTP, as a user would."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.control}/{name}", json.dumps(arguments).encode())
        return json.load(urllib.request.urlopen(asked, timeout=20))  # noqa: S310 (loopback)

    def end(self, number):
        """Send a signal and wait."""
        self.child.send_signal(number)
        return self.child.communicate(timeout=20), self.child.returncode


@pytest.fixture
def begin(recording, tmp_path):
    """`begin(*options)` starts a gateway on one state file."""
    begun = []

    def start(*options):
        begun.append(Process(recording, tmp_path / "state.sqlite", "--clock", "stepped", *options))
        return begun[-1]

    yield start
    for process in begun:
        if process.child.poll() is None:
            process.end(signal.SIGKILL)


def connected(insync, port, number=1):
    ib = insync.IB()
    ib.RequestTimeout = 10
    ib.connect("127.0.0.1", port, clientId=number, timeout=10)
    return ib


def test_orders_fills_positions_and_numbers_survive_a_kill(begin, insync):
    first = begin("--start", "2024-01-08")
    ib = connected(insync, first.port)
    (stock,) = ib.qualifyContracts(insync.Stock("AAPL", "SMART", "USD"))
    filled = ib.placeOrder(stock, insync.MarketOrder("BUY", 100, orderRef="filled"))
    kept = [ib.placeOrder(stock, order) for order in ib.bracketOrder("BUY", 10, 50, 200, 40, tif="GTC")]
    trailing = ib.placeOrder(stock, insync.Order(action="SELL", totalQuantity=5, orderType="TRAIL", auxPrice=20.0))
    ib.reqCurrentTime()
    first.command("step", bars=3)
    ib.reqCurrentTime()
    before = first.command("status")
    other = connected(insync, first.port, 2)
    stop_before = next(t.order.trailStopPrice for t in other.reqAllOpenOrders() if t.order.orderType == "TRAIL")
    other.disconnect()
    execution = filled.fills[0].execution
    first.end(signal.SIGKILL)
    with pytest.raises(ConnectionError):
        ib.sleep(5)

    second = begin()
    again = connected(insync, second.port)
    after = second.command("status")
    same = ("now", "cash", "net_liquidation", "fees", "positions", "open_orders", "prices")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert sorted(t.order.permId for t in again.openTrades()) == sorted(t.order.permId for t in [*kept, trailing])
    assert {t.order.parentId for t in again.openTrades()} == {0, kept[0].order.orderId}
    assert [f.execution.execId for f in again.fills()] == [execution.execId]
    assert again.fills()[0].commissionReport.commission == 1.0
    assert [(p.position, round(p.avgCost, 4)) for p in again.positions()] == [(100, round(execution.price + 0.01, 4))]
    assert [t.order.orderRef for t in again.reqCompletedOrders(False)] == ["filled"]
    assert next(t.order.trailStopPrice for t in again.openTrades() if t.order.orderType == "TRAIL") == stop_before
    fresh = again.placeOrder(stock, insync.MarketOrder("SELL", 100))
    second.command("step")
    again.reqCurrentTime()
    assert fresh.order.permId > trailing.order.permId
    assert fresh.fills[0].execution.execId != execution.execId
    again.cancelOrder(next(t.order for t in again.openTrades() if t.order.parentId == 0 and t.order.orderType == "LMT"))
    again.reqCurrentTime()
    assert [t.order.orderType for t in again.openTrades()] == ["TRAIL"]
    again.disconnect()


def test_it_says_on_every_start_that_it_is_a_simulation_and_ends_cleanly(begin):
    process = begin()
    assert "SIMULATION: this is no market and no broker" in process.said
    assert "account DU1234567, AAPL, MSFT" in process.said
    _, code = process.end(signal.SIGTERM)
    assert code == 0


def test_it_is_reachable_from_this_machine_only(begin):
    process = begin()
    listening = {
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    }
    mine = {address for address in listening if int(address.split(":")[1], 16) in {process.port, process.control}}
    assert {address.split(":")[0] for address in mine} == {"0100007F"}
    assert "00000000" not in Path("/proc/net/tcp6").read_text() or not any(
        f":{process.port:04X} " in line for line in Path("/proc/net/tcp6").read_text().splitlines()
    )


def test_a_page_in_a_browser_cannot_give_commands(begin):
    process = begin()
    asked = urllib.request.Request(
        f"http://127.0.0.1:{process.control}/status", headers={"Origin": "http://example.com"}
    )
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(asked, timeout=10)  # noqa: S310 (loopback)
    assert error.value.code == 400


def test_a_taken_port_is_one_sentence(start):
    desk = start()
    with pytest.raises(SimulatorSettingsError, match=r"cannot be listened on .*; is a gateway running there"):
        start(port=desk.gateway.port)


def test_a_state_file_of_another_kind_or_account_is_refused(start, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no database" * 100)
    with pytest.raises(StateFileError, match=r"notes.txt is not a state file"):
        start(state=text)
    start(state=tmp_path / "mine.sqlite").command("manual_order", symbol="AAPL", action="BUY", quantity=1)
    with pytest.raises(StateFileError, match="belongs to account DU1234567, not DU7654321"):
        start(state=tmp_path / "mine.sqlite", account="DU7654321")


def test_a_restart_on_other_symbols_is_refused(start, tmp_path):
    state = tmp_path / "state.sqlite"
    start(state=state).command("manual_order", symbol="AAPL", action="BUY", quantity=1)
    with pytest.raises(StateFileError, match="'AAPL', which this simulation does not trade"):
        start(state=state, symbols=("MSFT",))


def test_shares_that_came_without_an_order_and_interest_survive(start, tmp_path):
    state = tmp_path / "state.sqlite"
    desk = start(state=state)
    desk.command("position", symbol="AAPL", quantity=-5000)
    desk.command("step", bars=2 * 390)
    before = desk.command("status")
    desk.gateway.__exit__(None, None, None)
    again = start(state=state, bars=0, start=None)
    after = again.command("status")
    assert {k: after[k] for k in ("cash", "positions", "now")} == {k: before[k] for k in ("cash", "positions", "now")}
    assert before["positions"] == {"AAPL": "-5000"}
    assert again.exchange.ledger.interest == desk.exchange.ledger.interest < 0
    desk.stack.pop_all()
