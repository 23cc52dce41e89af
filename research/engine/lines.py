"""Lines that read their position from a clock they share.

Belongs here: how a line, an indicator or a feed is made to follow a clock for the time of a run and is given back as
Backtrader left it. Does not belong here: the loop that moves the clocks (see `cerebro`), what may follow one (see
`eligibility`).

Backtrader moves every line of every object at every bar. Here the lines of one symbol share a list of one integer, the
index of the current bar, so that all of them move by a single store. Reading needs no more than that integer and the
line's array; the arrays stay Backtrader's own, so that an index before the first or behind the last value wraps or
raises exactly as it does there.

Only instances change their class, to a subclass made for theirs, and only until `Clocked.release`.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, tzinfo
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

import backtrader as bt
from backtrader.feed import AbstractDataBase
from backtrader.linebuffer import LineBuffer
from backtrader.lineroot import LineRoot
from backtrader.lineseries import LineAlias, Lines, LineSeries
from backtrader.utils import num2date

from research.engine.matching import MatchingBroker
from research.engine.times import NaiveTimes

Clock = list[int]  # of one entry: index of the current bar, -1 before the first

_PLAIN: Final = frozenset({float, int, bool})
_ASKED: Final = ("position", "getposition", "buy", "sell", "close")
_LOOKUP: Final = "__getattribute__"
_COMPARISONS: Final = ("__lt__", "__gt__", "__le__", "__ge__", "__eq__", "__ne__")
_MOVES: Final = (
    "__getitem__", "__setitem__", "__len__", "idx", "get_idx", "set_idx", "get", "advance", "forward", "backwards",
    "rewind", "home", "reset", "extend", "buflen",
)  # fmt: skip


class Clocked:
    """Everything of one run that follows a clock.

    Args:
        on_release: called once when the run's objects are given back because user code moved one of them by itself
            (`data.advance()`), before that move happens; the loop has to go on as Backtrader's from there.
        times: the times of the run's bars.
        native: the compiled module, whose reads take the place of those here; None for those here.
    """

    def __init__(self, on_release: Callable[[], None], times: NaiveTimes, native: ModuleType | None = None) -> None:
        self.times = times
        self._native = native
        self._on_release = on_release
        self._lines: list[tuple[LineBuffer, type]] = []
        self._series: list[tuple[LineSeries, type]] = []
        self._asking: list[tuple[bt.Strategy, type]] = []
        self._named: list[tuple[LineSeries, dict[str, LineBuffer]]] = []
        self.released = False

    def follow(self, line: LineBuffer, clock: Clock) -> None:
        """Make one line follow a clock; its class must be one that `can_follow`."""
        cls: type = type(line)
        own = dict(line.__dict__)  # a dictionary of its own is read faster than one that shares its keys
        del own["_idx"], own["lencount"]
        own["_clock_now"] = clock
        own["_clocked"] = self
        line.__dict__ = own
        line.__class__ = _clocked_line(cls, self._native)
        self._lines.append((line, cls))

    def follow_series(self, series: LineSeries, clock: Clock) -> None:
        """Make the first line of a feed or indicator, its length and its lines by name quick to read.

        The lines themselves have to follow the same clock (see `follow`).
        """
        cls: type = type(series)
        if _watches_subclasses(cls):
            return
        own = dict(series.__dict__)
        own["_clock_now"] = clock
        own["_clocked"] = self
        own["_first_values"] = series.lines.lines[0].array
        series.__dict__ = own
        series.__class__ = _clocked_series(cls, self._native)
        self._series.append((series, cls))
        self.name_lines(series)

    def ask(self, strategy: bt.Strategy, broker: bt.BrokerBase) -> None:
        """Let a strategy ask for its position and send orders without detours, where those ways are Backtrader's."""
        cls: type = type(strategy)
        if self._native is None or _watches_subclasses(cls) or "_broker_now" in vars(strategy):
            return
        strategy.__dict__["_broker_now"] = broker
        desk: type = type(broker)
        strategy.__class__ = _asking(cls, desk, self._native)
        self._asking.append((strategy, cls))

    def name_lines(self, series: LineSeries) -> None:
        """Make the lines of an object attributes of it, where Backtrader looks for them on several detours."""
        own, lines = vars(series), series.lines.lines
        kind: type = type(series)
        container: type = type(series.lines)
        names = _names(kind, container)
        aliases = {name: lines[index] for name, index in names if name not in own}
        own.update(aliases)
        self._named.append((series, aliases))

    def release(self) -> None:
        """Give every object back as Backtrader's loop would have left it at this moment; idempotent."""
        if self.released:
            return
        self.released = True
        for line, cls in self._lines:
            own = line.__dict__
            at = own.pop("_clock_now")[0]
            del own["_clocked"]
            line.__class__ = cls
            own["_idx"], own["lencount"] = at, at + 1
        for series, cls in self._series:
            own = series.__dict__
            series.__class__ = cls
            del own["_clock_now"], own["_clocked"], own["_first_values"]
            if len(series):
                own.update((name, _tick(series, index)) for name, index in _tick_names(cls))
        for strategy, cls in self._asking:
            strategy.__class__ = cls
            del strategy.__dict__["_broker_now"]
        for series, aliases in self._named:
            own = vars(series)
            for name, line in aliases.items():
                if own.get(name) is line:
                    del own[name]

    def surrender(self) -> None:
        """User code is about to do what only Backtrader's own loop can go on from."""
        if not self.released:
            self.release()
            self._on_release()


