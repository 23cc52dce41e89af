"""`make soak`: far more random runs than the suite makes, and the whole grid of SMACrossover, on every engine.

Belongs here: running for as long as asked, on all cores, and saying which seed failed. Does not belong here: making
cases and comparing runs (see `tests/unit/research/engine`).

    python tests/soak --minutes 30 --seed 1      random runs for half an hour
    python tests/soak --grid                     all 1,820 points of the grid on Apple, on three engines
    python tests/soak --kind cases --only 12345  one seed again, made as small as possible
    python tests/soak --calibration              how often the statistics of studies pass noise and an edge
"""

import argparse
import os
import random
import sys
import time
import types
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = ("cases", "long", "exotic", "declared", "library", "scripted")
SHORTS, LONGS = range(5, 31), range(31, 101)
BATCH = 40


def see_the_tests() -> None:
    """Make `tests` this project's: another package installs one of that name."""
    package = types.ModuleType("tests")
    package.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = package
    sys.path.insert(0, str(ROOT))
    warnings.simplefilter("ignore")


def difference(kind: str, seed: int) -> str | None:
    """How any engine's run of a seed's case differs from Backtrader's; None where all are the same."""
    see_the_tests()
    if kind in ("declared", "library", "scripted"):
        from research.engine.choice import Engine
        from tests.unit.research.engine import test_differential_accounts as accounts

        case = accounts.account_case(seed, kind, bars=120)
        engines = (Engine.FAST,) if kind == "scripted" else (Engine.FAST, Engine.KERNEL)
        return next(filter(None, (accounts.difference(case, engine) for engine in engines)), None)
    from tests.unit.research.engine import test_differential as generic

    return generic.difference(case_of_kind(kind, seed))


def case_of_kind(kind: str, seed: int):
    """A case of plain Backtrader."""
    from tests.unit.research.engine.cases import case_of

    if kind == "long":
        return case_of(seed, bars=250, steps=150, exotic=0.0)
    return case_of(seed, exotic=0.9 if kind == "exotic" else 0.05)


def batch(kind: str, first: int) -> tuple[str, list[tuple[int, str]]]:
    """The seeds of one batch that failed, with what differed; an error of the engines counts as a failure."""
    failed = []
    for seed in range(first, first + BATCH):
        try:
            found = difference(kind, seed)
        except Exception as error:  # noqa: BLE001 (whatever goes wrong, the seed must be told)
            found = f"{type(error).__name__}: {error}"
        if found is not None:
            failed.append((seed, found))
    return kind, failed


def grid_batch(short: int) -> list[tuple[int, int, str, str]]:
    """The points with one short average that differ on an engine."""
    see_the_tests()
    from research.engine.choice import Engine
    from tests.unit.research.engine.recording import first_difference
    from tests.unit.research.engine.test_differential_goldens import grid_point

    differing = []
    for long in LONGS:
        expected, _ = grid_point(Engine.VANILLA, short, long)
        for engine in (Engine.FAST, Engine.KERNEL):
            found, _ = grid_point(engine, short, long)
            text = first_difference(expected, found)
            if text is not None:
                differing.append((short, long, engine.value, text))
    return differing


def batches(kinds: tuple[str, ...], seed: int) -> Iterator[tuple[str, int]]:
    """One batch of each kind in turn, for ever."""
    first = random.Random(seed).randrange(2**40)  # noqa: S311
    while True:
        for kind in kinds:
            yield kind, first
        first += BATCH


def soak(kinds: tuple[str, ...], seed: int, minutes: float) -> int:
    """Random runs until the time is over; how many failed."""
    end = time.monotonic() + 60 * minutes
    ran: Counter[str] = Counter()
    failures = 0
    workers = os.cpu_count() or 1
    work = batches(kinds, seed)
    with ProcessPoolExecutor(workers) as pool:
        while time.monotonic() < end:
            # a few batches a round: a faster machine just has more rounds
            round_of_work = [next(work) for _ in range(workers * len(kinds))]
            for kind, failed in pool.map(batch, *zip(*round_of_work, strict=True)):
                ran[kind] += BATCH
                failures += len(failed)
                for wrong, text in failed:
                    sys.stdout.write(f"\nFAILED --kind {kind} --only {wrong}\n{text[:2000]}\n")
            counts = ", ".join(f"{count} {kind}" for kind, count in ran.items())
            sys.stdout.write(f"{counts}: {failures} differ\n")
            sys.stdout.flush()
    return failures


