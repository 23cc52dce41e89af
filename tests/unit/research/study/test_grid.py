"""A grid of parameters: what is tried, what it comes to, and the proof of it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from research.engine import Engine, prepare_run, replay
from research.engine.kernel import KernelRun
from research.errors import StudyError, UnprovenError
from research.experiment import Experiment
from research.study import parse_ranges, run_grid
from research.study.trial import figure, with_params
from tests.unit.research.scenarios import END, START, walk

CROSSOVER = "strategies.sma_crossover.SMACrossover"
ROTATION = "strategies.momentum.DualMomentum"
GRID = parse_ranges("sma_short:3-9:2,sma_long:8-20:4")


def prepared(strategy=CROSSOVER, symbols=("A",), **fields):
    bars = {symbol: walk(symbol, 260, seed) for seed, symbol in enumerate(symbols)}
    return prepare_run(Experiment.build(strategy=strategy, symbols=symbols, start=START, end=END, **fields), bars)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "metric", ["sharpe_ratio", "total_return", "max_drawdown", "trades", "final_equity", "turnover"]
)
def test_a_trial_is_what_backtrader_makes_of_its_parameters(metric):
    run = prepared()
    result = run_grid(run, GRID, metric=metric)
    for trial in result.trials:
        output = replay(with_params(run, trial.params), engine=Engine.VANILLA)
        assert trial.value == pytest.approx(figure(run.experiment, output, metric), rel=1e-12, abs=1e-15)
        assert trial.engine == "kernel"


def test_what_a_constraint_forbids_is_left_out():
    result = run_grid(prepared(), GRID, metric="sharpe_ratio")
    tried = [(trial.params["sma_short"], trial.params["sma_long"]) for trial in result.trials]
    assert tried == [(s, n) for s in (3, 5, 7, 9) for n in (8, 12, 16, 20) if s < n]
    assert result.left_out == 1


def test_the_best_come_first_whichever_way_is_better():
    rising = [trial.value for trial in run_grid(prepared(), GRID, metric="total_return").ranked()]
    falling = [trial.value for trial in run_grid(prepared(), GRID, metric="volatility").ranked()]
    assert rising == sorted(rising, reverse=True)
    assert falling == sorted(falling)


def test_parts_in_other_workers_give_the_same():
    alone = run_grid(prepared(), GRID, metric="sharpe_ratio")
    with ThreadPoolExecutor(2) as pool:
        shared = run_grid(prepared(), GRID, metric="sharpe_ratio", executor=pool, chunks=3)
    assert shared == alone


def test_a_strategy_that_decides_bar_by_bar_is_searched_on_the_fast_engine():
    result = run_grid(prepared(ROTATION, ("A", "B")), {"lookback": (20, 40)}, metric="total_return")
    assert [trial.engine for trial in result.trials] == ["fast", "fast"]
    assert result.verified == 0


def test_a_limit_that_acts_does_not_change_what_a_trial_is():
    run = prepared(limits={"max_drawdown": 0.05, "max_position_fraction": 0.5})
    result = run_grid(run, GRID, metric="total_return", verify_best=15)
    assert result.verified == 15


def test_the_table_has_a_row_a_trial():
    table = run_grid(prepared(), GRID, metric="sharpe_ratio").table
    assert table.column_names == ["sma_short", "sma_long", "sharpe_ratio", "engine"]
    assert table.num_rows == 15


def test_a_kernel_that_is_not_backtrader_stops_the_study(monkeypatch):
    honest = KernelRun.metrics
    monkeypatch.setattr(
        KernelRun,
        "metrics",
        lambda run, names: {name: (value or 0.0) + 1e-6 for name, value in honest(run, names).items()},
    )
    with pytest.raises(UnprovenError, match=r"the kernel differs from Backtrader at .*sma_short=.*: sharpe_ratio is"):
        run_grid(prepared(), GRID, metric="sharpe_ratio")


def test_another_fill_stops_the_study(monkeypatch):
    from research.engine import run as engine

    honest = engine._on_kernel

    def dishonest(prepared):
        output, why = honest(prepared)
        return (output and replace(output, slippage=output.slippage + 1.0)), why

    monkeypatch.setattr(engine, "_on_kernel", dishonest)
    with pytest.raises(UnprovenError, match="slippage is"):
        run_grid(prepared(), GRID, metric="sharpe_ratio")


@pytest.mark.parametrize(
    ("space", "metric", "said"),
    [
        ({"sma_shrt": (3,)}, "sharpe_ratio", "Did you mean sma_short"),
        ({"sma_short": (0,)}, "sharpe_ratio", "sma_short must be between"),
        ({}, "sharpe_ratio", "no combinations"),
        ({"sma_short": (3,)}, "sharpe", "metric: 'sharpe' is not known"),
        ({"sma_short": (3,)}, "alpha", "alpha cannot be searched for"),
        ({"sma_short": (30,), "sma_long": (20,)}, "sharpe_ratio", "every combination is forbidden"),
    ],
)
def test_what_cannot_be_tried_is_told(space, metric, said):
    with pytest.raises(StudyError) as caught:
        run_grid(prepared(), space, metric=metric)
    assert said in str(caught.value)
