"""The look-ahead check finds a strategy that peeks one bar, and passes one that does not."""

import backtrader as bt
import numpy as np
import pytest

from research.engine import Engine, replay, run_backtest
from research.errors import ExperimentError
from research.experiment import Experiment
from research.lookahead import check_lookahead
from strategies.base_strategy import BaseStrategy
from strategies.declaration import Signals
from strategies.registry import LIBRARY
from tests.unit.research.scenarios import FREE, daily, flat, walk


class Honest(bt.Strategy):
    def __init__(self):
        self.crossing = bt.ind.CrossOver(self.data.close, bt.ind.SMA(period=15))

    def next(self):
        if self.crossing[0] > 0:
            self.order_target_percent(target=0.9)
        elif self.crossing[0] < 0:
            self.close()


class PeeksOneBar(Honest):
    """Reads tomorrow's close; on the last bar there is none and it does nothing."""

    def next(self):
        try:
            tomorrow = self.data.close[1]
        except IndexError:
            return
        if tomorrow > self.data.close[0] * 1.02:
            self.order_target_percent(target=0.9)
        elif tomorrow < self.data.close[0]:
            self.close()


class PeeksRarely(Honest):
    """Honest but for a few bars in a thousand."""

    def next(self):
        super().next()
        future = self.data.close.array[len(self) :][:1]
        if future and future[0] > self.data.close[0] * 1.05:
            self.buy(size=1)


class PeeksAtTheOpen(Honest):
    """Sets its limit by tomorrow's open."""

    def next(self):
        if not self.position and self.crossing[0] > 0:
            self.buy(size=10, exectype=bt.Order.Limit, price=self.data.open[1] * 1.001)
        elif self.crossing[0] < 0:
            self.close()


class KnowsTheWholeColumn(Honest):
    """Compares with the mean of all closes, future ones too."""

    def start(self):
        self.mean = float(np.mean(self.data.close.array))

    def next(self):
        self.order_target_percent(target=0.9 if self.data.close[0] < self.mean else 0.0)


class KnowsTheEnd(Honest):
    """Sells everything before the bars end."""

    def next(self):
        if len(self) > self.data.buflen() - 60:
            self.close()
        else:
            super().next()


class DeclaresTheFuture(BaseStrategy):
    """Declares entries by the mean of all closes, and moves its stop by the next bar."""

    @classmethod
    def signals(cls, bars, p):
        above = bars.close > bars.close.mean()
        return Signals(0, long_entry=above, short_entry=~above, long_exit=~above, short_exit=above)


class DeclaresTheNextBar(BaseStrategy):
    """Never decides by it, but places a stop by the bar that comes."""

    @classmethod
    def signals(cls, bars, p):
        never = np.zeros(len(bars), dtype=bool)
        distance = np.abs(np.diff(bars.close, append=bars.close[-1])) + 1.0
        return Signals(
            0, long_entry=never, short_entry=never, long_exit=never, short_exit=never, stop=distance, trail=distance
        )


def never(bars):
    return dict.fromkeys(("long_entry", "short_entry", "long_exit", "short_exit"), np.zeros(len(bars), dtype=bool))


