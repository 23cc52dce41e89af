"""Comparison lines up what was found and what went in."""

import pytest

from research.compare import compare_results, correlation, flatten
from research.errors import ResearchError


def rows(comparison):
    return {row[0]: row[1:] for row in comparison.rows}


def test_figures_stand_side_by_side_and_unknown_ones_say_so(lab):
    one, other = lab.result(), lab.result(sessions=2, name="short")

    comparison = compare_results([one, other])

    assert comparison.columns == ("figure", f"demo {one.id[:8]}", f"short {other.id[:8]}")
    assert rows(comparison)["Trades"] == ("12", "0")
    assert rows(comparison)["Win rate"][1] == "unknown"


def test_only_inputs_that_differ_are_named(lab):
    table = rows(compare_results([lab.result(), lab.result(params={"sma_short": 5})]))

    assert table["specification.params.sma_short"] == ("-", "5")
    assert "specification.strategy" not in table


def test_a_curve_is_fully_correlated_with_itself_and_a_flat_one_with_nothing(lab):
    one, flat = lab.result(), lab.result(sessions=2, name="short")

    assert correlation(one, one) == pytest.approx(1.0)
    assert correlation(one, flat) is None
    assert rows(compare_results([one, flat]))["Correlation with the first"] == ("1.00", "unknown")


def test_one_backtest_compared_with_itself_is_refused(lab):
    with pytest.raises(ResearchError, match="two different backtests"):
        compare_results([lab.result(), lab.result()])


def test_flatten_keeps_empty_containers_and_positions():
    assert flatten({"a": {"b": [1, {"c": 2}]}, "d": {}}) == {"a.b.0": 1, "a.b.1.c": 2, "d": {}}
