"""Whether the bars that warmed a strategy up are fit to decide on.

Belongs here: putting the bars of a feed before the warehouse's quality rules. Does not belong here: the rules (see
`warehouse.quality`), what a fault means for orders (see `broker.live.gates`).

Bars of the warehouse were judged there. Those that history brought were not, and the two may not fit together, so the
whole series is judged as the strategy saw it, on the scale of its splits.
"""

import math
from datetime import UTC, date

import backtrader as bt
import numpy as np
import pyarrow as pa

from broker.closed_bars import microseconds
from broker.feed import LiveFeed
from warehouse.calendar import TradingCalendar
from warehouse.quality import QualityReport, QualitySettings
from warehouse.quality.evidence import Schedule, gather
from warehouse.quality.inspection import judge
from warehouse.resolution import Resolution
from warehouse.schema import CLEAN_SCHEMA, QUARANTINE_SCHEMA, REVISIONS_SCHEMA

Row = tuple[int, float, float, float, float, float]
"""A bar: its close (UTC microseconds since 1970), open, high, low, close, volume (NaN where unknown)."""


def delivered(feed: LiveFeed) -> list[Row]:
    """The bars that a feed has delivered so far, oldest first."""
    lines = (feed.datetime, feed.open, feed.high, feed.low, feed.close, feed.volume)
    columns = [line.get(size=len(feed)) for line in lines]
    return [
        (microseconds(bt.num2date(days).replace(tzinfo=UTC)), *figures) for days, *figures in zip(*columns, strict=True)
    ]


def quality_of(
    symbol: str,
    bars: list[Row],
    resolution: Resolution,
    calendar: TradingCalendar,
    session: date,
    *,
    settings: QualitySettings | None = None,
) -> QualityReport:
    """What the warehouse's rules say about the bars that warm a strategy up.

    Args:
        symbol: whose bars they are.
        bars: ascending.
        resolution: their length.
        calendar: the exchange's sessions.
        session: the one that is traded; it has begun, but is not over.
        settings: thresholds and severities other than the defaults.
    """
    evidence = gather(
        symbol,
        resolution,
        bars=_clean(symbol, bars, resolution, calendar),
        batches=[],
        quarantine=QUARANTINE_SCHEMA.empty_table(),
        revisions=REVISIONS_SCHEMA.empty_table(),
        schedule=Schedule.of(calendar),
        today=session,
    )
    return judge(evidence, settings or QualitySettings(), session)


def sentence(report: QualityReport) -> str | None:
    """Why a strategy must not enter on these bars; None where no rule of severity ERROR failed."""
    if not report.errors:
        return None
    told = {row["rule"]: row["message"] for row in report.checks.to_pylist()}
    return f"{report.symbol}: quality ERROR in the bars that warm up: " + " ".join(
        f"{rule}: {told[rule]}" for rule in report.errors
    )


def _clean(symbol: str, bars: list[Row], resolution: Resolution, calendar: TradingCalendar) -> pa.Table:
    """Rows of CLEAN_SCHEMA; a bar belongs to the session in which it closes."""
    count = len(bars)
    stamps = np.array([bar[0] for bar in bars], np.int64)
    sessions = calendar.days[np.searchsorted(calendar.closes, stamps, side="left")]
    prices = [[bar[place] for bar in bars] for place in range(1, 5)]
    volumes = [None if math.isnan(bar[5]) else bar[5] for bar in bars]
    ones = pa.array(np.ones(count))
    columns = {
        "symbol": pa.array([symbol] * count), "resolution": pa.array([resolution.value] * count),
        "ts": pa.array(stamps).cast(pa.timestamp("us", tz="UTC")),
        "session": pa.array(sessions.astype(np.int32)).cast(pa.date32()),
        "regular": pa.array(np.ones(count, np.bool_)),
        **{name: pa.array(values) for name, values in zip(("open", "high", "low", "close"), prices, strict=True)},
        "volume": pa.array(volumes, pa.float64()), "split_factor": ones, "dividend_factor": ones,
    }  # fmt: skip
    return pa.table([columns[field.name].cast(field.type) for field in CLEAN_SCHEMA], schema=CLEAN_SCHEMA)
