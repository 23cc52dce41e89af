"""`make bench`: ratios of one run on one machine, against plain Backtrader and against the stated targets.

Belongs here: measuring, printing, the history in `docs/performance.md` (`--record`). Does not belong here: asserting; a
shared machine is noisy, so nothing here can fail a build. Every comparison is interleaved (A B A B ...) and quoted as
the median of the ratios of neighbouring pairs.
"""

import argparse
import os
import platform
import statistics
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import backtest_memory
import bookkeeping
import cold_start
import engine
import gateway
import minute_bars
import sample_run
import speed
import studies
import tracking

_HISTORY = Path(__file__).parents[2] / "docs" / "performance.md"


def main() -> None:
    """Run every part and print one table a part."""
    arguments = argparse.ArgumentParser(description=main.__doc__)
    arguments.add_argument("--record", action="store_true", help="append the engines' ratios to docs/performance.md")
    arguments.add_argument("--engines", action="store_true", help="measure the engines only")
    chosen = arguments.parse_args()
    ratios = _engines()
    if chosen.record:
        _record(ratios)
    if not chosen.engines:
        _targets()


def _engines() -> list[str]:
    sys.stdout.write("engines: times as fast as Backtrader as it comes; larger is better\n\n")
    shown = []
    for one in speed.measure():
        sys.stdout.write(
            f"{one.name:<48} {one.ratio:9.1f}x of {one.against:<8} goal {one.goal:6.0f}x"
            f"  (min {min(one.ratios):.1f}, max {max(one.ratios):.1f}, n={len(one.ratios)})\n"
        )
        sys.stdout.flush()
        shown.append(f"{one.ratio:,.1f}x")
    for asked, megabytes in backtest_memory.measure():
        name = f"memory: 500,000 minutes, --engine {asked}"
        sys.stdout.write(f"{name:<48} {megabytes:9.0f} MB          goal {backtest_memory.GOAL:6.0f} MB\n")
        sys.stdout.flush()
        shown.append(f"{megabytes:.0f} MB")
    sys.stdout.write("\n")
    return shown


def _record(ratios: list[str]) -> None:
    """Append a row to the history."""
    machine = f"{os.cpu_count()} x {_processor()}"
    versions = f"Python {platform.python_version()}, numpy {version('numpy')}, numba {version('numba')}"
    row = [f"{datetime.now(UTC):%Y-%m-%d}", machine, versions, *ratios]
    with _HISTORY.open("a", encoding="utf-8") as page:
        page.write(f"| {' | '.join(row)} |\n")


def _processor() -> str:
    """The processor's name where Linux tells it, else its architecture."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _targets() -> None:
    sys.stdout.write("the rest: smaller is better; a ratio below 1.0 meets its target\n\n")
    for part in (engine, sample_run, bookkeeping, minute_bars, studies, cold_start, tracking, gateway):
        for name, measured, target in part.measure():
            value = statistics.median(measured)
            sys.stdout.write(
                f"{name:<72} {value:10.3f}  target {target:8.3f}  ratio {value / target:6.2f}  "
                f"(min {min(measured):.3f}, max {max(measured):.3f}, n={len(measured)})\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
