"""The portfolio on one HTML page: curves, weights, risk, correlation, figures.

Belongs here: the page's content. Does not belong here: its frame (`research.plotly_page`), any formula.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from research.metric_catalog import METRICS, UNKNOWN, format_metric
from research.plotly_page import INK, PALETTE, alerts, beside, cards, header, page_html, plot_card, table_card
from research.portfolio.portfolio import Part, Portfolio

METHODS = {"equal": "equal weights", "inverse_volatility": "inverse volatility", "risk_parity": "risk parity"}
SHOWN = (
    "total_return", "annual_return", "volatility", "sharpe_ratio", "sortino_ratio", "max_drawdown", "calmar_ratio",
    "probabilistic_sharpe_ratio", "value_at_risk_95", "worst_day", "sessions",
)  # fmt: skip
_CARDS = ("total_return", "annual_return", "sharpe_ratio", "max_drawdown", "volatility")


def portfolio_html(portfolio: Portfolio) -> str:
    """The page as text; the same portfolio gives the same text."""
    measured = portfolio.track.returns.index
    facts = (
        METHODS[portfolio.options.method],
        f"{len(portfolio.parts)} backtests",
        f"{measured[0].date()} to {measured[-1].date()}",
        "in-sample" if portfolio.options.in_sample else f"window of {portfolio.options.window} sessions",
        f"weights between {portfolio.options.minimum:g} and {portfolio.options.maximum:g}",
    )
    return page_html(
        f"Portfolio {portfolio.key}",
        (
            header("Portfolio of backtests", facts, portfolio.key),
            alerts(portfolio.notes),
            cards(_headlines(portfolio)),
            plot_card("Growth of 1", _growth(portfolio), "growth", height=400),
            beside(
                plot_card("Weights held", _held(portfolio), "held"),
                plot_card("Share of the risk", _risk(portfolio), "risk", note=_RISK_NOTE),
            ),
            beside(
                plot_card("Correlation of daily returns", _correlation(portfolio), "correlation"),
                table_card("Weights and risk", WEIGHT_COLUMNS, weight_rows(portfolio)),
            ),
            table_card("Figures on the measured sessions", *figure_table(portfolio)),
        ),
    )


_RISK_NOTE = "Expected: with the last weights and the covariance they came from. Realised: with the weights held."
WEIGHT_COLUMNS = ("backtest", "weight", "expected risk", "realised risk")


def weight_rows(portfolio: Portfolio) -> list[tuple[str, ...]]:
    """A line a part: weight set last, share of the risk expected and realised."""
    return [
        (part.label, _percent(part.weight), _percent(part.expected_risk), _percent(part.realised_risk))
        for part in portfolio.parts
    ]


def figure_table(portfolio: Portfolio) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows: the portfolio, then each part alone, on the same sessions."""
    columns = ("figure", "portfolio", *(part.label for part in portfolio.parts))
    sources = (portfolio.figures, *(part.figures for part in portfolio.parts))
    return columns, [
        (METRICS[key].label, *(format_metric(key, figures.get(key)) for figures in sources)) for key in SHOWN
    ]


def correlation_rows(portfolio: Portfolio) -> list[tuple[str, ...]]:
    """A line a part: its label, then its correlation with each."""
    return [
        (part.label, *(UNKNOWN if np.isnan(value) else f"{value:.2f}" for value in row))
        for part, row in zip(portfolio.parts, portfolio.correlation, strict=True)
    ]


def _headlines(portfolio: Portfolio) -> Iterator[tuple[str, str, str]]:
    for key in _CARDS:
        alone = [part.figures[key] for part in portfolio.parts if part.figures.get(key) is not None]
        spread = f"alone {format_metric(key, min(alone))} to {format_metric(key, max(alone))}" if alone else ""
        yield METRICS[key].label, format_metric(key, portfolio.figures.get(key)), spread


def _growth(portfolio: Portfolio) -> Any:  # noqa: ANN401 (plotly is imported late)
    from plotly import graph_objects as go  # noqa: PLC0415

    figure, days = go.Figure(), portfolio.track.returns.index
    for part, colour in _coloured(portfolio):
        alone = (1.0 + portfolio.returns[part.id].loc[days]).cumprod()
        figure.add_scatter(x=days, y=alone.to_numpy(), name=part.label, line={"color": colour, "width": 1.2})
    combined = (1.0 + portfolio.track.returns).cumprod().to_numpy()
    figure.add_scatter(x=days, y=combined, name="portfolio", line={"color": INK, "width": 2.4})
    figure.update_layout(hovermode="x unified", yaxis=_growth_axis(combined))
    return figure


def _held(portfolio: Portfolio) -> Any:  # noqa: ANN401
    from plotly import graph_objects as go  # noqa: PLC0415

    figure, held = go.Figure(), portfolio.track.held
    for part, colour in _coloured(portfolio):
        figure.add_scatter(
            x=held.index, y=held[part.id].to_numpy(), name=part.label, stackgroup="all",
            line={"color": colour, "width": 0.5},
        )  # fmt: skip
    figure.update_layout(hovermode="x unified", yaxis={"tickformat": ".0%", "range": [0, 1]})
    return figure


def _risk(portfolio: Portfolio) -> Any:  # noqa: ANN401
    from plotly import graph_objects as go  # noqa: PLC0415

    labels = _two_lines(portfolio)
    series = {
        "weight": [part.weight for part in portfolio.parts],
        "expected risk": [part.expected_risk for part in portfolio.parts],
        "realised risk": [part.realised_risk for part in portfolio.parts],
    }
    figure = go.Figure([go.Bar(name=name, x=labels, y=values) for name, values in series.items()])
    figure.update_layout(barmode="group", yaxis={"tickformat": ".0%"})
    figure.update_layout(legend={"y": -0.25})
    return figure


def _correlation(portfolio: Portfolio) -> Any:  # noqa: ANN401
    from plotly import graph_objects as go  # noqa: PLC0415

    labels = _two_lines(portfolio)
    values = [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in portfolio.correlation]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[part.id[:8] for part in portfolio.parts],
            y=labels,
            zmin=-1,
            zmax=1,
            texttemplate="%{z:.2f}",
            colorscale=_DIVERGING,
            colorbar={"thickness": 10, "outlinewidth": 0},
        )
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def _two_lines(portfolio: Portfolio) -> list[str]:
    """Labels that stand upright below a bar."""
    return [part.label.replace(" ", "<br>") for part in portfolio.parts]


def _growth_axis(levels: np.ndarray) -> dict[str, Any]:
    """A logarithmic scale where the curve's top is several times its bottom: equal growth is then equally steep.

    Plotly would label 0.5 and 5 and 50 all as 5.
    """
    if not levels.max() > 3.0 * levels.min() > 0.0:
        return {}
    ticks = [digit * 10.0**power for power in range(-4, 7) for digit in (1, 2, 5)]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,g}" for tick in ticks]}


_DIVERGING = [[0.0, "#d1495b"], [0.5, "#ffffff"], [1.0, "#2b6cb0"]]


def _coloured(portfolio: Portfolio) -> Iterator[tuple[Part, str]]:
    for at, part in enumerate(portfolio.parts):
        yield part, PALETTE[at % len(PALETTE)]


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:z.1f} %"
