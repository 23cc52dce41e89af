"""Runs of a declared strategy by compiled rules, one after the other on the same bars.

Belongs here: whether the kernel can run an experiment, what is kept between runs, one run for a set of parameters.
Does not belong here: the rules (see `machine`), the tables of a result (see `output`).
"""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from broker.costs.fees import fee_table
from research.clock import Clock, clock_of
from research.compiled import machine
from research.engine.kernel.declared import Declared
from research.engine.kernel.figures import Session, closes_of, figures_of
from research.engine.kernel.market import Market, limited, models, terms_without_limits
from research.errors import ResearchError
from risk.limits import Limits
from strategies.base_strategy import BaseStrategy, is_declared

if TYPE_CHECKING:
    from research.engine.run import PreparedRun

_ROOM: Final = (1_024, 262_144)  # orders, least and most to begin with
_BARS_AN_ORDER: Final = 4
_QUEUED: Final = 256  # orders and news of a symbol
_LAST: Final = 2**22
_LAST_TERMS: Final = 10_000
_QUESTIONS: Final = 256  # fees worked out in decimals, all runs of a kernel together
_MILLION: Final = 1_000_000
_OWN: Final = frozenset({"signals", "indicators", "limits_for", "limits"})
"""Methods that a declared strategy may override: those that the kernel calls, and those that nothing calls."""
_METHODS: Final = (FunctionType, classmethod, staticmethod, property)
_limiting: Final = itemgetter(
    "max_concentration", "max_gross_exposure", "max_daily_loss", "max_drawdown", "allow_short"
)  # fmt: skip

_EVENTS, _ORDERS, _FILLS, _BOOKINGS, _MET, _STATE = (
    (machine.ACCOUNT.names or ()).index(name) for name in ("events", "orders", "fills", "bookings", "met", "effective")
)
_WHY: Final = {
    machine.UNCERTAIN_FEE: "A fee lies too near the middle of two millionths for the kernel's arithmetic.",
    machine.UNCERTAIN_INTEREST: "Interest lies too near the middle of two cents for the kernel's arithmetic.",
    machine.NO_PRICE: "The price of a protective order is not a positive number, which the kernel leaves alone.",
    machine.NO_EQUITY: "The equity is not a number, which the kernel leaves alone.",
    machine.CROWDED: "More orders of one symbol work at once than the kernel can remember.",
    machine.FULL: "The strategy sends more orders than the kernel can remember.",
}


class _Rows:
    """Records that every run fills anew, of which it may want to keep the first."""

    __slots__ = ("_bytes", "_size", "records")

    def __init__(self, count: int, kind: np.dtype[Any]) -> None:
        self.records: machine.Records = np.zeros(count, kind)
        self._bytes, self._size = self.records.view(np.uint8).data, kind.itemsize

    def first(self, count: int) -> machine.Records:
        """A copy of the first records; of bytes, because numpy copies a record field by field."""
        return np.ndarray(count, self.records.dtype, bytearray(self._bytes[: count * self._size]))


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a set of parameters comes to.

    Attributes:
        records: `machine.TERMS`, one row.
        recent: room for as many moments as a minute may have orders.
        guarded: True where a limit looks at time, equity or the number of orders, else None.
    """

    records: machine.Records
    recent: npt.NDArray[np.int64]
    guarded: bool | None


@dataclass(frozen=True, slots=True, eq=False)
class _Memory:
    """What a run writes to; the next one overwrites it.

    A run that finds no room is run again from its beginning, so there is room for an order every few bars. What is not
    written to takes no memory.
    """

    account: machine.Records
    words: npt.NDArray[np.int64]
    symbols: machine.Records
    first_ready: npt.NDArray[np.int64]
    orders: _Rows
    fills: _Rows
    bookings: _Rows
    queues: npt.NDArray[np.int64]

    @classmethod
    def of(cls, symbols: int, ticks: int) -> "_Memory":
        """For a first run on some symbols and ticks."""
        least, most = _ROOM
        orders = min(max(symbols * ticks // _BARS_AN_ORDER, least), most)
        return cls._with(symbols, ticks, orders, _QUEUED * (symbols + 1))

    def larger(self) -> "_Memory":
        """Room for four times as much."""
        symbols, ticks = len(self.symbols), len(self.bookings.records)
        return self._with(symbols, ticks, 4 * len(self.orders.records), 4 * self.queues.shape[1])

    @classmethod
    def _with(cls, symbols: int, ticks: int, orders: int, queued: int) -> "_Memory":
        account, table = np.zeros(1, machine.ACCOUNT), np.zeros(symbols, machine.SYMBOL)
        return cls(
            account,
            account.view(np.int64),  # each field is of eight bytes
            table,
            table["first_ready"],
            _Rows(orders, machine.ORDER),
            _Rows(orders, machine.FILL),
            _Rows(ticks, machine.BOOKING),  # interest is booked once a tick at most
            np.zeros((machine.QUEUES, queued), np.int64),
        )


def ineligible(prepared: "PreparedRun") -> str | None:
    """Why the kernel cannot run an experiment: one sentence, or None when it can."""
    strategy, name = prepared.strategy, prepared.strategy.__name__
    if not is_declared(strategy):
        return f"{name} decides bar by bar; the kernel runs strategies that declare their signals."
    method = _overridden(strategy)
    if method is not None:
        return f"{name} overrides {method}, which the kernel does not call."
    if not models(prepared.costs.slippage):
        return f"The slippage model {type(prepared.costs.slippage).__name__} is not one of the kernel's."
    if prepared.costs.multiple != 1:
        return "Fees are multiplied, of which the kernel's whole numbers know nothing."
    if prepared.delay:
        return "Orders are delayed; the kernel fills them on the next bar."
    return None


def _overridden(strategy: type) -> str | None:
    """A method of Backtrader's or of the base that does something else in a strategy, None when there is none."""
    bases = strategy.__mro__[: strategy.__mro__.index(BaseStrategy)]
    methods = (name for base in bases for name, value in vars(base).items() if isinstance(value, _METHODS))
    return next((name for name in methods if name not in _OWN and hasattr(BaseStrategy, name)), None)


