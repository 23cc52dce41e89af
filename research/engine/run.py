"""One backtest: an experiment and its bars in, what happened out.

Belongs here: handing a run to an engine, putting strategy, feed, broker and guard into Cerebro, and reading the run
afterwards. Does not belong here: loading bars, metrics, files, the engines themselves.

Nothing is kept between runs, the clock of the machine is never asked, and `random` and numpy are seeded from the
experiment, so the same experiment on the same bars gives the same output bit for bit.
"""

import random
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import backtrader as bt
import numpy as np
import pyarrow as pa

from broker.costs import CostModel
from research.accounting import require_balanced
from research.clock import Clock, clock_of
from research.delay import Delay
from research.engine.cerebro import FastCerebro, calm_garbage_collector
from research.engine.choice import Engine
from research.engine.eligibility import ineligible
from research.engine.lean_broker import LeanBroker
from research.errors import AccountingError, BarsError, ExperimentError, IneligibleError
from research.experiment import Experiment
from research.feed import SymbolBars, arrow_feed, symbol_bars
from research.memory import give_back
from research.recorder import Recorder
from research.remarks import remarks
from research.run_output import RunOutput
from research.run_tables import equity_table, fills_table, orders_table
from research.simulated_broker import SimulatedBroker
from research.trades import trades_from_fills
from risk.guard import RiskGuard
from risk.limits import Limits
from strategies.base_strategy import BaseStrategy
from strategies.errors import StrategyError
from strategies.registry import load_strategy, resolve_params
from warehouse.calendar import TradingCalendar, get_calendar

if TYPE_CHECKING:
    from research.engine.kernel import Records

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """An experiment with everything it names looked up and checked; it can be replayed any number of times."""

    experiment: Experiment
    strategy: type[bt.Strategy]
    params: Mapping[str, Any]
    limits: Limits
    costs: CostModel
    calendar: TradingCalendar
    bars: Mapping[str, SymbolBars]  # in the order of the experiment's symbols
    delay: int = 0  # bars by which every order reaches the market later than it is sent


def run_backtest(
    experiment: Experiment,
    bars: Mapping[str, pa.Table],
    *,
    benchmark: pa.Table | None = None,
    engine: Engine = Engine.AUTO,
) -> RunOutput:
    """Run an experiment on bars (BARS_SCHEMA, by symbol; adjusted as the experiment says).

    Bars outside the experiment's range are ignored. Where symbols begin at different times, Backtrader calls a plain
    strategy's `next` only when all of them have data; an order on a symbol without a bar yet is refused. A symbol
    without a bar at some moment keeps its last close for valuation and fills nothing. The benchmark's bars are only
    looked at for the warning that they do not cover the range. The engine changes nothing but `engine` and
    `engine_reason`.

    Raises:
        ExperimentError: the strategy or a parameter is wrong.
        IneligibleError: the engine asked for cannot run it.
        BarsError: a symbol has no usable bars in the range.
        AccountingError: the finished run does not add up: a fault of barloom, or of a strategy that tampers.
    """
    prepared = prepare_run(experiment, bars)
    many = sum(len(one) for one in prepared.bars.values())
    give_back(many)
    output = replay(prepared, engine=engine)
    give_back(many)  # a run takes many times what it leaves behind
    require_balanced(output, prepared.bars, participation=prepared.costs.participation.fraction)
    told = remarks(experiment, output, prepared.bars, benchmark)
    give_back(many)  # checking takes as much as the tables
    return replace(output, warnings=told)


def prepare_run(experiment: Experiment, bars: Mapping[str, pa.Table]) -> PreparedRun:
    """Look up and check everything an experiment names.

    Raises:
        ExperimentError: the strategy or a parameter is wrong.
        BarsError: a symbol has no usable bars in the range.
    """
    strategy, params = strategy_of(experiment)
    missing = [symbol for symbol in experiment.symbols if symbol not in bars]
    if missing:
        raise BarsError(f"symbols: {missing[0]} has no bars at all.")
    return PreparedRun(
        experiment=experiment,
        strategy=strategy,
        params=params,
        limits=limits_of(experiment, strategy, params),
        costs=experiment.costs.build(),
        calendar=get_calendar(experiment.calendar),
        bars={
            symbol: symbol_bars(symbol, bars[symbol], experiment.start, experiment.end) for symbol in experiment.symbols
        },
    )


