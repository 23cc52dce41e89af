"""`barloom download --source ib` from a simulated gateway, over TCP, through the production graph."""

import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from threading import Event

import pytest

from broker.ib.session import Session
from broker.simulator.background import BackgroundGateway
from broker.simulator.settings import ClockMode, SimulatorSettings
from pipelines.cli.app import run
from pipelines.gateways import Purpose, open_session, session_settings
from pipelines.settings import Settings
from tests.unit.broker.simulator.recordings import minutes
from warehouse.actions import rebuild_actions
from warehouse.calendar import get_calendar
from warehouse.cleaning import rebuild_clean
from warehouse.errors import SourceError
from warehouse.ingest import update_raw
from warehouse.resolution import Resolution
from warehouse.rollup import roll_up
from warehouse.sources.sample import SampleSource
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

DAILY, HOURLY, MINUTE = Resolution.DAILY, Resolution.HOURLY, Resolution.MINUTE
CALENDAR = get_calendar("XNYS")
SPAN = (date(2004, 6, 1), date(2013, 2, 28))
RANGE = ["--start", str(SPAN[0]), "--end", str(SPAN[1])]


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """The sample's AAPL and IBM, which have splits and dividends."""
    store = Warehouse(tmp_path_factory.mktemp("market"))
    for symbol in ("AAPL", "IBM"):
        now = datetime(2013, 3, 2, tzinfo=UTC)
        update_raw(store, SampleSource(), symbol, DAILY, date(2000, 3, 1), date(2013, 3, 1), calendar=CALENDAR, now=now)
        rebuild_actions(store, symbol, CALENDAR)
        rebuild_clean(store, symbol, DAILY, CALENDAR)
    return store


@pytest.fixture
def gateway(market, tmp_path, monkeypatch):
    """A gateway on the evening of 2013-03-01, and an empty project that knows its port."""
    settings = SimulatorSettings(port=0, clock=ClockMode.STEPPED, start=date(2013, 3, 1))
    with BackgroundGateway(settings, market) as running:
        running.command("step", bars=1)
        monkeypatch.setenv("BARLOOM_IB_PORT", str(running.port))
        monkeypatch.chdir(tmp_path)
        yield running


def download(*arguments):
    return run(["download", "--source", "ib", *arguments])


def test_ib_gives_what_the_sample_gives_for_splits_and_dividends(gateway, market, tmp_path, capsys):
    assert download("--symbols", "AAPL", "IBM", *RANGE) == 0
    printed = capsys.readouterr()
    assert "AAPL    2202  2004-06-01  2013-02-28" in printed.out
    assert "pages" in printed.err
    store = Warehouse(tmp_path / "data")
    for symbol in ("AAPL", "IBM"):
        got = store.read_bars(symbol, DAILY)
        expected = market.read_bars(symbol, DAILY, start=SPAN[0], end=SPAN[1])
        assert got["ts"].to_pylist() == expected["ts"].to_pylist()
        for name in ("open", "close"):
            ours, theirs = got[name].to_numpy(), expected[name].to_numpy()
            assert ours / ours[-1] == pytest.approx(theirs / theirs[-1], rel=2e-4), (symbol, name)
        assert got["volume"].to_numpy() == pytest.approx(expected["volume"].to_numpy())
    split = date(2005, 2, 28)
    day = CALENDAR.previous_session(split)
    jump = store.read_bars("AAPL", DAILY, start=day, end=split, adjust="none")["close"].to_numpy()
    assert jump[1] / jump[0] == pytest.approx(1.0, abs=0.05)  # not a half: IB's trades know of splits


def test_a_second_download_asks_for_nothing(gateway, capsys):
    assert download("--symbols", "AAPL", *RANGE) == 0
    gateway.command("fault", request="history", action="error", code=321, text="nobody should ask")
    assert download("--symbols", "AAPL", *RANGE) == 0


def test_an_unknown_symbol_is_told_and_loses_no_other(gateway, tmp_path, capsys):
    assert download("--symbols", "AAPL", "NONE", "--start", "2012-01-03", "--end", "2012-02-01") == 1
    told = capsys.readouterr().err
    assert "NONE: symbol: 'NONE' is not known at Interactive Brokers as a US stock or ETF." in told
    assert Warehouse(tmp_path / "data").read_clean("AAPL", DAILY).num_rows == 21


