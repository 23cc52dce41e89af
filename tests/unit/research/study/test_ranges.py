"""The text of parameter ranges."""

import pytest

from research.errors import StudyError
from research.study import parse_ranges


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("a:1-4", {"a": (1, 2, 3, 4)}),
        ("a:1-10:4, b:3-3", {"a": (1, 5, 9), "b": (3,)}),
        ("a:0.1-0.3:0.1", {"a": (0.1, 0.2, 0.3)}),
        ("a:-2-1", {"a": (-2, -1, 0, 1)}),
        ("a:month|week", {"a": ("month", "week")}),
        ("a:true|false,b:5|2.5", {"a": (True, False), "b": (5, 2.5)}),
    ],
)
def test_a_range_is_its_values(text, space):
    parsed = parse_ranges(text)
    assert parsed == space
    assert [[type(value) for value in values] for values in parsed.values()] == [
        [type(value) for value in values] for values in space.values()
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not of the form"),
        ("a", "'a' is not of the form"),
        ("a:", "'a:' is not of the form"),
        ("a:1-2,a:3-4", "a is given twice"),
        ("a:3-1", "'3-1' holds no value"),
        ("a:1-3:0", "'1-3:0' holds no value"),
        ("a:5|5", "'5|5' is neither"),
        ("a:5||6", "'5||6' is neither"),
        ("a:1-9999999", "more than 100000"),
    ],
)
def test_what_is_no_range_is_told(text, said):
    with pytest.raises(StudyError, match="param-ranges") as caught:
        parse_ranges(text)
    assert said in str(caught.value)
