"""The warehouse's bars of a session, on the session's own scale."""

from datetime import date

import pyarrow as pa
import pytest

from research.experiment import Experiment
from research.parity.stored import stored_bars
from tests.unit.research.scenarios import minutes
from warehouse.resolution import Resolution
from warehouse.schema import CLEAN_SCHEMA
from warehouse.store import Warehouse

DAY, BEFORE, AFTER = "2024-01-03", "2024-01-02", "2024-01-04"
EXPERIMENT = Experiment.build(
    strategy="strategies.sma_crossover.SMACrossover", symbols=["AAPL"], start=BEFORE, end=DAY, resolution="1m"
)


def rows(price, count=3):
    return [(price, price + 1, price - 1, price, 1000.0)] * count


def seen(*days, count=3):
    return {"AAPL": pa.concat_tables([minutes("AAPL", rows(100, count), day=day) for day in days])}


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path)


def store(warehouse, *tables, splits=None):
    bars = pa.concat_tables(tables)
    factors = {"split_factor": splits or [1.0] * bars.num_rows, "dividend_factor": [1.0] * bars.num_rows}
    for name, values in factors.items():
        bars = bars.append_column(name, pa.array(values))
    warehouse.write_clean("AAPL", Resolution.MINUTE, bars.select(CLEAN_SCHEMA.names).cast(CLEAN_SCHEMA))


def found(warehouse, known):
    return stored_bars(warehouse, EXPERIMENT, date.fromisoformat(DAY), known)


def test_a_warehouse_without_the_symbol_says_so(warehouse):
    assert found(warehouse, seen(DAY)).missing == "AAPL: the warehouse does not hold 2024-01-03 yet."


def test_a_warehouse_with_a_part_of_the_day_says_up_to_when(warehouse):
    store(warehouse, minutes("AAPL", rows(100, 2), day=DAY))
    assert found(warehouse, seen(DAY)).missing == "AAPL: the warehouse holds 2024-01-03 up to 14:32 UTC only."


def test_stored_bars_take_the_place_of_those_seen(warehouse):
    store(warehouse, minutes("AAPL", rows(200), day=BEFORE), minutes("AAPL", rows(201), day=DAY))
    held = found(warehouse, seen(BEFORE, DAY))
    assert held.missing is None
    assert held.bars["AAPL"]["close"].to_pylist() == [200.0] * 3 + [201.0] * 3


def test_a_warm_up_day_that_the_warehouse_lacks_is_taken_as_it_was_seen(warehouse):
    store(warehouse, minutes("AAPL", rows(201), day=DAY))
    assert found(warehouse, seen(BEFORE, DAY)).bars["AAPL"]["close"].to_pylist() == [100.0] * 3 + [201.0] * 3


def test_bars_after_the_last_that_was_seen_are_left_out(warehouse):
    store(warehouse, minutes("AAPL", rows(201, 9), day=DAY))
    assert found(warehouse, seen(DAY)).bars["AAPL"].num_rows == 3


def test_days_before_the_first_that_was_seen_are_left_out(warehouse):
    store(warehouse, minutes("AAPL", rows(200), day=BEFORE), minutes("AAPL", rows(201), day=DAY))
    assert found(warehouse, seen(DAY)).bars["AAPL"]["close"].to_pylist() == [201.0] * 3


def test_a_split_after_the_session_does_not_rescale_it(warehouse):
    store(
        warehouse, minutes("AAPL", rows(200), day=BEFORE), minutes("AAPL", rows(200), day=DAY),
        minutes("AAPL", rows(100), day=AFTER), splits=[0.5] * 6 + [1.0] * 3,
    )  # fmt: skip
    table = found(warehouse, seen(BEFORE, DAY)).bars["AAPL"]
    assert (set(table["close"].to_pylist()), set(table["volume"].to_pylist())) == ({200.0}, {1000.0})


def test_a_split_before_the_session_rescales_the_warm_up(warehouse):
    store(
        warehouse, minutes("AAPL", rows(200), day=BEFORE), minutes("AAPL", rows(100), day=DAY),
        splits=[0.5] * 3 + [1.0] * 3,
    )  # fmt: skip
    table = found(warehouse, seen(BEFORE, DAY)).bars["AAPL"]
    assert table["close"].to_pylist() == [100.0] * 6
    assert table["volume"].to_pylist() == [2000.0] * 3 + [1000.0] * 3
