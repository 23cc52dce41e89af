"""Whatever a client sends, it gets an answer and the gateway lives."""

import asyncio
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.simulator.framing import fields_of
from broker.simulator.requests import LAYOUTS
from broker.simulator.server import Simulation
from broker.simulator.session import Session
from broker.simulator.settings import ClockMode, SimulatorSettings
from tests.unit.broker.simulator.recordings import minutes
from warehouse.store import Warehouse

DAY = date(2024, 1, 3)


class Wire:
    """Stands in for a socket."""

    def __init__(self):
        self.frames = []
        self.transport = self

    def write(self, content):
        self.frames.append(content)

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return False

    def can_write_eof(self):
        return False

    def close(self):
        pass

    @property
    def messages(self):
        """Decoded answers."""
        return [fields_of(frame[4:]) for frame in self.frames]


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    root = tmp_path_factory.mktemp("desk")
    minutes(root, "A", first=DAY, last=DAY)
    made = Simulation(SimulatorSettings(clock=ClockMode.STEPPED, start=DAY, fill_at_once=True), Warehouse(root))
    for _ in range(8):
        made.exchange.step()
    return made


WORD = st.one_of(
    st.sampled_from(
        ["", "0", "1", "-1", "2", "A", "STK", "BUY", "SELL", "LMT", "MKT", "SMART", "USD", "TRADES", "1 min"]
    ),
    st.sampled_from(
        ["1 D", "9999999 Y", "1e308", "1.7976931348623157e+308", "2147483647", "nan", "inf", "-5", "BAG", "x"]
    ),
    st.sampled_from(
        ["20240103 15:00:00", "99991231-23:59:59", "00000000 00:00:00", "20240103 15:00:00 Mars/Base", "100.5"]
    ),
    st.text(max_size=8).filter(lambda text: "\0" not in text),
)
IDS = st.sampled_from([3, *(number for number in LAYOUTS if number != 71), 0, 4711])


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(IDS, st.lists(WORD, max_size=120), st.sampled_from([157, 163, 170, 176]))
def test_any_message_is_survived(simulation, number, words, version):
    async def send():
        wire = Wire()
        session = Session(wire, version, simulation.faults)
        simulation.desk.receive(session, ["71", "2", "5", ""])
        simulation.desk.receive(session, [str(number), *words])
        simulation.desk.leave(session)
        return wire.messages

    messages = asyncio.run(send())
    assert messages[0] == ["15", "1", "DU1234567"]


ORDER_WORDS = {
    "symbol": ["A", "B", ""],
    "sec_type": ["STK", "BAG", "OPT"],
    "action": ["BUY", "SELL", "SSHORT", "?"],
    "quantity": ["1", "100", "0.5", "-3", "1e400", "nan", ""],
    "kind": ["MKT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MOC", "PEG BENCH"],
    "limit": ["", "100", "0.001", "1e308", "-2"],
    "aux": ["", "99.5", "1e20"],
    "tif": ["", "DAY", "GTC", "GTD", "IOC"],
    "good_till": ["", "20240103 15:00:00", "never"],
    "parent_id": ["", "1", "77"],
    "transmit": ["0", "1"],
    "what_if": ["0", "1"],
    "oca_group": ["", "g"],
    "oca_type": ["", "1", "2", "9"],
    "trail_percent": ["", "5", "150", "-4"],
}


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({name: st.sampled_from(words) for name, words in ORDER_WORDS.items()}), st.integers(1, 30))
def test_any_order_is_taken_or_refused(simulation, fields, order_id):
    from broker.simulator.errors import ProtocolError

    exchange = simulation.exchange
    exchange.news.clear()
    try:
        exchange.place(3, order_id, {**fields, "exchange": "SMART"})
    except ProtocolError:
        return
    assert exchange.news or fields["transmit"] == "0"
    assert exchange.ledger.cash.is_finite()


@pytest.mark.thorough
def test_a_client_that_does_not_read_holds_the_market_up_only_once(simulation):
    class Stuck(Wire):
        def get_write_buffer_size(self):
            return 1_000_000

        async def drain(self):
            await asyncio.sleep(60)

    async def drain():
        session, loop, waits = Session(Stuck(), 176, simulation.faults), asyncio.get_running_loop(), []
        for _ in range(3):
            began = loop.time()
            await session.drain()
            waits.append(loop.time() - began)
        return waits

    first, *later = asyncio.run(drain())
    assert first < 5
    assert max(later) < 0.1


def test_a_client_that_never_reads_is_disconnected(simulation):
    class Full(Wire):
        def get_write_buffer_size(self):
            return 65 << 20

    async def send():
        session = Session(Full(), 176, simulation.faults)
        session.send((49, 1, 0))
        return session.closed

    assert asyncio.run(send())


def test_nothing_is_answered_before_the_client_has_named_itself(simulation):
    async def send():
        wire = Wire()
        simulation.desk.receive(Session(wire, 176, simulation.faults), ["61", "1"])
        return wire.messages

    ((kind, _, _, code, *_),) = asyncio.run(send())
    assert (kind, code) == ("4", "321")


def test_a_clock_set_inside_a_session_knows_the_session_so_far(simulation):
    market = simulation.exchange.market
    series, now = market.tape.moving("A"), market.now
    market.seek(int(series.closes[99]) + 30_000_000)
    quote = market.quotes["A"]
    assert quote.volume == series.volume[:100].sum()
    assert quote.open == series.prices[0, 0]
    assert (quote.bar.closes, quote.price) == (series.closes[100], series.bar(100).path[1])
    assert quote.high >= series.prices[:100, 1].max()
    market.seek(now)
