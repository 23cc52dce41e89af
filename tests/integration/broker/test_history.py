"""IB's history into the warehouse, over TCP: page by page, told apart from failures, never asked for twice."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from broker.ib.contracts import ContractBook
from broker.ib.history import IBSource
from broker.ib.pacing import Pacer, PacingLimits
from broker.ib.session import Session
from broker.ib.settings import SessionSettings
from broker.simulator.history import Historian
from tests.unit.broker.simulator.recordings import record, sessions
from warehouse.actions import rebuild_actions
from warehouse.calendar import get_calendar
from warehouse.cleaning import rebuild_clean
from warehouse.errors import SourceContractError, SourceError, SourceRefusedError, UnknownSymbolError
from warehouse.ingest import update_raw
from warehouse.resolution import Resolution
from warehouse.sources.protocol import BarRequest
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

CALENDAR = get_calendar("XNYS")
DAILY, HOURLY, MINUTE = Resolution.DAILY, Resolution.HOURLY, Resolution.MINUTE
LATER = datetime(2024, 6, 1, tzinfo=UTC)
QUICK = PacingLimits(requests=10_000, identical=0, burst=10_000, margin=0)
ALL = 390 * 9 + 10


class Log(Historian):
    """Notes every request for bars that reaches the simulator."""

    def understand(self, request, instrument):
        self.asked.append(tuple(request.text(name) for name in ("what", "bar_size", "duration", "end")))
        return super().understand(request, instrument)


class Line:
    """A gateway over a folder, a session with it, and what was asked."""

    def __init__(self, desk, stack, *, client_id=5):
        self.desk = desk
        data = desk.gateway.simulation.desk.data
        log = Log(data.historian.market, data.historian.adjusted)
        log.asked = self.asked = []
        data.historian = log
        settings = SessionSettings(port=desk.gateway.port, client_id=client_id, reset=None, retry_seconds=0.05)
        self.session = stack.enter_context(Session(settings))
        self.session.open()

    def source(self, limits=QUICK, *, sleep=None, seconds=5.0):
        return IBSource(
            self.session, ContractBook(self.session), Pacer(limits, sleep=sleep), CALENDAR,
            now=lambda: LATER, seconds=seconds,
        )  # fmt: skip


@pytest.fixture
def line(start):
    """`line(folder?)` is a gateway whose recording has been played to its end, with a session."""
    with ExitStack() as stack:

        def begin(*folder, played=ALL, first=date(2024, 1, 8), **options):
            desk = start(*folder, bars=0, start=first)
            desk.command("seek", to=options.pop("to")) if "to" in options else desk.command("step", bars=played)
            return Line(desk, stack, **options)

        yield begin


@pytest.fixture
def store(tmp_path):
    return Warehouse(tmp_path / "warehouse")


def update(store, source, symbol, resolution, *span, now=LATER, **options):
    done = update_raw(store, source, symbol, resolution, *span, calendar=CALENDAR, now=now, **options)
    rebuild_actions(store, symbol, CALENDAR)
    rebuild_clean(store, symbol, resolution, CALENDAR)
    return done


def same_bars(got, expected):
    assert got["ts"].to_pylist() == expected["ts"].to_pylist()
    assert got["session"].to_pylist() == expected["session"].to_pylist()
    for name in ("open", "high", "low", "close", "volume"):
        assert got[name].to_numpy() == pytest.approx(expected[name].to_numpy()), name


WEEK = (date(2024, 1, 2), date(2024, 1, 5))


def test_minutes_come_back_as_they_were_recorded_stamped_at_their_close(line, store, recording):
    update(store, line().source(), "AAPL", MINUTE, *WEEK)
    got = store.read_bars("AAPL", MINUTE)
    same_bars(got, Warehouse(recording).read_bars("AAPL", MINUTE, start=WEEK[0], end=WEEK[1]))
    raw = store.raw_batches("AAPL", MINUTE)
    first = min(batch["stamp"][0].as_py() for batch in raw)
    assert first == datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    assert got["ts"][0].as_py() == datetime(2024, 1, 2, 14, 31, tzinfo=UTC)
    assert {batch["stamped"][0].as_py() for batch in raw} == {"open"}
    assert {batch["what_to_show"][0].as_py() for batch in raw} == {"TRADES"}


def test_hours_close_on_the_clock(line, store, recording):
    update(store, line().source(), "AAPL", HOURLY, *WEEK)
    got = store.read_bars("AAPL", HOURLY)
    closes = [ts.strftime("%H:%M") for ts in got["ts"].to_pylist()[:7]]
    assert closes == ["15:00", "16:00", "17:00", "18:00", "19:00", "20:00", "21:00"]
    assert got.num_rows == 7 * 4
    recorded = Warehouse(recording).read_bars("AAPL", MINUTE, start=WEEK[0], end=WEEK[1])
    ends = recorded["ts"].to_pylist()
    for row in got.to_pylist():
        assert row["close"] == recorded["close"][ends.index(row["ts"])].as_py()
    assert sum(got["volume"].to_pylist()) == sum(recorded["volume"].to_pylist())


def test_days_are_sessions(line, store):
    update(store, line().source(), "AAPL", DAILY, *WEEK)
    got = store.read_bars("AAPL", DAILY)
    assert got["session"].to_pylist() == CALENDAR.sessions(*WEEK)
    assert got["ts"][0].as_py() == datetime(2024, 1, 2, 21, tzinfo=UTC)
    (batch,) = store.raw_batches("AAPL", DAILY)
    assert batch["stamp"][0].as_py() == datetime(2024, 1, 2, tzinfo=UTC)
    assert batch["stamped"][0].as_py() == "session"


def test_minutes_are_asked_for_a_session_at_a_time_newest_first(line, store):
    gateway = line()
    update(store, gateway.source(), "AAPL", MINUTE, *WEEK)
    assert gateway.asked == [
        ("TRADES", "1 min", "1 D", f"202401{day} 05:00:00 UTC") for day in ("06", "05", "04", "03")
    ]


def test_a_year_of_days_is_one_request_and_one_for_the_dividends(line, store):
    gateway = line()
    update(store, gateway.source(), "AAPL", DAILY, date(2023, 6, 1), date(2024, 1, 11))
    assert gateway.asked == [
        ("TRADES", "1 day", "161 D", "20240112 05:00:00 UTC"),
        ("ADJUSTED_LAST", "1 day", "262 D", ""),
    ]


def test_what_lies_before_the_first_bar_is_not_asked_for(line, store):
    gateway = line()
    done = update(store, gateway.source(), "AAPL", MINUTE, date(2001, 1, 2), date(2024, 1, 4))
    assert len(gateway.asked) == 3
    assert done.rows_added == 390 * 3
    again = update(store, gateway.source(), "AAPL", MINUTE, date(2001, 1, 2), date(2024, 1, 4))
    assert again.up_to_date


# -------------------------------------------------------------------- what refusals mean

JANUARY_3 = BarRequest("AAPL", MINUTE, date(2024, 1, 3), date(2024, 1, 3))


def refuse(gateway, code, text, **more):
    gateway.desk.command("fault", request="history", action="error", code=code, text=text, **more)


def test_no_data_is_an_empty_page_and_no_failure(line, store):
    gateway = line()
    refuse(gateway, 162, "Historical Market Data Service error message:HMDS query returned no data: X", times=1)
    assert gateway.source().fetch(JANUARY_3).table.num_rows == 0
    assert gateway.source().fetch(JANUARY_3).table.num_rows == 390


def test_pages_go_on_past_one_without_data(line, store):
    gateway = line()
    refuse(gateway, 162, "Historical Market Data Service error message:HMDS query returned no data: X", times=1, skip=1)
    done = update(store, gateway.source(), "AAPL", MINUTE, *WEEK)
    assert (done.rows_added, len(done.batches)) == (390 * 3, 3)


def test_a_pacing_violation_is_waited_out_and_asked_again(line):
    gateway, slept = line(), []
    refuse(
        gateway, 162, "Historical Market Data Service error message:Historical data request pacing violation", times=2
    )
    source = gateway.source(replace(QUICK, attempts=3), sleep=slept.append)
    clock = iter(range(0, 10_000, 1000))
    source._pacer._clock = lambda: float(next(clock))
    assert source.fetch(JANUARY_3).table.num_rows == 390


def test_a_pacing_violation_that_does_not_end_is_a_failure(line):
    gateway = line()
    refuse(gateway, 162, "Historical Market Data Service error message:Historical data request pacing violation")
    source = gateway.source(replace(QUICK, attempts=1))
    with pytest.raises(SourceError, match="pacing violation"):
        source.fetch(JANUARY_3)


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (162, "Historical Market Data Service error message:API historical data query cancelled: 7", SourceError),
        (366, "No historical data query found for ticker id:7", SourceError),
        (162, "Historical Market Data Service error message:No market data permissions for STK", SourceRefusedError),
        (321, "Error validating request.-'bB' : cause - Invalid duration", SourceRefusedError),
        (354, "Requested market data is not subscribed.", SourceRefusedError),
        (200, "No security definition has been found for the request", UnknownSymbolError),
    ],
)  # fmt: skip
def test_a_refusal_is_never_an_empty_answer(line, code, text, kind):
    gateway = line()
    refuse(gateway, code, text)
    with pytest.raises(SourceError, match=str(code)) as caught:
        gateway.source().fetch(JANUARY_3)
    assert type(caught.value) is kind


def test_an_answer_that_does_not_come_is_a_failure(line):
    gateway = line()
    gateway.desk.command("fault", request="history", action="swallow")
    with pytest.raises(SourceError, match=r"did not answer within 0\.2 seconds"):
        gateway.source(seconds=0.2).fetch(JANUARY_3)


def test_after_a_lost_connection_the_next_try_waits_for_the_new_one(line):
    gateway = line()
    gateway.desk.command("fault", request="history", action="close", times=1)
    source = gateway.source()
    with pytest.raises(SourceError, match="the connection to the gateway ended"):
        source.fetch(JANUARY_3)
    assert source.fetch(JANUARY_3).table.num_rows == 390


def test_an_unknown_symbol_is_one_sentence(line):
    with pytest.raises(UnknownSymbolError, match=r"^symbol: 'NONE' is not known at Interactive Brokers as a US stock"):
        line().source().fetch(replace(JANUARY_3, symbol="NONE"))


def test_a_length_of_bar_that_ib_is_not_asked_for_is_refused(line):
    with pytest.raises(SourceRefusedError, match="resolution: 5s bars are not downloaded"):
        line().source().fetch(replace(JANUARY_3, resolution=Resolution.SECONDS_5))


def test_the_simulators_own_limits_are_never_met(line, store):
    """With IB's limits in force at the gateway, seven questions about one contract wait and none is refused."""
    gateway = line()
    gateway.desk.command("line", pacing=True)
    done = update(store, gateway.source(PacingLimits()), "AAPL", MINUTE, WEEK[0], date(2024, 1, 10))
    assert done.rows_added == 390 * 7


