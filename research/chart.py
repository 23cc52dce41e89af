"""The price chart of a backtest: candles with the fills on them, equity and drawdown below, zoomable.

Belongs here: a plotly page that needs no network and no other file. Does not belong here: the tear sheet, figures.

Prices are those the strategy saw (the experiment's `adjust`), so that a fill sits on its candle. Long intraday series
are drawn as one candle a session, which the page says: a browser cannot show half a million candles.
"""

from collections.abc import Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from research.errors import ResearchError
from research.plotly_page import PLOT_CONFIG
from research.result import BacktestResult
from warehouse.files import write_bytes

MOST_CANDLES = 20_000
"""A symbol with more bars than this is drawn by session."""

_UP, _DOWN, _BUY, _SELL, _LINE = "#2f9e6e", "#d1495b", "#1b7f4d", "#b3202e", "#2b6cb0"


_CONFIG = {"scrollZoom": True, **PLOT_CONFIG}


def write_chart(result: BacktestResult, bars: Mapping[str, pa.Table], path: Path) -> Path:
    """Write the page in one step.

    Args:
        result: whose fills and equity are drawn.
        bars: `BARS_SCHEMA` by symbol, as the run got them.
        path: the HTML file.

    Raises:
        ResearchError: no symbol has bars.
    """
    write_bytes(path, chart_html(result, bars).encode())
    return path


def chart_html(result: BacktestResult, bars: Mapping[str, pa.Table]) -> str:
    """The page as text, plotly's script (4.8 MB) inside; the same result gives the same text."""
    drawn = {symbol: table for symbol, table in bars.items() if table.num_rows}
    if not drawn:
        raise ResearchError(f"bars: none of {', '.join(bars) or 'no symbols'} has a bar to draw.")
    figure = _figure(result, drawn)
    body = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        div_id=f"chart-{result.id}",
        config=_CONFIG,
        default_height="100%",
    )
    title = escape(f"{result.name} chart")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        "<style>html, body { margin: 0; height: 100%; }</style>\n</head>\n"
        f'<body style="font-family: system-ui, Arial, sans-serif">{body}</body>\n</html>\n'
    )


def _figure(result: BacktestResult, bars: Mapping[str, pa.Table]) -> Any:  # noqa: ANN401 (plotly is imported late)
    from plotly.subplots import make_subplots  # noqa: PLC0415

    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, row_heights=[0.62, 0.22, 0.16], vertical_spacing=0.025)
    owners: list[str | None] = []
    for symbol, table in bars.items():
        traces = _symbol_traces(symbol, table, result.tables["fills"])
        owners += [symbol] * len(traces)
        figure.add_traces(traces, rows=[1] * len(traces), cols=[1] * len(traces))
    account = _account_traces(result)
    owners += [None] * len(account)
    figure.add_traces(account, rows=[2, 2, 3], cols=[1, 1, 1])
    first = next(iter(bars))
    for trace, owner in zip(figure.data, owners, strict=True):
        trace.visible = owner in (None, first)
    _lay_out(figure, result, bars, owners)
    return figure


def _lay_out(figure: Any, result: BacktestResult, bars: Mapping[str, pa.Table], owners: list[str | None]) -> None:  # noqa: ANN401
    spec = result.specification
    by_session = [symbol for symbol, table in bars.items() if table.num_rows > MOST_CANDLES]
    note = f" &middot; {', '.join(by_session)}: one candle a session" if by_session else ""
    figure.update_layout(
        title={
            "text": f"<b>{result.name}</b>   {spec['start']} to {spec['end']}{note}",
            "font": {"size": 15},
            "x": 0.01,
            "y": 0.985,
            "yanchor": "top",
        },
        template="plotly_white",
        margin={"l": 64, "r": 24, "t": 92, "b": 32},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
        hovermode="x unified",
        dragmode="zoom",
        updatemenus=[_scale_menu(), *([_symbol_menu(list(bars), owners)] if len(bars) > 1 else [])],
    )
    figure.update_xaxes(rangeslider_visible=False, showspikes=True, spikemode="across", spikethickness=1)
    if spec["resolution"] == "1d":
        figure.update_xaxes(rangebreaks=[{"bounds": ["sat", "mon"]}])
    figure.update_xaxes(rangeselector=_range_buttons(), row=1, col=1)
    figure.update_yaxes(title_text=f"Price, adjusted: {spec['adjust']}", row=1, col=1)
    figure.update_yaxes(title_text="Equity", row=2, col=1)
    figure.update_yaxes(title_text="Drawdown", tickformat=".0%", row=3, col=1)


