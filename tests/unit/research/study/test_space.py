"""What is varied, and what is never run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import StudyError
from research.study import SearchSpace
from research.study.sampling import source_for
from strategies.registry import load_strategy
from tests.unit.research.study.studies import CROSSOVER, SMALL, specification

STRATEGY = load_strategy(CROSSOVER)
BOLLINGER = load_strategy("strategies.mean_reversion.BollingerReversion")


def space(document, fixed=None):
    return SearchSpace.of(STRATEGY, fixed or {}, document)


def test_the_plain_form_works_as_written():
    found = space({"sma_short": {"type": "int", "low": 5, "high": 30, "step": 1}})
    assert found.size() == 26
    assert next(found.points()) == {"sma_short": 5}


def test_nothing_means_what_the_strategy_declares():
    assert space(None).names == ("sma_short", "sma_long")
    assert space(None, {"sma_long": 100}).names == ("sma_short",)


def test_a_range_string_is_a_space():
    assert space("sma_short:10-30,sma_long:40-80:5").size() == 21 * 9


def test_points_that_a_constraint_forbids_are_neither_run_nor_repaired():
    found = space({**SMALL, "constraints": ["sma_short > 4"]})
    points = list(found.points())
    assert all(4 < point["sma_short"] < point["sma_long"] for point in points)
    assert found.size() == 7 * 23 > len(points)
    assert found.forbidden({"sma_short": 9, "sma_long": 8}) == "sma_short < sma_long"
    assert found.forbidden({"sma_short": 3, "sma_long": 8}) == "sma_short > 4"


def test_a_condition_decides_whether_a_parameter_matters():
    found = space(
        {
            "sma_long": {"type": "int", "low": 21, "high": 23, "when": {"allow_short": [True]}},
            "allow_short": {"type": "choice", "choices": [False, True]},
        }
    )
    assert found.names == ("allow_short", "sma_long")
    assert list(found.points()) == [
        {"allow_short": False},
        *({"allow_short": True, "sma_long": n} for n in (21, 22, 23)),
    ]
    assert found.size() == 4


def test_a_step_of_floats_gives_the_numbers_that_were_written():
    found = space({"target_fraction": {"type": "float", "low": 0.1, "high": 0.7, "step": 0.1}})
    assert [point["target_fraction"] for point in found.points()] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def test_a_continuous_space_has_no_grid():
    found = space({"target_fraction": {"type": "float", "low": 0.1, "high": 0.7, "log": True}})
    assert found.size() is None
    with pytest.raises(StudyError, match="target_fraction has no step"):
        list(found.points())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"sma_shrt": {"type": "int", "low": 5, "high": 9}}, "Did you mean sma_short"),
        ({"sma_short": {"type": "int", "low": 0, "high": 9}}, "sma_short must be between 1 and 1000"),
        ({**SMALL, "constraints": ["sma_short < sma_lng"]}, "names sma_lng"),
        ({**SMALL, "constraints": "a < b"}, "must be a list of texts"),
        ({**SMALL, "constraints": ["sma_short<sma_long"]}, "with spaces"),
        ({"sma_short": {"type": "int", "low": 5, "high": 9, "when": {"x": [1]}}}, "x is not varied"),
        ({"sma_short": {"type": "choice", "choices": []}}, "must be a list of values"),
        ({}, "names no parameter"),
    ],
)
def test_what_cannot_be_searched_is_told(document, said):
    with pytest.raises(StudyError) as caught:
        space(document)
    assert said in str(caught.value)


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "nsga2"])
def test_a_sampler_never_asks_for_a_forbidden_or_a_known_point(sampler):
    spec = specification(space=SMALL, sampler=sampler)
    found = space(SMALL)
    source = source_for(found, spec, sampler, ["higher"])
    known = {point.key for point in source.ask(0, 20, set())}
    more = source.ask(20, 20, known)
    assert len({point.key for point in more} | known) == 40
    assert all(found.forbidden(point.params) is None for point in more)
    assert sum(source.forbidden.values()) > 0
    assert set(source.forbidden) == {"sma_short < sma_long"}


def test_a_space_that_is_all_forbidden_is_given_up():
    document = {**SMALL, "constraints": ["sma_short > sma_long"]}
    for sampler in ("tpe", "grid"):
        with pytest.raises(StudyError, match=r"points in a row break|every point is forbidden"):
            source_for(space(document), specification(), sampler, ["higher"]).ask(0, 1, set())


def test_a_space_that_is_used_up_gives_no_more_points():
    found = space({"sma_short": {"type": "int", "low": 5, "high": 9}})
    source = source_for(found, specification(), "tpe", ["higher"])
    assert sorted(point.params["sma_short"] for point in source.ask(0, 50, set())) == [5, 6, 7, 8, 9]


@st.composite
def documents(draw):
    low = draw(st.integers(1, 30))
    document = {
        "sma_short": {
            "type": "int",
            "low": low,
            "high": low + draw(st.integers(0, 12)),
            "step": draw(st.integers(1, 4)),
        },
        "sma_long": {"type": "int", "low": draw(st.integers(2, 20)), "high": draw(st.integers(20, 40))},
    }
    if draw(st.booleans()):
        document["target_fraction"] = {"type": "float", "low": 0.2, "high": 0.8, "step": 0.3}
    return document


@given(documents())
def test_every_point_of_a_grid_is_accepted_by_the_strategy_and_different(document):
    found = space(document)
    points = list(found.points())
    for point in points:
        complete = found.complete(point)
        assert {name: complete[name] for name in point} == point
    assert len({tuple(point.values()) for point in points}) == len(points) <= (found.size() or 0)
