"""Loading pandas frames into Backtrader's lines, whole columns at a time.

Belongs here: the quick way through `bt.feeds.PandasData.preload` and when it may be taken. Does not belong here: the
project's own feed (see `research.feed`), which is quick by itself.

Backtrader fetches every cell of every row through `iloc`, most of the time of a short run. The lines that come out
here are the same, bit for bit; a frame or a feed that is out of the ordinary is loaded Backtrader's way.
"""

import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

import backtrader as bt
import numpy as np
import pandas as pd
from backtrader.feed import AbstractDataBase
from backtrader.linebuffer import LineBuffer

from research.feed import Floats, day_numbers

_PARTS: Final = ("load", "preload", "forward", "backwards", "home", "_last", "_fromstack", "date2num")
_NUMBERS: Final = frozenset("fiu")


@contextmanager
def quick_preload(datas: Sequence[AbstractDataBase]) -> Iterator[None]:
    """Let those feeds that can load themselves quickly do so inside this context."""
    pandas_feeds = [data for data in datas if _loads_as_pandas_data(data)]
    for data in pandas_feeds:
        data.preload = partial(_preload, data)
    try:
        yield
    finally:
        for data in pandas_feeds:
            vars(data).pop("preload", None)


def _loads_as_pandas_data(data: AbstractDataBase) -> bool:
    cls = type(data)
    if not isinstance(data, bt.feeds.PandasData) or cls._load is not bt.feeds.PandasData._load:
        return False
    own_way = any(getattr(cls, name) is not getattr(bt.feeds.PandasData, name) for name in _PARTS)
    return not (own_way or "preload" in vars(data) or data._filters or data._ffilters or data.resampling)


def _preload(data: bt.feeds.PandasData) -> None:
    """What `DataBase.preload` leaves behind; Backtrader's own where a value is not a plain number."""
    columns = _columns(data)
    times = _times(data)
    if columns is None or times is None or not all(_is_empty(line) for line in data.lines.lines):
        type(data).preload(data)
        return
    late = np.flatnonzero(times > data.todate)
    read = int(late[0]) if len(late) else len(times)
    keep = times[:read] >= data.fromdate
    nothing = np.full(len(times), np.nan)
    for name in data.getlinealiases():
        values = times if name == "datetime" else columns.get(name, nothing)
        line = getattr(data.lines, name)
        line.array = array.array("d", np.ascontiguousarray(values[:read][keep]).tobytes())
    data._idx = read
    data._last()
    data.home()


def _columns(data: bt.feeds.PandasData) -> dict[str, Floats] | None:
    """The columns behind the lines; None where one is not of numbers."""
    frame, found = data.p.dataname, {}
    for name in data.getlinealiases():
        at = data._colmapping[name]
        if name == "datetime" or at is None:
            continue
        column = frame.iloc[:, at]
        if not isinstance(column.dtype, np.dtype) or column.dtype.kind not in _NUMBERS:
            return None
        found[name] = column.to_numpy(dtype=np.float64)
    return found


def _times(data: bt.feeds.PandasData) -> Floats | None:
    """Backtrader's day numbers of the index; None where it is not of naive times of whole microseconds."""
    index = data.p.dataname.index
    plain = isinstance(index, pd.DatetimeIndex) and index.tz is None and not index.hasnans
    if not plain or data._colmapping["datetime"] is not None or data._tzinput:
        return None
    moments = index.to_numpy()
    whole = moments.astype("datetime64[us]")
    return day_numbers(whole.astype(np.int64)) if (whole == moments).all() else None


def _is_empty(line: LineBuffer) -> bool:
    return not (len(line.array) or line.bindings or line.useislice)
