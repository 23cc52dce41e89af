"""A simulated gateway on a thread, and ib_insync as its client.

Belongs here: starting both and taking them down. Does not belong here: what is checked.
"""

import asyncio
import importlib
import os
import time
from contextlib import ExitStack, suppress
from datetime import date

import pytest

from broker.simulator.background import BackgroundGateway
from broker.simulator.settings import ClockMode, SimulatorSettings
from tests.unit.broker.simulator.recordings import minutes
from warehouse.store import Warehouse

START = date(2024, 1, 8)


@pytest.fixture(scope="session")
def recording(tmp_path_factory):
    """Minutes of two symbols, 2024-01-02 to 2024-01-12."""
    root = tmp_path_factory.mktemp("recording")
    minutes(root, "AAPL")
    minutes(root, "MSFT", price=300.0, seed=1)
    return root


def on_ib_async():
    """Whether the client under test is ib_async."""
    return os.environ.get("TWS_CLIENT") == "ib_async"


@pytest.fixture(scope="session")
def insync():
    """ib_insync, or the client that TWS_CLIENT names; it wants an event loop when it is imported."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield importlib.import_module(os.environ.get("TWS_CLIENT", "ib_insync"))
    loop.close()


@pytest.fixture
def start(recording, insync):
    """`start(**settings)` begins a gateway; `.client()` connects to it. Everything ends with the test."""
    with ExitStack() as stack:

        def begin(folder=recording, bars=3, **changes):
            fields = {"port": 0, "control_port": 0, "clock": ClockMode.STEPPED, "start": START, **changes}
            gateway = stack.enter_context(BackgroundGateway(SimulatorSettings(**fields), Warehouse(folder)))
            if bars:
                gateway.command("step", bars=bars)
            return Desk(gateway, insync, stack)

        yield begin


class Desk:
    """A gateway with clients."""

    def __init__(self, gateway, insync, stack):
        self.gateway, self.insync, self.stack = gateway, insync, stack
        self.command = gateway.command

    def client(self, number=1, **options):
        """A connected client; `.heard` holds (request, code) of its errors."""
        ib, heard = self.insync.IB(), []
        ib.errorEvent += lambda req_id, code, *_: heard.append((req_id, code))
        ib.RequestTimeout = 10
        self.stack.callback(ib.disconnect)
        ib.connect("127.0.0.1", self.gateway.port, clientId=number, **{"timeout": 5, **options})
        ib.heard = heard
        return ib

    def stock(self, ib, symbol="AAPL"):
        """A qualified contract."""
        (contract,) = ib.qualifyContracts(self.insync.Stock(symbol, "SMART", "USD"))
        return contract

    def step(self, ib, bars=1):
        """Play bars and let the client hear of them."""
        self.settle(ib)  # what the client has sent is done before time passes
        answer = self.command("step", bars=bars)
        self.settle(ib)
        return answer

    def settle(self, ib):
        """Until everything that was sent has been read: an answer to a question asked now is behind it."""
        ib.reqCurrentTime()

    def until(self, ib, what, seconds=5):
        """Run the client until something is true."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "timed out"
            ib.sleep(0.01)

    def hung_up(self, ib, seconds=5):
        """Whether a client loses its connection within some seconds."""
        with suppress(ConnectionError):
            ib.sleep(seconds)
        return not ib.isConnected()

    def series(self, symbol="AAPL"):
        """The recording's minutes."""
        return self.gateway.simulation.exchange.market.tape.moving(symbol)

    @property
    def exchange(self):
        """The exchange behind the gateway."""
        return self.gateway.simulation.exchange
