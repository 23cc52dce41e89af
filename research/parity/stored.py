"""The bars of a session as the warehouse holds them now.

Belongs here: reading them on the scale of the session, and whether they are there. Does not belong here: fetching them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from research.experiment import Experiment
from warehouse.errors import NoDataError
from warehouse.schema import BARS_SCHEMA
from warehouse.store import Warehouse


@dataclass(frozen=True, slots=True)
class StoredBars:
    """Bars by symbol (BARS_SCHEMA), or why there are none: `missing` is a sentence, None where nothing is."""

    bars: Mapping[str, pa.Table]
    missing: str | None


def stored_bars(
    warehouse: Warehouse, experiment: Experiment, session: date, seen: Mapping[str, pa.Table]
) -> StoredBars:
    """Warm-up and session as stored, from the first day that was seen to the last bar that was.

    Days that the warehouse does not hold are taken as they were seen, but the session itself has to be there.

    Args:
        warehouse: where they are read.
        experiment: which symbols, which resolution.
        session: the exchange date.
        seen: BARS_SCHEMA by symbol, as the session saw them.

    Raises:
        CorruptFileError: a file of the warehouse cannot be read.
    """
    found = {}
    for symbol in experiment.symbols:
        mine = seen[symbol]
        if not mine.num_rows:
            continue
        table = _read(warehouse, experiment, symbol, mine["session"][0].as_py(), session)
        last, held = _last(mine), _last(_of(table, session))
        if held is None or (last is not None and held < last):
            lacks = f"does not hold {session} yet" if held is None else f"holds {session} up to {held:%H:%M} UTC only"
            return StoredBars({}, f"{symbol}: the warehouse {lacks}.")
        found[symbol] = _up_to(_with_days_seen(table, mine), last)
    return StoredBars(found, None)


def _read(warehouse: Warehouse, experiment: Experiment, symbol: str, start: date, session: date) -> pa.Table:
    """Regular bars, adjusted for the splits up to the session and not for later ones."""
    try:
        adjusted, plain = (
            warehouse.read_bars(symbol, experiment.resolution, start=start, end=session, adjust=how)
            for how in ("splits", "none")
        )
    except NoDataError:
        return BARS_SCHEMA.empty_table()
    rows = pc.and_(adjusted["regular"], pc.is_valid(adjusted["close"]))
    adjusted, plain = adjusted.filter(rows), plain.filter(rows)
    if not adjusted.num_rows:
        return adjusted
    later = adjusted["close"][-1].as_py() / plain["close"][-1].as_py()
    if later == 1:
        return adjusted
    for name in ("open", "high", "low", "close", "volume"):
        scaled = pc.multiply(adjusted[name], later if name == "volume" else 1 / later)
        adjusted = adjusted.set_column(adjusted.schema.get_field_index(name), BARS_SCHEMA.field(name), scaled)
    return adjusted


def _of(table: pa.Table, session: date) -> pa.Table:
    return table.filter(pc.equal(table["session"], pa.scalar(session)))


def _last(table: pa.Table) -> datetime | None:
    if not table.num_rows:
        return None
    last: datetime = table["ts"][-1].as_py()
    return last


def _with_days_seen(table: pa.Table, seen: pa.Table) -> pa.Table:
    """The stored days, and between them those that only the session has seen."""
    held = pc.unique(table["session"])
    missing = seen.filter(pc.invert(pc.is_in(seen["session"], held)))
    return pa.concat_tables([table, missing]).sort_by("ts") if missing.num_rows else table


def _up_to(table: pa.Table, last: datetime | None) -> pa.Table:
    return table if last is None else table.filter(pc.less_equal(table["ts"], pa.scalar(last, table["ts"].type)))
