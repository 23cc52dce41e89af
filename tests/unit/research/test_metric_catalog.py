"""How figures are written for a person."""

import pytest

from research.metric_catalog import format_number


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (0.123456, "0.1235"),
        (-31.25, "-31.25"),
        (9999.4, "9999"),
        (9999.6, "10,000"),
        (123_456.0, "123,456"),
        (-1_234_567.8, "-1,234,568"),
    ],
)
def test_a_number_has_four_digits_or_all_before_the_point(value, written):
    assert format_number(value) == written


def test_fewer_digits_can_be_asked_for():
    assert [format_number(value, 2) for value in (1.234, 99.4, 99.6)] == ["1.2", "99", "100"]
