"""The figures of a study's report, with plotly.

Belongs here: history, importances, contour, parallel coordinates, out-of-sample equity. Does not belong here: the page
(see `report`), what a figure is made from (see `report_view`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from research.plotly_page import INK, PALETTE, SOFT
from research.study.report_view import Curve, StudyView, TrialView

_MOST_DOTS = 5_000  # a browser draws more of them slowly, and nobody can tell them apart
_MOST_LINES = 1_500
_GRID = 40
_SCALE = "Viridis"


def history(view: StudyView) -> Any:  # noqa: ANN401 (plotly is imported late)
    """Every trial's value in the order of the trials, and the best so far."""
    from plotly import graph_objects as go  # noqa: PLC0415

    known = view.known
    numbers, values = [trial.number for trial in known], np.array([trial.value for trial in known], dtype=float)
    best = (np.maximum if view.maximise else np.minimum).accumulate(values)
    every = slice(None, None, max(1, -(-len(known) // _MOST_DOTS)))
    figure = go.Figure()
    figure.add_scatter(
        x=numbers[every], y=values[every], mode="markers", name="trial", text=[_params(one) for one in known[every]],
        marker={"size": 5, "color": PALETTE[0], "opacity": 0.55}, hovertemplate="%{text}<br>%{y:.4g}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(x=numbers, y=best, name="best so far", line={"color": PALETTE[1], "width": 2, "shape": "hv"})
    figure.update_layout(xaxis_title="trial", yaxis_title=view.objective, legend={"y": -0.2})
    return figure


def importance_bars(shares: Mapping[str, float]) -> Any:  # noqa: ANN401
    """The greatest at the top."""
    from plotly import graph_objects as go  # noqa: PLC0415

    names = list(shares)[::-1]
    values = [shares[name] for name in names]
    text = [f"{100 * value:.0f} %" for value in values]
    figure = go.Figure(go.Bar(x=values, y=names, orientation="h", text=text, marker={"color": PALETTE[0]}))
    figure.update_layout(xaxis={"tickformat": ".0%", "range": [0, 1.05]}, yaxis={"automargin": True})
    return figure


def contour(view: StudyView, x: str, y: str) -> Any:  # noqa: ANN401
    """The value over two parameters: a surface between trials where both are numbers, else a mean for each pair."""
    from plotly import graph_objects as go  # noqa: PLC0415

    known = [trial for trial in view.known if x in trial.params and y in trial.params]
    surface = _surface(known, x, y) if _numeric(known, x) and _numeric(known, y) else _pairs(known, x, y)
    bar = {"thickness": 10, "outlinewidth": 0, "title": {"text": view.objective, "side": "right"}}
    shared = {"colorscale": _SCALE, "reversescale": not view.maximise, "colorbar": bar}
    if surface is None:
        figure = go.Figure()
    elif surface["kind"] == "contour":
        figure = go.Figure(go.Contour(**surface["data"], **shared, ncontours=16, line={"width": 0.4}))
    else:
        figure = go.Figure(go.Heatmap(**surface["data"], **shared))
    dots = known[:: max(1, -(-len(known) // _MOST_DOTS))]
    figure.add_scatter(
        x=[_shown(trial.params[x]) for trial in dots], y=[_shown(trial.params[y]) for trial in dots], mode="markers",
        name="trial", text=[f"{trial.value:.4g}" for trial in dots], showlegend=False,
        marker={"size": 4, "color": "rgba(255,255,255,0.55)", "line": {"width": 0.6, "color": "rgba(0,0,0,0.45)"}},
        hovertemplate=f"{x} %{{x}}, {y} %{{y}}<br>%{{text}}<extra></extra>",
    )  # fmt: skip
    best = view.best_trial
    if best is not None and x in best.params and y in best.params:
        figure.add_scatter(
            x=[_shown(best.params[x])], y=[_shown(best.params[y])], mode="markers", name="best", showlegend=False,
            marker={"size": 14, "symbol": "star", "color": "#ffffff", "line": {"width": 1.5, "color": "#b3202e"}},
        )  # fmt: skip
    figure.update_layout(xaxis_title=x, yaxis_title=y)
    return figure


def _surface(known: Sequence[TrialView], x: str, y: str) -> dict[str, Any] | None:
    """Linear between the trials, on a grid; nothing outside of them. None where they lie on one line."""
    from scipy.interpolate import griddata  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415
    from scipy.spatial import QhullError  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415

    means: dict[tuple[float, float], list[float]] = {}
    for trial in known:
        means.setdefault((float(trial.params[x]), float(trial.params[y])), []).append(float(trial.value or 0.0))
    points = np.array(list(means))
    values = np.array([np.mean(found) for found in means.values()])
    if len(points) < 4 or (np.ptp(points, axis=0) == 0).any():
        return None
    columns, rows = (np.linspace(points[:, at].min(), points[:, at].max(), _GRID) for at in (0, 1))
    try:
        grid = griddata(points, values, tuple(np.meshgrid(columns, rows)), method="linear", rescale=True)
    except QhullError:
        return None
    return {"kind": "contour", "data": {"x": columns, "y": rows, "z": _gaps(grid)}}


def _pairs(known: Sequence[TrialView], x: str, y: str) -> dict[str, Any]:
    columns, rows = (_levels(known, name) for name in (x, y))
    found: dict[tuple[Any, Any], list[float]] = {}
    for trial in known:
        found.setdefault((_shown(trial.params[x]), _shown(trial.params[y])), []).append(float(trial.value or 0.0))
    cells = [[float(np.mean(found[c, r])) if (c, r) in found else None for c in columns] for r in rows]
    return {"kind": "heatmap", "data": {"x": columns, "y": rows, "z": cells}}


def parallel(view: StudyView, names: Sequence[str]) -> Any:  # noqa: ANN401
    """A line a trial through its parameters to its value."""
    from plotly import graph_objects as go  # noqa: PLC0415

    known = [trial for trial in view.known if all(name in trial.params for name in names)]
    lines = known[:: max(1, -(-len(known) // _MOST_LINES))]
    values = [float(trial.value or 0.0) for trial in lines]
    dimensions = [_dimension(lines, name) for name in names]
    dimensions.append({"label": view.objective, "values": values})
    line = {"color": values, "colorscale": _SCALE, "reversescale": not view.maximise, "showscale": False}
    figure = go.Figure(go.Parcoords(dimensions=dimensions, line=line, labelfont={"size": 12}))
    figure.update_layout(margin={"l": 70, "r": 50, "t": 56, "b": 24})
    return figure


def _dimension(lines: Sequence[TrialView], name: str) -> dict[str, Any]:
    if _numeric(lines, name):
        return {"label": name, "values": [float(trial.params[name]) for trial in lines]}
    levels = _levels(lines, name)
    places = [levels.index(_shown(trial.params[name])) for trial in lines]
    return {"label": name, "values": places, "tickvals": list(range(len(levels))), "ticktext": levels}


def out_of_sample(curves: Sequence[Curve]) -> Any:  # noqa: ANN401
    """Growth of 1 of each curve; a dotted line where a window begins."""
    from plotly import graph_objects as go  # noqa: PLC0415

    figure = go.Figure()
    for at, curve in enumerate(curves):
        levels = (1.0 + curve.returns).cumprod()
        figure.add_scatter(
            x=levels.index, y=levels.to_numpy(), name=curve.name, line={"color": PALETTE[at], "width": 1.8}
        )
        for start in curve.starts:
            figure.add_vline(x=start, line={"color": SOFT, "width": 0.6, "dash": "dot"})
    figure.add_hline(y=1.0, line={"color": INK, "width": 0.6})
    figure.update_layout(hovermode="x unified", yaxis_title="growth of 1", showlegend=True)
    return figure


def _numeric(trials: Sequence[TrialView], name: str) -> bool:
    values = [trial.params[name] for trial in trials]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _levels(trials: Sequence[TrialView], name: str) -> list[Any]:
    values = {trial.params[name] for trial in trials}
    if _numeric(trials, name):
        return sorted(values)
    return sorted({_shown(value) for value in values})


def _shown(value: Any) -> Any:  # noqa: ANN401
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _gaps(grid: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in grid]


def _params(trial: TrialView) -> str:
    return f"trial {trial.number}: " + ", ".join(f"{name} {value}" for name, value in trial.params.items())
