# ruff: noqa: S608 - the SQL here is put together from constants and quoted paths, never from user input
"""The SQL of the catalog's views.

Belongs here: view definitions over the files of the warehouse and of backtests, with their column types.
Does not belong here: connections, who may query (see `warehouse.catalog`).

Each view has typed columns before any file exists. Times are UTC.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from warehouse.schema import (
    ACTIONS_SCHEMA,
    CLEAN_SCHEMA,
    FINDINGS_SCHEMA,
    QUALITY_SCHEMA,
    QUARANTINE_SCHEMA,
    RAW_SCHEMA,
    REVISIONS_SCHEMA,
)

_SQL_TYPES: Mapping[pa.DataType, str] = {
    pa.string(): "VARCHAR",
    pa.float64(): "DOUBLE",
    pa.int64(): "BIGINT",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
}

# What a backtest writes; a file of another version may hold more, and the views show that too.
_BACKTEST_TABLES: Mapping[str, Mapping[str, str]] = {
    "equity": {
        "ts": "TIMESTAMPTZ",
        "session": "DATE",
        "equity": "DOUBLE",
        "cash": "DOUBLE",
        "position_value": "DOUBLE",
        "gross_value": "DOUBLE",
        "financing": "DOUBLE",
    },
    "orders": {
        "order_id": "BIGINT",
        "parent_id": "BIGINT",
        "ts": "TIMESTAMPTZ",
        "symbol": "VARCHAR",
        "side": "VARCHAR",
        "kind": "VARCHAR",
        "quantity_requested": "DOUBLE",
        "quantity": "DOUBLE",
        "price": "DOUBLE",
        "limit_price": "DOUBLE",
        "filled": "DOUBLE",
        "status": "VARCHAR",
        "final_ts": "TIMESTAMPTZ",
        "reason": "VARCHAR",
    },
    "fills": {
        "ts": "TIMESTAMPTZ",
        "session": "DATE",
        "symbol": "VARCHAR",
        "side": "VARCHAR",
        "quantity": "DOUBLE",
        "price": "DOUBLE",
        "commission": "DOUBLE",
        "slippage": "DOUBLE",
        "order_id": "BIGINT",
    },
    "trades": {
        "symbol": "VARCHAR",
        "side": "VARCHAR",
        "entry_ts": "TIMESTAMPTZ",
        "exit_ts": "TIMESTAMPTZ",
        "quantity": "DOUBLE",
        "entry_price": "DOUBLE",
        "exit_price": "DOUBLE",
        "gross_profit": "DOUBLE",
        "costs": "DOUBLE",
        "net_profit": "DOUBLE",
        '"return"': "DOUBLE",
        "bars_held": "BIGINT",
        "fills": "BIGINT",
    },
    "risk_events": {
        "ts": "TIMESTAMPTZ",
        "kind": "VARCHAR",
        "symbol": "VARCHAR",
        '"limit"': "VARCHAR",
        "limit_value": "DOUBLE",
        "measured": "DOUBLE",
        "quantity_requested": "DOUBLE",
        "quantity_allowed": "DOUBLE",
        "state": "VARCHAR",
        "reason": "VARCHAR",
    },
}

_RESULT_KEYS = {
    "id": "VARCHAR",
    "name": "VARCHAR",
    "created_at": "VARCHAR",
    "specification": "JSON",
    "metrics": "JSON",
}

_METRICS = {
    "total_return": "DOUBLE",
    "annual_return": "DOUBLE",
    "volatility": "DOUBLE",
    "sharpe_ratio": "DOUBLE",
    "sortino_ratio": "DOUBLE",
    "calmar_ratio": "DOUBLE",
    "max_drawdown": "DOUBLE",
    "trades": "BIGINT",
    "win_rate": "DOUBLE",
    "profit_factor": "DOUBLE",
    "fees": "DOUBLE",
}

_STUDY_KEYS = {
    "name": "VARCHAR",
    "state": "VARCHAR",
    "specification": "JSON",
    "sampler": "VARCHAR",
    "directions": "VARCHAR[]",
    "trials_run": "BIGINT",
    "verified": "BIGINT",
    "best": "JSON",
    "hold_out": "JSON",
    "seconds": "DOUBLE",
    "created_at": "VARCHAR",
    "updated_at": "VARCHAR",
}

_TRIALS = {
    "number": "BIGINT",
    "state": "VARCHAR",
    "value": "DOUBLE",
    '"values"': "DOUBLE[]",
    "plain_value": "DOUBLE",
    "penalty": "DOUBLE",
    "reason": "VARCHAR",
    "params": "VARCHAR",
    "metrics": "VARCHAR",
    "engine": "VARCHAR",
    "seconds": "DOUBLE",
    "started_at": "TIMESTAMPTZ",
    "finished_at": "TIMESTAMPTZ",
}

# Directory names repeat columns: DuckDB skips files by them (12 ms instead of 400 ms for one symbol of 500),
# and decodes `BRK%20B` itself.
_HIVE = "hive_partitioning=true, hive_types={'resolution': VARCHAR, 'symbol': VARCHAR, 'year': INTEGER}"

_RESULT_OPTIONS = (
    "format='unstructured', columns={" + ", ".join(f"'{key}': '{kind}'" for key, kind in _RESULT_KEYS.items()) + "}"
)

_STUDY_OPTIONS = (
    "format='unstructured', columns={" + ", ".join(f"'{key}': '{kind}'" for key, kind in _STUDY_KEYS.items()) + "}"
)

_ADJUSTED_PRICES = ", ".join(
    f"{name} * (split_factor * dividend_factor) AS {name}" for name in ("open", "high", "low", "close")
)


def view_definitions(data: Path, results: Path, *, live: bool) -> dict[str, str]:
    """The SELECT of each view by name, in an order in which they can be created.

    Args:
        data: the warehouse's folder; need not exist.
        results: the folder that holds `backtests/`; need not exist.
        live: True for views that are made anew for each query, False for views that are stored in a file.
    """

    # A folder may be staged under a name that starts with a dot, which DuckDB's `*` would match: hence `[!.]*`.
    def over(pattern: str, schema: pa.Schema, options: str = "") -> str:
        columns = {field.name: _SQL_TYPES[field.type] for field in schema}
        return _select(columns, _files("read_parquet", data.resolve(), pattern, options, live=live))

    def of_backtests(name: str) -> str:
        options = "union_by_name=true, filename=true"
        source = _files("read_parquet", results.resolve(), f"backtests/[!.]*/{name}.parquet", options, live=live)
        return _select_of_backtests(_BACKTEST_TABLES[name], source)

    return {
        "raw_bars": over("raw/*/*/*.parquet", RAW_SCHEMA),
        "bars_unadjusted": over("clean/resolution=*/symbol=*/year=*/bars.parquet", CLEAN_SCHEMA, _HIVE),
        "bars": f"""
            SELECT symbol, resolution, ts, session, regular, {_ADJUSTED_PRICES}, volume / split_factor AS volume
            FROM bars_unadjusted""",
        "corporate_actions": over("actions/*.parquet", ACTIONS_SCHEMA),
        "quarantine": over("quarantine/*/*.parquet", QUARANTINE_SCHEMA),
        "revisions": over("revisions/*/*.parquet", REVISIONS_SCHEMA),
        "quality": over("quality/*/[!.]*/checks.parquet", QUALITY_SCHEMA),
        "quality_findings": over("quality/*/[!.]*/findings.parquet", FINDINGS_SCHEMA),
        "backtests": _backtests(
            _files("read_json", results.resolve(), "backtests/[!.]*.json", _RESULT_OPTIONS, live=live)
        ),
        **{name: of_backtests(name) for name in _BACKTEST_TABLES},
        "studies": _studies(
            _files("read_json", results.resolve(), "studies/[!.]*/study.json", _STUDY_OPTIONS, live=live)
        ),
        "trials": _trials(
            _files("read_parquet", results.resolve(), "studies/[!.]*/trials.parquet", "filename=true", live=live)
        ),
    }


def _files(reader: str, root: Path, pattern: str, options: str, *, live: bool) -> str:
    """A table function over a glob that may match nothing.

    DuckDB knows `allow_empty` since 2.0, so a stored view holds it only while there is no file: older
    clients can read every view that has something to show.
    """
    may_be_empty = live or next(root.glob(pattern), None) is None
    arguments = [
        quote(f"{escape_glob(str(root))}/{pattern}"),
        options,
        "allow_empty=true" if may_be_empty else "",
    ]
    return f"{reader}({', '.join(filter(None, arguments))})"


def _select(columns: Mapping[str, str], source: str) -> str:
    return f"SELECT {', '.join(columns)} FROM ({_nothing(columns)} UNION ALL BY NAME SELECT * FROM {source})"


def _select_of_backtests(columns: Mapping[str, str], source: str) -> str:
    """A backtest's table with the backtest's id from its path."""
    return f"""
        SELECT parse_path(filename)[-2] AS backtest_id, COLUMNS(lambda c: c NOT IN ('empty', 'filename'))
        FROM ({_nothing({**columns, "filename": "VARCHAR"})} UNION ALL BY NAME SELECT * FROM {source})"""


def _backtests(source: str) -> str:
    """One row a backtest: what was run, and its headline metrics as columns."""
    metrics = ", ".join(f"TRY_CAST(metrics ->> '{name}' AS {kind}) AS {name}" for name, kind in _METRICS.items())
    return f"""
        SELECT id, name,
               specification ->> 'strategy' AS strategy,
               TRY_CAST(specification -> 'symbols' AS VARCHAR[]) AS symbols,
               TRY_CAST(specification ->> 'start' AS DATE) AS "start",
               TRY_CAST(specification ->> 'end' AS DATE) AS "end",
               specification ->> 'resolution' AS resolution,
               TRY_CAST(specification ->> 'cash' AS DOUBLE) AS cash,
               {metrics},
               TRY_CAST(created_at AS TIMESTAMPTZ) AS created_at,
               specification, metrics
        FROM ({_nothing(_RESULT_KEYS)} UNION ALL BY NAME SELECT * FROM {source})"""


def _studies(source: str) -> str:
    """One row a study: what was searched, how far it is, and its best trial."""
    return f"""
        SELECT name AS study, state,
               specification -> 'experiment' ->> 'strategy' AS strategy,
               TRY_CAST(specification -> 'experiment' -> 'symbols' AS VARCHAR[]) AS symbols,
               specification ->> 'objective' AS objective,
               directions[1] AS direction, sampler,
               trials_run AS trials, verified,
               TRY_CAST(best ->> 'number' AS BIGINT) AS best_trial,
               TRY_CAST(best ->> 'value' AS DOUBLE) AS best_value,
               best -> 'params' AS best_params,
               best -> 'metrics' AS best_metrics,
               TRY_CAST(hold_out ->> 'looked_at' AS TIMESTAMPTZ) AS hold_out_looked_at,
               seconds,
               TRY_CAST(created_at AS TIMESTAMPTZ) AS created_at,
               TRY_CAST(updated_at AS TIMESTAMPTZ) AS updated_at,
               specification
        FROM ({_nothing(_STUDY_KEYS)} UNION ALL BY NAME SELECT * FROM {source})"""


def _trials(source: str) -> str:
    """One row a trial, with the study's name from its path."""
    return f"""
        SELECT parse_path(filename)[-2] AS study, number AS trial, state, value, "values", plain_value, penalty,
               reason, params::JSON AS params, metrics::JSON AS metrics, engine, seconds, started_at, finished_at
        FROM ({_nothing({**_TRIALS, "filename": "VARCHAR"})} UNION ALL BY NAME SELECT * FROM {source})"""


def _nothing(columns: Mapping[str, str]) -> str:
    """Typed columns without rows."""
    return f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in columns.items())} WHERE false"


def unreadable(schema: pa.Schema, why: str) -> str:
    """Typed columns, and an error instead of rows."""
    columns = ", ".join(f'NULL::{_SQL_TYPES[field.type]} AS "{field.name}"' for field in schema)
    return f"SELECT {columns} WHERE error({quote(why)})::BOOLEAN"


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def escape_glob(path: str) -> str:
    """A path whose characters a glob takes literally."""
    return re.sub(r"([*?\[])", r"[\1]", path)
