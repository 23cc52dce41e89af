"""`python -m research.compiled.ahead`: most of what a first run compiles, in a process of its own.

Belongs here: which functions these are and the types of what they are given. Does not belong here: starting the process
(see `research.ahead`), compiling everything when barloom is installed (see `research.engine.kernel.__main__`).

A study loads what it needs, then compiles its indicators, then the run from the beginning of a tick to its end, then
the sums of its figures. This process begins with the longest parts of the run, which take until the indicators are
compiled, and goes on with what comes late; short parts at the beginning of a tick are left to the study, which would
not wait for them. numba keeps on disk what either has compiled. Types that do not fit would cost time and change
nothing: the run then compiles for itself.
"""

import gc
from typing import Any, Final

from numba import types
from numba.np.numpy_support import from_dtype

from research.compiled import machine, measures

_RECORDS: Final = {
    "terms": machine.TERMS, "account": machine.ACCOUNT, "symbols": machine.SYMBOL, "orders": machine.ORDER,
    "fills": machine.FILL, "bookings": machine.BOOKING,
}  # fmt: skip
_TABLES: Final[dict[str, tuple[Any, int]]] = {
    "queues": (types.int64, 2), "market": (types.float64, 3), "fresh": (types.uint8, 2), "code": (types.uint8, 2),
    "comes_to": (types.int64, 2), "ticks": (types.int64, 2), "tiers": (types.int64, 2), "sales": (types.int64, 2),
    "recent": (types.int64, 1), "met": (types.int64, 1), "prices": (types.float64, 2), "levels": (types.float64, 1),
    "returns": (types.float64, 1), "equity": (types.float64, 1), "gross": (types.float64, 1), "bars": (types.int64, 2),
    "last_closes": (types.float64, 1), "ts": (types.int64, 1), "answers": (types.float64, 2),
    "closed": (types.float64, 2), "trades": (types.float64, 2), "left": (types.float64, 1),
}  # fmt: skip
_NUMBERS: Final = {
    "tick": types.int64, "cash": types.float64, "start": types.float64, "rate": types.float64,
    "sale_row": types.int64, "quantity": types.float64, "price": types.float64, "before": types.float64,
}  # fmt: skip
_LEFT_OUT: Final = frozenset({"away", "guarded"})


def main() -> None:
    """Compile for a run without stops and limits on time or equity."""
    gc.disable()  # compiling makes so many objects that the collector takes a sixth of its time
    for function in (
        machine.charge,  # soon asked for by both processes
        machine.work_orders,
        machine.send_orders,
        machine.next_tick,
        measures.equity_curve,
        measures.daily_returns,
        measures.profits_of_trades,
        measures.deepest_falls,
    ):
        compile_for_a_run(function)


def compile_for_a_run(function: Any) -> None:  # noqa: ANN401 (numba's dispatchers have no public type)
    """Compile one function for what a run gives it."""
    code = function.py_func.__code__
    function.compile(tuple(_type_of(name) for name in code.co_varnames[: code.co_argcount]))


def _type_of(name: str) -> Any:  # noqa: ANN401
    """The type of a parameter, which has the same name in every function."""
    if name in _LEFT_OUT:
        return types.none
    if name in _NUMBERS:
        return _NUMBERS[name]
    kind, dimensions = _TABLES.get(name) or (from_dtype(_RECORDS[name]), 1)
    return types.Array(kind, dimensions, "C")


if __name__ == "__main__":
    main()
