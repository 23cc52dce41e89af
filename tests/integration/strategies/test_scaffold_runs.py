"""The scaffold from the outside: its test passes as it was written, and the strategy loads by its dotted path."""

import subprocess
import sys

import pytest

from strategies.scaffold import new_strategy

pytestmark = pytest.mark.integration


def test_the_test_that_comes_with_a_new_strategy_passes(tmp_path):
    new_strategy("MyBreakout", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_breakout.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
