"""One backtest of SMACrossover, and the memory that it takes.

Belongs here: the prepared run; as a program, running it on bars in Parquet. Does not belong here: other works, anything
that a backtest does not need: what is imported here is measured.
"""

import resource
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from research.engine import Engine, PreparedRun, replay, strategy_of
from research.experiment import Experiment
from research.feed import SymbolBars
from risk.limits import Limits
from warehouse.calendar import get_calendar
from warehouse.resolution import Resolution

_STRATEGY = "strategies.sma_crossover.SMACrossover"


def main(file: Path, cash: float) -> None:
    """Run on the fast engine; prints the kilobytes that were resident at most."""
    table = pq.read_table(file)
    bars = SymbolBars("WALK", **{name: table[name].to_numpy() for name in table.column_names})
    del table
    replay(crossover({"WALK": bars}, Resolution.MINUTE, cash), engine=Engine.FAST)
    sys.stdout.write(str(_peak()))


def _peak() -> int:
    """Kilobytes; where Linux tells them, those of this program alone: `getrusage` counts what started it as well."""
    told = Path("/proc/self/status")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def crossover(bars: Mapping[str, SymbolBars], resolution: Resolution, cash: float, **params: int) -> PreparedRun:
    """With the costs and limits of an experiment that says nothing about them."""
    chosen = params or {"sma_short": 10, "sma_long": 30}
    experiment = Experiment(
        name="bench", strategy=_STRATEGY, params=chosen, symbols=tuple(bars), start=date(2000, 1, 1),
        end=date(2030, 1, 1), resolution=resolution, cash=cash,
    )  # fmt: skip
    strategy, complete = strategy_of(experiment)
    return PreparedRun(
        experiment, strategy, complete, Limits.default(), experiment.costs.build(), get_calendar("XNYS"), bars
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