def test_without_a_gateway_one_sentence_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BARLOOM_IB_PORT", "1")
    assert download("--symbols", "AAPL", "IBM", *RANGE) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ib: ")]
    assert len(told) == 1
    assert told[0].startswith("ib: 127.0.0.1:1 cannot be reached")
    assert told[0].endswith("; start TWS, IB Gateway or `barloom gateway simulate`, and see `barloom gateway check`.")


def test_a_download_waits_for_the_one_before_it(gateway, monkeypatch, capsys):
    """Two at a time would share IB's limits without knowing, and one client id."""
    with Session(session_settings(Settings(ib_port=gateway.port), Purpose.DOWNLOAD)) as first:
        first.open()
        monkeypatch.setattr("pipelines.gateways.sleep", lambda _: first.close())
        assert download("--symbols", "AAPL", "--start", "2012-01-03", "--end", "2012-02-01") == 0


def test_a_session_that_needs_no_turn_says_at_once_that_the_id_is_in_use(gateway):
    wanted = session_settings(Settings(ib_port=gateway.port), Purpose.RECORD)
    with Session(wanted) as first:
        first.open()
        with pytest.raises(SourceError, match="client_id: 13 is in use"), open_session(wanted):
            pass


def test_minutes_and_hours_go_all_the_way(tmp_path, monkeypatch):
    root = tmp_path / "market"
    minutes(root, "AAPL")
    rebuilt = roll_up(Warehouse(root).read_clean("AAPL", MINUTE), HOURLY, CALENDAR)
    Warehouse(root).write_clean("AAPL", HOURLY, rebuilt)  # hours from the open, which are not IB's
    monkeypatch.chdir(tmp_path)
    settings = SimulatorSettings(port=0, clock=ClockMode.STEPPED, start=date(2024, 1, 12))
    with BackgroundGateway(settings, Warehouse(root)) as running:
        monkeypatch.setenv("BARLOOM_IB_PORT", str(running.port))
        span = ["--start", "2024-01-02", "--end", "2024-01-04"]
        assert download("--symbols", "AAPL", "--resolution", "Minute", *span) == 0
        assert download("--symbols", "AAPL", "--resolution", "Hour", *span) == 0
    store = Warehouse(tmp_path / "data")
    assert store.read_clean("AAPL", MINUTE).num_rows == 3 * 390
    assert store.read_clean("AAPL", HOURLY).num_rows == 3 * 7
    assert store.read_clean("AAPL", HOURLY)["ts"][0].as_py() == datetime(2024, 1, 2, 15, tzinfo=UTC)


def test_five_second_bars_are_recorded_from_the_command_line(tmp_path, monkeypatch, capsys):
    minutes(tmp_path / "market", "AAPL")
    monkeypatch.chdir(tmp_path)
    settings = SimulatorSettings(port=0, clock=ClockMode.REPLAY, speed=600.0, start=date(2024, 1, 8))
    with BackgroundGateway(settings, Warehouse(tmp_path / "market")) as running:
        line = ["gateway", "record", "--symbols", "AAPL", "--port", str(running.port), "--minutes", "0.05"]
        assert run(line) == 0
    batches = Warehouse(tmp_path / "data").raw_batches("AAPL", Resolution.SECONDS_5)
    count = sum(batch.num_rows for batch in batches)
    assert count > 0
    assert f"AAPL {count} bars recorded" in capsys.readouterr().out


def test_ctrl_c_ends_a_download_that_waits_for_ibs_limits_and_keeps_its_pages(gateway, tmp_path):
    """Three requests in ten minutes: the beginning, a page and the dividends; the second page would wait."""
    environment = {**os.environ, "BARLOOM_IB_REQUESTS": "3"}
    command = [sys.executable, "-m", "pipelines.cli", "download", "--source", "ib", "--symbols", "AAPL", *RANGE]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as child:
        raw = Warehouse(tmp_path / "data")
        for _ in range(600):
            if raw.raw_batches("AAPL", DAILY):
                break
            Event().wait(0.1)
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=60)
    assert child.returncode != 0
    assert b"Interrupted" in told
    (batch,) = raw.raw_batches("AAPL", DAILY)
    assert batch["stamp"][-1].as_py().date() == SPAN[1]
