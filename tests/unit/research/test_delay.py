"""Delayed orders: by hand, and the same on both engines that can delay them."""

from dataclasses import replace

import backtrader as bt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.accounting import check_accounting
from research.delay import Delay
from research.engine import Engine, prepare_run, replay
from research.engine.verify import first_difference
from research.errors import IneligibleError
from research.experiment import Experiment
from research.feed import symbol_bars
from tests.unit.research.scenarios import END, START, Script, daily, fills_of, prepared, walk

RISING = [(10.0 + at, 11.0 + at, 9.0 + at, 10.5 + at) for at in range(8)]


def delayed(run, bars=1):
    return replace(run, delay=bars)


@pytest.mark.parametrize(("bars", "price"), [(0, 13.0), (1, 14.0), (2, 15.0)])
@pytest.mark.parametrize("engine", [Engine.VANILLA, Engine.FAST])
def test_an_order_fills_so_many_bars_later(bars, price, engine):
    """Sent at the close of bar 2, whose next open is 13."""
    run = prepared(Script, daily("A", RISING), params={"plan": {2: lambda one: one.buy(size=3)}})
    output = replay(delayed(run, bars), engine=engine)
    assert [fill[2:] for fill in fills_of(output)] == [(3.0, price)]


def test_a_stop_that_is_delayed_does_not_see_the_bar_in_between():
    """A stop at 12.5 sent at bar 3: bar 4 falls to 12 and is not seen, bar 5 opens below it."""
    rows = [*RISING[:4], (14.0, 14.0, 12.0, 14.0), (11.0, 15.0, 11.0, 14.0), (14.0, 14.0, 14.0, 14.0)]
    plan = {
        0: lambda one: one.buy(size=1),
        3: lambda one: one.sell(size=1, exectype=bt.Order.Stop, price=12.5),
    }
    run = prepared(Script, daily("A", rows), params={"plan": plan})
    assert [fill[3] for fill in fills_of(replay(run))] == [11.0, 12.5]
    assert [fill[3] for fill in fills_of(replay(delayed(run)))] == [12.0, 11.0]


def test_an_order_too_late_for_the_last_bar_never_fills():
    run = prepared(Script, daily("A", RISING), params={"plan": {6: lambda one: one.buy(size=3)}})
    assert len(fills_of(replay(run))) == 1
    assert fills_of(replay(delayed(run))) == []


def test_a_delay_counts_the_bars_of_the_symbol_itself():
    """B has no bar on the second and third session: the bar after its first is the fourth session's."""
    bars = {
        "A": symbol_bars("A", daily("A", RISING), START, END),
        "B": symbol_bars("B", daily("B", RISING).take([0, 3, 4]), START, END),
    }
    first = float(bars["A"].numbers[0])
    assert Delay(bars, 1).newest("B", first) == bars["A"].numbers[3]
    assert Delay(bars, 1).newest("A", first) == bars["A"].numbers[1]
    assert Delay(bars, 3).newest("B", first) == np.inf


def test_the_kernel_says_why_it_delays_nothing():
    fields = {"strategy": "strategies.sma_crossover.SMACrossover", "symbols": ["A"], "start": START, "end": END}
    run = prepare_run(Experiment.build(**fields), {"A": walk("A")})
    assert replay(run).engine == "kernel"
    output = replay(delayed(run))
    assert (output.engine, output.engine_reason) == (
        "fast",
        "Orders are delayed; the kernel fills them on the next bar.",
    )
    with pytest.raises(IneligibleError, match="Orders are delayed"):
        replay(delayed(run), engine=Engine.KERNEL)
    with pytest.raises(IneligibleError, match="Fees are multiplied"):
        replay(replace(run, costs=run.costs.scaled(2)), engine=Engine.KERNEL)


LIBRARY = (
    "strategies.sma_crossover.SMACrossover",  # declared
    "strategies.breakout.ATRBreakout",  # declared, with stops
    "strategies.momentum.CrossSectionalRotation",  # bar by bar
)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(LIBRARY), st.integers(0, 10_000), st.integers(1, 3), st.sampled_from([0, 1, 2, 4]), st.booleans()
)
def test_both_engines_agree_bit_for_bit(strategy, seed, bars, times, costly):
    experiment = Experiment.build(
        strategy=strategy, symbols=["A", "B"], start=START, end=END, costs="ibkr_tiered" if costly else "ibkr_fixed"
    )
    run = prepare_run(experiment, {"A": walk("A", 300, seed), "B": walk("B", 250, seed + 1, "2020-03-02")})
    run = replace(run, delay=bars, costs=run.costs.scaled(times))
    vanilla, fast = replay(run, engine=Engine.VANILLA), replay(run, engine=Engine.FAST)
    assert first_difference(vanilla, fast) is None
    assert check_accounting(vanilla, run.bars, participation=run.costs.participation.fraction) == ()
    sent = vanilla.orders["ts"].to_pylist()
    assert all(fill["ts"] > sent[fill["order_id"] - 1] for fill in vanilla.fills.to_pylist())


@pytest.mark.parametrize("times", [0, 1, 2, 4])
def test_fees_of_a_run_are_so_many_times_as_high_where_the_fills_are_the_same(times):
    """With slippage the value sold differs, and with it the fee on sales."""
    plan = {1: lambda one: one.buy(size=100), 5: lambda one: one.sell(size=100)}
    costs = {"model": "ibkr_fixed", "slippage": {"kind": "none"}}
    run = prepared(Script, daily("A", RISING), params={"plan": plan}, costs=costs)
    once, many = replay(run), replay(replace(run, costs=run.costs.scaled(times)))
    assert many.commission == pytest.approx(times * once.commission, abs=2e-6)  # each rounded once
    slipping = prepared(Script, daily("A", RISING), params={"plan": plan}, costs="ibkr_fixed")
    once, many = replay(slipping), replay(replace(slipping, costs=slipping.costs.scaled(times)))
    assert many.slippage == pytest.approx(times * once.slippage)
