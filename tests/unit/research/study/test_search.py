"""A search in memory: which points, in which order, with what result."""

import math

import numpy as np
import pytest

from research.daily import session_closes
from research.engine import Engine, replay
from research.engine.kernel import KernelRun
from research.errors import StudyError, UnprovenError
from research.metric_catalog import METRICS
from research.study import SearchResult, TrialState, search
from research.study.evaluate import Evaluator
from research.study.folds import parts_of
from research.study.trial import with_params
from tests.unit.research.study.studies import ROTATION, SMALL, prepared, specification, told


def run(count=260, **fields) -> SearchResult:
    spec = specification(**fields)
    return search(prepared(spec, count), spec)


def test_a_small_grid_is_tried_wholly():
    found = run()
    assert found.sampler == "grid"
    assert len(found.trials) == 7 * 23 - 3
    assert found.forbidden == {"sma_short < sma_long": 3}
    assert [trial.number for trial in found.trials] == list(range(158))
    assert found.verified == 10


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_a_seed_gives_the_same_trials_again_and_another_seed_others(sampler):
    first, again, other = (run(sampler=sampler, n_trials=24, seed=seed) for seed in (1, 1, 2))
    assert told(first.trials) == told(again.trials)
    assert [dict(one.params) for one in first.trials] != [dict(one.params) for one in other.trials]
    assert len(first.trials) == 24


def test_no_point_is_run_twice():
    found = run(sampler="tpe", n_trials=100)
    assert len({tuple(trial.params.items()) for trial in found.trials}) == len(found.trials) == 100


def test_no_forbidden_point_is_run_and_what_ran_is_what_is_recorded():
    spec = specification(sampler="tpe", n_trials=30)
    ready = prepared(spec)
    found = search(ready, spec)
    for trial in found.trials:
        assert trial.params["sma_short"] < trial.params["sma_long"]
    best = found.best
    output = replay(with_params(ready, {**ready.params, **best.params}), engine=Engine.VANILLA)
    closes = session_closes(output.equity).to_numpy()
    assert best.returns == pytest.approx(closes / np.append(output.starting_cash, closes[:-1]) - 1.0, abs=1e-15)
    assert best.metrics["final_equity"] == output.final_equity


def test_drawdown_is_made_small_not_large():
    found = run(objective="max_drawdown")
    values = [trial.value for trial in found.trials]
    assert found.best.value == max(values) <= 0.0


def test_a_metric_that_is_better_lower_is_minimised():
    found = run(objective="volatility")
    assert found.best.value == min(trial.value for trial in found.trials if trial.value is not None)


def test_a_trial_that_cannot_be_measured_has_no_value_and_a_reason():
    found = run(count=40, space={"sma_short": {"type": "int", "low": 3, "high": 5}}, params={"sma_long": 39})
    assert [trial.value for trial in found.trials] == [None] * 3
    assert {trial.reason for trial in found.trials} == {"sharpe_ratio cannot be computed"}
    assert found.best is None
    assert not any(math.isinf(value) for one in found.trials for value in one.metrics.values() if value is not None)


def test_penalties_are_recorded_beside_the_plain_value():
    found = run(penalties={"min_trades": 1000})
    for trial in found.trials:
        if trial.value is not None:
            assert trial.value == pytest.approx(trial.plain_value - trial.penalty)
            assert "fewer than 1000" in trial.reason


def test_several_objectives_are_searched_together():
    found = run(objective=["sharpe_ratio", "max_drawdown"], sampler="nsga2", n_trials=40)
    assert found.sampler == "nsga2"
    assert all(len(trial.values) == 2 for trial in found.trials if trial.value is not None)


def test_every_trial_keeps_its_fees():
    for trial in run().trials:
        assert {"fees", "fees_to_gross_profit", "turnover", "trades"} <= trial.metrics.keys() <= METRICS.keys()


def test_a_strategy_that_decides_bar_by_bar_is_searched_on_the_fast_engine():
    space = {"lookback": {"type": "int", "low": 20, "high": 40, "step": 20}}
    found = run(strategy=ROTATION, symbols=("A", "B"), space=space)
    assert [trial.engine for trial in found.trials] == ["fast", "fast"]
    assert found.verified == 0


def test_a_strategy_that_reads_none_of_its_parameters_ends_the_study():
    space = {"max_daily_loss": {"type": "float", "low": 0.5, "high": 0.9, "step": 0.01}}
    with pytest.raises(StudyError, match="trials with other values of max_daily_loss came out the same"):
        run(space=space, params={"sma_short": 5, "sma_long": 20})


def test_one_parameter_that_changes_nothing_is_named():
    space = {**SMALL, "max_daily_loss": {"type": "float", "low": 0.5, "high": 0.9, "step": 0.1}}
    with pytest.raises(StudyError, match="max_daily_loss changes nothing in"):
        run(space=space)


def test_trials_that_all_fail_end_the_study_with_the_reason(monkeypatch):
    monkeypatch.setattr(Evaluator, "run_part", lambda *_: 1 / 0)
    with pytest.raises(StudyError, match="every trial failed: ZeroDivisionError: division by zero"):
        run()


