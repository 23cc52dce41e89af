"""What can be ranked: the latest backtest of every experiment and the best trial of every study, in one shape.

Belongs here: gathering them from the results folder. Does not belong here: scores (`research.leaderboard`), the
statistics that a study was judged by (`research.overfitting`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from research.errors import StudyError
from research.overfitting import Severity
from research.result import DAILY_SCHEMA, latest_pages, result_folder
from warehouse.errors import CorruptFileError
from warehouse.files import read_parquet

if TYPE_CHECKING:
    from research.study.records import StudyRecord

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
        remarks: one sentence for each check of the study that warned, failed or could not be made.
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
    return [*backtest_candidates(results_dir), *study_candidates(results_dir)]


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


def study_candidates(results_dir: Path) -> list[Candidate]:
    """The best trial of every study that has one; a study with a damaged file is left out, the others are not."""
    from research.study.records import list_studies  # noqa: PLC0415 (numba: a second)

    found = []
    for record in list_studies(results_dir):
        try:
            found.append(_study_candidate(results_dir, record))
        except StudyError:  # `load_study` and the report name the file
            continue
    return [one for one in found if one is not None]


def _study_candidate(results_dir: Path, record: "StudyRecord") -> Candidate | None:
    from research.study.records import trials_ever  # noqa: PLC0415

    best, experiment = record.best, record.page["specification"]["experiment"]
    if best is None:
        return None
    trials = record.trials
    finished = [moment for moment in trials["finished_at"].to_pylist() if moment is not None]
    assessment = record.page.get("assessment") or {}
    measured = assessment.get("statistics") or {}
    return Candidate(
        kind=STUDY,
        name=record.name,
        id=f"{record.name}#{best['number']}",
        strategy=str(experiment["strategy"]),
        symbols=tuple(experiment["symbols"]),
        metrics=best["metrics"],
        returns=_trial_returns(record, int(best["number"])),
        created_at=max(finished, default=datetime.fromtimestamp(0, UTC)),
        statistics={
            **{name: _number(measured.get(name)) for name in _ASSESSED},
            "trials": int(record.page["trials_run"]),
            "trials_on_symbols": trials_ever(results_dir, experiment["symbols"]).total,
        },
        remarks=tuple(
            f"{one.get('check')}: {one.get('sentence')}"
            for one in assessment.get("findings") or ()
            if one.get("severity") != Severity.PASS
        ),
    )


_ASSESSED = ("deflated_sharpe_ratio", "probability_of_backtest_overfitting")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _trial_returns(record: "StudyRecord", number: int) -> pd.Series | None:
    """Daily returns of one trial on the sessions that it was run on; None where they were not kept."""
    kept = record.returns.filter(pc.equal(record.returns["number"], number))
    if kept.num_rows == 0:
        return None
    index = pd.DatetimeIndex(record.sessions["session"].to_numpy().astype("datetime64[s]"), name="session")
    return pd.Series(kept["returns"][0].as_py(), index, dtype=float).dropna()


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
