"""Contracts, history and streams as ib_insync sees them, by value."""

from datetime import UTC, date, datetime

import pytest

from broker.simulator.settings import ClockMode
from tests.integration.broker.conftest import on_ib_async
from tests.unit.broker.simulator.recordings import days, record, sessions, table
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

pytestmark = pytest.mark.integration

NOW = datetime(2024, 1, 8, 14, 33, tzinfo=UTC)  # three minutes after the open


def test_a_contract_is_described(start):
    desk = start()
    ib = desk.client()
    (details,) = ib.reqContractDetails(desk.insync.Stock("AAPL", "SMART", "USD"))

    contract = details.contract
    assert (contract.symbol, contract.secType, contract.exchange) == ("AAPL", "STK", "SMART")
    assert (contract.primaryExchange, contract.currency, contract.tradingClass) == ("NASDAQ", "USD", "NMS")
    assert (details.minTick, details.sizeIncrement, details.timeZoneId) == (0.01, 0.0001, "US/Eastern")
    assert details.liquidHours.split(";")[0] == "20240108:0930-20240108:1600"
    assert "simulated" in details.longName
    assert ib.reqContractDetails(desk.insync.Contract(conId=contract.conId)) == [details]
    assert [p.increment for p in ib.reqMarketRule(int(details.marketRuleIds.split(",")[0]))] == [0.01]


def test_contracts_that_do_not_exist_are_error_200(start):
    desk = start()
    ib = desk.client()
    for unknown in (
        desk.insync.Stock("NONE", "SMART", "USD"),
        desk.insync.Stock("AAPL", "SMART", "EUR"),
        desk.insync.Option("AAPL", "20240119", 100, "C", "SMART"),
        desk.insync.Stock("AAPL", "TSE", "USD"),
    ):
        assert ib.reqContractDetails(unknown) == []
    assert [code for _, code in ib.heard if code == 200] == [200] * 4


def test_symbols_are_found_by_their_beginning(start):
    desk = start()
    found = desk.client().reqMatchingSymbols("ms")
    assert [d.contract.symbol for d in found] == ["MSFT"]


def test_minutes_are_the_recordings_own_stamped_at_their_open(start):
    desk = start()
    ib = desk.client()
    got = ib.reqHistoricalData(desk.stock(ib), "", "2 D", "1 min", "TRADES", useRTH=True, formatDate=2)

    series = desk.series()
    last = series.closed_by(int(NOW.timestamp()) * 1_000_000)
    assert (len(got), got[-1].date) == (390 + 3, datetime(2024, 1, 8, 14, 32, tzinfo=UTC))
    for place, bar in zip(range(last - len(got), last), got, strict=True):
        mine = series.bar(place)
        assert int(bar.date.timestamp() * 1_000_000) == mine.opens
        assert (bar.open, bar.high, bar.low, bar.close) == (mine.open, mine.high, mine.low, mine.close)
        assert bar.volume == mine.volume


@pytest.mark.parametrize(
    ("size", "duration", "count", "first"),
    [
        ("1 min", "1800 S", 30, datetime(2024, 1, 5, 20, 33, tzinfo=UTC)),
        ("2 mins", "1 D", 2, datetime(2024, 1, 8, 14, 30, tzinfo=UTC)),
        ("3 mins", "1 D", 1, datetime(2024, 1, 8, 14, 30, tzinfo=UTC)),
        ("5 mins", "2 D", 79, datetime(2024, 1, 5, 14, 30, tzinfo=UTC)),
        ("10 mins", "2 D", 40, datetime(2024, 1, 5, 14, 30, tzinfo=UTC)),
        ("15 mins", "2 D", 27, datetime(2024, 1, 5, 14, 30, tzinfo=UTC)),
        ("20 mins", "2 D", 21, datetime(2024, 1, 5, 14, 30, tzinfo=UTC)),
        ("30 mins", "2 D", 14, datetime(2024, 1, 5, 14, 30, tzinfo=UTC)),
        ("1 hour", "2 D", 8, datetime(2024, 1, 5, 14, 30, tzinfo=UTC)),
        ("2 hours", "2 D", 5, datetime(2024, 1, 5, 14, 30, tzinfo=UTC)),
        ("3 hours", "2 D", 4, datetime(2024, 1, 5, 14, 30, tzinfo=UTC)),
        ("4 hours", "2 D", 3, datetime(2024, 1, 5, 14, 30, tzinfo=UTC)),
        ("8 hours", "2 D", 2, datetime(2024, 1, 5, 14, 30, tzinfo=UTC)),
        ("1 day", "3 D", 3, date(2024, 1, 4)),
        ("1 day", "1 W", 5, date(2024, 1, 2)),
        ("1 week", "1 M", 2, date(2024, 1, 5)),
        ("1 month", "1 Y", 1, date(2024, 1, 8)),
    ],
)
def test_every_bar_size_is_rolled_up(start, size, duration, count, first):
    desk = start()
    ib = desk.client()
    got = ib.reqHistoricalData(desk.stock(ib), "", duration, size, "TRADES", useRTH=True, formatDate=2)

    assert (len(got), got[0].date) == (count, first)
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in got)
    assert got[-1].close == desk.command("status")["prices"]["AAPL"]
    minutes_of_same = ib.reqHistoricalData(desk.stock(ib), "", "5 D", "1 min", "TRADES", useRTH=True, formatDate=2)
    if size == "1 week":
        assert got[0].volume + got[1].volume == sum(bar.volume for bar in minutes_of_same)


