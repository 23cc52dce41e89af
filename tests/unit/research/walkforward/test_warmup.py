"""Indicators see the bars before a test, trading does not."""

from datetime import date

import backtrader as bt
import numpy as np
import pyarrow.compute as pc
import pytest

from research.engine import Engine, prepare_run, replay
from research.engine.verify import first_difference
from research.errors import BarsError, StudyError
from research.experiment import Experiment
from research.walkforward.warmup import closed, run_from
from tests.unit.research.scenarios import END, START, Script, daily, fills_of, prepared, walk

D = date.fromisoformat
RISING = [(10.0 + at, 11.0 + at, 9.0 + at, 10.5 + at) for at in range(10)]  # 2024-01-02 .. 2024-01-16
FIRST = D("2024-01-09")  # the sixth bar
ENGINES = [Engine.VANILLA, Engine.FAST]


class AboveAverage(bt.Strategy):
    """Buys once, at the first bar it is asked about that is above its average of four."""

    def __init__(self):
        self.average = bt.ind.SMA(self.data.close, period=4)
        self.asked = []

    def next(self):
        self.asked.append(len(self))
        if not self.position and self.data.close[0] > self.average[0]:
            self.buy(size=1)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_first_fill_is_at_the_first_open_of_the_test(engine):
    """Bar 5 (2024-01-08) decides, bar 6 opens at 15; without warm-up the average is ready after four more bars."""
    output = run_from(prepared(AboveAverage, daily("A", RISING)), FIRST, engine=engine)
    assert [fill[3] for fill in fills_of(output)] == [15.0]
    assert output.equity["session"][0].as_py() == FIRST
    assert output.equity.num_rows == 5
    assert output.starting_cash == 100_000.0
    cold = prepared(AboveAverage, daily("A", RISING), start=FIRST)
    assert [fill[3] for fill in fills_of(replay(cold))] == [19.0]


def test_a_strategy_is_started_once_and_late():
    calls = []

    class Counting(bt.Strategy):
        def prenext(self):
            calls.append(("prenext", len(self)))

        def nextstart(self):
            calls.append(("nextstart", len(self)))
            self.next()

        def next(self):
            calls.append(("next", len(self)))

    run_from(prepared(Counting, daily("A", RISING)), FIRST)
    assert calls == [("nextstart", 5), *(("next", at) for at in range(5, 11))]


@pytest.mark.parametrize("engine", ENGINES)
def test_without_bars_before_it_a_test_is_a_plain_run(engine):
    run = prepared(AboveAverage, daily("A", RISING))
    assert first_difference(replay(run, engine=engine), run_from(run, D("2024-01-02"), engine=engine)) is None


def library(strategy, params=None):
    experiment = Experiment.build(strategy=strategy, symbols=["A", "B"], start=START, end=END, params=params or {})
    return prepare_run(experiment, {"A": walk("A", 300, 3), "B": walk("B", 250, 4, "2020-03-02")})


@pytest.mark.parametrize(
    "strategy",
    ["strategies.sma_crossover.SMACrossover", "strategies.breakout.ATRBreakout", "strategies.momentum.DualMomentum"],
)
@pytest.mark.parametrize("first", ["2020-02-03", "2020-07-01", "2021-01-04"])
def test_every_engine_holds_back_alike(strategy, first):
    run = library(strategy)
    outputs = [run_from(run, D(first), engine=engine) for engine in (Engine.AUTO, *ENGINES)]
    for output in outputs[1:]:
        assert first_difference(outputs[0], output) is None
    filled = outputs[0].fills["session"].to_pylist()
    assert filled or strategy.endswith("Momentum")
    assert all(session >= D(first) for session in filled)


def test_declared_decisions_are_those_of_the_whole_history():
    """Where the whole run is flat when the test begins, the rest of it is the test."""
    run = library("strategies.sma_crossover.SMACrossover", {"sma_short": 5, "sma_long": 20})
    whole = replay(run)
    value = whole.equity["gross_value"].to_numpy()
    flat = next(at for at in range(60, len(value)) if value[at - 1] == value[at] == 0.0)
    first = whole.equity["session"][flat + 1].as_py()
    after = pc.greater_equal(whole.fills["session"], first)
    test = run_from(run, first)
    whole_sides = whole.fills.filter(after).select(["ts", "symbol", "side", "price"])
    assert whole_sides.num_rows > 2
    assert test.fills.select(["ts", "symbol", "side", "price"]).equals(whole_sides)


def test_an_order_from_a_timer_is_refused_by_name():
    class Timed(Script):
        def notify_data(self, data, status, *args, **kwargs):
            pass

        def notify_cashvalue(self, cash, value):
            if len(self) == 2:
                self.buy(size=1)

    with pytest.raises(StudyError, match="an order was sent at 2024-01-03"):
        run_from(prepared(Timed, daily("A", RISING), params={"plan": {}}), FIRST)


def test_a_test_after_the_last_bar_has_no_bars():
    with pytest.raises(BarsError, match="has no bars from then on"):
        run_from(prepared(AboveAverage, daily("A", RISING)), D("2024-02-01"))


def test_interest_of_idle_cash_before_the_test_is_its_start():
    run = prepared(
        Script,
        daily("A", RISING),
        params={"plan": {}},
        costs={"model": "none", "cash_rate": 0.36, "participation": None},
    )
    output = run_from(run, FIRST)
    assert output.starting_cash == pytest.approx(100_600.0, rel=1e-4)  # six days to the fifth bar, 2024-01-08
    assert output.equity["equity"][-1].as_py() == pytest.approx(output.starting_cash + output.financing)


def test_positions_are_closed_at_the_last_close_and_pay_for_it():
    """100 shares, close 19.5: commission 1.00, slippage 5 bp of 1,950, FINRA and SEC fees on the sale."""
    run = prepared(Script, daily("A", RISING), params={"plan": {6: lambda one: one.buy(size=100)}}, costs="ibkr_fixed")
    output = run_from(run, FIRST)
    after, cost = closed(output, run)
    assert cost == pytest.approx(1.0 + 0.975 + 100 * 0.000166 + 0.000008 * 1950.0, abs=0.001)
    assert after.final_equity == pytest.approx(output.final_equity - cost)
    assert np.array_equal(after.equity["equity"].to_numpy()[:-1], output.equity["equity"].to_numpy()[:-1])


def test_nothing_held_costs_nothing():
    run = prepared(Script, daily("A", RISING), params={"plan": {}}, costs="ibkr_fixed")
    output = run_from(run, FIRST)
    assert closed(output, run) == (output, 0.0)
