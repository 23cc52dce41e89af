"""Column names and types of everything the warehouse writes.

Belongs here: Arrow schemas, the one place that fixes names, types and units. Does not belong here: paths, SQL.

Time is UTC in microseconds. Prices are in the symbol's currency per share, as the vendor sent them
(unadjusted unless the vendor adjusts). Volume is in shares.
"""

import pyarrow as pa

UTC_US = pa.timestamp("us", tz="UTC")

_OHLCV = [
    pa.field("open", pa.float64()),
    pa.field("high", pa.float64()),
    pa.field("low", pa.float64()),
    pa.field("close", pa.float64()),
    pa.field("volume", pa.float64()),
]

VENDOR_SCHEMA = pa.schema(
    [
        pa.field("stamp", UTC_US),  # the vendor's stamp, in UTC; what it marks is said by `stamped`
        *_OHLCV,
        pa.field("adj_close", pa.float64()),  # vendor's split and dividend adjusted close, or null
        pa.field("split_factor", pa.float64()),  # vendor's cumulative factor price -> split adjusted, or null
        pa.field("dividend_factor", pa.float64()),  # vendor's cumulative dividend factor, or null
    ]
)
"""What a source returns for one symbol and range: rows in the vendor's order, nothing repaired."""

RAW_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("resolution", pa.string()),
        *VENDOR_SCHEMA,
        pa.field("stamped", pa.string()),  # "open" | "clock_open" | "close" | "session": what `stamp` marks
        pa.field("source", pa.string()),
        pa.field("what_to_show", pa.string()),
        pa.field("fetched_at", UTC_US),
        pa.field("batch_id", pa.string()),
    ]
)
"""One raw batch: VENDOR_SCHEMA plus where and when it came from. Append-only."""

CLEAN_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("resolution", pa.string()),
        pa.field("ts", UTC_US),  # the bar's close
        pa.field("session", pa.date32()),  # exchange trading day
        pa.field("regular", pa.bool_()),  # inside regular trading hours
        *_OHLCV,
        pa.field("split_factor", pa.float64()),  # multiply a price by it: split-adjusted price
        pa.field("dividend_factor", pa.float64()),  # multiply again: total-return price
    ]
)
"""Cleaned bars: unique and ascending in `ts`, vendor prices on one scale, factors applied on read."""

BARS_SCHEMA = pa.schema([CLEAN_SCHEMA.field(i) for i in range(10)])
"""What a reader gets from `Warehouse.read_bars`: CLEAN_SCHEMA without factors, prices and volume adjusted."""

SEEN_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("ts", UTC_US),  # the bar's close
        *_OHLCV,
        pa.field("seen", UTC_US),  # the market's time when the strategy saw it
        pa.field("live", pa.bool_()),  # whether orders could be sent on it
        pa.field("run", pa.int64()),  # which of the session's runs saw it, from 1
    ]
)
"""Bars as the runs of a live session saw them: split-adjusted as of that day, in the order in which they came."""

ACTIONS_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("ex_date", pa.date32()),  # first session that trades on the new scale
        pa.field("kind", pa.string()),  # "split" | "dividend"
        pa.field("ratio", pa.float64()),  # factor for all earlier prices: 2:1 split 0.5, 1 % dividend 0.99
        pa.field("evidence", pa.string()),  # "factor" (the vendor's) | "overlap" (two batches disagree by it)
        pa.field("source", pa.string()),
        pa.field("fetched_at", UTC_US),  # when the batch that shows it arrived
    ]
)

QUARANTINE_SCHEMA = pa.schema([*RAW_SCHEMA, pa.field("reason", pa.string()), pa.field("detail", pa.string())])
"""A raw bar that is not in the clean series, `reason` a short id, `detail` one sentence."""

REVISIONS_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("resolution", pa.string()),
        pa.field("ts", UTC_US),
        pa.field("field", pa.string()),
        pa.field("old", pa.float64()),
        pa.field("new", pa.float64()),
        pa.field("old_fetched_at", UTC_US),
        pa.field("new_fetched_at", UTC_US),
    ]
)
"""A value that a later batch changed, after price-scale changes are taken out."""

QUALITY_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("resolution", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("severity", pa.string()),  # "INFO" | "WARN" | "ERROR": what a failure of this rule means
        pa.field("passed", pa.bool_()),
        pa.field("threshold", pa.float64()),
        pa.field("measured", pa.float64()),  # null when the rule could not be computed
        pa.field("offending", pa.int64()),  # rows in the findings file
        pa.field("message", pa.string()),
    ]
)
"""One row a rule."""

FINDINGS_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("resolution", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("severity", pa.string()),
        pa.field("ts", UTC_US),  # null where the finding is about an absence longer than a bar
        pa.field("session", pa.date32()),
        pa.field("value", pa.float64()),
        pa.field("detail", pa.string()),
    ]
)
"""The offending rows behind a failed rule."""
