"""Who coordinates a study in a folder: at most one process, unless a database keeps them apart.

Belongs here: a lock that ends with its process, whatever ends it. Does not belong here: locks of a database (see
`storage`).
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from research.errors import StudyError

_NAME = ".coordinator"


@contextmanager
def coordinates(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a study's folder, alone or `shared`; the system lets go of it when the process ends.

    Raises:
        StudyError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StudyError(f"{folder.name}: another process is running this study.") from None
        yield
    finally:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether a process is running the study of a folder."""
    try:
        descriptor = os.open(folder / _NAME, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
