"""Making a case that fails smaller, until nothing more can be left out.

Belongs here: simpler cases of `cases`. Does not belong here: saying whether one fails.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from tests.unit.research.engine.cases import Case

T = TypeVar("T")

REQUIRED = frozenset({
    "data", "which", "target", "limit", "stop", "children", "group", "at", "cash", "what", "note", "by", "really",
    "stake", "buys", "last", "exectype", "on", "size", "perc", "fixed", "commission",
})  # fmt: skip


def shrunk(case: Case, fails: Callable[[Case], bool], tries: int = 1500) -> Case:
    """The smallest case found for which `fails(case)` is still true."""
    return shrunk_by(smaller, case, fails, tries)


def shrunk_by(simpler: Callable[[T], Iterator[T]], case: T, fails: Callable[[T], bool], tries: int) -> T:
    """The same for any kind of case, of which `simpler` gives simpler ones."""
    progress = True
    while progress and tries > 0:
        progress = False
        for candidate in simpler(case):
            tries -= 1
            if fails(candidate):
                case, progress = candidate, True
                break
            if tries <= 0:
                break
    return case


def smaller(case: Case) -> Iterator[Case]:
    """Cases that are a little simpler than this one, the boldest first."""
    yield from _without(case, "steps")
    yield from _without(case, "series", least=1)
    for name in ("indicators", "analyzers", "broker", "cerebro", "extras"):
        yield from _without(case, name)
    for hook in sorted(case.hooks - {"next"}):
        yield replace(case, hooks=case.hooks - {hook})
    if case.sizer is not None:
        yield replace(case, sizer=None)
    yield from _fewer_bars(case)
    yield from _simpler_indicators(case)
    yield from _simpler_steps(case)


def _put(items: tuple[Any, ...], number: int, item: Any) -> tuple[Any, ...]:
    return (*items[:number], item, *items[number + 1 :])


def _without(case: Case, name: str, least: int = 0) -> Iterator[Case]:
    """The case without a half, a quarter ... of a field's items."""
    items = getattr(case, name)
    width = max(1, len(items) // 2)
    while items:
        for begin in range(0, len(items), width):
            kept = (*items[:begin], *items[begin + width :])
            if least <= len(kept) < len(items):
                yield replace(case, **{name: kept})
        if width == 1:
            return
        width //= 2


def _fewer_bars(case: Case) -> Iterator[Case]:
    for number, series in enumerate(case.series):
        count = len(series.stamps)
        for begin, end in ((0, count // 2), (0, count - 1), (1, count)):
            if 0 < end - begin < count:
                short = replace(series, stamps=series.stamps[begin:end], rows=series.rows[begin:end])
                yield replace(case, series=_put(case.series, number, short))


def _simpler_indicators(case: Case) -> Iterator[Case]:
    for number, indicator in enumerate(case.indicators):
        for part in indicator[1:]:
            if isinstance(part, tuple) and part[0] != "line":
                yield replace(case, indicators=_put(case.indicators, number, part))


def _simpler_steps(case: Case) -> Iterator[Case]:
    for number, step in enumerate(case.steps):
        for name, value in step.args.items():
            if name not in REQUIRED and value is not None:
                args = {key: item for key, item in step.args.items() if key != name}
                yield replace(case, steps=_put(case.steps, number, replace(step, args=args)))
        looks = step.args.get("at", ())
        if len(looks) > 1:
            for look in looks:
                yield replace(case, steps=_put(case.steps, number, replace(step, args={"at": (look,)})))
