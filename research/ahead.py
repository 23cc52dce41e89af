"""A second process that compiles while this one starts up, where nothing has been compiled yet.

Belongs here: whether that is needed, starting the process and ending it. Does not belong here: what it compiles (see
`research.compiled.ahead`).

Importing this module must cost nothing: it is used before anything heavy is loaded.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_COMPILED = Path(__file__).parent / "compiled"
_PATIENCE_S = 5.0


@contextmanager
def compiling_ahead(cache: Path | None = None) -> Iterator[bool]:
    """Compile the kernel beside what the block does, where no run was ever compiled and there is a second processor.

    Whatever is not done at the end of the block is left undone.

    Args:
        cache: where numba was told to keep compiled code; None for beside the sources.

    Yields:
        Whether there is such a process.
    """
    if not _is_cold(cache) or (os.cpu_count() or 1) < 2:
        yield False
        return
    command = [sys.executable, "-m", "research.compiled.ahead"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as process:  # noqa: S603
        try:
            yield True
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _is_cold(cache: Path | None) -> bool:
    """Whether no run of the present kernel was ever compiled here, as far as can be told without numba."""
    folder, pattern = (_COMPILED / "__pycache__", "") if cache is None else (cache, "compiled_*/")
    if cache is None and not os.access(_COMPILED, os.W_OK):
        return False  # numba keeps it elsewhere
    written = (_COMPILED / "machine.py").stat().st_mtime
    return not any(index.stat().st_mtime >= written for index in folder.glob(f"{pattern}machine.simulate-*.nbi"))
