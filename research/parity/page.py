"""A parity report as files: an HTML page, and a picture for places that show no page.

Belongs here: what they show and where they lie. Does not belong here: the figures.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from research.parity.orders import DecidedOrder
from research.parity.report import ParityReport, TradeParity
from research.parity.tolerance import Verdict
from research.plotly_page import INK, PALETTE, SOFT, alerts, cards, header, page_html, plot_card, table_card
from warehouse.files import write_bytes

COLUMNS: Final = (
    "decided", "symbol", "side", "live", "backtest", "warehouse", "data revision", "signal", "price", "size",
    "missed fill", "costs", "difference", "note",
)  # fmt: skip
"""Of the table of trades: quantity at average price, then money."""

_GAIN, _LOSS = "#2f9e6e", "#d1495b"
_SIZE, _DPI = (9.0, 4.2), 100
_PART_NAMES = {"data_revision": "data revision", "missed_fill": "missed fill"}


@dataclass(frozen=True, slots=True)
class Written:
    """Where a report lies."""

    page: Path
    picture: Path


def write_parity(report: ParityReport, verdicts: Sequence[Verdict], results: Path) -> Written:
    """Write page and picture, each in one step; a later report of the session takes their place."""
    folder = results / "parity" / report.deployment / report.session.isoformat()
    written = Written(folder / "parity.html", folder / "parity.png")
    write_bytes(written.page, parity_html(report, verdicts).encode())
    write_bytes(written.picture, parity_png(report))
    return written


def trade_rows(report: ParityReport) -> list[tuple[str, ...]]:
    """The table of trades as texts, one row a decision and a last one with the sums; see `COLUMNS`."""
    rows = [
        (
            f"{trade.bar:%H:%M:%S}", trade.symbol, trade.side, _filled(trade.live), _filled(trade.seen),
            _filled(trade.stored), *(_money(amount) for _, amount in trade.parts.named()),
            _money(trade.parts.total), trade.note,
        )
        for trade in report.trades
    ]  # fmt: skip
    sums = (*(_money(amount) for _, amount in report.parts.named()), _money(report.total))
    return [*rows, ("all", "", "", "", "", "", *sums, "")]


def parity_html(report: ParityReport, verdicts: Sequence[Verdict]) -> str:
    """The page as text; the same report gives the same text."""
    stored = report.stored_result
    told = [sentence for sentence in (report.missing, *report.remarks) if sentence]
    failed = [verdict.sentence for verdict in verdicts if not verdict.passed]
    return page_html(
        f"Parity {report.deployment} {report.session}",
        (
            header("Live session and backtest", (report.deployment, f"session {report.session}")),
            alerts([*failed, *told]),
            cards(
                (
                    ("Live", _money(report.live_result), "fills to the last price, after commission"),
                    ("Backtest, bars as seen", _money(report.seen_result), ""),
                    ("Backtest, warehouse", "unknown" if stored is None else _money(stored), ""),
                    ("Difference", _money(report.total), "live less backtest"),
                    ("Signals that differ", str(report.signals), f"of {len(report.trades)} decisions"),
                )
            ),
            plot_card("From the backtest to the live session", _waterfall(report), "parts", height=380),
            plot_card("Trade by trade", _by_trade(report), "trades", height=380, note=_NOTE),
            table_card("Trades", COLUMNS[:-1], [row[:-1] for row in trade_rows(report)], note=_NOTE),
            _reasons(report),
            table_card(
                "Tolerances",
                ("check", "passed", "what was found"),
                [(one.name.replace("_", " "), "yes" if one.passed else "no", one.sentence) for one in verdicts],
                kind="findings",
            ),
        ),
    )


def _reasons(report: ParityReport) -> str:
    rows = [(label, trade.note) for label, trade in zip(_labels(report.trades), report.trades, strict=True)]
    explained = [row for row in rows if row[1]]
    return table_card("Why", ("trade", "reason"), explained, kind="findings") if explained else ""


_NOTE = "Live less backtest: below zero the live session did worse."


def steps(report: ParityReport) -> list[tuple[str, Decimal]]:
    """From the backtest's result to the live one: name and amount, the first and the last whole results."""
    parts = [(_PART_NAMES.get(name, name), amount) for name, amount in report.parts.named()]
    return [("backtest", report.live_result - report.total), *parts, ("live", report.live_result)]


