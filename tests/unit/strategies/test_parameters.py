"""Parameter types, constraints, spaces."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.errors import ParameterError
from strategies.parameters import Choice, Constraint, Float, Int, ParameterSpace

SPACE = ParameterSpace(
    {"fast": Int(5, 50, default=20, valid=(1, 100)), "slow": Int(20, 250, default=50), "kind": Choice("sma", "ema")},
    (Constraint("fast < slow"),),
)


def refused(function, *arguments, **named):
    with pytest.raises(ParameterError) as caught:
        function(*arguments, **named)
    return str(caught.value)


def test_validation_returns_every_parameter():
    assert SPACE.validate({"fast": 10}) == {"fast": 10, "slow": 50, "kind": "sma"}


def test_an_unknown_parameter_is_refused_with_the_near_match():
    said = refused(SPACE.validate, {"fats": 10}, owner="SMACrossover")
    assert said == "fats is not a parameter of SMACrossover. Did you mean fast?"


def test_an_unknown_parameter_without_a_near_match_names_those_there_are():
    assert refused(SPACE.validate, {"xyz": 1}) == "xyz is not a parameter of the strategy. It has fast, slow, kind."


@pytest.mark.parametrize("value", [10.0, "10", None, True, float("nan")])
def test_a_whole_number_is_nothing_else(value):
    assert refused(SPACE.validate, {"fast": value}) == f"fast must be a whole number, not {value!r}."


def test_values_beyond_the_searched_range_are_accepted_while_they_are_valid():
    assert SPACE.validate({"fast": 2})["fast"] == 2
    assert refused(SPACE.validate, {"fast": 0}) == "fast must be between 1 and 100, not 0."


def test_without_a_valid_range_the_searched_range_is_valid():
    assert refused(SPACE.validate, {"slow": 300}) == "slow must be between 20 and 250, not 300."


def test_a_broken_constraint_is_refused_and_nothing_is_swapped():
    assert refused(SPACE.validate, {"fast": 60, "slow": 30}) == "fast < slow must hold, but fast = 60, slow = 30."


def test_a_constraint_sees_the_defaults_of_parameters_not_given():
    assert refused(SPACE.validate, {"fast": 50}) == "fast < slow must hold, but fast = 50, slow = 50."


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", True, None])
def test_a_number_is_finite_and_no_text(value):
    assert refused(Float(0.0, 1.0, default=0.5).check, "x", value) == f"x must be a finite number, not {value!r}."


def test_a_whole_number_given_for_a_float_becomes_one():
    value = Float(0.0, 5.0, default=0.5).check("x", 2)
    assert value == 2.0
    assert isinstance(value, float)


def test_an_optional_number_may_be_off():
    assert Float(0.1, 1.0, default=None, optional=True).check("x", None) is None


def test_a_choice_is_refused_with_the_near_match():
    assert refused(SPACE.validate, {"kind": "smaa"}) == "kind must be one of sma, ema, not 'smaa'. Did you mean sma?"


def test_one_is_not_true():
    assert refused(Choice(False, True).check, "on", 1) == "on must be one of False, True, not 1."


def test_a_choice_may_have_another_default_than_the_first():
    assert Choice("a", "b", default="b").default == "b"
    assert Choice("a", "b").with_default("b").default == "b"


def test_descriptions_are_what_a_list_shows():
    assert SPACE.describe() == (
        "fast = 20 (int 5..50 step 1)",
        "slow = 50 (int 20..250 step 1)",
        "kind = sma (one of sma, ema)",
    )
    assert Float(0.1, 1.0, log=True, default=0.5).describe() == "0.5 (float 0.1..1.0 log)"
    assert Float(0.1, 1.0, default=None, optional=True).describe() == "off (float 0.1..1.0 or off)"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Int(5, 1, default=3), "low must not be above high, but low = 5 and high = 1."),
        (lambda: Int(1, 5, 0, default=3), "step must be above 0, not 0."),
        (lambda: Int(1, 5, default=9), "default must be between 1 and 5, not 9."),
        (lambda: Float(0.0, 1.0, log=True, default=0.5), "log needs low > 0 and no step, not low 0.0 and step None."),
        (Choice, "options must not be empty."),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(make, said):
    assert refused(make) == said


@pytest.mark.parametrize("text", ["a", "a <", "a == b", "a<b", "a < b <", "a < b-c"])
def test_a_constraint_that_cannot_be_read_is_refused(text):
    assert text in refused(Constraint, text)


def test_a_chain_holds_when_every_link_does():
    chain = Constraint("0 < exit < entry <= 4.5")
    assert chain.holds({"exit": 1, "entry": 4.5})
    assert not chain.holds({"exit": 1, "entry": 5})
    assert not chain.holds({"exit": 0, "entry": 4})
    assert chain.names == ("exit", "entry")


def test_a_parameter_that_is_off_breaks_no_constraint():
    assert Constraint("a < b").holds({"a": None, "b": 1})


def test_extending_keeps_the_constraints_and_overrides_parameters():
    more = ParameterSpace({"slow": Int(60, 90, default=70)}, (Constraint("slow > 55"),))
    both = SPACE.extended(more)
    assert both.defaults == {"fast": 20, "slow": 70, "kind": "sma"}
    assert [constraint.text for constraint in both.constraints] == ["fast < slow", "slow > 55"]


def test_a_constraint_on_a_parameter_that_is_not_there_is_refused():
    said = refused(ParameterSpace().extended, ParameterSpace({"a": Int(1, 2, default=1)}, (Constraint("a < bb"),)))
    assert said == "bb is not a parameter of the strategy. It has a."


def test_defaults_that_break_a_constraint_are_refused():
    broken = ParameterSpace({"a": Int(1, 9, default=5), "b": Int(1, 9, default=4)}, (Constraint("a < b"),))
    assert refused(ParameterSpace().extended, broken) == "a < b must hold, but a = 5, b = 4."


def test_only_tuned_parameters_are_searched():
    space = ParameterSpace({"a": Int(1, 2, default=1), "safety": Float(0, 1, default=0.5, tuned=False)})
    assert list(space.tuned) == ["a"]


@settings(max_examples=100)
@given(fast=st.integers(-10, 120), slow=st.integers(0, 300))
def test_what_is_accepted_is_what_was_asked_for(fast, slow):
    valid = 1 <= fast <= 100 and 20 <= slow <= 250 and fast < slow
    if valid:
        assert SPACE.validate({"fast": fast, "slow": slow}) == {"fast": fast, "slow": slow, "kind": "sma"}
    else:
        refused(SPACE.validate, {"fast": fast, "slow": slow})


def test_a_space_travels_to_another_process():
    space = ParameterSpace({"n": Int(1, 9, default=3)}, (Constraint("n < 9"),))
    travelled = pickle.loads(pickle.dumps(space))  # noqa: S301
    assert travelled.validate({"n": 4}) == {"n": 4}


def test_a_whole_number_of_numpy_is_a_whole_number():
    value = Int(1, 9, default=3).check("n", np.int64(7))
    assert (value, type(value)) == (7, int)
