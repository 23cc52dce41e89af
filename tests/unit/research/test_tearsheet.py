"""The tear sheet stands alone, shows the result's own figures, and never hides a failure."""

import re
import socket
from dataclasses import replace

import pytest

from research import tearsheet_figures
from research.evaluation import evaluate
from research.metric_catalog import METRICS
from research.result import BacktestResult
from research.tearsheet import tearsheet_html, write_tearsheet


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a report opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def references(html):
    """What a browser would fetch or follow: attributes and style sheets, not names inside SVG metadata."""
    found = re.findall(r'(?:src|href|action|data)\s*=\s*"([^"]*)"', html) + re.findall(r"url\(([^)]*)\)", html)
    return {target for target in found if not target.startswith("#")}


@pytest.fixture(scope="module")
def sheet(lab):
    """A result with a benchmark and its page, drawn once: it takes a second."""
    result = lab.result(benchmark="B", sessions=300)
    return result, tearsheet_html(result)


@pytest.mark.thorough
def test_the_page_needs_no_network_and_no_other_file_and_is_the_same_every_time(sheet, tmp_path, no_network):
    result, drawn_before = sheet

    html = write_tearsheet(result, tmp_path / "tearsheet.html").read_text()

    assert references(html) == set()
    assert "<script" not in html
    assert "@import" not in html
    assert html.count("<svg") >= 8
    assert html == drawn_before


def test_the_page_shows_the_results_own_figures(sheet):
    result, html = sheet

    assert f"<b>{100 * result.metrics['total_return']:.2f} %</b>" in html
    assert f"<b>{result.metrics['sharpe_ratio']:.2f}</b>" in html
    assert all(info.label.replace("&", "&amp;") in html for info in METRICS.values())
    assert result.id in html
    assert "<td>Engine</td><td>vanilla</td>" in html


def test_an_unknown_figure_is_shown_as_unknown_with_its_reason(lab):
    result = lab.result(sessions=30)
    reason = "fewer than 4 daily returns"
    page = {
        **result.page,
        "metrics": {**result.metrics, "kurtosis": None},
        "null_reasons": {**result.page["null_reasons"], "kurtosis": reason},
    }
    assert f'<td class="unknown" title="{reason}">unknown</td>' in tearsheet_html(BacktestResult(page, result.tables))


def test_warnings_are_at_the_top_and_nobodys_markup_gets_through(lab):
    bars = {"A": lab.bars("A", 1, 40)}
    output = replace(lab.output(bars["A"]), warnings=("costs: none, <script>alert(1)</script>",))
    result = evaluate(lab.experiment(), output, bars, None, {}, code="c", now=lab.now)

    html = tearsheet_html(result)

    assert "<li>costs: none, &lt;script&gt;alert(1)&lt;/script&gt;</li>" in html
    assert html.index("costs: none") < html.index("Figures")


def test_a_month_without_a_session_is_empty_not_zero(lab):
    html = tearsheet_html(lab.result(sessions=30))

    row = re.search(r"<tr><td>2001</td>((?:<td[^>]*>[^<]*</td>){13})</tr>", html).group(1)
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", row)
    assert cells[2:12] == [""] * 10
    assert all(cells[:2])


@pytest.mark.parametrize("sessions", [2, 5, 70])
def test_short_backtests_have_a_page_too(lab, sessions):
    assert "</html>" in tearsheet_html(lab.result(sessions=sessions))


def test_a_run_without_any_return_says_so_instead_of_drawing(lab):
    result = lab.result(sessions=30)
    daily = result.tables["daily"]
    flat = daily.set_column(2, "return", [[0.0] * daily.num_rows])

    html = tearsheet_html(BacktestResult(result.page, {**result.tables, "daily": flat}))

    assert "nothing to draw" in html
    assert "<svg" not in html


def test_a_failure_while_drawing_is_raised_and_leaves_no_file(lab, tmp_path, monkeypatch):
    def fail(*_args):
        raise RuntimeError("cannot draw")

    monkeypatch.setattr(tearsheet_figures, "_chosen", fail)

    with pytest.raises(RuntimeError, match="cannot draw"):
        write_tearsheet(lab.result(sessions=30), tmp_path / "tearsheet.html")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error(lab, tmp_path):
    (tmp_path / "taken").write_text("a file")

    with pytest.raises(OSError, match="taken"):
        write_tearsheet(lab.result(sessions=30), tmp_path / "taken" / "tearsheet.html")


def test_drawing_leaves_matplotlib_as_it_was_and_no_figure_open(lab, capfd):
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    before = dict(mpl.rcParams)

    tearsheet_html(lab.result(sessions=70))

    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
    assert capfd.readouterr() == ("", "")
