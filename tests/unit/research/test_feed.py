"""The feed's lines against Backtrader's own PandasData, bit for bit."""

import datetime as dt

import backtrader as bt
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import BarsError
from research.feed import SymbolBars, arrow_feed, day_numbers, symbol_bars, union_of_times
from warehouse.resolution import Resolution

EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 (Backtrader's times have no zone)
LINES = ("datetime", "open", "high", "low", "close", "volume", "openinterest")


def random_bars(stamps: pd.DatetimeIndex, *, missing_volume: bool = False) -> SymbolBars:
    rng = np.random.default_rng(7)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, len(stamps))))
    volume = rng.integers(0, 10**9, len(stamps)).astype(float)
    if missing_volume:
        volume[::3] = np.nan
    ts = stamps.to_numpy().astype("datetime64[us]").astype(np.int64)
    return SymbolBars("X", ts, ts // 86_400_000_000, close * 0.999, close * 1.01, close * 0.99, close, volume)


class Keep(bt.Strategy):
    """Records what a strategy sees at each bar."""

    def __init__(self):
        self.seen = []

    def next(self):
        self.seen.append((self.data.datetime.datetime(0), self.data.close[0], len(self.data)))


def run(feed):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(feed)
    cerebro.addstrategy(Keep)
    strategy = cerebro.run()[0]
    lines = {name: getattr(feed.lines, name).array.tobytes() for name in LINES}
    return lines, strategy.seen, feed.buflen()


@pytest.mark.parametrize(
    ("stamps", "resolution", "missing_volume"),
    [
        (pd.date_range("2000-01-03 21:00", periods=300, freq="D"), Resolution.DAILY, False),
        (pd.date_range("2000-01-03 00:00", periods=300, freq="D"), Resolution.DAILY, True),
        (pd.date_range("2024-03-08 14:31", periods=900, freq="min"), Resolution.MINUTE, True),
        (pd.date_range("2024-03-08 14:30:05", periods=900, freq="5s"), Resolution.SECONDS_5, False),
    ],
)
def test_lines_equal_pandas_data_bit_for_bit(stamps, resolution, missing_volume):
    bars = random_bars(stamps, missing_volume=missing_volume)
    columns = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    expected = run(bt.feeds.PandasData(dataname=pd.DataFrame(columns, index=stamps)))
    assert run(arrow_feed(bars, resolution)) == expected


def test_ticks_of_a_feed_are_its_current_bar():
    class Ticks(bt.Strategy):
        def next(self):
            data = self.data
            assert (data.tick_open, data.tick_close, data.tick_last) == (data.open[0], data.close[0], data.close[0])

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(arrow_feed(random_bars(pd.date_range("2020-01-01", periods=9)), Resolution.DAILY))
    cerebro.addstrategy(Ticks)
    assert len(cerebro.run()[0]) == 9


@given(st.datetimes(min_value=EPOCH.replace(year=1900), max_value=EPOCH.replace(year=2200)))
@settings(max_examples=500)
def test_day_numbers_equal_backtraders_for_any_moment(moment):
    microseconds = (moment - EPOCH) // dt.timedelta(microseconds=1)
    assert day_numbers(np.array([microseconds]))[0] == bt.date2num(moment)


def test_day_numbers_equal_backtraders_for_every_minute_of_a_day():
    day = EPOCH.replace(year=2013, month=3)
    moments = [day + dt.timedelta(minutes=minute) for minute in range(1440)]
    microseconds = np.array([(moment - EPOCH) // dt.timedelta(microseconds=1) for moment in moments])
    assert day_numbers(microseconds).tolist() == [bt.date2num(moment) for moment in moments]


def table(days, close=None, **changes):
    count = len(days)
    close = close or [10.0] * count
    columns = {
        "symbol": ["X"] * count,
        "resolution": ["1d"] * count,
        "ts": pa.array([dt.datetime.combine(day, dt.time(21), dt.UTC) for day in days], pa.timestamp("us", "UTC")),
        "session": pa.array(days, pa.date32()),
        "regular": [True] * count,
        "open": close,
        "high": close,
        "low": close,
        "close": close,
        "volume": [100.0] * count,
    }
    return pa.table({name: column for name, column in (columns | changes).items() if column is not None})


DAYS = [dt.date(2024, 1, day) for day in (2, 3, 4, 5)]


def test_bars_are_cut_to_sessions_both_ends_included():
    bars = symbol_bars("X", table(DAYS), DAYS[1], DAYS[2])
    assert bars.sessions.tolist() == [(day - dt.date(1970, 1, 1)).days for day in DAYS[1:3]]
    assert bars.ts.tolist() == [int(dt.datetime(2024, 1, d, 21, tzinfo=dt.UTC).timestamp() * 1e6) for d in (3, 4)]


def test_a_symbol_without_bars_in_the_range_is_an_error_that_says_what_there_is():
    with pytest.raises(BarsError, match=r"symbols: X has no bars from 2025-01-01 .* from 2024-01-02 to 2024-01-05"):
        symbol_bars("X", table(DAYS), dt.date(2025, 1, 1), dt.date(2025, 2, 1))


@pytest.mark.parametrize(
    ("bars", "message"),
    [
        (table(DAYS, close=[1.0, None, 1.0, 1.0]), "open holds 1 nulls"),
        (table(DAYS, close=[1.0, float("nan"), 1.0, 1.0]), "not a number"),
        (table(DAYS[::-1]), "ts is not strictly ascending"),
        (table(DAYS, open=None), "open is missing"),
    ],
)
def test_bars_that_cannot_be_trusted_are_refused(bars, message):
    with pytest.raises(BarsError, match=message):
        symbol_bars("X", bars, DAYS[0], DAYS[-1])


def test_a_missing_volume_stays_missing():
    volume = pa.array([1.0, None, float("nan"), 4.0])
    bars = symbol_bars("X", table(DAYS, volume=volume), DAYS[0], DAYS[-1])
    assert np.isnan(bars.volume).tolist() == [False, True, True, False]


def test_the_clock_is_the_union_of_all_bars_and_head_cuts_it():
    one = symbol_bars("X", table(DAYS[:3]), DAYS[0], DAYS[-1])
    two = symbol_bars("Y", table(DAYS[1:]), DAYS[0], DAYS[-1])
    assert len(union_of_times([one, two])) == 4
    assert two.head(int(two.ts[0])).sessions.tolist() == [(DAYS[1] - dt.date(1970, 1, 1)).days]
