"""Dagster's part of the work for each symbol, at 500 generated symbols in one run.

Belongs here: seconds a symbol of a whole run, less the seconds that the same domain functions take without Dagster.
Does not belong here: the speed of cleaning or judging.
"""

import os
import time
from collections.abc import Iterator
from contextlib import chdir
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
from generated import GeneratedSource
from sample_data import fill
from sample_run import run_seconds

from warehouse.calendar import get_calendar
from warehouse.quality import inspect, write_report
from warehouse.resolution import Resolution
from warehouse.sources import BarRequest
from warehouse.sources.files import FilesSource, load_files_spec
from warehouse.store import Warehouse

SYMBOLS = tuple(f"GEN{i:03d}" for i in range(500))
RANGE = (date(2024, 1, 2), date(2024, 6, 28))
SPEC = """
path: bars
pattern: "{symbol}.parquet"
columns: {stamp: day, open: open, high: high, low: low, close: close, volume: volume}
"""


def measure() -> Iterator[tuple[str, list[float], float]]:
    """Milliseconds a symbol that the graph adds to the work itself."""
    with TemporaryDirectory() as folder, chdir(folder):
        _write_vendor_files(Path())
        domain = _domain_seconds(Path("plain"))
        os.environ.update(BARLOOM_SOURCE="files", BARLOOM_FILES_SPEC="bars.yaml")
        try:
            whole = run_seconds(Path(folder), SYMBOLS, {"raw_bars": {"start": str(RANGE[0]), "end": str(RANGE[1])}})
        finally:
            del os.environ["BARLOOM_SOURCE"], os.environ["BARLOOM_FILES_SPEC"]
    yield "bookkeeping a symbol at 500 symbols, ms", [(whole - domain) / len(SYMBOLS) * 1000], 50.0


def _write_vendor_files(folder: Path) -> None:
    (folder / "bars").mkdir()
    (folder / "bars.yaml").write_text(SPEC)
    source = GeneratedSource(SYMBOLS)
    for symbol in SYMBOLS:
        bars = source.fetch(BarRequest(symbol, Resolution.DAILY, *RANGE)).table
        days = bars["stamp"].cast("date32")
        pq.write_table(bars.drop_columns(["stamp"]).append_column("day", days), folder / "bars" / f"{symbol}.parquet")


def _domain_seconds(root: Path) -> float:
    """The same work without Dagster."""
    start = time.perf_counter()
    source = FilesSource(load_files_spec(Path("bars.yaml")))
    warehouse = fill(Warehouse(root), source, SYMBOLS, Resolution.DAILY, start=RANGE[0], end=RANGE[1])
    for symbol in SYMBOLS:
        write_report(warehouse, inspect(warehouse, symbol, Resolution.DAILY, get_calendar("XNYS"), today=RANGE[1]))
    return time.perf_counter() - start
