"""Reproduction is bit for bit, and names what differs."""

from types import SimpleNamespace

import pyarrow.compute as pc

from research.engine import run_backtest
from research.evaluation import evaluate
from research.reproduce import differences, reproduce_result
from research.result import BacktestResult, load_result, save_result


def with_page(result, **changes):
    return BacktestResult({**result.page, **changes}, result.tables)


def test_the_same_run_is_identical_whenever_and_wherever(lab):
    recorded = lab.result(benchmark="B")
    elsewhere = with_page(
        lab.result(benchmark="B"), created_at="2030-01-01T00:00:00+00:00", environment={"python": "4"}
    )

    assert differences(recorded, elsewhere) == []


def test_another_engine_is_no_difference(lab):
    recorded = lab.result()

    assert differences(recorded, with_page(recorded, engine="kernel", engine_reason="Asked for.")) == []


def test_one_bit_of_one_figure_is_a_difference(lab):
    recorded = lab.result()
    sharpe = recorded.metrics["sharpe_ratio"]
    changed = with_page(recorded, metrics={**recorded.metrics, "sharpe_ratio": sharpe * (1 + 2**-52)})

    found = differences(recorded, changed)

    assert [one.what for one in found] == ["metrics.sharpe_ratio"]
    assert found[0].recorded != found[0].now


def test_a_changed_cell_is_named_with_its_row(lab):
    recorded = lab.result()
    fills = recorded.tables["fills"]
    prices = fills["price"].to_pylist()
    prices[3] += 0.01
    changed = fills.set_column(fills.column_names.index("price"), "price", [prices])

    found = differences(recorded, BacktestResult(recorded.page, {**recorded.tables, "fills": changed}))

    assert [one.what for one in found] == ["fills.price: 1 rows, first 3"]


def test_a_missing_row_is_told_as_a_count(lab):
    recorded = lab.result()
    shorter = {**recorded.tables, "trades": recorded.tables["trades"].slice(0, 2)}

    found = differences(recorded, BacktestResult(recorded.page, shorter))

    assert [(one.what, one.now) for one in found] == [("trades: rows", "2")]


def test_changed_data_and_packages_are_named_beside_the_figures_they_changed(lab):
    recorded = lab.result()
    changed = with_page(
        recorded, data_versions={"A": "v2"}, environment={**recorded.page["environment"], "python": "4"}
    )

    found = {one.what: (one.recorded, one.now) for one in differences(recorded, changed)}

    assert found["data_versions.A"] == ("v1", "v2")
    assert found["environment.python"][1] == "4"


def ran(lab, bars):
    experiment = lab.experiment(params={"sma_short": 5, "sma_long": 20}, benchmark="B")
    output = run_backtest(experiment, {"A": bars.bars["A"]}, benchmark=bars.benchmark)
    return evaluate(experiment, output, bars.bars, bars.benchmark, bars.data_versions)


def test_a_saved_backtest_runs_again_from_its_own_specification_and_is_identical(lab, tmp_path):
    inputs = SimpleNamespace(
        bars={"A": lab.bars("A", 1, 300)}, benchmark=lab.bars("B", 2, 300), data_versions={"A": "1", "B": "1"}
    )
    result = ran(lab, inputs)
    save_result(result, tmp_path)

    assert result.metrics["trades"] > 3
    assert reproduce_result(load_result(tmp_path, result.id), inputs) == []


def test_other_bars_give_another_result_and_say_so(lab):
    bars = lab.bars("A", 1, 300)
    inputs = SimpleNamespace(bars={"A": bars}, benchmark=lab.bars("B", 2, 300), data_versions={"A": "1", "B": "1"})
    recorded = ran(lab, inputs)
    higher = bars
    for name in ("open", "high", "low", "close"):
        higher = higher.set_column(bars.column_names.index(name), name, pc.multiply(bars[name], 1.5))
    changed = SimpleNamespace(bars={"A": higher}, benchmark=inputs.benchmark, data_versions={"A": "2", "B": "1"})

    found = {one.what: (one.recorded, one.now) for one in reproduce_result(recorded, changed)}

    assert found["data_versions.A"] == ("1", "2")
    assert "id" in found
    assert any(what.startswith("fills.price") for what in found)