def strategy_of(experiment: Experiment) -> tuple[type[bt.Strategy], dict[str, Any]]:
    """The experiment's strategy class and its checked parameters.

    Raises:
        ExperimentError: the strategy cannot be loaded, or it has no such parameter or value.
    """
    try:
        strategy = load_strategy(experiment.strategy)
        return strategy, dict(resolve_params(strategy, dict(experiment.params)))
    except StrategyError as error:
        raise ExperimentError(f"{experiment.name}: {error}") from None


def replay(prepared: PreparedRun, *, engine: Engine = Engine.AUTO) -> RunOutput:
    """Run a prepared experiment; unlike `run_backtest` it neither checks the books nor writes warnings.

    Raises:
        IneligibleError: the engine asked for cannot run it.
    """
    why = f"The engine {engine} was asked for."
    if engine in (Engine.AUTO, Engine.KERNEL):
        output, why = _on_kernel(prepared)
        if output is not None:
            return output
        if engine is Engine.KERNEL:
            raise IneligibleError(engine, prepared.experiment.name, why)
    output = Rig(prepared, engine=engine).run()
    return output if output.engine_reason else replace(output, engine_reason=why)


def _on_kernel(prepared: PreparedRun) -> tuple[RunOutput | None, str]:
    """What the kernel makes of a run, or None and why it makes nothing."""
    from research.engine import kernel  # noqa: PLC0415 (compiled code is loaded only where it can run)

    reason = kernel.ineligible(prepared)
    if reason is not None:
        return None, reason
    _seed(prepared)
    try:
        records, reason = _records(prepared)
    except StrategyError as error:
        raise ExperimentError(f"{prepared.experiment.name}: {error}") from None
    return None if records is None else kernel.run_output(records, prepared), reason


def _records(prepared: PreparedRun) -> tuple["Records | None", str]:
    """What happened on the kernel, whose arrays are given back before tables need memory."""
    from research.engine import kernel  # noqa: PLC0415

    prepared_kernel = kernel.Kernel.prepare(prepared)
    give_back(len(prepared_kernel.clock))
    run = prepared_kernel.run(prepared.params)
    if run.uncertain is not None:
        return None, run.uncertain
    return kernel.records_of(prepared_kernel, run, prepared), "Limits acted, of which the kernel keeps no record."


def _seed(prepared: PreparedRun) -> None:
    """Chance is the same in every run of an experiment."""
    seed = prepared.experiment.seed
    random.seed(seed)
    np.random.seed(seed % 2**32)


