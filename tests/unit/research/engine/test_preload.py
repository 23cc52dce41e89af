"""Frames loaded whole columns at a time give the lines that Backtrader makes cell by cell."""

from datetime import UTC, date, datetime
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.engine.preload import quick_preload


def frame(rows: int = 40, freq: str = "B", **columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(rows)
    table = pd.DataFrame(
        {name: np.round(rng.normal(50, 5, rows), 3) for name in ("Open", "High", "Low", "Close")},
        index=pd.date_range("2003-01-01 09:30:00.000001", periods=rows, freq=freq),
    )
    table["Volume"] = rng.integers(0, 2**60, rows)
    return table.assign(**columns)


def loaded(data: bt.feeds.PandasData, *, quick: bool) -> Any:
    cerebro = bt.Cerebro()
    cerebro.adddata(data)
    data._start()
    if quick:
        with quick_preload([data]):
            assert "preload" in vars(data)
            data.preload()
        assert "preload" not in vars(data)
    else:
        data.preload()
    lines = [(line.array.tobytes(), line.idx, line.lencount, line.extension) for line in data.lines.lines]
    return lines, data._idx, len(data), data.buflen(), list(data._barstack)


def same(table: pd.DataFrame, kind: type = bt.feeds.PandasData, **params: Any) -> None:
    slow = loaded(kind(dataname=table, **params), quick=False)
    assert loaded(kind(dataname=table, **params), quick=True) == slow


@pytest.mark.parametrize("freq", ["B", "min", "7h", "3s", "17us"])
def test_the_lines_are_the_same(freq: str) -> None:
    same(frame(60, freq))


@pytest.mark.parametrize(
    "params",
    [
        {"fromdate": datetime(2003, 1, 10)},  # noqa: DTZ001
        {"todate": date(2003, 1, 20)},
        {"fromdate": date(2003, 1, 8), "todate": datetime(2003, 1, 14, 12)},  # noqa: DTZ001
        {"fromdate": date(2030, 1, 1)},
        {"todate": date(1990, 1, 1)},
        {"volume": None, "openinterest": "Close"},
        {"close": 0, "nocase": False},
        {"tz": "US/Eastern"},
        {"tzinput": "US/Eastern"},
    ],
)
def test_parameters_of_the_feed_are_kept(params: dict[str, Any]) -> None:
    same(frame(), **params)


@pytest.mark.parametrize(
    "table",
    [
        frame(0),
        frame(1),
        frame(20)[::-1],
        frame(20, Close=np.nan),
        frame(20, Volume=np.arange(20, dtype=np.uint8), Open=np.arange(20, dtype=np.float32) / 3),
        frame(20, Close=[object() and float(i) for i in range(20)]).astype({"Close": object}),
        frame(20, Volume=pd.array(range(20), dtype="Int64")),
        frame(20).tz_localize("UTC"),
        frame(20).rename(columns={"Close": "CLOSE", "Volume": "size"}),
        pd.concat([frame(20), frame(20)[5:9]]),
        frame(20).assign(OpenInterest=7),
    ],
    ids=["empty", "one", "reversed", "nan", "kinds", "objects", "nullable", "zoned", "names", "duplicates", "interest"],
)
def test_unusual_frames_are_kept(table: pd.DataFrame) -> None:
    same(table)


class More(bt.feeds.PandasData):
    lines = ("factor",)
    params = (("factor", -1),)


class OwnLoad(bt.feeds.PandasData):
    def _load(self) -> bool:
        more: bool = super()._load()
        if more:
            self.lines.close[0] *= 2
        return more


def test_a_subclass_with_more_lines_is_loaded_whole() -> None:
    same(frame(20, factor=np.arange(20) / 7), More)


def test_a_subclass_that_loads_in_its_own_way_does_so() -> None:
    data = OwnLoad(dataname=frame())
    with quick_preload([data]):
        assert "preload" not in vars(data)


def test_a_feed_with_filters_loads_in_backtraders_way() -> None:
    data = bt.feeds.PandasData(dataname=frame())
    data.addfilter(bt.filters.HeikinAshi)
    with quick_preload([data]):
        assert "preload" not in vars(data)


@given(st.lists(st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)), min_size=1, max_size=20))  # noqa: DTZ001
def test_any_time_becomes_the_day_number_that_backtrader_gives(times: list[datetime]) -> None:
    same(pd.DataFrame({"close": range(len(times))}, index=pd.DatetimeIndex(times)))


def test_a_time_with_nanoseconds_is_loaded_in_backtraders_way() -> None:
    table = frame(3).set_index(pd.DatetimeIndex(pd.Index([1, 1_000_001, 2_000_500]).astype("datetime64[ns]")))
    with pytest.warns(UserWarning, match="nanoseconds"):
        same(table)
    assert table.index[0].to_pydatetime(warn=False).replace(tzinfo=UTC).year == 1970