def test_a_range_in_the_past_ends_where_it_was_asked_to(start):
    desk = start()
    ib = desk.client()
    end = "20240104 15:00:00 US/Eastern"
    got = ib.reqHistoricalData(desk.stock(ib), end, "1 D", "30 mins", "TRADES", useRTH=True, formatDate=2)
    assert (len(got), got[-1].date) == (11, datetime(2024, 1, 4, 19, 30, tzinfo=UTC))
    nothing_yet = ib.reqHistoricalData(desk.stock(ib), "20240110-21:00:00", "1 D", "1 min", "TRADES", True, 2)
    assert nothing_yet[-1].date == datetime(2024, 1, 8, 14, 32, tzinfo=UTC)  # the future is not shown


@pytest.mark.skipif(on_ib_async(), reason="ib_async takes 321 for a warning and waits on")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("", "1 D", "7 mins", "TRADES"), 321),
        (("", "1 X", "1 min", "TRADES"), 321),
        (("", "400 D", "1 day", "TRADES"), 321),
        (("", "1 D", "1 min", "NOTHING"), 321),
        (("20240104-15:00:00", "1 D", "1 day", "ADJUSTED_LAST"), 321),
        (("20200104-15:00:00", "1 D", "1 day", "TRADES"), 162),
        (("", "60 S", "5 secs", "TRADES"), 162),  # finer than the recording
    ],
)
def test_history_that_cannot_be_given_is_an_error(start, arguments, code):
    desk = start()
    ib = desk.client()
    assert len(ib.reqHistoricalData(desk.stock(ib), *arguments, useRTH=True)) == 0
    assert ib.heard[-1][1] == code


def test_quotes_lie_a_tick_beside_the_price(start):
    desk = start()
    ib = desk.client()
    trades, bid, ask, middle = (
        ib.reqHistoricalData(desk.stock(ib), "", "60 S", "1 min", what, useRTH=True)[0]
        for what in ("TRADES", "BID", "ASK", "MIDPOINT")
    )
    assert (bid.close, ask.close) == (trades.close - 0.01, trades.close + 0.01)
    assert (middle.close, middle.volume) == (trades.close, -1)


def test_dividends_are_in_adjusted_last_only(start, tmp_path):
    found = list(sessions(date(2024, 1, 2), date(2024, 1, 12)))
    rows = [(c, d, 100.0, 101.0, 99.0, 100.0, 1e6, True, 0.99 if n < 4 else 1.0) for n, (d, _, c) in enumerate(found)]
    Warehouse(tmp_path).write_clean("AAPL", Resolution.DAILY, table("AAPL", Resolution.DAILY, rows))
    desk = start(tmp_path, bars=0, start=date(2024, 1, 12))
    ib = desk.client()
    trades, adjusted = (
        [b.close for b in ib.reqHistoricalData(desk.stock(ib), "", "1 M", "1 day", what, True)]
        for what in ("TRADES", "ADJUSTED_LAST")
    )
    assert trades == [100.0] * 8
    assert adjusted == [99.0] * 4 + [100.0] * 4


def test_head_timestamp_and_schedule(start):
    desk = start()
    ib = desk.client()
    stock = desk.stock(ib)
    assert ib.reqHeadTimeStamp(stock, "TRADES", useRTH=True, formatDate=2) == datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    assert ib.reqHeadTimeStamp(stock, "TRADES", useRTH=True, formatDate=1) == datetime(2024, 1, 2, 14, 30)  # noqa: DTZ001
    found = ib.reqHistoricalSchedule(stock, 2)
    assert [s.refDate for s in found.sessions] == ["20240105", "20240108"]
    assert (found.timeZone, found.sessions[0].startDateTime) == ("US/Eastern", "20240105-09:30:00")