class Rig:
    """Cerebro with everything attached, for one run.

    Args:
        prepared: what to run.
        engine: one of Backtrader's objects: AUTO takes FAST where that can run the strategy, else VANILLA.
        bar_by_bar: load bars one at a time, so that later ones are not in memory when the strategy decides. Slower,
            always VANILLA, and indicators are computed by their `next` instead of their `once`, which may differ in
            the last bit.

    Raises:
        IneligibleError: the engine has no Cerebro.
    """

    def __init__(self, prepared: PreparedRun, *, engine: Engine = Engine.AUTO, bar_by_bar: bool = False) -> None:
        if engine is Engine.KERNEL:
            raise IneligibleError(engine, prepared.experiment.name, "It has no objects of Backtrader's.")
        self._prepared = prepared
        self._clock = clock = clock_of(list(prepared.bars.values()), prepared.calendar)
        self._guard = RiskGuard(prepared.limits, session_of=clock.session_at, session_close=clock.session_close)
        self._cerebro = _cerebro(prepared, engine, bar_by_bar=bar_by_bar)
        self._broker = self._cerebro.make_broker(prepared, self._guard, clock)
        self._cerebro.setbroker(self._broker)
        self._cerebro.guarded = self._broker
        for bars in prepared.bars.values():
            self._cerebro.adddata(arrow_feed(bars, prepared.experiment.resolution))
        self._cerebro.addstrategy(prepared.strategy, **prepared.params)

    @property
    def reached(self) -> int | None:
        """Time of the newest bar the run has seen (microseconds since 1970-01-01 UTC), None before the first."""
        done = self._broker.bars_done
        return int(self._clock.ts[done - 1]) if done else None

    def run(self) -> RunOutput:
        """Run to the end of the bars; a rig runs once.

        Raises:
            IneligibleError: the engine asked for cannot run the strategy.
        """
        _seed(self._prepared)
        with calm_garbage_collector():
            _run(self._cerebro, self._prepared)
            name = self._prepared.experiment.name
            if self._cerebro.broker is not self._broker:
                raise AccountingError(f"{name}: the strategy replaced the broker, so its orders were not guarded.")
            ran = self._ran()
            self._put_away()
            output = _output(self._prepared, self._clock, ran, self._guard)
        return replace(output, engine=self._cerebro.engine, engine_reason=self._cerebro.reason)

    def _ran(self) -> "_Ran":
        """What the tables need of Backtrader's objects."""
        broker, recorder = self._broker, self._broker.recorder
        return _Ran(
            recorder=recorder,
            orders=orders_table(recorder, self._clock),
            met=tuple(data._name for data in broker.positions),
            bars_done=broker.bars_done,
            value=broker.getvalue(),
            warmed_up=_warmed_up(self._cerebro, self._prepared),
        )

    def _put_away(self) -> None:
        """Empty the lines of a run, which wait for the garbage collector: they may be larger than all tables."""
        for data in self._cerebro.datas:
            for line in data.lines.lines:
                line.array = array("d")


@dataclass(frozen=True, slots=True)
class _Ran:
    """A run that is over, without Backtrader's objects."""

    recorder: Recorder
    orders: pa.Table  # ORDERS_SCHEMA
    met: tuple[str, ...]  # symbols in the order in which the broker met them
    bars_done: int
    value: float  # the broker's, at the end
    warmed_up: datetime | None


class _TellsTheEnd:
    """A Cerebro that tells the broker when the bars are over, before the strategy's `stop` is called."""

    guarded: Any  # the broker

    def _runonce(self, runstrats: list[bt.Strategy]) -> None:
        super()._runonce(runstrats)  # type: ignore[misc]
        self.guarded.end_of_bars()

    def _runnext(self, runstrats: list[bt.Strategy]) -> None:
        super()._runnext(runstrats)  # type: ignore[misc]
        self.guarded.end_of_bars()


class _VanillaCerebro(_TellsTheEnd, bt.Cerebro):  # type: ignore[misc]
    """Backtrader's own loop."""

    engine, reason = Engine.VANILLA.value, None

    @staticmethod
    def make_broker(prepared: PreparedRun, guard: RiskGuard, clock: Clock) -> SimulatedBroker:
        """The broker on Backtrader's own methods."""
        return SimulatedBroker(
            starting_cash=prepared.experiment.cash,
            costs=prepared.costs,
            guard=guard,
            clock=clock,
            delay=_delay(prepared),
        )


class _FastCerebro(_TellsTheEnd, FastCerebro):
    """Our loop, or Backtrader's where that cannot be."""

    @staticmethod
    def make_broker(prepared: PreparedRun, guard: RiskGuard, clock: Clock) -> SimulatedBroker:
        """The broker that can be left out of a bar."""
        return LeanBroker(
            starting_cash=prepared.experiment.cash,
            costs=prepared.costs,
            guard=guard,
            clock=clock,
            bars=prepared.bars,
            delay=_delay(prepared),
        )

    def _go_on(self, strategy: bt.Strategy) -> None:
        self.guarded.count_bars()
        super()._go_on(strategy)


def _delay(prepared: PreparedRun) -> Delay | None:
    return Delay(prepared.bars, prepared.delay) if prepared.delay else None


class _OnlyFastCerebro(_FastCerebro):
    """Our loop or none."""

    experiment: str

    def _runonce(self, runstrats: list[bt.Strategy]) -> None:
        why = ineligible(self, runstrats)
        if why is not None:
            raise IneligibleError(Engine.FAST, self.experiment, why)
        super()._runonce(runstrats)


