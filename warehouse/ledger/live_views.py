"""The ledger for SQL: its `live_*` views as Arrow tables.

Belongs here: columns and types of the views, and reading them all at one moment without standing in a writer's way.
Does not belong here: the views' own SQL (see `migrations`), DuckDB (see `warehouse.catalog`).

Quantities, prices and money are floats here, like those of backtests; the exact Decimals are the ledger's.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from sqlalchemy import TableClause

_TEXT, _FLOAT, _WHOLE, _FLAG, _DATE = pa.string(), pa.float64(), pa.int64(), pa.bool_(), pa.date32()
_MOMENT = pa.timestamp("us", tz="UTC")
_WHOSE = {"deployment": _TEXT, "account": _TEXT, "session": _DATE}

LIVE_SCHEMAS: Mapping[str, pa.Schema] = {
    name: pa.schema(columns)
    for name, columns in {
        "live_deployments": {
            "deployment": _TEXT, "account": _TEXT, "ts": _MOMENT, "enabled": _FLAG, "experiment": _TEXT, "mode": _TEXT,
            "fingerprint": _TEXT, "by": _TEXT,
        },
        "live_sessions": {
            **_WHOSE, "run_id": _TEXT, "attempt": _WHOLE, "started": _MOMENT, "ended": _MOMENT, "outcome": _TEXT,
            "reason": _TEXT,
        },
        "live_intents": {
            **_WHOSE, "ts": _MOMENT, "order_ref": _TEXT, "parent_ref": _TEXT, "symbol": _TEXT, "con_id": _WHOLE,
            "side": _TEXT, "quantity": _FLOAT, "order_type": _TEXT, "limit_price": _FLOAT, "stop_price": _FLOAT,
            "tif": _TEXT, "bar_ts": _MOMENT, "reason": _TEXT, "decision_price": _FLOAT,
        },
        "live_orders": {
            **_WHOSE, "order_ref": _TEXT, "intended": _MOMENT, "symbol": _TEXT, "side": _TEXT, "quantity": _FLOAT,
            "order_type": _TEXT, "limit_price": _FLOAT, "stop_price": _FLOAT, "state": _TEXT, "done": _FLAG,
            "reason": _TEXT, "code": _WHOLE, "changed": _MOMENT, "perm_id": _WHOLE, "filled": _FLOAT,
            "average_price": _FLOAT,
        },
        "live_fills": {
            **_WHOSE, "ts": _MOMENT, "exec_id": _TEXT, "revision": _WHOLE, "order_ref": _TEXT, "symbol": _TEXT,
            "con_id": _WHOLE, "side": _TEXT, "quantity": _FLOAT, "price": _FLOAT, "currency": _TEXT, "exchange": _TEXT,
            "external": _FLAG, "commission": _FLOAT, "commission_currency": _TEXT, "realized": _FLOAT,
            "recorded": _MOMENT,
        },
        "live_positions": {
            "account": _TEXT, "source": _TEXT, "symbol": _TEXT, "con_id": _WHOLE, "currency": _TEXT, "quantity": _FLOAT,
            "average_cost": _FLOAT, "ts": _MOMENT, "deployment": _TEXT,
        },
        "live_cash": {
            "account": _TEXT, "currency": _TEXT, "amount": _FLOAT, "ts": _MOMENT, "deployment": _TEXT,
        },
        "live_equity": {
            **_WHOSE, "ts": _MOMENT, "currency": _TEXT, "equity": _FLOAT, "cash": _FLOAT, "gross_value": _FLOAT,
            "unrealized": _FLOAT, "realized": _FLOAT,
        },
        "live_risk_events": {
            **_WHOSE, "ts": _MOMENT, "kind": _TEXT, "symbol": _TEXT, "limit": _TEXT, "limit_value": _FLOAT,
            "measured": _FLOAT, "quantity_requested": _FLOAT, "quantity_allowed": _FLOAT, "state": _TEXT,
            "reason": _TEXT,
        },
        "live_commands": {
            "command": _WHOLE, "deployment": _TEXT, "account": _TEXT, "ts": _MOMENT, "action": _TEXT, "reason": _TEXT,
            "by": _TEXT, "answered": _MOMENT, "outcome": _TEXT, "text": _TEXT,
        },
        "live_alarms": {**_WHOSE, "ts": _MOMENT, "code": _TEXT, "text": _TEXT, "order_ref": _TEXT},
        "live_heartbeats": {
            "deployment": _TEXT, "component": _TEXT, "ts": _MOMENT, "pid": _WHOLE, "host": _TEXT, "status": _TEXT,
        },
    }.items()
}  # fmt: skip
"""The columns of each view."""

_SECONDS = 30.0


def read_live_views(url_or_path: str | Path, names: Collection[str]) -> dict[str, pa.Table]:
    """Some of the views, all of one moment; empty where there is no ledger yet. Nothing is made, migrated or locked.

    Args:
        url_or_path: as for `Ledger.open`.
        names: keys of `LIVE_SCHEMAS`.

    Raises:
        LedgerSchemaError: another version of barloom made the ledger.
        LedgerError: it cannot be read.
    """
    from warehouse.ledger.database import Place, make_engine, told  # noqa: PLC0415 (SQL only where it is asked for)
    from warehouse.ledger.schema import refuse_other, revision_of  # noqa: PLC0415
    from warehouse.ledger.store import reading  # noqa: PLC0415
    from warehouse.ledger.tables import REVISION  # noqa: PLC0415

    place = Place.of(url_or_path)
    if place.file is not None and not place.file.exists():
        return {name: LIVE_SCHEMAS[name].empty_table() for name in names}
    engine = make_engine(place, _SECONDS, reading=True)
    try:
        with told(place, "reading"), reading(engine) as connection:
            found = revision_of(connection)
            if found is None:
                return {name: LIVE_SCHEMAS[name].empty_table() for name in names}
            if found != REVISION:
                raise refuse_other(found)
            return {
                name: _arrow([dict(row) for row in connection.execute(_view(name).select()).mappings()], name)
                for name in names
            }
    finally:
        engine.dispose()


def _view(name: str) -> "TableClause":
    from sqlalchemy import BigInteger, Boolean, Date, Text, column, table  # noqa: PLC0415
    from sqlalchemy.types import NullType, TypeEngine  # noqa: PLC0415

    from warehouse.ledger.tables import UtcDateTime  # noqa: PLC0415

    kinds: dict[pa.DataType, TypeEngine[Any]] = {
        _TEXT: Text(), _WHOLE: BigInteger(), _FLAG: Boolean(), _DATE: Date(), _MOMENT: UtcDateTime(),
        _FLOAT: NullType(),  # a text or a number
    }  # fmt: skip
    return table(name, *(column(part.name, kinds[part.type]) for part in LIVE_SCHEMAS[name]))


def _arrow(rows: list[dict[str, Any]], name: str) -> pa.Table:
    schema = LIVE_SCHEMAS[name]
    columns = [[_plain(row[part.name], part.type) for row in rows] for part in schema]
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def _plain(value: object, kind: pa.DataType) -> object:
    """Exact numbers lie as text in the ledger."""
    if kind == _FLOAT and value is not None:
        return float(str(value))
    return value
