"""The chart stands alone, has every fill on it, and offers no upload."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest

from research import chart
from research.chart import chart_html, write_chart
from research.errors import ResearchError


def figure(html):
    """The traces and the layout that the page hands to plotly."""
    start = html.rindex("Plotly.newPlot(")
    decoder = json.JSONDecoder()
    data, end = decoder.raw_decode(html, html.index("[", start))
    layout, end = decoder.raw_decode(html, html.index("{", end))
    config, _ = decoder.raw_decode(html, html.index("{", end))
    return data, layout, config


def values(encoded):
    import base64

    if isinstance(encoded, list):
        return encoded
    return list(np.frombuffer(base64.b64decode(encoded["bdata"]), encoded["dtype"]))


def test_the_page_brings_its_script_and_links_to_nothing(lab, tmp_path):
    bars = {"A": lab.bars("A", 1, 60)}

    html = write_chart(lab.result(sessions=60), bars, tmp_path / "chart.html").read_text()

    assert re.findall(r"<script[^>]*\ssrc=", html) == []
    assert re.findall(r"<link", html) == []
    assert len(html) > 4_000_000


def test_nobody_can_upload_the_chart_with_a_click(lab):
    _, _, config = figure(chart_html(lab.result(sessions=60), {"A": lab.bars("A", 1, 60)}))

    assert "sendChartToCloud" in config["modeBarButtonsToRemove"]
    assert config["scrollZoom"] is True


def test_every_fill_is_a_marker_at_its_price(lab):
    result = lab.result(sessions=200)

    data, _, _ = figure(chart_html(result, {"A": lab.bars("A", 1, 200)}))

    fills = result.tables["fills"].to_pylist()
    for side, name in (("buy", "Buys"), ("sell", "Sells")):
        trace = next(trace for trace in data if trace["name"] == name)
        assert values(trace["y"]) == [fill["price"] for fill in fills if fill["side"] == side]
    assert next(trace for trace in data if trace["type"] == "candlestick")["name"] == "A"


def test_equity_and_drawdown_are_the_results(lab):
    result = lab.result(sessions=200)

    data, _, _ = figure(chart_html(result, {"A": lab.bars("A", 1, 200)}))

    traces = {trace["name"]: trace for trace in data}
    assert values(traces["Equity"]["y"]) == result.tables["daily"]["equity"].to_pylist()
    assert min(values(traces["Drawdown"]["y"])) == pytest.approx(result.metrics["max_drawdown"])


def test_each_symbol_has_a_menu_entry_that_shows_its_candles_and_hides_the_others(lab):
    data, layout, _ = figure(chart_html(lab.result(sessions=60), {s: lab.bars(s, 1, 60) for s in ("A", "B")}))

    buttons = layout["updatemenus"][1]["buttons"]
    assert [button["label"] for button in buttons] == ["A", "B"]
    shown = [trace["name"] for trace, on in zip(data, buttons[1]["args"][0]["visible"], strict=True) if on]
    assert "B" in shown
    assert "A" not in shown
    assert {"Equity", "Drawdown"} <= set(shown)


def test_prices_can_be_put_on_a_logarithmic_scale(lab):
    _, layout, _ = figure(chart_html(lab.result(sessions=60), {"A": lab.bars("A", 1, 60)}))

    assert [menu["buttons"][1]["args"][0]["yaxis.type"] for menu in layout["updatemenus"]] == ["log"]


def test_a_series_too_long_for_a_browser_is_drawn_by_session_and_says_so(lab, monkeypatch):
    monkeypatch.setattr(chart, "MOST_CANDLES", 50)
    bars = lab.bars("A", 1, 60)

    data, layout, _ = figure(chart_html(lab.result(sessions=60), {"A": bars}))

    assert "one candle a session" in layout["title"]["text"]
    assert values(data[0]["close"]) == bars["close"].to_pylist()


def test_bars_of_a_session_make_one_candle():
    table = pa.table(
        {
            "ts": pa.array([1, 2, 3], pa.timestamp("us", "UTC")),
            "session": pa.array([0, 0, 1], pa.int32()).cast(pa.date32()),
            "open": [1.0, 2.0, 5.0], "high": [3.0, 9.0, 6.0], "low": [0.5, 1.0, 4.0], "close": [2.0, 4.0, 5.5],
        }
    )  # fmt: skip

    first = chart._by_session(table).to_pylist()[0]

    assert (first["open"], first["high"], first["low"], first["close"]) == (1.0, 9.0, 0.5, 4.0)


def test_a_dangerous_name_is_text(lab):
    html = chart_html(lab.result(sessions=60), {"</script><script>alert(1)//": lab.bars("A", 1, 60)})

    assert "<script>alert(1)" not in html


def test_no_bars_at_all_is_an_error(lab):
    with pytest.raises(ResearchError, match="none of A has a bar to draw"):
        chart_html(lab.result(sessions=60), {"A": lab.bars("A", 1, 60).slice(0, 0)})
