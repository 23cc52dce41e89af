"""A faultless series of bars that a test then breaks in one place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from warehouse.calendar import TradingCalendar, get_calendar
from warehouse.quality import QualityReport, QualitySettings
from warehouse.quality.evidence import Schedule, gather
from warehouse.quality.inspection import judge
from warehouse.resolution import Resolution
from warehouse.schema import CLEAN_SCHEMA, QUARANTINE_SCHEMA, RAW_SCHEMA, REVISIONS_SCHEMA, UTC_US


@dataclass(frozen=True)
class Judged:
    """A report, and what it says on one rule."""

    report: QualityReport

    def check(self, rule: str) -> dict[str, Any]:
        """The row of one rule."""
        [row] = [row for row in self.report.checks.to_pylist() if row["rule"] == rule]
        return row

    def findings(self, rule: str) -> list[dict[str, Any]]:
        """The offending rows of one rule."""
        return self.report.findings_of(rule).to_pylist()


@dataclass
class Series:
    """Columns of clean bars, free to be changed, and what was delivered beside them."""

    columns: dict[str, Any]
    resolution: Resolution = Resolution.DAILY
    calendar: TradingCalendar = field(default_factory=lambda: get_calendar("XNYS"))
    batches: list[pa.Table] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    revisions: list[dict[str, Any]] = field(default_factory=list)
    today: date | None = None

    def __len__(self) -> int:
        return len(self.columns["ts"])

    def keep(self, mask: Any) -> "Series":
        """Drop the bars where the mask is False."""
        self.columns = {name: np.asarray(values)[mask] for name, values in self.columns.items()}
        return self

    def scale(self, start: int, factor: float) -> "Series":
        """Multiply the four prices from one bar on."""
        for name in ("open", "high", "low", "close"):
            self.columns[name][start:] *= factor
        return self

    def table(self) -> pa.Table:
        """The bars with CLEAN_SCHEMA."""
        constant = {"symbol": ["XYZ"] * len(self), "resolution": [self.resolution.value] * len(self)}
        columns = {
            **constant,
            **self.columns,
            "ts": pa.array(self.columns["ts"]).cast(UTC_US),
            "session": pa.array(self.columns["session"]).cast(pa.date32()),
        }
        return pa.table([pa.array(columns[name]) for name in CLEAN_SCHEMA.names], schema=CLEAN_SCHEMA)

    def judge(self, **settings: Any) -> Judged:
        """The report, inspected the day after the last bar unless told otherwise."""
        last = date(1970, 1, 1) + timedelta(days=int(self.columns["session"][-1]) + 1 if len(self) else 20_000)
        today = self.today or last
        evidence = gather(
            "XYZ",
            self.resolution,
            bars=self.table(),
            batches=self.batches,
            quarantine=pa.Table.from_pylist(self.quarantine, schema=QUARANTINE_SCHEMA),
            revisions=pa.Table.from_pylist(self.revisions, schema=REVISIONS_SCHEMA),
            schedule=Schedule.of(self.calendar),
            today=today,
        )
        return Judged(judge(evidence, QualitySettings(**settings), today))


def _raw_batch(stamps: Sequence[datetime], **columns: Sequence[Any]) -> pa.Table:
    fixed = {"symbol": "XYZ", "resolution": "1d", "stamped": "session", "source": "test", "what_to_show": "TRADES",
             "fetched_at": datetime(2030, 1, 1, tzinfo=UTC), "batch_id": "b"}  # fmt: skip
    rows = [
        {**fixed, "stamp": stamp, **{name: values[i] for name, values in columns.items()}}
        for i, stamp in enumerate(stamps)
    ]
    return pa.Table.from_pylist(rows, schema=RAW_SCHEMA)


def _walk(count: int, seed: int) -> dict[str, Any]:
    """Plausible prices and volumes without a fault."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, count)))
    opened = np.r_[100.0, close[:-1]] * np.exp(random.normal(0, 0.002, count))
    return {
        "open": opened,
        "high": np.maximum(opened, close) * 1.003,
        "low": np.minimum(opened, close) * 0.997,
        "close": close,
        "volume": np.round(random.lognormal(14, 0.2, count)),
        "split_factor": np.ones(count),
        "dividend_factor": np.ones(count),
        "regular": np.ones(count, bool),
    }


@pytest.fixture(scope="session")
def raw_batch() -> Callable[..., pa.Table]:
    """One vendor delivery with RAW_SCHEMA, given its stamps and what else matters."""
    return _raw_batch


@pytest.fixture(scope="session")
def daily() -> Callable[..., Series]:
    """Daily bars of every session of a range."""

    def build(start: date = date(2023, 1, 3), end: date = date(2024, 12, 31), calendar: str = "XNYS") -> Series:
        exchange = get_calendar(calendar)
        low, high = np.searchsorted(exchange.days, [(d - date(1970, 1, 1)).days for d in (start, end)])
        part = slice(low, high + 1 if exchange.is_session(end) else high)
        columns = {"ts": exchange.closes[part].copy(), "session": exchange.days[part].astype(np.int32)}
        return Series({**columns, **_walk(len(columns["ts"]), 1)}, calendar=exchange)

    return build


@pytest.fixture(scope="session")
def intraday() -> Callable[..., Series]:
    """Bars of a finer resolution for every session of a range, cut from the open."""

    def build(
        start: date = date(2024, 11, 25),
        end: date = date(2024, 12, 6),
        resolution: Resolution = Resolution.MINUTE,
        calendar: str = "XNYS",
    ) -> Series:
        exchange = get_calendar(calendar)
        length = round(resolution.length.total_seconds() * 1e6)
        stamps, sessions = [], []
        for day in exchange.sessions(start, end):
            i = int(np.searchsorted(exchange.days, (day - date(1970, 1, 1)).days))
            halves = [(exchange.opens[i], exchange.break_starts[i]), (exchange.break_ends[i], exchange.closes[i])]
            for begin, stop in halves:
                closes = np.minimum(np.arange(begin + length, stop + length, length), stop)
                stamps.append(closes[closes > begin])
                sessions.append(np.full(len(stamps[-1]), exchange.days[i], np.int32))
        columns = {"ts": np.concatenate(stamps), "session": np.concatenate(sessions)}
        return Series({**columns, **_walk(len(columns["ts"]), 2)}, resolution, exchange)

    return build
