"""A backtest's result as users keep it: one JSON page and a folder of Parquet tables.

Belongs here: the result's shape, writing it so that it is whole or absent, reading it back.
Does not belong here: measuring (`research.evaluation`), pictures (`research.tearsheet`, `research.chart`).

`{results}/backtests/{id}.json` is written last: a result that has it has its tables. Everything in it except what
`CIRCUMSTANCES` names is the same, byte for byte, whenever the same experiment runs on the same data with the same code;
so are the tables. A figure that could not be computed is null, with its reason under
`null_reasons` (`sharpe_ratio` for a metric, `by_year.2001.sharpe_ratio` elsewhere).
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from research.errors import ResearchError
from research.run_output import EQUITY_SCHEMA, FILLS_SCHEMA, ORDERS_SCHEMA, TRADES_SCHEMA
from warehouse.errors import CorruptFileError
from warehouse.files import read_parquet, write_bytes, write_parquet
from warehouse.schema import UTC_US

DAILY_SCHEMA = pa.schema(
    [
        pa.field("session", pa.date32()),
        pa.field("equity", pa.float64()),  # money at the session's close
        pa.field("return", pa.float64()),  # simple; the first is measured from the starting cash
        pa.field("benchmark_level", pa.float64()),  # 1.0 where it was bought, null before its first bar
        pa.field("benchmark_return", pa.float64()),
        pa.field("regime", pa.string()),
    ]
)

RISK_EVENTS_SCHEMA = pa.schema(
    [
        pa.field("ts", UTC_US),
        pa.field("kind", pa.string()),  # "refused" | "shrunk" | "halt" | "resume"
        pa.field("symbol", pa.string()),
        pa.field("limit", pa.string()),
        pa.field("limit_value", pa.float64()),
        pa.field("measured", pa.float64()),
        pa.field("quantity_requested", pa.float64()),
        pa.field("quantity_allowed", pa.float64()),
        pa.field("state", pa.string()),
        pa.field("reason", pa.string()),
    ]
)

TABLES: Mapping[str, pa.Schema] = {
    "equity": EQUITY_SCHEMA,
    "orders": ORDERS_SCHEMA,
    "fills": FILLS_SCHEMA,
    "trades": TRADES_SCHEMA,
    "open_trades": TRADES_SCHEMA,
    "risk_events": RISK_EVENTS_SCHEMA,
    "daily": DAILY_SCHEMA,
}
"""The Parquet files of a result, by name."""

CIRCUMSTANCES = ("engine", "engine_reason", "environment", "created_at", "quality_override")
"""Keys of the JSON that may differ between two runs of the same thing."""

_ID = re.compile(r"[0-9a-f-]{1,36}")


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What one backtest found.

    Attributes:
        page: everything that goes into the JSON, in its order, plain JSON types without NaN.
        tables: Arrow tables by the names and schemas of `TABLES`.
    """

    page: Mapping[str, Any]
    tables: Mapping[str, pa.Table]

    @property
    def id(self) -> str:
        """UUID-shaped hash of specification, data versions and code version."""
        return str(self.page["id"])

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.page["name"])

    @property
    def specification(self) -> Mapping[str, Any]:
        """The experiment as it ran, every default filled in."""
        return dict(self.page["specification"])

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Figures by the keys of `research.metric_catalog.METRICS`; None where unknown."""
        return dict(self.page["metrics"])

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences a reader must know before trusting the figures."""
        return tuple(self.page["warnings"])

    @property
    def engine(self) -> str:
        """The engine that ran and, where it was not the fastest, why: one line for a person."""
        name = self.page.get("engine")  # results of earlier versions do not say
        return f"{name}. {self.page.get('engine_reason') or ''}".removesuffix(". ") if name else "unknown"

    @property
    def created_at(self) -> datetime:
        """When the run finished, UTC."""
        return datetime.fromisoformat(self.page["created_at"]).astimezone(UTC)


def backtests_folder(results_dir: Path) -> Path:
    """Where the pages are."""
    return results_dir / "backtests"


def result_folder(results_dir: Path, backtest_id: str) -> Path:
    """Where one result's tables, tear sheet and chart are."""
    return backtests_folder(results_dir) / backtest_id


