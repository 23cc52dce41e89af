"""download + clean + quality of the sample (5 symbols, 12,154 bars) inside one Dagster run, after start-up.

Belongs here: the time of the run itself, on a fresh instance each time. Does not belong here: interpreter start-up.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROUNDS = 3
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def measure() -> Iterator[tuple[str, list[float], float]]:
    """Seconds of one run over the five symbols."""
    yield "sample: download + clean + quality, one run, 5 symbols, s", [_run(SYMBOLS) for _ in range(ROUNDS)], 5.0


def _run(symbols: tuple[str, ...]) -> float:
    from pipelines.runs import BARS_TO_QUALITY, materialize_symbols, open_instance

    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        shutil.copy(here / "dagster.yaml", project)
        os.chdir(project)
        try:
            with open_instance(project) as instance:
                start = time.perf_counter()
                materialize_symbols(instance, BARS_TO_QUALITY, symbols)
                return time.perf_counter() - start
        finally:
            os.chdir(here)
