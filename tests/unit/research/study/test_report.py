"""The report stands alone, says what was found and what was not, and never lets a missing figure look measured."""

import re
import socket
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from research.study.report import headline, study_html
from research.study.report_view import Curve, StudyView, TrialView, read_findings

FINDINGS = {
    "findings": [
        {"check": "too_few_trades", "severity": "pass", "measured": 33, "threshold": 30, "sentence": "33 trades."},
        {
            "check": "deflated_sharpe_ratio", "severity": "warn", "measured": 0.81, "threshold": 0.95,
            "sentence": "It is not told apart from luck <i>yet</i>.",
        },
        {
            "check": "overfitting", "severity": "error", "measured": 0.61, "threshold": 0.5,
            "sentence": "The best of one half is bad in the other.",
        },
        {"check": "delay", "severity": "skipped", "measured": None, "threshold": None, "sentence": "Not tried."},
    ]
}  # fmt: skip


def trials(count=40, **changes):
    rng = np.random.default_rng(1)
    return [
        TrialView(
            at,
            {"fast": int(rng.integers(5, 30)), "slow": int(rng.integers(40, 120)), "mode": ["a", "b"][at % 2]},
            float(rng.normal()),
            **changes,
        )
        for at in range(count)
    ]


def view(made=None, **changes):
    made = trials() if made is None else made
    known = [trial for trial in made if trial.value is not None]
    best = max(known, key=lambda trial: trial.value).number if known else None
    return replace(StudyView("demo", "Sharpe ratio", True, ("SMACrossover", "AAPL"), made, best), **changes)


def outside_scripts(html):
    return re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


@pytest.fixture(scope="module")
def full():
    days = pd.bdate_range("2004-01-01", periods=120)
    returns = pd.Series(np.random.default_rng(2).normal(0, 0.01, 120), days)
    made = trials()
    folds = [{"fold": 0, "sharpe_ratio": 0.5, "trades": 3}, {"fold": 1, "sharpe_ratio": None, "trades": 4}]
    shown = view(made)
    made[shown.best] = replace(made[shown.best], folds=folds, metrics={"total_return": 0.5})
    windows = [{"window": 0, "params": '{"fast": 9}', "searched": 1.0, "tested": 0.5, "out_of_sample_return": 0.04}]
    return replace(
        shown,
        findings=read_findings(FINDINGS),
        statistics={"deflated_sharpe_ratio": 0.81, "minimum_track_record": None, "paths": {"drawdown_95": -0.4}},
        curves=[Curve("walk-forward", returns, [days[0], days[60]])],
        windows=windows,
        provenance={"Seed": 0, "Seconds": 12.345678, "Code version": "<b>"},
    )


def test_the_page_needs_no_network_and_no_other_file_and_is_the_same_every_time(full, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a report opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    html = study_html(full)
    outside = outside_scripts(html)
    assert html == study_html(full)
    assert html.count("<script>/**") == 1
    assert re.findall(r"https?://|<link|@import|url\(|\ssrc=|\shref=", outside) == []


def test_every_part_is_there(full):
    html = study_html(full)
    for name in ("history", "importances", "contour", "parallel", "out-of-sample"):
        assert f'id="plot-{name}"' in html
    outside = outside_scripts(html)
    for text in ("Folds of the best trial", "Walk-forward windows", "fast 9", "Checks", "Statistics", "What was run"):
        assert text in outside


def test_a_figure_that_is_unknown_says_so_and_stands_beside_its_meaning(full):
    outside = outside_scripts(study_html(full))
    assert (
        "<td>Minimum track record</td><td>not measured</td>"
        "<td>Sessions needed before the Sharpe ratio is told apart from 0.</td>" in outside
    )
    assert "Paths: drawdown 95" not in outside  # what has no meaning for a reader stays in the file


def test_the_gravest_finding_comes_first_and_nobodys_markup_gets_through(full):
    outside = outside_scripts(study_html(full))
    assert [one.check for one in full.findings] == ["overfitting", "delay", "deflated_sharpe_ratio", "too_few_trades"]
    assert "<li>The best of one half is bad in the other.</li>" in outside
    assert "&lt;i&gt;yet&lt;/i&gt;" in outside
    assert "<td>&lt;b&gt;</td>" in outside
    assert '<span class="verdict none">not measured</span>' in outside


@pytest.mark.parametrize(
    ("findings", "says"),
    [
        (None, "The study was not assessed: nothing says yet whether that is more than luck."),
        ({"findings": []}, "The assessment made no check."),
        ({"findings": FINDINGS["findings"][:1]}, "Every check passed."),
        ({"findings": FINDINGS["findings"][:2]}, "No check failed, Deflated Sharpe ratio warned."),
        ({"findings": FINDINGS["findings"][3:]}, "No check failed, Delay could not be measured."),
        (
            FINDINGS,
            "It does not stand up: Overfitting failed, Deflated Sharpe ratio warned, Delay could not be measured.",
        ),
    ],
)
def test_the_headline_says_what_the_checks_say(findings, says):
    told = headline(view(findings=read_findings(findings)))
    assert told.endswith(says)
    assert "has the best Sharpe ratio of 40 trials" in told


def test_a_study_with_nothing_in_it_renders_and_measures_nothing():
    outside = outside_scripts(study_html(view([])))
    assert "None of 0 trials has a value of Sharpe ratio" in outside
    for title in ("Checks", "Statistics", "Search", "Out of sample", "Walk-forward windows", "Folds of the best trial"):
        assert re.search(rf'<h2>{title}</h2><p class="unknown">not measured: ', outside)
    assert "plotly-graph-div" not in outside


def test_what_was_run_is_told_in_figures_that_can_be_read(full):
    assert "<td>Seconds</td><td>12.35</td>" in outside_scripts(study_html(full))


@pytest.mark.thorough
@pytest.mark.parametrize("missing", ["findings", "statistics", "curves", "windows", "provenance"])
def test_anything_may_be_missing(full, missing):
    empty = None if missing == "findings" else type(getattr(full, missing))()
    assert "</html>" in study_html(replace(full, **{missing: empty}))


@pytest.mark.parametrize(
    "made",
    [
        [TrialView(at, {"fast": at}, float(at)) for at in range(20)],
        [TrialView(at, {"fast": at, "slow": 2 * at}, float(at % 7)) for at in range(20)],
        [TrialView(at, {"fast": 1}, 2.0) for at in range(20)],
        [TrialView(at, {"fast": at}, None, "failed") for at in range(20)],
        [TrialView(at, {"fast": at} if at % 2 else {"slow": "x"}, float(at)) for at in range(20)],
        trials(3),
    ],
    ids=["one parameter", "on a line", "all the same", "all failed", "conditional", "few"],
)
def test_odd_studies_render(made):
    assert "</html>" in study_html(view(made))


def test_failed_trials_are_told():
    made = [*trials(10), TrialView(10, {}, None, "failed")]
    assert "1 of 11 trials failed and have no value." in study_html(view(made))


def test_less_is_better_where_it_is_minimised():
    shown = view(maximise=False)
    values = [trial.value for trial in shown.ranked]
    assert values == sorted(values)