def can_follow(cls: type) -> bool:
    """Whether lines of a class move as `LineBuffer` does, so that a clock can stand for their position."""
    return not (any(getattr(cls, name) is not getattr(LineBuffer, name) for name in _MOVES) or _watches_subclasses(cls))


@lru_cache(maxsize=1024)
def _clocked_line(cls: type, native: ModuleType | None) -> type:
    reads = _quick_reads(_LINE_READS, native.LineReads if native else None)
    times = {name: read for name, read in _TIME_READS.items() if getattr(cls, name) is getattr(LineBuffer, name)}
    return _subclass(cls, reads | times | _comparisons(cls), native.LineReads if native else None)


@lru_cache(maxsize=1024)
def _clocked_series(cls: type, native: ModuleType | None) -> type:
    reads = {name: read for name, read in _SERIES_READS.items() if getattr(cls, name) is getattr(LineSeries, name)}
    reads = _quick_reads(reads, native.SeriesReads if native else None)
    made = _subclass(cls, reads | _ticks(cls) | _comparisons(cls), native.SeriesReads if native else None)
    return _finds_quickly(made, native) if native else made


@lru_cache(maxsize=1024)
def _asking(cls: type, broker: type, native: ModuleType) -> type:
    """A strategy class whose ways to the broker are compiled, those that it has from Backtrader."""
    ways = {name for name in _ASKED if getattr(cls, name) is getattr(bt.Strategy, name)}
    if getattr(broker, "getposition", None) is not bt.brokers.BackBroker.getposition:
        ways = set()
    if any(getattr(broker, name, None) is not getattr(MatchingBroker, name) for name in ("buy", "sell")):
        ways -= {"buy", "sell"}
    if not {"getposition", "buy", "sell"} <= ways:
        ways.discard("close")
    if "getposition" not in ways:
        ways.discard("position")
    made = _subclass(cls, {name: vars(native.StrategyAsks)[name] for name in ways}, native.StrategyAsks)
    return _finds_quickly(made, native)


def _finds_quickly(made: type, native: ModuleType) -> type:
    """The class, its attributes found without a detour over `__getattribute__` where it has none of its own."""
    if getattr(made, _LOOKUP) is getattr(object, _LOOKUP) and hasattr(made, "__getattr__"):
        native.find_quickly(made)
    return made


