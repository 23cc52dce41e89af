"""Five-second bars from the live stream, over TCP, into raw batches."""

import threading
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta

import pytest

from broker.errors import ContractError
from broker.ib.contracts import ContractBook
from broker.ib.messages import Resubscribed
from broker.ib.recorder import Recorder
from broker.ib.session import Session
from broker.ib.settings import SessionSettings
from tests.unit.broker.simulator.recordings import minutes
from warehouse.calendar import get_calendar
from warehouse.cleaning import rebuild_clean
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

OPEN = datetime(2024, 1, 8, 14, 30, tzinfo=UTC)
SECONDS = Resolution.SECONDS_5
CLIENT = 5


class Watch:
    """A clock that is moved by hand."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


class Tape:
    """A recorder at work on a thread; `told` holds the bars written after each flush."""

    def __init__(self, desk, session, store, symbols):
        self.desk, self.session, self.watch, self.stop = desk, session, Watch(), threading.Event()
        self.heard, self.told, self.done = session.listen(), [], None
        self.flushed = threading.Condition()
        self.recorder = Recorder(session, ContractBook(session), store, clock=self.watch)
        self.thread = threading.Thread(target=self._run, args=(symbols,))
        self.thread.start()

    def _run(self, symbols):
        self.done = self.recorder.run(symbols, self.stop, self._note)

    def _note(self, bars):
        with self.flushed:
            self.told.append(dict(bars))
            self.flushed.notify_all()

    def flush(self):
        """A minute passes."""
        with self.flushed:
            before = len(self.told)
            self.watch.seconds += 61
            assert self.flushed.wait_for(lambda: len(self.told) > before, 10)

    def step(self, bars=1):
        """Play bars, and let the recorder's session hear of them."""
        self.session.server_time()
        self.desk.command("step", bars=bars)
        self.session.server_time()

    def until(self, kind):
        """Wait for the session to say something of a kind."""
        while not isinstance(self.heard.get(timeout=10), kind):
            pass

    def end(self):
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.done


@pytest.fixture
def store(tmp_path):
    return Warehouse(tmp_path / "warehouse")


@pytest.fixture
def tape(start, store):
    """`tape(*symbols)` records; the recorder ends with the test."""
    with ExitStack() as stack:

        def begin(*symbols, folder=None):
            desk = start(*([folder] if folder else []), bars=0)
            settings = SessionSettings(port=desk.gateway.port, client_id=CLIENT, reset=None, retry_seconds=0.05)
            session = stack.enter_context(Session(settings))
            session.open()
            made = Tape(desk, session, store, symbols)
            stack.callback(made.end)
            subscribed(desk, len(symbols))
            return made

        yield begin


def streams(desk):
    """Numbers of the streams that the simulator feeds."""
    return [number for one in desk.gateway.simulation.desk.sessions.values() for number in one.subscriptions.bars]


def subscribed(desk, count):
    """Until the simulator feeds so many streams."""
    for _ in range(1000):
        if len(streams(desk)) == count:
            return
        threading.Event().wait(0.01)
    pytest.fail("timed out")


def stamps(store, symbol="AAPL"):
    return [stamp for batch in store.raw_batches(symbol, SECONDS) for stamp in batch["stamp"].to_pylist()]


def test_bars_are_stored_every_minute_and_at_the_end_stamped_at_their_open(tape, store):
    recording = tape("AAPL", "MSFT")
    recording.step()
    recording.flush()
    assert stamps(store)[0] == OPEN
    first = len(stamps(store))
    recording.step()
    done = recording.end()
    got = stamps(store)
    assert first < len(got)
    assert got == [OPEN + timedelta(seconds=5) * place for place in range(len(got))]
    assert done.bars == {"AAPL": len(got), "MSFT": len(stamps(store, "MSFT"))}
    assert done.ended == {}
    assert len(store.raw_batches("AAPL", SECONDS)) == 2
    assert {batch["stamped"][0].as_py() for batch in store.raw_batches("AAPL", SECONDS)} == {"open"}


def test_recorded_bars_become_clean_bars_stamped_at_their_close(tape, store):
    recording = tape("AAPL")
    recording.step(2)
    recording.end()
    rebuild_clean(store, "AAPL", SECONDS, get_calendar("XNYS"))
    clean = store.read_bars("AAPL", SECONDS)
    assert clean["ts"][0].as_py() == OPEN + timedelta(seconds=5)
    minute = recording.desk.series().bar(int((recording.desk.series().opens < OPEN.timestamp() * 1e6).sum()))
    assert clean["open"][0].as_py() == pytest.approx(minute.open)
    assert max(clean["high"].to_pylist()[:12]) == pytest.approx(minute.high, abs=0.005)


def test_a_reconnect_goes_on_without_a_bar_twice(tape, store):
    recording = tape("AAPL")
    recording.step()
    recording.desk.command("disconnect", client=CLIENT)
    recording.until(Resubscribed)
    recording.step()
    recording.flush()
    recording.step()
    done = recording.end()
    got = stamps(store)
    assert len(got) == len(set(got)) == done.bars["AAPL"]
    assert got == sorted(got)
    assert got[-1] > OPEN + timedelta(minutes=2)


def test_a_stream_that_is_over_ends_the_recording_and_says_why(tape, store):
    recording = tape("AAPL")
    recording.step()
    (number,) = streams(recording.desk)
    text = "Requested market data is not subscribed."
    recording.desk.command("error", code=354, text=text, client=CLIENT, req_id=number)
    recording.thread.join(10)
    assert not recording.thread.is_alive()
    assert recording.done.ended == {"AAPL": "354: no subscription to this market data: " + text}
    assert stamps(store)[0] == OPEN


def test_a_continuous_future_has_no_stream(start, store, tmp_path):
    minutes(tmp_path / "futures", "ES@CME", first=date(2024, 1, 5), last=date(2024, 1, 9))
    desk = start(tmp_path / "futures", bars=0)
    with Session(SessionSettings(port=desk.gateway.port, client_id=CLIENT, reset=None)) as session:
        session.open()
        with pytest.raises(ContractError, match="'ES@CME' is a continuous future"):
            Recorder(session, ContractBook(session), store).run(["ES@CME"], threading.Event())
