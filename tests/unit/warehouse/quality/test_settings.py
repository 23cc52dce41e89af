"""Tests of what a user may change about the rules."""

import pytest
from pydantic import ValidationError

from warehouse.quality import RULES, QualitySettings, Severity


def test_every_rule_has_a_setting_and_every_setting_a_rule():
    assert sorted(QualitySettings.model_fields) == sorted(rule.id for rule in RULES)


def test_every_rule_has_one_sentence_and_its_own_id():
    assert len({rule.id for rule in RULES}) == len(RULES) == 22
    assert all(rule.description.endswith(".") for rule in RULES)


def test_an_unknown_rule_is_refused_with_the_near_match():
    with pytest.raises(
        ValidationError, match=r"'mising_sessions' is not a quality rule. Did you mean 'missing_sessions'"
    ):
        QualitySettings.model_validate({"mising_sessions": {"threshold": 3}})


@pytest.mark.parametrize(
    "setting", [{"treshold": 3}, {"threshold": -1}, {"threshold": float("nan")}, {"severity": "FATAL"}, {"enabled": 7}]
)
def test_a_setting_that_means_nothing_is_refused(setting):
    with pytest.raises(ValidationError):
        QualitySettings.model_validate({"missing_sessions": setting})


def test_a_threshold_decides_whether_a_rule_passes(daily):
    series = daily()
    series.columns["volume"][3] = 0.0
    assert series.judge().check("zero_volume")["passed"] is False
    check = series.judge(zero_volume={"threshold": 0.5}).check("zero_volume")
    assert (check["passed"], check["threshold"]) == (True, 0.5)


def test_a_severity_decides_what_a_failure_means(daily):
    series = daily()
    series.columns["volume"][3] = 0.0
    judged = series.judge(zero_volume={"severity": "ERROR"})
    assert judged.report.errors == ["zero_volume"]
    assert judged.findings("zero_volume")[0]["severity"] == "ERROR"
    assert series.judge(zero_volume={"severity": "INFO"}).report.warnings == []


def test_a_rule_switched_off_is_not_in_the_report(daily):
    rules = daily().judge(quality_score={"enabled": False}).report.checks["rule"].to_pylist()
    assert "quality_score" not in rules
    assert len(rules) == len(RULES) - 2  # missing_minutes is not asked of daily bars


@pytest.mark.parametrize("rule", [rule.id for rule in RULES if rule.id != "missing_minutes"])
def test_every_rule_obeys_its_settings(daily, rule):
    check = daily().judge(**{rule: {"threshold": 0.125, "severity": "INFO"}}).check(rule)
    assert (check["threshold"], check["severity"]) == (0.125, Severity.INFO)