def _quick_reads(reads: Mapping[str, Any], compiled: type | None) -> dict[str, Any]:
    """The same reads, those that are compiled in the place of those that are not."""
    quick = vars(compiled) if compiled else {}
    return {name: quick.get(name, read) for name, read in reads.items()}


def _watches_subclasses(cls: type) -> bool:
    """Making a subclass would run code of the user's."""
    return hasattr(cls.__init_subclass__, "__func__")


def _subclass(cls: type, body: dict[str, Any], compiled: type | None) -> type:
    """A subclass that goes by the name of its base; Backtrader's metaclasses, which register classes, are not asked.

    Python calls compiled methods without a detour only where their type is among the bases.
    """
    named = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    bases = (cls, compiled) if compiled else (cls,)
    made: type = type.__new__(type(cls), cls.__name__, bases, named | body)
    return made


@lru_cache(maxsize=1024)
def _names(series: type, lines: type) -> tuple[tuple[str, int], ...]:
    """The names by which `LineSeries.__getattr__` finds lines, with their numbers."""
    found: dict[str, int] = {}
    for cls in reversed(lines.__mro__):
        for name, value in vars(cls).items():
            if isinstance(value, LineAlias):
                found[name] = value.line
            else:
                found.pop(name, None)
    return tuple((name, index) for name, index in found.items() if not hasattr(series, name))


# ---------------------------------------------------------------- how a line is read


def _line_item(self: LineBuffer, ago: int) -> float:
    value: float = self.array[self._clock_now[0] + ago]
    return value


def _line_length(self: LineRoot) -> int:
    length: int = self._clock_now[0] + 1
    return length


def _line_get(self: LineBuffer, ago: int = 0, size: int = 1) -> Sequence[float]:
    end = self._clock_now[0] + ago + 1
    values: Sequence[float] = self.array[end - size : end]
    return values


def _index(self: LineBuffer) -> int:
    at: int = self._clock_now[0]
    return at


def _moved(name: str) -> Callable[[LineBuffer, int], None]:
    def move(self: LineBuffer, value: int) -> None:
        self._clocked.surrender()
        setattr(self, name, value)  # the line has its own class again, and its own position

    return move


def _line_datetime(self: LineBuffer, ago: int = 0, tz: tzinfo | None = None, naive: bool = True) -> datetime:
    number = self.array[self._clock_now[0] + ago]
    zone = tz or self._tz
    if zone:
        moment: datetime = num2date(number, tz=zone, naive=naive)
        return moment
    times: NaiveTimes = self._clocked.times
    return times.at(number)


def _line_date(self: LineBuffer, ago: int = 0, tz: tzinfo | None = None, naive: bool = True) -> date:
    return _line_datetime(self, ago, tz, naive).date()


def _line_time(self: LineBuffer, ago: int = 0, tz: tzinfo | None = None, naive: bool = True) -> time:
    return _line_datetime(self, ago, tz, naive).time()


_TIME_READS: Final = {"datetime": _line_datetime, "date": _line_date, "time": _line_time}
_LINE_READS: Final[dict[str, Any]] = {
    "__getitem__": _line_item,
    "__len__": _line_length,
    "get": _line_get,
    "idx": property(_index, _moved("idx")),
    "_idx": property(_index, _moved("_idx")),
    "lencount": property(_line_length, _moved("lencount")),
}


# ---------------------------------------------------------------- how a feed or an indicator is read


def _series_item(self: LineSeries, ago: int) -> float:
    value: float = self._first_values[self._clock_now[0] + ago]
    return value


_SERIES_READS: Final[dict[str, Any]] = {"__getitem__": _series_item, "__len__": _line_length}


# ---------------------------------------------------------------- the ticks of a feed, which here are its bars


