"""What compiling costs: `barloom optimize` where nothing was compiled yet, over the same where everything was.

Belongs here: wall time of the command as a user waits for it, a process of its own, in pairs. Does not belong here:
what is compiled (see `research.compiled`).
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROUNDS = 3
_COMMAND = (
    "optimize", "--strategy", "strategies.sma_crossover.SMACrossover", "--symbols", "AAPL", "--start", "2000-03-01",
    "--end", "2013-03-01", "--param-ranges", "sma_short:5-30,sma_long:31-100",
)  # fmt: skip
_PATIENCE_S = 600.0


def measure() -> Iterator[tuple[str, list[float], float]]:
    """Seconds that a first study of 1,820 points takes more than a later one."""
    with TemporaryDirectory() as folder:
        project, compiled = Path(folder, "project"), Path(folder, "compiled")
        project.mkdir()
        _seconds(project, "first", compiled)  # brings the bars, and compiles
        pairs = [_pair(project, number, compiled) for number in range(ROUNDS)]
    yield "studies: first study of 1,820 points where nothing is compiled, s more", pairs, 5.0


def _pair(project: Path, number: int, compiled: Path) -> float:
    with TemporaryDirectory() as nothing:
        cold = _seconds(project, f"cold-{number}", Path(nothing))
    return cold - _seconds(project, f"warm-{number}", compiled)


def _seconds(project: Path, study: str, compiled: Path) -> float:
    """Of one command with compiled code kept in a folder; studies of other names have nothing in common but bars."""
    command = [sys.executable, "-m", "pipelines.cli", *_COMMAND, "--study-name", study]
    settings = os.environ | {"NUMBA_CACHE_DIR": str(compiled)}
    began = time.perf_counter()
    subprocess.run(command, cwd=project, env=settings, capture_output=True, check=True, timeout=_PATIENCE_S)
    return time.perf_counter() - began


if __name__ == "__main__":
    for title, found, target in measure():
        sys.stdout.write(f"{title}: {', '.join(f'{one:.1f}' for one in found)} (target {target:.1f})\n")
