"""Findings: every check has one, with a sentence, in a fixed order."""

import pytest

from research.errors import StudyError
from research.verdict import Limit, Severity, Thresholds, judge

GOOD = {
    "trades": 150, "deflated_sharpe_ratio": 0.99, "overfitting_probability": 0.05, "superior_ability": 0.01,
    "track_record": 3.0, "neighbours": 0.9, "double_costs": 0.8, "delay": 0.9, "other_starts": 0.9, "fees": 0.1,
    "chance_of_loss": 0.0, "hold_out": 0.8, "efficiency": 0.9, "drift": 0.1,
}  # fmt: skip


def severities(**changed):
    return {one.check: one.severity for one in judge({**GOOD, **changed}, Thresholds())}


def test_every_threshold_is_a_check_and_every_check_has_a_threshold():
    assert [one.check for one in judge(GOOD, Thresholds())] == list(Thresholds.model_fields) == list(GOOD)
    assert set(severities().values()) == {Severity.OK}


@pytest.mark.parametrize(
    ("check", "warns", "fails"),
    [
        ("trades", 99, 29), ("deflated_sharpe_ratio", 0.94, 0.89), ("overfitting_probability", 0.21, 0.51),
        ("superior_ability", 0.06, 0.11), ("neighbours", 0.4, -0.1), ("double_costs", 0.4, -0.1), ("delay", 0.4, -0.1),
        ("other_starts", 0.4, -0.1), ("fees", 0.31, 1.1), ("chance_of_loss", 0.06, 0.21), ("hold_out", 0.4, -0.1),
        ("efficiency", 0.79, 0.69),
    ],
)  # fmt: skip
def test_a_figure_warns_first_and_fails_then(check, warns, fails):
    assert severities(**{check: warns})[check] is Severity.WARN
    assert severities(**{check: fails})[check] is Severity.ERROR


@pytest.mark.parametrize(("check", "value"), [("track_record", 0.1), ("drift", 9.0)])
def test_some_only_warn(check, value):
    found = next(one for one in judge({**GOOD, check: value}, Thresholds()) if one.check == check)
    assert (found.severity, found.blocking) == (Severity.WARN, False)


def test_what_is_not_measured_is_unknown_and_says_why():
    found = {one.check: one for one in judge({}, Thresholds(), {"hold_out": "Nobody has looked at it yet."})}
    assert {one.severity for one in found.values()} == {Severity.UNKNOWN}
    assert found["hold_out"].sentence == "Nobody has looked at it yet."
    assert {name for name, one in found.items() if not one.blocking} == {
        "track_record", "hold_out", "efficiency", "drift"
    }  # fmt: skip
    assert all(one.sentence.endswith(".") and one.measured is None for one in found.values())


def test_a_sentence_says_what_it_would_have_taken():
    found = judge({**GOOD, "trades": 12}, Thresholds())[0]
    assert found.sentence == "The best trial closed 12 trades. It should be at least 100."
    assert found.page() == {
        "check": "trades", "severity": "error", "measured": 12, "threshold": 100.0, "sentence": found.sentence,
        "blocking": True,
    }  # fmt: skip


def test_thresholds_are_set_by_name():
    limits = Thresholds.build(trades={"warn": 10, "error": 5})
    assert judge({"trades": 7}, limits)[0].severity is Severity.WARN
    assert limits.delay == Limit(warn=0.5, error=0.0)


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"trade": {"warn": 1}}, "checks: trade: "), ({"trades": {"warn": "many"}}, "checks: trades.warn: 'many'")],
)
def test_bad_thresholds_are_one_sentence(fields, says):
    with pytest.raises(StudyError, match=says):
        Thresholds.build(**fields)
