"""Experiments as people write them, and the sentence for each mistake."""

import datetime as dt
import json

import pytest

from research.errors import ExperimentError
from research.experiment import Experiment, load_experiment
from warehouse.resolution import Resolution

LEAST = {
    "strategy": "strategies.sma_crossover.SMACrossover",
    "symbols": ["AAPL", "MSFT"],
    "start": "2000-03-01",
    "end": "2012-12-31",
}


def test_the_least_experiment_has_the_documented_defaults():
    experiment = Experiment.build(**LEAST)
    assert experiment.name == "SMACrossover-AAPL-MSFT"
    assert (experiment.cash, experiment.resolution, experiment.adjust) == (100_000.0, Resolution.DAILY, "all")
    assert (experiment.costs.model, experiment.costs.participation) == ("ibkr_fixed", 0.10)
    assert (experiment.annualization, experiment.risk_free, experiment.calendar) == (252, 0.0, "XNYS")
    assert (experiment.start, experiment.end) == (dt.date(2000, 3, 1), dt.date(2012, 12, 31))


def test_a_yaml_file_is_read_and_named_after_itself(tmp_path):
    path = tmp_path / "first_try.yaml"
    path.write_text(
        "strategy: strategies.sma_crossover.SMACrossover\n"
        "params: {sma_short: 10, sma_long: 40}\n"
        "symbols: [AAPL]\nstart: 2000-03-01\nend: 2012-12-31\nresolution: Daily\n"
        "costs: ibkr_tiered\nlimits: {max_drawdown: 0.2}\ntags: {project: Demo}\n"
    )
    experiment = load_experiment(path)
    assert experiment.name == "first_try"
    assert experiment.params == {"sma_short": 10, "sma_long": 40}
    assert experiment.costs.model == "ibkr_tiered"
    assert experiment.limits.max_drawdown == 0.2
    assert experiment.tags.project == "Demo"


def test_limits_may_be_a_named_profile():
    assert Experiment.build(**LEAST, limits="conservative").limits.max_drawdown == 0.20


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"symbls": ["A"]}, "experiment: symbls is not a known key; did you mean symbols."),
        (
            {"limits": {"max_drawdwn": 0.1}},
            "experiment: limits.max_drawdwn is not a known key; did you mean max_drawdown.",
        ),
        ({"costs": {"modl": "none"}}, "experiment: costs.modl is not a known key; did you mean model."),
        ({"start": "2013-01-01"}, "experiment: end: 2012-12-31 is before start 2013-01-01."),
        ({"symbols": ["AAPL", "AAPL"]}, "names AAPL twice"),
        ({"symbols": ["SPY,AAPL"]}, "'SPY,AAPL' with a comma in it; give each symbol on its own"),
        ({"symbols": "AAPL"}, "experiment: symbols: 'AAPL' must be a list of symbols, e.g. [AAPL, MSFT]."),
        ({"symbols": ["AAPL", True]}, "holds True, which YAML did not read as text; put the symbol in quotes"),
        ({"symbols": []}, "symbols: []"),
        ({"cash": -5}, "experiment: cash: -5 is wrong: input should be greater than 0."),
        ({"cash": float("nan")}, "cash: nan is wrong: input should be a finite number"),
        ({"params": {"x": float("inf")}}, "x must be finite, not inf"),
        ({"params": {"x": object}}, "x must be a number, a text, a truth value or a list, not type"),
        ({"resolution": "2h"}, "resolution: '2h' is not one of 1d (daily)"),
        ({"strategy": "SMACrossover"}, "strategy: 'SMACrossover' must be a dotted path"),
        ({"name": "a/b"}, "name: 'a/b' must be 1 to 120 letters"),
        ({"costs": "ibkr_fixd"}, "did you mean ibkr_fixed"),
        ({"limits": "conservativ"}, "you mean conservative"),
        ({"adjust": "dividends"}, "adjust: 'dividends' is wrong"),
        ({"tags": {"status": "live"}}, "tags.status: 'live' is wrong"),
        ({"allow_quality_errors": " "}, "allow_quality_errors: ' ' must say why, in words"),
        ({"end": "31.12.2012"}, "end: '31.12.2012' is wrong"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_field_and_value(change, sentence):
    with pytest.raises(ExperimentError) as caught:
        Experiment.build(**(LEAST | change))
    message = str(caught.value)
    assert sentence in message
    assert message.startswith("experiment: ")
    assert message.endswith(".")
    assert "\n" not in message


def test_a_missing_field_is_named():
    with pytest.raises(ExperimentError, match=r"^experiment: end is missing\.$"):
        Experiment.build(**{key: value for key, value in LEAST.items() if key != "end"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cash: 1\ncash: 2\n", "key 'cash' is given twice"),
        ("- a\n- b\n", "must hold keys and values, not list"),
        ("a: [1\n", "is not valid YAML"),
        ("strategy: !!python/object/apply:os.system [ls]\n", "is not valid YAML"),
        ("symbols: [ON]\nstrategy: a.B\nstart: 2020-01-01\nend: 2020-02-01\n", "holds True"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ExperimentError, match=r"bad\.yaml") as caught:
        load_experiment(path)
    assert sentence in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_one_sentence(tmp_path):
    with pytest.raises(ExperimentError, match=r"none.yaml cannot be read \(No such file"):
        load_experiment(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ExperimentError, match="is not UTF-8 text"):
        load_experiment(tmp_path / "binary.yaml")


def test_the_specification_is_plain_json_and_does_not_depend_on_order():
    one = Experiment.build(**LEAST, params={"b": 1, "a": 2}, cash=50_000)
    other = Experiment.build(**dict(reversed(LEAST.items())), cash=50_000.0, params={"a": 2, "b": 1})
    assert json.dumps(one.specification()) == json.dumps(other.specification())
    assert Experiment.parse(json.loads(json.dumps(one.specification()))) == one


def test_every_field_is_in_the_specification_and_described():
    experiment = Experiment.build(**LEAST)
    assert set(experiment.specification()) == set(Experiment.model_fields)
    assert all(field.description for field in Experiment.model_fields.values())


def test_an_experiment_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Experiment.build(**LEAST).cash = 5
