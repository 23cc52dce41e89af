"""Studies: what a coordinator costs beside the trials, workers, memory, and how soon a search finds.

Belongs here: measuring searches in memory and whole studies on the shipped sample. Does not belong here: whether
results are the same (tests/unit/research/study).
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from sample_data import clean_sample

from research.engine import prepare_run
from research.study import StudySpecification, local_workers, run_study, search
from research.study.coordinator import Coordinator
from research.study.evaluate import Evaluator
from warehouse.resolution import Resolution

ROUNDS = 3
GRID = "sma_short:5-30,sma_long:31-100"
_CROSSOVER = "strategies.sma_crossover.SMACrossover"
_BAR_BY_BAR = "strategies.momentum.CrossSectionalRotation"


def measure() -> Iterator[tuple[str, list[float], float]]:
    """Every part; a ratio below 1.0 meets its target."""
    for engine in ("kernel", "fast"):
        yield f"studies: coordinator's share of 100 TPE trials, {engine}", _overhead(engine), 0.10
    yield "studies: two workers over one, bar by bar, seconds", _two_over_one(), 1 / 1.8
    for engine in ("kernel", "fast"):
        yield f"studies: memory of a worker, {engine}, MB", [_worker_memory(engine)], 300.0
    yield "studies: 1,820 points, search, proof and records, s", [_grid_seconds() for _ in range(ROUNDS)], 3.0
    worse, shares = _search_quality()
    yield "studies: seeds of 10 in which TPE ends below random search", [float(worse)], 2.0
    yield "studies: trials to 95 % of the grid's best over all points (20 seeds)", shares, 0.1


@cache
def _bars() -> dict[str, pa.Table]:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = clean_sample(Path(folder), ["AAPL", "IBM", "MSFT"])
        return {symbol: warehouse.read_bars(symbol, Resolution.DAILY) for symbol in ("AAPL", "IBM", "MSFT")}


def _specification(
    *, strategy: str = _CROSSOVER, symbols: tuple[str, ...] = ("AAPL",), **fields: Any
) -> StudySpecification:
    experiment = {"strategy": strategy, "symbols": list(symbols), "start": "2000-03-01", "end": "2013-03-01"}
    return StudySpecification.build(**{"name": "bench", "experiment": experiment, "hold_out": 0.0, **fields})


def _prepared(specification: StudySpecification) -> Any:
    symbols = specification.experiment.symbols
    return prepare_run(specification.experiment, {symbol: _bars()[symbol] for symbol in symbols})


def _overhead(engine: str) -> list[float]:
    """What is neither Optuna's asking nor a trial, over the whole."""
    spec = _specification(space=GRID, sampler="tpe", engine=engine, verify_best=0, verify_sample=0)
    prepared = _prepared(spec)
    search(prepared, spec)
    shares = []
    for _ in range(ROUNDS):
        spent = {"ask": 0.0, "trial": 0.0}
        with _timed(Evaluator, "trial", spent, "trial"), _timed(Coordinator, "_ask", spent, "ask"):
            began = time.perf_counter()
            search(prepared, spec)
            whole = time.perf_counter() - began
        shares.append((whole - sum(spent.values())) / whole)
    return shares


class _timed:  # noqa: N801 (used as a function)
    """Adds up the time of a method while the block runs."""

    def __init__(self, owner: type, name: str, spent: dict[str, float], key: str) -> None:
        self._owner, self._name, self._spent, self._key = owner, name, spent, key

    def __enter__(self) -> None:
        self._before = before = getattr(self._owner, self._name)
        spent, key = self._spent, self._key

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return before(*args, **kwargs)
            finally:
                spent[key] += time.perf_counter() - began

        setattr(self._owner, self._name, timed)

    def __exit__(self, *_: object) -> None:
        setattr(self._owner, self._name, self._before)


def _two_over_one() -> list[float]:
    """Seconds of a study on two processes over those on one, both started beforehand."""
    spec = _specification(strategy=_BAR_BY_BAR, symbols=("AAPL", "IBM", "MSFT"), sampler="random", n_trials=96)
    prepared = _prepared(spec)
    with local_workers(1) as one, local_workers(2) as two:
        for pool, count in ((one, 1), (two, 2)):
            search(prepared, spec.model_copy(update={"n_trials": 16}), executor=pool, workers=count)
        ratios = []
        for _ in range(ROUNDS):
            seconds = [_seconds(prepared, spec, pool, count) for pool, count in ((one, 1), (two, 2))]
            ratios.append(seconds[1] / seconds[0])
    return ratios


def _seconds(prepared: Any, spec: StudySpecification, pool: Any, count: int) -> float:
    began = time.perf_counter()
    search(prepared, spec, executor=pool, workers=count)
    return time.perf_counter() - began


_WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import studies
if __name__ == "__main__":
    from research.study import local_workers, search
    spec = studies._specification(space=studies.GRID, sampler="random", n_trials=64, engine={engine!r})
    with local_workers(1) as pool:
        search(studies._prepared(spec), spec, executor=pool, workers=1)
        status = Path(f"/proc/{{pool.submit(__import__('os').getpid).result()}}/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def _worker_memory(engine: str) -> float:
    """Peak resident megabytes of a worker process that has run trials."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "worker.py"
        program.write_text(_WORKER.format(folder=str(Path(__file__).parent), engine=engine))
        done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True, timeout=300)
    return float(done.stdout) / 1024


def _grid_seconds() -> float:
    spec = _specification(space=GRID, sampler="grid")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run_study(spec, {"AAPL": _bars()["AAPL"]}, results=Path(folder))
        return time.perf_counter() - began


def _search_quality() -> tuple[int, list[float]]:
    """Seeds of ten in which TPE ended below random search; for twenty, the share of the grid to 95 % of its best."""
    grid = _specification(space=GRID, sampler="grid", verify_best=0, verify_sample=0)
    prepared = _prepared(grid)
    every = search(prepared, grid)
    best, points = every.best.value, len(every.trials)
    tpe = [_values(prepared, "tpe", seed) for seed in range(20)]
    random = [_values(prepared, "random", seed) for seed in range(10)]
    worse = sum(max(one) < max(other) for one, other in zip(tpe, random, strict=False))
    return worse, [_first(values, 0.95 * best) / points for values in tpe]


def _values(prepared: Any, sampler: str, seed: int) -> list[float]:
    spec = _specification(space=GRID, sampler=sampler, seed=seed, n_trials=100, verify_best=0, verify_sample=0)
    return [trial.value for trial in search(prepared, spec).trials if trial.value is not None]


def _first(values: list[float], enough: float) -> float:
    return next((at for at, value in enumerate(values, 1) if value >= enough), 10 * len(values))


if __name__ == "__main__":
    for title, found, target in measure():
        sys.stdout.write(f"{title:<72} {statistics.median(found):10.3f}  target {target:8.3f}\n")
        sys.stdout.flush()
