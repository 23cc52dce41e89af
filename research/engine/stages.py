"""What an operator between lines does: make a line of lines, or calculate with their present values.

Belongs here: putting all objects of a strategy into one of these two stages, once. Does not belong here: making lines
(see `making`), comparing them (see `lines`).

Backtrader goes through the feeds of each indicator again. Here each object is visited once, as long as it is put into
its stage in Backtrader's way.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final

import backtrader as bt
from backtrader.lineiterator import LineIterator
from backtrader.lineroot import LineMultiple, LineRoot
from backtrader.lineseries import Lines

_MAKES: Final = 1
_CALCULATES: Final = 2
_NAMES: Final = ("", "_stage1", "_stage2")


def begin_stage(strategy: bt.Strategy) -> None:
    """Let the next `strategy._stage2()`, by which its run begins, take the shorter way."""
    _once(strategy, _CALCULATES)


def end_stage(strategy: bt.Strategy) -> None:
    """Let the next `strategy._stage1()`, by which its run ends, take the shorter way."""
    _once(strategy, _MAKES)


def _once(strategy: bt.Strategy, stage: int) -> None:
    name, own = _NAMES[stage], vars(strategy)
    kind: type = type(strategy)
    if _reach(kind, stage) is LineIterator and name not in own:
        own[name] = partial(_put, strategy, stage)


def _put(strategy: bt.Strategy, stage: int) -> None:
    """What `strategy._stage1()` or `strategy._stage2()` does."""
    vars(strategy).pop(_NAMES[stage], None)
    pending: list[Any] = [strategy]
    seen: set[int] = set()
    while pending:
        thing = pending.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        kind: type = type(thing)
        reach = _reach(kind, stage)
        if reach is None:
            getattr(thing, _NAMES[stage])()
            continue
        thing._opstage = stage
        if reach is not LineRoot:
            pending += thing.lines.lines
        if reach is LineIterator:
            pending += thing.datas
            for inside in thing._lineiterators.values():
                pending += inside


@lru_cache(maxsize=1024)
def _reach(cls: type, stage: int) -> type | None:
    """The class of Backtrader's whose way to put objects into a stage a class takes; None where it has its own."""
    own: Callable[..., None] | None = getattr(cls, _NAMES[stage], None)
    reach = next(
        (base for base in (LineIterator, LineMultiple, LineRoot) if vars(base).get(_NAMES[stage]) is own), None
    )
    lines = getattr(cls, "lines", Lines)
    return None if reach is not LineRoot and getattr(lines, "__getitem__", None) is not Lines.__getitem__ else reach
