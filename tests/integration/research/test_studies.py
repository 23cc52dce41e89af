"""Studies on processes: the same result on any number of them, whatever is killed."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from research.errors import StudyError
from research.study import load_study, run_study
from tests.integration.research.studies import bars, slow, specification, started, told, wait_for

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BARLOOM_TEST_FOLDER", str(tmp_path / "runs"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])]))
    (tmp_path / "runs").mkdir()
    return tmp_path


def runs(folder, period=None):
    """How often points were run."""
    names = [path.name for path in (folder / "runs").iterdir() if not path.name.startswith("poison")]
    return sum(1 for name in names if period is None or name.startswith(f"{period}-"))


@pytest.mark.parametrize("fields", [{"sampler": "tpe"}, {"sampler": "cmaes"}, {}, {"sampler": "tpe", "folds": 3}])
def test_two_workers_give_what_one_gives(tmp_path, fields):
    spec = specification(n_trials=40, **fields)
    alone = run_study(spec, bars(), results=tmp_path / "one", workers=1)
    shared = run_study(spec, bars(), results=tmp_path / "two", workers=2)
    assert told(shared) == told(alone)
    assert not multiprocessing.active_children()


def test_a_killed_study_goes_on_without_losing_or_repeating_a_finished_trial(folder):
    spec = slow(folder, 0.05, n_trials=30)
    whole = run_study(spec.model_copy(update={"name": "whole"}), bars(), results=folder / "results")
    before = runs(folder)
    for trials in (5, 14):
        process = started(folder, spec, folder / "results")
        wait_for(process, trials)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)
    assert load_study(folder / "results", "study").state == "stopped"
    finished = run_study(spec, bars(), results=folder / "results")
    assert finished.state == "complete"
    assert told(finished) == told(whole)
    # beyond the thirty, only the one trial that each kill cut off was begun again
    assert runs(folder) - before <= 30 + 2 * 4


def test_a_worker_that_is_killed_costs_one_try(folder):
    spec = slow(folder, n_trials=12)
    alone = run_study(spec, bars(), results=folder / "one", workers=1)
    poisoned = alone.trials["params"].to_pylist()[3]
    period = int(poisoned.split(":")[1].rstrip("}"))
    (folder / "runs" / f"poison-{period}").write_text("once")
    shared = run_study(spec, bars(), results=folder / "two", workers=2)
    assert told(shared) == told(alone)
    assert not (folder / "runs" / f"poison-{period}").exists()


def test_a_trial_that_kills_its_worker_every_time_fails_alone(folder):
    spec = slow(folder, n_trials=12)
    alone = run_study(spec, bars(), results=folder / "one", workers=1)
    period = int(alone.trials["params"].to_pylist()[10].split(":")[1].rstrip("}"))
    (folder / "runs" / f"poison-{period}").write_text("always")
    shared = run_study(spec, bars(), results=folder / "two", workers=2)
    failed = [row for row in told(shared) if row["state"] == "failed"]
    assert [(row["number"], row["reason"]) for row in failed] == [(10, "its worker was lost 3 times")]
    assert [row for row in told(shared) if row["number"] < 10] == told(alone)[:10]


def test_a_trial_that_takes_too_long_fails_and_the_others_do_not(folder, monkeypatch):
    monkeypatch.setattr("research.study.dispatch._START_SECONDS", 15.0)
    spec = slow(folder, n_trials=8, trial_timeout=5.0)
    quick = run_study(spec, bars(), results=folder / "one", workers=2)
    assert quick.page["counts"]["failed"] == 0
    hung = slow(folder, 30, n_trials=2, trial_timeout=1.0, name="hung")
    began = time.monotonic()
    with pytest.raises(StudyError, match="every trial failed: it took longer than 1 s"):
        run_study(hung, bars(), results=folder / "one", workers=2)
    assert time.monotonic() - began < 100
    assert not multiprocessing.active_children()


def test_a_stop_is_heeded_at_once(folder):
    spec = slow(folder, 0.5, n_trials=500)
    stop = threading.Event()
    asked = []

    def told_of(progress):
        if progress.done >= 3 and not asked:
            asked.append(time.monotonic())
            stop.set()

    record = run_study(spec, bars(), results=folder / "results", workers=2, progress=told_of, stop=stop.is_set)
    assert time.monotonic() - asked[0] < 5
    assert (record.state, record.page["error"]) == ("stopped", "asked to stop")
    assert not multiprocessing.active_children()


def test_progress_says_how_long_it_will_take(folder):
    spec, seen = slow(folder, 0.1, n_trials=12), []
    run_study(spec, bars(), results=folder / "results", workers=1, progress=seen.append)
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert seen[-1].done == seen[-1].total == 12
    assert seen[-1].left == 0.0
    assert 0.0 < seen[len(seen) // 2].left < 30.0


def test_a_worker_needs_little_memory(tmp_path):
    import psutil

    peaks = []

    def watch(_):
        peaks.extend(child.memory_info().rss / 1e6 for child in psutil.Process().children(recursive=True))

    spec = specification(n_trials=400, sampler="random", hold_out=0.0)
    run_study(spec, bars(count=1200), results=tmp_path, workers=2, progress=watch)
    assert 0 < max(peaks) < 300