def _cerebro(prepared: PreparedRun, engine: Engine, *, bar_by_bar: bool) -> Any:  # noqa: ANN401 (Backtrader has no types)
    at_once = {"stdstats": False, "preload": not bar_by_bar, "runonce": not bar_by_bar}
    if engine is Engine.VANILLA or bar_by_bar:
        return _VanillaCerebro(**at_once)
    if engine is Engine.AUTO:
        return _FastCerebro(**at_once)
    cerebro = _OnlyFastCerebro(**at_once)
    cerebro.experiment = prepared.experiment.name
    return cerebro


def _run(cerebro: bt.Cerebro, prepared: PreparedRun) -> None:
    try:
        cerebro.run()
    except StrategyError as error:  # what a strategy can only know when it meets its symbols
        raise ExperimentError(f"{prepared.experiment.name}: {error}") from None
    except IndexError as error:
        # Backtrader's indicators break with an IndexError of their own on a series shorter than their period
        for strategy in cerebro.runningstrats:
            for data, needed in zip(cerebro.datas, getattr(strategy, "_minperiods", ()), strict=False):
                have = len(prepared.bars[data._name])
                if have < needed:
                    raise BarsError(
                        f"symbols: {data._name} has {have} bars in the range, but {prepared.experiment.strategy} needs"
                        f" {needed} before it can begin."
                    ) from error
        raise


def _warmed_up(cerebro: bt.Cerebro, prepared: PreparedRun) -> datetime | None:
    """When every symbol had the bars that the strategy's indicators need, or None if that never was."""
    strategy, moments = cerebro.runningstrats[0], []
    for data, period in zip(cerebro.datas, strategy._minperiods, strict=True):
        needed = max(period, strategy.warmup(data)) if isinstance(strategy, BaseStrategy) else period
        bars = prepared.bars[data._name]
        if len(bars) < needed:
            return None
        moments.append(int(bars.ts[needed - 1]))
    return _EPOCH + timedelta(microseconds=max(moments))


def limits_of(experiment: Experiment, strategy: type[bt.Strategy], params: Mapping[str, Any]) -> Limits:
    """The experiment's limits, tightened by the strategy's own if it has any.

    A daily bar is known at the close only, when it is too late to be flat before it: that limit is left out.
    """
    own = getattr(strategy, "limits_for", None)
    limits = experiment.limits if own is None else experiment.limits.tightest(own(params))
    return limits if experiment.resolution.intraday else limits.model_copy(update={"flat_before_close_minutes": None})


def _output(prepared: PreparedRun, clock: Clock, ran: _Ran, guard: RiskGuard) -> RunOutput:
    recorder = ran.recorder
    equity = equity_table(recorder, clock, [prepared.bars[symbol] for symbol in ran.met], ran.bars_done)
    if equity.num_rows == 0:
        raise BarsError(f"{prepared.experiment.name}: the strategy stopped before the first bar.")
    if equity["equity"][-1].as_py() != ran.value:
        raise AccountingError(
            f"{prepared.experiment.name}: the broker's value is {ran.value!r} but its records make it"
            f" {equity['equity'][-1].as_py()!r}; the strategy changed cash or positions without an order."
        )
    fills = fills_table(recorder, clock)
    trades, open_trades = trades_from_fills(fills, prepared.bars)
    return RunOutput(
        starting_cash=prepared.experiment.cash,
        equity=equity,
        orders=ran.orders,
        fills=fills,
        trades=trades,
        open_trades=open_trades,
        risk_events=tuple(guard.events),
        warnings=(),
        final_halt=guard.state.halt,
        open_profit=sum(open_trades["gross_profit"].to_pylist()),
        commission=sum(fills["commission"].to_pylist()),
        slippage=sum(fills["slippage"].to_pylist()),
        financing=sum(amount for _, amount in recorder.financing),
        warmed_up=ran.warmed_up,
        deposits=sum(amount for _, amount in recorder.deposits),
    )
