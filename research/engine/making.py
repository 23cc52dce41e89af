"""Strategies and indicators made as Backtrader makes them, without its detours.

Belongs here: what metaclasses of Backtrader do to make a strategy, an indicator or an operation on lines. Does not
belong here: computing them (see `once`), what they are afterwards, which is objects of Backtrader's own classes.

Backtrader goes through six metaclasses for each of these objects, and makes a seventh for each of their lines. Before
it makes an indicator or an operation it looks into a cache of its own (`objcache`), if that is switched on. While a
strategy is made, the cache here stands there: it never holds anything, but makes what is asked for, in the same order
and with the same attributes. What is out of the ordinary it leaves to Backtrader by holding nothing.
"""

import array
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from itertools import count
from types import FrameType, ModuleType
from typing import Any, Final

import backtrader as bt
from backtrader.feed import AbstractDataBase
from backtrader.indicator import MetaIndicator
from backtrader.linebuffer import LineActions, LineBuffer, MetaLineActions
from backtrader.lineiterator import IndicatorBase, MetaLineIterator, ObserverBase
from backtrader.lineroot import LineMultiple, LineRoot, LineSingle, MetaLineRoot
from backtrader.lineseries import Lines, LineSeries, LineSeriesMaker, LineSeriesStub
from backtrader.metabase import AutoInfoClass, ItemCollection, MetaBase
from backtrader.strategy import MetaStrategy
from backtrader.utils import AutoDictList, DotDict

from research.engine.native import compiled


class _UnknownError(KeyError):
    """Something is asked for that only Backtrader knows how to make; it asks here first, and does so after this."""


Made = tuple[Callable[..., bt.Strategy], Any, Any]  # what makes a strategy, and its arguments
Maker = Callable[[Sequence[Any], dict[str, Any], FrameType | None, ModuleType | None], Any]

_STEPS: Final = ("doprenew", "donew", "dopreinit", "doinit", "dopostinit")
_OWN_NAMES: Final = frozenset(
    {"params", "p", "l", "lines", "plotinfo", "plotlines", "datas", "ddatas", "dnames", "broker", "env", "cerebro"}
)
_OF_OBJECTS: Final = ("__new__", "__setattr__", "__getattribute__")
_OF_LINES: Final = frozenset({"__init__", "__new__", "__getitem__", "__len__", "_getlinealias", "size", "fullsize"})
_new: Final[Callable[[Any], Any]] = object.__new__


def make_strategy(cls: type[bt.Strategy], /, *args: object, **kwargs: object) -> bt.Strategy:
    """What `cls(*args, **kwargs)` makes."""
    native = compiled()
    with _making(native):
        kind: type = cls
        if issubclass(kind, bt.Strategy) and _maker(kind) is not None:
            with suppress(_UnknownError):
                return _strategy(cls, args, kwargs, sys._getframe(1), native)
        made: bt.Strategy = cls(*args, **kwargs)
    return made


def quickly(strategies: Iterable[Made]) -> list[Made]:
    """The strategies of a run and their arguments, with what makes them in the place of their classes."""
    return [
        (partial(make_strategy, cls) if isinstance(cls, type) else cls, args, kwargs)
        for cls, args, kwargs in strategies
    ]


def make_feed(cls: type[AbstractDataBase], **kwargs: object) -> AbstractDataBase:
    """What `cls(**kwargs)` makes: a feed."""
    kind: Any = cls
    made: AbstractDataBase
    if not _is_plain_feed(kind):
        made = cls(**kwargs)
        return made
    made = _container(kind, _shape(kind), kwargs, sys._getframe(1), compiled())
    made, args, kwargs = kind.dopreinit(made, **kwargs)
    made.__init__(*args, **kwargs)
    made, _, _ = kind.dopostinit(made, *args, **kwargs)
    return made


class _Maker(dict[Any, Any]):
    """What stands in the place of Backtrader's caches.

    Args:
        native: the compiled module; None for what is here.
    """

    def __init__(self, native: ModuleType | None) -> None:
        super().__init__()
        self._native = native

    def __getitem__(self, key: tuple[type, tuple[Any, ...], tuple[tuple[str, Any], ...]]) -> object:
        cls, args, kwargs = key
        maker = _maker(cls)
        if maker is None:
            raise _UnknownError(cls)
        return maker(args, dict(kwargs), sys._getframe(2), self._native)

    def setdefault(self, key: object, made: object = None, /) -> object:
        """What Backtrader has made itself."""
        return made


