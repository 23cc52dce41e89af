"""What evaluation puts together adds up, and says what it does not know."""

import json
import math
from dataclasses import replace

import pyarrow as pa
import pytest

from research.evaluation import evaluate
from research.metric_catalog import METRICS, format_metric
from risk.events import RiskEvent
from risk.states import HaltState


def test_every_figure_of_the_catalog_is_in_the_metrics_and_no_other(lab):
    assert list(lab.result().metrics) == list(METRICS)


def test_every_null_has_a_reason_and_every_reason_a_null(lab):
    page = lab.result(sessions=40).page

    nulls = {key for key, value in page["metrics"].items() if value is None}
    nulls |= {f"{k}.{key}" for k in ("benchmark", "buy_and_hold") for key, v in page[k].items() if v is None}
    for table, name in (("by_year", "year"), ("by_month", "month"), ("by_regime", "regime")):
        nulls |= {f"{table}.{row[name]}.{key}" for row in page[table] for key, value in row.items() if value is None}
    assert nulls == set(page["null_reasons"])
    assert all(page["null_reasons"].values())
    assert nulls


def test_the_page_is_json_without_nan(lab):
    assert json.loads(json.dumps(lab.result().page, allow_nan=False))["name"] == "demo"


def test_months_compound_to_the_total_return(lab):
    page = lab.result().page

    product = math.prod(1 + row["total_return"] for row in page["by_month"])
    assert product - 1 == pytest.approx(page["metrics"]["total_return"], rel=1e-9)
    regimes = math.prod(1 + row["total_return"] for row in page["by_regime"] if row["sessions"])
    assert regimes - 1 == pytest.approx(page["metrics"]["total_return"], rel=1e-9)


def test_trade_profits_and_open_profit_are_the_equity_change(lab):
    result = lab.result(sessions=560)
    closed = sum(result.tables["trades"]["net_profit"].to_pylist())

    assert result.tables["open_trades"].num_rows == 1
    assert closed + result.metrics["open_profit"] == pytest.approx(result.metrics["net_profit"])
    assert result.metrics["final_equity"] - 10_000.0 == pytest.approx(result.metrics["net_profit"])


def test_fees_are_set_against_the_gross_profit_of_closed_trades(lab):
    values = lab.result(sessions=100).metrics

    assert values["fees"] == 4.0
    if values["gross_profit"] > 0:
        assert values["fees_to_gross_profit"] == pytest.approx(4.0 / values["gross_profit"])
    else:
        assert values["fees_to_gross_profit"] is None


def test_without_a_benchmark_the_symbols_in_equal_parts_are_it(lab):
    page = lab.result().page

    assert page["benchmark"] == page["buy_and_hold"]
    assert page["benchmark"]["name"] == "A"


def test_a_benchmark_is_compared_with_beside_holding_the_symbols(lab):
    page = lab.result(benchmark="B").page

    assert page["benchmark"]["name"] == "B"
    assert page["buy_and_hold"]["name"] == "A"
    assert page["metrics"]["beta"] is not None


def test_a_benchmark_that_was_asked_for_and_not_given_is_said(lab):
    bars = {"A": lab.bars("A", 1, 300)}

    result = evaluate(lab.experiment(benchmark="SPY"), lab.output(bars["A"]), bars, None, {}, code="c", now=lab.now)

    assert "benchmark: no bars of SPY were given, compared with A." in result.warnings


def test_risk_events_are_counted_listed_and_kept(lab):
    bars = {"A": lab.bars("A", 1, 60)}
    event = RiskEvent(
        lab.now, "refused", "A", "max_order_value", 100.0, float("inf"), 5.0, 0.0, HaltState.ACTIVE, "too large"
    )
    output = replace(lab.output(bars["A"]), risk_events=(event,) * 150, final_halt=HaltState.FLATTEN)

    result = evaluate(lab.experiment(), output, bars, None, {}, code="c", now=lab.now)

    summary = result.page["risk_events"]
    assert (summary["count"], summary["listed"], len(summary["events"])) == (150, 100, 100)
    assert summary["by_limit"] == {"max_order_value": 150}
    assert summary["events"][0]["measured"] is None
    assert result.page["null_reasons"]["risk_events.events.0.measured"] == "the value is inf"
    assert result.tables["risk_events"].num_rows == 150
    assert result.page["final_halt"] == HaltState.FLATTEN.value


def test_an_override_of_quality_errors_is_recorded_with_its_reason_and_the_rules(lab):
    bars = {"A": lab.bars("A", 1, 60)}
    experiment = lab.experiment(allow_quality_errors="known vendor gap")

    result = evaluate(
        experiment, lab.output(bars["A"]), bars, None, {}, code="c", now=lab.now,
        quality_errors={"A": ["missing_sessions"], "B": []},
    )  # fmt: skip

    assert result.page["quality_override"] == {"reason": "known vendor gap", "errors": {"A": ["missing_sessions"]}}
    assert lab.result().page["quality_override"] is None


def test_the_same_inputs_have_the_same_id_and_other_data_another(lab):
    bars = {"A": lab.bars("A", 1, 60)}
    ids = [
        evaluate(lab.experiment(), lab.output(bars["A"]), bars, None, {"A": v}, code="c", now=lab.now).id
        for v in ("1", "1", "2")
    ]

    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_a_run_without_a_trade_is_a_result_with_reasons(lab):
    bars = {"A": lab.bars("A", 1, 60)}
    idle = lab.output(bars["A"], hold=1000)
    flat = idle.equity.drop_columns(["equity", "cash", "position_value", "gross_value"])
    for name, value in (("equity", 10_000.0), ("cash", 10_000.0), ("position_value", 0.0), ("gross_value", 0.0)):
        flat = flat.append_column(name, pa.array([value] * 60))
    output = replace(
        idle, equity=flat.select(idle.equity.column_names), fills=idle.fills.slice(0, 0),
        open_trades=idle.open_trades.slice(0, 0), commission=0.0,
    )  # fmt: skip

    result = evaluate(lab.experiment(), output, bars, None, {}, code="c", now=lab.now)

    assert result.metrics["total_return"] == 0.0
    assert result.metrics["trades"] == 0
    assert result.metrics["win_rate"] is None
    assert result.page["null_reasons"]["sharpe_ratio"] == "daily returns do not vary"


def test_an_unknown_figure_is_shown_as_unknown():
    assert format_metric("win_rate", None) == "unknown"
    assert format_metric("win_rate", 0.4567) == "45.67 %"
    assert format_metric("trades", 1234) == "1,234"
    assert format_metric("max_drawdown_peak", "2001-01-02") == "2001-01-02"
    assert format_metric("total_return", -0.000001) == "0.00 %"
