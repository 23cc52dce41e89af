"""The market's time comes from the wall, or from a simulator that replays other days."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipelines.clock import SimulatorClock, market_clock
from pipelines.errors import SettingsError
from pipelines.settings import Settings

THEN = datetime(2024, 1, 8, 15, tzinfo=UTC)


@pytest.fixture
def simulator():
    """A server that tells `told` as its market's time."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(self.server.told).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.told = {"now": THEN.isoformat()}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def clock(server):
    return market_clock(Settings(simulator_url=f"http://127.0.0.1:{server.server_port}/"))


def test_without_a_simulator_it_is_the_wall_clock():
    assert abs(market_clock(Settings())() - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_simulator_tells_its_own_time(simulator):
    assert clock(simulator)() == THEN


def test_time_never_runs_backwards(simulator):
    told = clock(simulator)
    told()
    simulator.told = {"now": (THEN - timedelta(hours=1)).isoformat()}
    told._asked = -1.0
    assert told() == THEN


def test_the_market_of_a_simulator_that_went_away_stands_still(simulator):
    told = clock(simulator)
    told()
    simulator.socket.close()
    told._asked = -1.0
    assert told() == THEN


@pytest.mark.parametrize("answer", [{}, {"now": "yesterday"}, []])
def test_an_answer_that_is_no_time_is_an_error(simulator, answer):
    simulator.told = answer
    with pytest.raises(SettingsError, match="does not tell the time"):
        clock(simulator)()


def test_a_simulator_that_is_gone_is_an_error():
    with pytest.raises(
        SettingsError, match=r"BARLOOM_SIMULATOR_URL: http://127\.0\.0\.1:1/status does not tell the time"
    ):
        SimulatorClock("http://127.0.0.1:1/status")()


@pytest.mark.parametrize("url", ["https://127.0.0.1:4003", "http://example.org", "4003"])
def test_only_a_simulator_on_this_machine_is_asked(url):
    with pytest.raises(SettingsError, match="is not like http"):
        market_clock(Settings(simulator_url=url))


def test_real_money_has_no_simulated_clock():
    with pytest.raises(SettingsError, match="live trading has no simulated clock"):
        market_clock(Settings(simulator_url="http://127.0.0.1:4003", trading_mode="live"))
