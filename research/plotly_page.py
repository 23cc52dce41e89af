"""Pages of interactive figures in one HTML file that needs no network and no other file.

Belongs here: the frame of such a page, its style, tables and cards, how a plotly figure gets into it. Does not belong
here: what any page shows.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

PALETTE = ("#2b6cb0", "#d97706", "#2f9e6e", "#8b5cf6", "#d1495b", "#0e7490", "#a16207", "#64748b")
INK, SOFT, LINE = "#1d2733", "#667382", "#e3e7ec"

PLOT_CONFIG: Mapping[str, Any] = {
    "displaylogo": False,
    "responsive": True,
    # plotly 7 offers to upload the chart to its maker's cloud; a strategy must not be one click from that
    "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d"],
}


_LAYOUT: Mapping[str, Any] = {
    "template": "plotly_white",
    "margin": {"l": 56, "r": 16, "t": 34, "b": 40},  # the tools stand above the plot, the legend below it
    "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": -0.12, "yanchor": "top"},
    "font": {"family": "system-ui, Segoe UI, Arial, sans-serif", "size": 12, "color": INK},
    "colorway": list(PALETTE),
}


def page_html(title: str, parts: Iterable[str]) -> str:
    """The page: plotly's script (4.8 MB) once, the style, then the parts that are not empty."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 (half a second)

    style = "".join(
        resources.files("research").joinpath(name).read_text(encoding="utf-8")
        for name in ("tearsheet.css", "plotly_page.css")
    )
    body = "\n".join(part for part in parts if part)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>\n{style}</style>\n'
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def plot_card(title: str, figure: Any, name: str, *, height: int = 340, note: str = "", tools: bool = True) -> str:  # noqa: ANN401 (plotly is imported late)
    """A figure under its title.

    `name` is unique on the page, so that the same input gives the same page; `tools` puts plotly's buttons above it.
    """
    own = figure.layout.to_plotly_json()
    own.pop("template", None)
    figure.layout = {**_LAYOUT, "height": height}
    figure.update_layout(own)
    config = {**PLOT_CONFIG, "displayModeBar": tools}
    body = figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"plot-{name}", config=config)
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<section class="card plot"><h2>{escape(title)}</h2>{body}{below}</section>'


def table_card(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, note: str = "", kind: str = ""
) -> str:
    """A table under its title."""
    head = f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in columns)}</tr></thead>"
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    table = f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'
    return f'<section class="card {kind}"><h2>{escape(title)}</h2>{table}{below}</section>'


def text_card(title: str, sentence: str) -> str:
    """A sentence under a title: where a figure would stand, had it been measured."""
    return f'<section class="card"><h2>{escape(title)}</h2><p class="unknown">{escape(sentence)}</p></section>'


def header(title: str, facts: Iterable[str], identifier: str = "") -> str:
    """The page's first lines."""
    line = " &middot; ".join(escape(fact) for fact in facts)
    below = f'<p class="id">{escape(identifier)}</p>' if identifier else ""
    return f"<header><h1>{escape(title)}</h1><p>{line}</p>{below}</header>"


def alerts(sentences: Iterable[str]) -> str:
    """What a reader must know before the figures."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="alerts">{items}</ul>' if items else ""


def cards(figures: Iterable[tuple[str, str, str]]) -> str:
    """Headline figures: label, value, and a line below."""
    shown = "".join(
        f'<div class="card kpi"><span>{escape(label)}</span><b{_size(value)}>{escape(value)}</b>'
        f"<i>{escape(below) or '&nbsp;'}</i></div>"
        for label, value, below in figures
    )
    return f'<section class="kpis">{shown}</section>'


def _size(value: str) -> str:
    """Words need more room than figures."""
    return ' class="words"' if value.replace(" ", "").isalpha() else ""


def beside(*parts: str) -> str:
    """Parts next to each other where the window is wide enough."""
    return f'<div class="pair">{"".join(parts)}</div>'
