"""A live session traded again by the backtest's own engine.

Belongs here: the run: from bars and what the session began with to decided orders. Does not belong here: where these
come from (see `live`), comparing.

Strategy class, parameters, limits, costs and fills are a backtest's; the rest is as in the live session. Bars from
before the session warm the strategy up: it sees what is held and sends what it likes, but every order is refused. At
the open the risk guard and the strategy get their memory, and orders that worked work on. What the account holds
outside of the experiment counts as equity that does not change. Nights are over before the session begins, so no
interest is booked. Bars are fed one at a time, as live.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import backtrader as bt
import pyarrow as pa
from backtrader.order import BuyOrder, Order, SellOrder
from backtrader.position import Position

from research.clock import Clock, clock_of
from research.engine.run import PreparedRun, prepare_run
from research.errors import ExperimentError
from research.experiment import Experiment
from research.feed import arrow_feed
from research.parity.orders import DecidedOrder, exactly
from research.recorder import OrderRecord, Recorder
from research.simulated_broker import SimulatedBroker
from risk.decision import RiskState
from risk.guard import RiskGuard
from strategies.base_strategy import BaseStrategy
from strategies.errors import StrategyError

_PLACES = 8
_BEFORE = "the session has not begun"


@dataclass(frozen=True, slots=True)
class Holding:
    """Signed shares at an average cost."""

    quantity: Decimal
    average_cost: Decimal


@dataclass(frozen=True, slots=True)
class CarriedOrder:
    """An order from before the session that still works, with what is not filled of it."""

    reference: str
    symbol: str
    bar: datetime
    side: Literal["BUY", "SELL"]
    quantity: Decimal
    exectype: int  # Backtrader's number
    price: float | None
    limit_price: float | None
    protective: bool


@dataclass(frozen=True, slots=True)
class Opening:
    """With what a session began; money in the account's currency.

    Attributes:
        opens: when the session opens, aware UTC: bars that close later are traded on.
        cash: of the account.
        outside: worth of what the account holds beside the experiment's symbols.
        holdings: by symbol.
        carried: orders that work.
        risk: what the guard remembers.
        memory: what the strategy remembers; empty where it has not traded before.
    """

    opens: datetime
    cash: Decimal
    outside: Decimal
    holdings: Mapping[str, Holding]
    carried: tuple[CarriedOrder, ...]
    risk: RiskState
    memory: Mapping[str, Any]


def replayed(experiment: Experiment, bars: Mapping[str, pa.Table], opening: Opening) -> tuple[DecidedOrder, ...]:
    """The orders that the backtest of a session decides, those that were carried into it first.

    Args:
        experiment: what was traded.
        bars: BARS_SCHEMA by symbol: warm-up and session, as the strategy is to see them.
        opening: what the session began with.

    Raises:
        ExperimentError: the strategy or a parameter is wrong.
        BarsError: a symbol has no usable bars.
    """
    tables = [bars[symbol] for symbol in experiment.symbols if symbol in bars and bars[symbol].num_rows]
    if tables:  # all of them, whatever range the experiment names
        first = min(table["session"][0].as_py() for table in tables)
        last = max(table["session"][-1].as_py() for table in tables)
        experiment = experiment.model_copy(update={"start": first, "end": last})
    return traded_again(prepare_run(experiment, bars), opening)


def traded_again(prepared: PreparedRun, opening: Opening) -> tuple[DecidedOrder, ...]:
    """`replayed` for a run whose parts are looked up.

    Raises:
        ExperimentError: what a strategy can only know when it meets its symbols.
    """
    clock = clock_of(list(prepared.bars.values()), prepared.calendar)
    guard = RiskGuard(prepared.limits, session_of=clock.session_at, session_close=clock.session_close)
    broker = _SessionBroker(prepared, guard, clock, opening)
    cerebro = bt.Cerebro(stdstats=False, preload=True, runonce=False)
    cerebro.setbroker(broker)
    for symbol_bars in prepared.bars.values():
        cerebro.adddata(arrow_feed(symbol_bars, prepared.experiment.resolution))
    cerebro.addstrategy(prepared.strategy, **prepared.params)
    try:
        cerebro.run()
    except StrategyError as error:
        raise ExperimentError(f"{prepared.experiment.name}: {error}") from None
    return _decided(broker.recorder, clock, broker.carried)


class _SessionBroker(SimulatedBroker):
    """The broker of a backtest that begins in the middle of an account's life."""

    def __init__(self, prepared: PreparedRun, guard: RiskGuard, clock: Clock, opening: Opening) -> None:
        super().__init__(starting_cash=float(opening.cash), costs=prepared.costs, guard=guard, clock=clock)
        self._opening = opening
        self._open = False
        self.carried: dict[int, CarriedOrder] = {}  # by the number of the record

    def start(self) -> None:
        """Begin with what the account holds (called by Cerebro)."""
        super().start()
        for data in self.cerebro.datas:
            held = self._opening.holdings.get(data._name)
            if held is not None and held.quantity:
                self.positions[data] = Position(float(held.quantity), float(held.average_cost))
                self._trade_profit[data] = 0.0  # so that the open trade is valued and its end told
        self._stale_value = True

    def next(self) -> None:
        """One bar; the session opens before the first that closes after its open."""
        if not self._open and self._clock.times[self._bar + 1] > self._opening.opens:
            self._begin_session()
        super().next()

    def _begin_session(self) -> None:
        opening, strategy = self._opening, self.cerebro.runningstrats[0]
        self._open = True
        self._guard.restore(opening.risk)
        working: dict[Any, tuple[Order, ...]] = {}
        for carried in opening.carried:
            data = next(data for data in self.cerebro.datas if data._name == carried.symbol)
            working[data] = (*working.get(data, ()), self._carry(carried, data, strategy))
        if opening.memory and isinstance(strategy, BaseStrategy):
            strategy.recall(opening.memory, working)

    def _carry(self, carried: CarriedOrder, data: bt.feed.DataBase, owner: bt.Strategy) -> Order:
        """Let an order of an earlier session work on; risk has let it go then."""
        made = BuyOrder if carried.side == "BUY" else SellOrder
        order = made(
            owner=owner, data=data, size=float(carried.quantity), exectype=carried.exectype,
            price=carried.price, pricelimit=carried.limit_price,
        )  # fmt: skip
        if carried.protective:
            order.addinfo(reduces_only=True)
        self._ocoize(order, None)
        record = self._record(order)
        record.newest_bar = -math.inf  # it may fill on the session's first bar
        self._live[order.ref] = record
        self.carried[record.number] = carried
        self.submit(order)
        return order

    def _unfit(self, order: Order, record: OrderRecord) -> str | None:
        return super()._unfit(order, record) if self._open else _BEFORE

    def _book_interest(self, bar: int) -> None:
        """None: the account's cash at the open is what it is."""

    def _get_value(self, datas: list[bt.feed.DataBase] | None = None, lever: bool = False) -> float:
        value = super()._get_value(datas=datas, lever=lever)
        if datas:
            return value
        self._value += float(self._opening.outside)
        return value + float(self._opening.outside)


