"""The memory of one backtest of SMACrossover(50, 200) on 500,000 minute bars, from the warehouse to the tables on disk.

Belongs here: the warehouse and its peak; as a program, what `barloom backtest` does in a process of its own. Does not
belong here: anything that a backtest does not need: what is imported here is measured.
"""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from pipelines.backtesting import BacktestOrder, carry_out
from research.engine import engine_named
from research.experiment import Experiment
from warehouse.resolution import Resolution

ENGINES = ("auto", "fast")
GOAL = 400.0
"""Megabytes."""

_SYMBOL, _START, _END = "WALK", date(2015, 1, 2), date(2020, 2, 12)  # 499,950 minutes of regular sessions


def measure() -> Iterator[tuple[str, float]]:
    """Engine asked for and the megabytes that were resident at most; a warehouse and a new process each."""
    for engine in ENGINES:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, __file__, "fill", folder], check=True, timeout=600)
            child = [sys.executable, __file__, engine, folder]
            done = subprocess.run(child, capture_output=True, text=True, check=True, timeout=600)
        yield engine, float(done.stdout) / 1024


def _fill(folder: Path) -> None:
    """Bars, their report and the stamp that says which bars it is of."""
    from generated import GeneratedSource
    from sample_data import fill

    from pipelines.prefixes import asset_name
    from pipelines.stamps import Stamp, write_stamp
    from warehouse.calendar import get_calendar
    from warehouse.quality import inspect, write_report
    from warehouse.store import Warehouse

    source, minutes = GeneratedSource([_SYMBOL]), Resolution.MINUTE
    warehouse = fill(Warehouse(folder / "data"), source, [_SYMBOL], minutes, start=_START, end=_END)
    write_report(warehouse, inspect(warehouse, _SYMBOL, minutes, get_calendar("XNYS"), today=_END))
    judged = {asset_name("clean_bars", minutes): warehouse.data_version(_SYMBOL, minutes)}
    write_stamp(warehouse.root, asset_name("quality_report", minutes), _SYMBOL, Stamp("bench", judged))


def _run(engine: str, folder: Path) -> None:
    """Prints the kilobytes that were resident at most."""
    experiment = Experiment(
        name="long", strategy="strategies.sma_crossover.SMACrossover", params={"sma_short": 50, "sma_long": 200},
        symbols=(_SYMBOL,), start=_START, end=_END, resolution=Resolution.MINUTE,
    )  # fmt: skip
    carry_out(BacktestOrder(experiment, folder / "data", folder / "results", engine_named(engine)))
    sys.stdout.write(str(_peak()))


def _peak() -> int:
    """Kilobytes; where Linux tells them, those of this program alone: `getrusage` counts what started it as well."""
    told = Path("/proc/self/status")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        _fill(Path(sys.argv[2]))
    else:
        _run(sys.argv[1], Path(sys.argv[2]))
