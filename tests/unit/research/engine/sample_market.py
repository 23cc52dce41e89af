"""The stocks that ship with the project, as bars of a backtest.

Belongs here: reading them for tests. Does not belong here: cleaning (see `warehouse`).
"""

import functools
from datetime import date

import numpy as np
import pandas as pd

from tests.unit.research.scenarios import table
from warehouse.calendar import get_calendar
from warehouse.resolution import Resolution
from warehouse.sources.protocol import BarRequest
from warehouse.sources.sample import SampleSource


@functools.cache
def stock(symbol, *, opens_at_last_close=False):
    """Adjusted daily bars, stamped at the session's close.

    Args:
        symbol: one of the five.
        opens_at_last_close: a bar opens where the last one closed, so that an order fills at the price it was decided
            at.
    """
    request = BarRequest(symbol, Resolution.DAILY, date(2000, 1, 1), date(2013, 12, 31))
    rows = SampleSource().fetch(request).table
    days = pd.DatetimeIndex(rows["stamp"].to_pandas()).date
    closing = get_calendar("XNYS").close_utc
    stamps = [closing(day).replace(tzinfo=None) for day in days]
    adjusted = rows["adj_close"].to_numpy()
    factor = adjusted / rows["close"].to_numpy()
    opens, highs, lows = (rows[name].to_numpy() * factor for name in ("open", "high", "low"))
    if opens_at_last_close:
        opens = np.concatenate([adjusted[:1], adjusted[:-1]])
    highs, lows = np.maximum.reduce([highs, opens, adjusted]), np.minimum.reduce([lows, opens, adjusted])
    return table(symbol, stamps, opens, highs, lows, adjusted, rows["volume"].to_numpy())