def test_hours_that_are_not_cut_on_the_clock_are_refused(line, tmp_path):
    root = tmp_path / "hours"
    rows = []
    for day, opens, closes in sessions(date(2024, 1, 2), date(2024, 1, 12)):
        ends = [*range(opens + 3_600_000_000, closes, 3_600_000_000), closes]
        rows += [(at, day, 10.0, 11.0, 9.0, 10.0, 100.0) for at in ends]
    record(root, "SPY", HOURLY, rows)
    with pytest.raises(SourceContractError, match="an hour begins at 10:30"):
        line(root, played=60).source().fetch(BarRequest("SPY", HOURLY, *WEEK))


# -------------------------------------------------------------------- killed and resumed


def ends(gateway):
    """The last dates of the pages that were asked for."""
    return [f"{end[6:8]}" for what, _, _, end in gateway.asked if what == "TRADES"]


def test_after_an_error_only_the_rest_is_asked_for(line, store, recording):
    gateway = line()
    refuse(gateway, 162, "Historical Market Data Service error message:API historical data query cancelled: 7", skip=2)
    with pytest.raises(SourceError, match="cancelled"):
        update(store, gateway.source(), "AAPL", MINUTE, WEEK[0], date(2024, 1, 10))
    assert (ends(gateway), len(store.raw_batches("AAPL", MINUTE))) == (["11", "10"], 2)  # the third was refused
    gateway.desk.command("clear_faults")
    gateway.asked.clear()
    done = update(store, gateway.source(), "AAPL", MINUTE, WEEK[0], date(2024, 1, 10))
    assert ends(gateway) == ["10", "09", "06", "05", "04", "03"]  # one stored session again, then what was missing
    assert done.rows_added == 390 * 5
    whole = Warehouse(recording).read_bars("AAPL", MINUTE, start=WEEK[0], end=date(2024, 1, 10))
    same_bars(store.read_bars("AAPL", MINUTE), whole)


