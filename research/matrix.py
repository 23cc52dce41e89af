"""Many backtests in one table: strategies x symbols, the failed ones too.

Belongs here: the table's columns and its file. Does not belong here: running them, choosing the best
(`research.leaderboard`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from research.experiment import Experiment
from research.metric_catalog import METRICS, Unit
from research.result import BacktestResult
from warehouse.files import write_parquet

_FIGURES = {key: info for key, info in METRICS.items() if info.unit is not Unit.DATE}

MATRIX_SCHEMA = pa.schema(
    [
        pa.field("strategy", pa.string()),
        pa.field("symbols", pa.string()),  # separated by blanks
        pa.field("experiment", pa.string()),
        pa.field("outcome", pa.string()),  # done | unchanged | failed
        pa.field("error", pa.string()),  # why it failed
        pa.field("id", pa.string()),  # of the result
        pa.field("buy_and_hold", pa.float64()),
        *(pa.field(key, pa.int64() if info.unit is Unit.COUNT else pa.float64()) for key, info in _FIGURES.items()),
    ]
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination; `result` is None where it failed, `error` says why."""

    experiment: Experiment
    name: str
    outcome: str
    result: BacktestResult | None
    error: str | None = None


def matrix_table(cells: Iterable[Cell]) -> pa.Table:
    """One row a combination, in the given order (`MATRIX_SCHEMA`); what is unknown or failed is null."""
    return pa.Table.from_pylist([_row(cell) for cell in cells], schema=MATRIX_SCHEMA)


def matrix_key(experiments: Sequence[Experiment]) -> str:
    """Twelve digits that the same combinations always have."""
    specifications = sorted(json.dumps(one.specification(), sort_keys=True) for one in experiments)
    return hashlib.sha256("\n".join(specifications).encode()).hexdigest()[:12]


def write_matrix(table: pa.Table, key: str, results_dir: Path) -> Path:
    """Keep the table as `matrix/{key}.parquet`."""
    path = results_dir / "matrix" / f"{key}.parquet"
    write_parquet(path, table)
    return path


def _row(cell: Cell) -> dict[str, Any]:
    metrics: Mapping[str, Any] = cell.result.metrics if cell.result else {}
    return {
        "strategy": cell.experiment.strategy,
        "symbols": " ".join(cell.experiment.symbols),
        "experiment": cell.name,
        "outcome": cell.outcome,
        "error": cell.error,
        "id": cell.result.id if cell.result else None,
        "buy_and_hold": cell.result.page["buy_and_hold"].get("total_return") if cell.result else None,
        **{key: metrics.get(key) for key in _FIGURES},
    }