@lru_cache(maxsize=1024)
def _tick_names(cls: type[AbstractDataBase]) -> tuple[tuple[str, int], ...]:
    """The attributes in which Backtrader's feeds keep the newest tick, with the numbers of the lines they copy."""
    if not issubclass(cls, AbstractDataBase) or cls._tick_fill is not AbstractDataBase._tick_fill:
        return ()
    names = cls.lines._getlines()
    ticks = tuple((f"tick_{name}", index) for index, name in enumerate(names) if name != "datetime")
    return (*ticks, ("tick_last", 0))


def _tick(feed: AbstractDataBase, index: int) -> float | None:
    """A feed's tick after it has moved to a bar: the bar's value, nothing at the last bar."""
    value: float | None = feed.lines.lines[index][0] if len(feed) < feed.buflen() else None
    return value


def _tick_property(name: str, index: int) -> property:
    def read(self: AbstractDataBase) -> float | None:
        if self._clock_now[0] >= 0:
            return _tick(self, index)
        if name not in vars(self):
            raise AttributeError(name)
        before: float | None = vars(self)[name]  # left there while the indicators were computed
        return before

    def write(self: AbstractDataBase, value: float | None) -> None:
        self._clocked.surrender()  # what a feed does first when somebody moves it by hand
        setattr(self, name, value)

    return property(read, write)


def _ticks(cls: type) -> dict[str, Any]:
    return {name: _tick_property(name, index) for name, index in _tick_names(cls)}


# ---------------------------------------------------------------- `line > other` inside a run


def _comparison(name: str) -> Callable[[LineRoot, object], object]:
    vanilla, compare = getattr(LineRoot, name), getattr(operator, name)

    def compared(self: LineRoot, other: object) -> object:
        if self._opstage == 1:
            return vanilla(self, other)
        if type(other) not in _PLAIN and isinstance(other, LineRoot):
            other = other[0]
        return compare(self[0], other)

    return compared


def _truth(self: LineRoot) -> bool:
    truth: bool = bool(self[0]) if self._opstage == 2 else LineRoot.__bool__(self)
    return truth


_COMPARED: Final[dict[str, Any]] = {name: _comparison(name) for name in _COMPARISONS} | {"__bool__": _truth}


def _comparisons(cls: type) -> dict[str, Any]:
    """The comparisons that a class takes from `LineRoot`; equality needs its hash said again."""
    own: dict[str, Any] = {
        name: compared for name, compared in _COMPARED.items() if getattr(cls, name) is getattr(LineRoot, name)
    }
    if "__eq__" in own:
        own["__hash__"] = cls.__hash__
    return own


# ---------------------------------------------------------------- who follows which clock


def first_line(thing: LineRoot | None) -> LineBuffer | None:
    """The line whose length is the length of an object that lines follow; None for what has no line."""
    if isinstance(thing, LineBuffer):
        return thing
    lines = getattr(getattr(thing, "lines", None), "lines", None)
    return lines[0] if lines else None


def lines_of(thing: LineRoot) -> list[LineBuffer]:
    """All lines that move with a feed, an indicator or an operation on lines."""
    return [thing] if isinstance(thing, LineBuffer) else list(thing.lines.lines)


def advances_plainly(indicator: LineRoot) -> bool:
    """Whether an indicator or operation moves as Backtrader's own do: all its lines one step, after its clock."""
    cls = type(indicator)
    if isinstance(indicator, LineBuffer):
        return can_follow(cls)
    own_way = isinstance(indicator, bt.Indicator) and cls.advance is bt.Indicator.advance
    plain = own_way and cls.__len__ is LineSeries.__len__ and type(indicator.lines).__len__ is Lines.__len__
    return plain and can_all_follow(indicator.lines.lines)


def can_all_follow(lines: Iterable[LineRoot]) -> bool:
    """Whether every line is one that a clock can stand for."""
    return all(isinstance(line, LineBuffer) and can_follow(type(line)) for line in lines)