def test_a_forming_bar_is_kept_up_to_date(start):
    desk = start()
    ib = desk.client()
    bars = ib.reqHistoricalData(desk.stock(ib), "", "1 D", "5 mins", "TRADES", True, 2, keepUpToDate=True)
    assert len(bars) == 1
    fresh = []
    bars.updateEvent += lambda b, is_new: fresh.append((is_new, b[-1].date))
    desk.step(ib, 3)
    again = ib.reqHistoricalData(desk.stock(ib), "", "1 D", "5 mins", "TRADES", True, 2)
    assert list(bars) == list(again)
    assert [date for is_new, date in fresh if is_new] == [datetime(2024, 1, 8, 14, 35, tzinfo=UTC)]
    ib.cancelHistoricalData(bars)
    count = len(fresh)
    desk.step(ib, 5)
    assert len(fresh) == count


def test_a_bar_in_the_middle_of_its_way_shows_only_what_has_happened(start):
    desk = start()
    ib = desk.client()
    desk.command("step_price", prices=2)
    whole = desk.series().bar(desk.series().closed_by(int(NOW.timestamp()) * 1_000_000))
    got = ib.reqHistoricalData(desk.stock(ib), "", "1 D", "1 min", "TRADES", True, 2)[-1]
    assert int(got.date.timestamp() * 1_000_000) == whole.opens
    assert (got.open, got.close) == (whole.path[0], whole.path[1])
    assert (got.high, got.low) == (max(whole.path[:2]), min(whole.path[:2]))


def test_five_second_bars_follow_the_path(start):
    desk = start()
    ib = desk.client()
    bars = ib.reqRealTimeBars(desk.stock(ib), 5, "TRADES", useRTH=True)
    desk.step(ib, 2)
    assert len(bars) == 24
    assert [(b.time - bars[0].time).seconds for b in bars] == list(range(0, 120, 5))
    series = desk.series()
    place = series.closed_by(int(NOW.timestamp()) * 1_000_000)
    for number, mine in enumerate((series.bar(place), series.bar(place + 1))):
        part = bars[12 * number : 12 * number + 12]
        assert (part[0].open_, part[-1].close) == (mine.open, mine.close)
        assert (max(b.high for b in part), min(b.low for b in part)) == (mine.high, mine.low)
        assert sum(b.volume for b in part) <= mine.volume
    ib.cancelRealTimeBars(bars)
    desk.step(ib)
    assert len(bars) == 24


def test_recorded_five_second_bars_are_passed_on_as_they_are(start, tmp_path):
    day, opens, _ = next(iter(sessions(date(2024, 1, 8), date(2024, 1, 8))))
    prices = [(100.0 + n, 100.9 + n, 99.9 + n, 100.5 + n, 10.0 + n) for n in range(24)]
    rows = [(opens + (n + 1) * 5_000_000, day, *bar) for n, bar in enumerate(prices)]
    record(tmp_path, "AAPL", Resolution.SECONDS_5, rows)
    desk = start(tmp_path, bars=0)
    ib = desk.client()
    bars = ib.reqRealTimeBars(desk.stock(ib), 5, "TRADES", useRTH=True)
    desk.step(ib, 24)
    got = [(b.open_, b.high, b.low, b.close, b.volume) for b in bars]
    assert got == [row[2:7] for row in rows]
    for size, length in (("5 secs", 1), ("10 secs", 2), ("15 secs", 3), ("30 secs", 6), ("1 min", 12)):
        rolled = ib.reqHistoricalData(desk.stock(ib), "", "1 D", size, "TRADES", True, 2)
        parts = [rows[n : n + length] for n in range(0, 24, length)]
        assert [(b.open, b.high, b.low, b.close, b.volume) for b in rolled] == [
            (p[0][2], max(r[3] for r in p), min(r[4] for r in p), p[-1][5], sum(r[6] for r in p)) for p in parts
        ]


def test_five_second_quotes_lie_beside_the_trades(start):
    desk = start()
    ib = desk.client()
    trades, bids, middles = (ib.reqRealTimeBars(desk.stock(ib), 5, w, True) for w in ("TRADES", "BID", "MIDPOINT"))
    desk.step(ib)
    assert [round(b.close + 0.01, 6) for b in bids] == [t.close for t in trades]
    assert [(m.close, m.volume) for m in middles] == [(t.close, -1) for t in trades]


