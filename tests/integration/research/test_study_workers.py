"""A grid on processes of this machine: the same result, and no process left whatever happens."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from research.engine import prepare_run
from research.errors import StudyError
from research.experiment import Experiment
from research.study import local_workers, parse_ranges, run_grid
from tests.unit.research.scenarios import END, START, walk

pytestmark = pytest.mark.integration

GRID = parse_ranges("sma_short:3-9:2,sma_long:12-20:4")


def prepared():
    experiment = Experiment.build(
        strategy="strategies.sma_crossover.SMACrossover", symbols=("A",), start=START, end=END
    )
    return prepare_run(experiment, {"A": walk("A", 260, 0)})


def test_processes_give_what_one_gives():
    alone = run_grid(prepared(), GRID, metric="sharpe_ratio")
    with local_workers(2) as pool:
        shared = run_grid(prepared(), GRID, metric="sharpe_ratio", executor=pool, chunks=2)
    assert shared == alone


def test_a_worker_that_is_killed_ends_the_study_with_a_sentence():
    with local_workers(1) as pool:
        (worker,) = multiprocessing.active_children()
        worker.kill()
        with pytest.raises(StudyError, match="a worker ended before its trials were done"):
            run_grid(prepared(), GRID, metric="sharpe_ratio", executor=pool)
    assert not multiprocessing.active_children()


PROGRAM = """
import sys, time
from research.study import local_workers
if __name__ == "__main__":
    with local_workers(2) as pool:
        waiting = [pool.submit(time.sleep, 600) for _ in range(8)]
        time.sleep(1)
        print("running", flush=True)
        waiting[0].result()
"""


def started(folder):
    """Two workers, each at work for ten minutes."""
    program = folder / "program.py"
    program.write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a group of its own, as at a terminal; pytest may run with SIGINT ignored, which a child would inherit
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    assert process.stdout.readline() == "running\n"
    return process


def test_an_interrupt_ends_every_process_at_once(tmp_path):
    process = started(tmp_path)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)  # waits for all who hold the pipes, so for every worker
    assert time.monotonic() - began < 10
    assert said.count("Traceback") == 1  # its own, none of a worker


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    process = started(tmp_path)
    try:
        process.kill()  # the coordinator alone, as a lack of memory does
        process.communicate(timeout=30)  # waits for all who hold the pipes, so for every worker
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
