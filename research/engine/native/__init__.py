"""The compiled parts of the fast loop, where they are there.

Belongs here: loading them, and leaving them out. Does not belong here: compiling (see `build`), who uses them.

Everything here has a counterpart in Python with the same results, which is what runs where nothing was compiled, where
the sources have changed since, or where `FAST_LOOP=python` asks for it.
"""

import os
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Final

from research.engine.native.build import NAME, fingerprint

CHOICE: Final = "FAST_LOOP"
"""The environment variable that, set to `python`, leaves compiled code out; no setting of a project."""


def compiled() -> ModuleType | None:
    """The compiled module; None where the loop stays in Python."""
    return None if os.environ.get(CHOICE) == "python" else loaded()


@cache
def loaded() -> ModuleType | None:
    """The compiled module of these sources, whether or not it is wanted; None where there is none."""
    try:
        module = import_module(f"{__name__}.{NAME}")
    except ImportError:
        return None
    return module if fingerprint() == module.FINGERPRINT else None
