"""Bars made up for measuring: a seeded random walk on the real exchange calendar.

Belongs here: generated vendor data for the bench. Does not belong here: anything that a user could mistake for prices.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pyarrow as pa

from warehouse.calendar import get_calendar
from warehouse.resolution import Resolution
from warehouse.schema import VENDOR_SCHEMA
from warehouse.sources import BarRequest, VendorBars

MINUTE_US = 60_000_000


class GeneratedSource:
    """A source of random walks, seeded by the symbol; open-stamped minutes or session-stamped days."""

    name = "generated"

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = tuple(symbols)

    def symbols(self) -> Sequence[str]:
        """The symbols it was made for."""
        return self._symbols

    def fetch(self, request: BarRequest) -> VendorBars:
        """Bars of the request's sessions, all minutes present."""
        stamps = _stamps(request.start, request.end, request.resolution)
        stamped = "open" if request.resolution.intraday else "session"
        return VendorBars(_walk(stamps, seed=sum(request.symbol.encode())), stamped, "TRADES")


def _stamps(start: date, end: date, resolution: Resolution) -> np.ndarray:
    schedule = get_calendar("XNYS").schedule(start, end)
    if not resolution.intraday:
        return (
            np.asarray(schedule["session"].to_numpy()).astype("datetime64[D]").astype("datetime64[us]").astype("int64")
        )
    opens = schedule["open"].cast(pa.int64()).to_numpy()
    closes = schedule["close"].cast(pa.int64()).to_numpy()
    return np.concatenate([np.arange(o, c, MINUTE_US) for o, c in zip(opens, closes, strict=True)])


def _walk(stamps: np.ndarray, *, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    n = len(stamps)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.0005, n))), 4)
    open_ = np.concatenate([[100.0], close[:-1]])[:n]
    spread = np.abs(rng.normal(0, 0.0002, n)) + 1e-4
    columns = {
        "stamp": pa.array(stamps, pa.int64()).cast(VENDOR_SCHEMA.field("stamp").type),
        "open": open_,
        "high": np.round(np.maximum(open_, close) * (1 + spread), 4),
        "low": np.round(np.minimum(open_, close) * (1 - spread), 4),
        "close": close,
        "volume": rng.integers(100, 10_000, n).astype(float),
    }
    nulls = {name: pa.nulls(n, pa.float64()) for name in ("adj_close", "split_factor", "dividend_factor")}
    return pa.table({**columns, **nulls}, schema=VENDOR_SCHEMA)