def save_result(result: BacktestResult, results_dir: Path) -> Path:
    """Write tables, then the page; an earlier run of the same thing is replaced.

    Returns:
        The JSON file.
    """
    for name, schema in TABLES.items():
        write_parquet(result_folder(results_dir, result.id) / f"{name}.parquet", result.tables[name].cast(schema))
    page = backtests_folder(results_dir) / f"{result.id}.json"
    write_bytes(page, page_text(result.page).encode())
    mark_latest(results_dir, result)
    return page


def mark_latest(results_dir: Path, result: BacktestResult) -> None:
    """Say that this is what its experiment now gives; to be called too when a stored result is used again.

    The time of the run cannot tell: an experiment that is changed and changed back has an older result again.
    """
    write_bytes(_latest_file(results_dir, result.name), f"{result.id}\n".encode())


def latest_pages(results_dir: Path) -> list[dict[str, Any]]:
    """The page of each experiment's latest result, by name; without a mark it is the one made last.

    Pages that cannot be read are left out: one damaged file does not lose the others (`read_pages` names it).
    """
    latest: dict[str, dict[str, Any]] = {}
    for page in sorted(read_pages(results_dir)[0], key=lambda page: (str(page["created_at"]), str(page["id"]))):
        latest[str(page["name"])] = page
    return [_marked(results_dir, name) or newest for name, newest in sorted(latest.items())]


def _marked(results_dir: Path, name: str) -> dict[str, Any] | None:
    try:
        marked = _latest_file(results_dir, name).read_text(encoding="utf-8").strip()
        page = read_page(find_page(results_dir, marked))
    except (OSError, ResearchError):  # no mark, or what it names is gone
        return None
    return page if page["name"] == name else None


def _latest_file(results_dir: Path, name: str) -> Path:
    return results_dir / "latest" / f"{name}.txt"


def load_result(results_dir: Path, id_or_prefix: str) -> BacktestResult:
    """A saved result by its id or by a prefix that only it has.

    Raises:
        ResearchError: none or several results have it, or a file of it is damaged.
    """
    page = read_page(find_page(results_dir, id_or_prefix))
    folder = result_folder(results_dir, page["id"])
    try:
        tables = {name: read_parquet(folder / f"{name}.parquet", schema) for name, schema in TABLES.items()}
    except (CorruptFileError, FileNotFoundError) as error:
        raise ResearchError(f"backtest {page['id']}: a table is missing or damaged ({error}).") from error
    return BacktestResult(page, tables)


def find_page(results_dir: Path, id_or_prefix: str) -> Path:
    """The JSON file of the one result whose id begins with the text.

    Raises:
        ResearchError: none or several do.
    """
    folder = backtests_folder(results_dir)
    text = id_or_prefix.strip().lower()
    if not _ID.fullmatch(text):
        raise ResearchError(f"id: {id_or_prefix!r} is not the beginning of a backtest id (digits, a-f and dashes).")
    found = sorted(folder.glob(f"{text}*.json"))
    if not found:
        raise ResearchError(f"id: no backtest in {folder} begins with {text!r}.")
    if len(found) > 1:
        raise ResearchError(f"id: {text!r} fits {len(found)} backtests ({', '.join(p.stem[:13] for p in found[:5])}).")
    return found[0]


def read_page(path: Path) -> dict[str, Any]:
    """The JSON of one result.

    Raises:
        ResearchError: the file is not a result.
    """
    try:
        page = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ResearchError(f"{path}: not a readable result ({error}).") from error
    if not isinstance(page, dict) or not {"id", "name", "metrics", "created_at"} <= page.keys():
        raise ResearchError(f"{path}: not the page of a backtest.")
    return page


def read_pages(results_dir: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """All pages in the order of their ids, and a sentence for each file that could not be read."""
    pages, faults = [], []
    for path in sorted(backtests_folder(results_dir).glob("*.json")):
        try:
            pages.append(read_page(path))
        except ResearchError as error:
            faults.append(str(error))
    return pages, faults


def page_text(page: Mapping[str, Any]) -> str:
    """The page as JSON text: keys in their order, shortest exact numbers, no NaN."""
    return json.dumps(page, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def without_nan(value: object, path: str, reasons: dict[str, str]) -> Any:  # noqa: ANN401 (JSON)
    """A copy in which NaN and infinities are None; each one's path gets a reason unless it has one."""
    if isinstance(value, Mapping):
        return {key: without_nan(item, f"{path}.{key}" if path else str(key), reasons) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [without_nan(item, f"{path}.{at}", reasons) for at, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        reasons.setdefault(path, f"the value is {value}")
        return None
    return value
