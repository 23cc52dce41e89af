"""Names and values are such as MLflow takes."""

import math

import pytest

from research.tracking.naming import experiment_name, filing_tags, flattened, numbers, safe_name, texts

STRATEGY = "strategies.sma_crossover.SMACrossover"


def test_an_experiment_is_named_by_the_users_tags():
    given = {
        "project": "Leader Rotation", "asset_class": "Equities", "strategy_family": "Trend", "strategy": "SMA.v2",
        "team": "quant", "status": "production",
    }  # fmt: skip
    filed = filing_tags(given, STRATEGY)
    assert filed == given
    assert experiment_name(filed) == "Leader_Rotation.Equities.Trend.SMA_v2"


@pytest.mark.parametrize(("family", "named"), [("mean reversion", "MeanReversion"), (None, "SmaCrossover")])
def test_what_nobody_named_comes_from_the_class(family, named):
    filed = filing_tags({"project": None}, STRATEGY, family)
    assert experiment_name(filed) == f"Barloom.Unclassified.{named}.SMACrossover"
    assert filed["status"] == "research"
    assert "team" not in filed


def test_a_specification_becomes_flat_parameters():
    nested = {"costs": {"slippage": {"bps": 5.0}}, "symbols": ["A", "B"], "start": "2001-01-02", "benchmark": None}
    assert flattened(nested) == {"costs.slippage.bps": "5.0", "symbols": '["A", "B"]', "start": "2001-01-02"}


def test_only_finite_numbers_are_figures():
    given = {"a": 1, "b": 2.5, "day": "2001-01-02", "none": None, "nan": math.nan, "inf": math.inf, "flag": True}
    assert numbers(given) == {"a": 1.0, "b": 2.5}


def test_empty_tags_are_left_out():
    assert texts({"a": "", "b": None, "c": 0, "d": "x"}) == {"c": "0", "d": "x"}


@pytest.mark.parametrize(
    "name", ["sharpe", "a/b", "BRK B", "benchmark BF/B", "EUR|USD", "..", "/etc", "a//b", "ü", "a" * 400, "", "x:y=z"]
)
def test_every_name_becomes_one_that_mlflow_takes(name):
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name

    safe = safe_name(name)
    assert len(safe) <= 250
    for check in (_validate_metric_name, _validate_param_name, _validate_tag_name):
        check(safe)