def test_one_trial_that_fails_loses_nothing_else(monkeypatch):
    honest = Evaluator.run_part

    def fails_sometimes(self, part, params, names):
        if params["sma_short"] == 5:
            raise ValueError("five")
        return honest(self, part, params, names)

    monkeypatch.setattr(Evaluator, "run_part", fails_sometimes)
    found = run()
    failed = [trial for trial in found.trials if trial.state is TrialState.FAILED]
    assert len(failed) == 23
    assert {trial.reason for trial in failed} == {"ValueError: five"}
    assert all(trial.params["sma_short"] == 5 and trial.value is None for trial in failed)


def test_a_kernel_that_is_not_backtrader_ends_the_study(monkeypatch):
    honest = KernelRun.metrics
    monkeypatch.setattr(
        KernelRun,
        "metrics",
        lambda run, names, since=0: {k: (v or 0.0) + 1e-6 for k, v in honest(run, names, since).items()},
    )
    with pytest.raises(UnprovenError, match="the kernel differs from Backtrader at sma_short="):
        run()


def test_a_stop_ends_it_with_what_there_is():
    spec = specification(sampler="random", n_trials=100)
    seen = []
    found = search(prepared(spec), spec, progress=seen.append, stop=lambda: bool(seen))
    assert found.stopped == "asked to stop"
    assert 0 < len(found.trials) < 100
    assert seen[-1].done == len(found.trials)
    assert seen[-1].total == 100


def test_time_that_is_up_ends_it():
    assert run(sampler="tpe", n_trials=1000, timeout=0.2).stopped == "out of time"


# ---------------------------------------------------------------- folds


def test_folds_cover_the_range_once_and_a_declared_strategy_is_warm_at_their_beginning():
    spec = specification(folds=4)
    ready = prepared(spec, 400)
    parts = parts_of(ready, 4, 500)
    days = next(one.sessions for one in ready.bars.values())
    assert [part.since for part in parts] == [0, 100, 200, 300]
    assert (parts[0].start, parts[-1].end) == (_date(days[0]), _date(days[-1]))
    evaluator = Evaluator(ready, spec)
    for part in parts[1:]:
        output = replay(with_params(part.prepared, evaluator.complete({"sma_short": 3, "sma_long": 8})))
        assert output.fills["session"].to_pylist()[0] > part.start
        assert (output.fills["session"].to_pylist()[0] - part.start).days < 60


def _date(day):
    import datetime as dt

    return dt.date(1970, 1, 1) + dt.timedelta(days=int(day))


@pytest.mark.parametrize("how", ["mean", "worst", "median"])
def test_the_value_is_what_the_folds_come_to(how):
    found = run(folds=3, fold_value=how, count=400, pruner="none")
    valued = [trial for trial in found.trials if trial.value is not None]
    assert valued
    for trial in valued:
        values = [fold.value for fold in trial.folds]
        wanted = {"mean": sum(values) / 3, "worst": min(values), "median": sorted(values)[1]}[how]
        assert trial.value == pytest.approx(wanted)
        assert np.isfinite(trial.returns).all()


@pytest.mark.parametrize("engine", [Engine.FAST, Engine.VANILLA])
def test_folds_are_backtraders_own_result(engine):
    spec = specification(folds=3)
    ready = prepared(spec, 400)
    point = {"sma_short": 4, "sma_long": 17}
    ours, theirs = Evaluator(ready, spec).trial(0, point), Evaluator(ready, spec, engine).trial(0, point)
    assert (ours.engine, theirs.engine) == ("kernel", str(engine))
    assert ours.value == theirs.value
    assert np.array_equal(ours.returns, theirs.returns)
    for name, value in ours.metrics.items():
        assert value == (theirs.metrics[name] if value is None else pytest.approx(theirs.metrics[name], rel=1e-9))


def test_pruning_stops_the_hopeless_and_changes_no_finished_trial():
    pruned, whole = (run(folds=4, count=500, sampler="random", n_trials=60, pruner=p) for p in ("median", "none"))
    states = {trial.state for trial in pruned.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    for ours, theirs in zip(pruned.trials, whole.trials, strict=True):
        assert ours.params == theirs.params
        if ours.state is TrialState.COMPLETE:
            assert ours.value == theirs.value
            assert ours.metrics == theirs.metrics
        else:
            assert len(ours.folds) < 4
            assert "worse than the median" in ours.reason


def test_more_folds_than_sessions_are_refused():
    with pytest.raises(StudyError, match="folds: 300 folds of 260 sessions"):
        run(folds=300)


def test_a_study_runs_on_the_engine_it_names_and_says_why():
    spec = specification(engine="fast", sampler="random", n_trials=3)
    found = search(prepared(spec, 300), spec)
    assert {trial.engine for trial in found.trials} == {"fast"}
    assert Evaluator(prepared(spec, 300), spec).engine_reason == "The engine fast was asked for."


def test_the_kernel_asked_for_by_name_refuses_what_it_cannot_run():
    spec = specification(
        strategy=ROTATION, engine="kernel", space={"lookback": {"type": "int", "low": 4, "high": 12}},
    )  # fmt: skip
    with pytest.raises(StudyError, match=r"engine: kernel cannot run .*: DualMomentum decides bar by bar"):
        Evaluator(prepared(spec, 300), spec)
