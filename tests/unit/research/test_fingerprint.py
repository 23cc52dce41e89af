"""The id changes with everything that decides a result, and with nothing else."""

import getpass
import importlib
import json
import socket
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research import fingerprint
from research.errors import ResearchError
from research.fingerprint import backtest_id, code_version, environment

SPEC = {"name": "demo", "params": {"fast": 10, "slow": 30}, "cash": 1e5}


def test_the_id_is_stable_across_machines_and_releases():
    assert backtest_id(SPEC, {"AAPL": "abc"}, "code") == "8a165ad2-6b09-5d24-924d-1e0f0d50384c"


def test_the_id_has_the_form_of_a_uuid():
    assert uuid.UUID(backtest_id(SPEC, {}, "code")).version == 5


def test_the_order_of_keys_does_not_matter():
    turned = {"cash": 1e5, "params": {"slow": 30, "fast": 10}, "name": "demo"}

    assert backtest_id(turned, {"A": "1", "B": "2"}, "c") == backtest_id(SPEC, {"B": "2", "A": "1"}, "c")


def test_specification_data_and_code_each_change_the_id():
    ids = {
        backtest_id(SPEC, {"A": "1"}, "c"),
        backtest_id({**SPEC, "cash": 2e5}, {"A": "1"}, "c"),
        backtest_id(SPEC, {"A": "2"}, "c"),
        backtest_id(SPEC, {"A": "1"}, "d"),
    }

    assert len(ids) == 4


@settings(max_examples=50)
@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=4), st.text(max_size=5), st.text(max_size=5))
def test_two_different_inputs_never_share_an_id(spec, one, other):
    if one != other:
        assert backtest_id(spec, {"A": one}, "c") != backtest_id(spec, {"A": other}, "c")


def test_a_specification_that_json_cannot_hold_is_refused():
    with pytest.raises(ResearchError, match="cannot be written as JSON"):
        backtest_id({"cash": float("nan")}, {}, "c")


def test_the_environment_names_versions_and_neither_host_nor_user_nor_path():
    told = environment()
    text = json.dumps(told)

    assert told["packages"]["backtrader"] == "1.9.78.123"
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text
    assert f"/{getpass.getuser()}/" not in text


def test_modules_that_are_said_to_change_no_figure_exist_and_no_figure_is_made_there():
    folder = Path(fingerprint.__file__).parent

    assert all((folder / f"{name}.py").exists() for name in fingerprint._PRESENTATION)
    assert not fingerprint._PRESENTATION & {"engine", "evaluation", "metrics", "regimes", "benchmark", "trades"}


def test_the_engine_the_risk_guard_and_the_fee_schedule_are_part_of_the_code_version():
    names = set(fingerprint._package_sources())

    assert {"research/engine/run.py", "research/metrics.py", "risk/guard.py"} <= names
    assert any(name.startswith("broker/costs/") and name.endswith(".yaml") for name in names)
    assert not names & {"research/chart.py", "research/tearsheet.py"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's folder with a strategy that imports a module of its own, and one that it does not import."""
    monkeypatch.syspath_prepend(str(tmp_path))
    files = {
        "lib_fp/__init__.py": "",
        "lib_fp/rules.py": "LIMIT = 1\n",
        "lib_fp/unrelated.py": "X = 1\n",
        "mine_fp.py": "from lib_fp.rules import LIMIT\n\nclass Mine:\n    limit = LIMIT\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] in {"lib_fp", "mine_fp"}]:
        del sys.modules[name]


def version():
    return code_version(importlib.import_module("mine_fp").Mine)


def test_the_code_version_is_the_same_twice(project):
    assert version() == version()
    assert len(version()) == 16


def test_a_change_in_the_strategys_own_module_changes_the_code_version(project):
    before = version()
    (project / "mine_fp.py").write_text("from lib_fp.rules import LIMIT\n\nclass Mine:\n    limit = LIMIT + 1\n")

    assert version() != before


def test_a_change_in_a_module_that_the_strategy_imports_changes_it_too(project):
    before = version()
    (project / "lib_fp" / "rules.py").write_text("LIMIT = 2\n")

    assert version() != before


def test_a_module_that_the_strategy_does_not_import_changes_nothing_even_when_loaded(project):
    before = version()
    (project / "lib_fp" / "unrelated.py").write_text("X = 2\n")
    importlib.import_module("lib_fp.unrelated")

    assert version() == before


def test_relative_imports_are_followed(project):
    (project / "lib_fp" / "user.py").write_text("from .rules import LIMIT\n\nclass Mine:\n    limit = LIMIT\n")
    strategy = importlib.import_module("lib_fp.user").Mine
    before = code_version(strategy)
    (project / "lib_fp" / "rules.py").write_text("LIMIT = 3\n")

    assert code_version(strategy) != before


def test_a_class_without_a_source_file_is_refused():
    with pytest.raises(ResearchError, match="cannot be read"):
        code_version(type("Made", (), {"__module__": "nowhere"}))
