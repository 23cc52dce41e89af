"""Strategies by name, and their parameters."""

import json
import sys

import backtrader as bt
import pytest

from strategies.errors import ParameterError, StrategyError, UnknownStrategyError
from strategies.registry import LIBRARY, describe, library, load_strategy, resolve_params
from strategies.sma_crossover import SMACrossover

PLAIN = """
import backtrader as bt

class Mine(bt.Strategy):
    "My own."
    params = (("period", {period}),)

class NoStrategy:
    pass
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory that is not on the import path, and a way to write modules there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    written = []

    def write(name, text, folder=tmp_path):
        written.append(name)
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(text)

    yield write
    for name in written:
        sys.modules.pop(name, None)


def said(dotted):
    with pytest.raises(UnknownStrategyError) as caught:
        load_strategy(dotted)
    return str(caught.value)


def test_a_strategy_of_the_library_is_found():
    assert load_strategy("strategies.sma_crossover.SMACrossover") is SMACrossover


def test_every_strategy_of_the_library_is_listed_with_what_a_person_needs():
    listed = library()
    assert [info.dotted for info in listed] == list(LIBRARY)
    assert {info.family for info in listed} == {"trend", "momentum", "mean reversion", "breakout", "timing", "pairs"}
    for info in listed:
        assert info.summary.endswith(".")
        assert info.parameters[-1].startswith(("allow_short", "hedge"))


def test_the_list_has_own_parameters_first_and_constraints_as_text():
    info = describe("strategies.sma_crossover.SMACrossover")
    assert (info.name, info.family) == ("SMACrossover", "trend")
    assert info.summary.startswith("Buy when the short average of closes crosses above the long one")
    assert info.parameters[:3] == (
        "sma_short = 20 (int 5..50 step 1)",
        "sma_long = 50 (int 20..250 step 1)",
        "target_fraction = 0.95 (float 0.1..1.0)",
    )
    assert info.constraints == ("sma_short < sma_long",)


def test_the_list_goes_into_json():
    first = json.loads(json.dumps(library()[0].as_dict()))
    assert first["constraints"] == ["sma_short < sma_long"]
    assert set(first) == {"dotted", "name", "family", "summary", "parameters", "constraints"}


def test_a_module_in_the_working_directory_is_found(elsewhere, tmp_path):
    elsewhere("barloom_test_mine", PLAIN.format(period=7))
    found = load_strategy("barloom_test_mine.Mine")
    assert issubclass(found, bt.Strategy)
    assert str(tmp_path) not in sys.path


def test_the_same_name_in_another_working_directory_is_another_strategy(elsewhere, tmp_path, monkeypatch):
    elsewhere("barloom_test_moved", PLAIN.format(period=7))
    assert load_strategy("barloom_test_moved.Mine").params.period == 7
    elsewhere("barloom_test_moved", PLAIN.format(period=9), tmp_path / "other")
    monkeypatch.chdir(tmp_path / "other")
    assert load_strategy("barloom_test_moved.Mine").params.period == 9


def test_a_plain_strategy_is_described_by_its_parameters(elsewhere):
    elsewhere("barloom_test_plain", PLAIN.format(period=7))
    info = describe("barloom_test_plain.Mine")
    assert (info.parameters, info.constraints, info.summary) == (("period = 7",), (), "My own.")


def test_a_path_without_a_module_is_refused_with_the_near_match():
    assert said("SMACrosover") == (
        "strategy: 'SMACrosover' must be a dotted path such as strategies.sma_crossover.SMACrossover."
        " Did you mean SMACrossover?"
    )


@pytest.mark.parametrize("dotted", ["", ".", "a..b", "strategies.sma_crossover.", "strategies/sma.SMA", "a b.c"])
def test_what_is_no_dotted_path_is_refused(dotted):
    assert said(dotted).startswith(f"strategy: {dotted!r} must be a dotted path")


def test_an_unknown_module_is_refused_with_the_near_match():
    assert said("strategies.sma_crosover.SMACrossover") == (
        "strategy: 'strategies.sma_crosover.SMACrossover': there is no module 'strategies.sma_crosover'."
        " Did you mean strategies.sma_crossover.SMACrossover?"
    )


def test_an_unknown_module_of_the_working_directory_is_refused_with_the_near_match(elsewhere):
    elsewhere("barloom_test_near", PLAIN.format(period=7))
    assert said("barloom_test_naer.Mine").endswith("Did you mean barloom_test_near?")


def test_an_unknown_class_is_refused_with_the_near_match():
    assert said("strategies.breakout.DonchianBrakeout") == (
        "strategy: 'strategies.breakout.DonchianBrakeout': the module strategies.breakout has no DonchianBrakeout."
        " Did you mean DonchianBreakout?"
    )


def test_a_class_that_is_no_strategy_is_refused(elsewhere):
    elsewhere("barloom_test_none", PLAIN.format(period=7))
    assert said("barloom_test_none.NoStrategy") == (
        "strategy: 'barloom_test_none.NoStrategy' is not a backtrader.Strategy that could run."
    )


def test_a_module_that_breaks_says_why(elsewhere):
    elsewhere("barloom_test_broken", "1 / 0")
    assert said("barloom_test_broken.Mine") == (
        "strategy: 'barloom_test_broken.Mine' cannot be imported, ZeroDivisionError: division by zero."
    )


def test_a_module_that_needs_another_says_which(elsewhere):
    elsewhere("barloom_test_needy", "import barloom_no_such_module")
    assert said("barloom_test_needy.Mine") == (
        "strategy: 'barloom_test_needy.Mine' needs the module 'barloom_no_such_module'."
    )


def test_every_error_is_a_strategy_error():
    assert issubclass(UnknownStrategyError, StrategyError)
    assert issubclass(ParameterError, StrategyError)


def test_parameters_are_completed_with_the_defaults():
    resolved = resolve_params(SMACrossover, {"sma_short": 10})
    assert (resolved["sma_short"], resolved["sma_long"]) == (10, 50)
    assert resolved == SMACrossover.space.defaults | {"sma_short": 10}


def test_an_unknown_parameter_is_refused_with_the_near_match():
    with pytest.raises(ParameterError) as caught:
        resolve_params(SMACrossover, {"smashort": 10})
    assert str(caught.value) == "smashort is not a parameter of SMACrossover. Did you mean sma_short?"


def test_parameters_that_contradict_each_other_are_refused():
    with pytest.raises(ParameterError, match="sma_short < sma_long must hold, but sma_short = 60, sma_long = 50"):
        resolve_params(SMACrossover, {"sma_short": 60})


def test_names_of_a_plain_strategy_are_checked(elsewhere):
    elsewhere("barloom_test_params", PLAIN.format(period=7))
    plain = load_strategy("barloom_test_params.Mine")
    assert resolve_params(plain, {}) == {"period": 7}
    assert resolve_params(plain, {"period": "anything"}) == {"period": "anything"}
    with pytest.raises(ParameterError, match=r"perod is not a parameter of Mine\. Did you mean period"):
        resolve_params(plain, {"perod": 7})


def test_an_edited_strategy_is_imported_again_and_an_unchanged_one_is_not(elsewhere):
    elsewhere("barloom_test_edited", PLAIN.format(period=10))
    first = load_strategy("barloom_test_edited.Mine")
    assert load_strategy("barloom_test_edited.Mine") is first
    elsewhere("barloom_test_edited", PLAIN.format(period=2000))
    assert load_strategy("barloom_test_edited.Mine").params.period == 2000
