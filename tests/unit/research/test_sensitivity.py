"""Runs under other circumstances: what they change and what they leave."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from research.engine import prepare_run, replay
from research.experiment import Experiment
from research.sensitivity import COST_MULTIPLES, since, with_costs, with_delay, with_other_starts
from tests.unit.research.scenarios import END, START, Script, daily, prepared, walk


def crossover():
    experiment = Experiment.build(
        strategy="strategies.sma_crossover.SMACrossover",
        symbols=["A"], start=START, end=END, params={"sma_short": 5, "sma_long": 20},
    )  # fmt: skip
    return prepare_run(experiment, {"A": walk("A", 500, 7)})


def equity(output):
    return output.final_equity


def test_the_dearer_the_less_and_once_is_the_run_itself():
    run = crossover()
    found = {one.amount: one.value for one in with_costs(run, equity)}
    assert tuple(found) == COST_MULTIPLES == (0, 1, 2, 4)
    assert found[0] > found[1] > found[2] > found[4]
    assert found[1] == replay(run).final_equity


def test_a_delay_is_one_bar():
    run = crossover()
    found = with_delay(run, equity)
    assert (found.kind, found.amount, found.reason) == ("delay", 1, None)
    assert found.value == replay(replace(run, delay=1)).final_equity != replay(run).final_equity


def test_a_start_is_moved_within_a_month_and_the_same_seed_moves_it_alike():
    run = crossover()
    found = with_other_starts(run, equity, seed=3)
    shifts = [one.amount for one in found]
    assert shifts == sorted(set(shifts))
    assert len(shifts) == 8
    assert 1 <= shifts[0] <= shifts[-1] <= 21
    assert found == with_other_starts(run, equity, seed=3)
    assert [one.amount for one in with_other_starts(run, equity, seed=4)] != shifts


def test_a_moved_start_is_the_experiment_begun_on_that_session():
    run = crossover()
    shifted = with_other_starts(run, equity)[0]
    sessions = np.unique(run.bars["A"].sessions)
    later = date.fromordinal(int(sessions[shifted.amount]) + date(1970, 1, 1).toordinal())
    experiment = run.experiment.model_copy(update={"start": later})
    assert shifted.value == replay(prepare_run(experiment, {"A": walk("A", 500, 7)})).final_equity


def test_a_figure_that_is_not_there_has_a_reason():
    run = crossover()
    assert with_delay(run, lambda _: None).reason == "The run gives no such figure."


def test_a_short_range_moves_little():
    run = prepared(Script, daily("A", [(10.0, 11.0, 9.0, 10.0)] * 30), params={"plan": {}})
    assert [one.amount for one in with_other_starts(run, equity)] == [1, 2, 3]


def test_bars_since_a_day():
    bars = crossover().bars["A"]
    later = since(bars, int(bars.sessions[10]))
    assert len(later) == len(bars) - 10
    assert later.close[0] == bars.close[10]
    assert pytest.approx(later.numbers) == bars.numbers[10:]