def grid() -> int:
    """Every point of the grid on every engine; how many differ."""
    differing = 0
    with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        for number, found in enumerate(pool.map(grid_batch, SHORTS), start=1):
            differing += len(found)
            for short, long, engine, text in found:
                sys.stdout.write(f"\nsma_short {short}, sma_long {long} on {engine}:\n{text[:2000]}\n")
            sys.stdout.write(f"{number * len(LONGS)} of {len(SHORTS) * len(LONGS)} points: {differing} differ\n")
            sys.stdout.flush()
    return differing


CALIBRATIONS = ((0.0, True), (0.0, False), (1.0, False), (1.5, False), (2.0, False))
"""Annual Sharpe ratio of one trial of fifty, and whether volatility is calm."""


def calibrated(edge: float, calm: bool, seeds: range) -> dict[str, float]:
    """Rates over some seeds."""
    see_the_tests()
    from dataclasses import asdict

    from tests.unit.research.overfitting.calibration import rates

    return asdict(rates(seeds, edge=edge, calm=calm, samples=500))


WORTHLESS = ((10, 1), (50, 1), (400, 1), (2_000, 1), (5, 10), (20, 20))
"""Independent bets without an edge, and trials of each."""


def refused(bets: int, copies: int, seeds: range) -> dict[str, float]:
    """Rates over some seeds."""
    see_the_tests()
    from dataclasses import asdict

    from tests.unit.research.overfitting.calibration import worthless

    return asdict(worthless(seeds, bets=bets, copies=copies))


def calibration(count: int = 200) -> None:
    """A line for each kind of made-up returns: how often each statistic passes."""
    cores = os.cpu_count() or 1
    parts = [range(at, count, cores) for at in range(cores)]
    with ProcessPoolExecutor(cores) as pool:
        for edge, calm in CALIBRATIONS:
            found = list(pool.map(calibrated, [edge] * cores, [calm] * cores, parts))
            tell(f"Sharpe {edge:g}, {'calm' if calm else 'clustered'} volatility", found)
        for bets, copies in WORTHLESS:
            found = list(pool.map(refused, [bets] * cores, [copies] * cores, parts))
            tell(f"{bets} worthless bets, {copies} trials each", found)


def tell(what: str, parts: list[dict[str, float]]) -> None:
    """One line: the means of rates that were measured on parts of the seeds."""
    means = {name: sum(one[name] for one in parts) / len(parts) for name in parts[0]}
    told = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
    sys.stdout.write(f"{what}: {told}\n")
    sys.stdout.flush()


def only(kind: str, seed: int) -> int:
    """One seed again; the smallest case that still differs, as code."""
    text = difference(kind, seed)
    sys.stdout.write(f"{text or 'the same'}\n")
    if text is not None and kind in ("cases", "long", "exotic"):
        from tests.unit.research.engine import test_differential as generic
        from tests.unit.research.engine.shrinking import shrunk

        small = shrunk(case_of_kind(kind, seed), lambda case: generic.difference(case) is not None)
        sys.stdout.write(f"{small!r}\n{generic.difference(small)}\n")
    return int(text is not None)


def main() -> int:
    """Run what the command line says; 0 when nothing differs."""
    words = argparse.ArgumentParser(prog="python tests/soak")
    words.add_argument("--minutes", type=float, default=10.0)
    words.add_argument("--seed", type=int, default=int(time.time()))
    words.add_argument("--kind", choices=KINDS)
    words.add_argument("--only", type=int, help="one seed, which a soak printed")
    words.add_argument("--grid", action="store_true", help="the grid of SMACrossover instead of random runs")
    words.add_argument("--calibration", action="store_true", help="rates of the statistics of studies")
    said = words.parse_args()
    if said.calibration:
        calibration()
        return 0
    if said.grid:
        return int(grid() > 0)
    if said.only is not None:
        return only(said.kind or "cases", said.only)
    sys.stdout.write(f"soak --seed {said.seed} --minutes {said.minutes:g}\n")
    return int(soak((said.kind,) if said.kind else KINDS, said.seed, said.minutes) > 0)


if __name__ == "__main__":
    sys.exit(main())
