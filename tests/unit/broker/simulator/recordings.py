"""Small warehouses whose every price is known.

Belongs here: writing clean bars for tests of the simulator. Does not belong here: fixtures, expectations.
"""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from warehouse.calendar import get_calendar
from warehouse.resolution import Resolution
from warehouse.schema import CLEAN_SCHEMA
from warehouse.store import Warehouse

MINUTE = 60_000_000
FIRST, LAST = date(2024, 1, 2), date(2024, 1, 12)


def sessions(first, last):
    """Day, open and close (UTC microseconds) of the sessions of a range."""
    cal = get_calendar("XNYS")
    for number, opens, closes in zip(cal.days, cal.opens, cal.closes, strict=True):
        day = date(1970, 1, 1) + timedelta(days=int(number))
        if first <= day <= last:
            yield day, int(opens), int(closes)


def table(symbol, resolution, rows):
    """Rows of (close in microseconds, session, open, high, low, close, volume[, regular[, dividend factor]])."""
    rows = [(*row, *(True, 1.0)[len(row) - 7 :]) for row in rows]
    closes, days, o, h, low, c, volume, regular, dividend = (list(column) for column in zip(*rows, strict=True))
    n = len(rows)
    columns = {
        "symbol": pa.array([symbol] * n),
        "resolution": pa.array([resolution.value] * n),
        "ts": pa.array(closes, pa.int64()).cast(pa.timestamp("us", tz="UTC")),
        "session": pa.array(days, pa.date32()),
        "regular": pa.array(regular),
        "open": pa.array(o),
        "high": pa.array(h),
        "low": pa.array(low),
        "close": pa.array(c),
        "volume": pa.array(volume, pa.float64()),
        "split_factor": pa.array(np.ones(n)),
        "dividend_factor": pa.array(dividend),
    }
    return pa.table([columns[f.name].cast(f.type) for f in CLEAN_SCHEMA], schema=CLEAN_SCHEMA)


def record(root, symbol, resolution, rows):
    """Put rows into a warehouse."""
    Warehouse(root).write_clean(symbol, resolution, table(symbol, resolution, rows))


def minutes(root, symbol, *, price=100.0, seed=0, first=FIRST, last=LAST):
    """A random walk in cents, minute by minute; the volume of a minute is 1,000 to 4,999."""
    rng, rows = np.random.default_rng(seed), []
    for day, opens, closes in sessions(first, last):
        for at in range(opens + MINUTE, closes + 1, MINUTE):
            then = round(price + float(rng.integers(-5, 6)) / 100, 2)
            high, low = round(max(price, then) + 0.03, 2), round(min(price, then) - 0.03, 2)
            rows.append((at, day, price, high, low, then, float(rng.integers(1000, 5000))))
            price = then
    record(root, symbol, Resolution.MINUTE, rows)


def flat_minutes(root, symbol, prices, day=date(2024, 1, 3), volume=10_000.0):
    """One session whose first minutes have the given (open, high, low, close); the minutes after stay at the last."""
    (_, opens, closes), rows = next(iter(sessions(day, day))), []
    for number, at in enumerate(range(opens + MINUTE, closes + 1, MINUTE)):
        o, h, low, c = prices[number] if number < len(prices) else (prices[-1][3],) * 4
        rows.append((at, day, o, h, low, c, volume))
    record(root, symbol, Resolution.MINUTE, rows)


def days(root, symbol, prices, first=date(2024, 1, 2), volume=1_000_000.0):
    """Daily bars from (open, high, low, close)."""
    found = list(sessions(first, first + timedelta(days=3 * len(prices) + 10)))[: len(prices)]
    rows = [(closes, day, *bar, volume) for (day, _, closes), bar in zip(found, prices, strict=True)]
    record(root, symbol, Resolution.DAILY, rows)
