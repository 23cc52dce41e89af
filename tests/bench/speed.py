"""How many times faster the engines are than Backtrader as it comes, on the works of `works`.

Belongs here: the ratios, their goals. Does not belong here: the works, memory, whether results are
the same (tests/unit/research/engine; a work whose fills differ is an error here all the same).
"""

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from crossover import crossover
from works import Work, run_fast, run_vanilla, work

from research.engine import PreparedRun
from research.engine.kernel import Kernel

SWEEP = 100
_REPEATS = 5


@dataclass(frozen=True)
class Speed:
    """One line of the table: ratios to Backtrader as it comes (`tuned`: without its observers)."""

    name: str
    ratios: list[float]
    goal: float
    against: str = "default"

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)


def measure() -> Iterator[Speed]:
    """Every work, each pair run one after the other so that noise meets both."""
    yield Speed("W1 fast: 3,270 days, generic next()", _fast(work("W1"), 9), 35)
    yield Speed("W2 fast: 500,000 minutes, generic next()", _fast(work("W2"), 2), 30)
    yield Speed("W3 fast: four symbols, generic next()", _fast(work("W3"), 7), 25)
    yield Speed("orders fast: brackets and trailing stops", _fast(work("orders"), 5), 8)
    yield Speed("W1 kernel: SMACrossover, costs and limits", _kernel(work("W1"), 9), 500)
    yield Speed("W2 kernel: SMACrossover, costs and limits", _kernel(work("W2"), 1), 500)
    yield Speed(f"W4 kernel: {SWEEP} trials with a Sharpe ratio", _sweep(work("W1"), 3), 1500, "tuned")


def prepared(of: Work, **params: int) -> PreparedRun:
    """SMACrossover on the bars of a work."""
    return crossover(of.bars, of.resolution, of.cash, **params)


def _fast(of: Work, rounds: int) -> list[float]:
    """Each run of Backtrader beside the median of a few of the much shorter ones: one hiccup is to decide nothing.

    A round begins without garbage; what a run leaves behind is collected when Python gets to it, in a later one.
    """
    run_fast(of)
    ratios = []
    for _ in range(rounds):
        gc.collect()
        slow, expected = _timed(lambda: run_vanilla(of))
        quick = [_timed(lambda: run_fast(of)) for _ in range(_REPEATS)]
        if any(seen != expected for _, seen in quick):
            raise RuntimeError(f"{of.name}: the fast engine differs from Backtrader.")
        ratios.append(slow / statistics.median(took for took, _ in quick))
    return ratios


def _kernel(of: Work, rounds: int) -> list[float]:
    """Bars are prepared once a process, so that is not counted; signals, orders, fills and values are."""
    run = prepared(of)
    Kernel.prepare(run).run(run.params)
    ratios = []
    for _ in range(rounds):
        gc.collect()
        slow, _ = _timed(lambda: run_vanilla(of))
        gc.collect()  # what Backtrader left is not the kernel's to sweep up
        kernels = [Kernel.prepare(run) for _ in range(_REPEATS)]
        quick = [_timed(lambda kernel=kernel: kernel.run(run.params))[0] for kernel in kernels]
        ratios.append(slow / statistics.median(quick))
    return ratios


def _sweep(of: Work, rounds: int) -> list[float]:
    generator = random.Random(7)  # noqa: S311
    points: list[dict[str, int]] = []
    while len(points) < SWEEP:
        short, long = generator.randint(5, 30), generator.randint(31, 100)
        points.append({"sma_short": short, "sma_long": long})
    base = prepared(of)
    trials = [base.params | point for point in points]
    _study(base, trials[:1])  # compiled code is loaded once a process, as in `_kernel`
    ratios = []
    for _ in range(rounds):
        gc.collect()
        slow, _ = _timed(
            lambda: [run_vanilla(of, stdstats=False, short=one["sma_short"], long=one["sma_long"]) for one in points]
        )
        gc.collect()
        quick = [_timed(lambda: _study(base, trials))[0] for _ in range(_REPEATS)]
        ratios.append(slow / statistics.median(quick))
    return ratios


def _study(base: PreparedRun, trials: list[dict[str, Any]]) -> list[float | None]:
    kernel = Kernel.prepare(base)
    return [kernel.run(trial).metrics(["sharpe_ratio"])["sharpe_ratio"] for trial in trials]


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that this thread computed, whatever else the machine does."""
    began = time.thread_time()
    done = action()
    return time.thread_time() - began, done