@dataclass(frozen=True, eq=False)
class KernelRun:
    """What happened in one run; see `machine` for the fields of the records.

    Attributes:
        uncertain: why the run ended early, in a sentence; the records are of no use then.
        acted: whether the risk guard refused, cut or halted anything.
        ready: index of each symbol's own first bar that could decide.
        orders: `machine.ORDER`.
        fills: `machine.FILL`.
        bookings: `machine.BOOKING`.
        met: symbols in the order in which the broker met them.
        halt: severity of the halt state at the end.
        final_value: equity at the end.
    """

    uncertain: str | None
    acted: bool
    ready: tuple[int, ...]
    orders: machine.Records
    fills: machine.Records
    bookings: machine.Records
    met: npt.NDArray[np.int64]
    halt: int
    final_value: float
    session: Session

    def metrics(self, names: Sequence[str], since: int = 0) -> dict[str, float | None]:
        """Figures by their names in `research.metric_catalog`, None where there is none to give.

        Sessions before number `since` are not measured; nothing may have filled in them.

        Raises:
            ResearchError: a figure needs a benchmark or is no number, or the run is uncertain.
        """
        if self.uncertain is not None:
            raise ResearchError(f"figures of a run that ended early: {self.uncertain}")
        return figures_of(self.session, self.fills, self.bookings, self.met, names, since)

    def closes(self) -> npt.NDArray[np.float64]:
        """Equity at the close of every session."""
        return closes_of(self.session, self.fills, self.bookings, self.met)


