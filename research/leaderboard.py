"""Which backtests look best, and which of them would pass the gates to go further.

Belongs here: the score, the gates, the table of ranked results. Does not belong here: figures (`research.metrics`).

Only the latest result of each experiment takes part. The score is a sum of five parts, each between 0 and its weight:

| part | weight | full marks |
|---|---|---|
| sharpe | 40 | Sharpe ratio of 3 |
| consistency | 20 | every month with a gain |
| drawdown | 20 | no drawdown; the FRACTION of the peak counts, never money |
| frequency | 10 | 50 trades a year |
| efficiency | 10 | 100 % annual return on the money that was in the market (annual return / gross exposure) |

A figure that is unknown earns 0 and is named in `unknown`. A gate whose figure is unknown is failed.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from research.metric_catalog import METRICS, format_metric
from research.result import latest_pages
from warehouse.files import write_parquet
from warehouse.schema import UTC_US


class Weights(BaseModel):
    """Marks that each part can earn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sharpe: float = Field(default=40.0, ge=0)
    consistency: float = Field(default=20.0, ge=0)
    drawdown: float = Field(default=20.0, ge=0)
    frequency: float = Field(default=10.0, ge=0)
    efficiency: float = Field(default=10.0, ge=0)


class Gates(BaseModel):
    """What a result must show to be taken further; fractions and counts, None switches a gate off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trades: int | None = Field(default=100, description="At least")
    sharpe_ratio: float | None = Field(default=1.0, description="At least")
    max_drawdown: float | None = Field(default=0.15, description="At most, as a positive fraction of the peak")
    win_rate: float | None = Field(default=0.45, description="At least, a fraction")
    fees_to_gross_profit: float | None = Field(default=0.30, description="At most, a fraction")
    probabilistic_sharpe_ratio: float | None = Field(default=0.70, description="At least, a probability")


LEADERBOARD_SCHEMA = pa.schema(
    [
        pa.field("rank", pa.int64()),
        pa.field("name", pa.string()),
        pa.field("id", pa.string()),
        pa.field("score", pa.float64()),  # 0 .. sum of the weights
        *(pa.field(f"score_{part}", pa.float64()) for part in Weights.model_fields),
        pa.field("passed", pa.bool_()),  # every gate
        pa.field("failed", pa.list_(pa.string())),  # one clause a failed gate
        pa.field("unknown", pa.list_(pa.string())),  # parts of the score whose figure is unknown
        pa.field("total_return", pa.float64()),
        pa.field("buy_and_hold", pa.float64()),
        pa.field("annual_return", pa.float64()),
        pa.field("sharpe_ratio", pa.float64()),
        pa.field("sortino_ratio", pa.float64()),
        pa.field("max_drawdown", pa.float64()),
        pa.field("trades", pa.int64()),
        pa.field("win_rate", pa.float64()),
        pa.field("fees", pa.float64()),
        pa.field("created_at", UTC_US),
    ]
)


def build_leaderboard(results_dir: Path, *, weights: Weights | None = None, gates: Gates | None = None) -> pa.Table:
    """Rank the latest result of every experiment, best first; ties by name (`LEADERBOARD_SCHEMA`)."""
    return rank(latest_pages(results_dir), weights=weights or Weights(), gates=gates or Gates())


def write_leaderboard(table: pa.Table, results_dir: Path) -> Path:
    """Keep the ranking as `leaderboard.parquet`."""
    path = results_dir / "leaderboard.parquet"
    write_parquet(path, table)
    return path


def rank(pages: Iterable[Mapping[str, Any]], *, weights: Weights, gates: Gates) -> pa.Table:
    """Score pages of results and put the best first."""
    rows = [_row(page, weights, gates) for page in pages]
    rows.sort(key=lambda row: (-row["score"], row["name"], row["id"]))
    return pa.Table.from_pylist([{**row, "rank": at} for at, row in enumerate(rows, 1)], schema=LEADERBOARD_SCHEMA)


def failed_gates(metrics: Mapping[str, Any], gates: Gates) -> list[str]:
    """One clause for each gate that is not passed; a figure that is unknown passes none."""
    failed = []
    for key, bound in gates.model_dump().items():
        if bound is None:
            continue
        value = metrics[key]
        if value is None:
            failed.append(f"{METRICS[key].label} is unknown")
        elif not _passes(key, value, bound):
            side = "above" if key in _AT_MOST else "below"
            shown, limit = format_metric(key, value), format_metric(key, -bound if key == "max_drawdown" else bound)
            failed.append(f"{METRICS[key].label} {shown} is {side if key != 'max_drawdown' else 'deeper than'} {limit}")
    return failed


_AT_MOST = frozenset({"fees_to_gross_profit"})


def _passes(key: str, value: float, bound: float) -> bool:
    if key == "max_drawdown":
        return -value <= bound
    return value <= bound if key in _AT_MOST else value >= bound


def _row(page: Mapping[str, Any], weights: Weights, gates: Gates) -> dict[str, Any]:
    metrics = page["metrics"]
    parts = {name: part(page) for name, part in _PARTS.items()}
    scores = {name: getattr(weights, name) * _clip(value) for name, value in parts.items()}
    failed = failed_gates(metrics, gates)
    return {
        "name": page["name"],
        "id": page["id"],
        "score": sum(scores.values()),
        **{f"score_{name}": score for name, score in scores.items()},
        "passed": not failed,
        "failed": failed,
        "unknown": [name for name, value in parts.items() if value is None],
        **{name: metrics[name] for name in LEADERBOARD_SCHEMA.names if name in METRICS},
        "buy_and_hold": page["buy_and_hold"].get("total_return"),
        "created_at": datetime.fromisoformat(page["created_at"]),
    }


def _clip(value: float | None) -> float:
    return 0.0 if value is None else min(max(value, 0.0), 1.0)


def _sharpe(page: Mapping[str, Any]) -> float | None:
    value = page["metrics"]["sharpe_ratio"]
    return None if value is None else value / 3.0


def _consistency(page: Mapping[str, Any]) -> float | None:
    months = [row["total_return"] for row in page["by_month"]]
    return sum(value > 0.0 for value in months) / len(months) if months else None


def _drawdown(page: Mapping[str, Any]) -> float | None:
    value = page["metrics"]["max_drawdown"]
    return None if value is None else 1.0 + value


def _frequency(page: Mapping[str, Any]) -> float | None:
    value = page["metrics"]["trades_per_year"]
    return None if value is None else value / 50.0


def _efficiency(page: Mapping[str, Any]) -> float | None:
    earned, used = page["metrics"]["annual_return"], page["metrics"]["gross_exposure"]
    return None if earned is None or not used else earned / used


_PARTS: Mapping[str, Callable[[Mapping[str, Any]], float | None]] = {
    "sharpe": _sharpe,
    "consistency": _consistency,
    "drawdown": _drawdown,
    "frequency": _frequency,
    "efficiency": _efficiency,
}