DOWNLOAD = """
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from broker.ib.contracts import ContractBook
from broker.ib.history import IBSource
from broker.ib.pacing import Pacer, PacingLimits
from broker.ib.session import Session
from broker.ib.settings import SessionSettings
from warehouse.calendar import get_calendar
from warehouse.ingest import update_raw
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

calendar = get_calendar("XNYS")
with Session(SessionSettings(port=int(sys.argv[1]), client_id=6, reset=None)) as session:
    session.open()
    pacer = Pacer(PacingLimits(requests=10_000, identical=0, burst=10_000, margin=0))
    source = IBSource(session, ContractBook(session), pacer, calendar)
    update_raw(
        Warehouse(Path(sys.argv[2])), source, "AAPL", Resolution.MINUTE, date(2024, 1, 2), date(2024, 1, 10),
        calendar=calendar, now=datetime(2024, 6, 1, tzinfo=UTC),
        on_page=lambda page: print(page.done, flush=True),
    )
"""


def test_after_a_kill_only_the_rest_is_asked_for(line, store, recording):
    """The third page never comes; the process that waits for it is killed."""
    gateway = line()
    gateway.desk.command("fault", request="history", action="swallow", skip=2)
    command = [sys.executable, "-c", DOWNLOAD, str(gateway.desk.gateway.port), str(store.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as child:
        for told in child.stdout:
            if told.strip() == "2":
                break
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert sorted(b["stamp"][0].as_py().day for b in store.raw_batches("AAPL", MINUTE)) == [9, 10]
    gateway.desk.command("clear_faults")
    gateway.asked.clear()
    update(store, gateway.source(), "AAPL", MINUTE, WEEK[0], date(2024, 1, 10))
    assert ends(gateway) == ["10", "09", "06", "05", "04", "03"]
    whole = Warehouse(recording).read_bars("AAPL", MINUTE, start=WEEK[0], end=date(2024, 1, 10))
    same_bars(store.read_bars("AAPL", MINUTE), whole)


# -------------------------------------------------------------------- dividends, splits, other instruments


def walk(count, *, first=date(2021, 1, 4), dividends=(), scale=lambda place: 1.0):
    """Rows of daily bars: a price in cents, a dividend of 1 % before each of the given places."""
    rng = np.random.default_rng(3)
    price, rows = 100.0, []
    spans = list(sessions(first, date(2024, 1, 12)))[:count]
    for place, (day, _, closes) in enumerate(spans):
        then = round(price + float(rng.integers(-50, 51)) / 100, 2)
        by = scale(place)
        factor = 0.99 ** sum(place < paid for paid in dividends)
        bar = tuple(round(value * by, 4) for value in (price, max(price, then) + 0.3, min(price, then) - 0.3, then))
        rows.append((closes, day, *bar, 1000.0 / by, True, factor))
        price = then
    return rows


def test_dividends_are_found_wherever_pages_meet(line, store, tmp_path):
    """One is paid on the first session of a page, one on the last, one in between."""
    places = (300, 600 - 245, 600 - 245 - 1)
    rows = walk(600, dividends=places)
    record(tmp_path / "market", "SPY", DAILY, rows)
    gateway = line(tmp_path / "market", played=600, first=date(2021, 1, 5))
    update(store, gateway.source(), "SPY", DAILY, rows[0][1], rows[-1][1])
    actions = store.read_actions("SPY").to_pylist()
    assert [action["ex_date"] for action in actions] == sorted(rows[place][1] for place in places)
    assert [action["ratio"] for action in actions] == pytest.approx([0.99] * 3)
    assert {(action["kind"], action["evidence"]) for action in actions} == {("dividend", "factor")}
    closes = [row[5] * row[8] for row in rows]
    assert store.read_bars("SPY", DAILY)["close"].to_numpy() == pytest.approx(np.array(closes))
    assert [what for what, *_ in gateway.asked].count("ADJUSTED_LAST") == 1


def test_a_split_between_two_downloads_leaves_one_scale(line, store, tmp_path):
    """IB divides all that was before the split, when it has happened."""
    record(tmp_path / "before", "SPY", DAILY, walk(300))
    after = walk(320, scale=lambda place: 0.5 if place < 310 else 1.0)
    record(tmp_path / "after", "SPY", DAILY, after)
    days_of = [row[1] for row in after]
    gateway = line(tmp_path / "before", played=300, first=days_of[1])
    update(store, gateway.source(), "SPY", DAILY, days_of[0], days_of[299], now=LATER - timedelta(days=9))
    gateway = line(tmp_path / "after", played=320, first=days_of[1])
    update(store, gateway.source(), "SPY", DAILY, days_of[0], days_of[319])
    got = store.read_bars("SPY", DAILY)
    assert got["close"].to_numpy() == pytest.approx(np.array([row[5] for row in after]))
    assert got["volume"].to_numpy() == pytest.approx(np.array([row[6] for row in after]))
    assert [what for what, *_ in gateway.asked] == ["TRADES", "ADJUSTED_LAST"]


def test_a_split_in_the_middle_of_a_download_leaves_one_scale(line, store, tmp_path):
    """The newest page came before the split, the others after the process was started again."""
    whole = walk(600)
    halved = walk(600, scale=lambda place: 0.5)
    record(tmp_path / "before", "SPY", DAILY, whole)
    record(tmp_path / "after", "SPY", DAILY, halved)
    span = (whole[0][1], whole[-1][1])
    gateway = line(tmp_path / "before", played=600, first=date(2021, 1, 5))
    refuse(gateway, 162, "API historical data query cancelled", skip=2)  # a page and the adjusted closes came
    with pytest.raises(SourceError):
        update(store, gateway.source(), "SPY", DAILY, *span, now=LATER - timedelta(days=9))
    gateway = line(tmp_path / "after", played=600, first=date(2021, 1, 5))
    update(store, gateway.source(), "SPY", DAILY, *span)
    got = store.read_bars("SPY", DAILY)
    assert got["close"].to_numpy() == pytest.approx(np.array([row[5] for row in halved]))


def test_a_currency_pair_has_midpoints_and_no_volume(line, store, tmp_path):
    record(tmp_path / "market", "EUR.USD", DAILY, [(*row[:6], float("nan")) for row in walk(30)])
    gateway = line(tmp_path / "market", played=30, first=date(2021, 1, 5))
    update(store, gateway.source(), "EUR.USD", DAILY, date(2021, 1, 4), date(2021, 2, 1))
    assert {what for what, *_ in gateway.asked} == {"MIDPOINT"}
    got = store.read_bars("EUR.USD", DAILY)
    assert (got.num_rows, got["volume"].null_count) == (20, 20)
    assert store.raw_batches("EUR.USD", DAILY)[0]["what_to_show"][0].as_py() == "MIDPOINT"