@contextmanager
def _making(native: ModuleType | None) -> Iterator[None]:
    """Let Backtrader ask here before it makes an indicator; where it keeps a cache of its own, it goes on with that."""
    if MetaIndicator._icacheuse or MetaLineActions._acacheuse:
        yield
        return
    before = MetaIndicator._icache, MetaLineActions._acache
    MetaIndicator._icache = MetaLineActions._acache = _Maker(native)
    MetaIndicator._icacheuse = MetaLineActions._acacheuse = True
    try:
        yield
    finally:
        MetaIndicator._icacheuse = MetaLineActions._acacheuse = False
        MetaIndicator._icache, MetaLineActions._acache = before


# ---------------------------------------------------------------- what is known how to make


@lru_cache(maxsize=1024)
def _maker(cls: type) -> Maker | None:
    """How objects of a class are made; None where only Backtrader knows."""
    if not _is_made_plainly(cls):
        return None
    if issubclass(cls, LineActions):
        return partial(_operation, cls) if _takes(cls, MetaLineActions, MetaLineRoot) else None
    if not issubclass(cls, LineSeries) or not _is_plain_container(cls):
        return None
    if issubclass(cls, bt.Strategy):
        return partial(_strategy, cls) if _takes(cls, MetaStrategy, MetaStrategy) else None
    if issubclass(cls, bt.Indicator):
        return partial(_indicator, cls) if _takes(cls, MetaLineIterator, MetaLineIterator) else None
    return None


@lru_cache(maxsize=64)
def _is_plain_feed(cls: Any) -> bool:  # noqa: ANN401
    """Whether feeds of a class are made as Backtrader makes all of them, whatever comes before and after `__init__`."""
    kind: Any = type(cls)
    steps = kind.doprenew is MetaBase.doprenew and kind.doinit is MetaBase.doinit
    plain = kind.donew is type(AbstractDataBase).donew and _is_made_plainly(cls)
    return steps and plain and _is_plain_container(cls)


def _is_made_plainly(cls: Any) -> bool:  # noqa: ANN401
    """Whether nothing of a class looks at how its objects are made."""
    return (
        all(getattr(cls, name) is getattr(object, name) for name in _OF_OBJECTS)
        and not (getattr(cls, "packages", True) or getattr(cls, "frompackages", True))
        and not any(step in vars(base) for base in cls.__mro__ for step in _STEPS)
        and not _has_setters(cls)
    )


def _takes(cls: type, init: type, new: type) -> bool:
    """Whether the metaclass makes objects as these of Backtrader's do."""
    kind: Any = type(cls)
    return (
        kind.doprenew is MetaBase.doprenew
        and kind.donew is new.donew  # type: ignore[attr-defined]
        and kind.dopreinit is init.dopreinit  # type: ignore[attr-defined]
        and kind.doinit is MetaBase.doinit
        and kind.dopostinit is init.dopostinit  # type: ignore[attr-defined]
    )


def _has_setters(cls: type) -> bool:
    """Whether a class wants to know when one of the attributes is set that Backtrader sets."""
    setters = {name for base in cls.__mro__ for name, value in vars(base).items() if hasattr(type(value), "__set__")}
    return any(name.startswith(("data", "line")) or name in _OWN_NAMES for name in setters)


def _is_plain_container(cls: Any) -> bool:  # noqa: ANN401
    """Whether the lines of a class are made and counted as Backtrader's are."""
    if not _names_plainly(cls):
        return False
    derived = cls.lines.__mro__[: cls.lines.__mro__.index(Lines)]
    return all(_OF_LINES.isdisjoint(vars(one)) for one in derived)


class _Shape:
    """What all objects of a class have in common.

    Args:
        cls: a class with lines.
        parts: its classes of parameters, lines, `plotinfo` and `plotlines`.
    """

    def __init__(self, cls: type, parts: tuple[Any, ...]) -> None:
        self.params, self.lines, self.plotinfo, self.plotlines = parts
        self.defaults = dict(self.params._getitems())
        self.plot_defaults = dict(self.plotinfo._getitems())
        count = len(self.lines._getlines()) + self.lines._getlinesextra()
        self.names = tuple((f"line_{number}", f"line{number}") for number in range(count))
        self.of_lines = tuple(
            (name, None if _is_flat(kind) else type.__call__, kind)
            for name in (self.plotlines._getkeys() if self.plotlines._getrecurse() else ())
            for kind in (getattr(self.plotlines, name),)
        )
        self.parts = (
            self.plotinfo, self.plot_defaults, self.params, self.defaults, self.lines, self.plotlines, self.of_lines,
            self.names,
        )  # fmt: skip
        self.is_child = issubclass(cls, (IndicatorBase, ObserverBase))


@lru_cache(maxsize=1024)
def _shape_of(cls: type, *parts: Any) -> _Shape:  # noqa: ANN401
    return _Shape(cls, parts)


@lru_cache(maxsize=1024)
def _defaults(params: Any) -> dict[str, Any]:  # noqa: ANN401
    return dict(params._getitems())


