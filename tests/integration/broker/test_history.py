"""IB's history into the warehouse, over TCP: page by page, told apart from failures, never asked for twice."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime

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


def update(store, source, symbol, resolution, start, end, *, now=LATER, **options):
    done = update_raw(store, source, symbol, resolution, start, end, calendar=CALENDAR, now=now, **options)
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
        (162, "Historical Market Data Service error message:No market data permissions for NYSE STK", SourceRefusedError),
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
    with pytest.raises(SourceError, match="did not answer within 0.2 seconds"):
        gateway.source(seconds=0.2).fetch(JANUARY_3)


def test_an_unknown_symbol_is_one_sentence(line):
    with pytest.raises(UnknownSymbolError, match="^symbol: 'NONE' is not known at Interactive Brokers as a US stock"):
        line().source().fetch(replace(JANUARY_3, symbol="NONE"))


def test_a_length_of_bar_that_ib_is_not_asked_for_is_refused(line):
    with pytest.raises(SourceRefusedError, match="resolution: 5s bars are not downloaded"):
        line().source().fetch(replace(JANUARY_3, resolution=Resolution.SECONDS_5))


def test_the_simulators_own_limits_are_never_met(line, store):
    """With IB's limits in force at the gateway and shorter waits than real, nothing is refused."""
    gateway = line()
    gateway.desk.command("line", pacing=True)
    done = update(store, gateway.source(PacingLimits()), "AAPL", MINUTE, *WEEK)
    assert done.rows_added == 390 * 4


def test_hours_that_are_not_cut_on_the_clock_are_refused(line, tmp_path):
    root = tmp_path / "hours"
    rows = []
    for day, opens, closes in sessions(date(2024, 1, 2), date(2024, 1, 12)):
        ends = [*range(opens + 3_600_000_000, closes, 3_600_000_000), closes]
        rows += [(at, day, 10.0, 11.0, 9.0, 10.0, 100.0) for at in ends]
    record(root, "SPY", HOURLY, rows)
    with pytest.raises(SourceContractError, match="an hour begins at 10:30"):
        line(root, played=60).source().fetch(BarRequest("SPY", HOURLY, *WEEK))
