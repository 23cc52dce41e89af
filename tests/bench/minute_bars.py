"""Ten symbols, one year of generated minute bars each (a million bars): raw -> clean -> quality, then a roll-up.

Belongs here: seconds and peak memory of that, in a child process so that the peak is its own. Does not belong here:
real prices.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from generated import GeneratedSource
from sample_data import fill

from warehouse.calendar import get_calendar
from warehouse.catalog import Catalog
from warehouse.quality import inspect, write_report
from warehouse.resolution import Resolution
from warehouse.store import Warehouse

SYMBOLS = tuple(f"GEN{i}" for i in range(10))
YEAR = (date(2024, 1, 2), date(2024, 12, 31))
ROLL_UP = """
    SELECT symbol, session, first(open ORDER BY ts) AS open, max(high) AS high, min(low) AS low,
           last(close ORDER BY ts) AS close, sum(volume) AS volume
    FROM bars WHERE resolution = '1m' AND regular GROUP BY symbol, session
"""


def measure() -> Iterator[tuple[str, list[float], float]]:
    """Seconds and peak memory of one child process."""
    child = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True)
    seen = json.loads(child.stdout)
    yield f"minute bars: raw -> clean -> quality, {seen['bars']:,} bars, s", [seen["seconds"]], 15.0
    yield "minute bars: peak memory of that, GB", [seen["peak_gb"]], 1.5
    yield "minute bars: daily roll-up by SQL, s", seen["roll_up"], 1.0


def _child() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        start = time.perf_counter()
        warehouse = fill(
            Warehouse(root), GeneratedSource(SYMBOLS), SYMBOLS, Resolution.MINUTE, start=YEAR[0], end=YEAR[1]
        )
        for symbol in SYMBOLS:
            report = inspect(warehouse, symbol, Resolution.MINUTE, get_calendar("XNYS"), today=YEAR[1])
            write_report(warehouse, report)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        catalog = Catalog(root, Path(folder) / "results")
        bars = catalog.query("SELECT count(*) AS n FROM bars")["n"][0].as_py()
        roll_up = [_seconds(catalog) for _ in range(3)]
        sys.stdout.write(json.dumps({"seconds": seconds, "peak_gb": peak, "bars": bars, "roll_up": roll_up}))


def _seconds(catalog: Catalog) -> float:
    start = time.perf_counter()
    catalog.query(ROLL_UP)
    return time.perf_counter() - start


if __name__ == "__main__":
    _child()
