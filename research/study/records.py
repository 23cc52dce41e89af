"""A study as it is kept: one JSON page and Parquet tables.

Belongs here: the files of a study, writing them so that each is whole or absent, reading them back, what was ever
tried on some symbols. Does not belong here: running (see `run`), the storage that a study resumes from (see `storage`).

The storage holds what every finished trial came to; these files are derived from it while a study runs and at its end.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from research.errors import StudyError
from research.result import page_text
from research.study.locks import is_held
from research.study.outcome import Floats, StudyTrial
from research.study.specification import StudySpecification
from warehouse.errors import CorruptFileError
from warehouse.files import read_parquet, write_bytes, write_parquet
from warehouse.schema import UTC_US

TRIALS_SCHEMA = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("state", pa.string()),  # "complete" | "pruned" | "failed"
        pa.field("value", pa.float64()),  # penalised, the first of several objectives; null where there is none
        pa.field("values", pa.list_(pa.float64())),
        pa.field("plain_value", pa.float64()),
        pa.field("penalty", pa.float64()),
        pa.field("reason", pa.string()),
        pa.field("params", pa.string()),  # JSON, what was varied
        pa.field("metrics", pa.string()),  # JSON
        pa.field("engine", pa.string()),
        pa.field("seconds", pa.float64()),
        pa.field("started_at", UTC_US),
        pa.field("finished_at", UTC_US),
    ]
)

FOLDS_SCHEMA = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("fold", pa.int64()),
        pa.field("start", pa.date32()),
        pa.field("end", pa.date32()),
        pa.field("value", pa.float64()),
        pa.field("metrics", pa.string()),  # JSON
    ]
)

RETURNS_SCHEMA = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("returns", pa.list_(pa.float64())),  # one a row of `sessions`, NaN where the trial was not run
    ]
)

SESSIONS_SCHEMA = pa.schema([pa.field("session", pa.date32())])

TABLES: Mapping[str, pa.Schema] = {
    "trials": TRIALS_SCHEMA,
    "folds": FOLDS_SCHEMA,
    "returns": RETURNS_SCHEMA,
    "sessions": SESSIONS_SCHEMA,
}
"""The Parquet files of a study, by name."""

RUNNING, STOPPED, COMPLETE, FAILED = "running", "stopped", "complete", "failed"


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study read back: its page, and its tables when they are asked for."""

    page: Mapping[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.page["name"])

    @property
    def specification(self) -> StudySpecification:
        """What was asked for, every default filled in."""
        return StudySpecification.parse(self.page["specification"], origin=self.name)

    @property
    def state(self) -> str:
        """`running`, `stopped`, `complete` or `failed`; one whose process is gone is `stopped`."""
        state = str(self.page["state"])
        return STOPPED if state == RUNNING and not is_held(self.folder) else state

    @property
    def best(self) -> Mapping[str, Any] | None:
        """Number, value, params (what was varied) and metrics of the best trial; None where none has a value."""
        best = self.page["best"]
        return None if best is None else dict(best)

    @property
    def trials(self) -> pa.Table:
        """`TRIALS_SCHEMA`, by number."""
        return self._table("trials")

    @property
    def folds(self) -> pa.Table:
        """`FOLDS_SCHEMA`, by number and fold."""
        return self._table("folds")

    @property
    def sessions(self) -> pa.Table:
        """`SESSIONS_SCHEMA`: the days of the search."""
        return self._table("sessions")

    @property
    def returns(self) -> pa.Table:
        """`RETURNS_SCHEMA`, by number; no row for a trial whose returns are not known."""
        return self._table("returns")

    def returns_matrix(self) -> tuple[tuple[int, ...], Floats]:
        """Numbers of the trials with returns, and a row of daily returns for each."""
        table = self.returns
        rows = table["returns"].to_pylist() if table.num_rows == 0 else None
        width = self.sessions.num_rows
        flat = table["returns"].combine_chunks().flatten().to_numpy() if rows is None else np.empty(0)
        return tuple(table["number"].to_pylist()), np.asarray(flat, dtype=np.float64).reshape(-1, width)

    def _table(self, name: str) -> pa.Table:
        path = self.folder / f"{name}.parquet"
        try:
            return read_parquet(path, TABLES[name])
        except FileNotFoundError:
            return TABLES[name].empty_table()
        except CorruptFileError as error:
            raise StudyError(f"study {self.name}: a table is damaged ({error}).") from error


@dataclass(frozen=True, slots=True)
class TrialsEver:
    """How many trials were ever run on some symbols, and by which studies."""

    total: int
    by_study: Mapping[str, int]


def studies_folder(results: Path) -> Path:
    """Where the studies are."""
    return results / "studies"


def study_folder(results: Path, name: str) -> Path:
    """Where one study's files are."""
    return studies_folder(results) / name


