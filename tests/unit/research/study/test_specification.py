"""What a person writes to ask for a study."""

import json

import pytest
import yaml

from research.errors import StudyError
from research.study import StudySpecification, load_specification
from tests.unit.research.study.studies import SMALL, specification


def test_it_survives_yaml_and_json(tmp_path):
    spec = specification(objective=["sharpe_ratio", "max_drawdown"], penalties={"min_trades": 30}, timeout=None)
    assert StudySpecification.parse(yaml.safe_load(spec.to_yaml())) == spec
    assert StudySpecification.parse(json.loads(json.dumps(spec.document()))) == spec
    (tmp_path / "study.yaml").write_text(spec.to_yaml())
    assert load_specification(tmp_path / "study.yaml") == spec


def test_the_file_gives_its_name(tmp_path):
    document = {key: value for key, value in specification().document().items() if key != "name"}
    del document["experiment"]["name"]
    (tmp_path / "my-study.json").write_text(json.dumps(document))
    spec = load_specification(tmp_path / "my-study.json")
    assert (spec.name, spec.experiment.name) == ("my-study", "my-study")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n_trial": 5}, "n_trial is not a known key; did you mean n_trials"),
        ({"n_trials": 0}, "n_trials: 0 is wrong"),
        ({"objective": "sharp_ratio"}, "'sharp_ratio' is not known; did you mean sharpe_ratio"),
        ({"objective": "alpha"}, "alpha cannot be searched for"),
        ({"objective": "volatility + sharpe_ratio"}, "volatility is better when lower; give it a negative weight"),
        (
            {"objective": "sharpe_ratio - max_drawdown"},
            "max_drawdown is better when higher (it is a negative fraction)",
        ),
        ({"objective": "sharpe_ratio; import os"}, "is no sum such as"),
        ({"objective": ["sharpe_ratio", "calmar_ratio"], "sampler": "tpe"}, "sampler: tpe searches for one objective"),
        ({"space": {"sma_short": {"type": "int", "lo": 5, "high": 9}}}, "lo is not a key of int. Did you mean low"),
        ({"space": {"a": {"type": "int", "low": 9, "high": 5}}}, "low must not be above high"),
        ({"space": {"a": {"type": "real", "low": 1}}}, "type: 'real' must be int, float or categorical"),
        ({"space": {"a": {"type": "int", "low": 1.5, "high": 5}}}, "low: 1.5 must be a whole number"),
        ({"hold_out": 1.0}, "hold_out: 1.0 is wrong"),
        ({"name": "a/b"}, "name: 'a/b' must be 1 to 120 letters"),
        ({"experiment": {"strategy": "x"}}, "experiment.strategy: 'x' must be a dotted path"),
    ],
)
def test_what_is_wrong_is_one_sentence(fields, said):
    with pytest.raises(StudyError) as caught:
        StudySpecification.build(**{**specification().document(), **fields})
    assert said in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_only_what_decides_the_result_is_in_the_fingerprint():
    spec = specification()
    for same in ({"n_trials": 7}, {"timeout": 1.0}, {"name": "other"}):
        assert spec.model_copy(update=same).fingerprint() == spec.fingerprint()
    for other in ({"seed": 3}, {"batch": 4}, {"hold_out": 0.1}, {"space": {"sma_short": SMALL["sma_short"]}}):
        assert spec.model_copy(update=other).fingerprint() != spec.fingerprint()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"seed": 3}, "seed is 3, but the study was begun with 0"),
        ({"params": {"max_concentration": 0.5}}, "experiment.params.max_concentration is 0.5"),
        ({"n_trials": 50}, "n_trials is 50, but the study was begun with 100; it can only go on"),
    ],
)
def test_a_study_does_not_go_on_as_another(fields, said):
    with pytest.raises(StudyError) as caught:
        specification(**fields).require_same(specification())
    assert said in str(caught.value)
    specification(n_trials=200).require_same(specification())
