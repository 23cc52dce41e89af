"""All engines are run and compared bit for bit; the first thing that differs is named."""

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from research.engine.verify import EngineDifference, EngineRun, first_difference, verify_engines
from risk.events import RiskEvent
from risk.states import HaltState


def changed(table, column, row, value):
    values = table[column].to_pylist()
    values[row] = value
    at = table.column_names.index(column)
    return table.set_column(at, table.schema.field(column), pa.array(values, table.schema.field(column).type))


def test_every_engine_runs_the_experiment_and_backtraders_own_loop_is_the_reference(lab):
    runs = verify_engines(lab.experiment(params={"sma_short": 5, "sma_long": 20}), {"A": lab.bars("A", 1, 300)})
    assert [run.engine for run in runs] == ["vanilla", "fast", "kernel"]
    assert [run.verdict for run in runs[:2]] == ["the reference", "identical"]
    assert all(run.seconds > 0 for run in runs[:2])
    assert [run.difference for run in runs] == [None] * 3


def test_an_engine_that_cannot_run_it_says_why_and_is_no_difference(lab, monkeypatch):
    monkeypatch.setattr("research.engine.run.ineligible", lambda _cerebro, _strategies: "It is Sunday.")
    runs = verify_engines(lab.experiment(), {"A": lab.bars("A", 1, 60)})
    assert runs[1] == EngineRun("fast", None, "It is Sunday.", None)
    assert runs[1].verdict == "not run: It is Sunday."


def test_the_same_output_does_not_differ(lab):
    output = lab.output(lab.bars("A", 1, 200))
    assert first_difference(output, replace(output, engine="fast", engine_reason="The kernel is away.")) is None


def test_one_bit_of_one_price_is_found_with_its_time_and_both_values(lab):
    output = lab.output(lab.bars("A", 1, 200))
    price, ts = output.fills["price"][2].as_py(), output.fills["ts"][2].as_py()
    other = replace(output, fills=changed(output.fills, "price", 2, price * (1 + 2**-52)))
    assert first_difference(output, other) == EngineDifference(
        "fills.price row 2", ts, repr(price), repr(price * (1 + 2**-52))
    )


def test_a_zero_of_the_other_sign_is_a_difference(lab):
    output = lab.output(lab.bars("A", 1, 200))
    assert first_difference(output, replace(output, equity=changed(output.equity, "financing", 5, -0.0))).here == "-0.0"
    assert first_difference(output, replace(output, deposits=-0.0)) == EngineDifference("deposits", None, "0.0", "-0.0")


def test_the_earliest_difference_is_told_whatever_table_it_is_in(lab):
    output = lab.output(lab.bars("A", 1, 200))
    late = changed(output.equity, "cash", 150, 1.0)
    early = changed(output.fills, "symbol", 0, "B")
    found = first_difference(output, replace(output, equity=late, fills=early, deposits=1.0))
    assert (found.what, found.vanilla, found.here) == ("fills.symbol row 0", "'A'", "'B'")


def test_a_row_too_few_is_told_at_its_time(lab):
    output = lab.output(lab.bars("A", 1, 200))
    found = first_difference(output, replace(output, fills=output.fills.slice(0, 3)))
    assert found == EngineDifference("fills: rows", output.fills["ts"][3].as_py(), str(output.fills.num_rows), "3")


def test_a_risk_event_too_many_is_told_at_its_time(lab):
    output = lab.output(lab.bars("A", 1, 200))
    ts = datetime(2001, 2, 3, tzinfo=UTC)
    event = RiskEvent(ts, "halt", None, "max_drawdown", 0.1, 0.2, None, None, HaltState.FLATTEN, "down")
    found = first_difference(output, replace(output, risk_events=(event,)))
    assert (found.what, found.when, found.vanilla) == ("risk_events 0", ts, "absent")


@pytest.mark.parametrize(
    ("when", "verdict"),
    [
        (datetime(2001, 2, 3, 21, tzinfo=UTC), "fills.price row 3 at 2001-02-03 21:00:00 is 2.0, vanilla has 1.0"),
        (None, "fills.price row 3 is 2.0, vanilla has 1.0"),
    ],
)
def test_a_difference_is_one_line_for_a_person(when, verdict):
    assert EngineRun("fast", 0.1, None, EngineDifference("fills.price row 3", when, "1.0", "2.0")).verdict == verdict