def load_study(results: Path, name: str) -> StudyRecord:
    """A study by its name.

    Raises:
        StudyError: there is none, or its page is damaged.
    """
    folder = study_folder(results, name)
    path = folder / "study.json"
    try:
        page = json.loads(path.read_bytes())
    except FileNotFoundError:
        known = ", ".join(record.name for record in list_studies(results)[:10]) or "none"
        raise StudyError(f"study: there is no study {name!r} in {studies_folder(results)}; it holds {known}.") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: not a readable study ({error}).") from error
    if not isinstance(page, dict) or not {"name", "specification", "state", "best"} <= page.keys():
        raise StudyError(f"{path}: not the page of a study.")
    return StudyRecord(page, folder)


def list_studies(results: Path) -> list[StudyRecord]:
    """Every study whose page can be read, by name."""
    found = []
    for path in sorted(studies_folder(results).glob("*/study.json")):
        try:
            found.append(load_study(results, path.parent.name))
        except StudyError:  # one damaged page does not hide the others; `load_study` names it
            continue
    return found


def trials_ever(results: Path, symbols: Sequence[str], *, without: str | None = None) -> TrialsEver:
    """Trials that studies ever ran on any of these symbols: what a best value must be judged against.

    Args:
        results: where the studies are.
        symbols: any of them in common counts.
        without: a study that is not counted.
    """
    asked = set(symbols)
    by_study = {
        record.name: int(record.page["trials_run"])
        for record in list_studies(results)
        if record.name != without and asked & set(record.page["specification"]["experiment"]["symbols"])
    }
    return TrialsEver(sum(by_study.values()), by_study)


def save_page(results: Path, page: Mapping[str, Any]) -> Path:
    """Write the page in one step."""
    path = study_folder(results, str(page["name"])) / "study.json"
    write_bytes(path, page_text(page).encode())
    return path


def save_tables(results: Path, name: str, tables: Mapping[str, pa.Table]) -> None:
    """Write the tables, each in one step."""
    for key, table in tables.items():
        write_parquet(study_folder(results, name) / f"{key}.parquet", table.cast(TABLES[key]))


def record_hold_out(
    results: Path, name: str, metrics: Mapping[str, float | None], *, now: datetime | None = None
) -> StudyRecord:
    """Write down that the hold-out was looked at, and what it showed; only the first look is one.

    Raises:
        StudyError: there is no such study, it has no hold-out, or somebody looked already.
    """
    record = load_study(results, name)
    hold_out = record.page["hold_out"]
    if hold_out is None:
        raise StudyError(f"hold_out: the study {name} kept none.")
    if hold_out["looked_at"] is not None:
        raise StudyError(f"hold_out: the study {name} was looked at on {hold_out['looked_at']}; a second look is none.")
    looked = {"looked_at": (now or datetime.now(UTC)).isoformat(), "metrics": dict(metrics)}
    return _with(results, record, hold_out={**hold_out, **looked})


def save_assessment(results: Path, name: str, assessment: Mapping[str, Any]) -> StudyRecord:
    """Write what the statistics say about a study into its page.

    Raises:
        StudyError: there is no such study.
    """
    return _with(results, load_study(results, name), assessment=dict(assessment))


def _with(results: Path, record: StudyRecord, **fields: object) -> StudyRecord:
    page = {**record.page, **fields}
    save_page(results, page)
    return StudyRecord(page, record.folder)


def tables_of(trials: Sequence[StudyTrial], sessions: Sequence[Any]) -> dict[str, pa.Table]:
    """The tables of a study, by name."""
    return {
        "sessions": pa.table({"session": pa.array(sessions, pa.date32())}, SESSIONS_SCHEMA),
        "trials": _trials_table(trials),
        "folds": _folds_table(trials),
        "returns": _returns_table(trials),
    }


def _trials_table(trials: Sequence[StudyTrial]) -> pa.Table:
    names = ("number", "value", "plain_value", "penalty", "reason", "engine", "seconds", "started_at", "finished_at")
    columns: dict[str, list[Any]] = {name: [getattr(trial, name) for trial in trials] for name in names}
    columns["state"] = [trial.state.value for trial in trials]
    columns["values"] = [list(trial.values) for trial in trials]
    columns["params"] = [_json(trial.params) for trial in trials]
    columns["metrics"] = [_json(trial.metrics) for trial in trials]
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in TRIALS_SCHEMA})


def _folds_table(trials: Sequence[StudyTrial]) -> pa.Table:
    rows = [
        {
            "number": trial.number, "fold": fold.fold, "start": fold.start, "end": fold.end, "value": fold.value,
            "metrics": _json(fold.metrics),
        }
        for trial in trials for fold in trial.folds
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, FOLDS_SCHEMA)


def _returns_table(trials: Sequence[StudyTrial]) -> pa.Table:
    kept = [(trial.number, trial.returns) for trial in trials if trial.returns is not None]
    if not kept:
        return RETURNS_SCHEMA.empty_table()
    offsets = np.cumsum([0, *(len(returns) for _, returns in kept)], dtype=np.int32)
    flat = pa.array(np.concatenate([returns for _, returns in kept]))
    lists = pa.ListArray.from_arrays(pa.array(offsets), flat)
    return pa.table({"number": pa.array([number for number, _ in kept], pa.int64()), "returns": lists})


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
