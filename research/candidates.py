"""What can be ranked: the latest backtest of every experiment and the best trial of every study, in one shape.

Belongs here: gathering them from the results folder. Does not belong here: scores (`research.leaderboard`), the
statistics that a study was judged by (`research.overfitting`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from research.result import DAILY_SCHEMA, latest_pages, result_folder
from warehouse.errors import CorruptFileError
from warehouse.files import read_parquet

BACKTEST, STUDY = "backtest", "study"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One line of the ranking.

    Attributes:
        kind: `BACKTEST` or `STUDY`.
        id: of the backtest, or `study-name#trial`.
        metrics: figures by the keys of `research.metric_catalog.METRICS`; what is absent is unknown.
        returns: daily, by session; None where they were not kept.
        statistics: figures that only a study has, by the names of `research.leaderboard.STATISTICS`.
        remarks: one sentence for each check of the study that warned or failed.
    """

    kind: str
    name: str
    id: str
    strategy: str
    symbols: tuple[str, ...]
    metrics: Mapping[str, Any]
    returns: pd.Series | None
    created_at: datetime
    buy_and_hold: float | None = None
    statistics: Mapping[str, float | int | None] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def gather_candidates(results_dir: Path) -> list[Candidate]:
    """Everything that takes part in the ranking."""
    return backtest_candidates(results_dir)


def backtest_candidates(results_dir: Path) -> list[Candidate]:
    """The latest result of every experiment."""
    return [backtest_candidate(page, _kept_returns(results_dir, page["id"])) for page in latest_pages(results_dir)]


def backtest_candidate(page: Mapping[str, Any], returns: pd.Series | None) -> Candidate:
    """A backtest from its page and its daily returns."""
    specification = page["specification"]
    return Candidate(
        kind=BACKTEST,
        name=str(page["name"]),
        id=str(page["id"]),
        strategy=str(specification["strategy"]),
        symbols=tuple(specification["symbols"]),
        metrics=page["metrics"],
        returns=returns,
        created_at=datetime.fromisoformat(page["created_at"]),
        buy_and_hold=page["buy_and_hold"].get("total_return"),
    )


def returns_by_session(daily: pa.Table) -> pd.Series:
    """Daily returns of a result's `daily` table."""
    index = pd.DatetimeIndex(daily["session"].to_numpy().astype("datetime64[s]"), name="session")
    return pd.Series(daily["return"].to_numpy().astype(float), index)


def _kept_returns(results_dir: Path, backtest_id: str) -> pd.Series | None:
    """None when the table is gone or damaged: one file must not lose the ranking of the others."""
    try:
        daily = read_parquet(result_folder(results_dir, backtest_id) / "daily.parquet", DAILY_SCHEMA)
    except (CorruptFileError, FileNotFoundError):
        return None
    return returns_by_session(daily)
