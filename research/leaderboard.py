"""Which results look best, and which of them would pass the gates to go further.

Belongs here: the score, the gates, the table of ranked results. Does not belong here: figures (`research.metrics`),
what takes part (`research.candidates`), what can be set (`research.ranking`).

The latest backtest of each experiment takes part, and the best trial of each study. Two symbols of one strategy are
two lines: a line is known by its id, never by a strategy's name. The score lies between 0 and 100 and is a sum of
parts; each part lies between 0 and its marks (default weights in the table, they are scaled to a sum of 100):

| part | weight | full marks |
|---|---|---|
| sharpe | 40 | Sharpe ratio of 3 |
| consistency | 20 | every 30-session rolling return above 0 |
| drawdown | 20 | no drawdown; the FRACTION of the peak counts, never money |
| frequency | 10 | 50 trades a year |
| efficiency | 10 | 100 % annual return on the money that was in the market (annual return / gross exposure) |

Outside its bounds a part is cut off, so the score does not tell a Sharpe of -1 from one of -5, or 3 from 4: the plain
figures stand beside it. A figure that is unknown earns 0 and is named in `unknown`; the drawdown of a result that was
never in the market counts as unknown, since holding cash controls nothing. A gate whose figure is unknown is failed.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from research.candidates import Candidate, gather_candidates
from research.metric_catalog import METRICS, format_metric
from research.ranking import FullMarks, Gates, Ranking, Weights
from research.shortlist import Ranked, shortlist
from warehouse.files import write_parquet
from warehouse.schema import UTC_US

__all__ = [
    "LEADERBOARD_SCHEMA",
    "STATISTICS",
    "Gates",
    "Weights",
    "build_leaderboard",
    "failed_gates",
    "leaderboard_file",
    "rank",
    "rolling_share",
    "write_leaderboard",
]

ROLLING_SESSIONS = 30
"""Length of the rolling returns of the consistency part."""

STATISTICS: Mapping[str, pa.DataType] = {
    "deflated_sharpe_ratio": pa.float64(),  # chance that the true Sharpe beats the luck of so many trials
    "probability_of_backtest_overfitting": pa.float64(),
    "trials": pa.int64(),  # of the study
    "trials_on_symbols": pa.int64(),  # ever, of every study on these symbols
}
"""What only a study can know; null in a backtest's line."""

LEADERBOARD_SCHEMA = pa.schema(
    [
        pa.field("rank", pa.int64()),
        pa.field("kind", pa.string()),  # backtest | study
        pa.field("name", pa.string()),
        pa.field("id", pa.string()),
        pa.field("strategy", pa.string()),
        pa.field("symbols", pa.list_(pa.string())),
        pa.field("score", pa.float64()),  # 0 .. 100
        *(pa.field(f"score_{part}", pa.float64()) for part in Weights.model_fields),
        pa.field("passed", pa.bool_()),  # every gate
        pa.field("failed", pa.list_(pa.string())),  # one clause a failed gate
        pa.field("unknown", pa.list_(pa.string())),  # parts of the score whose figure is unknown
        pa.field("left_out", pa.string()),  # why it is not on the shortlist; null: it is
        pa.field("remarks", pa.list_(pa.string())),  # what the checks of its study warn of
        pa.field("rolling_above_zero", pa.float64()),  # share of 30-session rolling returns
        pa.field("total_return", pa.float64()),
        pa.field("buy_and_hold", pa.float64()),
        pa.field("annual_return", pa.float64()),
        pa.field("sharpe_ratio", pa.float64()),
        pa.field("sortino_ratio", pa.float64()),
        pa.field("max_drawdown", pa.float64()),
        pa.field("trades", pa.float64()),  # of a study with folds: the mean of them
        pa.field("win_rate", pa.float64()),
        pa.field("fees", pa.float64()),
        pa.field("probabilistic_sharpe_ratio", pa.float64()),
        *(pa.field(name, kind) for name, kind in STATISTICS.items()),
        pa.field("created_at", UTC_US),
    ]
)


def build_leaderboard(results_dir: Path, ranking: Ranking | None = None) -> pa.Table:
    """Rank what the results folder holds, best first; ties by name (`LEADERBOARD_SCHEMA`)."""
    return rank(gather_candidates(results_dir), ranking or Ranking())