def _scale_menu() -> dict[str, Any]:
    """Prices on a linear or a logarithmic scale: a stock that grew twentyfold is flat on one for years."""
    buttons = [
        {"label": label, "method": "relayout", "args": [{"yaxis.type": kind, "yaxis.autorange": True}]}
        for label, kind in (("linear", "linear"), ("log", "log"))
    ]
    return {
        "buttons": buttons, "type": "buttons", "direction": "right", "showactive": True,
        "x": 0.26, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "pad": {"t": 0, "b": 0}, "font": {"size": 11},
    }  # fmt: skip


def _symbol_menu(symbols: list[str], owners: list[str | None]) -> dict[str, Any]:
    buttons = [
        {"label": one, "method": "update", "args": [{"visible": [owner in (None, one) for owner in owners]}]}
        for one in symbols
    ]
    return {"buttons": buttons, "x": 0.0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "direction": "down"}


def _range_buttons() -> dict[str, Any]:
    steps = [(3, "month", "3m"), (1, "year", "1y"), (5, "year", "5y")]
    buttons: list[dict[str, Any]] = [
        {"count": count, "step": step, "label": label, "stepmode": "backward"} for count, step, label in steps
    ]
    return {"buttons": [*buttons, {"step": "all", "label": "all"}], "x": 0.1, "y": 1.02, "yanchor": "bottom"}


def _symbol_traces(symbol: str, table: pa.Table, fills: pa.Table) -> list[Any]:
    from plotly import graph_objects as go  # noqa: PLC0415

    candles = _by_session(table) if table.num_rows > MOST_CANDLES else table
    price = go.Candlestick(
        x=_stamps(candles["ts"]),
        **{name: candles[name].to_numpy() for name in ("open", "high", "low", "close")},
        name=symbol,
        increasing={"line": {"color": _UP, "width": 1}, "fillcolor": _UP},
        decreasing={"line": {"color": _DOWN, "width": 1}, "fillcolor": _DOWN},
    )
    mine = fills.filter(pc.equal(fills["symbol"], symbol))
    return [price, *(_markers(mine, side) for side in ("buy", "sell"))]


def _markers(fills: pa.Table, side: str) -> Any:  # noqa: ANN401 (plotly is imported late)
    from plotly import graph_objects as go  # noqa: PLC0415

    rows = fills.filter(pc.equal(fills["side"], side))
    buying = side == "buy"
    return go.Scatter(
        x=_stamps(rows["ts"]),
        y=rows["price"].to_numpy(),
        mode="markers",
        name="Buys" if buying else "Sells",
        marker={
            "symbol": "triangle-up" if buying else "triangle-down",
            "size": 11,
            "color": _BUY if buying else _SELL,
            "line": {"color": "white", "width": 1},
        },
        customdata=np.column_stack([rows["quantity"].to_numpy(), rows["commission"].to_numpy()]),
        hovertemplate=f"{side} %{{customdata[0]:,.0f}} at %{{y:,.4f}}, fees %{{customdata[1]:,.2f}}<extra></extra>",
    )


def _account_traces(result: BacktestResult) -> list[Any]:
    from plotly import graph_objects as go  # noqa: PLC0415

    daily = result.tables["daily"]
    sessions = daily["session"].to_numpy().astype("datetime64[D]")
    days = _closing_stamps(result, sessions)
    equity, start = daily["equity"].to_numpy(), float(result.specification["cash"])
    theirs = daily["benchmark_level"].to_numpy() * start
    drawdown = equity / np.maximum(np.maximum.accumulate(equity), start) - 1.0
    name = str(result.page["benchmark"]["name"])
    return [
        go.Scatter(x=days, y=equity, name="Equity", line={"color": _LINE, "width": 1.5}),
        go.Scatter(x=days, y=theirs, name=f"Held: {name}", line={"color": "#9aa5b1", "width": 1}),
        go.Scatter(
            x=days, y=drawdown, name="Drawdown", fill="tozeroy", line={"color": _DOWN, "width": 1}, showlegend=False
        ),
    ]


def _closing_stamps(result: BacktestResult, sessions: np.ndarray) -> list[datetime]:
    """The last stamp of each session, so that the curves end where the session's last candle does."""
    equity = result.tables["equity"]
    frame = pd.DataFrame({"session": equity["session"].to_numpy().astype("datetime64[D]"), "ts": _stamps(equity["ts"])})
    return list(frame.groupby("session")["ts"].last().loc[sessions])


def _by_session(table: pa.Table) -> pa.Table:
    rules = [("ts", "last"), ("open", "first"), ("high", "max"), ("low", "min"), ("close", "last")]
    grouped = table.group_by("session", use_threads=False).aggregate(rules)
    return grouped.rename_columns({f"{name}_{rule}": name for name, rule in rules})


def _stamps(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.timestamp("us", tz="UTC")).to_numpy(), dtype="datetime64[us]")
