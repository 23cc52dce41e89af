"""A newcomer's way through the lab, from a shell: search, look, walk forward, be refused, be promoted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import clean_environment

pytestmark = pytest.mark.e2e

CROSSOVER = "optimize --strategy strategies.sma_crossover.SMACrossover"
RANGE = "--start 2000-03-01 --end 2012-12-31"
BAYESIAN = (
    f"{CROSSOVER} --param-space sma_crossover_params.json --symbols AAPL {RANGE} --metric sharpe_ratio --n-trials 100"
    " --study-name sma_opt_v1"
)
SLOW = (
    "optimize --strategy strategies.momentum.CrossSectionalRotation --symbols AAPL MSFT IBM --seed 3 --n-trials 40"
    f" {RANGE} --study-name"
)


@pytest.fixture(scope="module")
def studied(barloom, project):
    """The three lines of the manual, word for word but for the symbol."""
    space = {
        "sma_short": {"type": "int", "low": 5, "high": 30, "step": 1},
        "sma_long": {"type": "int", "low": 31, "high": 90},
    }
    (project / "sma_crossover_params.json").write_text(json.dumps(space))
    done = barloom(*BAYESIAN.split(), "--mlflow")
    assert done.returncode == 0, done.stderr
    return done


def page_of(project, name):
    return json.loads((project / "results" / "studies" / name / "study.json").read_text())


def test_a_bayesian_study_tries_what_it_was_told_and_says_what_it_is_worth(studied, project):
    page = page_of(project, "sma_opt_v1")
    assert (page["state"], page["trials_run"], page["sampler"]) == ("complete", 100, "tpe")
    assert "100 complete (tpe on kernel)" in studied.stdout
    assert "10 trials run again on Backtrader: identical" in studied.stdout
    assert "deflated_sharpe_ratio" in studied.stdout
    assert "MLflow: http://127.0.0.1:5000/#/experiments/" in studied.stdout
    returns = pq.read_table(project / "results" / "studies" / "sma_opt_v1" / "returns.parquet")
    assert returns.num_rows == 100


def test_its_report_needs_no_network(studied, project):
    report = (project / "results" / "studies" / "sma_opt_v1" / "report.html").read_text()
    assert "plotly" in report
    assert 'src="http' not in report
    assert '<link href="http' not in report


def test_the_same_command_finds_nothing_to_do(studied, barloom, project):
    before = page_of(project, "sma_opt_v1")["updated_at"]
    assert barloom(*BAYESIAN.split()).returncode == 0
    assert page_of(project, "sma_opt_v1")["updated_at"] == before


def test_ranges_are_tried_wholly(studied, barloom, project):
    line = f"{CROSSOVER} --param-ranges sma_short:10-14,sma_long:40-44 --symbols AAPL {RANGE} --study-name grid"
    done = barloom(*line.split(), "--export-csv", "grid.csv")
    assert done.returncode == 0, done.stderr
    assert page_of(project, "grid")["counts"]["complete"] == 25
    assert (project / "grid.csv").read_text().count("\n") == 26
    assert page_of(project, "grid")["prior_trials"]["by_study"] == {"sma_opt_v1": 100}


def test_an_overfitted_study_is_refused_with_the_checks_that_failed(studied, barloom, project):
    walked = barloom("walkforward", "--study", "sma_opt_v1", "--train", "24", "--test", "12", "--step", "12")
    assert walked.returncode == 0, walked.stderr
    assert "efficiency: " in walked.stdout
    done = barloom("promote", "sma_opt_v1")
    assert done.returncode == 1
    assert "sma_opt_v1 is not promoted: " in done.stderr
    assert "overfitting failed" in done.stderr
    assert not (project / "experiments" / "sma_opt_v1.yaml").exists()
    assert page_of(project, "sma_opt_v1")["hold_out"]["looked_at"] is not None


def test_an_override_needs_a_reason_and_is_recorded(studied, barloom, project):
    assert barloom("promote", "sma_opt_v1", "--override", " ").returncode == 1
    done = barloom("promote", "sma_opt_v1", "--override", "to show how")
    assert done.returncode == 0, done.stderr
    assert "Reason: to show how" in (project / "experiments" / "sma_opt_v1.yaml").read_text()
    assert barloom("backtest", "--experiment", "sma_opt_v1").returncode == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--metric sharp_ratio", "did you mean sharpe_ratio"),
        ("--param-ranges sma_shrt:1-2", "Did you mean sma_short?"),
        ("--param-ranges sma_short:50-60,sma_long:20-30", "every point is forbidden"),
        ("--hold-out 1.5", "hold_out: 1.5"),
        ("--param-space none.json", "none.json cannot be read"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_writes_nothing(barloom, project, words, sentence):
    before = sorted(project.glob("results/**/*"))
    done = barloom(*f"{CROSSOVER} --symbols AAPL {RANGE} {words}".split())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert sentence in done.stderr
    assert sorted(project.glob("results/**/*")) == before


def test_an_estimate_says_what_trading_costs_and_searches_nothing(barloom, project):
    before = sorted(project.glob("results/studies/*"))
    done = barloom(*f"{CROSSOVER} --symbols AAPL {RANGE} --estimate".split())
    assert done.returncode == 0, done.stderr
    assert "break-even edge" in done.stdout
    assert sorted(project.glob("results/studies/*")) == before


# ---------------------------------------------------------------- stopped, killed, gone on with


def started(project, *words):
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("barloom")), *words],
        cwd=project, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )  # fmt: skip


def wait_for_progress(project, name, count, kind="studies"):
    end = time.monotonic() + 120
    path = project / "results" / kind / name / "progress.json"
    while time.monotonic() < end:
        if path.exists() and json.loads(path.read_bytes())["done"] >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"{name} has not come to {count}")


def trials_of(project, name):
    table = pq.read_table(project / "results" / "studies" / name / "trials.parquet")
    return {row["number"]: (row["params"], row["value"], row["finished_at"]) for row in table.to_pylist()}


def test_an_interrupt_ends_a_study_cleanly_and_the_same_study_goes_on(barloom, project):
    process = started(project, *SLOW.split(), "interrupted")
    wait_for_progress(project, "interrupted", 10)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: stopped; `barloom study resume interrupted` goes on." in said
    assert "Traceback" not in said
    before = trials_of(project, "interrupted")
    assert 10 <= len(before) < 40
    done = barloom("study", "resume", "interrupted")
    assert done.returncode == 0, done.stderr
    after = trials_of(project, "interrupted")
    assert len(after) == 40
    assert {number: after[number] for number in before} == before


def test_a_killed_study_goes_on_and_ends_like_one_that_was_left_alone(barloom, project):
    process = started(project, *SLOW.split(), "killed")
    wait_for_progress(project, "killed", 12)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert barloom("study", "resume", "killed").returncode == 0
    assert barloom(*SLOW.split(), "left_alone").returncode == 0
    values = [
        {number: row[:2] for number, row in trials_of(project, name).items()} for name in ("killed", "left_alone")
    ]
    assert values[0] == values[1]


def test_a_study_is_stopped_from_elsewhere(barloom, project):
    process = started(project, *SLOW.replace("--n-trials 40", "--n-trials 400").split(), "elsewhere")
    wait_for_progress(project, "elsewhere", 5)
    done = barloom("study", "stop", "elsewhere")
    assert done.returncode == 0, done.stderr
    assert "elsewhere: stopped" in done.stdout
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_an_interrupt_ends_a_walk_forward_cleanly_and_the_same_command_goes_on(barloom, project):
    line = SLOW.replace("optimize", "walkforward").replace(
        "--n-trials 40", "--n-trials 4 --train 24 --test 24 --step 24"
    )
    folds = project / "results" / "walkforward" / "walked" / "folds"
    process = started(project, *line.split(), "walked")
    wait_for_progress(project, "walked", 1, kind="walkforward")
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "walked: stopped; the same command goes on." in said
    assert "Traceback" not in said
    before = {path: path.stat().st_mtime_ns for path in folds.iterdir()}
    assert 1 <= len(before) < 4
    done = barloom(*line.split(), "walked")
    assert done.returncode == 0, done.stderr
    assert len(list(folds.iterdir())) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before


# ---------------------------------------------------------------- a sound one


def write_edge(folder):
    """Twelve years of a price that runs up and down in turn, for a strategy that follows it to find."""
    import datetime as dt

    from warehouse.calendar import get_calendar

    days = get_calendar("XNYS").sessions(dt.date(2010, 1, 4), dt.date(2021, 12, 31))
    generator = np.random.default_rng(1)
    direction = np.where((np.arange(len(days)) // 24) % 2 == 0, 1.0, -1.0)
    close = 100.0 * np.exp(np.cumsum(0.006 * direction + generator.normal(0.0, 0.006, len(days))))
    rows = [
        f"{day},{price:.4f},{price * 1.002:.4f},{price * 0.998:.4f},{price:.4f},10000000"
        for day, price in zip(days, close, strict=True)
    ]
    (folder / "bars").mkdir()
    (folder / "bars" / "EDGE.csv").write_text("\n".join(["day,open,high,low,close,volume", *rows]) + "\n")
    (folder / "bars.yaml").write_text(
        "path: bars\npattern: '{symbol}.csv'\n"
        "columns: {stamp: day, open: open, high: high, low: low, close: close, volume: volume}\n"
    )
    (folder / ".env").write_text("BARLOOM_SOURCE=files\nBARLOOM_FILES_SPEC=bars.yaml\n")


def test_a_sound_study_is_promoted_and_its_experiment_runs(tmp_path):
    write_edge(tmp_path)

    def barloom(*words):
        return subprocess.run(
            [str(Path(sys.executable).with_name("barloom")), *words],
            cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip

    line = f"{CROSSOVER} --param-ranges sma_short:3-9:2,sma_long:12-30:6 --symbols EDGE --study-name sound"
    searched = barloom(*line.split(), "--start", "2010-01-04", "--end", "2021-12-31")
    assert searched.returncode == 0, searched.stderr
    walked = barloom("walkforward", "--study", "sound", "--train", "24", "--test", "12", "--step", "12")
    assert walked.returncode == 0, walked.stderr
    done = barloom("promote", "sound")
    assert done.returncode == 0, done.stderr
    assert "sound: promoted, experiments/sound.yaml" in done.stdout
    run = barloom("backtest", "--experiment", "sound")
    assert run.returncode == 0, run.stderr
    ranked = barloom("leaderboard")
    assert "sound" in ranked.stdout
