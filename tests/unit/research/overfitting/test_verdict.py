"""What the statistics mean."""

import pytest

from research.errors import StudyError
from research.measured import Missing
from research.overfitting import CHECKS, Limits, Severity, Thresholds, judge, load_thresholds

GOOD = {
    "parameters_read": 0.0, "trades": 250.0, "fees": 0.05, "probabilistic_sharpe_ratio": 0.999,
    "deflated_sharpe_ratio": 0.97, "track_record": 3.0, "overfitting": 0.05, "superior_ability": 0.01, "plateau": 0.9,
    "double_costs": 0.9, "delay": 0.9, "other_starts": 0.95, "drawdown": 0.2, "walk_forward": 0.85,
    "parameter_drift": 0.1, "hold_out": 0.8,
}  # fmt: skip
BAD = {
    "parameters_read": 1.0, "trades": 12.0, "fees": 0.8, "probabilistic_sharpe_ratio": 0.5,
    "deflated_sharpe_ratio": 0.4, "track_record": 0.2, "overfitting": 0.7, "superior_ability": 0.5, "plateau": 0.1,
    "double_costs": -0.5, "delay": -0.1, "other_starts": -0.1, "drawdown": 0.8, "walk_forward": 0.2, "hold_out": 0.1,
}  # fmt: skip


def by_check(figures, thresholds=None):
    return {one.check: one for one in judge(figures, thresholds)}


def test_every_check_has_a_figure_here():
    assert set(GOOD) == set(CHECKS)


@pytest.mark.parametrize("check", GOOD)
def test_a_good_figure_passes(check):
    found = by_check(GOOD)[check]
    assert (found.severity, found.measured) == (Severity.PASS, GOOD[check])


@pytest.mark.parametrize("check", BAD)
def test_a_bad_figure_fails(check):
    found = by_check({**GOOD, check: BAD[check]})[check]
    assert (found.severity, found.blocking) == (Severity.ERROR, True)
    assert found.sentence.endswith(".")
    assert "{" not in found.sentence


def test_what_is_between_warns():
    found = by_check({**GOOD, "deflated_sharpe_ratio": 0.92})["deflated_sharpe_ratio"]
    assert (found.severity, found.threshold) == (Severity.WARN, 0.95)
    assert found.sentence == (
        "With only 92 % probability the best trial beats the luck of so many trials; 95 % is asked."
    )


def test_drift_only_warns():
    found = by_check({**GOOD, "parameter_drift": 0.9})["parameter_drift"]
    assert (found.severity, found.blocking) == (Severity.WARN, False)


def test_what_was_not_measured_is_unknown_with_its_reason():
    found = by_check({**GOOD, "hold_out": Missing("nobody has looked at it yet")})["hold_out"]
    assert (found.severity, found.measured, found.blocking) == (Severity.UNKNOWN, None, True)
    assert found.sentence == "Not measured: nobody has looked at it yet."
    assert by_check({})["trades"].sentence == "Not measured: it was not measured."


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("check", GOOD)
def test_what_is_no_number_passes_nothing(check, figure):
    found = by_check({**GOOD, check: figure})[check]
    assert (found.severity, found.measured) == (Severity.UNKNOWN, None)
    assert found.sentence == f"Not measured: the formula gives {figure}."


def test_almost_sure_is_not_shown_as_sure():
    assert (
        "over 99.9 %"
        in by_check({**GOOD, "probabilistic_sharpe_ratio": 0.99999})["probabilistic_sharpe_ratio"].sentence
    )


@pytest.mark.parametrize(
    ("check", "figure", "said"),
    [
        ("trades", 1820.0, "1820 closed trades"),
        ("trades", 123_456.0, "123,456 closed trades"),
        ("track_record", 31.25, "is 31.25 times"),
        ("hold_out", 12.345, "hold-out 1,234 % of"),
        ("hold_out", 9.999, "hold-out 1,000 % of"),
        ("superior_ability", 0.0123, "in 1.23 % of cases"),
    ],
)
def test_figures_read_as_a_person_writes_them(check, figure, said):
    assert said in by_check({**GOOD, check: figure})[check].sentence


def test_limits_of_a_file_decide(tmp_path):
    path = tmp_path / "checks.yaml"
    path.write_text("trades: {warn: 500, error: 300}\nfees: {warn: 0.01}\n")
    found = by_check(GOOD, load_thresholds(path))
    assert (found["trades"].severity, found["fees"].severity) == (Severity.ERROR, Severity.WARN)
    assert not found["fees"].blocking


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("trade: {warn: 1}", "trade: there is no such check; did you mean trades"),
        ("trades: {wran: 1}", "trades.wran"),
        ("trades: {warn: much}", "trades.warn: 'much'"),
        ("trades: {warn: 10, error: 20}", "trades: error: 20.0 comes before warn 10.0"),
        ("trades: [", "is not valid YAML"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "checks.yaml"
    path.write_text(text)
    with pytest.raises(StudyError, match=sentence):
        load_thresholds(path)


def test_limits_given_by_hand_are_checked_too():
    with pytest.raises(ValueError, match=r"overfitting: error: 0.1 comes before warn 0.2"):
        Thresholds(limits={"overfitting": Limits(warn=0.2, error=0.1)})
