"""A walk-forward on disk: `{results}/walkforward/{name}/`.

Belongs here: the shapes of its files, writing them whole or not at all, reading them back, what is done after a kill.
Does not belong here: what is in them (see `run`).

    walkforward.json    the page, written last: a walk-forward that has it is finished
    windows.parquet     one row a window
    equity.parquet      one row a tested session
    folds/0000.json     one window that is done, with the fingerprint of everything it depends on
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from research.errors import StudyError
from research.result import page_text, without_nan
from research.walkforward.fold import Curve, Fold
from research.walkforward.windows import Window
from warehouse.errors import CorruptFileError
from warehouse.files import read_parquet, write_bytes, write_parquet

EQUITY_SCHEMA = pa.schema(
    [
        pa.field("session", pa.date32()),
        pa.field("equity", pa.float64()),
        pa.field("return", pa.float64()),  # simple; the first is measured from the starting cash
        pa.field("window", pa.int64()),
    ]
)
WINDOWS_SCHEMA = pa.schema(
    [
        pa.field("window", pa.int64()),
        pa.field("train_start", pa.date32()),
        pa.field("train_end", pa.date32()),
        pa.field("test_start", pa.date32()),
        pa.field("test_end", pa.date32()),
        pa.field("complete", pa.bool_()),
        pa.field("params", pa.string()),  # JSON, null where nothing was tested
        pa.field("trials", pa.int64()),
        pa.field("searched", pa.float64()),  # the objective on the train range
        pa.field("tested", pa.float64()),  # the objective on the test range
        pa.field("efficiency", pa.float64()),
        pa.field("degradation", pa.float64()),
        pa.field("in_sample_return", pa.float64()),
        pa.field("out_of_sample_return", pa.float64()),
        pa.field("closing_costs", pa.float64()),
        pa.field("reason", pa.string()),
    ]
)
_PAGE = "walkforward.json"


@dataclass(frozen=True, slots=True)
class WalkForwardRecord:
    """A finished walk-forward as it is kept.

    Attributes:
        page: the JSON, plain types without NaN.
        windows: `WINDOWS_SCHEMA`.
        equity: `EQUITY_SCHEMA`.
    """

    page: Mapping[str, Any]
    windows: pa.Table
    equity: pa.Table

    @property
    def name(self) -> str:
        """Of the study whose search it repeats."""
        return str(self.page["name"])

    @property
    def summary(self) -> Mapping[str, Any]:
        """Figures over all folds: `efficiency`, `degradation`, `profitable_folds` ..."""
        return dict(self.page["summary"])

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Figures of the stitched curve."""
        return dict(self.page["metrics"])


def walk_forward_folder(results: Path, name: str) -> Path:
    """Where the files of one walk-forward are."""
    return results / "walkforward" / name


def save(results: Path, page: Mapping[str, Any], folds: Sequence[Fold], curve: Curve) -> WalkForwardRecord:
    """Write tables, then the page; an earlier one of the name is replaced."""
    folder = walk_forward_folder(results, str(page["name"]))
    windows, equity = _windows_table(folds), _equity_table(curve)
    write_parquet(folder / "windows.parquet", windows)
    write_parquet(folder / "equity.parquet", equity)
    reasons: dict[str, str] = {}
    plain = without_nan(page, "", reasons)
    write_bytes(folder / _PAGE, page_text(plain).encode())
    return WalkForwardRecord(plain, windows, equity)


def load_walk_forward(results: Path, name: str) -> WalkForwardRecord:
    """A finished walk-forward by its name.

    Raises:
        StudyError: there is none, it is not finished, or a file of it is damaged.
    """
    folder = walk_forward_folder(results, name)
    try:
        page = json.loads((folder / _PAGE).read_bytes())
        windows = read_parquet(folder / "windows.parquet", WINDOWS_SCHEMA)
        equity = read_parquet(folder / "equity.parquet", EQUITY_SCHEMA)
    except FileNotFoundError:
        started = "; it was begun and is not finished" if folder.exists() else ""
        raise StudyError(f"walk-forward: {name!r} has no finished result in {folder.parent}{started}.") from None
    except (OSError, ValueError, CorruptFileError) as error:
        raise StudyError(f"walk-forward: the files of {name!r} cannot be read ({error}).") from error
    if not isinstance(page, dict) or not {"name", "summary", "metrics", "windows"} <= page.keys():
        raise StudyError(f"walk-forward: {folder / _PAGE} is not the page of a walk-forward.")
    return WalkForwardRecord(page, windows, equity)


# ---------------------------------------------------------------- folds that are done


def keep_fold(results: Path, name: str, fingerprint: str, fold: Fold) -> None:
    """Keep a window that is done."""
    reasons: dict[str, str] = {}
    content = without_nan({"fingerprint": fingerprint, **fold_page(fold), **_daily(fold)}, "", reasons)
    write_bytes(_fold_file(results, name, fold.window.number), page_text(content).encode())


def kept_fold(results: Path, name: str, fingerprint: str, window: Window) -> Fold | None:
    """A window that was done under the same fingerprint; None where there is none, or its file is damaged."""
    try:
        content = json.loads(_fold_file(results, name, window.number).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("fingerprint") != fingerprint:
        return None
    kept = {field.name: content[field.name] for field in fields(Fold) if field.name not in {"window", "sessions"}}
    kept["returns"] = tuple(kept["returns"])
    sessions = tuple(date.fromisoformat(day) for day in content["sessions"])
    return Fold(window=window, sessions=sessions, **kept)


def _fold_file(results: Path, name: str, number: int) -> Path:
    return walk_forward_folder(results, name) / "folds" / f"{number:04}.json"


def fold_page(fold: Fold) -> dict[str, Any]:
    """One window for the page, without its daily returns."""
    window = {name: str(value) if isinstance(value, date) else value for name, value in asdict(fold.window).items()}
    return {
        **window,
        "params": None if fold.params is None else dict(fold.params),
        "trials": fold.trials,
        "searched": fold.searched,
        "tested": fold.tested,
        "efficiency": fold.efficiency,
        "degradation": fold.degradation,
        "in_sample": dict(fold.in_sample),
        "out_of_sample": dict(fold.out_of_sample),
        "closing_costs": fold.closing_costs,
        "reason": fold.reason,
        "higher": fold.higher,
    }


def _daily(fold: Fold) -> dict[str, Any]:
    return {"sessions": [str(day) for day in fold.sessions], "returns": list(fold.returns)}


def _windows_table(folds: Sequence[Fold]) -> pa.Table:
    rows = []
    for fold in folds:
        window = asdict(fold.window)
        rows.append(
            {
                **window,
                "window": window["number"],
                "params": None if fold.params is None else json.dumps(dict(fold.params), sort_keys=True),
                "in_sample_return": fold.in_sample.get("total_return"),
                "out_of_sample_return": fold.out_of_sample.get("total_return"),
                **{name: getattr(fold, name) for name in
                   ("trials", "searched", "tested", "efficiency", "degradation", "closing_costs", "reason")},
            }
        )  # fmt: skip
    columns = [{name: row[name] for name in WINDOWS_SCHEMA.names} for row in rows]
    return pa.Table.from_pylist(columns, schema=WINDOWS_SCHEMA)


def _equity_table(curve: Curve) -> pa.Table:
    columns = (curve.sessions, curve.equity, curve.returns, curve.windows)
    return pa.table([pa.array(list(one), field.type) for one, field in zip(columns, EQUITY_SCHEMA, strict=True)],
                    schema=EQUITY_SCHEMA)  # fmt: skip
