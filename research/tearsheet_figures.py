"""The figures of a tear sheet, drawn by quantstats as SVG.

Belongs here: which of quantstats' figures are used, and keeping it quiet, offline and free of side effects.
Does not belong here: the page around them (`research.tearsheet`), any number (they come from `research.metrics`).

Left out on purpose: its yearly bars (misplaced under pandas 3), its month map (shows 0.00 for months before the first
session), its drawdown table (calls an unfinished drawdown recovered), its metrics (profit factor of days, information
ratio not annualised). The page has tables of our own for those.
"""

import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd

_DRAWING = threading.Lock()
"""pyplot keeps one current figure for the whole process, so only one thread may draw."""

_FONT = "DejaVu Sans"  # comes with matplotlib, so a bare server draws the same picture

_STYLE = {
    "font.family": _FONT,
    "font.size": 11,
    "axes.facecolor": "white",
    "figure.facecolor": "white",
    "axes.edgecolor": "white",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "text.color": "#27313d",
    "xtick.color": "#5d6875",
    "ytick.color": "#5d6875",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}

HALF_YEAR = 126
"""Sessions that the rolling figures look back."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Daily returns of the strategy and, where there is one, of its benchmark (no NaN, same sessions)."""

    returns: pd.Series
    benchmark: pd.Series | None
    annualization: int
    salt: str  # makes the SVG's inner names, and so its bytes, depend on the result alone


def draw_figures(curves: Curves) -> list[str]:
    """SVG elements, in the order of the page; none when no session had a return.

    Errors of the drawing library are not caught.
    """
    if not (curves.returns.abs() > 0.0).any():
        return []
    with _DRAWING, _quiet(), _own_style(curves.salt):
        from quantstats import plots  # noqa: PLC0415 (1.4 s)

        return [_svg(draw) for draw in _chosen(plots, curves)]


_Draw = Callable[..., Any]


def _chosen(plots: Any, curves: Curves) -> Iterator[_Draw]:  # noqa: ANN401 (a module)
    """Each one takes quantstats' own keywords; those all share are added by `_svg`."""
    returns, benchmark = curves.returns, curves.benchmark
    rolling = len(returns) > 2 * HALF_YEAR
    yield lambda **k: plots.returns(returns, benchmark, figsize=(8, 4.6), ylabel="", prepare_returns=False, **k)
    if _spans_much(returns) or (benchmark is not None and _spans_much(benchmark)):
        yield lambda **k: plots.log_returns(returns, benchmark, figsize=(8, 4), ylabel="", prepare_returns=False, **k)
    yield lambda **k: plots.drawdown(returns, figsize=(8, 3), ylabel="", **k)
    if (returns < 0.0).any():
        title = str(returns.name)
        yield lambda **k: plots.drawdowns_periods(
            returns, title=title, figsize=(8, 4), ylabel="", prepare_returns=False, **k
        )
    if rolling:
        yield from _rolling(plots, curves)
    if len(returns) > 60:
        yield lambda **k: plots.histogram(returns, benchmark, figsize=(8, 4), ylabel="", prepare_returns=False, **k)
        yield lambda **k: plots.distribution(returns, figsize=(8, 4), ylabel="", prepare_returns=False, **k)


def _rolling(plots: Any, curves: Curves) -> Iterator[_Draw]:  # noqa: ANN401 (a module)
    returns, benchmark, year = curves.returns, curves.benchmark, curves.annualization
    size: dict[str, Any] = {"figsize": (8, 3), "ylabel": ""}
    scale = {"period": HALF_YEAR, "periods_per_year": year}
    yield lambda **k: plots.rolling_volatility(returns, benchmark, **scale, **size, **k)
    yield lambda **k: plots.rolling_sharpe(returns, **scale, **size, **k)
    if benchmark is not None and (benchmark.abs() > 0.0).any():
        windows = {"window1": HALF_YEAR, "window2": 2 * HALF_YEAR}
        yield lambda **k: plots.rolling_beta(returns, benchmark, prepare_returns=False, **windows, **size, **k)


def _spans_much(returns: pd.Series) -> bool:
    """True when the curve's top is several times its bottom: only then does a logarithmic scale show more."""
    levels = (1.0 + returns).cumprod()
    return bool(levels.max() > 3.0 * levels.min() > 0.0)


def _svg(draw: _Draw) -> str:
    target = io.StringIO()
    draw(
        fontname=_FONT,
        subtitle=False,
        show=False,
        savefig={"fname": target, "format": "svg", "metadata": {"Date": None}},
    )
    text = target.getvalue()
    return text[text.index("<svg") :]


@contextmanager
def _own_style(salt: str) -> Iterator[None]:
    """Our look inside, whatever the process had before it and after it; quantstats sets a theme when imported."""
    import matplotlib as mpl  # noqa: PLC0415

    if mpl.get_backend(auto_select=False) is None:
        mpl.use("agg")  # nobody chose one: a report needs no window
    with mpl.rc_context():
        import quantstats.plots  # noqa: F401, PLC0415 (its theme ends with this context)
    with mpl.rc_context():
        mpl.rcdefaults()
        style: Any = {**_STYLE, "svg.hashsalt": salt}
        mpl.rcParams.update(style)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep deprecation notes and the search for Microsoft's fonts out of the user's terminal."""
    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    fonts.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        fonts.setLevel(level)
