"""Which engine runs a backtest.

Belongs here: the names of the engines. Does not belong here: running (see `run`), what an engine can run (each engine
says so itself).

Every engine gives Backtrader's own result bit for bit, so the choice is one of speed alone. What an engine cannot do
exactly it leaves to the next slower one.
"""

import difflib
from enum import StrEnum

from research.errors import ExperimentError


class Engine(StrEnum):
    """The engines, the slowest first, and the choice among them.

    AUTO     the fastest one that can run the experiment exactly.
    VANILLA  Backtrader's own loop.
    FAST     our loop around Backtrader's strategies, indicators and orders.
    KERNEL   compiled code, for strategies that declare their signals.
    """

    AUTO = "auto"
    VANILLA = "vanilla"
    FAST = "fast"
    KERNEL = "kernel"


def engine_named(text: str) -> Engine:
    """The engine that a person wrote.

    Raises:
        ExperimentError: there is none of that name.
    """
    name = text.strip().lower()
    if name in _NAMES:
        return Engine(name)
    close = difflib.get_close_matches(name, _NAMES, n=1)
    hint = f"; did you mean {close[0]}" if close else ""
    raise ExperimentError(f"engine: {text!r} is not one of {', '.join(_NAMES)}{hint}.")


_NAMES = tuple(engine.value for engine in Engine)