class Kernel:
    """Everything of an experiment that does not depend on the strategy's parameters.

    Not thread-safe: runs share their working memory.

    Attributes:
        clock: the ticks of a run.
        symbols: in the order of the experiment.
    """

    def __init__(self, prepared: "PreparedRun") -> None:
        reason = ineligible(prepared)
        if reason is not None:
            raise ResearchError(f"{prepared.experiment.name}: {reason}")
        all_bars = list(prepared.bars.values())
        self._prepared = prepared
        self.clock: Clock = clock_of(all_bars, prepared.calendar)
        self.symbols = tuple(prepared.bars)
        self._market = Market.of(self.clock, all_bars, prepared.costs)
        self._declared = Declared(prepared.strategy, all_bars, self._market)
        self._session = Session.of(prepared.experiment, self.clock, self._market, all_bars)
        self._unlimited = terms_without_limits(prepared.experiment.cash, prepared.costs)
        self._terms: dict[tuple[Any, ...], _Terms] = {}
        strategy = prepared.strategy
        self._own_limits = strategy.limits_for.__func__ is not BaseStrategy.limits_for.__func__  # type: ignore[attr-defined]
        self._memory = _Memory.of(len(self.symbols), len(self.clock))
        self._answers = np.zeros((1 + _QUESTIONS, 5))
        self._terms_for(prepared.params)  # most studies vary neither limits nor size

    @classmethod
    def prepare(cls, prepared: "PreparedRun") -> "Kernel":
        """The kernel of an experiment.

        Raises:
            ResearchError: the experiment is not one for the kernel (see `ineligible`).
        """
        return cls(prepared)

    def run(self, params: Mapping[str, Any]) -> KernelRun:
        """Run once.

        Args:
            params: every parameter of the strategy, checked.

        Raises:
            StrategyError: what the strategy declares does not fit its bars.
        """
        collects = gc.isenabled()
        gc.disable()  # compiling makes so many objects that the collector takes a sixth of its time
        try:
            ready = self._declared.load(SimpleNamespace(**params))
            terms = self._terms_for(params)
            fault = self._simulate(terms)
            while self._can_go_on(fault):
                fault = self._simulate(terms)
            return self._result(fault, ready)
        finally:
            if collects:
                gc.enable()

    def _can_go_on(self, fault: int) -> bool:
        """Whether a run that ended early can be run again to a better end: with more room, with a fee that it asked."""
        if fault == machine.FULL and len(self._memory.orders.records) < _LAST:
            self._memory = self._memory.larger()
            return True
        return fault == machine.UNCERTAIN_FEE and self._answer()

    def _answer(self) -> bool:
        """Work out in decimals the fee that floats could not tell; False where there is no room for another."""
        answers = self._answers
        known = int(answers[0, 0]) + 1
        if known == len(answers):
            return False
        quantity, price, row, before = answers[0, 1:].tolist()
        day = fee_table().days[int(row)]
        total = self._prepared.costs.commission(quantity, price, day, monthly_shares=before).total
        answers[known] = quantity, price, row, before, int(total * _MILLION)
        answers[0, 0] = known
        return True

    def _simulate(self, terms: _Terms) -> int:
        declared, market, memory = self._declared, self._market, self._memory
        memory.first_ready[:] = declared.first_ready
        return int(
            machine.simulate(
                terms.records, memory.account, memory.symbols, memory.orders.records, memory.fills.records,
                memory.bookings.records, memory.queues, market.prices, market.fresh, declared.code, declared.away,
                declared.comes_to, market.ticks, market.tiers, market.sales, self._answers, terms.recent, terms.guarded,
            )
        )  # fmt: skip

    def _result(self, fault: int, ready: tuple[int, ...]) -> KernelRun:
        memory = self._memory
        account = memory.words.tolist()
        return KernelRun(
            _WHY.get(fault),
            account[_EVENTS] != 0,
            ready,
            memory.orders.first(account[_ORDERS]),
            memory.fills.first(account[_FILLS]),
            memory.bookings.first(account[_BOOKINGS]),
            memory.queues[machine.MET, : account[_MET]].copy(),
            account[_STATE],
            float(memory.account["value"][0]),
            self._session,
        )

    def _terms_for(self, params: Mapping[str, Any]) -> _Terms:
        """The terms for a set of parameters; remembered by those that matter."""
        matter = tuple(params.values()) if self._own_limits else _limiting(params)
        share = params["target_fraction"] / len(self.symbols)
        weight = float(min(share, params["max_position_size"], params["max_concentration"]))
        key = (*matter, weight, params["cash_reserve"])
        found = self._terms.get(key)
        if found is None:
            if len(self._terms) > _LAST_TERMS:
                self._terms.clear()
            found = self._terms[key] = self._new_terms(params, weight)
        return found

    def _new_terms(self, params: Mapping[str, Any], weight: float) -> _Terms:
        records = limited(self._unlimited, self._limits_for(params))
        records["weight"], records["cash_reserve"] = weight, params["cash_reserve"]
        recent = np.zeros(max(1, int(records["per_minute"][0])), np.int64)
        return _Terms(records, recent, True if records["guarded"][0] else None)

    def _limits_for(self, params: Mapping[str, Any]) -> Limits:
        from research.engine.run import limits_of  # noqa: PLC0415 (which imports this package when it runs something)

        return limits_of(self._prepared.experiment, self._prepared.strategy, params)
