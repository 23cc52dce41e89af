"""The tear sheet: one result on one HTML page that needs no network and no other file.

Belongs here: the page's content and look. Does not belong here: drawing (`research.tearsheet_figures`), any formula.

Every number is the one in the result's JSON; the figures are quantstats'. An unknown figure is shown as unknown, with
its reason when the pointer rests on it.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from research.metric_catalog import METRICS, UNKNOWN, format_metric
from research.metrics import Drawdown, drawdown_periods
from research.result import BacktestResult
from research.tearsheet_figures import Curves, draw_figures
from warehouse.files import write_bytes

_CARDS = (
    "total_return",
    "annual_return",
    "sharpe_ratio",
    "sortino_ratio",
    "max_drawdown",
    "trades",
    "win_rate",
    "fees",
)

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def write_tearsheet(result: BacktestResult, path: Path) -> Path:
    """Write the page in one step; a fault while drawing or writing is raised, and leaves no file."""
    write_bytes(path, tearsheet_html(result).encode())
    return path


def tearsheet_html(result: BacktestResult) -> str:
    """The page as text; the same result gives the same text."""
    figures = draw_figures(_curves(result))
    style = resources.files("research").joinpath("tearsheet.css").read_text(encoding="utf-8")
    parts = (
        _header(result),
        _alerts(result),
        _cards(result),
        '<div class="columns"><div class="figures">',
        *(f'<figure class="card">{svg}</figure>' for svg in figures),
        "" if figures else '<p class="card note">No session had a return, so there is nothing to draw.</p>',
        '</div><div class="tables">',
        _metrics_table(result),
        _years_table(result),
        _regimes_table(result),
        _drawdowns_table(result),
        _trades_table(result),
        "</div></div>",
        _months_table(result),
        _provenance(result),
    )
    title = escape(f"{result.name} tear sheet")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>\n{style}</style>\n</head>\n'
        f"<body>\n<main>\n{chr(10).join(part for part in parts if part)}\n</main>\n</body>\n</html>\n"
    )


def _curves(result: BacktestResult) -> Curves:
    daily = result.tables["daily"]
    index = pd.DatetimeIndex(daily["session"].to_numpy().astype("datetime64[s]"))
    returns = pd.Series(daily["return"].to_numpy(), index, name=result.name)
    benchmark = None
    if daily["benchmark_return"].null_count == 0:
        name = str(result.page["benchmark"]["name"])
        benchmark = pd.Series(daily["benchmark_return"].to_numpy(), index, name=name)
    return Curves(returns, benchmark, int(result.specification["annualization"]), result.id)


def _header(result: BacktestResult) -> str:
    spec = result.specification
    symbols = ", ".join(spec["symbols"])
    facts = (
        str(spec["strategy"]).rpartition(".")[2],
        symbols,
        f"{spec['start']} to {spec['end']}",
        f"{spec['resolution']} bars",
        f"cash {float(spec['cash']):,.0f}",
        f"costs {spec['costs']['model']}",
        f"compared with {result.page['benchmark']['name']}",
    )
    line = " &middot; ".join(escape(fact) for fact in facts)
    return f'<header><h1>{escape(result.name)}</h1><p>{line}</p><p class="id">{escape(result.id)}</p></header>'


def _alerts(result: BacktestResult) -> str:
    sentences = list(result.warnings)
    events = result.page["risk_events"]
    if events["count"]:
        limits = ", ".join(f"{name} {count}" for name, count in events["by_limit"].items())
        sentences.append(f"{events['count']} risk events ({limits}); trading ended {result.page['final_halt']}.")
    override = result.page["quality_override"]
    if override:
        sentences.append(f"Data quality errors were overridden: {override['reason']}")
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="alerts">{items}</ul>' if items else ""


def _cards(result: BacktestResult) -> str:
    theirs = result.page["benchmark"]
    cards = []
    for key in _CARDS:
        below = f"vs {format_metric(key, theirs[key])}" if key in theirs else "&nbsp;"
        value = escape(format_metric(key, result.metrics[key]))
        cards.append(f'<div class="card kpi"><span>{METRICS[key].label}</span><b>{value}</b><i>{below}</i></div>')
    return f'<section class="kpis">{"".join(cards)}</section>'


def _metrics_table(result: BacktestResult) -> str:
    columns = [("Strategy", result.metrics, ""), ("Benchmark", result.page["benchmark"], "benchmark.")]
    if result.page["buy_and_hold"]["name"] != result.page["benchmark"]["name"]:
        columns.append(("Buy & hold", result.page["buy_and_hold"], "buy_and_hold."))
    rows = []
    for key, info in METRICS.items():
        cells = [_metric_cell(key, values, prefix, result.page["null_reasons"]) for _, values, prefix in columns]
        rows.append(f'<tr><td title="{escape(info.definition)}">{escape(info.label)}</td>{"".join(cells)}</tr>')
    return _card("Figures", ["", *(name for name, _, _ in columns)], rows)


def _metric_cell(key: str, values: Mapping[str, Any], prefix: str, reasons: Mapping[str, str]) -> str:
    if key not in values:
        return "<td></td>"
    if key == "max_drawdown_recovery" and values[key] is None and values.get("max_drawdown_trough"):
        return "<td>not yet</td>"
    if values[key] is None:
        return f'<td class="unknown" title="{escape(reasons.get(prefix + key, ""))}">{UNKNOWN}</td>'
    return f"<td>{escape(format_metric(key, values[key]))}</td>"


def _years_table(result: BacktestResult) -> str:
    rows = [
        _row(
            row["year"],
            _percent(row["total_return"]),
            _percent(row["benchmark_return"]),
            format_metric("sharpe_ratio", row["sharpe_ratio"]),
            _percent(row["max_drawdown"]),
        )
        for row in result.page["by_year"]
    ]
    return _card("By year", ["Year", "Strategy", "Benchmark", "Sharpe", "Drawdown"], rows)


def _regimes_table(result: BacktestResult) -> str:
    rows = [
        _row(
            str(row["regime"]).replace("_", " "),
            f"{100 * row['share']:.0f} %",
            _percent(row["total_return"]),
            _percent(row["benchmark_return"]),
            format_metric("sharpe_ratio", row["sharpe_ratio"]),
        )
        for row in result.page["by_regime"]
        if row["sessions"]
    ]
    note = "Benchmark against its 200-day mean; its 30-day volatility against its median; at the close before."
    return _card("By market regime", ["Regime", "Time", "Strategy", "Benchmark", "Sharpe"], rows, note)


def _drawdowns_table(result: BacktestResult) -> str:
    daily = result.tables["daily"]
    index = pd.DatetimeIndex(daily["session"].to_numpy().astype("datetime64[s]"))
    closes = pd.Series(daily["equity"].to_numpy(), index)
    worst = drawdown_periods(closes, float(result.specification["cash"]))[:10]
    return _card("Worst drawdowns", ["Peak", "Bottom", "Recovered", "Depth", "Days"], map(_drawdown_row, worst))


def _drawdown_row(one: Drawdown) -> str:
    return _row(one.peak, one.trough, one.recovery or "not yet", _percent(one.depth), one.days)


def _trades_table(result: BacktestResult) -> str:
    """The five best and the five worst closed trades."""
    trades = result.tables["trades"].sort_by([("net_profit", "descending"), ("entry_ts", "ascending")])
    shown = (
        trades if trades.num_rows <= 10 else pa.concat_tables([trades.slice(0, 5), trades.slice(trades.num_rows - 5)])
    )
    rows = [
        _row(
            trade["symbol"],
            trade["side"],
            trade["entry_ts"].date(),
            trade["exit_ts"].date(),
            format_metric("net_profit", trade["net_profit"]),
        )
        for trade in shown.to_pylist()
    ]
    title = "Trades" if trades.num_rows <= 10 else f"Best and worst of {trades.num_rows} trades"
    return _card(title, ["Symbol", "Side", "Entry", "Exit", "Net profit"], rows) if rows else ""


def _months_table(result: BacktestResult) -> str:
    returns = {row["month"]: row["total_return"] for row in result.page["by_month"]}
    rows = []
    for row in result.page["by_year"]:
        cells = [_heat(returns.get(f"{row['year']}-{month:02d}")) for month in range(1, 13)]
        rows.append(f"<tr><td>{row['year']}</td>{''.join(cells)}{_heat(row['total_return'])}</tr>")
    return _card("Monthly returns, %", ["Year", *_MONTHS, "Year"], rows, kind="months")


def _heat(value: float | None) -> str:
    """A cell in green or red, full colour at 20 %; empty where there was no session."""
    if value is None:
        return "<td></td>"
    hue, strength = (145, value) if value >= 0 else (5, -value)
    light = 97.0 - 40.0 * min(strength / 0.2, 1.0)
    return f'<td style="background:hsl({hue} 55% {light:.0f}%)">{100 * value:z.1f}</td>'


def _provenance(result: BacktestResult) -> str:
    spec = result.specification
    environment = result.page["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items() if version)
    parameters = ", ".join(f"{key} = {value}" for key, value in spec["params"].items()) or "the strategy's defaults"
    facts = {
        "Strategy": spec["strategy"],
        "Parameters": parameters,
        "Limits": ", ".join(f"{k} = {v}" for k, v in spec["limits"].items() if v is not None)
        or "none in the experiment",
        "Data versions": ", ".join(f"{name} {version[:12]}" for name, version in result.page["data_versions"].items()),
        "Code version": result.page["code_version"],
        "Engine": result.engine,
        "Made": f"{result.page['created_at']} by Python {environment['python']} on {environment['platform']}",
        "Packages": packages,
    }
    rows = [f"<tr><td>{name}</td><td>{escape(str(value))}</td></tr>" for name, value in facts.items()]
    return _card("What was run", [], rows, kind="provenance")


def _card(title: str, columns: Sequence[str], rows: Iterable[str], note: str = "", kind: str = "") -> str:
    head = f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in columns)}</tr></thead>" if columns else ""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    body = "".join(rows)
    table = f"<table>{head}<tbody>{body}</tbody></table>"
    return f'<section class="card {kind}"><h2>{escape(title)}</h2>{table}{below}</section>'


def _row(*cells: object) -> str:
    return f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)}</tr>"


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:z,.1f} %"
