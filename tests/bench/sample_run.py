"""download + clean + quality of the sample (5 symbols, 12,154 bars) inside one Dagster run, after start-up.

Belongs here: the time of the run itself, on a fresh instance each time. Does not belong here: interpreter start-up.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.definitions import build_defs
from pipelines.keys import SYMBOL_ASSETS
from pipelines.runs import materialize_symbols, open_instance

ROUNDS = 3
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
DAGSTER_YAML = Path(__file__).parents[2] / "dagster.yaml"


def measure() -> Iterator[tuple[str, list[float], float]]:
    """Seconds of one run over the five symbols."""
    seconds = []
    for _ in range(ROUNDS):
        with TemporaryDirectory() as folder, chdir(folder):
            seconds.append(run_seconds(Path(folder), SYMBOLS))
    yield "sample: download + clean + quality, one run, 5 symbols, s", seconds, 5.0


def run_seconds(project: Path, symbols: Sequence[str], config: Mapping[str, Any] | None = None) -> float:
    """Seconds of one run in a project folder, which is also the working directory; its history is new."""
    (project / "dagster.yaml").write_text(DAGSTER_YAML.read_text())
    defs = build_defs()
    with open_instance(project) as instance:
        start = time.perf_counter()
        materialize_symbols(instance, SYMBOL_ASSETS, symbols, run_config=config, defs=defs).raise_for_failure()
        return time.perf_counter() - start
