"""The runs behind an assessment."""

import numpy as np
import pytest

from research.engine import prepare_run, replay
from research.evidence import gather, trade_returns
from research.experiment import Experiment
from research.study.trial import figure
from tests.unit.research.scenarios import END, START, Script, daily, prepared, walk


def test_the_best_trial_from_all_sides():
    experiment = Experiment.build(strategy="strategies.sma_crossover.SMACrossover", symbols=["A"], start=START, end=END)
    run = prepare_run(experiment, {"A": walk("A", 400, 5)})
    params = {**run.params, "sma_short": 5, "sma_long": 20}
    found = gather(run, params, lambda output: figure(experiment, output, "sharpe_ratio"), seed=1)
    assert found.of_kind("costs")[1] == found.value == found.figures["sharpe_ratio"]
    assert list(found.of_kind("delay")) == [1]
    assert len(found.of_kind("start")) == 8
    assert np.prod(1.0 + found.daily) - 1.0 == pytest.approx(found.figures["total_return"])
    assert len(found.trades) == found.figures["trades"]
    again = gather(run, params, lambda output: figure(experiment, output, "sharpe_ratio"), seed=1)
    assert again.page() == found.page()


def test_a_trade_counts_against_the_equity_before_it():
    """Ten bought at 11, sold at 13: 20 of 1,000; then twenty bought at 15, sold at 17: 40 of 1,020."""
    rising = [(10.0 + at, 11.0 + at, 9.0 + at, 10.0 + at) for at in range(10)]
    plan = {
        0: lambda one: one.buy(size=10),
        2: lambda one: one.sell(size=10),
        4: lambda one: one.buy(size=20),
        6: lambda one: one.sell(size=20),
    }
    output = replay(prepared(Script, daily("A", rising), params={"plan": plan}, cash=1_000.0))
    assert trade_returns(output) == pytest.approx([20 / 1_000, 40 / 1_020])


def test_without_trades_there_is_nothing():
    output = replay(prepared(Script, daily("A", [(10.0, 11.0, 9.0, 10.0)] * 5), params={"plan": {}}))
    assert trade_returns(output).tolist() == []