def _is_flat(kind: Any) -> bool:  # noqa: ANN401
    """Whether making an object of a class of parameters makes no others inside it."""
    return kind.__new__ is AutoInfoClass.__new__ and kind.__init__ is object.__init__ and not kind._getrecurse()


def _shape(cls: Any) -> _Shape:  # noqa: ANN401
    return _shape_of(cls, cls.params, cls.lines, cls.plotinfo, cls.plotlines)


# ---------------------------------------------------------------- parts


def _filled(cls: type, values: dict[str, Any]) -> Any:  # noqa: ANN401
    """An object of a class of parameters."""
    made = _new(cls)
    made.__dict__ = values
    return made


def _taken(defaults: dict[str, Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Parameters: those that were given, which are taken out, and the defaults of the others."""
    values = defaults.copy()
    for name in [name for name in kwargs if name in values]:
        values[name] = kwargs.pop(name)
    return values


def _owner(kind: type, skip: object, frame: FrameType | None) -> Any:  # noqa: ANN401
    """What `findowner` finds from this frame on."""
    while frame is not None:
        names = frame.f_locals
        for name in ("self", "_obj"):
            found = names.get(name)
            if found is not skip and isinstance(found, kind):
                return found
        frame = frame.f_back
    return None


def _buffer(owner: LineMultiple) -> LineBuffer:
    """A line of an object."""
    made = _new(LineBuffer)
    params = _new(LineBuffer.params)
    made.__dict__ = {
        "params": params, "p": params, "_owner": owner, "lines": [made], "mode": LineBuffer.UnBounded, "bindings": [],
        "array": array.array("d"), "useislice": False, "lencount": 0, "_idx": -1, "extension": 0, "_tz": None,
    }  # fmt: skip
    return made


def _lines(cls: type, made: list[LineBuffer]) -> Lines:
    lines = _new(cls)
    lines.__dict__ = {"lines": made}
    return lines


def _container(
    cls: Any,  # noqa: ANN401
    shape: _Shape,
    kwargs: dict[str, Any],
    frame: FrameType | None,
    native: ModuleType | None,
) -> Any:  # noqa: ANN401
    """An object with lines, up to where its metaclass looks at its data."""
    owner = _owner(cls._OwnerCls or LineMultiple, kwargs.pop("_ownerskip", None), frame)
    if native is not None:
        return native.container(cls, shape.parts, kwargs, owner)
    plotinfo = _filled(shape.plotinfo, _taken(shape.plot_defaults, kwargs))
    params = _filled(shape.params, _taken(shape.defaults, kwargs))
    made: Any = _new(cls)
    own = made.__dict__
    own["params"] = own["p"] = params
    own["_owner"] = owner
    own["plotinfo"] = plotinfo
    buffers = [_buffer(made) for _ in shape.names]
    own["lines"] = own["l"] = _lines(shape.lines, buffers)
    own["plotlines"] = _filled(shape.plotlines, {name: (make or _new)(kind) for name, make, kind in shape.of_lines})
    if buffers:
        own["line"] = buffers[0]
    for line, (name, other) in zip(buffers, shape.names, strict=True):
        own[name] = own[other] = line
    return made


# ---------------------------------------------------------------- indicators and strategies


def _stub(line: LineBuffer, native: ModuleType | None) -> LineSeries:
    """What `LineSeriesStub(line)` makes."""
    cls: Any = LineSeriesStub
    shape = _shape(cls)
    made = _container(cls, shape, {}, None, native)
    own = made.__dict__
    own["lines"] = _lines(shape.lines, [line])
    own["owner"] = own["_owner"] = line._owner
    own["_minperiod"] = line._minperiod
    own["slave"] = False
    return made


def _series(thing: LineRoot, native: ModuleType | None) -> LineSeries:
    if isinstance(thing, LineSeries):
        return thing
    return _stub(thing, native) if isinstance(thing, LineBuffer) else LineSeriesMaker(thing)


def _datas(
    args: Sequence[Any], minimum: int, native: ModuleType | None
) -> tuple[list[LineSeries], Sequence[Any]]:  # fmt: skip
    """The data among the arguments, and what is left of them.

    Raises:
        _UnknownError: there is a number in the place of data, or data that name their lines in a way of their own.
    """
    datas: list[LineSeries] = []
    for number, arg in enumerate(args):
        if not isinstance(arg, LineRoot):
            if minimum:
                raise _UnknownError
            return datas, args[number:]
        kind: type = type(arg)
        if not _names_plainly(kind):
            raise _UnknownError
        datas.append(_series(arg, native))
        minimum = max(0, minimum - 1)
    return datas, ()


@lru_cache(maxsize=1024)
def _names_plainly(cls: type) -> bool:
    return not any("_getlinealias" in vars(base) for base in cls.__mro__ if not issubclass(base, Lines))


@lru_cache(maxsize=1024)
def _data_names(number: int, lines: Any) -> tuple[tuple[str, ...], ...]:  # noqa: ANN401
    """The attributes by which an object finds each line of its data of this number."""
    prefixes = ("data_", "data0_") if number == 0 else (f"data{number}_",)
    count = len(lines._getlines()) + lines._getlinesextra()
    aliases = [(lines._getlinealias(line), str(line)) for line in range(count)]
    return tuple(tuple(prefix + name for prefix in prefixes for name in names if name) for names in aliases)


def _know(made: Any, datas: list[LineSeries], minimum: int, *, is_child: bool) -> None:  # noqa: ANN401
    """Let an object know its data, its clock and how many bars it has to wait for."""
    own = made.__dict__
    own["_lineiterators"] = defaultdict(list)
    if not datas and is_child:
        datas = made._owner.datas[0:minimum]
    own["datas"] = datas
    own["ddatas"] = dict.fromkeys(datas)
    if datas:
        own["data"] = datas[0]
    for number, data in enumerate(datas):
        own[f"data{number}"] = data
        lines = data.lines
        kind: type = type(lines)
        for line, names in zip(lines.lines, _data_names(number, kind), strict=True):
            for name in names:
                own[name] = line
    own["dnames"] = DotDict([(data._name, data) for data in datas if getattr(data, "_name", "")])
    if not datas:
        own["datas"] = datas = [made._owner]
    own["_clock"] = datas[0]
    own["_minperiod"] = minperiod = max([data._minperiod for data in datas])
    for line in made.lines.lines:
        line.addminperiod(minperiod)


def _register(made: Any) -> None:  # noqa: ANN401
    """Let the owner know an object that is complete."""
    made._minperiod = max([line._minperiod for line in made.lines.lines])
    made._periodrecalc()
    if made._owner is not None:
        made._owner.addindicator(made)


def _indicator(
    cls: Any,  # noqa: ANN401
    args: Sequence[Any],
    kwargs: dict[str, Any],
    frame: FrameType | None,
    native: ModuleType | None,
) -> Any:  # noqa: ANN401
    shape, minimum = _shape(cls), cls._mindatas
    datas, args = _datas(args, minimum, native)
    _obj = _container(cls, shape, kwargs, frame, native)
    _know(_obj, datas, minimum, is_child=shape.is_child)
    _obj.__init__(*args, **kwargs)
    _register(_obj)
    return _obj


def _strategy(
    cls: Any,  # noqa: ANN401
    args: Sequence[Any],
    kwargs: dict[str, Any],
    frame: FrameType | None,
    native: ModuleType | None,
) -> Any:  # noqa: ANN401
    shape, minimum = _shape(cls), cls._mindatas
    datas, args = _datas(args, minimum, native)
    _obj = _container(cls, shape, kwargs, frame, native)
    _know(_obj, datas, minimum, is_child=False)
    _obj.env = _obj.cerebro = _owner(bt.Cerebro, None, frame)
    _obj._id = _obj.cerebro._next_stid()
    _obj.broker = _obj.env.broker
    _obj._sizer = bt.sizers.FixedSize()
    _obj._orders, _obj._orderspending, _obj._tradespending = [], [], []
    _obj._trades = defaultdict(AutoDictList)
    _obj.stats = _obj.observers = ItemCollection()
    _obj.analyzers = ItemCollection()
    _obj._alnames = defaultdict(count)
    _obj.writers, _obj._slave_analyzers = [], []
    _obj._tradehistoryon = False
    _obj.__init__(*args, **kwargs)
    _register(_obj)
    _obj._sizer.set(_obj, _obj.broker)
    return _obj


# ---------------------------------------------------------------- operations on lines


def _operation(
    cls: Any,  # noqa: ANN401
    args: Sequence[Any],
    kwargs: dict[str, Any],
    frame: FrameType | None,
    native: ModuleType | None,
) -> Any:  # noqa: ANN401
    params = _filled(cls.params, _taken(_defaults(cls.params), kwargs))
    _obj = _new(cls)
    owner = _owner(cls._OwnerCls or LineMultiple, kwargs.pop("_ownerskip", None), frame)
    followed = [arg for arg in args if isinstance(arg, LineRoot)]
    clock = args[0] if isinstance(args[0], LineRoot) else owner
    _obj.__dict__.update(params=params, p=params, _owner=owner, _clock=clock, _datas=followed)
    singles = [arg if isinstance(arg, LineSingle) else arg.lines[0] for arg in followed]
    _obj.updateminperiod(max([line._minperiod for line in singles] or [1]))
    _obj.__init__(*args, **kwargs)
    _obj._owner.addindicator(_obj)
    return _obj
