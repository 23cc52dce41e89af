"""Builders of vendor tables, batches and sources for the warehouse's unit tests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from warehouse.calendar import TradingCalendar, get_calendar
from warehouse.ingest import make_batch
from warehouse.resolution import Resolution
from warehouse.schema import VENDOR_SCHEMA
from warehouse.sources.protocol import BarRequest, VendorBars
from warehouse.store import Warehouse

Row = tuple[object, ...]
"""(stamp, open, high, low, close, volume, adj_close?, split_factor?, dividend_factor?)"""


def vendor_table(rows: Sequence[Row]) -> pa.Table:
    padded = [tuple(row) + (None,) * (9 - len(row)) for row in rows]
    columns = list(zip(*padded, strict=True)) if padded else [[]] * 9
    arrays = [pa.array(list(c), f.type) for c, f in zip(columns, VENDOR_SCHEMA, strict=True)]
    return pa.table(arrays, schema=VENDOR_SCHEMA)


def batch_of(
    rows: Sequence[Row],
    *,
    fetched: datetime = datetime(2024, 12, 31, tzinfo=UTC),
    stamped: str = "session",
    resolution: Resolution = Resolution.DAILY,
    source: str = "vendor",
    symbol: str = "XYZ",
) -> pa.Table:
    return make_batch(VendorBars(vendor_table(rows), stamped), symbol, resolution, source, fetched)  # type: ignore[arg-type]


@dataclass
class ListSource:
    """A vendor whose whole history is a list of rows; counts what it is asked."""

    rows: list[Row]
    stamped: str = "session"
    name: str = "vendor"
    asked: list[tuple[date, date]] = field(default_factory=list)

    def symbols(self) -> list[str]:
        return ["XYZ"]

    def fetch(self, request: BarRequest) -> VendorBars:
        self.asked.append((request.start, request.end))
        inside = [r for r in self.rows if request.start <= r[0].date() <= request.end]  # type: ignore[attr-defined]
        return VendorBars(vendor_table(inside), self.stamped)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def xnys() -> TradingCalendar:
    return get_calendar("XNYS")


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "data")


@pytest.fixture(scope="session")
def batch() -> Callable[..., pa.Table]:
    return batch_of


@pytest.fixture(scope="session")
def list_source() -> type[ListSource]:
    return ListSource


@pytest.fixture(scope="session")
def daily_rows(xnys: TradingCalendar) -> Callable[..., list[Row]]:
    """Random but fixed daily rows for the sessions of a range, stamped with the session, prices in cents."""

    def build(start: date, end: date, *, price: float = 100.0, seed: int = 1) -> list[Row]:
        days = xnys.sessions(start, end)
        closes = np.round(price * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, len(days)))), 2)
        opens = np.concatenate([[price], closes[:-1]])
        return [
            (datetime(d.year, d.month, d.day, tzinfo=UTC), o, max(o, c) + 0.5, min(o, c) - 0.5, c, 1000.0 + i)
            for i, (d, o, c) in enumerate(zip(days, opens.tolist(), closes.tolist(), strict=True))
        ]

    return build
