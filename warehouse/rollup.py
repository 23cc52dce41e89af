"""Coarser bars out of finer ones: minutes to hours to days, on session boundaries.

Belongs here: aggregation of clean bars by DuckDB. Does not belong here: cleaning, calendars' arithmetic.

Only bars of regular hours count, as in an exchange's own daily bar. An hour is counted from the session's open
(09:30 to 10:30 in New York), and the last one ends at the close, early closes included.
"""

from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.calendar import TradingCalendar
from warehouse.errors import InvalidRequestError
from warehouse.resolution import Resolution
from warehouse.schema import CLEAN_SCHEMA, UTC_US

_MICROSECOND = timedelta(microseconds=1)

# Times are UTC microseconds as integers; the start of a bar tells its bucket. Volume is summed in order of time, so
# that a sum of floating-point numbers does not depend on how rows were dealt out to threads.
_ROLL_UP = """
    WITH placed AS (
        SELECT finer.*, schedule.open_us, schedule.close_us,
               CASE WHEN $daily THEN 0
                    ELSE greatest(ts - $finer_length - open_us, 0) // $length END AS bucket
        FROM finer JOIN schedule USING (session)
        WHERE regular
    )
    SELECT symbol,
           CASE WHEN $daily THEN close_us ELSE least(open_us + (bucket + 1) * $length, close_us) END AS closed,
           session,
           arg_min(open, ts) AS open,
           max(high) AS high,
           min(low) AS low,
           arg_max(close, ts) AS close,
           sum(volume ORDER BY ts) AS volume,
           arg_max(split_factor, ts) AS split_factor,
           arg_max(dividend_factor, ts) AS dividend_factor
    FROM placed
    GROUP BY symbol, session, open_us, close_us, bucket
    ORDER BY symbol, closed
"""


def roll_up(bars: pa.Table, to: Resolution, calendar: TradingCalendar) -> pa.Table:
    """Aggregate clean bars into a coarser resolution.

    Args:
        bars: CLEAN_SCHEMA in one resolution, any number of symbols.
        to: the coarser resolution.
        calendar: sessions of the symbols' exchange.

    Returns:
        CLEAN_SCHEMA, ascending by symbol and close. A session or hour without a regular bar gives no row.

    Raises:
        InvalidRequestError: the bars are not finer than `to`, or mix resolutions.
    """
    if not bars.num_rows:
        return CLEAN_SCHEMA.empty_table()
    found = bars["resolution"].unique().to_pylist()
    if len(found) != 1:
        raise InvalidRequestError(f"resolution: bars of {', '.join(found)} cannot be rolled up together.")
    finer = Resolution.parse(found[0])
    if finer.length >= to.length:
        raise InvalidRequestError(f"resolution: {finer.value} bars cannot be rolled up to {to.value}.")
    parameters = {
        "daily": not to.intraday,
        "length": to.length // _MICROSECOND,
        "finer_length": finer.length // _MICROSECOND,
    }
    schedule = calendar.schedule(pc.min(bars["session"]).as_py(), pc.max(bars["session"]).as_py())
    import duckdb  # noqa: PLC0415 (12 MB, for nothing where bars are only read)

    with duckdb.connect() as connection:
        connection.register("finer", _with_integers(bars, {"ts": "ts"}))
        connection.register("schedule", _with_integers(schedule, {"open": "open_us", "close": "close_us"}))
        rolled = connection.sql(_ROLL_UP, params=parameters).to_arrow_table()
    return _as_clean(rolled, to)


def _with_integers(table: pa.Table, names: dict[str, str]) -> pa.Table:
    """The table with these timestamp columns as microseconds, under other names."""
    columns = {names.get(f.name, f.name): table[f.name] for f in table.schema}
    return pa.table({n: c.cast(pa.int64()) if n in names.values() else c for n, c in columns.items()})


def _as_clean(rolled: pa.Table, to: Resolution) -> pa.Table:
    count = rolled.num_rows
    columns = {
        "resolution": pa.repeat(pa.scalar(to.value), count),
        "ts": rolled["closed"].cast(pa.int64()).cast(UTC_US),
        "regular": pa.repeat(pa.scalar(value=True), count),
    }
    chosen = [columns[f.name] if f.name in columns else rolled[f.name].cast(f.type) for f in CLEAN_SCHEMA]
    return pa.table(chosen, schema=CLEAN_SCHEMA)