def _waterfall(report: ParityReport) -> Any:  # noqa: ANN401 (plotly is imported late)
    from plotly import graph_objects as go  # noqa: PLC0415

    names, amounts = zip(*steps(report), strict=True)
    figure = go.Figure(
        go.Waterfall(
            x=names,
            y=[*(float(amount) for amount in amounts[:-1]), 0.0],
            measure=["absolute", *["relative"] * (len(names) - 2), "total"],
            text=[_money(amount) for amount in amounts],
            textposition="outside",
            increasing={"marker": {"color": _GAIN}},
            decreasing={"marker": {"color": _LOSS}},
            totals={"marker": {"color": PALETTE[0]}},
            connector={"line": {"color": SOFT, "width": 1}},
            cliponaxis=False,
        )
    )
    figure.update_layout(showlegend=False, yaxis={"title": {"text": "Result"}, "tickformat": ",.2f"})
    return figure


def _by_trade(report: ParityReport) -> Any:  # noqa: ANN401 (plotly is imported late)
    from plotly import graph_objects as go  # noqa: PLC0415

    labels = _labels(report.trades)
    figure = go.Figure()
    for name, color, amounts in _stacks(report):
        figure.add_bar(x=labels, y=amounts, name=name, marker_color=color)
    figure.update_layout(barmode="relative", yaxis={"title": {"text": "Difference"}, "tickformat": ",.2f"})
    return figure


def parity_png(report: ParityReport) -> bytes:
    """The picture: from the backtest to the live result, and what each trade adds to it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 (half a second)
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    figure.suptitle(f"{report.deployment}, session {report.session}: live less backtest {report.total:+,.2f}")
    _draw_steps(left, report)
    _draw_trades(right, report)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.tick_params(axis="x", labelrotation=45, labelsize=8)
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


def _draw_steps(axes: Any, report: ParityReport) -> None:  # noqa: ANN401 (matplotlib is imported late)
    level = Decimal(0)
    for place, (name, amount) in enumerate(steps(report)):
        whole = name in {"backtest", "live"}
        bottom = Decimal(0) if whole else level
        color = PALETTE[0] if whole else _GAIN if amount > 0 else _LOSS
        axes.bar(place, float(amount), bottom=float(bottom), color=color, width=0.7)
        top = bottom + max(amount, Decimal(0))
        axes.annotate(_money(amount), (place, float(top)), ha="center", va="bottom", fontsize=8)
        level = amount if whole else level + amount
    names = [name for name, _ in steps(report)]
    axes.set_xticks(range(len(names)), names, ha="right", rotation_mode="anchor")
    axes.set_ylabel("result")
    axes.margins(y=0.15)


def _draw_trades(axes: Any, report: ParityReport) -> None:  # noqa: ANN401 (matplotlib is imported late)
    ups, downs = [0.0] * len(report.trades), [0.0] * len(report.trades)
    places = range(len(report.trades))
    for name, color, amounts in _stacks(report):
        bottoms = [ups[i] if amount > 0 else downs[i] for i, amount in enumerate(amounts)]
        axes.bar(places, amounts, bottom=bottoms, color=color, width=0.7, label=name)
        for i, amount in enumerate(amounts):
            side = ups if amount > 0 else downs
            side[i] += amount
    axes.set_xticks(list(places), _labels(report.trades), ha="right", rotation_mode="anchor")
    axes.set_ylabel("difference")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)


def _stacks(report: ParityReport) -> Iterator[tuple[str, str, list[float]]]:
    """Of each part that is not zero everywhere: name, colour, and the amount of every trade."""
    for place, (name, _) in enumerate(report.parts.named()):
        amounts = [float(getattr(trade.parts, name)) for trade in report.trades]
        if any(amounts):
            yield _PART_NAMES.get(name, name), PALETTE[place % len(PALETTE)], amounts


def _labels(trades: Sequence[TradeParity]) -> list[str]:
    """Which trade, each label once."""
    seen: dict[str, int] = {}
    labels = []
    for trade in trades:
        label = f"{trade.bar:%H:%M} {trade.symbol} {trade.side.lower()}"
        seen[label] = seen.get(label, 0) + 1
        labels.append(label if seen[label] == 1 else f"{label} {seen[label]}")
    return labels


def _filled(order: DecidedOrder | None) -> str:
    if order is None:
        return ""
    return f"{order.filled:f} at {order.price:,.4f}" if order.price is not None else f"0 of {order.ordered:f}"


def _money(amount: Decimal) -> str:
    return f"{amount:+,.2f}" if amount else "0"
