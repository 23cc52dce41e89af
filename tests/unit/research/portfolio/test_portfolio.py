"""A portfolio is made of backtests by their ids, proves its own figures, and says what a reader must know."""

import json
import re

import numpy as np
import pytest

from research.evaluation import evaluate
from research.portfolio import PortfolioError, PortfolioOptions, build_portfolio, portfolio_html, save_portfolio
from research.portfolio.page import _growth_axis
from research.portfolio.store import DAILY_SCHEMA, WEIGHTS_SCHEMA, portfolio_page
from research.result import BacktestResult
from warehouse.files import read_parquet


@pytest.fixture(scope="module")
def three(lab):
    """Results of three symbols under one experiment name and one strategy."""

    def result(symbol, seed, hold):
        bars = {symbol: lab.bars(symbol, seed, 500)}
        experiment = lab.experiment(symbols=[symbol])
        return evaluate(
            experiment, lab.output(bars[symbol], hold=hold), bars, None, {symbol: f"v{seed}"}, code="c", now=lab.now
        )

    return [result("A", 1, 10), result("B", 2, 14), result("C", 3, 7)]


def options(**choices):
    return PortfolioOptions.of(**{"window": 100, **choices})


def test_results_of_one_name_and_strategy_stay_apart(three):
    portfolio = build_portfolio(three, options())
    assert {result.name for result in three} == {"demo"}
    assert [part.id for part in portfolio.parts] == [result.id for result in three]
    assert len({part.label for part in portfolio.parts}) == 3


@pytest.mark.parametrize("method", ["equal", "inverse_volatility", "risk_parity"])
def test_shares_of_weight_and_risk_add_up(three, method):
    parts = build_portfolio(three, options(method=method)).parts
    for key in ("weight", "expected_risk", "realised_risk"):
        assert sum(getattr(part, key) for part in parts) == pytest.approx(1.0)


def test_risk_parity_expects_equal_shares(three):
    parts = build_portfolio(three, options(method="risk_parity", minimum=0.0, maximum=1.0)).parts
    assert [part.expected_risk for part in parts] == pytest.approx([1 / 3] * 3)


def test_the_combined_figures_are_those_of_the_combined_curve(three):
    portfolio = build_portfolio(three, options())
    assert portfolio.figures["total_return"] == pytest.approx((1 + portfolio.track.returns).prod() - 1)
    assert portfolio.figures["sessions"] == 400 == portfolio.parts[0].figures["sessions"]


def test_a_part_alone_is_measured_on_the_same_sessions(three):
    portfolio = build_portfolio(three, options(in_sample=True))
    alone = portfolio.parts[0].figures
    assert alone["total_return"] == pytest.approx(three[0].metrics["total_return"])
    assert alone["sharpe_ratio"] == pytest.approx(three[0].metrics["sharpe_ratio"])


def test_notes_say_from_what_the_weights_come(three):
    rolling, fitted = (build_portfolio(three, options(in_sample=flag)).notes for flag in (False, True))
    assert any("100 sessions up to it" in note for note in rolling)
    assert not any("IN-SAMPLE" in note for note in rolling)
    assert fitted[0].startswith("IN-SAMPLE")


def test_the_key_is_of_parts_and_options_not_of_their_order(three):
    one, turned = build_portfolio(three, options()), build_portfolio(three[::-1], options())
    assert one.key == turned.key
    assert one.key != build_portfolio(three[:2], options()).key
    assert one.key != build_portfolio(three, options(method="risk_parity")).key


def test_one_backtest_twice_and_one_alone_are_refused(three):
    with pytest.raises(PortfolioError, match="is named twice"):
        build_portfolio([three[0], three[0]], options())
    with pytest.raises(PortfolioError, match="needs two backtests or more, got 1"):
        build_portfolio(three[:1], options())


def test_different_scales_are_refused(three):
    page = {**three[1].page, "specification": {**three[1].specification, "annualization": 365}}
    with pytest.raises(PortfolioError, match="annualization: the backtests have 252 and 365"):
        build_portfolio([three[0], BacktestResult(page, three[1].tables)], options())


def test_the_page_stands_alone_is_the_same_every_time_and_names_every_part(three, tmp_path):
    portfolio = build_portfolio(three, options(method="risk_parity"))
    html = save_portfolio(portfolio, tmp_path).read_text()
    assert html == portfolio_html(portfolio)
    assert html.count("<script>/**") == 1
    outside = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert re.findall(r"https?://|<link|@import|url\(|\ssrc=", outside) == []
    assert all(part.label in outside for part in portfolio.parts)
    assert html.count('class="plotly-graph-div"') == 4


def test_a_scale_of_growth_names_its_marks_in_full():
    assert _growth_axis(np.array([1.0, 1.5])) == {}
    axis = _growth_axis(np.array([1.0, 40.0]))
    shown = dict(zip(axis["tickvals"], axis["ticktext"], strict=True))
    assert [shown[value] for value in (0.5, 1.0, 5.0, 50.0, 1000.0)] == ["0.5", "1", "5", "50", "1,000"]


def test_the_files_hold_what_the_page_shows(three, tmp_path):
    portfolio = build_portfolio(three, options(method="inverse_volatility"))
    folder = save_portfolio(portfolio, tmp_path).parent
    assert folder == tmp_path / "portfolios" / portfolio.key
    daily = read_parquet(folder / "daily.parquet", DAILY_SCHEMA)
    assert daily["level"].to_pylist()[-1] == pytest.approx(1 + portfolio.figures["total_return"])
    weights = read_parquet(folder / "weights.parquet", WEIGHTS_SCHEMA).to_pylist()
    assert len(weights) == 3 * len(portfolio.rebalances)
    assert json.loads((folder / "portfolio.json").read_text()) == portfolio_page(portfolio)


def test_a_part_that_never_held_anything_has_an_unknown_correlation_and_no_invented_figure(three):
    daily = three[0].tables["daily"]
    flat = daily.set_column(2, "return", [[0.0] * daily.num_rows])
    idle = BacktestResult({**three[0].page, "id": "0" * 32}, {**three[0].tables, "daily": flat})
    portfolio = build_portfolio([idle, three[1]], options())
    assert np.isnan(portfolio.correlation[0]).all()
    assert portfolio.parts[0].figures["sharpe_ratio"] is None
    assert portfolio_page(portfolio)["correlation"][0] == [None, None]
    assert "unknown" in portfolio_html(portfolio)
