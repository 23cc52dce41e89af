"""A few random storms over live trading, run as `make storms` runs many."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
COUNT = 10


def storms(folder, *words):
    """Run storms; the exit code and what was printed."""
    line = [sys.executable, str(ROOT / "tests" / "storms"), "--processes", "1", "--no-postgresql", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    ran = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def test_ledger_and_broker_agree_after_every_storm(tmp_path):
    figures = tmp_path / "figures.json"
    code, printed = storms(tmp_path, "--count", str(COUNT), "--json", str(figures))
    assert code == 0, printed
    told = json.loads(figures.read_text())
    assert (told["storms"], told["mismatches"], told["duplicates"]) == (COUNT, 0, 0)
    assert told["orders"] > 0
    assert told["kills"] > 0
    assert told["faults"] == sum(told["faults_by_kind"].values()) > 0
    assert told["reconciled"]["worst"] >= told["reconciled"]["median"] > 0