class IsReadyInTheMiddle(BaseStrategy):
    @classmethod
    def signals(cls, bars, p):
        return Signals(len(bars) // 2, **never(bars))


class StopsWhereThereIsHistory(BaseStrategy):
    @classmethod
    def signals(cls, bars, p):
        return Signals(0, **never(bars), stop=np.ones(len(bars)) if len(bars) == 300 else None)


class ExitsFirstWhereThereIsHistory(BaseStrategy):
    @classmethod
    def signals(cls, bars, p):
        return Signals(0, **never(bars), exits_first=len(bars) == 300)


class BreaksWithoutTheWhole(BaseStrategy):
    @classmethod
    def signals(cls, bars, p):
        return Signals(0, **never(bars), stop=bars.close[299] - 0.0 * bars.close)


class Idle(bt.Strategy):
    def next(self):
        pass


@pytest.fixture
def check(monkeypatch):
    """Run the check on a class of this file."""

    def of(strategy, *tables, cuts=6, seed=0, engine=Engine.AUTO, **fields):
        monkeypatch.setattr("research.engine.run.load_strategy", lambda path: strategy)
        monkeypatch.setattr(
            "research.engine.run.resolve_params", lambda cls, params: {**dict(cls.params._getitems()), **params}
        )
        tables = tables or (walk("A", 300, 3),)
        bars = {table["symbol"][0].as_py(): table for table in tables}
        fields = {"start": "2020-01-01", "end": "2024-12-31", "costs": FREE} | fields
        experiment = Experiment.build(strategy="tests.Made", symbols=list(bars), **fields)
        return check_lookahead(experiment, bars, cuts=cuts, seed=seed, engine=engine)

    return of


def test_an_honest_strategy_passes(check):
    report = check(Honest)
    assert report.clean
    assert (len(report.cuts), report.cuts_on_decisions) == (6, 3)


@pytest.mark.thorough
@pytest.mark.parametrize("strategy", [PeeksOneBar, PeeksRarely, PeeksAtTheOpen, KnowsTheWholeColumn, KnowsTheEnd])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_strategy_that_knows_the_future_is_found(check, strategy, seed):
    report = check(strategy, seed=seed)
    assert not report.clean
    assert all(finding.cut in report.cuts and f"{finding.cut}" in finding.detail for finding in report.findings)


def test_what_differs_is_told(check):
    finding = check(PeeksOneBar).findings[-1]
    assert finding.what == "orders"
    assert "only the whole history has orders at" in finding.detail


@pytest.mark.parametrize("strategy", [DeclaresTheFuture, DeclaresTheNextBar])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_declaration_that_knows_the_future_is_found(check, strategy, seed):
    report = check(strategy, seed=seed)
    assert {finding.what for finding in report.findings} == {"signals"}
    assert len(report.findings) == len(report.cuts)


def test_the_value_that_differs_is_told(check):
    finding = check(DeclaresTheNextBar).findings[0]
    assert "stop at " in finding.detail
    assert " of A is " in finding.detail
    assert "on the whole history" in finding.detail


@pytest.mark.parametrize(
    ("strategy", "what", "detail"),
    [
        (IsReadyInTheMiddle, "signals", "ready of A is"),
        (StopsWhereThereIsHistory, "signals", "stop of A is not given, on the whole history given"),
        (ExitsFirstWhereThereIsHistory, "signals", "exits_first of A is False, on the whole history True"),
        (BreaksWithoutTheWhole, "error", "the declaration of A broke with IndexError: index 299 is out of bounds"),
    ],
)
def test_all_that_is_declared_is_compared(check, strategy, what, detail):
    finding = check(strategy, cuts=2).findings[0]
    assert finding.what == what
    assert detail in finding.detail


def test_a_strategy_that_breaks_without_the_future_is_found(check):
    kinds = {finding.what for finding in check(PeeksAtTheOpen).findings}
    assert kinds == {"error"}


def test_symbols_that_begin_late_pass(check):
    assert check(Honest, walk("A", 300, 3), walk("B", 150, 4, first="2020-06-01")).clean


def test_costs_and_limits_do_not_look_ahead(check):
    report = check(Honest, costs="ibkr_tiered", limits={"max_drawdown": 0.1, "max_position_fraction": 0.5})
    assert report.clean


def test_the_same_seed_cuts_at_the_same_bars(check):
    assert check(Honest, seed=7).cuts == check(Honest, seed=7).cuts
    assert check(Honest, seed=7).cuts != check(Honest, seed=8).cuts


def test_a_strategy_that_does_nothing_is_cut_anywhere(check):
    report = check(Idle, daily("A", flat(10, 30)), cuts=5)
    assert (report.clean, len(report.cuts), report.cuts_on_decisions) == (True, 5, 0)


class EarlyPeek(bt.Strategy):
    """Trades the first symbol, by its next close, while the second has not begun."""

    def prenext(self):
        if len(self.datas[0]) > 5 and len(self.datas[1]) == 0:
            rises = self.datas[0].close[1] > self.datas[0].close[0]
            self.order_target_size(self.datas[0], 10 if rises else 0)


class EarlyHonest(EarlyPeek):
    def prenext(self):
        if len(self.datas[0]) > 5 and len(self.datas[1]) == 0:
            rises = self.datas[0].close[0] > self.datas[0].close[-1]
            self.order_target_size(self.datas[0], 10 if rises else 0)


def test_decisions_before_the_last_symbol_begins_are_tested_too(check):
    tables = walk("A", 120, 3), walk("B", 40, 4, first="2020-04-20")
    assert check(EarlyHonest, *tables, cuts=4).clean
    assert not check(EarlyPeek, *tables, cuts=4).clean


@pytest.mark.parametrize("dotted", LIBRARY)
def test_the_library_does_not_look_ahead_and_balances(dotted):
    bars = {name: walk(name, 320, seed) for seed, name in enumerate("AB")}
    experiment = Experiment.build(strategy=dotted, symbols=list(bars), start="2020-01-01", end="2024-12-31")
    assert check_lookahead(experiment, bars, cuts=4).findings == ()
    run_backtest(experiment, bars)  # raises when its books do not balance


@pytest.mark.parametrize("engine", [Engine.VANILLA, Engine.FAST])
def test_every_replay_runs_on_the_engine_that_was_asked_for(check, engine, monkeypatch):
    asked = []

    def noted(prepared, *, engine):
        asked.append(engine)
        return replay(prepared, engine=engine)

    monkeypatch.setattr("research.lookahead.replay", noted)
    assert check(Honest, cuts=2, engine=engine).clean
    assert asked == [engine] * 3


def test_an_engine_that_cannot_run_the_strategy_is_an_error(check):
    with pytest.raises(ExperimentError, match="kernel cannot run"):
        check(Honest, engine=Engine.KERNEL)


def test_no_cuts_is_an_error(check):
    with pytest.raises(ExperimentError, match="cuts: 0 must be at least 1"):
        check(Honest, cuts=0)
