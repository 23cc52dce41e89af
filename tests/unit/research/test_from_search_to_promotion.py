"""The whole way on both kinds of strategies: search, hold-out, walk-forward, assessment, gate."""

import pytest

from research.assessment import assess
from research.engine import Engine
from research.hold_out import look_at_hold_out
from research.overfitting import Severity
from research.promotion import RefusedError, promote
from research.study import load_study, run_study
from research.walkforward.study import walk_forward
from research.walkforward.windows import WalkForwardSettings
from tests.unit.research.studies import MOMENT, noise, specification, trending

EDGE = {"count": 2_400, "length": 24, "drift": 0.006, "risk": 0.006, "first": "2012-01-03"}
DECLARED = {"experiment": {"start": "2012-01-01"}}
BAR_BY_BAR = {
    "experiment": {
        "start": "2012-01-01", "strategy": "strategies.momentum.DualMomentum", "params": {"rebalance": "bar"},
    },
    "space": {"lookback": {"type": "int", "low": 4, "high": 12, "step": 2}},
}  # fmt: skip
YEARS = WalkForwardSettings(train=24, test=12, step=12)


def worked(results, spec, bars):
    """Everything that a user does before a promotion."""
    record = run_study(spec, bars, results=results, workers=1)
    assert record.state == "complete"
    look_at_hold_out(results, spec.name, bars, now=MOMENT)
    walk_forward(spec, bars, YEARS, results=results)
    assess(load_study(results, spec.name), bars, now=MOMENT)
    return load_study(results, spec.name)


@pytest.mark.thorough
@pytest.mark.parametrize(("fields", "engine"), [(DECLARED, Engine.KERNEL), (BAR_BY_BAR, Engine.FAST)])
def test_a_planted_edge_is_promoted(tmp_path, fields, engine):
    record = worked(tmp_path, specification(**fields), trending(**EDGE))
    assert set(record.trials["engine"].to_pylist()) == {engine.value}
    findings = {one["check"]: one for one in record.page["assessment"]["findings"]}
    assert {one["severity"] for one in findings.values()} <= {Severity.PASS, Severity.WARN}
    assert findings["walk_forward"]["measured"] > 0.7
    assert promote(record, experiments_dir=tmp_path / "experiments").exists()


@pytest.mark.thorough
@pytest.mark.parametrize(("fields", "engine"), [(DECLARED, Engine.KERNEL), (BAR_BY_BAR, Engine.FAST)])
def test_noise_is_refused(tmp_path, fields, engine):
    bars = {"A": trending(**{**EDGE, "drift": 0.0}, seed=5)["A"]}
    record = worked(tmp_path, specification(**fields), bars)
    assert set(record.trials["engine"].to_pylist()) == {engine.value}
    with pytest.raises(RefusedError, match="demo is not promoted: ") as caught:
        promote(record, experiments_dir=tmp_path / "experiments")
    assert "deflated_sharpe_ratio" in caught.value.failing
    assert not (tmp_path / "experiments").exists()


def test_more_trials_after_the_look_are_a_new_study_for_the_statistics(tmp_path):
    """The study goes on: the look no longer counts, and the assessment is out of date."""
    bars = noise(count=500)
    spec = specification(sampler="random", n_trials=8)
    run_study(spec, bars, results=tmp_path, workers=1)
    first = look_at_hold_out(tmp_path, "demo", bars, now=MOMENT)
    assess(load_study(tmp_path, "demo"), bars, now=MOMENT)
    record = run_study(spec.model_copy(update={"n_trials": 12}), bars, results=tmp_path, workers=1)
    assert record.page["trials_run"] == 12
    with pytest.raises(RefusedError, match="assessed with 8 trials and has 12 now"):
        promote(record, experiments_dir=tmp_path)
    again = look_at_hold_out(tmp_path, "demo", bars)
    assert (again.first, again.metrics) == (False, first.metrics)
    found = {one.check: one for one in assess(record, bars, now=MOMENT).findings}
    assert found["hold_out"].severity is Severity.UNKNOWN
    assert "4 trials were run after the hold-out was looked at on 2024-05-06" in found["hold_out"].sentence
