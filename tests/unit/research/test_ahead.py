"""When a second process compiles, and that it ends."""

import os
from contextlib import nullcontext

import pytest

from research import ahead
from research.ahead import compiling_ahead


def test_where_a_run_was_compiled_since_the_kernel_changed_nothing_is_started(tmp_path):
    (tmp_path / "compiled_0").mkdir()
    (tmp_path / "compiled_0" / "machine.simulate-1.py311.nbi").touch()
    with compiling_ahead(tmp_path) as starts:
        assert not starts


def test_what_was_compiled_of_an_earlier_kernel_does_not_count(tmp_path):
    index = tmp_path / "compiled_0" / "machine.simulate-1.py311.nbi"
    index.parent.mkdir()
    index.touch()
    os.utime(index, (0, 0))
    assert ahead._is_cold(tmp_path)


def test_one_processor_compiles_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with compiling_ahead(tmp_path) as starts:
        assert not starts


@pytest.mark.parametrize("fails", [False, True])
def test_the_process_is_gone_after_the_block(tmp_path, monkeypatch, fails):
    started = []
    popen = ahead.subprocess.Popen
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(
        ahead.subprocess, "Popen", lambda *args, **given: started.append(popen(*args, **given)) or started[0]
    )
    ends = pytest.raises(InterruptedError) if fails else nullcontext()
    with ends, compiling_ahead(tmp_path) as starts:
        assert starts
        assert started[0].poll() is None
        if fails:
            raise InterruptedError
    assert started[0].returncode is not None
