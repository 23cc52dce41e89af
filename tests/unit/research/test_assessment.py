"""Assessments: noise is refused, a planted edge passes, and the same study is assessed alike."""

import json

import pytest

from research.assessment import assess
from research.hold_out import look_at_hold_out
from research.overfitting import Limits, Severity, Thresholds
from research.promotion import RefusedError, promote
from research.study.records import load_study
from research.walkforward.study import walk_forward
from research.walkforward.windows import WalkForwardSettings
from tests.unit.research.studies import MOMENT, finished, noise, specification, trending

EDGE = {"count": 3_000, "length": 24, "drift": 0.006, "risk": 0.006, "first": "2012-01-03"}


def by_check(found):
    return {one.check: one for one in found.findings}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    bars = trending(**EDGE)
    spec = specification(experiment={"start": "2012-01-01"})
    finished(folder, spec, bars)
    look_at_hold_out(folder, "demo", bars, now=MOMENT)
    walk_forward(spec, bars, WalkForwardSettings(train=24, test=12, step=12), results=folder)
    return folder, bars


@pytest.mark.thorough
def test_a_planted_edge_passes_and_is_promoted(planted, tmp_path):
    folder, bars = planted
    found = assess(load_study(folder, "demo"), bars, now=MOMENT)
    failing = [one for one in found.findings if one.severity is Severity.ERROR]
    assert failing == []
    assert found.passed
    assert promote(load_study(folder, "demo"), experiments_dir=tmp_path).exists()


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(1, 7))
def test_noise_is_refused(tmp_path, seed):
    bars = noise(seed, 1_000)
    finished(tmp_path, specification(), bars)
    look_at_hold_out(tmp_path, "demo", bars, now=MOMENT)
    found = assess(load_study(tmp_path, "demo"), bars, now=MOMENT)
    assert not found.passed
    with pytest.raises(RefusedError, match="demo is not promoted: ") as caught:
        promote(load_study(tmp_path, "demo"), experiments_dir=tmp_path / "experiments")
    assert set(caught.value.failing) & {"deflated_sharpe_ratio", "overfitting", "superior_ability"}
    assert not (tmp_path / "experiments").exists()


@pytest.mark.thorough
def test_it_is_kept_as_plain_json_and_is_the_same_again(planted):
    folder, bars = planted
    one = assess(load_study(folder, "demo"), bars, now=MOMENT)
    kept = json.loads((folder / "studies" / "demo" / "study.json").read_text(encoding="utf-8"))["assessment"]
    assert kept == one.page
    assert kept.keys() == {"made_at", "seed", "trials_run", "findings", "statistics", "thresholds", "reasons"}
    assert all(
        finding.keys() >= {"check", "severity", "measured", "threshold", "sentence"} for finding in kept["findings"]
    )
    two = assess(load_study(folder, "demo"), bars, now=MOMENT)
    assert two.page == one.page
    other = assess(load_study(folder, "demo"), bars, seed=1, now=MOMENT)
    assert other.statistics["monte_carlo_trades"] != one.statistics["monte_carlo_trades"]


def test_more_trials_ever_run_on_the_symbols_lower_the_chance(planted, tmp_path):
    bars = noise(3, 1_000)
    finished(tmp_path, specification(), bars)
    alone = assess(load_study(tmp_path, "demo"), bars, now=MOMENT)
    finished(tmp_path, specification("earlier"), bars)
    beside = assess(load_study(tmp_path, "demo"), bars, now=MOMENT)
    assert (alone.statistics["trials_on_symbols"], beside.statistics["trials_on_symbols"]) == (16, 32)
    assert beside.statistics["deflated_sharpe_ratio"] < alone.statistics["deflated_sharpe_ratio"]


def test_the_luck_of_trials_of_which_one_is_known_is_unknown(tmp_path):
    bars = noise(3, 1_000)
    alone = {"sma_short": {"type": "int", "low": 3, "high": 3}}
    finished(tmp_path, specification(space=alone), bars)
    first = assess(load_study(tmp_path, "demo"), bars, now=MOMENT)
    assert by_check(first)["deflated_sharpe_ratio"].measured == first.statistics["probabilistic_sharpe_ratio"]
    finished(tmp_path, specification("earlier"), bars)
    beside = assess(load_study(tmp_path, "demo"), bars, now=MOMENT)
    found = by_check(beside)["deflated_sharpe_ratio"]
    assert (found.severity, found.blocking) == (Severity.UNKNOWN, True)
    assert beside.statistics["expected_maximum_sharpe"] is None
    assert by_check(beside)["parameters_read"].severity is Severity.UNKNOWN


def test_thresholds_decide(planted):
    folder, bars = planted
    strict = Thresholds(limits={"trades": Limits(warn=10_000, error=9_000)})
    found = by_check(assess(load_study(folder, "demo"), bars, thresholds=strict, now=MOMENT))
    assert found["trades"].severity is Severity.ERROR
    assert assess(load_study(folder, "demo"), bars, now=MOMENT).page["thresholds"]["trades"] == {
        "warn": 100.0,
        "error": 30.0,
    }


def test_trials_that_are_all_the_same_prove_nothing(tmp_path):
    """47 equal results passed once, because the strategy never read its parameters."""
    bars = trending(**{**EDGE, "count": 1_200})
    spec = specification(
        experiment={"start": "2012-01-01"},
        space={"max_concentration": {"type": "float", "low": 1.0, "high": 1.9, "step": 0.1}},
    )
    finished(tmp_path, spec, bars)
    found = by_check(assess(load_study(tmp_path, "demo"), bars, now=MOMENT))
    assert (found["parameters_read"].severity, found["parameters_read"].measured) == (Severity.ERROR, 1.0)
    assert found["overfitting"].measured == 0.5
    with pytest.raises(RefusedError, match="parameters_read failed"):
        promote(load_study(tmp_path, "demo"), experiments_dir=tmp_path / "experiments")