def _decided(recorder: Recorder, clock: Clock, carried: Mapping[int, CarriedOrder]) -> tuple[DecidedOrder, ...]:
    orders = []
    for record in recorder.orders:
        if record.reason == _BEFORE:
            continue
        fills = [fill for fill in recorder.fills if fill.order_number == record.number]
        before = carried.get(record.number)
        status = str(record.order.getstatusname()).lower()
        with exactly():
            filled = sum((_shares(fill.quantity) for fill in fills), Decimal(0))
            value = sum((_shares(fill.quantity) * _rounded(fill.price) for fill in fills), Decimal(0))
            commission = sum((_rounded(fill.commission) for fill in fills), Decimal(0))
        orders.append(
            DecidedOrder(
                symbol=record.symbol,
                bar=before.bar if before else clock.time(max(record.bar, 0)),
                side="BUY" if record.order.isbuy() else "SELL",
                kind=record.kind,
                ordered=_shares(record.approved),
                filled=filled,
                value=value,
                commission=commission,
                reference=f"backtest/{record.number}",
                reason=record.reason or ("" if filled else status),
            )
        )
    return tuple(orders)


def _shares(quantity: float) -> Decimal:
    """Without sign."""
    whole = float(quantity).is_integer()
    return Decimal(abs(int(quantity)) if whole else repr(abs(float(quantity))))


def _rounded(figure: float) -> Decimal:
    """A price or a commission without what binary fractions add far behind the point."""
    return Decimal(repr(round(float(figure), _PLACES)))