def test_stored_hours_are_passed_on_as_they_are(start, tmp_path):
    hour, rows = 3_600_000_000, []
    for day, opens, closes in sessions(date(2024, 1, 4), date(2024, 1, 5)):
        ends = [min(opens + (n + 1) * hour, closes) for n in range(7)]
        rows += [(at, day, 100.0 + n, 102.0 + n, 99.0 + n, 101.0 + n, 1e5) for n, at in enumerate(ends)]
    record(tmp_path, "AAPL", Resolution.HOURLY, rows)
    desk = start(tmp_path, bars=7, start=date(2024, 1, 5))
    ib = desk.client()
    got = ib.reqHistoricalData(desk.stock(ib), "", "2 D", "1 hour", "TRADES", True, 2)
    assert [bar.open for bar in got] == [row[2] for row in rows]
    assert [(b.date.hour, b.date.minute) for b in got[:7]] == [(h, 30) for h in range(14, 21)]
    two = ib.reqHistoricalData(desk.stock(ib), "", "1 D", "2 hours", "TRADES", True, 2)
    assert [(b.open, b.close) for b in two] == [(100, 102), (102, 104), (104, 106), (106, 107)]
    (day,) = ib.reqHistoricalData(desk.stock(ib), "", "1 D", "1 day", "TRADES", True, 2)
    assert (day.open, day.high, day.low, day.close, day.volume) == (100, 108, 99, 107, 7e5)


def test_ticks(start):
    desk = start()
    ib = desk.client()
    ticker = ib.reqMktData(desk.stock(ib), "233,236")
    desk.settle(ib)
    price = desk.command("status")["prices"]["AAPL"]
    assert (ticker.last, ticker.bid, ticker.ask) == (price, round(price - 0.01, 2), round(price + 0.01, 2))
    assert (ticker.halted, ticker.marketDataType, ticker.shortableShares) == (0.0, 1, 10_000_000)
    assert ticker.volume == sum(desk.series().volume[-5 * 390 : -5 * 390 + 3])  # three minutes of the 8th to the 12th
    today = desk.series().part(4 * 390, 4 * 390 + 3)
    assert (ticker.open, ticker.high, ticker.low) == (
        today.prices[0, 0], today.prices[:, 1].max(), today.prices[:, 2].min(),
    )  # fmt: skip
    assert ticker.close == desk.series().bar(4 * 390 - 1).close
    desk.step(ib)
    assert ticker.last == desk.command("status")["prices"]["AAPL"]
    desk.command("halt", symbol="AAPL")
    desk.settle(ib)
    assert ticker.halted == 1.0
    (snapshot,) = ib.reqTickers(desk.stock(ib, "MSFT"))
    assert snapshot.last == desk.command("status")["prices"]["MSFT"]


def test_tick_by_tick(start):
    desk = start()
    ib = desk.client()
    stock = desk.stock(ib)
    last = ib.reqTickByTickData(stock, "Last")
    seen = []
    last.updateEvent += lambda t: seen.extend(tick.price for tick in t.tickByTicks)
    place = desk.series().closed_by(int(NOW.timestamp()) * 1_000_000)
    desk.step(ib)
    assert seen == list(desk.series().bar(place).path)


def test_historical_ticks(start):
    desk = start()
    ib = desk.client()
    ticks = ib.reqHistoricalTicks(desk.stock(ib), "20240108 09:30:00 US/Eastern", "", 8, "TRADES", useRth=True)
    first = desk.series().bar(desk.series().closed_by(int(NOW.timestamp()) * 1_000_000) - 3)
    assert [t.price for t in ticks][:4] == list(first.path)


def test_what_is_not_simulated_is_refused_and_not_ignored(start):
    desk = start()
    ib = desk.client()
    ib.client.send(4711, 1)
    ib.client.reqFundamentalData(77, desk.stock(ib), "ReportSnapshot", [])
    desk.settle(ib)
    assert [entry for entry in ib.heard if entry[1] in {505, 321}] == [(-1, 505), (77, 321)]
    assert ib.reqSecDefOptParams("AAPL", "", "STK", 1) == []
    assert ib.reqNewsProviders() == []
    assert ib.reqScannerParameters().startswith("<ScanParameterResponse>")


def test_daily_bars_alone_make_a_market(start, tmp_path):
    days(tmp_path, "AAPL", [(100, 102, 99, 101), (101, 103, 100, 102), (102, 104, 101, 103)])
    desk = start(tmp_path, bars=1, start=date(2024, 1, 2), clock=ClockMode.STEPPED)
    ib = desk.client()
    got = ib.reqHistoricalData(desk.stock(ib), "", "1 W", "1 day", "TRADES", True)
    assert [(b.date, b.open, b.close) for b in got] == [(date(2024, 1, 2), 100, 101)]
    desk.step(ib)
    assert len(ib.reqHistoricalData(desk.stock(ib), "", "1 W", "1 day", "TRADES", True)) == 2
