"""Hours and days where the source has only minutes; what one vendor delivers is never derived."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import pyarrow as pa
import pytest

from pipelines.keys import SYMBOL_ASSETS
from pipelines.runs import materialize_symbols
from warehouse.calendar import get_calendar
from warehouse.resolution import Resolution
from warehouse.schema import VENDOR_SCHEMA
from warehouse.sources.protocol import VendorBars

pytestmark = pytest.mark.integration

FIRST, LAST = date(2012, 11, 21), date(2012, 11, 26)  # Thanksgiving between them, and a close at 13:00
RANGE = {"raw_bars": {"start": FIRST.isoformat(), "end": LAST.isoformat()}}
MINUTES = {date(2012, 11, 21): 390, date(2012, 11, 23): 210, date(2012, 11, 26): 390}


@dataclass
class MinutesOnly:
    """A vendor of minute bars, open-stamped, whose price rises by one cent a minute; of other lengths it has none."""

    history_start: str = "2012-11-21"
    overlap_sessions: int = 1
    name: str = "minutes"
    lengths: set[Resolution] = field(default_factory=lambda: {Resolution.MINUTE})

    @contextmanager
    def opened(self, calendar):
        yield self

    def on_page(self, page):
        pass

    def stop(self):
        pass

    def symbols(self):
        return ["AAA"]

    def fetch(self, request):
        if request.resolution not in self.lengths:
            return VendorBars(VENDOR_SCHEMA.empty_table(), "open")
        calendar = get_calendar("XNYS")
        stamps = [
            calendar.open_utc(session) + timedelta(minutes=minute)
            for session in calendar.sessions(FIRST, LAST)
            for minute in range(calendar.minutes_in_session(session))
        ]
        asked = [request.start <= stamp.date() <= request.end for stamp in stamps]
        return VendorBars(_rising(stamps).filter(pa.array(asked)), "open")


def _rising(stamps: list[datetime]) -> pa.Table:
    rows = [
        {"stamp": stamp, "open": 100 + i / 100, "high": 100.02 + i / 100, "low": 99.99 + i / 100,
         "close": 100.01 + i / 100, "volume": 100.0}
        for i, stamp in enumerate(stamps)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=VENDOR_SCHEMA)


@pytest.fixture
def desk(project):
    project.resources["source"] = MinutesOnly()
    project.rebuild()
    return project


def update(project, resolution):
    return materialize_symbols(
        project.instance, SYMBOL_ASSETS, ["AAA"], resolution, run_config=RANGE, defs=project.defs
    )


def errors(outcome):
    return {name: sentence for name, sentence in outcome.failures.items() if not sentence.startswith("quality")}


def test_minute_bars_become_hours_and_days_on_session_boundaries(desk):
    for resolution in ("1m", "1h", "1d"):
        assert errors(update(desk, resolution)) == {}
    minutes, hours, days = (
        desk.store.read_clean("AAA", r) for r in (Resolution.MINUTE, Resolution.HOURLY, Resolution.DAILY)
    )
    assert minutes.num_rows == sum(MINUTES.values())
    assert hours.num_rows == 7 + 4 + 7
    assert days["session"].to_pylist() == list(MINUTES)
    assert days["volume"].to_pylist() == [100.0 * count for count in MINUTES.values()]
    assert days["open"].to_pylist()[0] == 100.0
    assert days["close"].to_pylist()[-1] == pytest.approx(100 + sum(MINUTES.values()) / 100)
    assert f"{days['ts'][1].as_py():%H:%M}" == "18:00"  # 13:00 in New York


def test_days_are_derived_from_minutes_when_nobody_made_hours(desk):
    update(desk, "1m")
    assert errors(update(desk, "1d")) == {}
    assert desk.store.read_clean("AAA", Resolution.DAILY).num_rows == 3


def test_without_any_finer_bars_the_failure_says_so(desk):
    outcome = update(desk, "1h")
    assert "no raw 1h bars, and no finer bars to derive them from" in outcome.failures["AAA"]


def test_more_minutes_make_the_derived_days_again(desk):
    early = {"raw_bars": {"start": "2012-11-21", "end": "2012-11-23"}}
    materialize_symbols(desk.instance, SYMBOL_ASSETS, ["AAA"], "1m", run_config=early, defs=desk.defs)
    update(desk, "1d")
    assert desk.store.read_clean("AAA", Resolution.DAILY).num_rows == 2
    update(desk, "1m")
    update(desk, "1d")
    assert desk.store.read_clean("AAA", Resolution.DAILY).num_rows == 3
