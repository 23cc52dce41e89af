"""The ways in which simulated time passes."""

import itertools
import math
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from broker.simulator.errors import SimulatorSettingsError
from broker.simulator.settings import ClockMode
from tests.unit.broker.simulator.recordings import MINUTE, record
from warehouse.calendar import get_calendar
from warehouse.resolution import Resolution

pytestmark = pytest.mark.integration


def now(desk):
    return datetime.fromisoformat(desk.command("status")["now"])


def test_replay_runs_at_its_speed_and_can_be_paused(start):
    desk = start(bars=0, clock=ClockMode.REPLAY, speed=600.0)
    ib = desk.client()
    began, wall = now(desk), time.monotonic()
    bars = ib.reqRealTimeBars(desk.stock(ib), 5, "TRADES", True)
    desk.until(ib, lambda: len(bars) >= 36)
    passed = (now(desk) - began).total_seconds()
    assert passed == pytest.approx(600 * (time.monotonic() - wall), rel=0.5)
    gaps = {(later.time - earlier.time).total_seconds() for earlier, later in itertools.pairwise(bars)}
    assert gaps == {5.0}
    desk.command("pause")
    ib.sleep(0.3)
    there = now(desk)
    ib.sleep(0.3)
    assert now(desk) == there
    desk.command("resume")
    desk.until(ib, lambda: now(desk) > there)


def test_an_order_fills_at_once_while_the_market_is_open(start):
    desk = start(bars=0, clock=ClockMode.REPLAY, speed=1.0)
    ib = desk.client()
    desk.until(ib, lambda: "AAPL" in desk.command("status")["prices"])
    trade = ib.placeOrder(desk.stock(ib), desk.insync.MarketOrder("BUY", 5))
    began = time.monotonic()
    desk.until(ib, lambda: trade.orderStatus.status == "Filled")
    assert time.monotonic() - began < 1


def test_as_fast_as_possible_plays_to_the_end_and_loses_nothing(start):
    desk = start(bars=0, clock=ClockMode.REPLAY, speed=1.0)
    ib = desk.client()
    desk.command("pause")
    ticks, seen = ib.reqTickByTickData(desk.stock(ib), "Last"), []
    ticks.updateEvent += lambda t: seen.extend(tick.price for tick in t.tickByTicks)
    desk.settle(ib)
    desk.command("speed", speed="max")
    desk.command("resume")
    desk.until(ib, lambda: desk.command("status")["ended"], seconds=60)
    desk.settle(ib)
    series = desk.series()
    first = 4 * 390
    path = [price for n in range(first, len(series)) for price in series.bar(n).path]
    assert len(seen) >= len(path) - 8  # a price or two may have been printed before the subscription
    assert seen[-200:] == path[-200:]
    assert math.isclose(desk.command("status")["prices"]["AAPL"], path[-1])


def test_seek_moves_without_trading(start):
    desk = start(bars=0, clock=ClockMode.STEPPED)
    ib = desk.client()
    trade = ib.placeOrder(desk.stock(ib), desk.insync.LimitOrder("BUY", 5, 150.0, tif="GTC"))
    day = ib.placeOrder(desk.stock(ib), desk.insync.LimitOrder("BUY", 5, 50.0))
    desk.settle(ib)
    desk.command("seek", to="2024-01-10T15:00:00+00:00")
    desk.settle(ib)
    assert (trade.orderStatus.status, day.orderStatus.status) == ("PreSubmitted", "Cancelled")
    assert now(desk) == datetime(2024, 1, 10, 15, tzinfo=UTC)
    bars = ib.reqHistoricalData(desk.stock(ib), "", "1 D", "1 min", "TRADES", True, 2)
    assert bars[-1].date == datetime(2024, 1, 10, 14, 59, tzinfo=UTC)
    desk.step(ib)
    assert trade.orderStatus.status == "Filled"


def test_the_wall_clock_lies_over_a_recorded_day(start):
    desk = start(bars=0, clock=ClockMode.LIVE, start=date(2024, 1, 8))
    ib = desk.client()
    assert abs((now(desk) - datetime.now(UTC)).total_seconds()) < 5
    assert abs((ib.reqCurrentTime() - datetime.now(UTC)).total_seconds()) < 5
    calendar = get_calendar("XNYS")
    today = datetime.now(UTC).date()
    played = today if calendar.is_session(today) else calendar.next_session(today)
    series = desk.series()
    days = [date(1970, 1, 1) + timedelta(days=int(d)) for d in sorted(set(series.session.tolist()))]
    assert days[4] == played  # the recording's fifth session is 2024-01-08
    opens = calendar.open_utc(played)
    place = int(
        (series.session == series.session[series.session.searchsorted((played - date(1970, 1, 1)).days)]).argmax()
    )
    assert series.bar(place).opens == int(opens.timestamp()) * 1_000_000
    past = ib.reqHistoricalData(desk.stock(ib), "", "1 W", "1 day", "TRADES", True)
    assert all(bar.date <= today for bar in past)
    assert len(past) >= 3


def test_the_wall_clock_plays_a_day_as_it_passes(start, tmp_path):
    rows = []
    midnight = 1_704_672_000_000_000  # 2024-01-08, a Monday, on a calendar that never closes
    for n in range(2 * 1440):
        price = round(100 + n % 60 / 10, 2)
        day = date(2024, 1, 8) + timedelta(days=n // 1440)
        rows.append((midnight + (n + 1) * MINUTE, day, price, price + 0.2, price - 0.2, price + 0.1, 5000.0))
    record(tmp_path, "AAPL", Resolution.MINUTE, rows)
    desk = start(tmp_path, bars=0, clock=ClockMode.LIVE, start=date(2024, 1, 8), calendar="24/7")
    ib = desk.client()
    ticks, seen = ib.reqMktData(desk.stock(ib)), []
    ticks.updateEvent += lambda t: seen.append(t.last)
    trade = ib.placeOrder(desk.stock(ib), desk.insync.MarketOrder("BUY", 5))
    desk.until(ib, lambda: trade.orderStatus.status == "Filled")
    when = trade.fills[0].execution.time
    assert abs((datetime.now(UTC) - when).total_seconds()) < 3
    at = 100 + (when.hour * 60 + when.minute) % 60 / 10
    assert at - 0.3 <= trade.fills[0].execution.price <= at + 0.3
    desk.until(ib, lambda: len(seen) > 3)


def test_a_start_behind_the_last_bar_is_one_sentence(start):
    with pytest.raises(SimulatorSettingsError, match="start: 2024-06-03 lies after the last bar of AAPL, MSFT"):
        start(start=date(2024, 6, 3))
