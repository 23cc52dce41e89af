"""Decisions declared once, as arrays: the same declaration drives a backtest, a study and live trading.

Belongs here: the bars that a declaration reads and the decisions that it returns. Does not belong here: formulas (see
`indicators`), turning decisions into orders (see `base_strategy`, `order_desk`).

A declaration is a pure function of closed bars and parameters. The value of every array at a bar may depend on bars up
to that one only; the look-ahead check proves it.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from strategies.errors import StrategyError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

P = ParamSpec("P")
R = TypeVar("R")

_REMEMBERED_BYTES = 64 * 2**20
_TYPES = dict.fromkeys(("long_entry", "short_entry", "long_exit", "short_exit"), np.dtype(np.bool_)) | dict.fromkeys(
    ("stop", "trail", "take_profit"), np.dtype(np.float64)
)
"""What the arrays of a declaration are made of."""


class Bars:
    """Closed bars of one symbol, oldest first, as read-only arrays of one length.

    Attributes:
        symbol: whose bars they are.
        open: first price of each bar; `high`, `low`, `close` likewise.
        volume: shares traded; NaN where unknown.
    """

    __slots__ = ("_bytes", "_columns", "close", "high", "low", "open", "symbol", "volume")

    def __init__(self, symbol: str, *, open: Floats, high: Floats, low: Floats, close: Floats, volume: Floats) -> None:  # noqa: A002
        self.symbol = symbol
        self.open, self.high, self.low = _sealed(open), _sealed(high), _sealed(low)
        self.close, self.volume = _sealed(close), _sealed(volume)
        self._columns: OrderedDict[Hashable, tuple[tuple[object, ...], Any]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.close)

    def compute(self, formula: Callable[P, R], *inputs: P.args, **options: P.kwargs) -> R:
        """`formula(*inputs)`, remembered: a study that comes back to a parameter's value does not compute it again.

        Args:
            formula: a pure function that returns an array or a tuple of arrays, which are made read-only.
            inputs: arrays of these bars or of earlier results, known by identity; parameters, known by value.
            options: parameters by name.
        """
        key = (formula, *[_known_by(value) for value in inputs], *options.items())
        found = self._columns.get(key)
        if found is not None:
            self._columns.move_to_end(key)
            result: R = found[1]
            return result
        result = formula(*inputs, **options)
        arrays = _arrays(result)
        for array in arrays:
            _sealed(array)
        # the inputs are kept beside the result: an identity stays theirs only while they live
        self._columns[key] = (inputs, result)
        self._bytes += sum(array.nbytes for array in arrays)
        self._forget()
        return result

    def _forget(self) -> None:
        while self._bytes > _REMEMBERED_BYTES and len(self._columns) > 1:
            _, (_, result) = self._columns.popitem(last=False)
            self._bytes -= sum(array.nbytes for array in _arrays(result))


@dataclass(frozen=True, slots=True)
class Signals:
    """Decisions of one symbol, one value a bar, each known at that bar's close.

    Attributes:
        ready: index of the first bar that may decide; as many as there are bars, or more, for never.
        long_entry: where to be long; `short_entry` where to be short, or only no longer long without `allow_short`.
        long_exit: where to leave a long position; `short_exit` a short one.
        stop: distance of the protective stop from the close of the entry's bar, price units.
        trail: distance at which the stop follows the close; it never moves back.
        take_profit: distance of the limit order that takes the profit, from the close of the entry's bar.
        exits_first: an exit beats an entry of the other side at the same bar.
    """

    ready: int
    long_entry: Bools
    short_entry: Bools
    long_exit: Bools
    short_exit: Bools
    stop: Floats | None = None
    trail: Floats | None = None
    take_profit: Floats | None = None
    exits_first: bool = False


class Declares(Protocol):
    """A strategy class that declares its decisions."""

    @classmethod
    def signals(cls, bars: Bars, p: Any) -> Signals:  # noqa: ANN401
        """See `BaseStrategy.signals`."""


def declare(strategy: type[Declares], bars: Bars, p: Any) -> Signals:  # noqa: ANN401
    """What a strategy declares about a symbol, checked.

    Args:
        strategy: whose declaration.
        bars: closed bars, oldest first.
        p: parameters by attribute.

    Raises:
        StrategyError: an array has another length than the bars, or truth values are something else.
    """
    signals = strategy.signals(bars, p)
    shape = (len(bars),)
    for name, wanted in _TYPES.items():
        value = getattr(signals, name)
        if isinstance(value, np.ndarray) and (value.shape != shape or value.dtype != wanted):
            raise StrategyError(
                f"{strategy.__name__}.signals: {name} is {value.dtype} of shape {value.shape} for {bars.symbol},"
                f" not {wanted} of shape ({len(bars)},)."
            )
    return signals


def _known_by(value: Any) -> Hashable:  # noqa: ANN401
    known: Hashable = ("array", id(value)) if isinstance(value, np.ndarray) else value
    return known


def _arrays(result: Any) -> tuple[npt.NDArray[Any], ...]:  # noqa: ANN401
    return result if isinstance(result, tuple) else (result,)


def _sealed(array: Any) -> Any:  # noqa: ANN401
    array.flags.writeable = False
    return array