def leaderboard_file(results_dir: Path) -> Path:
    """Where the ranking is kept."""
    return results_dir / "leaderboard.parquet"


def write_leaderboard(table: pa.Table, results_dir: Path) -> Path:
    """Keep the ranking."""
    path = leaderboard_file(results_dir)
    write_parquet(path, table)
    return path


def rank(candidates: Iterable[Candidate], ranking: Ranking) -> pa.Table:
    """Score candidates, put the best first and say which are on the shortlist."""
    scored = [(_row(one, ranking), one) for one in candidates]
    scored.sort(key=lambda pair: (-pair[0]["score"], pair[0]["name"], pair[0]["id"]))
    listed = [Ranked(one.id, one.name, row["score"], one.returns) for row, one in scored]
    verdicts = shortlist(listed, ranking.shortlist)
    rows = [{**row, "rank": at, "left_out": verdicts[one.id]} for at, (row, one) in enumerate(scored, 1)]
    return pa.Table.from_pylist(rows, schema=LEADERBOARD_SCHEMA)


def failed_gates(metrics: Mapping[str, Any], gates: Gates) -> list[str]:
    """One clause for each gate that is not passed; a figure that is unknown passes none."""
    failed = []
    for key, bound in gates.model_dump().items():
        if bound is None:
            continue
        value = metrics.get(key)
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


def rolling_share(returns: pd.Series | None, sessions: int = ROLLING_SESSIONS) -> float | None:
    """Share of the compound returns over `sessions` sessions in a row that are above 0; None with none of them."""
    if returns is None or len(returns) < sessions:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(1.0 + returns.to_numpy(dtype=float), sessions)
    gains = windows.prod(axis=1) - 1.0
    return float((gains > _ROUNDING).mean())


_ROUNDING = 1e-12  # a month in which nothing was held is no gain, whatever the last bits say


def _row(one: Candidate, ranking: Ranking) -> dict[str, Any]:
    parts = {name: part(one, ranking.full_marks) for name, part in _PARTS.items()}
    scores = {name: most * _clip(parts[name]) for name, most in ranking.weights.marks().items()}
    failed = failed_gates(one.metrics, ranking.gates)
    return {
        "kind": one.kind,
        "name": one.name,
        "id": one.id,
        "strategy": one.strategy,
        "symbols": list(one.symbols),
        "score": sum(scores.values()),
        **{f"score_{name}": score for name, score in scores.items()},
        "passed": not failed,
        "failed": failed,
        "unknown": [name for name, value in parts.items() if value is None],
        "remarks": list(one.remarks),
        "rolling_above_zero": rolling_share(one.returns),
        **{name: one.metrics.get(name) for name in LEADERBOARD_SCHEMA.names if name in METRICS},
        **{name: one.statistics.get(name) for name in STATISTICS},
        "buy_and_hold": one.buy_and_hold,
        "created_at": one.created_at,
    }


def _clip(value: float | None) -> float:
    return 0.0 if value is None else min(max(value, 0.0), 1.0)


def _sharpe(one: Candidate, full: FullMarks) -> float | None:
    value = one.metrics.get("sharpe_ratio")
    return None if value is None else value / full.sharpe_ratio


def _consistency(one: Candidate, _full: FullMarks) -> float | None:
    return rolling_share(one.returns)


def _drawdown(one: Candidate, _full: FullMarks) -> float | None:
    value = one.metrics.get("max_drawdown")
    never_in_the_market = not one.metrics.get("gross_exposure")
    return None if value is None or never_in_the_market else 1.0 + value


def _frequency(one: Candidate, full: FullMarks) -> float | None:
    value = one.metrics.get("trades_per_year")
    return None if value is None else value / full.trades_per_year


def _efficiency(one: Candidate, full: FullMarks) -> float | None:
    earned, used = one.metrics.get("annual_return"), one.metrics.get("gross_exposure")
    return None if earned is None or not used else earned / used / full.return_on_exposure


_PARTS: Mapping[str, Callable[[Candidate, FullMarks], float | None]] = {
    "sharpe": _sharpe,
    "consistency": _consistency,
    "drawdown": _drawdown,
    "frequency": _frequency,
    "efficiency": _efficiency,
}
