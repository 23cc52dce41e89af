"""What a command line of a study means, in words its users know."""

import json
from datetime import date

import pytest

from pipelines.cli.study_options import StudyOptions
from pipelines.errors import SettingsError
from research.errors import ResearchError

CROSSOVER = {
    "strategy": "strategies.sma_crossover.SMACrossover",
    "symbols": ["SPY"],
    "start": date(2020, 1, 1),
    "end": date(2024, 12, 31),
}


def meant(**options):
    return StudyOptions(**{**CROSSOVER, **options}).specification("optimize")


def test_a_space_in_a_file_is_searched_bayesian(tmp_path):
    path = tmp_path / "space.json"
    path.write_text(json.dumps({"sma_short": {"type": "int", "low": 5, "high": 30, "step": 1}}))
    study = meant(param_space=path, metric=["sharpe_ratio"], n_trials=100, study_name="sma_opt_v1")
    assert (study.name, study.n_trials, study.objective, study.sampler) == ("sma_opt_v1", 100, "sharpe_ratio", "auto")
    assert study.space == {"sma_short": {"type": "int", "low": 5, "high": 30, "step": 1}}


def test_ranges_are_a_grid():
    study = meant(param_ranges="sma_short:10-30,sma_long:40-80")
    assert (study.space, study.sampler) == ("sma_short:10-30,sma_long:40-80", "grid")


def test_ranges_are_searched_otherwise_when_a_sampler_is_named():
    assert meant(param_ranges="sma_short:10-30,sma_long:40-80", sampler="random").sampler == "random"


def test_without_a_space_the_strategy_says_what_is_tuned():
    assert meant().space is None


def test_two_symbols_are_two_symbols():
    assert meant(symbols=["SPY", "AAPL", "SPY"]).experiment.symbols == ("SPY", "AAPL")


def test_a_comma_in_a_symbol_is_refused():
    with pytest.raises(ResearchError, match="'SPY,AAPL' with a comma"):
        meant(symbols=["SPY,AAPL"])


def test_several_metrics_are_several_objectives():
    assert meant(metric=["sharpe_ratio", "max_drawdown"]).objectives == ("sharpe_ratio", "max_drawdown")


def test_an_unknown_metric_is_told_with_the_near_one():
    with pytest.raises(ResearchError, match="'sharp_ratio' is not known; did you mean sharpe_ratio"):
        meant(metric=["sharp_ratio"])


def test_limits_are_penalties():
    penalties = meant(min_trades=100, max_drawdown=0.3, max_turnover=12.0).penalties
    assert (penalties.min_trades, penalties.max_drawdown, penalties.max_turnover) == (100, 0.3, 12.0)


def test_every_option_of_a_study_reaches_it():
    asked = {
        "seed": 7, "folds": 3, "pruner": "none", "hold_out": 0.1, "timeout": 60.0, "trial_timeout": 5.0,
        "n_trials": 12, "sampler": "tpe", "engine": "fast",
    }  # fmt: skip
    study = meant(**asked)
    assert {name: getattr(study, name) for name in asked} == asked
    assert meant(batch_size=4).batch == 4


def test_every_option_of_an_experiment_reaches_it():
    study = meant(
        cash=5_000.0, resolution="Hour", params='{"fee": 1}', costs="none", benchmark="QQQ", adjust="splits",
        project="Q1_2025", asset_class="Equities", strategy_family="MeanReversion", team="a", status="testing",
    )  # fmt: skip
    experiment = study.experiment
    assert (experiment.cash, experiment.resolution.value, experiment.params) == (5_000.0, "1h", {"fee": 1})
    assert (experiment.costs.model, experiment.benchmark, experiment.adjust) == ("none", "QQQ", "splits")
    assert experiment.tags.model_dump(exclude_none=True) == {
        "project": "Q1_2025", "asset_class": "Equities", "strategy_family": "MeanReversion", "team": "a",
        "status": "testing",
    }  # fmt: skip


def test_the_same_command_means_the_same_study_and_another_one_another():
    assert meant().name == meant(n_trials=500).name
    assert meant().name != meant(seed=1).name
    assert meant().name.startswith("SMACrossover-SPY-")


def test_a_missing_option_is_named():
    with pytest.raises(SettingsError, match="optimize: --strategy, --symbols, --start and --end are needed"):
        StudyOptions(strategy="a.B").specification("optimize")


def test_a_space_and_ranges_exclude_each_other(tmp_path):
    with pytest.raises(SettingsError, match="exclude each other"):
        meant(param_space=tmp_path / "space.json", param_ranges="a:1-2")
