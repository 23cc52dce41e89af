"""Finding strategies by name: the library that ships, and any class that can be imported.

Belongs here: dotted paths to classes, listing, parameters for a class. Does not belong here: running anything.
"""

import hashlib
import importlib
import importlib.machinery
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import backtrader as bt

from strategies.base_strategy import BaseStrategy
from strategies.errors import ParameterError, UnknownStrategyError, did_you_mean

_READ = "__barloom_read__"
"""Attribute of an imported module: digest of its file at that moment."""

LIBRARY: tuple[str, ...] = (
    "strategies.sma_crossover.SMACrossover",
    "strategies.momentum.DualMomentum",
    "strategies.momentum.RSIMomentum",
    "strategies.momentum.CrossSectionalRotation",
    "strategies.mean_reversion.RSIReversion",
    "strategies.mean_reversion.BollingerReversion",
    "strategies.mean_reversion.ZScoreReversion",
    "strategies.breakout.DonchianBreakout",
    "strategies.breakout.ATRBreakout",
    "strategies.breakout.KeltnerBreakout",
    "strategies.timing.MACDTiming",
    "strategies.timing.StochasticTiming",
    "strategies.timing.ADXTrend",
    "strategies.pairs.PairsTrading",
)
"""Every strategy that ships, in the order it is listed."""


@dataclass(frozen=True, slots=True)
class StrategyInfo:
    """What a person sees of a strategy in a list."""

    dotted: str
    name: str
    family: str
    summary: str
    parameters: tuple[str, ...]
    constraints: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON types."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def library() -> list[StrategyInfo]:
    """The strategies that ship with barloom."""
    return [describe(dotted) for dotted in LIBRARY]


def describe(dotted: str) -> StrategyInfo:
    """A strategy's name, family, first sentence, parameters and constraints; its own parameters come first.

    Raises:
        UnknownStrategyError: there is no such strategy.
    """
    cls = load_strategy(dotted)
    summary = (inspect.getdoc(cls) or "").split("\n", maxsplit=1)[0]
    if not issubclass(cls, BaseStrategy):
        plain = tuple(f"{name} = {default}" for name, default in cls.params._getitems())
        return StrategyInfo(dotted, cls.__name__, "custom", summary, plain, ())
    shared = BaseStrategy.space.parameters
    lines = [f"{name} = {parameter.describe()}" for name, parameter in _own_first(cls.space.parameters, shared)]
    constraints = tuple(constraint.text for constraint in cls.space.constraints)
    return StrategyInfo(dotted, cls.__name__, cls.family, summary, tuple(lines), constraints)


def load_strategy(dotted: str) -> type[bt.Strategy]:
    """The strategy class at a dotted path such as `strategies.sma_crossover.SMACrossover`.

    Modules in the working directory are found too, after the installed ones.

    Raises:
        UnknownStrategyError: the module or the class does not exist, cannot be imported, or is no strategy.
    """
    module_name, _, class_name = dotted.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in dotted.split(".")):
        near = did_you_mean(dotted, (path.rpartition(".")[2] for path in LIBRARY))
        raise UnknownStrategyError(
            f"strategy: {dotted!r} must be a dotted path such as strategies.sma_crossover.SMACrossover.{near}"
        )
    module = _import(module_name, dotted)
    found = getattr(module, class_name, None)
    if found is None:
        near = did_you_mean(class_name, _strategies_in(module))
        raise UnknownStrategyError(f"strategy: {dotted!r}: the module {module_name} has no {class_name}.{near}")
    if not _is_strategy(found) or found is BaseStrategy:
        raise UnknownStrategyError(f"strategy: {dotted!r} is not a backtrader.Strategy that could run.")
    cls: type[bt.Strategy] = found
    return cls


def resolve_params(cls: type[bt.Strategy], values: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter that the strategy will run with: those given, and the defaults of the others.

    A `BaseStrategy` is checked against its parameter space; of a plain `backtrader.Strategy` only names are known.

    Raises:
        ParameterError: a name is unknown, or a value breaks the declared range or a constraint.
    """
    defaults = dict(cls.params._getitems())
    for name in values:
        if name not in defaults:
            near = did_you_mean(name, defaults) or f" It has {', '.join(defaults) or 'none'}."
            raise ParameterError(f"{name} is not a parameter of {cls.__name__}.{near}")
    complete = defaults | dict(values)
    if issubclass(cls, BaseStrategy):
        declared = {name: value for name, value in complete.items() if name in cls.space.parameters}
        complete |= cls.space.validate(declared, owner=cls.__name__)
    return complete


def _own_first(parameters: Mapping[str, Any], shared: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(parameters.items(), key=lambda item: item[0] in shared)


def _import(module_name: str, dotted: str) -> ModuleType:
    with _working_directory_importable():
        _forget_if_moved(module_name.partition(".")[0])
        _forget_if_edited(module_name)
        try:
            module = importlib.import_module(module_name)
            module.__dict__.setdefault(_READ, _digest(module))
            return module  # noqa: TRY300 (the import is what may raise)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise UnknownStrategyError(f"strategy: {dotted!r} needs the module {error.name!r}.") from error
            near = did_you_mean(dotted, LIBRARY) or did_you_mean(module_name, _siblings(module_name))
            raise UnknownStrategyError(f"strategy: {dotted!r}: there is no module {error.name!r}.{near}") from None
        except Exception as error:  # user code may raise anything while it is imported
            reason = f"{type(error).__name__}: {error}"
            raise UnknownStrategyError(f"strategy: {dotted!r} cannot be imported, {reason}.") from error


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    folder = str(Path.cwd())
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(folder)


def _forget_if_moved(top: str) -> None:
    """Drop a module that was imported from another working directory; the same name may now mean another file."""
    known = sys.modules.get(top)
    spec = importlib.machinery.PathFinder.find_spec(top) if known is not None else None
    if known is None or spec is None or spec.origin in (None, getattr(known, "__file__", None)):
        return
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        del sys.modules[name]


def _forget_if_edited(module_name: str) -> None:
    """Drop a module whose file is not what was imported: a result must not name code that did not run."""
    known = sys.modules.get(module_name)
    read = getattr(known, _READ, None)
    if known is not None and read is not None and read != _digest(known):
        del sys.modules[module_name]
        importlib.invalidate_caches()


def _digest(module: ModuleType) -> str:
    path = Path(getattr(module, "__file__", None) or "")
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _siblings(module_name: str) -> list[str]:
    """Modules beside the one asked for, as dotted names."""
    parent = module_name.rpartition(".")[0]
    package = sys.modules.get(parent)
    paths = list(package.__path__) if package is not None else [str(Path.cwd())]
    prefix = f"{parent}." if parent else ""
    return [prefix + module.name for module in pkgutil.iter_modules(paths)]


def _strategies_in(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if _is_strategy(value)]


def _is_strategy(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, bt.Strategy)
